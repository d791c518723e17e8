"""Import of an uploaded file: in a browser as a newcomer does it, twice at once, and with hostile files."""

from __future__ import annotations

import contextlib
import io
import threading
import zipfile
from collections.abc import Iterator
from typing import Final

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.clock import RealClock
from nurture.console.access import users
from nurture.console.access.users import Role
from nurture.console.importing import uploads
from nurture.errors import InvalidState, NotFound
from tests.console.test_browser import FAINT, looks, open_tab
from tests.console.world import LEADS, ConsoleWorld
from tests.journey.builders import START

WAIT: Final = 60_000
"""Milliseconds that a step may take, which runs in a process of its own."""


@pytest.fixture
def tab(browser: Browser, world: ConsoleWorld) -> Iterator[Page]:
    with open_tab(browser, world, login="marketer") as opened:
        yield opened


def _confirm(tab: Page, name: str) -> None:
    tab.get_by_role("button", name=name, exact=True).click(timeout=WAIT)
    tab.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
    expect(tab.get_by_role("dialog")).to_have_count(0)


def _upload(tab: Page, name: str, content: str) -> None:
    tab.goto("/import")
    file = {"name": name, "mimeType": "text/csv", "buffer": content.encode()}
    tab.get_by_label("Files, each at most").set_input_files([file])  # type: ignore[list-item]
    tab.get_by_role("button", name="Upload").click()
    expect(tab.get_by_role("heading", name=name)).to_be_visible()


def test_a_newcomer_imports_a_file_with_a_column_that_may_be_an_opt_out(tab: Page, world: ConsoleWorld) -> None:
    before = world.rows("SELECT count(*) FROM lead")
    _upload(tab, "Fair Berlin.csv", LEADS)
    question = tab.locator(".question")
    expect(question).to_contain_text("Does “Sperrkz” say who wants no mail?", timeout=WAIT)
    expect(tab.get_by_role("button", name="Import")).to_have_count(0)
    expect(tab.get_by_text("<b>Two</b>")).to_be_visible(timeout=WAIT)
    _confirm(tab, "A yes there means: no mail")
    expect(question).to_have_count(0, timeout=WAIT)
    _confirm(tab, "Dry run")
    result = tab.locator(".card", has_text="Dry run: nothing was written")
    expect(result).to_be_visible(timeout=WAIT)
    for row in ("1 may be mailed", "1 not mailed opted out", "1 not mailed no consent"):
        expect(result.get_by_role("row", name=row)).to_be_visible()
    assert world.rows("SELECT count(*) FROM lead") == before
    for look in looks(tab, tab.url.removeprefix(world.url), (390, 1280, 1920)):
        assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), look
        assert tab.evaluate(FAINT) == [], look
    _confirm(tab, "Import")
    expect(tab.get_by_role("heading", name="Imported")).to_be_visible(timeout=WAIT)
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download the rejected rows").click()
    rejected = download.value.path().read_text("utf-8-sig")
    assert "not an address" in rejected
    assert ",'=cmd|x," in rejected
    mailable = "SELECT count(*) FROM lead JOIN custody ON lead_id = id WHERE source = 'csv' AND kind = 'queue'"
    assert world.rows(mailable) == [(2,)]
    (upload,) = [one for one in uploads.list_all(world.ctx.spool) if one.name == "Fair Berlin.csv"]
    assert not upload.file.exists()
    logged = world.rows(
        "SELECT action, object FROM console_action WHERE object = :object ORDER BY id", object=upload.id
    )
    assert [one[0] for one in logged] == ["upload_file", "answer_opt_out", "dry_run", "import_leads"]
    tab.goto("/import")
    expect(tab.get_by_role("cell", name="Fair Berlin.csv").first).to_be_visible()
    assert upload.id in world.get("/log?action=upload_file", "admin").text
    assert "Upload a file" in world.get("/log", "admin").text


def test_the_next_file_with_the_same_columns_needs_no_answer(tab: Page, world: ConsoleWorld) -> None:
    columns = "Email,Sperrkz,Wing"
    for name, rows in (("a.csv", "one@wing.example,X,left"), ("b.csv", "two@wing.example,X,left")):
        _upload(tab, name, f"{columns}\n{rows}\n")
        if name == "a.csv":
            _confirm(tab, "A yes there means: no mail")
            _confirm(tab, "Import")
            expect(tab.get_by_role("heading", name="Imported")).to_be_visible(timeout=WAIT)
    expect(tab.get_by_text("The mapping of an earlier file with these columns is used.")).to_be_visible(timeout=WAIT)
    expect(tab.locator(".question")).to_have_count(0, timeout=WAIT)
    expect(tab.locator(".column", has_text="Sperrkz")).to_contain_text("opted_out")


def test_a_column_becomes_another_field_and_the_choice_can_be_taken_back(tab: Page) -> None:
    _upload(tab, "c.csv", "Email,Rank\nthree@wing.example,Head of planning\n")
    column = tab.locator(".column", has_text="Rank")
    expect(column).to_be_visible(timeout=WAIT)
    for field, shown in (("title", "→ title"), ("as recognized", "own field")):
        tab.get_by_role("button", name="Change: Rank").click()
        tab.get_by_role("dialog").get_by_label("It becomes").select_option(field)
        tab.get_by_role("dialog").get_by_role("button", name="Change").click()
        expect(column).to_contain_text(shown, timeout=WAIT)


def test_the_leak_report_on_an_uploaded_file_writes_no_lead(tab: Page, world: ConsoleWorld) -> None:
    before = world.state()
    path = world.send_file(b"Email,Created Date,Last Activity Date\nl@firm.example,2025-01-05,\n", "crm.csv").text
    world.wait_for(path, "Columns")
    tab.goto(path)
    _confirm(tab, "Leak report")
    with tab.expect_download(timeout=WAIT) as download:
        tab.get_by_role("link", name="Download the report").click(timeout=WAIT)
    assert "<h1" in download.value.path().read_text("utf-8")
    assert world.state() == before


def test_the_leak_report_takes_several_files(tab: Page, world: ConsoleWorld) -> None:
    leads = b"Email,First Name,Created Date,Last Activity Date\nl@firm.example,Lea,2025-01-05,\n"
    deals = b"Deal Name,Associated Email,Deal Stage,Amount,Close Date\nOne,l@firm.example,Closed Won,900,2025-06-01\n"
    tab.goto("/import")
    files = [
        {"name": name, "mimeType": "text/csv", "buffer": content}
        for name, content in (("both leads.csv", leads), ("both deals.csv", deals))
    ]
    tab.get_by_label("Files, each at most").set_input_files(files)  # type: ignore[arg-type]
    tab.get_by_role("button", name="Upload").click()
    tab.get_by_role("link", name="both leads.csv").click(timeout=WAIT)
    tab.get_by_role("button", name="Leak report").click(timeout=WAIT)
    tab.get_by_role("dialog").get_by_label("both deals.csv").check()
    tab.get_by_role("dialog").get_by_role("button", name="Leak report").click()
    expect(tab.get_by_text("Of both leads.csv (leads), both deals.csv (deals).")).to_be_visible(timeout=WAIT)


def test_the_leak_report_tells_files_of_one_name_apart(tab: Page, world: ConsoleWorld) -> None:
    own = world.send_file(b"Email,Created Date\na@firm.example,2025-01-05\n", "own.csv").text
    content = (b"Email,Created Date\nb@firm.example,2025-01-05\n", b"Email\nc@firm.example\n")
    paths = [world.send_file(one, "alike.csv").text for one in content]
    for path in (own, *paths):
        world.wait_for(path, "Columns")
    tab.goto(own)
    tab.get_by_role("button", name="Leak report").click()
    others = tab.get_by_role("dialog").get_by_label("alike.csv")
    expect(others).to_have_count(2)
    for one in others.all():
        one.check()
    tab.get_by_role("dialog").get_by_role("button", name="Leak report").click()
    expect(tab.get_by_text("alike.csv (leads), alike.csv (leads)")).to_be_visible(timeout=WAIT)


def test_two_clicks_at_once_import_a_file_once(world: ConsoleWorld, browser: Browser) -> None:
    path = world.send_file(b"Email,Consent basis\ntwice@firm.example,consent\n", "twice.csv").text
    world.wait_for(path, "Columns")
    with open_tab(browser, world, login="marketer") as first, open_tab(browser, world, login="admin") as second:
        for tab in (first, second):
            tab.goto(path)
            tab.get_by_role("button", name="Import", exact=True).click()
        for tab in (first, second):
            tab.get_by_role("dialog").get_by_role("button", name="Import").click()
        expect(first.get_by_role("heading", name="Imported")).to_be_visible(timeout=WAIT)
        expect(second.get_by_role("alert").first).to_be_visible(timeout=WAIT)
    assert world.rows("SELECT count(*) FROM import_file WHERE name = 'twice.csv'") == [(1,)]


@pytest.mark.parametrize("role", list(Role))
def test_only_admins_and_marketers_upload(world: ConsoleWorld, role: Role) -> None:
    answer = world.send_file(b"Email\nx@firm.example\n", login=role.value.replace("_", "-"))
    is_allowed = role in {Role.ADMIN, Role.MARKETER}
    assert answer.status_code == (200 if is_allowed else 403)
    logged = world.rows("SELECT outcome FROM console_action WHERE action = 'upload_file' ORDER BY id DESC LIMIT 1")
    assert logged == [("done" if is_allowed else "Refused",)]


def test_a_file_of_a_user_who_was_signed_out_while_it_arrived_is_not_kept(world: ConsoleWorld) -> None:
    world.new_user("sender", Role.MARKETER)
    before = uploads.list_all(world.ctx.spool)

    def content() -> Iterator[bytes]:
        yield b"Email\n" + b"x" * 2_000_000  # more than is kept in memory: the folder is there
        while not any(one.name.startswith("late-") for one in uploads.folder_of(world.ctx.spool).iterdir()):
            pass
        users.end_sessions(world.ctx.database, "sender", RealClock().now())
        yield b"x@firm.example\n"

    assert world.send_file(content(), "late.csv", "sender").status_code == 403
    assert uploads.list_all(world.ctx.spool) == before


def test_a_page_of_another_site_uploads_nothing(world: ConsoleWorld) -> None:
    answer = httpx.post(
        f"{world.url}/import/files?name=a.csv",
        content=b"Email\n",
        cookies={"nurture_console": world.token("admin")},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("name", ["leads.exe", "../../etc/passwd", "leads.csv/", ""])
def test_a_file_that_is_no_list_is_refused_by_its_name(world: ConsoleWorld, name: str) -> None:
    assert world.send_file(b"Email\n", name).status_code == 409


def test_a_name_cannot_lead_out_of_its_folder(world: ConsoleWorld) -> None:
    path = world.send_file(b"Email\nx@firm.example\n", "../../../tmp/..\\a\0b?.csv").text
    (upload,) = [one for one in uploads.list_all(world.ctx.spool) if path.endswith(one.id)]
    assert upload.file.parent == upload.folder / "file"
    assert upload.name == "a_b_.csv"
    assert [oct(one.stat().st_mode & 0o777) for one in (upload.folder, upload.file)] == ["0o700", "0o600"]
    assert world.get("/import/..%2f..%2fnurture.db/mapping.yaml", "admin").status_code == 404


def test_a_file_of_500_megabytes_is_refused_while_it_arrives(world: ConsoleWorld) -> None:
    sent = 0

    def flood() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(500):
            sent += 10**6
            yield b"x" * 10**6

    before = uploads.list_all(world.ctx.spool)
    with contextlib.suppress(httpx.WriteError):
        assert world.send_file(flood()).status_code == 413
    assert sent < 2 * uploads.MAX_BYTES
    assert uploads.list_all(world.ctx.spool) == before
    folder = uploads.folder_of(world.ctx.spool)
    assert sum(one.stat().st_size for one in folder.rglob("*") if one.is_file()) < uploads.MAX_BYTES


def test_a_zip_bomb_and_a_page_with_a_script_are_read_without_harm(tab: Page, world: ConsoleWorld) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 10**8)
    path = world.send_file(packed.getvalue(), "bomb.xlsx").text
    assert "bomb.xlsx unpacks to 100 MB" in world.wait_for(path, "unpacks to")
    script = b"Email,Note\nx@firm.example,<img src=x onerror=alert(1)>\n"
    tab.goto(world.send_file(script, "script.csv").text)
    expect(tab.get_by_text("<img src=x onerror=alert")).to_be_visible(timeout=WAIT)
    assert tab.locator("main img").count() == 0


def test_an_import_that_was_killed_is_named_and_can_be_started_again(world: ConsoleWorld, tab: Page) -> None:
    path = world.send_file(b"Email,Consent basis\nkilled@firm.example,consent\n", "killed.csv").text
    world.wait_for(path, "Columns")
    upload = uploads.find(world.ctx.spool, path.rpartition("/")[2])
    uploads.write_step(upload, "import", uploads.Step("marketer", None, 10, 100))  # as the process leaves it
    tab.goto(path)
    expect(tab.get_by_text("Import was interrupted.")).to_be_visible()
    _confirm(tab, "Import")
    expect(tab.get_by_role("heading", name="Imported")).to_be_visible(timeout=WAIT)


def test_of_many_who_take_a_lock_at_once_one_gets_it(world: ConsoleWorld) -> None:
    upload = uploads.begin(world.ctx.spool, uploads.make_id("lock.csv"), "lock.csv", "marketer", START)
    barrier, taken, release = threading.Barrier(8), [], threading.Event()

    def take() -> None:
        barrier.wait(20)
        try:
            with uploads.lock(upload):
                taken.append(1)
                release.wait(20)
        except InvalidState:
            taken.append(0)
            if taken.count(0) == 7:
                release.set()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert sum(taken) == 1


def test_what_is_older_than_a_day_is_removed(world: ConsoleWorld) -> None:
    old = uploads.begin(world.ctx.spool, uploads.make_id("old.csv"), "old.csv", "marketer", START)
    old.file.write_text("Email\n")
    uploads.finish(world.ctx.spool, old.id, "marketer", START)
    with pytest.raises(NotFound):
        uploads.finish(world.ctx.spool, old.id, "marketer", START)
    uploads.remove_expired(world.ctx.spool, START + uploads.LIFETIME / 2)
    assert old.file.exists()
    uploads.remove_expired(world.ctx.spool, START + uploads.LIFETIME * 2)
    assert not old.folder.exists()
