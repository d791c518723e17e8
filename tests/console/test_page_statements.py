"""No page of the console asks the database more often when there are more leads."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.bench.console_pages import load_every_page
from tests.console.world import make_world
from tests.journey.builders import START, run_at
from tests.journey.observe import add_leads, recorded_statements


def test_the_number_of_statements_of_every_page_does_not_grow_with_the_leads(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    ctx, now = world.ctx, START + timedelta(hours=3)
    values = {
        "track": "welcome",
        "email": "01-hello",
        "kind": "track",
        "name": "welcome",
        "lead_id": str(world.ids["mia"]),
    }
    values |= {"account_id": str(world.ids["quay"]), "message_id": str(world.ids["hello"])}
    values |= {"path": "tracks/welcome/01-hello.md", "report": "funnel"}

    def count() -> dict[str, int]:
        counts = {}
        for path, load in load_every_page(ctx, now, values).items():
            load()  # what is kept in memory from the first time on
            with recorded_statements(ctx.database) as statements:
                load()
            counts[path] = len(statements)
        return counts

    run_at(ctx, now)
    few = count()
    add_leads(ctx, 60, title="Head", demo_requested=True)
    add_leads(ctx, 60, title="Head")
    run_at(ctx, now)
    assert count() == few
    assert len(few) >= 25
    ctx.database.close()
