"""Practice worlds: the same seed is the same world, a run that is cut or killed makes no difference, nothing leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from nurture.domain.signals import SignalKind
from nurture.journey.broadcasts import release
from nurture.journey.handoff.waiting.emails import WAITING_KIND
from nurture.simulation import world
from nurture.simulation.behavior import NO_REACTIONS, BehaviorModel, LeadRates, ReactionRates, ScriptedReaction
from nurture.simulation.world_folder import WorldDescription
from tests.simulation.worlds import DAY, LIVELY, MONDAY, entered, make_world, rows, what_happened, write_templates

DAYS = 12


class Killed(BaseException):
    """The process dies here."""


def _run(folder: Path, description: WorldDescription, days: float, dies_at_commit: int = 0) -> None:
    """Run the world until *days* after its start; with *dies_at_commit* it is killed before this commit."""
    with entered(folder, description) as app:
        commits = 0

        @event.listens_for(app.database.engine, "commit")
        def _count(_connection: object) -> None:
            nonlocal commits
            commits += 1
            if commits == dies_at_commit:
                raise Killed

        world.run_world(app.ctx, BehaviorModel(app.ctx, description.seed, MONDAY, LIVELY), MONDAY + days * DAY)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    folder = tmp_path_factory.mktemp("reference") / "world"
    description = make_world(folder)
    _run(folder, description, DAYS)
    with entered(folder, description) as app:
        return what_happened(app)


def test_a_world_shows_what_can_happen(reference: dict[str, list[object]]) -> None:
    assert len(reference["messages"]) > 60
    assert len(reference["signals"]) > 20
    assert reference["offers"]
    assert reference["suppressions"]


def test_the_same_seed_makes_the_same_world_also_in_parts(tmp_path: Path, reference: dict[str, list[object]]) -> None:
    description = make_world(tmp_path / "world")
    for days in (0.5, 4, 4.125, DAYS):
        _run(tmp_path / "world", description, days)
    with entered(tmp_path / "world", description) as app:
        assert what_happened(app) == reference


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(
    tmp_path: Path, reference: dict[str, list[object]]
) -> None:
    description = make_world(tmp_path / "world")
    kills = 0
    for dies_at in range(7, 600, 97):
        try:
            _run(tmp_path / "world", description, DAYS, dies_at)
        except Killed:
            kills += 1
    assert kills > 3
    _run(tmp_path / "world", description, DAYS)
    with entered(tmp_path / "world", description) as app:
        found = what_happened(app)
    assert found["signals"] == reference["signals"]
    extra = [one for one in found["messages"] if one not in reference["messages"]]
    assert [one for one in found["messages"] if one not in extra] == reference["messages"]
    # A round that is repeated lists what its first half moved into a queue: for a person and a day at most once.
    assert all(str(one).startswith(f"('{WAITING_KIND}:") for one in extra)
    assert found["offers"] == reference["offers"]
    assert found["suppressions"] == reference["suppressions"]


def test_leads_react_to_broadcasts_at_the_rates_or_as_scripted(tmp_path: Path) -> None:
    templates = write_templates(tmp_path / "rules")
    day, until = (MONDAY + DAY).date().isoformat(), (MONDAY + 3 * DAY).date().isoformat()
    lines = f"name: news\naudience: everybody\nwhen: {day} 10:00\nzone: UTC\nnot_after: {until} 12:00\n"
    folder = templates / "broadcasts" / "news"
    folder.mkdir(parents=True)
    (folder / "broadcast.yaml").write_text(lines, "utf-8")
    (folder / "letter.md").write_text((templates / "tracks/welcome/01-hello.md").read_text("utf-8"), "utf-8")
    description = make_world(tmp_path / "world", 12, templates=templates)
    clicks = LeadRates(*(ReactionRates(click=1.0),) * 2)
    script = [ScriptedReaction("letter", SignalKind.REPLIED, "Please call me.", frozenset({1, 2, 3}))]
    with entered(tmp_path / "world", description) as app:
        release.release(app.ctx, "news", "mara", MONDAY)
        world.run_world(app.ctx, BehaviorModel(app.ctx, "1", MONDAY, clicks, None, script), MONDAY + 5 * DAY)
        sent = {row.lead_id for row in rows(app, "message") if row.kind == "broadcast" and row.state == "accepted"}
        did = {(row.lead_id, row.kind) for row in rows(app, "signal") if row.track == "broadcasts/news"}
    scripted = sent & {1, 2, 3}
    assert scripted
    assert sent > scripted
    assert did == {(lead, "replied" if lead in scripted else "clicked") for lead in sent}


def test_leads_do_what_they_are_scripted_once_also_about_earlier_emails(tmp_path: Path) -> None:
    description = make_world(tmp_path / "world", 12)
    with entered(tmp_path / "world", description) as app:
        quiet = BehaviorModel(app.ctx, "1", MONDAY, NO_REACTIONS, None)
        world.run_world(app.ctx, quiet, MONDAY + 3 * DAY)
        sent = {row.lead_id for row in rows(app, "message") if row.email == "01-hello" and row.state == "accepted"}
        assert len(sent) > 1
        before = rows(app, "signal")
    script = [
        ScriptedReaction("01-hello"),
        ScriptedReaction("01-hello", SignalKind.REPLIED, "Could we talk on the phone?"),
    ]
    only = frozenset(sorted(sent)[1:])
    for days in (4, 9):
        with entered(tmp_path / "world", description) as app:
            reactions = [replace(one, lead_ids=only) for one in script]
            model = BehaviorModel(app.ctx, "1", MONDAY, NO_REACTIONS, None, reactions, MONDAY + 3 * DAY)
            world.run_world(app.ctx, model, MONDAY + days * DAY)
            done = [(row.lead_id, row.kind) for row in rows(app, "signal")[len(before) :]]
            assert sorted(done) == sorted((lead, kind) for lead in only for kind in ("clicked", "replied"))
            assert [row.text for row in rows(app, "reply")] == ["Could we talk on the phone?"] * len(only)
