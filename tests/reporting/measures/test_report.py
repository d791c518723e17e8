"""Every figure is what a slow count of plain rows says, for histories that nobody chose, on both databases."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nurture.db.engine import Database
from nurture.db.rollups import recount
from nurture.domain.lead import Closing
from nurture.errors import InvalidState, NotFound
from nurture.journey.engagement import signals
from nurture.journey.handoff import follow_up, reassign, responses
from nurture.journey.leads.signal_queries import NewSignal
from nurture.reporting.measures.definitions import load_facts, load_measures
from nurture.reporting.measures.report import Figure, find_measures, list_leads, report_measures
from nurture.reporting.sales import report_sales
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, close_lead, make_context, run_at
from tests.journey.observe import recorded_statements, rows
from tests.reporting.measures.slow_measures import SlowMeasures

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

_STEPS = st.tuples(
    st.sampled_from(
        (
            "add",
            "add",
            "demo",
            "run",
            "run",
            "wait",
            "accept",
            "reject",
            "follow up",
            "reassign",
            "won",
            "discard",
            "click",
            "reply",
        )
    ),
    st.integers(0, 30),
)


class _World:
    """Leads and a clock that only goes on."""

    def __init__(self, ctx: AppContext) -> None:
        self.ctx, self.now = ctx, START
        self.leads: list[int] = []

    def act(self, action: str, number: int) -> None:
        ctx, now = self.ctx, self.now
        self.now += HOUR if action != "wait" else 40 * DAY
        if action in ("add", "demo"):
            title = "Head" if number % 2 else "Clerk"
            self.leads.append(
                add_lead(ctx, at=now, title=title, demo_requested=action == "demo", source=f"s{number % 3}")
            )
        elif action in ("run", "wait"):
            run_at(ctx, self.now)
        elif self.leads:
            self._act_on(self.leads[number % len(self.leads)], action, number)

    def _act_on(self, lead: int, action: str, number: int) -> None:
        ctx, now = self.ctx, self.now
        newest = rows(ctx, "SELECT max(id) FROM offer WHERE lead_id = :lead", lead=lead)[0][0] or 0
        match action:
            case "accept":
                responses.accept(ctx, newest, now)
            case "reject":
                responses.reject(ctx, newest, ("not-now", "bad-fit", "wrong-person")[number % 3], now)
            case "follow up":
                follow_up.record_follow_up(ctx, lead, "call", now)
            case "reassign":
                reassign.reassign(ctx, newest, ("ana", "ben")[number % 2], now)
            case "won" | "discard":
                close_lead(ctx, lead, Closing.WON if action == "won" else Closing.DISCARDED, now, reason="x")
            case _:
                kind = "clicked" if action == "click" else "replied"
                key = f"{lead}-{kind}-{now}"
                one = NewSignal(lead, kind, now, now, key, "test", "human", track="welcome", step="01-hello")
                signals.record(ctx, [one], now)


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


@pytest.fixture
def world(ctx: AppContext) -> _World:
    return _World(ctx)


@settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # the histories of one database follow each other
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(_STEPS, min_size=20, max_size=45))
def test_figures_are_what_plain_rows_say(world: _World, history: list[tuple[str, int]]) -> None:
    for action, number in history:
        with suppress(InvalidState, NotFound):
            world.act(action, number)
    ctx, now = world.ctx, world.now + 3 * HOUR
    with ctx.database.write() as tx:
        assert [one.rows for one in recount(tx)] == [0, 0, 0]
    found = {one.measure.id: one for one in report_measures(ctx, now).figures}
    slow = SlowMeasures(ctx, now)
    expected = slow.count()
    assert {id_: _count(found[id_]) for id_ in expected} == expected
    assert {one.month: one.whole for one in found["R6"].months} == slow.months()
    median = slow.median_days_on_track()
    spread = found["R34-days"].spread
    assert (spread.p50 if spread is not None else None) == pytest.approx(median)


def _count(one: Figure) -> tuple[int, int, int]:
    return one.part, one.whole, one.unknown


def test_the_figures_agree_with_the_sales_report(world: _World) -> None:
    for action, number in (
        ("demo", 1),
        ("demo", 2),
        ("demo", 3),
        ("run", 0),
        ("accept", 0),
        ("reject", 1),
        ("wait", 0),
    ):
        world.act(action, number)
    found = {one.measure.id: one for one in report_measures(world.ctx, world.now).figures}
    rates = {one.name: (one.count, one.total) for one in report_sales(world.ctx, world.now).rates}
    names = {
        "R1": "wrong owner",
        "R6": "reached",
        "R18": "followed up",
        "R19": "contact not known",
        "R61": "never followed up",
        "R36": "ignored",
        "R35": "loop closed in 30 days",
    }
    assert {name: (found[id_].part, found[id_].whole) for id_, name in names.items()} == {
        name: rates[name] for name in names.values()
    }
    assert sum(found[id_].part for id_ in ("R18", "R19", "R61")) == found["R61"].whole > 0


def test_every_listed_lead_is_behind_the_figure_and_every_page_is_short(world: _World) -> None:
    for number in range(60):
        world.act("demo", number)
    world.act("run", 0)
    world.act("accept", 0)
    world.act("run", 0)
    now = world.now + 8 * DAY
    (figure,) = (one for one in report_measures(world.ctx, now, "R61").figures)
    pages = [list_leads(world.ctx, now, "R61", page=page) for page in (1, 2)]
    assert sum(map(len, pages)) == figure.part
    missed = list_leads(world.ctx, now, "R61", missed=True)
    assert len(missed) == figure.whole - figure.part
    assert list_leads(world.ctx, now, "R61", month="2031-01") == []
    assert len(list_leads(world.ctx, now, "R3")) == 50
    assert len(list_leads(world.ctx, now, "R3", page=2)) == 10


def test_every_measure_lists_its_leads(world: _World) -> None:
    for action, number in (("demo", 1), ("add", 1), ("run", 0), ("accept", 0), ("wait", 0), ("run", 0)):
        world.act(action, number)
    figures = {one.measure.id: one for one in report_measures(world.ctx, world.now).figures}
    for id_, figure in figures.items():
        facts = load_facts().get(figure.measure.facts)
        if facts is None:
            with pytest.raises(InvalidState, match=id_):
                list_leads(world.ctx, world.now, id_)
        elif figure.measure.facts in ("policies", "rep_days", "mail_days"):
            assert list_leads(world.ctx, world.now, id_) == []  # days and versions are behind these, not leads
        else:
            assert bool(list_leads(world.ctx, world.now, id_)) == bool(figure.part), id_


def test_the_report_costs_as_many_statements_for_many_leads_as_for_none(world: _World) -> None:
    def cost() -> int:
        with recorded_statements(world.ctx.database) as statements:
            report_measures(world.ctx, world.now)
        return len(statements)

    cost()
    before = cost()
    for number in range(30):
        world.act("demo", number)
    world.act("run", 0)
    world.act("wait", 0)
    assert cost() == before


def test_each_requirement_has_a_measure_or_a_reason() -> None:
    covered = {id_.partition("-")[0] for id_ in load_measures()}
    assert covered == {f"R{number}" for number in range(1, 73)}
    for one in load_measures().values():
        assert bool(one.none) != bool(one.definition), one.id
        assert one.none or one.facts or one.special, one.id
        assert not one.facts or one.facts in load_facts(), one.id


def test_an_unknown_measure_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="R77"):
        find_measures("R77")
    assert [one.id for one in find_measures("r4")] == ["R4", "R4-30"]
