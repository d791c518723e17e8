"""The pages on reports and deliverability in a browser: the figures of the command line, and what is done there."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.reporting.console.reports import REPORTS
from nurture.reporting.tracks import report_funnel
from tests.console.test_browser import FAINT, looks, open_tab
from tests.console.world import ConsoleWorld
from tests.journey.builders import START

PATHS = ("/deliverability", "/deliverability?address=nobody", *(f"/reports/{name}" for name in REPORTS))


@pytest.fixture
def tab(browser: Browser, world: ConsoleWorld) -> Iterator[Page]:
    with open_tab(browser, world, login="marketer") as opened:
        yield opened


@pytest.mark.parametrize("path", PATHS)
def test_no_page_overflows_or_is_faint(tab: Page, path: str) -> None:
    for look in looks(tab, path, (390, 1280, 1920)):
        assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), look
        assert tab.evaluate(FAINT) == [], look


def test_the_funnel_shows_the_figures_of_the_report_and_so_does_its_csv(tab: Page, world: ConsoleWorld) -> None:
    found = report_funnel(world.ctx)
    tab.goto("/reports")
    expect(tab.get_by_role("row", name=re.compile("^imported"))).to_contain_text(str(found.leads))
    answer = world.get("/reports/funnel/table.csv?table=0", "viewer")
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert rows[:2] == [["leads", "count", "details"], ["imported", str(found.leads), ""]]
    assert world.get("/reports/funnel/table.csv?table=0", "rep").status_code == 403
    for table in ("9", "-1", "x", "9" * 30):
        assert world.get(f"/reports/funnel/table.csv?table={table}", "viewer").status_code == 404


def test_a_measure_leads_to_the_people_behind_it(tab: Page) -> None:
    tab.goto("/reports/measures")
    tab.get_by_role("link", name="R23", exact=True).click()
    expect(tab.get_by_text("R23, version")).to_be_visible()
    tab.get_by_role("link", name="Leads that count").click()
    tab.get_by_role("link", name=re.compile("^Lead ")).first.click()
    expect(tab).to_have_url(re.compile("/leads/[0-9]+$"))


def test_a_report_is_chosen_from_what_there_is_and_leads_to_its_people(tab: Page, world: ConsoleWorld) -> None:
    tab.goto("/reports/funnel")
    tab.get_by_label("Source of the leads").select_option(index=1)
    tab.get_by_role("button", name="Show").click()
    expect(tab).to_have_url(re.compile("source="))
    tab.get_by_role("row", name="on a track now").get_by_role("link").click()
    expect(tab).to_have_url(re.compile(r"/leads\?custodian=track&source="))
    expect(tab.get_by_role("link", name="Mia <b>Wong</b>")).to_be_visible()


def test_a_manager_of_a_team_gets_the_figures_without_the_leads_and_reps_of_others(world: ConsoleWorld) -> None:
    for login, listed in (("viewer", True), ("maya", False)):
        path = "/reports/measures?row=R23&leads=missed"
        assert (re.search("Lead [0-9]", world.wait_for(path, "R23", login)) is not None) == listed
        assert (f"/leads/{world.ids['mia']}" in world.get(path, login).text) == listed
        answer = world.get("/reports/measures/table.csv?row=R23&leads=missed&table=0", login)
        assert answer.status_code == (200 if listed else 404)
        reps = [world.get(f"/reports/sales/table.csv?table={at}", login).text for at in range(5)]
        assert any(re.search("^Ana,", text, re.MULTILINE) for text in reps)
        assert any(re.search("^Ben,", text, re.MULTILINE) for text in reps) == listed


def test_the_numbers_of_a_rep_lead_to_the_leads_behind_them(tab: Page, world: ConsoleWorld) -> None:
    tab.goto("/reports/sales")
    row = tab.get_by_role("region", name="By rep").get_by_role("row", name="Ana")
    row.get_by_role("cell").nth(1).get_by_role("link").click()
    expect(tab).to_have_url(re.compile(r"/leads\?did=offered&rep=ana"))
    expect(tab.get_by_role("link", name="Dana Miller")).to_be_visible()
    expect(tab.get_by_role("link", name="Erik Holm")).to_have_count(0)


def test_a_report_is_printed_on_white_without_menus_in_any_theme(tab: Page) -> None:
    tab.goto("/theme/dark?next=/reports/sales")
    expect(tab.get_by_role("navigation", name="Pages")).to_be_visible()
    tab.emulate_media(media="print", color_scheme="dark")
    expect(tab.get_by_role("navigation", name="Pages")).to_be_hidden()
    assert tab.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate(FAINT) == []


@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 30])
def test_a_page_of_leads_that_is_none_is_no_error(world: ConsoleWorld, page: str) -> None:
    path = f"/reports/measures?row=R23&leads=part&page={page}"
    assert "could not be computed" not in world.wait_for(path, "R23: leads")


def test_a_choice_that_is_not_possible_is_named(tab: Page) -> None:
    tab.goto("/reports/measures?row=R0")
    expect(tab.get_by_role("alert")).to_contain_text("There is no measure 'R0'")


def test_a_marketer_resumes_a_domain_and_suppresses_an_address(tab: Page, world: ConsoleWorld) -> None:
    with world.ctx.database.write() as tx:
        circuit_breakers.trip(tx, Breaker("domain", "house.example", "4 of 100 bounced", START, None))
    tab.goto("/deliverability")
    expect(tab.get_by_role("cell", name="paused")).to_be_visible()
    tab.get_by_role("button", name="Resume").click()
    tab.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(tab.get_by_role("status")).to_contain_text("No longer paused: house.example.")
    tab.get_by_role("button", name="Suppress addresses").click()
    tab.get_by_role("dialog").get_by_label("Addresses").fill("stop@one.example, stop@two.example")
    tab.get_by_role("dialog").get_by_role("button", name="Suppress addresses").click()
    expect(tab.get_by_role("status")).to_contain_text("Suppressed: 2.")
    tab.goto("/deliverability?address=stop@one.example")
    expect(tab.get_by_role("row", name=re.compile("global.*admin"))).to_be_visible()


def test_a_message_whose_delivery_is_unknown_is_settled(tab: Page, world: ConsoleWorld) -> None:
    with world.ctx.database.write() as tx:
        tx.exec_driver_sql(f"UPDATE message SET state = 'unknown', reason = 'timeout' WHERE id = {world.ids['hello']}")
    tab.goto("/deliverability")
    tab.get_by_role("button", name="It was sent").click()
    tab.get_by_role("dialog").get_by_role("button", name="It was sent").click()
    expect(tab.get_by_role("status")).to_contain_text("counts as sent")
    assert world.rows("SELECT state FROM message WHERE id = :id", id=world.ids["hello"]) == [("accepted",)]
