"""What the systems' words for a lead's state, and for our right to mail it, mean here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final


class Status(StrEnum):
    """Where a lead stands, as its file says."""

    OPEN = "open"
    WORKING = "working"  # a rep is on it
    CUSTOMER = "customer"
    WON = "won"
    LOST = "lost"
    UNQUALIFIED = "unqualified"
    NURTURE = "nurture"


class Basis(StrEnum):
    """Why we may mail a lead."""

    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate_interest"
    CONTRACT = "contract"


_STATUSES: Final = {
    Status.OPEN: "open,new,not contacted,open not contacted,new lead,raw,uncontacted,prospect,lead,"
    "subscriber,"
    "inquiry,enquiry,inquired,mql,marketing qualified,marketing qualified lead,marketingqualifiedlead,"
    "marketing engaged,engaged,known,target,registered,responded,unassigned,suspect,other,in market",
    Status.WORKING: "working,working contacted,contacted,in progress,connected,attempted,attempted to "
    "contact,"
    "attempting contact,attempting to contact,sales accepted,sales accepted lead,sal,sales qualified,"
    "sales qualified lead,salesqualifiedlead,sql,sales ready,opportunity,open deal,meeting scheduled,"
    "meeting set,"
    "meeting booked,demo scheduled,qualified,in discussion,negotiation,proposal,proposal sent,in sequence,"
    "assigned,accepted,follow up,discovery,evaluating,with sales",
    Status.CUSTOMER: "customer,client,existing customer,current customer,evangelist,active customer,"
    "partner customer",
    Status.WON: "won,closed won,closed converted,converted,deal won",
    Status.LOST: "lost,closed lost,closed not converted,not converted,deal lost,lost to competitor,dead,"
    "former customer,churned",
    Status.UNQUALIFIED: "unqualified,disqualified,not qualified,bad fit,not a fit,no fit,junk,junk lead,"
    "invalid,"
    "spam,duplicate,bad data,not interested,competitor,do not contact,out of business,left company,no "
    "longer there,"
    "rejected,trash,archived",
    Status.NURTURE: "nurture,nurturing,recycle,recycled,recycling,bad timing,not now,not ready,not yet ready,"
    "long term,on hold,future interest,future opportunity,keep warm,dormant,unresponsive,no response,later,"
    "call back later,remarketing,returned to marketing",
}

_STRENGTH: Final = (
    Status.CUSTOMER,
    Status.WON,
    Status.UNQUALIFIED,
    Status.LOST,
    Status.WORKING,
    Status.NURTURE,
    Status.OPEN,
)

_BASES: Final = {
    Basis.CONSENT: "consent,freely given consent from contact,opt in,opted in,double opt in,doi,single opt "
    "in,soi,"
    "explicit consent,explicit,express,express consent,subscribed,yes,true,1,y,x,granted,permission,given,"
    "active",
    Basis.LEGITIMATE_INTEREST: "legitimate interest,legitimate interests,li,legitimate interest existing "
    "customer,"
    "legitimate interest prospect lead,legitimate interest prospect,legitimate interest other,implied,"
    "implied consent,implicit,soft opt in,existing business relationship,berechtigtes interesse",
    Basis.CONTRACT: "contract,performance of a contract,performance of contract,contractual",
}
_NO_BASIS: Final = frozenset(
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


def _table(words: dict[Status, str] | dict[Basis, str]) -> dict[str, str]:
    return {word: meaning for meaning, texts in words.items() for word in texts.split(",")}


_STATUS_OF: Final = _table(_STATUSES)
_BASIS_OF: Final = _table(_BASES)


@lru_cache(maxsize=1024)
def status_of(text: str) -> Status | None:
    """Return what *text* means, or None for a word that nobody has told us."""
    found = _STATUS_OF.get(_plain(text))
    return None if found is None else Status(found)


def strongest(statuses: Iterable[Status]) -> Status | None:
    """Return the status that counts where several columns give one: the one that keeps our mail away most."""
    return min(statuses, key=_STRENGTH.index, default=None)


@lru_cache(maxsize=1024)
def basis_of(text: str) -> Basis | None:
    """Return the basis that *text* names, None when it says that there is none. Raises ValueError "
    "otherwise.
    """
    plain = _plain(text)
    if plain in _NO_BASIS:
        return None
    if plain.startswith(("i agree", "i consent", "yes ")):  # the text beside a ticked box
        return Basis.CONSENT
    found = _BASIS_OF.get(plain)
    if found is None:
        raise ValueError(f"consent {text[:60]!r} is not known; write {', '.join(Basis)}, or leave it empty")
    return Basis(found)


def _plain(text: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.sub(r"[\W_]+", " ", spaced).strip().casefold()
