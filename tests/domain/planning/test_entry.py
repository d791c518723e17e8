"""Tests of entry: which track's audience takes a lead, and when time alone could change that."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery.stops import Stop, StopAction
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import AllOf, AnyOf, Condition, FieldCondition, Not, SignalCondition, evaluate
from nurture.domain.planning.entry import Entries, EntryResult, find_entry
from nurture.domain.planning.lead_view import Enrollment, LeadView, PastStay, Position
from nurture.domain.planning.program import Exit, ExitKind, Program, ReEntry, ToQueue
from nurture.domain.signals import SignalKind
from tests.domain.builders import DAY, START, Mail, at, lead, policy, signal, track, view

RULES = policy()
ATTENDED = FieldCondition("attended", Comparison.IS, True)
ACTIVE = SignalCondition(SignalKind.CLICKED, within=10 * DAY)


def _track(name: str, audience: Condition, priority: int = 10, **more: Any) -> Program:
    return track(Mail(), track=name, audience=audience, priority=priority, **more)


def _seen(**more: Any) -> LeadView:
    more.setdefault("lead", lead(fields={"attended": True}))
    return view("s0", **more)


def _stay(name: str, left: datetime) -> PastStay:
    return PastStay(Enrollment(7, name, START, Position("s0", 1, START, START), ended=True), left)


def _find(seen: LeadView, *programs: Program, now: datetime = START) -> EntryResult:
    return find_entry(seen, Entries(programs), RULES, now)


def test_the_highest_priority_whose_audience_fits_takes_the_lead() -> None:
    low, high, other = _track("low", AllOf(()), 1), _track("high", ATTENDED, 30), _track("other", Not(ATTENDED), 90)
    assert _find(_seen(), low, other, high) == EntryResult(high, "attended is yes")
    assert _find(_seen(lead=lead()), low, high).program is low
    assert _find(_seen(lead=lead()), high) == EntryResult(None)


@pytest.mark.parametrize(
    ("days", "left", "may_enter_at"),
    [(None, START, None), (30, START, START + 30 * DAY), (30, START - 30 * DAY, START)],
    ids=["never", "later", "now"],
)
def test_a_track_takes_a_lead_again_only_as_its_re_entry_allows(
    days: int | None, left: datetime, may_enter_at: datetime | None
) -> None:
    webinar = _track("webinar", ATTENDED, re_entry=ReEntry(days))
    found = _find(_seen(past_stays=(_stay("webinar", left),)), webinar)
    expected = EntryResult(webinar, "attended is yes") if may_enter_at == START else EntryResult(None, "", may_enter_at)
    assert found == expected


def test_the_answer_names_the_day_on_which_time_alone_could_change_it() -> None:
    seen = _seen(signals=(signal(SignalKind.CLICKED, at(1)),))
    silent = _track("wake-up", Not(ACTIVE))
    assert _find(seen, silent, now=at(2)).change_at == at(11) + timedelta(microseconds=1)
    assert _find(seen, silent, now=at(12)).program is silent


def test_no_track_takes_a_lead_before_its_first_day_after_its_last_or_when_it_is_retired() -> None:
    later = _track("later", ATTENDED, starts_on=at(5).date())
    assert _find(_seen(), later, now=at(2)) == EntryResult(None, "", at(5))
    assert _find(_seen(), _track("over", ATTENDED, ends_on=at(3).date()), now=at(5)).program is None
    retired = {"later": Stop("later", StopAction.RETIRE, "old", "Mara", START, "keep")}
    assert _find(_seen(stops=retired), later, now=at(9)).program is None


def test_no_track_takes_a_lead_that_would_leave_at_once() -> None:
    done = Exit(ExitKind.GOAL, ATTENDED, ToQueue("done"))
    assert _find(_seen(), _track("trial", ATTENDED, exits=(done,))).program is None


_VALUES = st.sampled_from([True, False, None, "yes", "Yes ", 1, 1.0, "web"])
_FIELD_TESTS = st.builds(
    FieldCondition, st.sampled_from("ab"), st.sampled_from([Comparison.IS, Comparison.IS_NOT]), _VALUES
)
_AUDIENCES = st.recursive(
    _FIELD_TESTS, lambda part: st.tuples(part, part).flatmap(lambda two: st.sampled_from([AllOf(two), AnyOf(two)]))
)


@given(st.lists(_AUDIENCES, min_size=1, max_size=5), st.dictionaries(st.sampled_from("ab"), _VALUES))
def test_testing_fields_for_all_tracks_at_once_changes_no_answer(
    audiences: list[Condition], fields: dict[str, Any]
) -> None:
    programs = [_track(f"t{number}", audience, 10 - number) for number, audience in enumerate(audiences)]
    seen = _seen(lead=lead(fields=fields))
    context = RULES.evaluation_context(seen)
    fits = [one for one, audience in zip(programs, audiences, strict=True) if evaluate(audience, context, START).met]
    assert _find(seen, *programs).program is (fits[0] if fits else None)
