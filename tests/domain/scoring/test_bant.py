"""Budget, authority, need, timeline: known from whom, since when and how surely; and deeds without intent."""

from __future__ import annotations

from datetime import date

import pytest

from nurture.definitions import load
from nurture.domain.lead import Fact, Timeline
from nurture.domain.planning.conditions import Question, Score, evaluate
from nurture.domain.scoring import bant
from nurture.domain.scoring.bant import Bant, Known, Sure
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import SignalKind
from tests.definitions.build import POLICY, bundle, faults
from tests.domain.builders import at, lead, signal, view

DAY = date(2026, 5, 4)


def answer(condition: Bant, **facts: Fact) -> tuple[bool, str]:
    return bant.asked(condition, lead(facts=facts))


def test_what_came_with_the_lead_is_known_as_told_and_what_a_rep_said_keeps_who_and_when() -> None:
    assert bant.known("budget", lead(facts={"budget": "20k"})) == Known("20k")
    facts = bant.told("budget", "20k", "ana", DAY, Sure.CONFIRMED)
    assert bant.known("budget", lead(facts=facts)) == Known("20k", "ana", DAY, Sure.CONFIRMED)
    assert bant.known("need", lead(facts={"need": "  "})) is None


def test_a_stated_date_and_a_spoken_timeframe_are_a_timeline() -> None:
    stated = lead(timeline=Timeline(DAY, at(2)))
    assert bant.known("timeline", stated) == Known("2026-05-04", "stated", at(2).date())
    assert bant.known("timeline", lead(facts={"purchase_timeframe_days": 90})) == Known(90)
    assert bant.known("timeline", lead()) is None


@pytest.mark.parametrize(
    ("sure", "asked", "yes"),
    [
        (Sure.GUESSED, Sure.GUESSED, True),
        (Sure.GUESSED, Sure.TOLD, False),
        (Sure.TOLD, Sure.TOLD, True),
        (Sure.TOLD, Sure.CONFIRMED, False),
        (Sure.CONFIRMED, Sure.TOLD, True),
        (Sure.GUESSED, None, False),
    ],
)
def test_each_is_asked_for_at_least_so_surely(sure: Sure, asked: Sure | None, yes: bool) -> None:
    facts = bant.told("need", "less stock", "form", DAY, sure)
    assert answer(Bant({"need": asked}), **facts)[0] is yes


def test_answers_say_which_of_the_four_decide_and_never_what_they_are() -> None:
    facts = dict(bant.told("budget", "SECRET", "ana", DAY, Sure.CONFIRMED)) | {"need": "SECRET"}
    assert answer(Bant({"budget": Sure.TOLD}), **facts) == (True, "budget confirmed since 2026-05-04")
    assert answer(Bant({"authority": Sure.TOLD}), **facts) == (False, "authority is not known")
    assert answer(Bant({"need": Sure.CONFIRMED}), **facts) == (False, "need is only told")
    assert answer(Bant({"authority": None}), **facts)[0] is True
    assert answer(Bant({}, 2), **facts)[0] is True
    no, why = answer(Bant({}, 3), **facts)
    assert (no, why) == (False, "2 of budget, authority, need and timeline known, 3 asked")


def test_a_newer_import_takes_the_source_of_what_it_changes_away_and_of_nothing_else() -> None:
    before = {
        **bant.told("budget", "20k", "ana", DAY, Sure.TOLD),
        **bant.told("need", "x", "ben", DAY, Sure.TOLD),
    }
    after = bant.without_stale(before, {**before, "budget": "none"})
    assert bant.known("budget", lead(facts=after)) == Known("none")
    assert bant.known("need", lead(facts=after)) == Known("x", "ben", DAY)


def test_deeds_of_low_intent_count_but_never_reach_a_bound_alone() -> None:
    points = Points(
        {SignalKind.SUBMITTED: 30.0, SignalKind.CLICKED: 5.0}, low=frozenset({SignalKind.SUBMITTED})
    )
    prizes = (signal(SignalKind.SUBMITTED, at(1)), signal(SignalKind.SUBMITTED, at(2)))
    alone = Question(view("s0", signals=prizes), points)
    assert evaluate(Score(at_least=40), alone, at(3))[:2] == (
        False, "engagement 58.0, all of it from deeds of low intent",
    )  # fmt: skip
    with_a_click = Question(view("s0", signals=(*prizes, signal(SignalKind.CLICKED, at(4)))), points)
    assert not evaluate(Score(at_least=40), with_a_click, at(3)).yes
    assert evaluate(Score(at_least=40), with_a_click, at(3)).changes_at == at(4)
    assert evaluate(Score(at_least=40), with_a_click, at(4)).yes
    answered = Question(
        view("s0", signals=(signal(SignalKind.CLICKED, at(1)), *prizes[1:])), points, answered_at=at(1, 1)
    )
    assert not evaluate(Score(at_least=20), answered, at(3)).yes


LOW = POLICY.replace("clicked: 10,", "clicked: 10, submitted: {points: 5, intent: low},")


@pytest.mark.parametrize(
    ("when", "faulty"),
    [
        ("{did: submitted}", True),
        ("{any: [{did: replied}, {did: submitted, times: 3}]}", True),
        ("{all: [{did: submitted}, {field: employees, at_least: 50}]}", True),
        ("{all: [{did: submitted}, {did: replied}]}", False),
        ("{all: [{did: submitted}, {timeline: {decides_within: 90 days}}]}", False),
        ("{all: [{did: submitted}, {bant: {budget: known}}]}", False),
        ("{did: replied}", False),
    ],
)
def test_no_criterion_hands_off_for_deeds_of_low_intent_alone(when: str, faulty: bool) -> None:
    said = faults(bundle(policy=LOW.replace("when: {did: replied}}", f"when: {when}}}")))
    assert [("hands off for deeds of low intent alone" in one) for one in said] == ([True] if faulty else [])


def test_conditions_are_read_in_the_words_of_marketers() -> None:
    asked = POLICY.replace(
        "when: {did: replied}}", "when: {bant: {budget: confirmed, need: known, authority: unknown}}}"
    )
    (criterion,) = load(bundle(policy=asked)).policy(1).criteria
    assert criterion.when == Bant({"budget": Sure.CONFIRMED, "need": Sure.TOLD, "authority": None})
    for wrong in ("{bant: {budget: maybe}}", "{bant: {money: known}}", "{bant: {at_least: 5}}", "{bant: {}}"):
        (fault,) = faults(bundle(policy=POLICY.replace("when: {did: replied}}", f"when: {wrong}}}")))
        assert "{bant: {at_least: 3}}" in fault


def test_an_intent_is_low_or_high() -> None:
    (fault,) = faults(bundle(policy=LOW.replace("intent: low", "intent: none")))
    assert "`intent: none` is neither low nor high" in fault
