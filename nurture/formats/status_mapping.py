"""What the systems' words for a lead's state, and for our right to mail it, mean here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final


class LeadStatus(StrEnum):
    """Where a lead stands, as its file says."""

    OPEN = "open"
    WORKING = "working"  # a rep is on it
    CUSTOMER = "customer"
    WON = "won"
    LOST = "lost"
    UNQUALIFIED = "unqualified"
    NURTURE = "nurture"


class ConsentBasis(StrEnum):
    """Why we may mail a lead."""

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
    """Return what *text* means, or None for a word that nobody has told us."""
    found = _STATUS_BY_WORD.get(_normalize(text))
    return None if found is None else LeadStatus(found)


def most_restrictive(statuses: Iterable[LeadStatus]) -> LeadStatus | None:
    """Return the status that counts where several columns give one: the one that keeps our mail away most."""
    return min(statuses, key=_RESTRICTIVENESS.index, default=None)


@lru_cache(maxsize=1024)
def map_consent_basis(text: str) -> ConsentBasis | None:
    """Return the consent basis that *text* names, None when it says that there is none.

    Raises ValueError otherwise.
    """
    plain = _normalize(text)
    if plain in _NO_CONSENT_BASIS:
        return None
    if plain.startswith(("i agree", "i consent", "yes ")):  # the text beside a ticked box
        return ConsentBasis.CONSENT
    found = _CONSENT_BASIS_BY_WORD.get(plain)
    if found is None:
        raise ValueError(f"consent {text[:60]!r} is not known; write {', '.join(ConsentBasis)}, or leave it empty")
    return ConsentBasis(found)


def _normalize(text: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.sub(r"[\W_]+", " ", spaced).strip().casefold()
