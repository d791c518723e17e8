"""The pipeline, the team, the queues and companies, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.domain.lead import Closing
from nurture.errors import NotFound
from nurture.journey.handoff import responses
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.reporting.console.company import load_company
from nurture.reporting.console.handoffs import Pipeline, load_pipeline, load_queues, load_team
from nurture.reporting.console.lead_list import list_leads
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at
from tests.journey.observe import recorded_statements, rows, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _ready(ctx: AppContext, count: int) -> list[int]:
    return [add_lead(ctx, demo_requested=True, company="Quay") for _ in range(count)]


def _pipeline(ctx: AppContext) -> Pipeline:
    with ctx.database.read() as tx:
        return load_pipeline(ctx, tx, START + 2 * DAY)


def test_the_pipeline_counts_leads_that_reached_each_stage(ctx: AppContext) -> None:
    leads = _ready(ctx, 4)
    run_at(ctx, START)
    for offer in (1, 2):
        responses.accept(ctx, offer, START + HOUR)
    responses.reject(ctx, 3, "not-now", START + HOUR)
    close_lead(ctx, leads[0], Closing.WON, START + DAY)
    found = _pipeline(ctx)
    assert {one.name: one.leads for one in found.stages} == {
        "answered": 0,
        "handed_off": 4,
        "offered": 4,
        "accepted": 2,
        "contacted": 1,  # who bought was in touch
        "won": 1,
    }
    with ctx.database.read() as tx:
        for one in found.stages:
            assert list_leads(ctx, tx, one.people, START + 2 * DAY).count == one.leads
        by_ana = [replace(one.people, rep="ana") for one in found.stages if one.name in ("offered", "won")]
        listed = [list_leads(ctx, tx, one, START + 2 * DAY).count for one in by_ana]
    (ana,) = (one.counts for one in load_team(ctx, START + 2 * DAY) if one.roster.id == "ana")
    assert listed == [ana.offered, ana.won]
    assert {(one.lead_id, one.stands, one.is_late) for one in found.open} == {
        (leads[1], "accepted, not contacted", False),
        (leads[3], "offered, not answered", True),
    }


def test_the_team_shows_how_long_each_rep_takes_to_answer_and_who_is_slowest(ctx: AppContext) -> None:
    _ready(ctx, 2)
    run_at(ctx, START)
    responses.accept(ctx, 1, START + HOUR)
    responses.reject(ctx, 2, "bad-fit", START + 3 * HOUR)
    team = {one.roster.id: one for one in load_team(ctx, START + DAY)}
    assert {rep: (one.counts.offered, one.hours_to_answer, one.slowest) for rep, one in team.items()} == {
        "ana": (1, 1.0, False),
        "ben": (1, 3.0, True),
    }
    assert (team["ana"].counts.accepted, team["ben"].counts.rejected) == (1, 1)


def test_the_queues_show_owners_clocks_and_who_has_waited_longest(ctx: AppContext) -> None:
    lead = add_lead(ctx, email=None, first_name="Ada")
    run_at(ctx, START)
    with ctx.database.read() as tx:
        found = load_queues(ctx, tx, START + 60 * DAY)
    (queue,) = found.queues
    assert queue.rule is not None
    assert (queue.name, queue.rule.owners, queue.counts.late) == ("no-address", ("ana",), 1)
    assert [one.lead_id for one in found.leads] == [lead]


def test_a_company_shows_its_people_its_owner_and_what_all_of_them_got(ctx: AppContext) -> None:
    first, second = (add_lead(ctx, title="Head") for _ in range(2))
    (ready,) = _ready(ctx, 1)
    add_lead(ctx, title="Head")
    write(
        ctx,
        "INSERT INTO account (id, source, external_id, name, domains, owner, kind, created_at, updated_at)"
        " SELECT 1, 'crm', 'a1', 'Quay', '[]', 'ana', 'prospect', created_at, created_at FROM lead WHERE id = :id",
        id=first,
    )
    for lead in (first, second, ready):
        write(
            ctx,
            "INSERT INTO lead_account (lead_id, account_id, method, reason, at)"
            " SELECT id, 1, 'matched', 'its domain', created_at FROM lead WHERE id = :id",
            id=lead,
        )
    run_at(ctx, START, START + HOUR)
    with ctx.database.read() as tx:
        found = load_company(ctx, tx, 1, START + 2 * HOUR)
        with pytest.raises(NotFound, match="no company 2"):
            load_company(ctx, tx, 2, START)
    assert (found.account.name, found.owner, found.touches.emails) == ("Quay", "Ana", 2)
    assert [one.id for one in found.people.leads] == [ready, second, first]
    assert [one.lead_id for one in found.open] == [ready]
    assert [one.at for one in found.timeline] == sorted((one.at for one in found.timeline), reverse=True)
    assert {(one.lead_id, one.what) for one in found.timeline if one.kind == "email"} == {
        (first, "01-hello"),
        (second, "01-hello"),
    }
    assert (ready, "hand_off") in {(one.lead_id, one.what) for one in found.timeline if one.kind == "move"}
    ((rep,),) = rows(ctx, "SELECT rep FROM offer")
    with ctx.database.read() as tx:
        own = load_company(ctx, tx, 1, START + 2 * HOUR, reps=frozenset({rep}))
        of_others = load_company(ctx, tx, 1, START + 2 * HOUR, reps=frozenset({"nobody"}))
    assert {one.lead_id for one in own.timeline} == {one.id for one in own.people.leads} == {ready}
    assert (of_others.people.leads, of_others.open, of_others.timeline) == ([], (), [])


def test_before_anything_is_published_nobody_waits_and_there_is_no_team(db: Database, tmp_path: Path) -> None:
    clock_row.bind_mode(db, "virtual", START)
    empty = AppContext(db, MaildirProvider(tmp_path))
    with db.read() as tx:
        assert (load_queues(empty, tx, START).queues, load_pipeline(empty, tx, START).open) == ((), ())
    assert load_team(empty, START) == []


def test_the_number_of_statements_does_not_grow_with_the_hand_offs(ctx: AppContext) -> None:
    def count() -> int:
        with ctx.database.read() as tx, recorded_statements(ctx.database) as statements:
            load_pipeline(ctx, tx, START + HOUR)
            load_queues(ctx, tx, START + HOUR)
        with recorded_statements(ctx.database) as of_team:
            load_team(ctx, START + HOUR)
        return len(statements) + len(of_team)

    _ready(ctx, 12)  # more than the reps take
    run_at(ctx, START)
    count()
    few = count()
    _ready(ctx, 40)
    run_at(ctx, START + HOUR)
    assert count() == few
