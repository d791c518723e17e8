"""Group leads about which the planner decides alike, so that each group is forecast once."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from nurture.domain.consent.statements import ConsentStatement
from nurture.domain.lead import FieldValue, Lead
from nurture.domain.planning.alike import has_spread, stay_key
from nurture.domain.planning.calendar import Holidays
from nurture.domain.planning.comparisons import matches
from nurture.domain.planning.content import once_pieces
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.program import Split, choose_arm
from nurture.journey.leads.snapshot import LeadSnapshot
from nurture.journey.tracks.forecast import Forecast, forecast
from nurture.runtime.published import Definitions

CountryLead = tuple[LeadSnapshot, str]
"""A lead, and its country (ISO code, "" if unknown)."""

_NO_SPAN: Final = timedelta()


@dataclass(frozen=True)
class _Inputs:
    """What the tracks and the policy look at, of a lead, besides its place and its mail."""

    definitions: Definitions
    _known: dict[tuple[str, tuple[type, FieldValue]], tuple[bool, ...]] = field(default_factory=dict)

    @cached_property
    def splits(self) -> tuple[tuple[str, Split], ...]:
        """Return the splits, each with its track."""
        programs = self.definitions.programs.values()
        return tuple((one.track, step) for one in programs for step in one.instructions if isinstance(step, Split))

    @cached_property
    def has_spread(self) -> bool:
        """Return whether a track gives each lead a minute of its own."""
        return any(map(has_spread, self.definitions.programs.values()))

    @cached_property
    def once_pieces(self) -> frozenset[str]:
        """Return the pieces of content that some track sends to nobody twice."""
        return frozenset().union(*map(once_pieces, self.definitions.programs.values()))

    @cached_property
    def cap_span(self) -> timedelta:
        """Return how far back the caps count emails."""
        spans = [cap.per for program in self.definitions.programs.values() for cap in program.caps]
        return max(spans, default=_NO_SPAN)

    def key(self, lead: LeadSnapshot, country: str, now: datetime) -> Hashable:
        """Return a key that is equal only for leads that get the same at the same times."""
        view = lead.view
        enrollment, signals = view.enrollment, bool(view.signals)
        return (
            country,
            self._lead_key(view.lead),
            view.custodian,
            lead.ref,
            lead.due_at,
            view.signals,
            # Signals name the enrollment to which they belong, and count from when it was entered.
            (enrollment.id, enrollment.entered_at) if signals and enrollment is not None else None,
            (enrollment.track, enrollment.position) if enrollment is not None else None,
            view.touches if signals else _touch_keys(view),
            tuple(lead.suspended_touches.values()),
            self._counted(view, now),
            _statement_keys(view.statements, now),
            view.suppressions,
            view.reps_full_until,
            tuple(map(stay_key, view.past_stays)),
            view.excluded_from,
            bool(view.colleague_with_sales),
            view.received & self.once_pieces,
        )

    def _lead_key(self, lead: Lead) -> Hashable:
        inputs, fields = self.definitions.inputs, lead.condition_fields
        return (
            tuple(_value_key(fields.get(name)) for name in inputs.fields),
            tuple(self._answers(name, _value_key(fields.get(name))) for name in inputs.comparisons),
            lead.zone,
            lead.engagement,
            lead.timeline,
            lead.signals_since,
            (lead.paused_until, lead.paused_at, lead.paused_by),
            lead.call_on,
            lead.touch_interval,
            lead.is_customer,
            lead.first_contact_at if inputs.first_contact else None,
            lead.id if self.has_spread else tuple(choose_arm(step, track, lead.id) for track, step in self.splits),
        )

    def _answers(self, name: str, key: tuple[type, FieldValue]) -> tuple[bool, ...]:
        """Return what the conditions on a field say about a value; few values differ."""
        known = self._known.get((name, key))
        if known is None:
            asked = self.definitions.inputs.comparisons[name]
            known = self._known[name, key] = tuple(matches(one.comparison, key[1], one.value) for one in asked)
        return known

    def _counted(self, view: LeadView, now: datetime) -> Hashable:
        """Return the emails that a cap may still count."""
        reached = view.position.reached_at if view.position is not None else now
        since = min(reached, now) - max(self.cap_span, view.lead.touch_interval or _NO_SPAN)
        return tuple(one for one in view.counted_emails if one.at > since)


def _value_key(value: FieldValue) -> tuple[type, FieldValue]:
    return value.__class__, value


def _touch_keys(view: LeadView) -> Hashable:
    """Return the touches; when one ended at which the lead does not stand matters only to signals."""
    step = view.position.step if view.position is not None else ""
    exact = (one.step == step or not one.is_over for one in view.touches)
    return tuple(
        one if is_exact else (one.step, one.visit, one.state) for one, is_exact in zip(view.touches, exact, strict=True)
    )


def _statement_keys(statements: tuple[ConsentStatement, ...], now: datetime) -> Hashable:
    """Return the statements; of grants that count already, the times and the evidence do not matter."""
    if all(one.granted and one.at <= now for one in statements):
        return tuple((one.target, one.basis) for one in statements)
    return statements


def forecast_all(
    leads: Iterable[CountryLead],
    definitions: Definitions,
    now: datetime,
    until: datetime,
    holidays: Holidays,
    observe_group: Callable[[], None] = lambda: None,
) -> list[Forecast]:
    """Return the forecast of each lead, in order; leads that are alike share one, and *observe_group* is called."""
    inputs, known = _Inputs(definitions), dict[Hashable, Forecast]()
    found = []
    for lead, country in leads:
        key = inputs.key(lead, country, now)
        if key not in known:
            known[key] = forecast(lead, country, definitions, now, until, holidays)
            observe_group()
        found.append(known[key])
    return found
