"""The explanation of a lead, and finding leads by id, address or external id."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.errors import InvalidState, NotFound
from nurture.formats.lead_item import ItemReader
from nurture.journey.consent import statements
from nurture.journey.consent.suppression import suppress
from nurture.journey.engagement import signals
from nurture.journey.handoff import responses
from nurture.journey.intake.import_file import import_rows
from nurture.journey.leads.find import find_lead
from nurture.journey.leads.signal_queries import NewSignal
from nurture.journey.tracks import manual
from nurture.reporting.explain import explain, summary
from nurture.reporting.leads import list_leads
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at, sample_rules

pytestmark = pytest.mark.quick

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _signal(lead: int, kind: str, at: datetime, value: str | None = None) -> NewSignal:
    return NewSignal(lead, kind, at, at, f"{lead}-{kind}-{at}", "test", track="welcome", step="01-hello", value=value)


def test_a_due_lead_shows_no_plan_of_the_run_before(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    seen = explain(ctx, lead, START)
    assert seen.due_at is not None
    early = explain(ctx, lead, seen.due_at - timedelta(seconds=1))
    assert dict(summary(early))["next"] == seen.next_action
    assert dict(summary(explain(ctx, lead, seen.due_at)))["next"] == "it is due: the next run decides"


def test_a_lead_on_a_track_is_explained_with_its_step_its_hold_and_its_history(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head", first_name="Ada", last_name="Low", company="Quay")
    now = START + 3 * HOUR
    run_at(ctx, START, START + HOUR, now)
    signals.record(ctx, [_signal(lead, "clicked", now)], now)
    seen = explain(ctx, lead, now)
    assert (seen.name, seen.company, seen.owner) == ("Ada Low", "Quay", "marketing, by track welcome")
    assert seen.enrollment is not None
    assert (seen.enrollment.track, seen.enrollment.step, seen.enrollment.visit) == ("welcome", "wait-for-click", 1)
    assert seen.engagement == 10.0
    assert seen.due_at == now
    assert seen.hold.guard == "not_due"
    assert "02-more is due on" in seen.hold.reason
    assert [(line.stage, line.event) for line in seen.history][:5] == [
        ("intake", "imported"),
        ("enroll", "classified"),
        ("advance", "not_due"),
        ("consent", "granted"),
        ("advance", "touch"),
    ]
    by_event = {(line.stage, line.event): line for line in seen.history}
    assert by_event["touch", "sent"].reason == "01-hello of welcome, version 1"
    assert by_event["signal", "clicked"].ref == "welcome, 01-hello"
    assert [line.at for line in seen.history] == sorted(line.at for line in seen.history)
    assert dict(summary(seen))["on track"] == "welcome, step wait-for-click"
    assert orjson.loads(orjson.dumps(asdict(seen)))["lead_id"] == lead


@pytest.mark.parametrize("held_by", ["not_permitted", "paused", "with_sales"])
def test_the_guard_that_holds_a_lead_is_named(ctx: AppContext, held_by: str) -> None:
    lead = add_lead(ctx, email="ada@people.example", title="Head")
    run_at(ctx, START)
    if held_by == "not_permitted":
        suppress(ctx, ["ada@people.example"], START)
    elif held_by == "paused":
        manual.pause(ctx, lead, START + 9 * DAY, START)
    else:
        signals.record(ctx, [_signal(lead, "replied", START)], START)
        run_at(ctx, START)
    seen = explain(ctx, lead, START)
    assert seen.hold.guard == held_by
    assert seen.suppressions == (("global: admin",) if held_by == "not_permitted" else ())
    assert seen.paused_until == (START + 9 * DAY if held_by == "paused" else None)
    assert ("held by" in dict(summary(seen))) is True


def test_a_withdrawal_of_consent_is_shown_once_with_its_evidence(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    statements.withdraw_consent(ctx, lead, START + HOUR, evidence="said so on the phone")
    (shown,) = [line for line in explain(ctx, lead, START + HOUR).history if line.event == "withdrawn"]
    assert (shown.stage, shown.reason.endswith("said so on the phone")) == ("consent", True)


def test_a_consent_that_is_no_clear_yes_is_shown(ctx: AppContext) -> None:
    row = ItemReader("crm", {}).read(1, {"email": "ana@example.com", "consent_basis": "perhaps"})
    import_rows(ctx, [row], "API batch", START)
    assert "'perhaps', which is no clear yes to email" in explain(ctx, 1, START).consent
    yes = ItemReader("crm", {}).read(1, {"email": "ana@example.com", "consent_basis": "consent"})
    import_rows(ctx, [yes], "API batch", START)
    assert "perhaps" not in explain(ctx, 1, START).consent


def test_explaining_writes_nothing_and_shows_what_the_next_sweep_would_do(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head")
    run_at(ctx, START)
    signals.record(ctx, [_signal(lead, "deciding", START, "2026-02-01")], START)
    before = explain(ctx, lead, START)
    assert before.hold.guard == ""
    assert before.hold.reason.startswith("decides-soon: ")
    assert before.decides_on == date(2026, 2, 1)
    assert explain(ctx, lead, START) == before


@pytest.mark.parametrize(
    ("fields", "guard", "owner"),
    [
        ({"title": "student"}, "closed", "nobody: closed as discarded"),
        ({"email": None}, "queue", "the team of the queue no-address"),
        ({"demo_requested": True}, "with_sales", "marketing, while hand-off 1 is open"),
    ],
)
def test_leads_on_no_track_are_explained_too(
    ctx: AppContext, fields: dict[str, object], guard: str, owner: str
) -> None:
    lead = add_lead(ctx, **fields)  # type: ignore[arg-type]
    assert explain(ctx, lead, START).hold.guard == "intake"
    run_at(ctx, START)
    seen = explain(ctx, lead, START)
    assert (seen.hold.guard, seen.owner, seen.enrollment) == (guard, owner, None)


def test_rules_are_named_by_their_labels_and_countries_by_their_names(db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    policy = rules["sales/policy.yaml"].replace("- name: ready\n", "- name: ready\n    label: asked for a demo\n", 1)
    fit = "fit:\n  A: {field: country, in: [AT, CH]}\n"
    rules["sales/policy.yaml"] = f"{fit}{policy}"
    ctx = make_context(db, tmp_path, rules=rules)
    item = {"email": "ana@example.com", "consent_basis": "consent", "demo_requested": True, "country": "Austria"}
    import_rows(ctx, [ItemReader("crm", {}).read(1, item)], "API batch", START)
    run_at(ctx, START)
    responses.accept(ctx, 1, START + HOUR)
    seen = explain(ctx, 1, START + HOUR)
    assert (seen.readiness, seen.fit_reason) == ("asked for a demo", "country is Austria")
    reasons = {one.event: one.reason for one in seen.history}
    assert reasons["hand_off"] == "asked for a demo: demo_requested is yes"
    assert reasons["accepted"] == "ana accepted: asked for a demo: demo_requested is yes"


def test_a_closed_lead_shows_how_it_ended_and_who_had_it(ctx: AppContext) -> None:
    lead = add_lead(ctx, demo_requested=True)
    run_at(ctx, START)
    responses.accept(ctx, 1, START + HOUR)
    assert explain(ctx, lead, START + HOUR).owner == "rep ana"
    close_lead(ctx, lead, Closing.WON, START + DAY, amount=1200.0, source="crm")
    by_event = {(line.stage, line.event): line for line in explain(ctx, lead, START + DAY).history}
    assert by_event["outcome", "won"].ref == "1,200.00"
    assert by_event["brief", "sent"].reason == "brief to ana"


def test_a_lead_that_nobody_keeps_is_explained_without_an_error(ctx: AppContext) -> None:
    lead = add_lead(ctx)
    with ctx.database.write() as tx:
        tx.execute(text("DELETE FROM custody"))
    seen = explain(ctx, lead, START)
    assert (seen.custodian, seen.owner, seen.hold.guard) == ("nobody", "nobody", "no_custodian")


def test_explaining_an_unknown_lead_says_how_to_find_one(ctx: AppContext) -> None:
    with pytest.raises(NotFound, match=r"no lead 99. List leads with `nurture leads list`"):
        explain(ctx, 99, START)


def test_a_lead_is_found_by_its_id_its_address_in_any_spelling_or_another_system_s_id(ctx: AppContext) -> None:
    lead = add_lead(ctx, email="Ada.Low@People.Example", source="fair", external_id="00Q-17")
    spelled = ("ada.low@people.example", "ADA.LOW@PEOPLE.EXAMPLE", "00Q-17", "fair:00Q-17")
    for query in (str(lead), f" {lead} ", *spelled):
        assert find_lead(ctx, query) == lead


def test_our_own_id_comes_before_another_system_s_and_the_source_tells_them_apart(ctx: AppContext) -> None:
    first = add_lead(ctx)
    second = add_lead(ctx, source="fair", external_id=str(first))
    assert find_lead(ctx, str(first)) == first
    assert find_lead(ctx, f"fair:{first}") == second


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ada.low@people.exmaple", "Did you mean ada.low@people.example?"),
        ("00Q-71", "Did you mean 00Q-17?"),
        ("nobody@nowhere.example", "`nurture leads list` lists leads"),
        ("99999999999999999999999", "There is no lead 99999999999999999999999"),
        ("gone@people.example", "exists, but no lead has it"),
        ("  ", "No lead given"),
        ("%", "There is no lead %"),
    ],
)
def test_a_name_that_fits_nobody_is_answered_with_what_is_near(ctx: AppContext, query: str, message: str) -> None:
    add_lead(ctx, email="ada.low@people.example", external_id="00Q-17")
    suppress(ctx, ["gone@people.example"], START)
    with pytest.raises(NotFound) as caught:
        find_lead(ctx, query)
    assert message in str(caught.value)


def test_an_external_id_of_two_leads_is_refused_with_both_ids(ctx: AppContext) -> None:
    one = add_lead(ctx, source="fair", external_id="A7")
    two = add_lead(ctx, source="webinar", external_id="A7")
    with pytest.raises(InvalidState, match=rf"matches 2 leads: {one} \(fair:A7\), {two} \(webinar:A7\)"):
        find_lead(ctx, "A7")


def test_leads_are_listed_with_who_is_due_first_at_the_top_and_closed_ones_last(ctx: AppContext) -> None:
    closed = add_lead(ctx, title="student")
    head = add_lead(ctx, title="Head", first_name="Ada", company="Quay", source="fair")
    clerk = add_lead(ctx, title="Clerk")
    run_at(ctx, START)
    signals.record(ctx, [_signal(head, "clicked", START)], START)
    rows = list_leads(ctx, START + 30 * DAY)
    assert [row.id for row in rows] == [head, clerk, closed]
    assert (rows[0].name, rows[0].company, rows[0].ref, rows[0].engagement) == ("Ada", "Quay", "welcome", 5.0)
    assert (rows[2].custodian, rows[2].ref, rows[2].due_at) == ("closed", "discarded", None)
    assert [row.id for row in list_leads(ctx, START, custodian="closed")] == [closed]
    assert [row.id for row in list_leads(ctx, START, track="keep")] == [clerk]
    assert [row.id for row in list_leads(ctx, START, source="fair")] == [head]
    assert [row.id for row in list_leads(ctx, START, limit=1)] == [head]
    with pytest.raises(NotFound, match="Did you mean `track`"):
        list_leads(ctx, START, custodian="trak")


def test_leads_are_found_by_the_words_of_name_company_and_address_sorted_and_paged(ctx: AppContext) -> None:
    people = {"jo1": ("Jo", "Berg", "Hartmann"), "jo2": ("Jo", "Berg", "Arndt"), "ann": ("Ann", "Zu_ber%g", "Hartmann")}
    ids = {
        key: add_lead(
            ctx, email=f"{key}@people.example", first_name=first, last_name=last, company=company, title="Head"
        )
        for key, (first, last, company) in people.items()
    }
    run_at(ctx, START)

    def found(**chosen: Any) -> list[str]:
        return [next(key for key in ids if ids[key] == row.id) for row in list_leads(ctx, START, **chosen)]

    assert found(find="berg") == ["jo1", "jo2"]
    assert found(find="HARTMANN berg") == ["jo1"]
    assert found(find="people.example") == ["jo1", "jo2", "ann"]
    assert found(find="%") == found(find="_") == ["ann"]
    assert found(order="company") == ["jo2", "jo1", "ann"]
    assert found(order="name") == ["jo1", "jo2", "ann"]
    assert found(order="newest") == ["ann", "jo2", "jo1"]
    assert found(order="newest", offset=1, limit=1) == ["jo2"]
    assert [(row.email, row.step) for row in list_leads(ctx, START, find="arndt")] == [
        ("jo2@people.example", "01-hello")
    ]
    with pytest.raises(NotFound, match="Did you mean `name`"):
        list_leads(ctx, START, order="nam")
