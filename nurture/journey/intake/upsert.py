"""One batch of rows against what is known: who is new, who changed, who is won. No lead enters twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Self

from sqlalchemy import Connection

from nurture.db.engine import Database
from nurture.db.locks import Lock, acquire
from nurture.domain.consent.suppression import Key as OptOutKey
from nurture.domain.consent.suppression import Scope, Source, Standing, key_of
from nurture.domain.lead import Closing, Custodian, Fact, Queue
from nurture.domain.plain_text import index_key
from nurture.domain.scoring import bant
from nurture.domain.signals import SignalKind
from nurture.formats.lead_row import LeadRow
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.intake import interpret, queries
from nurture.journey.intake.interpret import Heard, Place
from nurture.journey.intake.queries import Entries, Key, Known, Line, NewCustody, NewLead, Told, Updated
from nurture.journey.leads import address_queries, suppression_queries
from nurture.journey.leads.changeset import Cancelled, Custodied, Ended

SOURCE: Final = "import"
"""What the outcomes of an import name as their source."""

Note = tuple[str, str, str | None, str | None, str | None]
"""A line of the journal before its lead has an id: event, because, custody from and to, ref."""

Barred = dict[OptOutKey, OptOut | Standing]
"""What stands against an address. That its mailbox bounced stands beside what the lead said."""


@dataclass(slots=True, eq=False)
class Arrival:
    """A lead while its rows are read. *row* is the row that brought it, None for a known lead."""

    facts: dict[str, Fact]
    zone: str
    country: str
    basis: str | None
    first_contact_at: datetime
    place: Place
    since: datetime
    address_id: int | None = None
    row: LeadRow | None = None
    known: Known | None = None
    id: int = 0
    changed: bool = False
    candidates: tuple[Arrival, ...] = ()
    keys: list[Key] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    heard: list[tuple[Heard, str, bool]] = field(default_factory=list)
    refused: bool = False
    """It said no while no address of it was known."""

    @classmethod
    def of(cls, known: Known) -> Self:
        """Return a known lead as it stands."""
        place = Place(known.kind, known.ref, "", None, "")
        return cls(
            known.facts,
            known.zone,
            known.country,
            known.basis,
            known.first_contact_at,
            place,
            known.since,
            known.address_id,
            known=known,
            id=known.lead_id,
        )


class Arrivals:
    """Folds the rows of one batch into leads, then writes them."""

    def __init__(
        self,
        database: Database,
        connection: Connection,
        file: str,
        now: datetime,
        held_at: datetime | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.placed: Counter[tuple[str, str]] = Counter()
        self._database = database
        self._connection = connection
        self._file = file
        self._now = now
        self._held_at = held_at
        self._entries = Entries()
        self._addresses: dict[str, int] = {}
        self._keys: dict[Key, Arrival] = {}
        self._holders: dict[int, Arrival] = {}
        self._barred: dict[int, Barred] = defaultdict(dict)
        self._opt_outs: list[OptOut] = []
        self._arrivals: list[Arrival] = []
        self._doubtful: dict[Key, Arrival] = {}

    def take(self, rows: Sequence[LeadRow]) -> None:
        """Bring *rows* in, in their order, in this transaction."""
        keys = [interpret.key_of(row) for row in rows]
        self._look_up(rows, keys)
        for row, key in zip(rows, keys, strict=True):
            self.counts[self._take(row, key)] += 1
        self._settle_doubts()
        self._write()

    def _look_up(self, rows: Sequence[LeadRow], keys: Sequence[Key | None]) -> None:
        database, connection = self._database, self._connection
        acquire(database, connection, Lock.INTAKE)
        emails = list(dict.fromkeys(row.email for row in rows if row.email))
        found = address_queries.addresses(database, connection, emails, revive=True)
        named = queries.identities(database, connection, list(dict.fromkeys(key for key in keys if key)))
        wanted = {lead_id for _, lead_id in found.values() if lead_id is not None} | set(named.values())
        leads = {one.lead_id: Arrival.of(one) for one in queries.known(database, connection, wanted)}
        self._arrivals += leads.values()
        self._addresses = {email: address_id for email, (address_id, _) in found.items()}
        self._keys = {key: leads[lead_id] for key, lead_id in named.items()}
        self._holders = {lead.address_id: lead for lead in leads.values() if lead.address_id is not None}
        asked = set(self._addresses.values()) | set(self._holders)
        for address_id, standing in suppression_queries.standing(database, connection, asked).items():
            self._barred[address_id] = {key_of(one.scope, one.ref, one.source): one for one in standing}
        without = [lead.id for lead in leads.values() if lead.address_id is None]
        for lead_id in suppression_queries.refused_without_address(database, connection, without):
            leads[lead_id].refused = True

    def _take(self, row: LeadRow, key: Key | None) -> str:
        address_id = self._addresses[row.email] if row.email else None
        named = self._keys.get(key) if key is not None else None
        holder = self._holders.get(address_id) if address_id is not None else None
        if named is not None and holder is not None and named is not holder:
            return self._doubt(row, named, holder, address_id)
        lead = named or holder
        if lead is not None:
            return "updated" if self._update(lead, row, key, address_id) else "unchanged"
        self._enter(row, key, address_id)
        return "new"

    def _enter(self, row: LeadRow, key: Key | None, address_id: int | None) -> None:
        if address_id is not None and interpret.opts_out(row):
            self._suppress(OptOut(address_id, Source.IMPORT))
        place = interpret.place_of(row, suppressed=self._is_barred(address_id), now=self._now)
        lead = self._new(row, place, address_id)
        if key is not None:
            self._name(lead, key)
        if address_id is not None:
            self._holders[address_id] = lead
        elif interpret.opts_out(row):
            self._stop(lead, row)
        self._hear(lead, row)

    def _new(self, row: LeadRow, place: Place, address_id: int | None) -> Arrival:
        lead = Arrival(
            interpret.facts_of(row, {}, self._now),
            row.zone or "",
            row.country or "",
            row.consent_basis.value if row.consent_basis is not None else None,
            interpret.first_contact(row, self._now),
            place,
            self._now,
            address_id,
            row=row,
        )
        self._arrivals.append(lead)
        self._note(lead, row, "imported", place.because, None)
        return lead

    def _name(self, lead: Arrival, key: Key) -> None:
        lead.keys.append(key)
        self._keys[key] = lead

    def _update(self, lead: Arrival, row: LeadRow, key: Key | None, address_id: int | None) -> bool:
        """Bring what is known up to date; return whether anything changed. Consent is none of it."""
        before = lead.facts
        news = self._learn(lead, row)
        if key is not None and key not in self._keys:
            self._name(lead, key)
            news.append("id")
        if address_id is not None and address_id != lead.address_id:
            self._readdress(lead, address_id, row)
            news.append("address")
        if interpret.opts_out(row) and self._stop(lead, row):
            news.append("opt-out")
        if news:
            lead.changed = True
            self._note(lead, row, "updated", f"new: {', '.join(news)}", None)
        place = interpret.became(row, before, self._now)
        if place is not None and self._may_go(lead, place):
            self._move(lead, place, row)
        self._hear(lead, row)
        return bool(news)

    @staticmethod
    def _may_go(lead: Arrival, place: Place) -> bool:
        """Say whether the file may move the lead: a won one from anywhere, others only from marketing."""
        if place.ref == Closing.WON:
            return lead.place[:2] != (Custodian.CLOSED, Closing.WON)
        return lead.place.kind in (Custodian.INTAKE, Custodian.TRACK, Custodian.QUEUE)

    def _learn(self, lead: Arrival, row: LeadRow) -> list[str]:
        facts = bant.without_stale(lead.facts, interpret.facts_of(row, lead.facts, self._now))
        zone, country = row.zone or lead.zone, row.country or lead.country
        first = min(lead.first_contact_at, interpret.first_contact(row, self._now))
        news = [name for name, value in facts.items() if name not in lead.facts or lead.facts[name] != value]
        if (zone, country, first) != (lead.zone, lead.country, lead.first_contact_at):
            news.append("place or first contact")
        lead.facts, lead.zone, lead.country, lead.first_contact_at = facts, zone, country, first
        return news

    def _readdress(self, lead: Arrival, address_id: int, row: LeadRow) -> None:
        old = lead.address_id
        lead.address_id = address_id
        self._holders[address_id] = lead
        if old is not None:
            del self._holders[old]
            # The lead said no, not its old mailbox; only a bounce stays behind.
            for one in list(self._barred[old].values()):
                if one.source is not Source.BOUNCE:
                    self._suppress(OptOut(address_id, one.source, one.scope, one.ref))
        elif lead.refused:
            self._suppress(OptOut(address_id, Source.IMPORT))
        if lead.place[:2] == (Custodian.QUEUE, Queue.NO_ADDRESS):
            suppressed = self._is_barred(address_id) or interpret.opts_out(row)
            place = interpret.waiting(
                suppressed=suppressed, address=True, basis=lead.basis is not None, now=self._now
            )
            self._move(lead, place, row)

    def _stop(self, lead: Arrival, row: LeadRow) -> bool:
        """Stop mail to a lead that said no, now or once it has an address; return whether that is news."""
        if lead.address_id is not None:
            return self._suppress(OptOut(lead.address_id, Source.IMPORT))
        if lead.refused:
            return False
        lead.refused = True
        lead.heard.append((Heard(SignalKind.UNSUBSCRIBED, self._now, "without address"), row.source, True))
        return True

    def _suppress(self, opt_out: OptOut) -> bool:
        key = key_of(opt_out.scope, opt_out.ref, opt_out.source)
        if key in self._barred[opt_out.address_id]:
            return False
        self._barred[opt_out.address_id][key] = opt_out
        self._opt_outs.append(opt_out)
        return True

    def _is_barred(self, address_id: int | None) -> bool:
        return address_id is not None and any(
            one.scope is Scope.GLOBAL for one in self._barred[address_id].values()
        )

    def _move(self, lead: Arrival, place: Place, row: LeadRow) -> None:
        origin = lead.place.kind
        lead.place, lead.since, lead.changed = place, self._now, True
        self._note(lead, row, "closed" if place.kind == Custodian.CLOSED else "moved", place.because, origin)

    def _note(self, lead: Arrival, row: LeadRow, event: str, because: str, origin: str | None) -> None:
        moves = event != "updated"
        kind, ref = (lead.place.kind, lead.place.ref) if moves else (None, None)
        lead.notes.append((event, f"line {row.line} of {self._file}: {because}"[:500], origin, kind, ref))

    def _hear(self, lead: Arrival, row: LeadRow) -> None:
        asked_before = lead.known is None or lead.known.facts.get("demo_requested")
        for heard in interpret.signals_of(row, self._now, self._held_at):
            if heard.kind is SignalKind.REQUESTED_DEMO and not asked_before:
                heard = replace(heard, occurred_at=self._now)  # noqa: PLW2901 - the row's date is older than this news
            # What a lead did before it was closed has had its answer: it brings nobody back.
            spent = lead.place.kind == Custodian.CLOSED and heard.occurred_at <= lead.since
            lead.heard.append((heard, row.source, spent))

    def _doubt(self, row: LeadRow, named: Arrival, holder: Arrival, address_id: int | None) -> str:
        if interpret.opts_out(row):
            # One of the two said no; nobody can tell which.
            for one in (named, holder):
                one.changed |= self._stop(one, row)
        key = interpret.key_of(row)
        assert key is not None
        doubtful = (f"ambiguous {key[0]}", f"{key[1]} {address_id}")
        if doubtful in self._doubtful:
            return "unchanged"
        place = interpret.ambiguous(self._now)
        lead = self._new(row, place, None)
        lead.facts |= {"email": row.email, "external_id": row.external_id}
        lead.candidates = (named, holder)
        lead.keys.append(doubtful)
        self._doubtful[doubtful] = lead
        return "new"

    def _settle_doubts(self) -> None:
        """Forget rows that stand in the queue already."""
        there = queries.identities(self._database, self._connection, list(self._doubtful))
        for key in there:
            self._arrivals.remove(self._doubtful[key])
        self.counts["new"] -= len(there)
        self.counts["unchanged"] += len(there)

    def _write(self) -> None:
        fresh = [lead for lead in self._arrivals if lead.known is None]
        ids = self._database.reserve_ids(self._connection, "lead", len(fresh))
        for lead, lead_id in zip(fresh, ids, strict=True):
            lead.id = lead_id
        for lead in fresh:
            if lead.candidates:
                lead.facts["candidates"] = " ".join(str(one.id) for one in lead.candidates)
            self._write_new(lead)
        for lead in self._arrivals:
            if lead.known is not None and lead.changed:
                self._write_known(lead, lead.known)
            self._write_rest(lead)
        self.counts["signals"] += self._entries.write(self._database, self._connection, self._now)
        suppression.opt_out(self._database, self._connection, self._opt_outs, self._now)

    def _write_new(self, lead: Arrival) -> None:
        row, place, now = lead.row, lead.place, self._now
        assert row is not None
        source = (row.consent_source or row.source) if lead.basis is not None else None
        self._entries.leads.append(
            NewLead(
                lead.id,
                lead.address_id,
                row.source,
                lead.facts,
                lead.zone,
                lead.country,
                lead.basis,
                source,
                row.consent_at if lead.basis is not None else None,
                0.0,
                "",
                lead.first_contact_at,
                now,
                now,
            )
        )
        self._entries.custody.append(
            NewCustody(lead.id, place.kind, place.ref, now, place.next_action, place.due_at, 1)
        )
        self.placed[str(place.kind), str(place.ref)] += 1
        if place.kind == Custodian.CLOSED:
            self._end(lead)

    def _write_known(self, lead: Arrival, known: Known) -> None:
        entries, place = self._entries, lead.place
        entries.updated.append(
            Updated(lead.id, lead.address_id, lead.facts, lead.zone, lead.country, lead.first_contact_at)
        )
        if known.address_id not in (None, lead.address_id):
            entries.readdressed.append(lead.id)
        if place[:2] == (known.kind, known.ref):
            if place.kind == Custodian.TRACK:
                entries.woken.append(lead.id)
            return
        entries.changes.custody.append(
            Custodied(
                lead.id, known.version, place.kind, place.ref, self._now, place.next_action, place.due_at
            )
        )
        if place.kind in (Custodian.CLOSED, Custodian.REP):
            entries.left.append(lead.id)
            entries.changes.cancelled.append(Cancelled(lead.id, "left"))
        if place.kind == Custodian.CLOSED:
            self._end(lead)

    def _end(self, lead: Arrival) -> None:
        self._entries.changes.ended.append(
            Ended(lead.id, lead.place.ref, self._now, None, lead.place.because, SOURCE, self._now)
        )

    def _write_rest(self, lead: Arrival) -> None:
        self._entries.identities += [(*key, lead.id) for key in lead.keys]
        for note in lead.notes:
            self._entries.lines.append(Line(lead.id, self._now, "intake", *note))
        for heard, source, spent in lead.heard:
            self._entries.told.append(
                Told(
                    lead.id,
                    heard.kind,
                    heard.occurred_at,
                    self._now,
                    index_key(f"import {source} {lead.id} {heard.kind} {heard.key}"),
                    "human",
                    "",
                    heard.value,
                    source,
                    self._now if spent else None,
                )
            )
