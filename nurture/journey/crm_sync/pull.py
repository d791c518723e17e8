"""What comes back from the CRM: follow-ups, owners, outcomes, leads that sales gives back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from nurture.crm.base import Crm, CrmDown, Seen
from nurture.domain.address import normalise_address
from nurture.domain.consent.suppression import Source
from nurture.domain.lead import Closing, Custodian
from nurture.domain.policy.crm_status import CrmWords, Meant
from nurture.domain.policy.policy import Policy
from nurture.errors import NotFound
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.crm_sync import queries
from nurture.journey.crm_sync.push import brake_on, person_key
from nurture.journey.crm_sync.queries import Link, Ours
from nurture.journey.handoff import queries as handoff_queries
from nurture.journey.handoff.follow_up import Touched, note_touches
from nurture.journey.handoff.recycle import recycle_all
from nurture.journey.leads import changeset, snapshot
from nurture.journey.leads import queries as leads_queries
from nurture.journey.leads.transitions import Mover
from nurture.journey.outcomes import outcomes
from nurture.journey.outcomes.outcomes import Telling
from nurture.outbox import circuit_breakers
from nurture.runtime.context import House

PAGE: Final = 200
PAGES: Final = 100
"""What one run reads at most; the next goes on where it ended."""

SOMEBODY: Final = "?"
"""An owner whom the policy does not name."""


@dataclass
class ReadBack:
    """What one run read: *did* counts changes, *unknown* counts statuses that mean nothing here.

    *faults* are lines and records that could not be used, each with its remedy, for a terminal: they may
    quote people. *unused* says for a log which ones that were.
    """

    did: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def read_back(house: House, now: datetime) -> ReadBack:
    """Read what changed in the CRM since the last time, and make of it what it means.

    Reading the same again changes nothing. Without a CRM, or while it is braked, nothing.
    """
    done = ReadBack()
    crm = house.crm
    if crm is None:
        return done
    with house.database.read() as connection:
        try:
            house.rulebooks.current(connection)
        except NotFound:  # nothing is published yet, so nothing was ever handed off
            return done
        stop = brake_on(circuit_breakers.on(connection), crm)
        cursor = queries.where(connection, crm.name)
    if stop is not None and (stop.until is None or stop.until > now):
        return done
    for _ in range(PAGES):
        try:
            page = crm.changes(cursor, PAGE, now)
        except CrmDown as down:
            done.faults.append(down.why)
            done.unused.append(f"the changes of {crm.name}: it is down")
            return done
        with house.database.write() as connection:
            _Page(house, crm, connection, now, done).take(page.seen)
            queries.move(house.database, connection, crm.name, page.cursor, now)
        done.faults += page.faults
        if page.faults:
            done.unused.append(f"{len(page.faults)} lines of {page.cursor}")
        cursor = page.cursor
        if not page.more:
            return done
    return done


def is_new(one: Seen, old: Link | None) -> bool:
    """Tell whether the status was set since we last looked.

    At first sight, what stands in a record of ours may be older than the hand-off; a file is told today.
    """
    return old.status != one.status if old is not None else not one.handoff


class _Page:
    """One page of changes, in one transaction."""

    def __init__(self, house: House, crm: Crm, connection: Connection, now: datetime, done: ReadBack) -> None:
        self.house, self.crm, self.connection, self.now, self.done = house, crm, connection, now, done
        self.policy: Policy = house.rulebooks.current(connection).policy
        self.words: CrmWords = house.rulebooks.crm_words(connection)
        self.reps = {rep.email.casefold(): rep.id for rep in self.policy.reps}

    def take(self, seen: Sequence[Seen]) -> None:
        """Make of *seen* what it means, the newest of each lead."""
        by_lead = self._leads(seen)
        if not by_lead:
            return
        database = self.house.database
        changeset.hold(database, self.connection, list(by_lead))
        before = queries.of(database, self.connection, self.crm.name, list(by_lead))
        ours = queries.ours(database, self.connection, list(by_lead))
        links = {lead_id: self._link(lead_id, one, before.get(lead_id)) for lead_id, one in by_lead.items()}
        self._notes(by_lead, before, links, ours)
        self._close(by_lead, links)
        self._give_back(by_lead, before)
        queries.keep(database, self.connection, list(links.values()))

    def _leads(self, seen: Sequence[Seen]) -> dict[int, Seen]:
        """Return what was seen by lead; keys of another installation, and unknown ones, are told."""
        mine = re.compile(re.escape(person_key(self.house, 0)[:-1]) + r"(\d{1,18})")
        keys = {one.key: match for one in seen if (match := mine.fullmatch(one.key))}
        others = {one.key: normalise_address(one.key) for one in seen if one.key not in keys}
        found = leads_queries.resolve(self.house.database, self.connection, others)
        numbers = {key: int(match[1]) for key, match in keys.items()}
        known = leads_queries.living(self.house.database, self.connection, numbers.values())
        by_lead: dict[int, Seen] = {}
        for one in sorted(seen, key=lambda one: one.changed_at):
            ids = (numbers[one.key],) if numbers.get(one.key) in known else found.get(one.key, ())
            if len(ids) == 1:
                by_lead[ids[0]] = one
            else:
                what = "means several leads" if ids else "is no lead here"
                named = "an address" if "@" in one.key else repr(one.key[:80])
                self.done.unused.append(f"record {one.crm_id}: it {what}")
                self.done.faults.append(f"{named} ({one.crm_id}) {what}; write an id or an address of ours")
        return by_lead

    def _link(self, lead_id: int, one: Seen, before: Link | None) -> Link:
        owner = self.reps.get(one.owner.casefold(), SOMEBODY) if one.owner else ""
        changed = one.changed_at
        kept = before is not None and (before.status, before.owner) == (one.status, owner)
        return Link(
            self.crm.name,
            lead_id,
            one.crm_id,
            one.status,
            owner,
            one.handoff or (before.handoff if before else ""),
            one.stage or (before.stage if before else ""),
            before.changed_at if kept and before is not None else changed,
            self.now,
        )

    def _notes(
        self,
        seen: Mapping[int, Seen],
        before: Mapping[int, Link],
        links: Mapping[int, Link],
        ours: Mapping[int, Ours],
    ) -> None:
        """Write into the journal what a person did there: a new status, another owner, a first touch."""
        rows = snapshot.these(self.house.database, self.connection, list(seen))
        mover = Mover(self.house.rulebooks.current(self.connection), self.now, "crm")
        claimed = snapshot.views(self.house.database, self.connection, rows, self.now, self.house.holidays)
        touched: list[Touched] = []
        for lead in claimed:
            lead_id = lead.view.lead.id
            one, link, old, our = seen[lead_id], links[lead_id], before.get(lead_id), ours.get(lead_id)
            meaning = self.words.meaning(one.status)
            if one.status and meaning is None and not one.closing:
                self.done.unknown[one.status] += 1
            if old is not None and old.status != one.status:
                means = meaning.meant.value if meaning else "nobody has said what that means"
                mover.note(lead, "crm_status", f"{one.status[:80]}: {means}", None, ref=self.crm.name)
                self.done.did["status"] += 1
            accepted = our is not None and our.state == "accepted"
            if (
                our is not None
                and accepted
                and old is not None
                and link.owner not in (old.owner, "", our.rep)
            ):
                because = f"{link.owner if link.owner != SOMEBODY else 'somebody else'} has it in the CRM now"
                mover.note(lead, "owner_changed", f"{because}, after {our.rep}", None, ref=link.owner)
                self.done.did["owner"] += 1
            at = self._touched(one, old)
            if our is not None and accepted and our.followed_up_at is None and at is not None:
                touched.append(Touched(lead_id, one.status[:80] or "a logged activity", at))
        mover.changes.write(self.house.database, self.connection, self.now)
        new = note_touches(self.house, self.connection, touched, self.now)
        self.done.did += Counter({"followed up": new})

    def _touched(self, one: Seen, old: Link | None) -> datetime | None:
        """Return when a person was in touch: as logged, or since when a status says so."""
        meaning = self.words.meaning(one.status)
        says = meaning is not None and meaning.meant is not Meant.OPEN
        return one.touched_at or (one.changed_at if says and is_new(one, old) else None)

    def _close(self, seen: Mapping[int, Seen], links: Mapping[int, Link]) -> None:
        told = []
        for lead_id, one in seen.items():
            meaning = self.words.meaning(one.status)
            says = meaning.meant.value if meaning and meaning.meant in (Meant.WON, Meant.LOST) else ""
            closing = one.closing or says
            if not closing:
                continue
            at = min(one.closed_at or links[lead_id].changed_at, self.now)
            amount = one.amount if closing == Closing.WON else None
            reason = one.reason or (one.status if closing == Closing.LOST else "")
            key = f"{closing}|{amount}|{one.closed_at.isoformat() if one.closed_at else ''}"
            told.append(Telling(lead_id, Closing(closing), at, amount, reason[:300], key))
        if told:
            source = f"crm:{self.crm.name}"
            verdicts = outcomes.tell_within(self.house, self.connection, told, source, self.now)
            self.done.did.update(verdict for verdict in verdicts if verdict not in ("known", "same"))

    def _give_back(self, seen: Mapping[int, Seen], before: Mapping[int, Link]) -> None:
        """Bring leads back that sales gives back there, as the policy says for the reason."""
        back: dict[int, str] = {}
        for lead_id, one in seen.items():
            meaning = self.words.meaning(one.status)
            if meaning and meaning.meant is Meant.RECYCLED and is_new(one, before.get(lead_id)):
                back[lead_id] = meaning.reason
        if not back:
            return
        database = self.house.database
        rows = [
            row
            for row in snapshot.these(database, self.connection, list(back))
            if row.kind in (Custodian.REP, Custodian.OFFER)
        ]
        mover = Mover(self.house.rulebooks.current(self.connection), self.now, "crm")
        claimed = snapshot.views(database, self.connection, rows, self.now, self.house.holidays)
        taken = [
            (lead, self.policy.reject_reasons[back[lead.view.lead.id]])
            for lead in claimed
            if back[lead.view.lead.id] in self.policy.reject_reasons
        ]
        recycle_all(self.house, self.connection, mover, taken, "given back in the CRM")
        won = mover.changes.write(database, self.connection, self.now)
        self._reject(sorted(won), back)
        stopped = [
            OptOut(lead.address_id, Source.ADMIN)
            for lead, meaning in taken
            if meaning.suppress and lead.address_id is not None and lead.view.lead.id in won
        ]
        suppression.opt_out(database, self.connection, stopped, self.now)
        self.done.did["given back"] += len(won)

    def _reject(self, lead_ids: Sequence[int], back: Mapping[int, str]) -> None:
        """Write that their reps gave these leads back, and why: who gave one back does not get it again."""
        database = self.house.database
        handoff_queries.follow_up(
            database, self.connection, [(id_, "given back") for id_ in lead_ids], self.now
        )
        had = handoff_queries.accepted_of(database, self.connection, lead_ids)
        opened = handoff_queries.open_of(database, self.connection, lead_ids)
        given = [(one.id, "rejected", back[id_]) for id_, one in had.items() if id_ not in opened]
        handoff_queries.take_away(database, self.connection, given)
        answers = [(one.id, "rejected", back[id_]) for id_, one in opened.items()]
        handoff_queries.answer(database, self.connection, answers, self.now)
