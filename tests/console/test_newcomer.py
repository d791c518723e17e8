"""What somebody who has never seen the console finds out with nothing but its address: at most three clicks each."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.console.access.users import Role
from nurture.reporting.console.track_queries import NOT_LOST
from nurture.simulation import world as simulated
from nurture.simulation.behavior import BehaviorModel
from tests.console.test_browser import open_tab
from tests.console.world import ConsoleWorld, serve_console
from tests.simulation import worlds


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    """A practice world of 40 leads in which 20 days have passed, and its console."""
    folder = tmp_path_factory.mktemp("newcomer") / "world"
    description = worlds.make_world(folder)
    command = (str(Path(sys.executable).with_name("nurture")), "practice", "console", "--folder", str(folder))
    with worlds.entered(folder, description) as app:
        behavior = BehaviorModel(app.ctx, description.seed, worlds.MONDAY, worlds.LIVELY)
        simulated.run_world(app.ctx, behavior, worlds.MONDAY + 20 * worlds.DAY)
        made = ConsoleWorld(app.ctx, {})
        made.new_user("viewer", Role.VIEWER)
        with serve_console(made, (*command, "--port", "0", "--json")):
            yield made


def _follow(tab: Page, *links: str) -> None:
    """Open the console, and click these links: at most three, the last of which leads to the answer."""
    assert len(links) <= 3
    tab.goto("/")
    for name in links:
        tab.get_by_role("link", name=name, exact=True).first.click()


def test_which_step_loses_most_people(browser: Browser, world: ConsoleWorld) -> None:
    ended = "SELECT track, step, end_reason FROM enrollment WHERE ended_at IS NOT NULL"
    losses = Counter(
        (track, step)
        for track, step, reason in world.rows(ended)
        if reason not in NOT_LOST and not reason.startswith("moved to ")
    )
    (track, step), lost = max(sorted(losses.items()), key=lambda one: one[1])
    with open_tab(browser, world, login="viewer") as tab:
        _follow(tab, "Tracks")
        found = tab.locator("#content").get_by_text("Most people are lost at the step")
        expect(found.locator("..")).to_contain_text(f"Most people are lost at the step {step} of {track}: {lost} of ")
        found.locator("..").get_by_role("link", name=f"{lost} of").click()
        expect(tab.locator("#content")).to_contain_text(f"{lost} leads")


def test_why_a_lead_got_nothing_last_week(browser: Browser, world: ConsoleWorld) -> None:
    week_ago = (worlds.MONDAY + 13 * worlds.DAY).isoformat()
    silent = (
        "SELECT m.lead_id FROM message AS m JOIN custody AS c ON c.lead_id = m.lead_id WHERE m.kind = 'touch' "
        "AND c.kind = 'track' GROUP BY m.lead_id HAVING max(m.accepted_at) < :week_ago ORDER BY m.lead_id"
    )
    ((lead,), *_) = world.rows(silent, week_ago=week_ago)
    with open_tab(browser, world, login="viewer") as tab:
        tab.goto("/")
        search = tab.get_by_role("searchbox")
        search.fill(str(lead))
        search.press("Enter")
        tab.locator(f"a[href='/leads/{lead}']").click()
        said = tab.get_by_text("No email in the last 7 days").locator("..")
        expect(said).to_contain_text("decided")
        expect(said).to_contain_text("The last one went out")


def test_which_rep_answers_slowest(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, login="viewer") as tab:
        _follow(tab, "Hand-offs", "Team")
        expect(tab.locator("#content")).to_contain_text(
            re.compile("(Ana|Ben) answers slowest: half of the answers took")
        )


def test_who_waits_for_a_person_and_since_when(browser: Browser, world: ConsoleWorld) -> None:
    assert world.rows("SELECT lead_id FROM custody WHERE kind IN ('offer', 'queue')") != []
    with open_tab(browser, world, 390, "viewer") as tab:
        tab.goto("/")
        card = tab.locator(".card", has_text="Who waits for a person")
        expect(card).to_contain_text("has waited longest: since")
        expect(card).to_contain_text("leads in all.")
        assert card.locator("time").first.get_attribute("datetime")
        name = card.get_by_role("link").first.inner_text()
        card.get_by_role("link").first.click()
        expect(tab.get_by_role("heading", level=1)).to_have_text(name)


def test_what_goes_out_on_a_day_and_to_whom(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, login="viewer") as tab:
        _follow(tab, "Calendar")
        day = tab.locator(".day", has=tab.locator(".day-total")).first
        total = day.locator(".day-total").inner_text()
        weekday = day.get_by_role("link").first.inner_text()[:3]
        day.get_by_role("link").first.click()
        expect(tab.get_by_role("heading", level=1)).to_contain_text(re.compile(f"^{weekday}[a-z]*day "))
        emails = tab.get_by_role("region", name="Emails").get_by_role("row")
        expect(emails).not_to_have_count(0)
        assert sum(int(one) for one in emails.locator("td:last-child").all_inner_texts()) == int(total)
        tab.get_by_role("region", name="People").get_by_role("link").first.click()
        expect(tab.get_by_role("heading", name="Timeline")).to_be_visible()
