from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import holidays
import pytest

from nurture.definitions import brand, caps, conditions, defaults, sending_limits, steps, tracks, utm
from nurture.definitions.folder import read_folder
from nurture.definitions.policy import policy as policy_policy
from nurture.definitions.policy import priority, routing, sla, team
from nurture.definitions.read_all import ProjectDefinitions, load
from nurture.definitions.schema_check import keys_of
from nurture.domain.lead import Closing, Custodian, FieldValue, Lead
from nurture.domain.planning import calendar
from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.conditions import EvaluationContext, evaluate
from nurture.domain.planning.lead_view import LeadView
from nurture.domain.planning.program import Email, Repeat, ToClosed
from nurture.domain.policy.policy import Enroll, ToSales
from nurture.domain.scoring.scoring import Points
from nurture.domain.signals import SignalKind
from tests.definitions.build import SHIPPED

NOW = datetime(2026, 3, 6, 9, tzinfo=UTC)
DAYS = {"Within a month": 30, "1-3 months": 91, "4-6 months": 182}


@pytest.fixture(scope="module")
def rules() -> ProjectDefinitions:
    return load(read_folder(SHIPPED))


def registrants() -> Iterator[dict[str, FieldValue]]:
    """Return the valid rows of the shipped attendee report as fields."""
    text = (SHIPPED / "examples/webinar.csv").read_text(encoding="utf-8")
    _, _, table = text.partition("Attendee Details\n")
    for row in csv.DictReader(table.splitlines()):
        if None in row or "@" not in row["Email"]:
            continue
        yield {
            "email": row["Email"],
            "company": row["Company"],
            "title": row["Job Title"],
            "industry": row["Industry"],
            "employees": int(row["Employees"]) if row["Employees"] else None,
            "attended": row["Attended"] == "Yes",
            "minutes_attended": int(row["Time in Session (minutes)"] or 0),
            "demo_requested": row["Requested Demo"] == "Yes",
            "purchase_timeframe_days": DAYS.get(row["Purchasing Time Frame"]),
        }


def context_of(fields: dict[str, FieldValue]) -> EvaluationContext:
    return EvaluationContext(LeadView(Lead(1, fields), Custodian.INTAKE, None), Points())


def readiness(rules: ProjectDefinitions, fields: dict[str, FieldValue]) -> tuple[str, str]:
    """Return the rule that decides, and the result: ready, discard or a track."""
    for rule in rules.policy(1).readiness:
        if not evaluate(rule.when, context_of(fields), NOW).met:
            continue
        match rule.then:
            case ToSales():
                return rule.name, "ready"
            case ToClosed(closing=Closing.DISCARDED, reason=reason):
                assert reason
                return rule.name, "discard"
            case Enroll():
                return rule.name, track_for(rules, fields)
            case _:
                return rule.name, "elsewhere"
    return "", "nowhere"


def track_for(rules: ProjectDefinitions, fields: dict[str, FieldValue]) -> str:
    programs = [track.program(1) for track in rules.tracks.values()]
    for program in sorted(programs, key=lambda program: -program.priority):
        if program.audience is not None and evaluate(program.audience, context_of(fields), NOW).met:
            return program.track
    return "none"


def test_the_attendee_report_has_250_people_with_different_addresses() -> None:
    people = list(registrants())
    assert len({person["email"] for person in people}) == len(people) == 250
    assert Counter(person["attended"] for person in people) == {True: 83, False: 167}
    assert all(str(person["email"]).endswith(".example") for person in people)


def test_of_83_who_came_21_are_ready_42_are_nurtured_and_20_discarded(rules: ProjectDefinitions) -> None:
    outcomes = Counter(readiness(rules, fields)[1] for fields in registrants() if fields["attended"])
    assert outcomes == {"ready": 21, "webinar-attended": 42, "discard": 20}


def test_of_167_who_did_not_come_42_fit_83_may_fit_and_42_are_discarded(rules: ProjectDefinitions) -> None:
    outcomes = Counter(readiness(rules, fields) for fields in registrants() if not fields["attended"])
    assert outcomes["nurture-good-fit", "webinar-no-show"] == 42
    assert outcomes["nurture-possible-fit", "webinar-no-show"] == 83
    assert sum(count for (_, outcome), count in outcomes.items() if outcome == "discard") == 42
    assert outcomes.total() == 167


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({}, "keep-warm"),
        ({"company": "Acme", "title": "Buyer", "employees": 300}, "keep-warm"),
        ({"title": "International Sales Manager", "employees": 12}, "keep-warm"),
        ({"title": "Consultant", "employees": 40_000}, "keep-warm"),
        ({"demo_requested": True}, "ready"),
        ({"demo_requested": False}, "keep-warm"),
        ({"title": "PhD Candidate"}, "discard"),
        ({"industry": "Supply Chain Software", "demo_requested": True}, "discard"),
        ({"employees": 3}, "discard"),
    ],
)
def test_a_lead_from_elsewhere_finds_a_track(
    rules: ProjectDefinitions, fields: dict[str, FieldValue], outcome: str
) -> None:
    assert readiness(rules, fields)[1] == outcome


def test_keep_warm_never_ends(rules: ProjectDefinitions) -> None:
    repeat = rules.tracks["keep-warm"].program(1).instructions[0]
    assert isinstance(repeat, Repeat)
    assert repeat.times is None


@pytest.mark.parametrize("country", sorted(holidays.list_supported_countries(include_aliases=False)))
def test_keep_warm_is_silent_for_sixty_days_at_most(rules: ProjectDefinitions, country: str) -> None:
    """The gap may end at the worst time of the year: after hours, before a run of holidays."""
    program = rules.tracks["keep-warm"].program(1)
    repeat, email = program.instructions[:2]
    assert isinstance(repeat, Repeat)
    assert isinstance(email, Email)
    longest = timedelta(days=max(repeat.pause(rounds).days for rounds in range(1, 40)))
    assert timedelta(days=email.after.days) <= longest
    feasts = holidays.country_holidays(country, years=range(2024, 2028))
    closed = {day for day in feasts if day.weekday() < 5}
    for day in {day - timedelta(days=back) for day in closed for back in (1, 2, 3, 4)}:
        evening = datetime(day.year, day.month, day.day, 17, tzinfo=UTC)
        opens = calendar.next_open(program.window, "UTC", closed, evening)
        assert longest + (opens - evening) <= timedelta(days=60), (country, day)


def test_every_email_has_one_button_and_asks_one_thing(rules: ProjectDefinitions) -> None:
    for track in rules.tracks.values():
        for name, text in track.emails.items():
            assert text.count('"button"') == 1, (track.name, name)
            assert 'lead.first_name or "there"' in text, (track.name, name)
            assert len(text.split()) < 160, (track.name, name)


def test_each_track_asks_once_when_the_lead_decides(rules: ProjectDefinitions) -> None:
    for track in rules.tracks.values():
        asking = [name for name, text in track.emails.items() if "When are you deciding" in text]
        assert len(asking) == 1, track.name


def test_three_reps_and_a_partner_share_the_work_and_each_reason_has_a_destination(rules: ProjectDefinitions) -> None:
    policy = rules.policy(1)
    assert [rep.id for rep in policy.reps if rep.partner] == ["ida"]
    assert set(policy.team.pools["everyone"].reps) == {"mara", "tomas", "yuki"}
    assert [rule.name for rule in policy.routing if rule.territory] == ["nordics", "dach"]
    assert all(reason.label for reason in policy.reject_reasons.values())
    assert policy.accept_within == timedelta(days=1)


def test_the_readme_names_every_key_step_condition_and_signal() -> None:
    readme = (SHIPPED / "README.md").read_text(encoding="utf-8")
    shapes = [*steps.SHAPES.values(), steps.CaseShape, steps.ArmShape, steps.RoundsShape, tracks.TrackShape]
    shapes += [policy_policy.PolicyShape, policy_policy.ReasonShape]
    shapes += [routing.RoutingRuleShape, routing.MissingFieldsShape]
    shapes += [sla.SlaShape, sla.AcceptShape, sla.EscalationShape, priority.PriorityShape]
    shapes += [team.BusinessHoursShape, team.RepShape, team.ManagerShape, team.PoolShape]
    shapes += [sending_limits.SendingShape, sending_limits.OnUnknownShape, sending_limits.LimitsShape]
    shapes += [sending_limits.WarmUpShape, sending_limits.PauseShape, sending_limits.SourceShape]
    shapes += [
        defaults.DefaultsShape,
        defaults.SenderShape,
        *(brand.BrandShape, brand.LogoShape, brand.ColorsShape, utm.UtmShape),
        defaults.SendShape,
        caps.DefaultCapShape,
        caps.TrackCapShape,
    ]
    words = {key for shape in shapes for key in keys_of(shape)}
    words |= {*conditions.CONDITION_READERS, *Comparison, *SignalKind} - {"id"}
    assert sorted(word for word in words if not re.search(rf"\b{word}\b", readme)) == []
