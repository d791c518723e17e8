"""The editor in a real browser: faults as one types, the preview, and a save that overwrites nobody."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.definitions.folder import write_texts
from tests.console.test_browser import open_tab
from tests.console.world import ConsoleWorld
from tests.journey.builders import sample_rules

HELLO = "tracks/welcome/01-hello.md"


@pytest.fixture
def tab(browser: Browser, world: ConsoleWorld) -> Iterator[Page]:
    write_texts(world.ctx.templates, {HELLO: sample_rules()[HELLO]})
    with open_tab(browser, world, login="marketer") as opened:
        opened.goto(f"/edit/{HELLO}")
        expect(opened.locator(".cm-content")).to_contain_text("subject: Hello")
        yield opened


def type_at_end_of_line(tab: Page, line: str, text: str) -> None:
    tab.locator(".cm-line", has_text=line).click()
    tab.keyboard.press("End")
    tab.keyboard.type(text)


def test_faults_and_the_email_follow_what_is_typed(tab: Page) -> None:
    preview = tab.locator("iframe")
    expect(preview).to_have_attribute("sandbox", "")
    expect(preview).to_have_attribute("title", "Email: Hello")
    type_at_end_of_line(tab, "subject: Hello", " and welcome")
    expect(preview).to_have_attribute("title", "Email: Hello and welcome")
    type_at_end_of_line(tab, "read on", " {{ lead.frist_name }}")
    expect(tab.locator(".problem-list")).to_contain_text("frist_name")
    expect(tab.locator(".fault-line")).to_have_count(1)


HOLD = """() => {
  const send = socket.emit.bind(socket), held = [];
  socket.emit = (...message) => held.push(message);
  window.release = () => { socket.emit = send; held.forEach((message) => send(...message)); };
}"""


def test_what_is_typed_while_a_check_is_drawn_is_kept(tab: Page) -> None:
    type_at_end_of_line(tab, "read on", " {{ lead.frist")
    tab.evaluate(HOLD)  # the server does not know yet what follows
    tab.keyboard.type("_name }}")
    expect(tab.locator(".fault-line")).to_have_count(1)
    expect(tab.locator(".cm-content")).to_contain_text("{{ lead.frist_name }}")
    tab.evaluate("release()")
    expect(tab.locator(".problem-list")).to_contain_text("lead.frist_name")


def test_a_key_or_a_field_is_completed(tab: Page) -> None:
    type_at_end_of_line(tab, "read on", " {{ lead.first")
    expect(tab.locator(".cm-tooltip-autocomplete")).to_contain_text("lead.first_name")


def test_a_save_is_written_and_committed_under_the_name_of_the_user(tab: Page, world: ConsoleWorld) -> None:
    folder = world.ctx.templates
    who = ("-c", "user.name=Jo", "-c", "user.email=jo@firm.example")
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "start")):
        subprocess.run(["git", *who, *command], cwd=folder, check=True)
    type_at_end_of_line(tab, "subject: Hello", " again")
    expect(tab.locator("iframe")).to_have_attribute("title", "Email: Hello again")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_text("is committed by marketer")).to_be_visible()
    assert "subject: Hello again" in (folder / HELLO).read_text("utf-8")
    author = subprocess.run(
        ["git", "log", "-1", "--format=%an"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert author.stdout.strip() == "marketer"


def test_a_save_over_the_work_of_a_colleague_is_refused_and_shows_both(tab: Page, world: ConsoleWorld) -> None:
    file = world.ctx.templates / HELLO
    file.write_text("---\nsubject: Of a colleague\n---\nText\n", "utf-8")
    type_at_end_of_line(tab, "subject: Hello", " mine")
    expect(tab.locator("iframe")).to_have_attribute("title", "Email: Hello mine")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_role("alert")).to_contain_text("changed on disk since you opened it")
    expect(tab.locator("pre.mail-text")).to_contain_text("Of a colleague")
    expect(tab.locator(".cm-content")).to_contain_text("Hello mine")
    assert "Of a colleague" in file.read_text("utf-8")


def test_a_viewer_reads_a_file_and_cannot_change_it(browser: Browser, world: ConsoleWorld) -> None:
    with open_tab(browser, world, login="viewer") as tab:
        tab.goto("/edit")
        tab.get_by_role("link", name="01-hello.md").click()
        expect(tab.locator(".cm-content")).to_have_attribute("contenteditable", "false")
        expect(tab.get_by_role("button", name="Save")).to_have_count(0)


def test_a_path_outside_the_folder_is_no_page(world: ConsoleWorld) -> None:
    for path in ("/edit/..%2f..%2fetc%2fpasswd", "/edit/tracks/welcome/none.md", "/edit/%2e%2e/console.db"):
        assert world.get(path, "admin").status_code == 404
