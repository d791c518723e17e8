"""Normalize email addresses, and hash erased ones."""

from __future__ import annotations

import hmac
import re
import unicodedata
from hashlib import sha256
from typing import Final

_TRAILING_CHARACTERS: Final = ". \t\r\n\v\f"


def normalize_address(email: str) -> str:
    """Return the normal form of *email*, by which leads are matched and suppressed.

    Lower case, no surrounding space, Unicode composed (NFC), the domain in its ASCII form (punycode) and
    without a final dot. Plus-tags and dots stay: they may name another mailbox. Does not check the syntax.
    """
    if email.isascii():
        plain = email.strip().lower()
        return plain.rstrip(_TRAILING_CHARACTERS) if plain.endswith(".") and "@" in plain else plain
    local, at, domain = email.strip().rpartition("@")
    labels = ".".join(_ascii_label(label) for label in _labels(domain))
    return _normalize_unicode(local) + at + (labels.rstrip(_TRAILING_CHARACTERS) if at else labels)


ERASED_PREFIX: Final = "erased:"
"""Prefix of the hash of an erased address; no address begins so, because it has no @."""


def erasure_hash(normal: str, salt: str) -> str:
    """Return the hash that identifies an erased address, given its normal form and *salt*; one-way."""
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


_FREE_MAIL_DOMAINS: Final = frozenset(
    """
    126.com 163.com abv.bg aim.com alice.it arcor.de att.net bellsouth.net bigpond.com bk.ru bluewin.ch
    bol.com.br btinternet.com centrum.cz charter.net comcast.net cox.net daum.net docomo.ne.jp email.com
    ezweb.ne.jp fastmail.com foxmail.com free.fr freenet.de gmail.com googlemail.com hanmail.net hey.com
    icloud.com inbox.ru interia.pl kpnmail.nl laposte.net libero.it list.ru mac.com mail.com mail.ru mailbox.org
    me.com naver.com o2.pl onet.pl optusnet.com.au orange.fr passport.com pm.me posteo.de proton.me
    protonmail.com qq.com rambler.ru rediffmail.com rocketmail.com sbcglobal.net seznam.cz sfr.fr sina.com
    sky.com skynet.be sohu.com t-online.de talktalk.net telenet.be terra.com.br tin.it tiscali.it tuta.io
    tutanota.com tutanota.de ukr.net uol.com.br verizon.net virgilio.it virginmedia.com wanadoo.fr web.de wp.pl
    ya.ru yeah.net ziggo.nl zoho.com zohomail.com
    """.split()  # noqa: SIM905  (a list of a hundred lines reads worse)
)
_FREE_MAIL_FAMILIES: Final = re.compile(r"(yahoo|ymail|hotmail|live|outlook|msn|gmx|aol|yandex)(\.[a-z]{2,4}){1,2}")
"""Services that offer the same name in dozens of countries."""


def is_free_mail(domain: str) -> bool:
    """Return whether *domain* (lower case, ASCII) is a mail provider open to anyone.

    People who share such a domain have nothing else in common, and nobody else may send in its name.
    """
    return domain in _FREE_MAIL_DOMAINS or _FREE_MAIL_FAMILIES.fullmatch(domain) is not None
