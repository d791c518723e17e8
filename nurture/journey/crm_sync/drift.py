"""Where the CRM and we say different things of a lead: told, never mended behind anybody's back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from nurture.crm.base import Crm, Seen
from nurture.domain.lead import Custodian
from nurture.domain.policy.crm_status import CrmWords, Meant
from nurture.domain.policy.policy import Policy
from nurture.journey.crm_sync import queries
from nurture.journey.crm_sync.pull import SOMEBODY
from nurture.journey.crm_sync.push import handoff_key, person_key
from nurture.journey.crm_sync.queries import Link, Ours
from nurture.runtime.context import House

BATCH: Final = 500


class Drift(NamedTuple):
    """One thing on which we differ."""

    lead_id: int
    what: str
    crm_says: str
    we_say: str
    remedy: str


def drift(house: House, crm: Crm) -> list[Drift]:
    """Ask *crm* for every lead that it was told of, and return where we differ. Raises CrmDown."""
    found: list[Drift] = []
    after = 0
    while True:
        with house.database.read() as connection:
            told = queries.told(connection, crm.name, after, BATCH)
            links = queries.of(house.database, connection, crm.name, [one.lead_id for one in told])
            policy = house.rulebooks.current(connection).policy
            words = house.rulebooks.crm_words(connection)
        if not told:
            return found
        seen = crm.look_up([person_key(house, one.lead_id) for one in told])
        for one in told:
            there = seen.get(person_key(house, one.lead_id))
            found += _compared(house, one, there, links.get(one.lead_id), policy, words)
        after = told[-1].lead_id


def _compared(
    house: House, one: Ours, there: Seen | None, link: Link | None, policy: Policy, words: CrmWords
) -> list[Drift]:
    if one.written is None or one.record_state != "done":
        return []  # it is on its way: `nurture handoffs crm sync` tells of it
    if there is None:
        remedy = "If it was deleted by mistake, `nurture handoffs crm sync --again-since` makes it anew."
        return [
            Drift(one.lead_id, "record", "there is none", f"hand-off {one.offer_id}: {one.state}", remedy)
        ]
    found = []
    says = (there.handoff, there.stage)
    if says != (handoff_key(house, one.offer_id), one.written):
        remedy = (
            "Somebody changed our fields there; `nurture handoffs crm sync --again-since` writes them anew."
        )
        found.append(Drift(one.lead_id, "hand-off", " ".join(says), f"{one.offer_id}: {one.written}", remedy))
    status = there.status or (link.status if link else "")
    return [*found, *_owner(one, there, policy), *_status(one, there, status, words)]


def _owner(one: Ours, there: Seen, policy: Policy) -> Sequence[Drift]:
    if one.custodian != Custodian.REP or not there.owner:
        return []
    reps = {rep.email.casefold(): rep.id for rep in policy.reps}
    owner = reps.get(there.owner.casefold(), SOMEBODY)
    if owner == one.custody_ref:
        return []
    named = owner if owner != SOMEBODY else "somebody whom the policy does not name"
    remedy = "Set the owner right there, or have the lead reassigned here."
    return [Drift(one.lead_id, "owner", named, one.custody_ref, remedy)]


def _status(one: Ours, there: Seen, status: str, words: CrmWords) -> Sequence[Drift]:
    meaning = words.meaning(status)
    we_say = f"{one.custodian} {one.custody_ref}".strip()
    if status and meaning is None and not there.closing:
        remedy = "Say what it means in templates/sales/crm.yaml, and publish."
        return [Drift(one.lead_id, "status", f"{status}, which means nothing here", we_say, remedy)]
    closing = there.closing or (meaning.meant.value if meaning and meaning.meant in _ENDS else "")
    closed = one.custody_ref if one.custodian == Custodian.CLOSED else ""
    if closing and closing != closed:
        remedy = (
            "`nurture handoffs crm sync` reads it; what contradicts is in `nurture handoffs outcomes list`."
        )
        return [Drift(one.lead_id, "outcome", closing, we_say, remedy)]
    if closed in _ENDS and not closing:
        remedy = "Close it there too: the CRM still works it."
        return [Drift(one.lead_id, "outcome", status or "open", we_say, remedy)]
    return []


_ENDS: Final = (Meant.WON.value, Meant.LOST.value)
