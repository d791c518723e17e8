"""What must hold of leads whatever happened to them: compare the database with its journal and with the provider."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text

from nurture.db.tables.leads import custody, journal
from nurture.db.tables.tracks import enrollment
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.chaos.suppressing import last_before, times_of
from tests.chaos.worker import Note

_TWO_STAYS: Final = """
SELECT lead_id FROM enrollment WHERE ended_at IS NULL AND suspended_at IS NULL GROUP BY lead_id HAVING count(*) > 1
"""
_KEYS: Final = """
SELECT m.send_key, coalesce(m.track, ''), coalesce(a.email, ''), e.entered_at
FROM message m JOIN lead l ON l.id = m.lead_id LEFT JOIN address a ON a.id = l.address_id
LEFT JOIN enrollment e ON e.id = m.enrollment_id WHERE m.kind = 'touch'
"""


def judge_state(ctx: AppContext, at: datetime) -> list[str]:
    """Return what is wrong with the database itself, when no worker runs."""
    with ctx.database.read() as tx:
        wrong = [f"lead {lead} is on two tracks" for (lead,) in tx.execute(text(_TWO_STAYS))]
    report = run_audit(ctx, at)
    balances = (report.total, *report.by_source, *report.by_day)
    wrong += [f"the ledger does not balance: {one}" for one in balances if not one.is_balanced]
    wrong += [f"audit: {one.kind}, leads {one.lead_ids}" for one in report.findings if one.is_violation]
    return wrong + _judge_replay(ctx)


@dataclass
class _Replayed:
    """A lead as its journal tells it."""

    kind: str | None = None
    track: str | None = None
    step: tuple[str, int] | None = None
    wrong: list[str] = field(default_factory=list)

    def apply(self, entry: Any) -> None:
        if entry.custody_to is not None:
            if entry.custody_from != self.kind:
                self.wrong.append(f"entry {entry.id} leaves {entry.custody_from}, but the lead was in {self.kind}")
            self.kind = entry.custody_to
            if self.kind == "track":
                self.track = entry.ref
        position = (entry.detail or {}).get("position")
        if position is not None:
            self.step = (position[0], position[1])


def _judge_replay(ctx: AppContext) -> list[str]:
    """Replay the journal of each lead: it must end in the custody, on the track and at the step that are stored."""
    replayed: dict[int, _Replayed] = defaultdict(_Replayed)
    is_active = (enrollment.c.ended_at.is_(None), enrollment.c.suspended_at.is_(None))
    stored = select(custody.c.lead_id, custody.c.kind, custody.c.ref, enrollment.c.step, enrollment.c.visit)
    stored = stored.outerjoin(enrollment, (enrollment.c.lead_id == custody.c.lead_id) & is_active[0] & is_active[1])
    with ctx.database.read() as tx:
        for entry in tx.execute(select(journal).order_by(journal.c.id)):
            replayed[entry.lead_id].apply(entry)
        rows = tx.execute(stored).all()
    wrong = [f"lead {lead}: {fault}" for lead, one in replayed.items() for fault in one.wrong]
    for row in rows:
        one = replayed[row.lead_id]
        if one.kind != row.kind:
            wrong.append(f"lead {row.lead_id} is in {row.kind}, by its journal in {one.kind}")
        elif row.kind == "track" and one.track != row.ref:
            wrong.append(f"lead {row.lead_id} is on {row.ref}, by its journal on {one.track}")
    return wrong


@dataclass
class Calls:
    """What the provider accepted, and what is known of each email: its track, its address, when its stay began."""

    tracks: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    entered: dict[str, datetime | None] = field(default_factory=dict)

    def learn(self, ctx: AppContext) -> None:
        """Note the emails that the database knows now: a restore or an erasure takes them away."""
        with ctx.database.read() as tx:
            for key, track, address, entered_at in tx.execute(text(_KEYS)):
                self.tracks[key] = track
                self.entered[key] = entered_at
                if address:
                    self.addresses.setdefault(key, address)

    def judge(
        self,
        arrivals: Sequence[tuple[str, float]],
        work: Sequence[Note],
        stops: Iterable[tuple[str, float, float]],
        refused: Mapping[str, float],
        may_repeat: Collection[str] = (),
    ) -> list[str]:
        """Return what is wrong with the calls: twice, begun after a stop (track, from, to), or after a no.

        *may_repeat* are emails of people about whom something came in that a restore lost.
        """
        twice = [
            key for key, count in Counter(key for key, _ in arrivals).items() if count > 1 and key not in may_repeat
        ]
        wrong = [f"sent twice: {key}" for key in twice]
        looks = times_of(work, "last check")
        for key, at in arrivals:
            looked = last_before(looks.get(key, []), at)
            if looked is None:
                wrong.append(f"called without a last check: {key}")
                continue
            refused_at = refused.get(self.addresses.get(key, ""))
            if refused_at is not None and looked > refused_at:
                wrong.append(f"called {looked - refused_at:.3f} s after a no: {key}")
            track = self.tracks.get(key)
            wrong += [
                f"called {looked - begin:.3f} s after {stopped or 'all mail'} was stopped: {key}"
                for stopped, begin, end in stops
                if track is not None and stopped in ("", track) and begin < looked < end
            ]
        return wrong

    def content(self, key: str) -> tuple[str, str]:
        """Return the address and the step with its visit of the email *key*: ids differ after a restore."""
        return self.addresses.get(key, ""), key.split(":", 2)[2] if key.startswith("touch:") else key
