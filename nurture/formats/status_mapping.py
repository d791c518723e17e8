"""Map the status and consent texts of other systems to ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final


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


_STATUSES: Final = {
    LeadStatus.OPEN: (
        "open,new,not contacted,open not contacted,new lead,raw,uncontacted,prospect,lead,"
        "subscriber,"
        "inquiry,enquiry,inquired,mql,marketing qualified,marketing qualified lead,marketingqualifiedlead,"
        "marketing engaged,engaged,known,target,registered,responded,unassigned,suspect,other,in market"
    ),
    LeadStatus.WORKING: (
        "working,working contacted,contacted,in progress,connected,attempted,attempted to contact,attempting"
        " contact,attempting to contact,sales accepted,sales accepted lead,sal,sales qualified,sales"
        " qualified lead,salesqualifiedlead,sql,sales ready,opportunity,open deal,meeting scheduled,meeting"
        " set,meeting booked,demo scheduled,qualified,in discussion,negotiation,proposal,proposal sent,in"
        " sequence,assigned,accepted,follow up,discovery,evaluating,with sales"
    ),
    LeadStatus.CUSTOMER: (
        "customer,client,existing customer,current customer,evangelist,active customer,partner customer"
    ),
    LeadStatus.WON: "won,closed won,closed converted,converted,deal won",
    LeadStatus.LOST: (
        "lost,closed lost,closed not converted,not converted,deal lost,lost to competitor,dead,former customer,churned"
    ),
    LeadStatus.UNQUALIFIED: (
        "unqualified,disqualified,not qualified,bad fit,not a fit,no fit,junk,junk lead,"
        "invalid,"
        "spam,duplicate,bad data,not interested,competitor,do not contact,out of business,left company,no "
        "longer there,"
        "rejected,trash,archived"
    ),
    LeadStatus.NURTURE: (
        "nurture,nurturing,recycle,recycled,recycling,bad timing,not now,not ready,not yet ready,long term,on"
        " hold,future interest,future opportunity,keep warm,dormant,unresponsive,no response,later,call back"
        " later,remarketing,returned to marketing"
    ),
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

_CONSENT_BASES: Final = {
    ConsentBasis.CONSENT: (
        "consent,freely given consent from contact,opt in,opted in,double opt in,doi,single opt"
        " in,soi,explicit consent,explicit,express,express"
        " consent,subscribed,yes,true,1,y,x,granted,permission,given,active"
    ),
    ConsentBasis.LEGITIMATE_INTEREST: (
        "legitimate interest,legitimate interests,li,legitimate interest existing "
        "customer,"
        "legitimate interest prospect lead,legitimate interest prospect,legitimate interest other,implied,"
        "implied consent,implicit,soft opt in,existing business relationship,berechtigtes interesse"
    ),
    ConsentBasis.CONTRACT: "contract,performance of a contract,performance of contract,contractual",
}
_NO_CONSENT_BASIS: Final = frozenset(
    {
        "",
        "no",
        "false",
        "0",
        "n",
        "none",
        "not applicable",
        "na",
        "n a",
        "no consent",
        "unknown",
        "not given",
        "withdrawn",
        "revoked",
        "denied",
        "refused",
        "opted out",
        "opt out",
        "pending",
        "unsubscribed",
        "not opted in",
        "not provided",
        "not subscribed",
        "null",
    }
)


def _by_word(words: dict[LeadStatus, str] | dict[ConsentBasis, str]) -> dict[str, str]:
    return {word: meaning for meaning, texts in words.items() for word in texts.split(",")}


_STATUS_BY_WORD: Final = _by_word(_STATUSES)
_CONSENT_BASIS_BY_WORD: Final = _by_word(_CONSENT_BASES)


@lru_cache(maxsize=1024)
def map_status(text: str) -> LeadStatus | None:
    """Return the status that *text* means; None for an unknown text."""
    found = _STATUS_BY_WORD.get(_normalize(text))
    return None if found is None else LeadStatus(found)


def most_restrictive(statuses: Iterable[LeadStatus]) -> LeadStatus | None:
    """Return the status that restricts mail most, for rows with several status columns; None without any."""
    return min(statuses, key=_RESTRICTIVENESS.index, default=None)


@lru_cache(maxsize=1024)
def map_consent_basis(text: str) -> ConsentBasis | None:
    """Return the basis that *text* names, None if it denies consent. Raises ValueError for an unknown text."""
    plain = _normalize(text)
    if plain in _NO_CONSENT_BASIS:
        return None
    if plain.startswith(("i agree", "i consent", "yes ")):  # the label of a checked box
        return ConsentBasis.CONSENT
    found = _CONSENT_BASIS_BY_WORD.get(plain)
    if found is None:
        raise ValueError(f"consent {text[:60]!r} is not recognized; write {', '.join(ConsentBasis)}, or empty the cell")
    return ConsentBasis(found)


def _normalize(text: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.sub(r"[\W_]+", " ", spaced).strip().casefold()
