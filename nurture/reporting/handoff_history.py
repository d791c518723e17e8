"""The history of each hand-off: one decision for one lead, offered to one or more reps in turn."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from nurture.domain.policy.policy import WRONG_OWNER_REASONS
from nurture.reporting.handoff_history_queries import OfferRecord, OutcomeRecord


@dataclass(frozen=True, slots=True)
class HandoffHistory:
    """One hand-off: its offers in order, and the first outcome before *next_handoff_at*, if any."""

    decided_at: datetime
    offers: tuple[OfferRecord, ...]
    outcome: OutcomeRecord | None
    next_handoff_at: datetime | None

    @property
    def first(self) -> OfferRecord:
        """Return the first offer."""
        return self.offers[0]

    @property
    def accepted_offer(self) -> OfferRecord | None:
        """Return the newest offer that its rep accepted."""
        return next((one for one in reversed(self.offers) if was_accepted(one)), None)

    @property
    def followed_up_at(self) -> datetime | None:
        """Return the time of the first follow-up; a win without one counts as a follow-up."""
        known = [one.followed_up_at for one in self.offers if one.followed_up_at]
        return min(known, default=self.outcome.happened_at if self.outcome and self.has_won else None)

    @property
    def has_won(self) -> bool:
        """Return whether the lead was won after this hand-off and before the next one."""
        return self.outcome is not None and self.outcome.closing == "won"

    @property
    def was_reached_by_owner(self) -> bool:
        """Return whether the rep who accepted it followed up, or won it."""
        return self.accepted_offer is not None and (self.accepted_offer.followed_up_at is not None or self.has_won)

    @property
    def was_ignored(self) -> bool:
        """Return whether every offer expired, or was accepted and lapsed without a follow-up."""
        return all(one.state in ("expired", "lapsed") and one.followed_up_at is None for one in self.offers)

    @property
    def is_open(self) -> bool:
        """Return whether the newest offer is not answered yet."""
        return self.offers[-1].state == "offered"

    @property
    def had_wrong_owner(self) -> bool:
        """Return whether it was reassigned, rejected as not theirs, or has another owner in the CRM."""
        was_reassigned = any(one.state == "reassigned" or one.reason in WRONG_OWNER_REASONS for one in self.offers)
        taken = self.accepted_offer
        return was_reassigned or (taken is not None and taken.crm_owner not in ("", taken.rep))

    @property
    def closed_at(self) -> datetime | None:
        """Return when the outcome was known or a rep rejected it with a reason; the earlier of both."""
        known = [one.ended_at or one.answered_at for one in self.offers if one.state == "rejected" and one.answered_at]
        if self.outcome is not None:
            known.append(self.outcome.happened_at)
        return max(min(known), self.decided_at) if known else None

    def was_followed_up_within(self, span: timedelta) -> bool:
        """Return whether a follow-up came within *span* of the first offer."""
        at = self.followed_up_at
        return at is not None and at - self.first.offered_at <= span

    def was_only_answered_within(self, span: timedelta) -> bool:
        """Return whether a rep gave it back with a reason within *span*, and nobody said whether they were in touch."""
        rejected = [one for one in self.offers if one.state == "rejected" and one.answered_at]
        first = min((one.ended_at or one.answered_at for one in rejected if one.answered_at), default=None)
        is_answered = first is not None and first - self.first.offered_at <= span
        return is_answered and not self.was_followed_up_within(span)

    def was_closed_within(self, span: timedelta) -> bool:
        """Return whether it closed within *span* of the decision."""
        return self.closed_at is not None and self.closed_at - self.decided_at <= span


def was_accepted(offer: OfferRecord) -> bool:
    """Return whether its rep accepted it, also if the lead was given back later."""
    return offer.state in ("accepted", "lapsed") or (offer.state == "rejected" and offer.ended_at is not None)


def group_into_handoffs(
    all_offers: Iterable[OfferRecord],
    handed_off: Mapping[int, Sequence[datetime]],
    outcomes: Mapping[int, Sequence[OutcomeRecord]],
) -> Iterator[HandoffHistory]:
    """Group *all_offers*, ordered by lead and id, into hand-offs."""
    for lead_id, offers in groupby(all_offers, key=attrgetter("lead_id")):
        chains = list(_split_by_handoff(offers))
        before = [None, *(chain[-1].offered_at for chain in chains)]
        decisions = handed_off.get(lead_id, ())
        decided = [
            _find_decision_time(chain[0], decisions, after) for chain, after in zip(chains, before, strict=False)
        ]
        for position, chain in enumerate(chains):
            until = decided[position + 1] if position + 1 < len(chains) else None
            later_outcomes = (
                one
                for one in outcomes.get(lead_id, ())
                if one.happened_at >= decided[position] and (until is None or one.happened_at < until)
            )
            yield HandoffHistory(decided[position], tuple(chain), next(later_outcomes, None), until)


def _split_by_handoff(offers: Iterable[OfferRecord]) -> Iterator[list[OfferRecord]]:
    """Start a new hand-off at each offer of round 1 that does not follow a reassignment."""
    chain: list[OfferRecord] = []
    for one in offers:
        if chain and one.round == 1 and chain[-1].state != "reassigned":
            yield chain
            chain = []
        chain.append(one)
    if chain:
        yield chain


def _find_decision_time(first: OfferRecord, handed_off: Sequence[datetime], after: datetime | None) -> datetime:
    """Return the newest decision between *after*, the last offer of the hand-off before, and the *first* offer.

    Leads that are ready at intake, or that a rep claims, have none: then it is the time of the offer.
    """
    known = (at for at in handed_off if at <= first.offered_at and (after is None or at > after))
    return max(known, default=first.offered_at)
