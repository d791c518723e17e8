"""Pages of a practice world: they show its virtual time, and what is done on them counts."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from nurture.app import open_app
from nurture.clock import RealClock, VirtualClock
from nurture.journey.handoff import workspace_links
from nurture.simulation import world
from nurture.simulation.behavior import BehaviorModel
from nurture.simulation.world_folder import WorldDescription
from nurture.web.app import create_app
from nurture.web.templates import Templates
from tests.simulation.worlds import DAY, LIVELY, MONDAY, entered, make_world, rows
from tests.web.world import TestClient


def _run(folder: Path, description: WorldDescription, days: int) -> None:
    with entered(folder, description) as app:
        world.run_world(app.ctx, BehaviorModel(app.ctx, "1", MONDAY, LIVELY), MONDAY + days * DAY)


def test_pages_show_the_virtual_time_while_another_process_moves_it(tmp_path: Path) -> None:
    description = make_world(tmp_path / "world", 12)
    _run(tmp_path / "world", description, 3)
    with open_app(world.world_settings(tmp_path / "world", description), pages=True) as app:
        client = TestClient(create_app(app.ctx, app.clock))
        workspace = urlsplit(workspace_links.create(app.ctx, "ana", app.clock.now()).url(app.ctx.base_url)).path
        assert "Thursday 5 March 2026, 09:00 UTC" in client.get(workspace).text
        mail = world.list_mails(tmp_path / "world", ("touch",))[-1].read_text("utf-8")
        unsubscribe = re.findall(rf"{app.ctx.base_url}(/u/[^\"]+)", mail)[0]
        done = client.post(unsubscribe, data={"by": "page", "List-Unsubscribe": "One-Click"})
        assert done.status_code == 200, done.text
        assert "Thursday 5 March 2026" in done.text
        stopped = {row.address_id: row.recorded_at for row in rows(app, "suppression")}
        assert MONDAY + 3 * DAY in stopped.values()
        _run(tmp_path / "world", description, 6)
        assert "Sunday 8 March 2026, 09:00 UTC" in client.get(workspace).text
        address_of = {row.id: row.address_id for row in rows(app, "lead")}
        later = [row for row in rows(app, "message") if row.kind == "touch" and row.accepted_at is not None]
        assert not [row for row in later if row.accepted_at > stopped.get(address_of[row.lead_id], row.accepted_at)]


def test_pages_of_a_live_database_have_no_bar_of_practice() -> None:
    templates = Templates(VirtualClock(MONDAY)), Templates(RealClock()), Templates()
    shown = [one.render("not-found.html") for one in templates]
    assert ["Practice" in page for page in shown] == [True, False, False]
