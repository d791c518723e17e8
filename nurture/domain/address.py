"""One spelling for each email address."""

from __future__ import annotations

import hmac
import unicodedata
from hashlib import sha256
from typing import Final

_TRAILING_CHARACTERS: Final = ". \t\r\n\v\f"


def normalize_address(email: str) -> str:
    """Return the one spelling of *email* by which leads are matched and suppressed.

    Lower case, no surrounding space, Unicode composed (NFC), the domain in its ASCII form (punycode) and
    without the dot that may end it.
    Plus-tags and dots stay: they may be another mailbox. Syntax is not checked.
    """
    if email.isascii():
        plain = email.strip().lower()
        return plain.rstrip(_TRAILING_CHARACTERS) if plain.endswith(".") and "@" in plain else plain
    local, at, domain = email.strip().rpartition("@")
    labels = ".".join(_ascii_label(label) for label in _labels(domain))
    return _normalize_unicode(local) + at + (labels.rstrip(_TRAILING_CHARACTERS) if at else labels)


ERASED_PREFIX: Final = "erased:"
"""How the mark of an erased address begins; no address does, for want of an @."""


def erasure_hash(normal: str, salt: str) -> str:
    """Return by what an erased address is known again, its normal spelling given; never the other way."""
    return ERASED_PREFIX + hmac.new(salt.encode(), normal.encode(errors="surrogatepass"), sha256).hexdigest()


def _normalize_unicode(text: str) -> str:
    # Lower case may decompose and composing may leave a capital: two rounds reach the fixed point.
    for _ in range(2):
        text = unicodedata.normalize("NFC", text.lower())
    return text


def _labels(domain: str) -> list[str]:
    # NFKC folds full-width letters and the ideographic full stop, as resolvers do. `lower`, not `casefold`:
    # straße.example and strasse.example are two domains.
    folded = _normalize_unicode(unicodedata.normalize("NFKC", domain.replace("\u3002", ".")))
    return unicodedata.normalize("NFKC", folded).split(".")


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    return "xn--" + label.encode("punycode").decode("ascii")


FREE_MAIL_DOMAINS: Final = frozenset({
    "126.com", "163.com", "aol.com", "att.net", "bluewin.ch", "bol.com.br", "btinternet.com", "comcast.net",
    "cox.net", "fastmail.com", "free.fr", "freenet.de", "gmail.com", "gmx.at", "gmx.ch", "gmx.de",
    "gmx.net", "googlemail.com", "hey.com", "hotmail.co.uk", "hotmail.com", "hotmail.de", "hotmail.fr",
    "icloud.com", "interia.pl", "kpnmail.nl", "laposte.net", "libero.it", "live.com", "mac.com", "mail.com",
    "mail.ru", "mailbox.org", "me.com", "msn.com", "naver.com", "o2.pl", "onet.pl", "orange.fr",
    "outlook.com", "outlook.de", "pm.me", "posteo.de", "proton.me", "protonmail.com", "qq.com",
    "rediffmail.com", "sbcglobal.net", "seznam.cz", "sky.com", "t-online.de", "telenet.be", "tutanota.com",
    "uol.com.br", "verizon.net", "virgilio.it", "wanadoo.fr", "web.de", "wp.pl", "yahoo.co.uk", "yahoo.com",
    "yahoo.de", "yahoo.fr", "yandex.com", "yandex.ru", "ymail.com", "ziggo.nl", "zoho.com",
})  # fmt: skip
"""Domains where strangers have their mail: what happens there at the same moment has nothing in common."""
