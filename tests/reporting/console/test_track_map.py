"""The sheet of all tracks and the map of one, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.db.rollups import recount
from nurture.definitions import read_all
from nurture.definitions.folder import read_folder
from nurture.domain.planning.program import Program
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.journey.engagement import signals
from nurture.journey.leads.signal_queries import NewSignal
from nurture.reporting.console.lead_list import list_leads
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.reporting.console.step_cards import Card, arrange_cards
from nurture.reporting.console.track_map import Arrow, Loss, StepCounts, TrackMap, load_track_map, load_track_sheet
from nurture.reporting.console.track_source import load_track_source
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, publish_approved, run_at, sample_rules
from tests.journey.observe import add_leads, recorded_statements

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TEMPLATES = Path(__file__).parents[3] / "templates"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


def _signal(ctx: AppContext, lead: int, kind: SignalKind) -> None:
    at = START + 2 * HOUR
    signals.record(ctx, [NewSignal(lead, kind, at, at, f"{lead}{kind}", "x", track="welcome", step="01-hello")], at)


def _map(
    ctx: AppContext, track: str = "welcome", days: int = 30, version: int | None = None, now: datetime = START + DAY
) -> TrackMap:
    with ctx.database.read() as tx:
        return load_track_map(ctx, tx, track, now, days, version)


def test_a_step_shows_who_is_there_and_what_was_sent_clicked_replied_left_and_handed_off(ctx: AppContext) -> None:
    leads = [add_lead(ctx, title="Head") for _ in range(4)]
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    _signal(ctx, leads[0], SignalKind.CLICKED)
    _signal(ctx, leads[1], SignalKind.REPLIED)
    _signal(ctx, leads[2], SignalKind.UNSUBSCRIBED)
    run_at(ctx, START + 4 * HOUR)
    found = _map(ctx)
    assert found.counts["01-hello"] == StepCounts(sent=4, clicked=1, replied=1)
    assert found.counts["wait-for-click"] == StepCounts(
        here=1, with_sales=1, handed_off=1, left={"queue suppressed": 1}, ways={0: 1}
    )
    run_at(ctx, START + 12 * DAY)
    assert _map(ctx, now=START + 12 * DAY).counts["wait-for-click"].ways == {0: 1, 1: 1}
    with ctx.database.write() as tx:
        assert [one.rows for one in recount(tx)] == [0, 0, 0]
    assert found.counts["02-more"] == StepCounts(here=1)
    assert (found.tile.counts.here, found.tile.counts.sent, found.tile.counts.left_in_all) == (2, 4, 1)
    assert found.tile.audience == "title contains head"


def test_the_step_that_loses_most_leads_is_named_and_leads_to_them(ctx: AppContext) -> None:
    leads = [add_lead(ctx, title="Head") for _ in range(4)]
    run_at(ctx, START, START + HOUR, START + 2 * HOUR)
    assert _map(ctx).worst is None
    _signal(ctx, leads[1], SignalKind.REPLIED)
    for lead in leads[2:]:
        _signal(ctx, lead, SignalKind.UNSUBSCRIBED)
    run_at(ctx, START + 4 * HOUR)
    assert _map(ctx).worst == Loss("welcome", "wait-for-click", 2, 2)
    assert _map(ctx).counts["wait-for-click"].lost == 2
    with ctx.database.read() as tx:
        assert load_track_sheet(ctx, tx, START + DAY).worst == Loss("welcome", "wait-for-click", 2, 2)
        chosen = LeadFilter(did="lost", track="welcome", step="wait-for-click", since=START)
        assert {one.id for one in list_leads(ctx, tx, chosen, START + DAY).leads} == set(leads[2:])
        chosen = replace(chosen, did="left")
        counts = _map(ctx).counts["wait-for-click"]
        assert list_leads(ctx, tx, chosen, START + DAY).count == counts.left_in_all
        went_on = list_leads(ctx, tx, replace(chosen, did="went_on"), START + DAY)
        assert went_on.count == counts.left_in_all - counts.lost


def test_the_text_of_a_track_shows_where_a_step_begins(ctx: AppContext) -> None:
    with ctx.database.read() as tx:
        found = load_track_source(tx, "welcome", None, "wait-for-click")
        assert "wait_for" in found.lines[found.marked - 1]
        assert load_track_source(tx, "welcome", 1).marked == 0
        with pytest.raises(NotFound, match="no version 7"):
            load_track_source(tx, "welcome", 7)
        with pytest.raises(NotFound, match="No track nowhere"):
            load_track_source(tx, "nowhere", None)


def test_cards_stand_in_the_order_of_the_track_with_the_subjects_of_its_emails(ctx: AppContext) -> None:
    cards = _map(ctx).cards
    assert [(one.step, one.title, one.detail) for one in cards] == [
        ("01-hello", "Hello", "after 1 hour"),
        ("wait-for-click", "Wait until it clicked 01-hello", "at most 5 days"),
        ("02-more", "More", "after 3 days"),
        ("finally", "Go to track keep", ""),
    ]
    assert [(way.label, way.cards) for way in cards[1].ways] == [("yes", ()), ("no", ())]


def _steps(cards: tuple[Card, ...]) -> Iterator[str]:
    for card in cards:
        yield card.step
        for way in card.ways:
            yield from _steps(way.cards)


def _shipped() -> list[Program]:
    return [track.program(1) for _, track in sorted(read_all.load(read_folder(TEMPLATES)).tracks.items())]


@pytest.mark.parametrize("program", _shipped(), ids=lambda one: one.track)
def test_every_step_of_a_shipped_track_has_one_card_and_forks_meet_again(program: Program) -> None:
    found = list(_steps(arrange_cards(program, {})))
    left_out = {"finally"} if program.track == "keep-warm" else set()  # after a repeat without end
    assert sorted(found) == sorted(set(program.index) - left_out)


def test_the_sheet_shows_all_tracks_and_the_arrows_between_them(ctx: AppContext) -> None:
    add_lead(ctx, title="Head")
    add_lead(ctx, title="Clerk")
    run_at(ctx, START)
    with ctx.database.read() as tx:
        sheet = load_track_sheet(ctx, tx, START)
    assert [(one.name, one.counts.here, one.emails) for one in sheet.tracks] == [("welcome", 1, 2), ("keep", 1, 1)]
    assert sheet.arrows == (
        Arrow("welcome", "keep", "at the end"),
        Arrow("keep", "", "at the end: close as unreachable (keep has no more steps)"),
    )
    assert sheet.columns == (("welcome",), ("keep",))


def test_a_version_shows_its_own_steps_and_what_happened_on_those_that_are_gone(ctx: AppContext) -> None:
    add_lead(ctx, title="Head")
    run_at(ctx, START, START + HOUR)
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] = (
        rules["tracks/welcome/track.yaml"]
        .replace("email: 01-hello\n", "email: 01-hey\n")
        .replace("email: 01-hello}", "email: 01-hey}")
        + "moved_to: {01-hello: 01-hey}\n"
    )
    rules["tracks/welcome/01-hey.md"] = rules.pop("tracks/welcome/01-hello.md").replace("Hello\n", "Hey\n", 1)
    publish_approved(ctx, rules, START + 2 * HOUR)
    newest, first = _map(ctx), _map(ctx, version=1)
    assert [number for number, _ in newest.versions] == [2, 1]
    assert newest.cards[0].title == "Hey"
    assert newest.others["01-hello"] == StepCounts(here=1, sent=1)
    assert first.counts["01-hello"].sent == 1
    assert (first.cards[0].title, first.tile.version) == ("Hello", 1)
    with pytest.raises(NotFound, match="no version 3"):
        _map(ctx, version=3)
    with pytest.raises(NotFound, match="Did you mean"):
        _map(ctx, "welcom")


@pytest.mark.parametrize(
    ("delayed", "usual", "level"), [(0, 0, 0), (4, 0, 0), (5, 0, 1), (30, 25, 0), (40, 25, 1), (40, 5, 2)]
)
def test_a_step_is_colored_where_more_wait_than_usual(delayed: int, usual: float, level: int) -> None:
    assert StepCounts(delayed=delayed, usually_delayed=usual).level == level


def test_the_number_of_statements_does_not_grow_with_the_leads(ctx: AppContext) -> None:
    def count() -> list[int]:
        found = []
        for load in (lambda tx: load_track_sheet(ctx, tx, START), lambda tx: load_track_map(ctx, tx, "welcome", START)):
            with ctx.database.read() as tx, recorded_statements(ctx.database) as statements:
                load(tx)
            found.append(len(statements))
        return found

    add_leads(ctx, 10, title="Head")
    run_at(ctx, START)
    count()
    few = count()
    add_leads(ctx, 190, title="Head")
    run_at(ctx, START + HOUR)
    assert count() == few
    assert max(few) <= 10
