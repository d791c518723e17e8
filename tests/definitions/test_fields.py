# ruff: noqa: E501  - a problem is one line, as printed
"""All fields are known in one place: built in, declared in fields.yaml, or written by a step."""

from __future__ import annotations

import re

import pytest

from nurture.definitions.fields import BUILT_IN
from nurture.definitions.read_all import load
from nurture.domain.fields import FieldType
from nurture.formats.lead_row import STORED_FIELDS
from tests.definitions.build import SHIPPED, TRACK, TRACK_FILE, bundle, problems

FIELDS = """\
booth_rating: {type: choice, choices: [hot, warm, cold], label: Rating, columns: [Booth Rating]}
renewal_date: {type: date}
plan: {fallback: your plan}
first_name: {fallback: there}
"""


def audience(condition: str, fields: str = FIELDS) -> list[str]:
    """Return the problems of a track with this audience."""
    track = TRACK.replace("audience: everybody", f"audience: {condition}")
    return [problem.removeprefix(f"{TRACK_FILE}:3: ") for problem in problems(bundle(track) | {"fields.yaml": fields})]


def test_every_stored_field_is_built_in_with_its_type() -> None:
    assert set(STORED_FIELDS) <= BUILT_IN.keys()
    types = {name: BUILT_IN[name].type for name in ("title", "employees", "attended", "status")}
    assert list(types.values()) == [FieldType.TEXT, FieldType.NUMBER, FieldType.YES_NO, FieldType.CHOICE]


def test_a_declared_field_has_its_type_label_and_columns_and_a_built_in_one_may_have_a_fallback() -> None:
    definitions = load(bundle() | {"fields.yaml": FIELDS})
    rating, plan = definitions.fields["booth_rating"], definitions.fields["plan"]
    assert (rating.type, rating.label, rating.columns) == (FieldType.CHOICE, "Rating", ("Booth Rating",))
    assert (plan.type, plan.label) == (FieldType.TEXT, "Plan")
    assert definitions.fields["first_name"].type is FieldType.TEXT
    assert definitions.tracks["hello"].program(1).fallbacks == {"plan": "your plan", "first_name": "there"}


def test_the_documentation_lists_every_built_in_field_with_its_type() -> None:
    text = (SHIPPED.parent / "docs" / "marketers.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| ([\w/]+) \|", text, re.MULTILINE))
    assert listed == {name: one.type.value for name, one in BUILT_IN.items()}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Booth Rating: {}", "1: `Booth Rating` is not a name of a field. Write `booth_rating:`"),
        ("plan: {type: choice}", "1: `plan`: `choices` and `type: choice` belong together. Write both, or none of them"),
        ("title: {type: number}", "1: `title` is built in: it has a type and columns. Remove it, or declare a field of another name. `--mapping` maps columns to built-in fields"),
        ("plan: {tpye: text}", "1: unknown key `tpye` in the field `plan`. Did you mean `type`?"),
        ("plan: text", "1: the field `plan` needs keys and values below it. Write `type:`, `label:`, `columns:`, `choices:` ... on indented lines"),
    ],
)  # fmt: skip
def test_an_invalid_field_says_what_to_write(text: str, problem: str) -> None:
    assert problems(bundle() | {"fields.yaml": text}) == [f"fields.yaml:{problem}"]


@pytest.mark.parametrize(
    ("condition", "warning"),
    [
        ("{field: leadsource, is: Web}", "no field is called `leadsource`. Did you mean `lead_source`? If an import keeps a column of this name, declare it in fields.yaml"),
        ("{field: zzz, is: Web}", "no field is called `zzz`. If an import keeps a column of this name, declare it in fields.yaml"),
        ("{field: full_name, is: Ann Lee}", "`full_name` is not for conditions. Did you mean `last_name`?"),
        ("{field: email, contains: example}", "`email` is not for conditions. Use another field"),
        ("{field: lead_source, contains: \u201cplanning guide\u201d}", 'the typographic quotes of \u201cplanning guide\u201d are part of the word, so nothing contains it. Write "planning guide", in straight quotes'),
        ("{field: country, is: Germany}", "`country` is a code of two letters, not `Germany`. Write `DE`"),
        ("{field: country, is: [DE, Nowhere]}", "`country` is a code of two letters, not `Nowhere`. Write its two letters, such as `DE`"),
        ('{field: attended, is: "Yes"}', "`attended` is yes or no, not the word `Yes`. Write `yes` or `no` without quotes"),
        ("{field: plan, is: yes}", '`plan` is of type text, and never yes. Write "yes" in quotes, if it is a word'),
        ("{field: employees, is: many}", "`employees` is a number, not `many`. Write for example `at_least: 50`"),
        ("{field: booth_rating, is: hto}", "`booth_rating` is never `hto`. Did you mean `hot`?"),
        ("{field: renewal_date, at_least: 3}", "`renewal_date` is of type date, so `at_least` never holds. Write `is:`"),
        ("{did: opened}", "opens are recorded only for leads that agreed to it, so this holds for few leads or none. Write `did: clicked` instead"),
    ],
)  # fmt: skip
def test_a_condition_that_no_lead_can_meet_is_a_warning_with_the_remedy(condition: str, warning: str) -> None:
    assert audience(condition) == [f"warning: {warning}"]
    track = TRACK.replace("audience: everybody", f"audience: {condition}")
    assert load(bundle(track) | {"fields.yaml": FIELDS}).tracks.keys() == {"hello"}  # it can be published


@pytest.mark.parametrize(
    "condition",
    [
        "{field: country, is: [DE, AT]}",
        "{field: attended, is: yes}",
        "{field: booth_rating, is_not: cold}",
        "{field: renewal_date, exists: yes}",
        "{field: employees, at_least: 50}",
        "{field: budget_confidence, is: confirmed}",
    ],
)
def test_a_condition_that_leads_can_meet_is_no_warning(condition: str) -> None:
    assert audience(condition) == []


def test_a_field_that_a_step_writes_is_known() -> None:
    track = TRACK.replace("steps:\n", "steps:\n  - set: {seen: yes}\n  - branch:\n      - {when: {field: seen, is: yes}, then: continue}\n")  # fmt: skip
    assert problems(bundle(track)) == []


def test_tracks_with_one_audience_and_priority_are_a_tie_that_the_first_by_name_wins() -> None:
    second = TRACK.replace("name: hello", "name: welcome")
    sources = bundle() | {"tracks/welcome/track.yaml": second, "tracks/welcome/01-one.md": bundle()["tracks/hello/01-one.md"]}  # fmt: skip
    (warning,) = problems(sources)
    assert (
        warning
        == "tracks/welcome/track.yaml:3: warning: `hello` has the same audience and priority: `hello`, first by name, gets all its leads. Give one of them a higher `priority`, or another audience"
    )
    assert problems(sources | {"tracks/welcome/track.yaml": second.replace("steps:", "priority: 5\nsteps:")}) == []


def test_tracks_that_lead_to_each_other_with_emails_are_a_fault_unless_one_says_so() -> None:
    email = bundle()["tracks/hello/01-one.md"]
    first = TRACK.replace("finally: {close: unreachable}", "finally: other").replace("everybody", "nobody")
    second = first.replace("name: hello", "name: other").replace("finally: other", "finally: hello")
    sources = bundle(first) | {"tracks/other/track.yaml": second, "tracks/other/01-one.md": email}
    (fault,) = problems(sources)
    assert (
        fault
        == f"{TRACK_FILE}:6: leads move in a cycle from `hello` to `other` to `hello` and get the same emails again. Let one of them end elsewhere, or write `loops: yes` in one"
    )
    for name, text in (("hello", first), ("other", second)):
        assert problems(sources | {f"tracks/{name}/track.yaml": text + "loops: yes\n"}) == []
