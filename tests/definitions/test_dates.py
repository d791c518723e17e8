"""Steps and conditions that hang on dates of the lead, as written in track.yaml."""

# ruff: noqa: E501  (a problem is on one line, as printed)
from __future__ import annotations

from datetime import date, time
from typing import Any

import pytest

from nurture.definitions.fields import BUILT_IN
from nurture.definitions.read_all import check, load
from nurture.domain.planning.calendar import Delay
from nurture.domain.planning.conditions import Condition
from nurture.domain.planning.date_conditions import DateCondition, InactiveFor
from nurture.domain.planning.dates import DateOffset
from nurture.domain.planning.program import Email
from tests.definitions.build import TRACK, bundle

FIELDS = "trial_ends: {type: date}\nrenewal_date: {type: date}\nplan: {}\n"


def track(step: str, audience: str = "everybody") -> str:
    return TRACK.replace("  - email: 01-one", f"  - email: 01-one\n    {step}").replace("everybody", audience)


def found(text: str) -> list[str]:
    """Return the problems of a track with the date fields of FIELDS, as line, text and remedy."""
    sources = bundle(text) | {"fields.yaml": FIELDS}
    return [f"{one.line}: {one.message}. {one.suggestion}" for one in check(sources)]


def email(step: str) -> Email:
    read = load(bundle(track(step)) | {"fields.yaml": FIELDS}).tracks["hello"].program(1).instructions[0]
    assert isinstance(read, Email)
    return read


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("7 days before trial_ends", DateOffset("trial_ends", Delay(days=7), is_before=True)),
        ("7 days before trial_ends at 10:00", DateOffset("trial_ends", Delay(days=7, at=time(10)), is_before=True)),
        ("3 days after renewal_date", DateOffset("renewal_date", Delay(days=3))),
        ("6 months since first_contact", DateOffset("first_contact", Delay(days=180))),
        ("2 business days before trial_ends", DateOffset("trial_ends", Delay(business_days=2), is_before=True)),
        ("4 hours before trial_ends", DateOffset("trial_ends", Delay(hours=4), is_before=True)),
        ("20 minutes after first_contact", DateOffset("first_contact", Delay(hours=20 / 60))),
        ("on trial_ends", DateOffset("trial_ends")),
        ("On  trial_ends at 9:30", DateOffset("trial_ends", Delay(at=time(9, 30)))),
        ("on tuesday at 10:00", Delay(on=1, at=time(10))),
        ("1 week on tue", Delay(days=7, on=1)),
        ("20 minutes", Delay(hours=20 / 60)),
    ],
)
def test_a_step_hangs_on_a_date_or_a_delay(text: str, when: DateOffset | Delay) -> None:
    assert email(f"after: {text}").after == when


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("trial_ends", DateOffset("trial_ends")),
        ("2027-03-31", date(2027, 3, 31)),
        ("3 days before trial_ends", DateOffset("trial_ends", Delay(days=3), is_before=True)),
    ],
)
def test_a_step_has_a_last_day(text: str, limit: DateOffset | date) -> None:
    assert email(f"not_after: {text}").not_after == limit


HINT = "Write for example `7 days before trial_ends at 10:00`, `3 days after trial_ends` or `on trial_ends`"


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("after: 7 before trial_ends", f"6: `after`: `7 before trial_ends` has no unit after 7. {HINT}"),
        ("after: 7 days before", f"6: `after`: `7 days before` names no date after `before`. {HINT}"),
        ("after: 0 days before trial_ends", "6: `after`: `0 days before trial_ends` is the date itself. Write `on trial_ends`"),
        ("after: 500 days before trial_ends", "6: `after`: `500 days` is over 400 days. Write at most 400 days"),
        ("after: 2 hours before trial_ends at 10:00", f"6: `after`: `2 hours before trial_ends at 10:00` has both hours and a time of day. {HINT}"),
        ("after: 7 days before trail_ends", "6: no date is called `trail_ends`. Did you mean `trial_ends`?"),
        ("after: 7 days before ends_on", "6: no date is called `ends_on`. Declare it in fields.yaml: `ends_on: {type: date}`"),
        ("after: on tuesdya", "6: no date is called `tuesdya`. Did you mean `tuesday`?"),
        ("after: on plan", "6: `plan` is of type text, and no date. Declare it in fields.yaml: `plan: {type: date}`"),
        ("not_after: company", "6: `company` is of type text, and no date. Use another field"),
        ("not_after: 31 March", "6: `not_after`: `31 March` is not a date. Write year-month-day, for example `2026-01-15`"),
    ],
)  # fmt: skip
def test_a_wrong_date_of_a_step_is_a_fault_with_its_remedy(step: str, problem: str) -> None:
    assert found(track(step)) == [problem]


@pytest.mark.parametrize(
    ("text", "earliest", "latest", "words"),
    [
        ("{date: trial_ends, within: 90 days}", 0, 90, "trial_ends within 90 days"),
        ("{date: trial_ends, ago: 2 weeks}", None, -14, "trial_ends at least 2 weeks ago"),
        ("{date: trial_ends, before: in 30 days}", None, 29, "trial_ends before in 30 days"),
        ("{date: trial_ends, before: 30 days}", None, 29, "trial_ends before 30 days"),
        ("{date: trial_ends, after: 30 days ago}", -29, None, "trial_ends after 30 days ago"),
        ("{date: trial_ends, after: today}", 1, None, "trial_ends after today"),
        ("{date: trial_ends, after: 2026-12-31}", date(2027, 1, 1), None, "trial_ends after 2026-12-31"),
        ("{date: first_contact, after: 2026-12-31, before: today}", date(2027, 1, 1), -1, "first_contact after 2026-12-31 and before today"),
    ],
)  # fmt: skip
def test_a_condition_compares_a_date(text: str, earliest: Any, latest: Any, words: str) -> None:
    asked = audience(text)
    assert isinstance(asked, DateCondition)
    assert (asked.earliest, asked.latest) == (earliest, latest)
    assert asked.description == words


def audience(text: str) -> Condition | None:
    return load(bundle(TRACK.replace("everybody", text)) | {"fields.yaml": FIELDS}).tracks["hello"].program(1).audience


def test_inactivity_counts_in_days() -> None:
    assert audience("{inactive: 120 days}") == InactiveFor(120)


BOUND = "Write a date such as `2026-12-31`, or `today`, `in 30 days`, `30 days ago`"
EXAMPLE = "Use one of within, ago, before, after. Write for example `{date: renewal_date, within: 90 days}`"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{date: trial_ends}", f"3: `date: trial_ends` has nothing to compare it with. {EXAMPLE}"),
        ("{date: trial_ends, within: 3 days, ago: 3 days}", f"3: `date: trial_ends` has `within` and `ago`. {EXAMPLE}"),
        ("{date: trial_ends, within: 90}", "3: `within`: `90` is not a duration. Write for example `4 hours`, `3 days`, `2 weeks` or `1 month` (30 days)"),
        ("{date: trial_ends, within: 36 hours}", "3: `within`: `36 hours` is not a whole number of days. Conditions on dates count in days"),
        ("{date: trial_ends, before: soon}", f"3: `before`: `soon` is no date, and no number of days from today. {BOUND}"),
        ("{date: trail_ends, within: 3 days}", "3: no date is called `trail_ends`. Did you mean `trial_ends`?"),
        ("{date: plan, within: 3 days}", "3: `plan` is of type text, and no date. Declare it in fields.yaml: `plan: {type: date}`"),
        ("{inactive: 12 hours}", "3: `inactive`: `12 hours` is not a whole number of days. Conditions on dates count in days"),
        ("{field: trial_ends, at_most: 90 days}", "3: `at_most`: `90 days` is not a number. Write for example `at_most: 50`; for a date `{date: renewal_date, within: 90 days}`"),
    ],
)  # fmt: skip
def test_a_wrong_condition_on_a_date_is_a_fault_with_its_remedy(text: str, problem: str) -> None:
    assert found(TRACK.replace("everybody", text)) == [problem]


def test_a_track_that_sets_a_date_may_use_it() -> None:
    text = TRACK.replace("  - email", "  - set: {asked_on: 2027-01-31}\n  - email").replace(
        "01-one\n", "01-one\n    after: 3 days after asked_on\n"
    )
    assert found(text) == []


def test_a_round_of_a_repeat_needs_an_email_that_is_never_skipped() -> None:
    rounds = (
        "  - repeat:\n      every: 30 days\n      steps:\n        - email: 01-one\n          after: on trial_ends\n"
    )
    assert "can end without an email" in found(TRACK.replace("  - email: 01-one\n", rounds))[0]


def test_first_contact_is_no_name_for_a_field_of_ones_own() -> None:
    assert "first_contact" not in BUILT_IN
    sources = bundle() | {"fields.yaml": "first_contact: {type: date}\n"}
    assert [one.message for one in check(sources)] == ["`first_contact` has a meaning of its own"]
