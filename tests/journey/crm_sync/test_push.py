"""Test that each hand-off is pushed once and in order, however the CRM fails."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.crm.base import HandoffStatus
from nurture.crm.csv.crm import CsvFolderCrm
from nurture.db.engine import Database
from nurture.db.tables.base import table
from nurture.db.tables.handoff import Offer
from nurture.domain.lead import Closing
from nurture.journey import run_once
from nurture.journey.crm_sync import push
from nurture.journey.delivery import circuit_breakers
from nurture.journey.erasure import erase
from nurture.journey.handoff import responses
from nurture.outbox import crm_records
from nurture.runtime.context import AppContext
from tests.doubles.crm import ScriptedCrm
from tests.journey.builders import START, add_lead, close_lead, make_context

DAY = timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return replace(make_context(db, tmp_path), crm=ScriptedCrm())


@pytest.fixture
def crm(ctx: AppContext) -> ScriptedCrm:
    assert isinstance(ctx.crm, ScriptedCrm)
    return ctx.crm


def offered(ctx: AppContext, count: int = 1) -> list[int]:
    """Return leads that are offered to sales now."""
    ids = [add_lead(ctx, demo_requested=True, first_name="Ana", company="Souza") for _ in range(count)]
    run_once.run_once(replace(ctx, crm=None), START)
    return ids


def run(ctx: AppContext, after: timedelta = timedelta()) -> dict[str, int]:
    return dict(push.push(ctx, VirtualClock(START + after)))


def states(ctx: AppContext) -> list[str]:
    with ctx.database.read() as tx:
        return list(tx.execute(text("SELECT state FROM crm_record ORDER BY id")).scalars())


def test_an_offer_is_pushed_once_and_its_acceptance_brings_the_owner(ctx: AppContext, crm: ScriptedCrm) -> None:
    (lead_id,) = offered(ctx)
    assert run(ctx) == {"pushed": 1}
    assert run(ctx) == {}
    assert crm.written == [("nurture-handoff-1", "offered")]
    assert crm.records[f"nurture-lead-{lead_id}"].owner == ""
    responses.accept(ctx, 1, START)
    assert states(ctx) == ["planned"]
    assert run(ctx) == {"pushed": 1}
    assert crm.written[1:] == [("nurture-handoff-1", "accepted")]
    assert crm.records[f"nurture-lead-{lead_id}"].owner in ("ana@house.example", "ben@house.example")


def test_what_the_crm_refuses_is_in_the_history_of_the_lead(ctx: AppContext, crm: ScriptedCrm) -> None:
    refused, fine = offered(ctx, 2)
    crm.script = ["refuses"]
    run(ctx)
    entries = "SELECT lead_id, reason FROM journal WHERE event = 'crm_push'"
    with ctx.database.read() as tx:
        assert tx.execute(text(entries)).all() == [(refused, "a field is missing")]
    assert crm.records.keys() == {f"nurture-lead-{fine}"}


def test_without_a_crm_nothing_is_pushed_and_offers_made_meanwhile_are_pushed_later(
    ctx: AppContext, crm: ScriptedCrm
) -> None:
    offered(ctx, 2)
    assert push.push(replace(ctx, crm=None), VirtualClock(START)) == {}
    assert states(ctx) == ["planned", "planned"]
    assert run(ctx, DAY) == {"pushed": 2}
    assert [key for key, _ in crm.written] == ["nurture-handoff-1", "nurture-handoff-2"]


def test_an_unknown_record_is_resolved_by_looking_it_up(ctx: AppContext, crm: ScriptedCrm) -> None:
    offered(ctx, 2)
    crm.script = ["times out after", "times out before"]
    assert run(ctx) == {"unknown": 2}
    assert run(ctx) == {}, "the CRM gets a moment to finish what is on its way"
    assert run(ctx, 2 * push.UNKNOWN_GRACE) == {"already in the CRM": 1, "pushed": 1}
    assert sorted(crm.written) == [("nurture-handoff-1", "offered"), ("nurture-handoff-2", "offered")]
    assert states(ctx) == ["done", "done"]


def test_an_answer_during_an_unknown_push_is_pushed_after_it(ctx: AppContext, crm: ScriptedCrm) -> None:
    offered(ctx)
    crm.script = ["times out after"]
    run(ctx)
    responses.accept(ctx, 1, START)
    assert states(ctx) == ["unknown"]
    assert run(ctx, 2 * push.UNKNOWN_GRACE) == {"already in the CRM": 1, "pushed": 1}
    assert [stage for _, stage in crm.written] == ["offered", "accepted"]


def test_a_busy_crm_is_not_called_before_its_retry_time_and_then_probed_with_one(
    ctx: AppContext, crm: ScriptedCrm
) -> None:
    offered(ctx, 4)
    crm.script = ["writes", "is busy"]
    assert run(ctx) == {"pushed": 1, "postponed": 1, "breaker opened": 1}
    assert run(ctx, timedelta(minutes=2)) == {}
    (breaker,) = circuit_breakers.load_deliverability_status(ctx, START).breakers
    assert (breaker.name, breaker.reason) == ("scripted", "too many calls")
    assert run(ctx, timedelta(minutes=3)) == {"pushed": 3}
    assert circuit_breakers.load_deliverability_status(ctx, START).breakers == ()


def test_after_an_outage_everything_comes_in_the_order_of_hand_offs(ctx: AppContext, crm: ScriptedCrm) -> None:
    (first, *_) = offered(ctx, 3)
    crm.script = ["is busy"] * 3
    for minutes in (0, 3, 6):
        run(ctx, timedelta(minutes=minutes))
    responses.reject(ctx, 1, "please-check", START)
    close_lead(ctx, first, Closing.LOST, START, reason="gone")
    run(ctx, DAY)
    assert crm.written == [
        ("nurture-handoff-1", "rejected"),
        ("nurture-handoff-2", "offered"),
        ("nurture-handoff-3", "offered"),
    ]


def test_a_rejected_record_stays_visible_and_stops_no_other(ctx: AppContext, crm: ScriptedCrm) -> None:
    offered(ctx, 2)
    crm.script = ["refuses"]
    assert run(ctx) == {"rejected": 1, "pushed": 1}
    with ctx.database.read() as tx:
        by_state = {one.state: one for one in crm_records.count_by_state(tx)}
    assert by_state["rejected"].reason == "a field is missing"
    with ctx.database.write() as tx:
        assert crm_records.plan_existing_offers(tx, START, START) == 2
    assert run(ctx, DAY) == {"pushed": 2}


def test_calls_without_an_answer_open_the_breaker(ctx: AppContext, crm: ScriptedCrm) -> None:
    offered(ctx, 5)
    crm.script = ["times out before"] * 3
    assert run(ctx) == {"unknown": 3, "breaker opened": 1}
    assert states(ctx) == ["unknown"] * 3 + ["planned"] * 2
    assert run(ctx, DAY) == {"pushed": 5}


def test_records_stay_unknown_while_the_crm_cannot_be_asked(ctx: AppContext, crm: ScriptedCrm) -> None:
    offered(ctx)
    crm.script = ["times out after", "down"]
    run(ctx)
    assert run(ctx, 2 * push.UNKNOWN_GRACE) == {"breaker opened": 1}
    assert states(ctx) == ["unknown"]
    assert run(ctx, DAY) == {"already in the CRM": 1}


def test_the_intent_commits_with_the_offer_or_not_at_all(ctx: AppContext) -> None:
    lead_id = add_lead(ctx, demo_requested=True)
    run_once.run_once(replace(ctx, crm=None), START)
    with ctx.database.read() as tx:
        rows = tx.execute(text("SELECT send_key, offer_id, lead_id, target_state FROM crm_record")).all()
    assert [tuple(row) for row in rows] == [("handoff:1", 1, lead_id, "offered")]


def test_a_folder_gets_one_file_of_all_that_is_pushed_at_once(sqlite_db: Database, tmp_path: Path) -> None:
    ctx = replace(make_context(sqlite_db, tmp_path), crm=CsvFolderCrm(tmp_path / "crm"))
    offered(ctx, 8)
    assert run(ctx) == {"pushed": 8}
    (file,) = (tmp_path / "crm" / "out").glob("*.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["nurture_handoff"] for row in rows] == [
        f"{ctx.installation_id or 'nurture'}-handoff-{n}" for n in range(1, 9)
    ]
    assert {row["nurture_handoff_status"] for row in rows} == {"offered"}
    assert rows[0]["company"] == "Souza"


def test_a_changed_offer_state_is_pushed_whoever_changed_it(ctx: AppContext, crm: ScriptedCrm) -> None:
    offered(ctx, 2)
    run(ctx)
    responses.accept(ctx, 1, START)
    run(ctx)
    with ctx.database.write() as tx:
        tx.execute(text("UPDATE offer SET state = 'lapsed' WHERE id = 1"))
    assert run(ctx) == {"pushed": 1}
    assert crm.written[-1] == ("nurture-handoff-1", "lapsed")
    assert run(ctx) == {}


def test_an_erased_lead_is_no_longer_pushed(ctx: AppContext, crm: ScriptedCrm) -> None:
    (lead_id,) = offered(ctx)
    erase.erase_person(ctx, str(lead_id), START)
    run(ctx)
    assert crm.written == []
    assert states(ctx) == ["done"]


def test_every_state_of_an_offer_is_a_handoff_status() -> None:
    (check,) = [one for one in table(Offer).constraints if str(one.name).endswith("state")]  # type: ignore[attr-defined]
    assert {stage.value for stage in HandoffStatus} == set(re.findall(r"'(\w+)'", str(check.sqltext)))
