"""The pages of leads and of reps in a real browser without JavaScript, on a phone and on a desktop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import text

from nurture.db.engine import Database
from nurture.formats.lead_row import LeadRow
from nurture.formats.status_mapping import ConsentBasis
from nurture.journey.handoff import responses
from nurture.journey.intake.import_file import import_rows
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.publishing.publish import publish
from nurture.reporting import explain
from tests.journey.builders import run_at, sample_rules
from tests.journey.handoff.briefing import briefed, mailed
from tests.web.browser import IS_FAINT
from tests.web.sales.test_queues import queues_path
from tests.web.serving import serve_in_thread
from tests.web.world import NOW, World

WIDTHS = (390, 1000)

_ANSWER = re.compile(r"status of (422|409) ")  # allowed statuses of a form: ambiguous, or answered before

_UNSEEN = """() => [...document.querySelectorAll("input:not([type=hidden]), button, a")]
    .filter(one => { const box = one.getBoundingClientRect();
        return box.left < 0 || box.right > document.documentElement.clientWidth })
    .map(one => one.outerHTML)"""
_SMALL = """() => [...document.querySelectorAll("button, label.choice, input[type=date], summary, a.button")]
    .filter(one => one.getBoundingClientRect().height > 0)
    .filter(one => one.getBoundingClientRect().height < 44).map(one => one.outerHTML)"""
_FAINT = f"""() => {{ {IS_FAINT}
    const read = "h1, h2, h3, p, small, label, legend, summary, button, a, dt, dd, li, .state, .when";
    return [...document.querySelectorAll(read)].filter(isFaint).map(one => one.outerHTML);
}}"""


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width}px")
def page(request: pytest.FixtureRequest, browser: Browser, sqlite_world: World) -> Iterator[Page]:
    """A tab of this width on a real server; requests to other hosts and errors fail the test."""
    with serve_in_thread(sqlite_world.client.app, "127.0.0.1", 0) as port:  # type: ignore[arg-type]
        base = f"http://127.0.0.1:{port}"
        context = browser.new_context(
            java_script_enabled=False, viewport={"width": request.param, "height": 800}, base_url=base
        )
        context.set_default_timeout(10_000)
        tab = context.new_page()
        foreign_requests: list[str] = []
        tab.on("request", lambda sent: foreign_requests.append(sent.url) if not sent.url.startswith(base) else None)
        console_lines: list[str] = []
        tab.on("console", lambda message: console_lines.append(message.text))
        yield tab
        context.close()
        assert foreign_requests == []
        assert [line for line in console_lines if not _ANSWER.search(line)] == []


def _press(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()


def _fits(page: Page) -> None:
    """Assert that nothing on the page overflows, is too small or has too little contrast."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(_UNSEEN) == []
    assert page.evaluate(_SMALL) == []
    assert page.evaluate(_FAINT) == []
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


def _heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)
    _fits(page)


def _all_choices(page: Page) -> None:
    page.get_by_role("link", name="See all your choices").click()


def test_a_lead_unsubscribes(page: Page, sqlite_world: World) -> None:
    page.goto(sqlite_world.path("mia", "unsubscribe"))
    _heading(page, "No more email from us?")
    assert sqlite_world.value("SELECT count(*) FROM suppression") == 0
    _press(page, "Unsubscribe")
    _heading(page, "You are unsubscribed")
    assert sqlite_world.value("SELECT count(*) FROM suppression WHERE source = 'page'") == 1


def test_a_lead_chooses_topics_stops_all_and_opts_in_again(page: Page, sqlite_world: World) -> None:
    page.goto(sqlite_world.path("mia", "preferences"))
    _heading(page, "Your email choices")
    _press(page, "Stop emails about News")
    _heading(page, "No more emails about News")
    _press(page, "Send me emails about News again")
    _heading(page, "You get emails about News again")
    _all_choices(page)
    page.get_by_role("link", name="Stop all email").click()
    _press(page, "Stop all email")
    _heading(page, "You get no more email from us")
    _all_choices(page)
    _heading(page, "You get no more email from us")
    expect(page.get_by_role("button")).to_have_count(1)
    sqlite_world.clock.advance_to(sqlite_world.clock.now().replace(hour=20))
    _press(page, "Send me email again")
    _heading(page, "You get our email again")


def test_a_lead_pauses_and_gets_mail_less_often(page: Page, sqlite_world: World) -> None:
    page.goto(sqlite_world.path("mia", "preferences"))
    _press(page, "Pause my email")
    _heading(page, "Your email choices")
    expect(page).to_have_title("Please check: Your email choices")
    page.get_by_role("link", name="Please check one answer").click()
    days = page.get_by_role("group", name="Not now? Pause our email")
    expect(days).to_have_accessible_description("Choose how long we should pause, or enter a date such as 2027-03-31.")
    days.get_by_label("Until which day?").fill("2026-04-01")
    _press(page, "Pause my email")
    _heading(page, "Paused until 1 April 2026")
    _all_choices(page)
    _heading(page, "Your email choices")
    _press(page, "End the pause now")
    _heading(page, "The pause is over")
    _all_choices(page)
    page.get_by_role("radio", name="At most one a month").check()
    _press(page, "Change how often I get email")
    _heading(page, "At most one a month, from now on")
    _all_choices(page)
    expect(page.get_by_role("radio", name="At most one a month")).to_be_checked()
    with sqlite_world.ctx.database.read() as tx:
        row = tx.execute(
            text("SELECT paused_until, touch_interval_days FROM lead WHERE id = :id"), {"id": sqlite_world.ids["mia"]}
        ).one()
    assert tuple(row) == (None, 30)


def test_a_lead_states_when_it_decides(page: Page, sqlite_world: World) -> None:
    page.goto(sqlite_world.path("mia", "preferences"))
    page.get_by_label("By the end of June 2026").check()
    _press(page, "Save the date")
    _heading(page, "Saved: you decide by 30 June 2026")
    _all_choices(page)
    expect(page.get_by_label("By the end of June 2026")).to_be_checked()
    page.get_by_label("By another day").check()
    page.get_by_label("By which day?").fill("2027-02-10")
    _press(page, "Save the date")
    _heading(page, "Saved: you decide by 10 February 2027")
    explanation = explain.explain(sqlite_world.ctx, sqlite_world.ids["mia"], sqlite_world.clock.now())
    assert explanation.decides_on == date(2027, 2, 10)


def test_a_lead_confirms_its_consent(page: Page, sqlite_world: World, tmp_path: Path) -> None:
    ctx, now = sqlite_world.ctx, sqlite_world.clock.now()
    ctx.provider = MaildirProvider(tmp_path / "maildir")
    publish(ctx, {**sample_rules(), "sending.yaml": "sources: {website: {confirm: yes}}\n"}, now)
    yes = {"consent_basis": ConsentBasis.CONSENT, "consent_wording": "Yes, send me <your> news"}
    import_rows(ctx, [LeadRow(1, custom={}, source="website", email="zoe@people.example", **yes)], "form", now)  # type: ignore[arg-type]
    run_at(ctx, now)
    (mail,) = [one for one in (tmp_path / "maildir/new").iterdir() if "zoe@" in one.read_text()]
    found = re.search(r"/y/[\w-]{22}", message_from_bytes(mail.read_bytes(), policy=policy.default).as_string())
    assert found is not None
    page.goto(found[0])
    _heading(page, "Please confirm your consent")
    expect(page.get_by_text("Yes, send me <your> news")).to_be_visible()
    _press(page, "Yes, I agree")
    _heading(page, "Confirmed")
    page.reload()
    _heading(page, "Confirmed")
    assert sqlite_world.value("SELECT wording FROM consent_statement WHERE evidence LIKE 'confirmed by%'") == (
        "Yes, send me <your> news"
    )


def test_the_choices_are_made_with_the_keyboard_alone(page: Page, sqlite_world: World) -> None:
    page.goto(sqlite_world.path("mia", "preferences"))
    for key in ("Tab", "Tab", "Tab", "Tab", "ArrowDown", "ArrowDown", "Enter"):  # link, two topics, the radios
        page.keyboard.press(key)
    _heading(page, "At most one a month, from now on")


def test_a_rep_accepts_follows_up_and_rates(page: Page, sqlite_world: World) -> None:
    page.goto(sqlite_world.path("dana", "accept"))
    _heading(page, "Dana Miller, Acme & Sons <Ltd>")
    expect(page.get_by_text("Tuesday 6 January 2026, 08:00 (UTC)")).to_be_visible()
    assert sqlite_world.custodian("dana")[0] == "offer"
    _press(page, "Accept this lead")
    _heading(page, "Dana Miller is yours, Ana")
    _fits(page)
    page.goto(sqlite_world.path("dana", "workspace"))
    _heading(page, "Ana, your leads")
    hand = page.get_by_role("region", name="Your leads")
    expect(hand.get_by_role("heading", level=3)).to_have_text("Dana Miller, Acme & Sons <Ltd>")
    _press(page, "I contacted them: Dana Miller")
    _heading(page, "Recorded: you contacted them")
    page.get_by_role("link", name="All your leads").click()
    expect(page.get_by_role("button", name="I contacted them")).to_have_count(0)
    hand.get_by_role("group", name="Was this lead useful?").get_by_role("button", name="Useful", exact=False)
    _press(page, "Useful: Dana Miller")
    _heading(page, "Thank you")
    assert sqlite_world.value("SELECT useful FROM offer_rating") == 1
    page.goto(sqlite_world.path("dana", "accept"))
    _heading(page, "Dana Miller, Acme & Sons <Ltd>")
    expect(page.get_by_role("button", name="Record it")).to_be_visible()


def test_a_rep_answers_from_the_workspace_and_manages_a_lead_on_its_track(page: Page, sqlite_world: World) -> None:
    page.goto(sqlite_world.path("dana", "workspace"))
    _heading(page, "Ana, your leads")
    page.get_by_role("link", name="View and answer: Dana Miller").click()
    _heading(page, "Dana Miller, Acme & Sons <Ltd>")
    page.get_by_text("They asked to be called later").click()
    _press(page, "Have them called then")
    expect(page.get_by_role("alert")).to_have_text("Choose a quarter, or enter a date such as 2027-03-31.")
    form_group = page.get_by_role("group", name="When did they ask to be called?")
    expect(form_group).to_have_accessible_description("Choose a quarter, or enter a date such as 2027-03-31.")
    _heading(page, "Dana Miller, Acme & Sons <Ltd>")
    form_group.get_by_label("In Q3 2026").check()
    _press(page, "Have them called then")
    _heading(page, "The lead is offered again on Wednesday 1 July 2026")
    page.get_by_role("link", name="All your leads").click()
    tracks = page.get_by_role("region", name="Former leads on tracks")
    expect(tracks).to_contain_text("to be called on 01 Jul 2026")
    tracks.get_by_text("Pause, speed up or take back").click()
    _fits(page)
    _press(page, "Pause for a month: Dana Miller")
    _heading(page, "Paused for a month")
    page.get_by_role("link", name="All your leads").click()
    tracks.get_by_text("Pause, speed up or take back").click()
    _press(page, "Resume its track: Dana Miller")
    page.get_by_role("link", name="All your leads").click()
    tracks.get_by_text("Pause, speed up or take back").click()
    _press(page, "Offer it to me now: Dana Miller")
    _heading(page, "The lead is offered to you")
    assert sqlite_world.custodian("dana")[0] == "offer"


def test_a_rep_returns_and_passes_on_leads_with_the_keyboard_alone(page: Page, sqlite_world: World) -> None:
    page.goto(sqlite_world.path("dana", "reject"))
    _heading(page, "Dana Miller, Acme & Sons <Ltd>")
    for key in ("Tab", "Space", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    _heading(page, "Thank you, Ana. We take it from here")
    assert sqlite_world.value("SELECT reason FROM offer WHERE state = 'rejected'") == "wrong-person"
    page.goto(sqlite_world.path("erik", "reassign"))
    for key in ("Tab", "Space", "Enter"):
        page.keyboard.press(key)
    _heading(page, "The lead is offered to Ana")
    page.goto(sqlite_world.path("erik", "call_back_later"))
    _heading(page, "This lead was already passed on")


def test_the_pages_of_reps_have_a_dark_mode(page: Page, sqlite_world: World) -> None:
    page.emulate_media(color_scheme="dark")
    offer = sqlite_world.custodian("dana")[1]
    workspace_path = sqlite_world.path("dana", "workspace")
    actions = ("accept", "reject", "reassign", "call_back_later")
    for path in (
        workspace_path,
        f"{workspace_path}/{offer}",
        *(sqlite_world.path("dana", action) for action in actions),
    ):
        page.goto(path)
        _fits(page)


def test_the_page_of_queues_shows_long_notes_and_its_decisions_at_any_width(page: Page, sqlite_world: World) -> None:
    note = "Ask for Jo van der Meulen-Brinkhuizen-Oosterwijk. " * 6
    responses.reject(sqlite_world.ctx, int(sqlite_world.custodian("dana")[1]), "please-check", NOW, note=note)
    page.goto(queues_path(sqlite_world))
    expect(page.get_by_text("Ana gave it back: Please check: Ask for Jo")).to_be_visible()
    _fits(page)
    page.get_by_text("Decide", exact=True).click()
    _fits(page)
    _press(page, "Discard: Dana Miller")
    expect(page.get_by_text("Write the reason")).to_be_visible()
    _fits(page)


def test_the_longest_brief_fits_one_page_and_any_screen(browser: Browser, sqlite_db: Database, tmp_path: Path) -> None:
    briefed(sqlite_db, tmp_path)
    html = mailed(tmp_path, "html")
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            tab = browser.new_page(java_script_enabled=False, viewport={"width": width, "height": 800})
            tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            tab.set_content(html)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate(_FAINT) == []
            if scheme == "light":
                assert re.findall(rb"/Count (\d+)", tab.pdf(format="A4")) == [b"1"]
            tab.close()
