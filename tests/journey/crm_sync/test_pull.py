"""Test that changes in the CRM are imported once, in our terms, and never guessed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.clock import VirtualClock
from nurture.crm.base import RemoteRecord
from nurture.crm.csv.crm import CsvFolderCrm
from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.journey import run_once
from nurture.journey.crm_sync import drift, pull, push
from nurture.journey.crm_sync.pull import PullResult
from nurture.journey.handoff import responses
from nurture.journey.outcomes import outcomes
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.outbox import crm_records
from nurture.runtime.context import AppContext
from tests.doubles.crm import ScriptedCrm
from tests.journey.builders import START, add_lead, make_context, sample_rules
from tests.journey.observe import custody, events, record_signal, recorded_statements, rows

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
STATUSES = """
statuses:
  New: open
  Working: followed up
  Talking: in talks
  Dead: lost
  Sold: won
  Later: {recycled: not-now}
"""


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path) -> AppContext:
    rules = sample_rules() | {"sales/crm.yaml": STATUSES}
    return replace(make_context(sqlite_db, tmp_path, rules=rules), crm=ScriptedCrm())


@pytest.fixture
def crm(ctx: AppContext) -> ScriptedCrm:
    assert isinstance(ctx.crm, ScriptedCrm)
    return ctx.crm


@pytest.fixture
def lead(ctx: AppContext) -> int:
    """Return a lead that a rep accepted at START, known to the CRM."""
    lead_id = add_lead(ctx, demo_requested=True, email="ana@people.example")
    run_once.run_once(ctx, START)
    responses.accept(ctx, 1, START)
    push.push(ctx, VirtualClock(START))
    return lead_id


def rep(ctx: AppContext) -> str:
    return str(rows(ctx, "SELECT rep FROM offer")[0][0])


def see(ctx: AppContext, lead_id: int, status: str = "New", *, after: timedelta = DAY, **more: object) -> PullResult:
    """Add one more change to the CRM, and pull it."""
    crm = ctx.crm
    assert isinstance(crm, ScriptedCrm)
    key = push.lead_key(ctx, lead_id)
    values = {"owner": f"{rep(ctx)}@house.example", **more}
    one = RemoteRecord(key, "1", START + after, "nurture-handoff-1", "accepted", status, **values)  # type: ignore[arg-type]
    crm.pages.append([one])
    crm.records[key] = one
    return pull.pull(ctx, START + after + HOUR)


def test_a_mapped_status_is_the_follow_up_and_counts_once(ctx: AppContext, lead: int) -> None:
    assert dict(see(ctx, lead).counts) == {}
    assert dict(see(ctx, lead, "Working", after=2 * DAY).counts) == {"status": 1, "followed up": 1}
    assert dict(see(ctx, lead, "Working", after=3 * DAY).counts) == {}
    assert events(ctx, lead)[-2:] == ["crm_status", "followed_up"]
    assert rows(ctx, "SELECT follow_up_method FROM offer") == [("Working",)]


def test_a_status_from_before_the_hand_off_is_no_follow_up_but_a_logged_call_is(ctx: AppContext, lead: int) -> None:
    assert dict(see(ctx, lead, "Working").counts) == {}
    assert dict(see(ctx, lead, "Working", after=2 * DAY, touched_at=START - DAY).counts) == {}
    assert dict(see(ctx, lead, "Working", after=3 * DAY, touched_at=START + DAY).counts) == {"followed up": 1}


@pytest.fixture
def offered(ctx: AppContext) -> int:
    """Return a lead that is offered to a rep since START, known to the CRM."""
    lead_id = add_lead(ctx, demo_requested=True, email="ana@people.example")
    run_once.run_once(ctx, START)
    push.push(ctx, VirtualClock(START))
    see(ctx, lead_id, after=HOUR)
    return lead_id


@pytest.mark.parametrize("how", [{"status": "Working"}, {"status": "New", "touched_at": START + 2 * HOUR}])
def test_a_status_or_a_task_on_an_offered_lead_accepts_it_and_is_the_contact(
    ctx: AppContext, offered: int, how: dict[str, object]
) -> None:
    read = see(ctx, offered, after=3 * HOUR, **how)  # type: ignore[arg-type]
    assert (read.counts["accepted"], read.counts["followed up"]) == (1, 1)
    assert custody(ctx, offered) == ("rep", rep(ctx))
    assert rows(ctx, "SELECT state, followed_up_at IS NOT NULL FROM offer") == [("accepted", True)]
    assert dict(see(ctx, offered, after=4 * HOUR, **how).counts) == {}  # type: ignore[arg-type]
    run_once.run_once(ctx, START + 2 * DAY)
    assert custody(ctx, offered)[0] == "rep"


@pytest.mark.parametrize(
    ("found", "accepted"), [(("", ""), True), (("New", None), True), (("Working", ""), False), (None, False)]
)
def test_what_a_rep_sets_before_the_first_pull_counts_if_the_state_before_the_push_is_known(
    ctx: AppContext, crm: ScriptedCrm, found: tuple[str, str | None] | None, accepted: bool
) -> None:
    crm.found = found
    lead_id = add_lead(ctx, demo_requested=True)
    run_once.run_once(ctx, START)
    push.push(ctx, VirtualClock(START))
    see(ctx, lead_id, "Working", after=HOUR, owner="stranger@house.example" if found and found[1] is None else "")
    assert (custody(ctx, lead_id)[0] == "rep") is accepted
    assert "owner_changed" not in events(ctx, lead_id)


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("status", ["New", "Working"])
def test_another_owner_gets_the_hand_off_and_the_contact_is_theirs(
    ctx: AppContext, offered: int, accepted: bool, status: str
) -> None:
    if accepted:
        responses.accept(ctx, 1, START + HOUR)
    first = rep(ctx)
    other = "ben" if first == "ana" else "ana"
    see(ctx, offered, status, after=3 * HOUR, owner=f"{other}@house.example")
    assert custody(ctx, offered) == ("rep", other)
    states = rows(ctx, "SELECT rep, state, followed_up_at IS NOT NULL FROM offer ORDER BY id")
    assert states == [(first, "reassigned", False), (other, "accepted", status == "Working")]
    assert {"owner_changed", "reassigned"} <= set(events(ctx, offered))
    crm = ctx.crm
    assert isinstance(crm, ScriptedCrm)
    push.push(ctx, VirtualClock(START + 4 * HOUR))
    assert crm.written[-1] == ("nurture-handoff-2", "accepted")


def test_the_owner_who_was_asked_accepts_by_being_set(ctx: AppContext, offered: int) -> None:
    see(ctx, offered, after=2 * HOUR, owner="stranger@house.example")
    assert custody(ctx, offered)[0] == "offer"
    see(ctx, offered, after=3 * HOUR)
    assert custody(ctx, offered) == ("rep", rep(ctx))


def test_later_contacts_in_the_crm_begin_the_silence_anew_and_name_the_stage(ctx: AppContext, lead: int) -> None:
    see(ctx, lead)
    see(ctx, lead, "Working", after=2 * DAY)
    see(ctx, lead, "Talking", after=9 * DAY)
    assert rows(ctx, "SELECT stage, touched_at FROM offer")[0][0] == "in talks"
    see(ctx, lead, "Talking", after=20 * DAY, touched_at=START + 20 * DAY)
    assert str(rows(ctx, "SELECT touched_at FROM offer")[0][0]).startswith("2026-01-25")


def test_a_converted_record_is_a_contact_though_its_status_is_not_mapped(ctx: AppContext, offered: int) -> None:
    see(ctx, offered, "Parked", after=3 * HOUR, converted=True)
    assert custody(ctx, offered) == ("rep", rep(ctx))
    assert events(ctx, offered)[-1] == "followed_up"


def test_work_on_many_leads_costs_as_many_statements_as_on_one(ctx: AppContext, crm: ScriptedCrm) -> None:
    def cost(count: int, after: timedelta) -> int:
        leads = [add_lead(ctx, demo_requested=True, at=START + after) for _ in range(count)]
        run_once.run_once(ctx, START + after)
        seen = [(push.lead_key(ctx, one), after + HOUR) for one in leads]
        for status in ("New", "Working"):
            crm.pages.append([RemoteRecord(key, "1", START + at, "k", "offered", status) for key, at in seen])
            with recorded_statements(ctx.database) as executed:
                assert pull.pull(ctx, START + after + HOUR).counts["accepted"] == count * (status == "Working")
        return len(executed)

    assert cost(1, timedelta()) == cost(4, DAY)


def test_an_unmapped_status_is_reported_and_changes_nothing(ctx: AppContext, lead: int) -> None:
    see(ctx, lead)
    read = see(ctx, lead, "Parked", after=2 * DAY)
    assert dict(read.unknown_statuses) == {"Parked": 1}
    assert custody(ctx, lead)[0] == "rep"
    assert "followed_up" not in events(ctx, lead)


@pytest.mark.parametrize(
    ("status", "query"),
    [
        ("Unsubscribed", "SELECT count(*) FROM consent_statement WHERE NOT granted AND evidence LIKE '%Unsubscribed%'"),
        ("Hard bounce", "SELECT count(*) FROM suppression WHERE source = 'bounce'"),
    ],
)
def test_a_status_that_says_opt_out_or_bounce_is_recorded_once(
    ctx: AppContext, lead: int, status: str, query: str
) -> None:
    assert see(ctx, lead, status).counts["opt-outs"] == 1
    assert "opt-outs" not in see(ctx, lead, status, after=2 * DAY).counts
    assert rows(ctx, query) == [(1,)]


def test_a_deal_that_is_won_closes_the_lead_with_its_amount_once(ctx: AppContext, lead: int) -> None:
    sold = {"closing": "won", "amount": 900.0, "closed_at": START + DAY}
    assert see(ctx, lead, "Working", **sold).counts["closed"] == 1
    assert dict(see(ctx, lead, "Working", after=2 * DAY, **sold).counts) == {}
    assert custody(ctx, lead) == ("resting", "customer")
    (one,) = outcomes.list_outcomes(ctx, None, 10)
    assert (one.amount, one.source, one.offer_id, one.policy_version) == (900.0, "crm:scripted", 1, 1)
    assert one.happened_at == START + DAY


def test_a_loss_reported_late_closes_a_lead_that_is_back_on_a_track(ctx: AppContext) -> None:
    lead_id = add_lead(ctx, demo_requested=True)
    run_once.run_once(ctx, START)
    responses.reject(ctx, 1, "not-now", START)
    assert custody(ctx, lead_id)[0] == "track"
    assert see(ctx, lead_id, "Dead").counts["closed"] == 1
    assert custody(ctx, lead_id) == ("closed", "lost")
    assert see(ctx, lead_id, "Sold", after=2 * DAY).counts["conflict"] == 1
    assert custody(ctx, lead_id) == ("closed", "lost")
    assert len(outcomes.list_contradictions(ctx)) == 1


def test_another_owner_in_the_crm_is_recorded(ctx: AppContext, lead: int) -> None:
    see(ctx, lead)
    other = "ben" if rep(ctx) == "ana" else "ana"
    assert see(ctx, lead, owner=f"{other}@house.example", after=2 * DAY).counts["owner"] == 1
    assert see(ctx, lead, owner="stranger@house.example", after=3 * DAY).counts["owner"] == 1
    refs = rows(ctx, "SELECT ref FROM journal WHERE event = 'owner_changed' ORDER BY id")
    assert refs == [(other,), ("?",)]


def test_a_lead_given_back_in_the_crm_is_recycled_by_its_reason(ctx: AppContext, lead: int) -> None:
    see(ctx, lead)
    assert see(ctx, lead, "Later", after=2 * DAY).counts["given back"] == 1
    assert custody(ctx, lead) == ("track", "keep")


def test_a_rep_who_gives_a_lead_back_in_the_crm_does_not_get_it_again(ctx: AppContext, lead: int) -> None:
    see(ctx, lead)
    see(ctx, lead, "Later", after=2 * DAY)
    assert rows(ctx, "SELECT state, reason FROM offer") == [("rejected", "not-now")]
    record_signal(ctx, lead, SignalKind.REPLIED, START + 40 * DAY)
    run_once.run_once(ctx, START + 40 * DAY)
    first, then = (who for (who,) in rows(ctx, "SELECT rep FROM offer ORDER BY id"))
    assert first != then


def test_an_offer_given_back_in_the_crm_is_rejected(ctx: AppContext) -> None:
    lead_id = add_lead(ctx, demo_requested=True)
    run_once.run_once(ctx, START)
    see(ctx, lead_id)
    assert see(ctx, lead_id, "Later", after=HOUR + HOUR).counts["given back"] == 1
    assert rows(ctx, "SELECT state, reason FROM offer") == [("rejected", "not-now")]
    assert custody(ctx, lead_id) == ("track", "keep")


def test_a_reject_reason_that_suppresses_does_so_from_the_crm_too(sqlite_db: Database, tmp_path: Path) -> None:
    rules = sample_rules() | {"sales/crm.yaml": STATUSES.replace("not-now", "bad-fit")}
    policy = rules["sales/policy.yaml"].replace("Nothing for them,", "Nothing for them, suppress: yes,")
    ctx = make_context(sqlite_db, tmp_path, rules=rules | {"sales/policy.yaml": policy})
    ctx = replace(ctx, crm=ScriptedCrm())
    lead_id = add_lead(ctx, demo_requested=True)
    run_once.run_once(ctx, START)
    responses.accept(ctx, 1, START)
    see(ctx, lead_id)
    see(ctx, lead_id, "Later", after=2 * DAY)
    assert rows(ctx, "SELECT source FROM suppression") == [("admin",)]


def test_an_unknown_lead_is_reported_without_its_address(ctx: AppContext, crm: ScriptedCrm) -> None:
    crm.pages.append(
        [
            RemoteRecord("other-lead-1", "9", START),
            RemoteRecord("x@people.example", "f.csv", START),
            RemoteRecord("nurture-lead-77", "8", START),
        ]
    )
    read = pull.pull(ctx, START)
    assert len(read.problems) == 3
    assert "x@people.example" not in "".join(read.problems)


def test_a_crm_that_is_down_is_reported_and_read_on_from_the_same_place(
    ctx: AppContext, lead: int, crm: ScriptedCrm
) -> None:
    see(ctx, lead)
    crm.script = ["down"]
    assert see(ctx, lead, "Working", after=2 * DAY).problems == ["it is down"]
    assert pull.pull(ctx, START + 3 * DAY).counts["followed up"] == 1


def test_drift_is_reported_with_a_remedy_until_both_agree(ctx: AppContext, lead: int, crm: ScriptedCrm) -> None:
    see(ctx, lead)
    assert drift.find_drift(ctx, crm) == []
    key = push.lead_key(ctx, lead)
    record = crm.records[key]
    for changed, what in (
        ({"owner": "stranger@house.example"}, "owner"),
        ({"handoff_status": "offered"}, "hand-off"),
        ({"crm_status": "Parked"}, "status"),
        ({"crm_status": "Sold"}, "outcome"),
    ):
        crm.records[key] = replace(record, **changed)  # type: ignore[arg-type]
        assert [one.field for one in drift.find_drift(ctx, crm)] == [what]
    del crm.records[key]
    (gone,) = drift.find_drift(ctx, crm)
    assert (gone.field, gone.crm_says) == ("record", "no record")
    assert "--resync-since" in gone.remedy


def test_files_in_a_folder_say_the_same_as_a_crm(sqlite_db: Database, tmp_path: Path) -> None:
    rules = sample_rules() | {"sales/crm.yaml": STATUSES}
    ctx = replace(make_context(sqlite_db, tmp_path, rules=rules), crm=CsvFolderCrm(tmp_path / "crm"))
    first = add_lead(ctx, demo_requested=True, email="ana@people.example")
    run_once.run_once(ctx, START)
    folder = tmp_path / "crm" / "in"
    (folder / "1.csv").write_text('email,outcome,amount,date\nana@people.example,Sold,"1,500.00",2026-01-04\n')
    (folder / "2.csv").write_text("email,outcome\nana@people.example,Dead\nnobody@people.example,Sold\n")
    read = pull.pull(ctx, START + DAY)
    assert dict(read.counts)["closed"] == 1
    assert read.counts["conflict"] == 1
    assert len(read.problems) == 1
    assert custody(ctx, first) == ("resting", "customer")
    assert outcomes.list_outcomes(ctx, None, 5)[0].amount == 1500.0
    assert dict(pull.pull(ctx, START + DAY).counts) == {}


def test_the_first_file_row_of_a_lead_counts(sqlite_db: Database, tmp_path: Path) -> None:
    rules = sample_rules() | {"sales/crm.yaml": STATUSES}
    ctx = replace(make_context(sqlite_db, tmp_path, rules=rules), crm=CsvFolderCrm(tmp_path / "crm"))
    called, returned = (add_lead(ctx, demo_requested=True, email=f"{name}@people.example") for name in ("ana", "bo"))
    run_once.run_once(ctx, START)
    for offer in (1, 2):
        responses.accept(ctx, offer, START)
    content = "email,status\nana@people.example,Working\nbo@people.example,Later\n"
    (tmp_path / "crm" / "in" / "1.csv").write_text(content)
    assert dict(pull.pull(ctx, START + DAY).counts) == {"status": 2, "followed up": 1, "given back": 1}
    assert (custody(ctx, called)[0], custody(ctx, returned)[0]) == ("rep", "track")


def test_before_anything_is_published_nothing_is_read(sqlite_db: Database, tmp_path: Path) -> None:
    crm = ScriptedCrm(pages=[[RemoteRecord("nurture-lead-1", "1", START)]])
    ctx = AppContext(sqlite_db, MaildirProvider(tmp_path / "maildir"), crm=crm)
    assert pull.pull(ctx, START) == PullResult()


def test_on_postgres_it_reads_the_same(postgres_db: Database, tmp_path: Path) -> None:
    rules = sample_rules() | {"sales/crm.yaml": STATUSES}
    crm = ScriptedCrm()
    ctx = replace(make_context(postgres_db, tmp_path, rules=rules), crm=crm)
    lead_id = add_lead(ctx, demo_requested=True)
    run_once.run_once(ctx, START)
    responses.accept(ctx, 1, START)
    push.push(ctx, VirtualClock(START))
    assert see(ctx, lead_id).counts.total() == 0
    assert drift.find_drift(ctx, crm) == []
    assert see(ctx, lead_id, "Working", after=2 * DAY).counts["followed up"] == 1
    assert see(ctx, lead_id, "Sold", after=3 * DAY, amount=3.0).counts["closed"] == 1
    assert custody(ctx, lead_id) == ("resting", "customer")
    assert outcomes.list_outcomes(ctx, None, 5)[0].amount == 3.0
    other_id = add_lead(ctx, demo_requested=True, at=START + 3 * DAY)
    run_once.run_once(ctx, START + 3 * DAY)
    asked = str(rows(ctx, "SELECT rep FROM offer ORDER BY id DESC")[0][0])
    taken_by = "ben" if asked == "ana" else "ana"
    see(ctx, other_id, after=3 * DAY + HOUR, owner=f"{asked}@house.example")
    see(ctx, other_id, "Working", after=3 * DAY + 2 * HOUR, owner=f"{taken_by}@house.example")
    assert custody(ctx, other_id) == ("rep", taken_by)
    with ctx.database.write() as tx:
        assert crm_records.plan_existing_offers(tx, START, START) == 1
