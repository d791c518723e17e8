"""Map the status and consent texts of other systems to ours."""

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from nurture.formats.opt_outs import ALLOWED, read_permission
from nurture.formats.rejected_rows import InvalidCell
from nurture.formats.tables import read_words

_NEGATED: Final = re.compile(
    r"(?:no|not|non|never|kein|nicht|pas|sin|não|perhaps|maybe|possibl[ey]|potential|pending|unclear|vielleicht)\b|0+[.,]0+$",
    re.IGNORECASE,
)


_ARTICLE_6: Final = re.compile(  # of the GDPR, in normal form: "art 6 abs 1 lit a dsgvo", "gdpr article 6 1 f"
    r"(?:\w+ )?art\w* ?6 (?:abs |par\w* |lid |nr )?1 (?:s(?:atz)? 1 )?(?:[^\W\d]{2,9} )?([abf])(?: (?:\w+ ?){1,2})?"
)


class LeadStatus(StrEnum):
    """The status of a lead in the system that exported it."""

    OPEN = "open"
    WORKING = "working"  # a rep is on it
    CUSTOMER = "customer"
    WON = "won"
    LOST = "lost"
    UNQUALIFIED = "unqualified"
    NURTURE = "nurture"


class ConsentBasis(StrEnum):
    """The legal basis on which a lead may be mailed."""

    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate_interest"
    CONTRACT = "contract"


_BASIS_OF_LETTER: Final = {
    "a": ConsentBasis.CONSENT,
    "b": ConsentBasis.CONTRACT,
    "f": ConsentBasis.LEGITIMATE_INTEREST,
}
_RESTRICTIVENESS: Final = (
    LeadStatus.CUSTOMER,
    LeadStatus.WON,
    LeadStatus.UNQUALIFIED,
    LeadStatus.LOST,
    LeadStatus.WORKING,
    LeadStatus.NURTURE,
    LeadStatus.OPEN,
)


@lru_cache(maxsize=1024)
def map_status(text: str) -> LeadStatus | None:
    """Return the status that *text* means; None for an unknown text."""
    found = read_words("status").get(_normalize(text))
    return None if found is None else LeadStatus(found)


@lru_cache(maxsize=4096)
def read_customer(text: str) -> bool:
    """Return whether a cell names a customer: yes, a status, the date of the conversion, or the company's own name."""
    flag, status = read_words("flag").get(text.casefold()), map_status(text)
    if flag is not None:
        return flag == "yes"
    return status in (LeadStatus.CUSTOMER, LeadStatus.WON) if status else not _NEGATED.match(text)


def most_restrictive(statuses: Iterable[LeadStatus]) -> LeadStatus | None:
    """Return the status that restricts mail most, for rows with several status columns; None without any."""
    return min(statuses, key=_RESTRICTIVENESS.index, default=None)


class ConsentReading(NamedTuple):
    """What a consent cell says: `opt_outs.Reading.says`, and the basis if that is "allowed"."""

    says: str
    basis: ConsentBasis | None = None
    known: bool = True


@lru_cache(maxsize=4096)
def read_consent(text: str) -> ConsentReading:
    """Return what a consent text says. Only a plain yes to email, or the name of a basis, gives a basis."""
    normal = _normalize(text)
    found = read_words("consent").get(normal)
    if found is not None:
        return ConsentReading(ALLOWED, ConsentBasis(found))
    if article := _ARTICLE_6.fullmatch(normal):
        return ConsentReading(ALLOWED, _BASIS_OF_LETTER[article[1]])
    reading = read_permission(text)
    return ConsentReading(reading.says, ConsentBasis.CONSENT if reading.says == ALLOWED else None, reading.known)


def map_consent_basis(text: str) -> ConsentBasis | None:
    """Return the basis that *text* names, None if it denies consent. Raises ValueError for an unknown text."""
    reading = read_consent(text)
    if not reading.known:
        raise InvalidCell(
            f"consent {text[:60]!r} is not recognized", f"write {', '.join(ConsentBasis)}, or empty the cell"
        )
    return reading.basis


def _normalize(text: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.sub(r"[\W_]+", " ", spaced).strip().casefold()
