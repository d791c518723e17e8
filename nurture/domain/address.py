"""One spelling for each email address."""

from __future__ import annotations

import unicodedata


def normalise_address(email: str) -> str:
    """Return the one spelling of *email* by which leads are matched and suppressed.

    Lower case, no surrounding space, Unicode composed (NFC), the domain in its ASCII form (punycode).
    Plus-tags and dots stay: they may be another mailbox. Syntax is not checked.
    """
    if email.isascii():
        return email.strip().lower()
    local, at, domain = email.strip().rpartition("@")
    return _composed(local) + at + ".".join(_ascii_label(label) for label in _labels(domain))


def _composed(text: str) -> str:
    # Lower case may decompose and composing may leave a capital: two rounds reach the fixed point.
    for _ in range(2):
        text = unicodedata.normalize("NFC", text.lower())
    return text


def _labels(domain: str) -> list[str]:
    # NFKC folds full-width letters and the ideographic full stop, as resolvers do. `lower`, not `casefold`:
    # straße.example and strasse.example are two domains.
    folded = _composed(unicodedata.normalize("NFKC", domain.replace("\u3002", ".")))
    return unicodedata.normalize("NFKC", folded).split(".")


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    return "xn--" + label.encode("punycode").decode("ascii")
