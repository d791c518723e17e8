"""`sla:` and `priority:` in the policy, and `call_to_action` in emails."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.definitions.policy.sla import read_sla_duration
from nurture.definitions.read_all import check, load
from nurture.definitions.schema_check import InvalidValue
from nurture.domain.policy.business_hours import DurationUnit, EscalationLevel, SlaDuration, SlaPolicy
from nurture.domain.routing.priority import PriorityPolicy
from tests.definitions.build import EMAIL, POLICY, TRACK, bundle

SLA = """\
managers: [{id: lena, name: Lena, email: lena@example.com}]
sla:
  accept: {remind: 2 business hours, escalate: 4 business hours, take_back: 1 business day, reroute: 2}
  follow_up: {remind: 1 business day, take_back: 3 days}
"""
FIT = "fit: {A: {field: employees, at_least: 200}}\n"
PRIORITY = FIT + "priority: {hot: [replied], aging_interval: 4 hours, fit: {A: 3}, hold_calls_to_action_at: 90%}\n"


def _sources(more: str, emails: bool = True) -> dict[str, str]:
    policy = POLICY.replace("capacity: 5", "capacity: 5, manager: lena") if "managers" in more else POLICY
    sources = bundle(policy=policy + more)
    return sources | ({"handoff/remind.md": EMAIL, "handoff/escalate.md": EMAIL} if emails else {})


def _problems(more: str, emails: bool = True) -> list[str]:
    return [str(problem) for problem in check(_sources(more, emails))]


def test_the_escalation_policy_is_read_as_it_is_written() -> None:
    sla = load(_sources(SLA)).policy(1).effective_sla
    assert (sla.accept.remind, sla.accept.escalate) == (SlaDuration(2), SlaDuration(4))
    assert sla.accept.take_back == SlaDuration(1, DurationUnit.BUSINESS_DAYS)
    assert sla.max_reroutes == 2
    assert sla.follow_up.take_back == SlaDuration(72, DurationUnit.CLOCK_HOURS)
    assert sla.follow_up.levels == (EscalationLevel.FOLLOW_UP_REMINDED, EscalationLevel.FOLLOW_UP_ESCALATED)


def test_sla_and_priority_are_optional() -> None:
    policy = load(bundle()).policy(1)
    assert policy.effective_sla == SlaPolicy.without_sla(timedelta(days=1))
    assert policy.priority == PriorityPolicy()


def test_take_back_defaults_to_accept_within() -> None:
    sla = load(_sources("sla: {accept: {remind: 2 hours}}\n")).policy(1).effective_sla
    assert sla.accept.take_back == SlaDuration(24, DurationUnit.CLOCK_HOURS)


def test_priority_is_read_as_it_is_written() -> None:
    priority = load(_sources(PRIORITY)).policy(1).priority
    assert priority == PriorityPolicy(frozenset({"replied"}), timedelta(hours=4), {"A": 3}, 0.9)


@pytest.mark.parametrize("given", ["2 business weeks", "business hours", "0 business hours", "soon", "0 hours"])
def test_an_invalid_duration_is_rejected(given: str) -> None:
    with pytest.raises(InvalidValue):
        read_sla_duration(given)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (SLA.replace("escalate: 4", "escalate: 2"), "does not come after `remind` after 2 business hours"),
        (SLA.replace("2 business hours", "2 busy hours"), "`2 busy hours` is not a duration"),
        (
            SLA.replace("2 business hours", "2 working hours"),
            "is not a duration of working time. Write for example `15",
        ),
        (SLA.replace("reroute: 2", "reroute: 99"), "reroute"),
        (SLA.replace("take_back: 3 days", "give_back: 3 days"), "give_back"),
        ("sla: {accept: {escalate: 2 hours}}\n", "nobody to escalate to: no manager for mara"),
        (PRIORITY.replace("[replied]", "[repleid]"), "Did you mean `replied`?"),
        (PRIORITY.replace("fit: {A: 3}", "fit: {B: 3}"), "no rule gives the letter `B`"),
        (PRIORITY.replace("fit: {A: 3}", "fit: {A: 30}"), "a hot lead has 30 points"),
        (PRIORITY.replace("90%", "0.9"), "`0.9` is not a percentage of the daily capacity"),
    ],
)
def test_each_problem_says_what_to_write(more: str, problem: str) -> None:
    (said,) = [one for one in _problems(more) if "warning" not in one]
    assert said.startswith("sales/policy.yaml:")
    assert problem in said


def test_an_email_that_a_step_sends_must_exist() -> None:
    said = _problems("sla: {accept: {remind: 2 hours}}\n", emails=False)
    assert len(said) == 1
    assert "`remind` sends templates/handoff/remind.md, which is missing" in said[0]


def test_an_email_may_be_a_call_to_action() -> None:
    sources = bundle(TRACK.replace("01-one", "01-one\n  - email: 02-two"), ("01-one", "02-two"))
    sources["tracks/hello/02-two.md"] = EMAIL.replace("---\nHello", "call_to_action: yes\n---\nHello")
    assert load(sources).tracks["hello"].program(1).calls_to_action == {"02-two"}
    sources["tracks/hello/02-two.md"] = EMAIL.replace("---\nHello", "call_to_action: maybe\n---\nHello")
    (said,) = check(sources)
    assert str(said).startswith("tracks/hello/02-two.md:4: `call_to_action: maybe` is neither yes nor no.")


def test_a_reject_reason_says_whether_the_same_rep_may_have_it_again() -> None:
    reason = "  later: {label: Later, then: resume, not_same_rep: no, suppress: yes, ask_date: yes}\n"
    sources = bundle(policy=POLICY.replace("on_expiry", f"{reason}on_expiry"))
    reasons = load(sources).policy(1).reject_reasons
    later, plain = reasons["later"], reasons["not-now"]
    assert (later.not_same_rep, later.suppress, later.ask_date) == (False, True, True)
    assert (plain.not_same_rep, plain.suppress, plain.ask_date) == (True, False, False)


def test_back_pressure_without_a_call_to_action_is_a_warning() -> None:
    held = "priority: {hold_calls_to_action_at: 90%}\n"
    (found,) = _problems(held)
    assert "warning: `hold_calls_to_action_at` is on, but no email calls to action" in found
    sources = _sources(held)
    sources["tracks/hello/01-one.md"] = EMAIL.replace("preheader", "call_to_action: yes\npreheader")
    assert check(sources) == []
