"""`nurture users`, and the link that the first start of the console prints."""

from __future__ import annotations

import os
from datetime import timedelta

from nurture.clock import RealClock
from nurture.console.access import users
from nurture.db.engine import Database
from tests.cli.conftest import CliSession
from tests.console.access.test_users import PASSWORD


def test_users_are_added_listed_and_removed_as_the_documents_say(cli: CliSession) -> None:
    added = cli.ok("users", "add", "mara@example.com", "--role", "marketer", "--json").json
    assert added["login"] == "mara@example.com"
    base, _, token = added["invitation"].rpartition("/invitation/")
    assert base == "http://127.0.0.1:8026"
    database, now = Database(os.environ["NURTURE_DATABASE_URL"]), RealClock().now()
    assert users.accept_invitation(database, token, PASSWORD, now) == "mara@example.com"
    assert users.sign_in(database, "mara@example.com", PASSWORD, now) is not None
    database.close()
    cli.ok("publish")
    cli.ok("users", "add", "ana@example.com", "--role", "rep", "--rep", "ana")
    listed = cli.ok("users", "list", "--json").json
    shown = [(one["login"], one["role"], one["rep"], one["has_password"], one["open_sessions"]) for one in listed]
    assert shown == [("mara@example.com", "marketer", "", True, 1), ("ana@example.com", "rep", "ana", False, 0)]
    assert "1 session ended." in cli.ok("users", "end-sessions", "mara@example.com").out
    assert "/invitation/" in cli.ok("users", "invite", "mara@example.com").out
    cli.ok("users", "remove", "mara@example.com")
    assert "mara" not in cli.ok("users", "list").out


def test_what_makes_no_sense_is_refused_with_what_to_write(cli: CliSession) -> None:
    cli.ok("publish")
    assert "no rep or manager 'zoe'" in cli.fails("users", "add", "zoe", "--role", "rep", "--rep", "zoe").err
    assert "Add --rep" in cli.fails("users", "add", "zoe", "--role", "rep").err
    cli.ok("users", "add", "mara", "--role", "viewer")
    assert "Did you mean `mara`?" in cli.fails("users", "remove", "marra").err


def test_an_invitation_link_has_the_public_address_of_the_console(cli: CliSession) -> None:
    cli.environment.setenv("NURTURE_CONSOLE_URL", "https://console.example.com")
    printed = cli.ok("users", "add", "mara", "--role", "viewer", "--json").json
    assert printed["invitation"].startswith("https://console.example.com/invitation/")
    assert timedelta(days=7) == users.INVITATION_LIFETIME
