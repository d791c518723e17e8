"""Put together what became of each hand-off: one lead, one decision, one rep or several in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Final

from nurture.reporting.handoff_history_queries import Ended, Made

NOT_MINE: Final = frozenset({"not-mine", "wrong-owner"})
"""Reject reasons by which a rep says that a lead belongs to somebody else."""

_TAKEN: Final = ("accepted", "lapsed")


@dataclass(frozen=True, slots=True)
class Handover:
    """One hand-off from the decision on: its offers, in order, and how the lead ended after it, if it has.

    *until* is when the lead was handed off anew, None for its newest hand-off.
    """

    decided_at: datetime
    offers: tuple[Made, ...]
    ended: Ended | None
    until: datetime | None

    @property
    def first(self) -> Made:
        """Return the first offer."""
        return self.offers[0]

    @property
    def taken(self) -> Made | None:
        """Return the newest offer that its rep accepted."""
        return next((one for one in reversed(self.offers) if one.state in _TAKEN), None)

    @property
    def followed_up_at(self) -> datetime | None:
        """Return when a rep first got in touch with the lead; who bought was in touch with somebody."""
        known = [one.followed_up_at for one in self.offers if one.followed_up_at]
        return min(known, default=self.ended.happened_at if self.ended and self.has_won else None)

    @property
    def has_won(self) -> bool:
        """Return whether the lead bought after this hand-off, and before the next one."""
        return self.ended is not None and self.ended.closing == "won"

    @property
    def reached_by_owner(self) -> bool:
        """Return whether the rep who took it was the one who got in touch."""
        return self.taken is not None and (self.taken.followed_up_at is not None or self.has_won)

    @property
    def ignored(self) -> bool:
        """Return whether nobody ever answered, or whoever took it never got in touch and lost it."""
        return all(one.state in ("expired", "lapsed") for one in self.offers)

    @property
    def is_open(self) -> bool:
        """Return whether a rep is still to answer."""
        return self.offers[-1].state == "offered"

    @property
    def wrong_owner(self) -> bool:
        """Return whether its first owner was not the right one: passed on, refused as not theirs, or changed
        in the CRM.
        """
        passed_on = any(one.state == "reassigned" or one.reason in NOT_MINE for one in self.offers)
        taken = self.taken
        return passed_on or (taken is not None and taken.crm_owner not in ("", taken.rep))

    @property
    def closed_at(self) -> datetime | None:
        """Return when the loop closed: how it ended is known, or a rep gave it back with a reason."""
        known = [
            max(one.answered_at, one.followed_up_at or one.answered_at)  # given back after it was taken over
            for one in self.offers
            if one.state == "rejected" and one.answered_at
        ]
        if self.ended is not None:
            known.append(self.ended.happened_at)
        return max(min(known), self.decided_at) if known else None

    def followed_up_within(self, span: timedelta) -> bool:
        """Return whether somebody got in touch within *span* of the first offer."""
        at = self.followed_up_at
        return at is not None and at - self.first.offered_at <= span

    def closed_within(self, span: timedelta) -> bool:
        """Return whether the loop closed within *span* of the decision."""
        return self.closed_at is not None and self.closed_at - self.decided_at <= span


def handovers(
    made: Iterable[Made], handed_off: Mapping[int, Sequence[datetime]], ended: Mapping[int, Sequence[Ended]]
) -> Iterator[Handover]:
    """Group offers, which come lead by lead in their order, into hand-offs."""
    for lead_id, offers in groupby(made, key=attrgetter("lead_id")):
        chains = list(_chains(offers))
        before = [None, *(chain[-1].offered_at for chain in chains)]
        told = handed_off.get(lead_id, ())
        decided = [_decided(chain[0], told, after) for chain, after in zip(chains, before, strict=False)]
        for place, chain in enumerate(chains):
            until = decided[place + 1] if place + 1 < len(chains) else None
            of_this = (
                one
                for one in ended.get(lead_id, ())
                if one.happened_at >= decided[place] and (until is None or one.happened_at < until)
            )
            yield Handover(decided[place], tuple(chain), next(of_this, None), until)


def _chains(offers: Iterable[Made]) -> Iterator[list[Made]]:
    """Begin anew with each first round, unless a person only passed the lead on."""
    chain: list[Made] = []
    for one in offers:
        if chain and one.round == 1 and chain[-1].state != "reassigned":
            yield chain
            chain = []
        chain.append(one)
    if chain:
        yield chain


def _decided(first: Made, handed_off: Sequence[datetime], after: datetime | None) -> datetime:
    """Return the newest decision before the offer, and *after* the lead's last offer before it.

    Leads that arrive ready are offered at once, as are those that a rep asks for.
    """
    known = (at for at in handed_off if at <= first.offered_at and (after is None or at > after))
    return max(known, default=first.offered_at)
