"""Normalize email addresses, and hash erased ones."""

import hmac
import unicodedata
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
    return ERASED_PREFIX + hmac.digest(salt.encode(), normal.encode(errors="surrogatepass"), "sha256").hex()


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
