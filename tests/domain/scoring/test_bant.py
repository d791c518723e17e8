"""Budget, authority, need, timeline: source, date and confidence; and signals of low intent."""

from __future__ import annotations

from datetime import date

import pytest

from nurture.definitions.read_all import load
from nurture.domain.lead import FieldValue, Timeline
from nurture.domain.planning.conditions import EvaluationContext, ScoreCondition, evaluate
from nurture.domain.scoring import bant
from nurture.domain.scoring.bant import BantCondition, BantValue, Confidence
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import SignalKind
from tests.definitions.build import POLICY, bundle, problems
from tests.domain.builders import at, lead, signal, view

DAY = date(2026, 5, 4)


def evaluate_for(condition: BantCondition, **fields: FieldValue) -> tuple[bool, str]:
    return bant.evaluate_bant(condition, lead(fields=fields))


def test_imported_values_count_as_stated_and_values_from_a_rep_keep_source_and_date() -> None:
    assert bant.find_bant_value("budget", lead(fields={"budget": "20k"})) == BantValue("20k")
    fields = bant.bant_fields("budget", "20k", "ana", DAY, Confidence.CONFIRMED)
    assert bant.find_bant_value("budget", lead(fields=fields)) == BantValue("20k", "ana", DAY, Confidence.CONFIRMED)
    assert bant.find_bant_value("need", lead(fields={"need": "  "})) is None


def test_a_stated_date_and_a_spoken_timeframe_are_a_timeline() -> None:
    stated = lead(timeline=Timeline(DAY, at(2)))
    assert bant.find_bant_value("timeline", stated) == BantValue("2026-05-04", "stated", at(2).date())
    assert bant.find_bant_value("timeline", lead(fields={"purchase_timeframe_days": 90})) == BantValue(90)
    assert bant.find_bant_value("timeline", lead()) is None


@pytest.mark.parametrize(
    ("confidence", "min_confidence", "yes"),
    [
        (Confidence.GUESSED, Confidence.GUESSED, True),
        (Confidence.GUESSED, Confidence.STATED, False),
        (Confidence.STATED, Confidence.STATED, True),
        (Confidence.STATED, Confidence.CONFIRMED, False),
        (Confidence.CONFIRMED, Confidence.STATED, True),
        (Confidence.GUESSED, None, False),
    ],
)
def test_each_field_needs_its_minimum_confidence(
    confidence: Confidence, min_confidence: Confidence | None, yes: bool
) -> None:
    fields = bant.bant_fields("need", "less stock", "form", DAY, confidence)
    assert evaluate_for(BantCondition({"need": min_confidence}), **fields)[0] is yes


def test_reasons_name_the_deciding_fields_and_never_their_values() -> None:
    fields = dict(bant.bant_fields("budget", "SECRET", "ana", DAY, Confidence.CONFIRMED)) | {"need": "SECRET"}
    assert evaluate_for(BantCondition({"budget": Confidence.STATED}), **fields) == (
        True,
        "budget confirmed since 2026-05-04",
    )
    assert evaluate_for(BantCondition({"authority": Confidence.STATED}), **fields) == (False, "authority is not known")
    assert evaluate_for(BantCondition({"need": Confidence.CONFIRMED}), **fields) == (False, "need is only stated")
    assert evaluate_for(BantCondition({"authority": None}), **fields)[0] is True
    assert evaluate_for(BantCondition({}, 2), **fields)[0] is True
    no, reason = evaluate_for(BantCondition({}, 3), **fields)
    assert (no, reason) == (False, "2 of budget, authority, need and timeline known, 3 asked")


def test_a_newer_import_drops_the_source_of_changed_values_only() -> None:
    before = {
        **bant.bant_fields("budget", "20k", "ana", DAY, Confidence.STATED),
        **bant.bant_fields("need", "x", "ben", DAY, Confidence.STATED),
    }
    after = bant.drop_stale_details(before, {**before, "budget": "none"})
    assert bant.find_bant_value("budget", lead(fields=after)) == BantValue("none")
    assert bant.find_bant_value("need", lead(fields=after)) == BantValue("x", "ben", DAY)


def test_signals_of_low_intent_count_but_never_reach_a_threshold_alone() -> None:
    points = Points({SignalKind.SUBMITTED: 30.0, SignalKind.CLICKED: 5.0}, low_intent=frozenset({SignalKind.SUBMITTED}))
    prizes = (signal(SignalKind.SUBMITTED, at(1)), signal(SignalKind.SUBMITTED, at(2)))
    alone = EvaluationContext(view("s0", signals=prizes), points)
    assert evaluate(ScoreCondition(at_least=40), alone, at(3))[:2] == (
        False, "engagement 58.0, all of it from signals of low intent",
    )  # fmt: skip
    with_a_click = EvaluationContext(view("s0", signals=(*prizes, signal(SignalKind.CLICKED, at(4)))), points)
    assert not evaluate(ScoreCondition(at_least=40), with_a_click, at(3)).met
    assert evaluate(ScoreCondition(at_least=40), with_a_click, at(3)).changes_at == at(4)
    assert evaluate(ScoreCondition(at_least=40), with_a_click, at(4)).met
    answered = EvaluationContext(
        view("s0", signals=(signal(SignalKind.CLICKED, at(1)), *prizes[1:])), points, answered_at=at(1, 1)
    )
    assert not evaluate(ScoreCondition(at_least=20), answered, at(3)).met


LOW = POLICY.replace("clicked: 10,", "clicked: 10, submitted: {points: 5, intent: low},")


@pytest.mark.parametrize(
    ("when", "invalid"),
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
def test_no_criterion_hands_off_for_signals_of_low_intent_alone(when: str, invalid: bool) -> None:
    said = problems(bundle(policy=LOW.replace("when: {did: replied}}", f"when: {when}}}")))
    assert [("hands off for signals of low intent alone" in one) for one in said] == ([True] if invalid else [])


def test_conditions_are_read_in_the_words_of_marketers() -> None:
    min_confidence = POLICY.replace(
        "when: {did: replied}}", "when: {bant: {budget: confirmed, need: known, authority: unknown}}}"
    )
    (criterion,) = load(bundle(policy=min_confidence)).policy(1).criteria
    assert criterion.when == BantCondition(
        {"budget": Confidence.CONFIRMED, "need": Confidence.STATED, "authority": None}
    )
    for invalid in ("{bant: {budget: maybe}}", "{bant: {money: known}}", "{bant: {at_least: 5}}", "{bant: {}}"):
        (problem,) = problems(bundle(policy=POLICY.replace("when: {did: replied}}", f"when: {invalid}}}")))
        assert "{bant: {at_least: 3}}" in problem


def test_an_intent_is_low_or_high() -> None:
    (problem,) = problems(bundle(policy=LOW.replace("intent: low", "intent: none")))
    assert "`intent: none` is neither low nor high" in problem
