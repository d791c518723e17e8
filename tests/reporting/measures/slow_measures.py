"""The measures once more, by loops over plain rows: slow, and independent of the statements of the report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from math import ceil
from typing import Any

from sqlalchemy import select

from nurture.db.metadata import metadata
from nurture.runtime.context import AppContext

Row = Any
Count = tuple[int, int, int]
"""Part, whole and not known."""

DAY = timedelta(days=1)
WRONG = ("not-mine", "wrong-owner")


@dataclass(slots=True)
class Handoff:
    """The offers of one hand-off, and the first ending after its first offer and before the next hand-off."""

    offers: list[Row]
    ending: Row | None
    now: datetime

    @property
    def at(self) -> datetime:
        return self.offers[0].offered_at  # type: ignore[no-any-return]

    @property
    def taken(self) -> Row | None:
        found = [
            one
            for one in self.offers
            if one.state in ("accepted", "lapsed") or (one.state == "rejected" and one.ended_at)
        ]
        return found[-1] if found else None

    @property
    def won(self) -> bool:
        return self.ending is not None and self.ending.closing == "won"

    def days(self, at: datetime | None) -> float | None:
        return None if at is None else (at - self.at) / DAY

    @property
    def touched(self) -> float | None:
        known = [one.followed_up_at for one in self.offers if one.followed_up_at]
        return self.days(min(known)) if known else self.days(self.ending.happened_at) if self.won else None

    @property
    def rejected(self) -> float | None:
        known = [one.ended_at or one.answered_at for one in self.offers if one.state == "rejected" and one.answered_at]
        return self.days(min(known)) if known else None

    @property
    def closed(self) -> float | None:
        ended = self.days(self.ending.happened_at) if self.ending is not None else None
        known = [one for one in (self.rejected, ended) if one is not None]
        return min(known) if known else None

    @property
    def age(self) -> float:
        return (self.now - self.at) / DAY


def within(days: float | None, limit: float) -> bool:
    return days is not None and days <= limit


class SlowMeasures:
    """All rows of the database, and the figures counted from them."""

    def __init__(self, ctx: AppContext, now: datetime) -> None:
        self.now = now
        names = ("lead", "custody", "journal", "offer", "outcome", "enrollment", "signal", "message", "missing_field")
        with ctx.database.read() as tx:
            self.rows: dict[str, list[Row]] = {
                name: list(tx.execute(select(metadata.tables[name]).order_by(*metadata.tables[name].primary_key)))
                for name in names
            }
        self.leads = {one.id: one for one in self.rows["lead"]}
        self.custody = {one.lead_id: one for one in self.rows["custody"]}
        self.handoffs = list(self._handoffs())

    def _handoffs(self) -> Any:
        for lead_id, group in groupby(
            sorted(self.rows["offer"], key=lambda one: (one.lead_id, one.id)), lambda one: one.lead_id
        ):
            chains: list[list[Row]] = []
            for one in group:
                if not chains or (one.round == 1 and chains[-1][-1].state != "reassigned"):
                    chains.append([])
                chains[-1].append(one)
            for place, chain in enumerate(chains):
                until = chains[place + 1][0].offered_at if place + 1 < len(chains) else None
                endings = sorted(
                    (
                        one
                        for one in self.rows["outcome"]
                        if one.lead_id == lead_id
                        and one.happened_at >= chain[0].offered_at
                        and (until is None or one.happened_at < until)
                    ),
                    key=lambda one: (one.happened_at, one.id),
                )
                yield Handoff(chain, endings[0] if endings else None, self.now)

    def count(self) -> dict[str, Count]:
        """Return the counts of every measure that is computed here."""
        return self._of_handoffs() | self._of_leads() | self._of_offers() | self._of_wins() | self._of_events()

    def _of_handoffs(self) -> dict[str, Count]:
        of = self.handoffs
        old = {days: [one for one in of if one.age >= days] for days in (7, 30, 90)}
        answered = [one for one in of if one.offers[-1].state != "offered"]
        moved = [one for one in of if len(one.offers) > 1]

        def known(one: Handoff, days: int) -> bool:
            accepted = one.days(one.taken.answered_at) if one.taken is not None else None
            return any(within(at, days) for at in (accepted, one.rejected, one.closed, one.touched))

        def reached(one: Handoff) -> bool:
            return one.taken is not None and (one.taken.followed_up_at is not None or one.won)

        def was_given_back(one: Handoff) -> bool:
            return within(one.rejected, 7) and not within(one.touched, 7)

        def never(one: Handoff) -> bool:
            return not within(one.touched, 7) and not within(one.rejected, 7)

        def wrong(one: Handoff) -> bool:
            return any(offer.state == "reassigned" or offer.reason in WRONG for offer in one.offers)

        def ignored(one: Handoff) -> bool:
            return all(offer.state in ("expired", "lapsed") and not offer.followed_up_at for offer in one.offers)

        unknown = sum(map(was_given_back, old[7]))
        return {
            "R1": (sum(map(wrong, of)), len(of), 0),
            "R4": (sum(known(one, 7) for one in old[7]), len(old[7]), 0),
            "R4-30": (sum(known(one, 30) for one in old[30]), len(old[30]), 0),
            "R5": (sum(map(reached, moved)), len(moved), 0),
            "R5-won": (sum(one.won for one in moved), len(moved), 0),
            "R6": (sum(map(reached, of)), len(of), 0),
            "R18": (sum(within(one.touched, 7) for one in old[7]), len(old[7]), unknown),
            "R19": (unknown, len(old[7]), 0),
            "R20-track": (sum(one.won for one in of), len(of), 0),
            "R35": (sum(within(one.closed, 30) for one in old[30]), len(old[30]), 0),
            "R35-90": (sum(within(one.closed, 90) for one in old[90]), len(old[90]), 0),
            "R36": (sum(map(ignored, answered)), len(answered), 0),
            "R61": (sum(map(never, old[7])), len(old[7]), 0),
            "R65-accepted": (sum(one.taken is not None for one in answered), len(answered), 0),
        }

    def _of_leads(self) -> dict[str, Count]:
        won, lost, discarded = (dict[int, datetime]() for _ in range(3))
        for one in self.rows["outcome"]:
            lead = self.leads[one.lead_id]
            if one.closing == "won" and not (one.source == "import" and one.recorded_at == lead.created_at):
                won[one.lead_id] = min(won.get(one.lead_id, one.happened_at), one.happened_at)
            if one.closing != "won":
                lost[one.lead_id] = min(lost.get(one.lead_id, one.happened_at), one.happened_at)
            if one.closing == "discarded":
                discarded[one.lead_id] = min(discarded.get(one.lead_id, one.happened_at), one.happened_at)

        def day(of: dict[int, datetime], lead: Row) -> float | None:
            return (of[lead.id] - lead.first_contact_at) / DAY if lead.id in of else None

        leads = list(self.leads.values())
        today = self.now.date()
        old = {
            days: [one for one in leads if (today - one.first_contact_at.date()).days >= days] for days in (182, 365)
        }
        bought = [one for one in old[182] if within(day(won, one), 182)]
        ended = [one for one in old[182] if not within(day(won, one), 182) and within(day(lost, one), 182)]
        kept = [one.lead_id for one in self.custody.values() if one.kind in ("track", "resting")]
        queued = [
            one
            for one in self.custody.values()
            if one.kind == "queue" and one.ref not in ("hand-off", "manager-decision", "no-rep")
        ]
        return {
            "R2": (sum(one.id not in self.custody for one in leads), len(leads), 0),
            "R3": (sum(one.id in self.custody for one in leads), len(leads), 0),
            "R20": (len(won), len(leads), 0),
            "R22": (len(kept), len(leads), 0),
            "R24": (len(kept), len(kept) + len(queued), 0),
            "R25-won": (sum(id_ in won and won[id_] > at for id_, at in discarded.items()), len(discarded), 0),
            "R44": (sum(within(day(won, one), 365) for one in old[365]), len(old[365]), 0),
            "R45": (len(bought), len(old[182]), 0),
            "R45-market": (len(old[182]) - len(bought) - len(ended), len(old[182]), 0),
            "R45-not": (len(ended), len(old[182]), 0),
        }

    def _of_offers(self) -> dict[str, Count]:
        offers = self.rows["offer"]
        done = [one for one in offers if one.state not in ("offered", "withdrawn")]
        expired = [one for one in offers if one.state == "expired"]
        final = [one for one in offers if one.state != "offered"]
        open_ = [one for one in offers if one.state == "offered" and self.custody[one.lead_id].kind == "offer"]
        return {
            "R13": (sum(one.state != "expired" for one in done), len(done), 0),
            "R31": (sum((one.answered_at - one.expires_at) / DAY <= 1 for one in expired), len(expired), 0),
            "R40": (len(offers), len(offers), 0),
            "R54": (sum(one.expires_at < self.now for one in open_), len(open_), 0),
            "R65-reasons": (sum(one.state == "rejected" for one in final), len(final), 0),
        }

    def _of_wins(self) -> dict[str, Count]:
        first: dict[int, datetime] = {}
        for one in self.rows["outcome"]:
            arrived = one.source == "import" and one.recorded_at == self.leads[one.lead_id].created_at
            if one.closing == "won" and not arrived:
                first[one.lead_id] = min(first.get(one.lead_id, one.happened_at), one.happened_at)
        known = {id_: self.leads[id_].first_contact_at for id_ in first}
        old = [id_ for id_, since in known.items() if (self.now.date() - since.date()).days >= 365]
        days = [(first[id_] - known[id_]) / DAY for id_ in old]

        def between(least: float, most: float) -> Count:
            return sum(least < one <= most for one in days), len(days), len(known) - len(old)

        return {
            "R46": between(91, 1e9),
            "R47": between(91, 182),
            "R48": between(182, 365),
            "R49": between(365, 1e9),
        }

    def _of_events(self) -> dict[str, Count]:
        events = Counter(one.event for one in self.rows["journal"])
        sent = sum(one.kind == "touch" and one.accepted_at is not None for one in self.rows["message"])
        human = Counter(one.kind for one in self.rows["signal"] if one.verdict == "human")
        moves = [(before, after) for before, after, _ in self.stays()]
        return {
            "R34": (
                sum(one.event == "hand_off" and one.track is not None for one in self.rows["journal"]),
                sum(one.event == "classified" and one.track is not None for one in self.rows["journal"]),
                0,
            ),
            "R42": (events["frequency_cap"], events["touch"], 0),
            "R52": (events["reps_full"], events["touch"], 0),
            "R55": (sum(after in ("offer", "rep") for _, after in moves), len(moves), 0),
            "R58": (human["replied"], sent, 0),
            "R58-clicks": (human["clicked"], sent, 0),
            "R59": (human["unsubscribed"], sent, 0),
        }

    def stays(self) -> list[tuple[str, str, timedelta]]:
        """Return each stay that ended: with whom, who came next, and how long it was."""
        found = []
        for _, entries in groupby(
            sorted(self.rows["journal"], key=lambda one: (one.lead_id, one.id)), lambda one: one.lead_id
        ):
            moves = [one for one in entries if one.custody_to is not None]
            found += [(two.custody_from, two.custody_to, two.at - one.at) for one, two in pairwise(moves)]
        return [one for one in found if one[0] is not None]

    def median_days_on_track(self) -> float | None:
        """Return the median of the days from an enrollment to its first hand-off."""
        entered = {one.id: one.entered_at for one in self.rows["enrollment"]}
        firsts = [one.offers[0] for one in self.handoffs]
        days = sorted(
            (one.offered_at - entered[one.enrollment_id]) / DAY for one in firsts if one.enrollment_id is not None
        )
        return days[ceil(len(days) / 2) - 1] if days else None

    def months(self) -> dict[str, int]:
        """Return the number of hand-offs by month."""
        return dict(Counter(f"{one.at:%Y-%m}" for one in self.handoffs))
