"""Find the first hand-off criterion that a lead meets; a call-back that it asked for comes first."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from nurture.domain.planning.callback import CALLBACK_RULE, requested_callback
from nurture.domain.planning.conditions import evaluate
from nurture.domain.planning.decision import DecisionContext, OfferToSales
from nurture.domain.planning.evidence import evidence_of
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.requests import silenced_since
from nurture.domain.policy.policy import Criterion, Policy


class CriteriaResult(NamedTuple):
    """The offer of the first criterion that holds; without one, when the next may hold, None for never."""

    offer: OfferToSales | None
    change_at: datetime | None = None


def evaluate_criteria(context: DecisionContext) -> CriteriaResult:
    """Evaluate the policy's criteria."""
    return context.ask(lambda view: _evaluate(view, context, context.policy.criteria))


def evaluate_requests(context: DecisionContext) -> CriteriaResult:
    """Evaluate requests that are newer than what silences our mail to the lead."""
    newer_than = silenced_since(context.view, context.now)
    return context.ask(lambda view: _evaluate(view, context, context.policy.requests, newer_than))


def unanswered_request(view: LeadView, policy: Policy, now: datetime) -> str:
    """Return the reason of a request that no rep has answered; "" if there is none."""
    offer, _ = _evaluate(view, DecisionContext(view, None, policy, now), policy.requests)
    return offer.reason if offer is not None else ""


def _evaluate(
    view: LeadView, context: DecisionContext, criteria: Sequence[Criterion], newer_than: datetime | None = None
) -> CriteriaResult:
    """Evaluate *criteria*; a call-back counts from its day, a stated date from when it is near."""
    callback = requested_callback(view.lead, context.zone_fallback)
    change_at = callback.at if callback is not None and callback.at > context.now else None
    if callback is not None and change_at is None and (newer_than is None or callback.at >= newer_than):
        return CriteriaResult(OfferToSales(CALLBACK_RULE, callback.reason))
    answered_at, known = view.lead.signals_since, evidence_of(view)
    asked = [one for one in criteria if one.evidence is None or not known.isdisjoint(one.evidence)]
    if not asked:
        return CriteriaResult(None, change_at)
    evaluation_context = context.policy.evaluation_context(
        view, since=answered_at, answered_at=answered_at, newer_than=newer_than
    )
    for criterion in asked:
        met, detail, changes_at = evaluate(criterion.when, evaluation_context, context.now)
        if met:
            return CriteriaResult(OfferToSales(criterion.name, f"{criterion.name}: {detail}"))
        if changes_at is not None and (change_at is None or changes_at < change_at):
            change_at = changes_at
    return CriteriaResult(None, change_at)
