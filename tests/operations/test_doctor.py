"""The doctor: each check stands alone, hides every secret, and says what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from nurture.clock import VirtualClock
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.errors import Misconfigured
from nurture.journey.engagement import provider_event_queries as store
from nurture.journey.engagement import provider_events
from nurture.journey.intake.api import tokens
from nurture.mail.providers.base import Provider
from nurture.mail.rendering.render import ComposedEmail
from nurture.operations import check_external, check_inbound, check_internal, check_notifiers
from nurture.operations.doctor import Finding, SetUp, can_send, examine
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Brake
from nurture.publishing import publish
from nurture.runtime.context import House
from nurture.settings import Settings
from tests.doubles.imap import PASSWORD as IMAP_PASSWORD
from tests.doubles.imap import USER, Mailbox, imap_server
from tests.journey.builders import START, make_house, tiny_rules
from tests.journey.observe import Post, everything

pytestmark = pytest.mark.quick

KEY = "SG.very-secret"
PASSWORD = "p%40ss-word"


@pytest.fixture
def setup(database_url: str, tmp_path: Path) -> SetUp:
    """A set-up for SendGrid whose provider takes everything."""
    return _setup(database_url, tmp_path)


def _setup(url: str, folder: Path, provider: Provider | None = None) -> SetUp:
    settings = Settings(
        database_url=SecretStr(url),
        provider="sendgrid",
        sendgrid_key=SecretStr(KEY),
        smtp_url=SecretStr(f"smtp://nora:{PASSWORD}@127.0.0.1:587"),
        mailbox=folder / "mailbox",
        templates=folder / "none",
    )
    return SetUp(
        settings, VirtualClock(START), lambda: provider or Post(), "/healthz", "http://127.0.0.1:9/api"
    )


@pytest.fixture
def db(setup: SetUp) -> Iterator[Database]:
    database = Database(setup.settings.database_url.get_secret_value())
    yield database
    database.close()


@pytest.fixture
def live(db: Database) -> House:
    """A house in real time in which the tiny rules are published."""
    clock_row.bind(db, "live", START)
    house = House(db, Post())
    publish.publish(house, tiny_rules(), START)
    return house


def _good(_: SetUp) -> list[Finding]:
    return [Finding("good", "ok", "all is well")]


def test_a_check_that_hangs_or_breaks_hides_no_other(setup: SetUp) -> None:
    never = Event()

    def hangs(_: SetUp) -> list[Finding]:
        never.wait()
        return []

    def breaks(_: SetUp) -> list[Finding]:
        raise ZeroDivisionError("by nothing")

    checks = [("slow", hangs), ("first", _good), ("broken", breaks), ("last", _good)]
    found = examine(setup, checks, patience=0.2)
    never.set()
    assert [(one.check, one.state) for one in found] == [
        ("slow", "fails"), ("good", "ok"), ("broken", "fails"), ("good", "ok"),
    ]  # fmt: skip
    assert "did not end within 0.2 seconds" in found[0].found
    assert "ZeroDivisionError: by nothing" in found[2].found
    assert not can_send(found)


def test_no_finding_shows_a_secret(setup: SetUp) -> None:
    def talks(_: SetUp) -> list[Finding]:
        raise Misconfigured(f"refused: {KEY} and {PASSWORD} and p@ss-word")

    def remedies(_: SetUp) -> list[Finding]:
        return [Finding("x", "warning", "y", f"try {KEY} again")]

    said = repr(examine(setup, [("talks", talks), ("remedies", remedies)]))
    assert "refused: *** and *** and ***" in said
    assert "try *** again" in said


def test_warnings_do_not_stop_anybody_from_sending() -> None:
    assert can_send([Finding("a", "ok", ""), Finding("b", "warning", "")])
    assert not can_send([Finding("a", "ok", ""), Finding("b", "fails", "")])


def test_a_sound_database_is_said_to_be_so_and_left_alone(setup: SetUp, live: House) -> None:
    before = everything(live)
    (found,) = check_internal.database(setup)
    assert (found.state, "can be written" in found.found) == ("ok", True)
    assert everything(live) == before


def test_a_database_without_tables_says_what_to_run(empty_db: Database, tmp_path: Path) -> None:
    url = empty_db.url.render_as_string(hide_password=False)
    found = examine(_setup(url, tmp_path), check_external.CHECKS)
    told = {one.check: one for one in found}
    assert told["database"].state == "fails"
    assert "nurture admin upgrade" in told["database"].found or "nurture admin init" in told["database"].found
    assert {told[name].state for name in ("clock", "tracks", "brakes", "doubts")} == {"warning"}
    assert empty_db.is_missing is empty_db.is_sqlite


@pytest.mark.parametrize("url", ["postgresql://nora:hush-hush@127.0.0.1:1/none", "sqlite:////no/such/x.db"])
def test_a_database_that_is_not_there_fails_and_the_provider_is_asked_all_the_same(
    url: str, tmp_path: Path
) -> None:
    told = {one.check: one for one in examine(_setup(url, tmp_path), check_external.CHECKS)}
    assert told["database"].state == "fails"
    assert "hush-hush" not in repr(told)
    assert "provider" in told
    assert told["nurture"].state == ("warning" if os.geteuid() == 0 else "ok")


def test_the_clock_is_compared_with_what_the_database_has_seen(setup: SetUp, live: House) -> None:
    (found,) = check_internal.clock(setup)
    on_sqlite = live.database.is_sqlite
    assert found.state == ("ok" if on_sqlite else "fails")  # the server's clock shows today, and not START
    if on_sqlite:
        with live.database.write() as connection:
            clock_row.note(connection, START + timedelta(hours=1))
        (late,) = check_internal.clock(setup)
        assert (late.state, late.remedy) == ("fails", "Set the system's clock right.")
    else:
        assert "apart from the database server's" in found.found


def test_a_virtual_clock_never_goes_with_real_mail(setup: SetUp, db: Database, tmp_path: Path) -> None:
    make_house(db, tmp_path)
    (found,) = check_internal.clock(setup)
    assert (found.state, "virtual" in found.found) == ("fails", True)


def test_published_tracks_and_senders_are_named(setup: SetUp, live: House) -> None:
    tracks, sender = check_internal.published(setup)
    assert tracks == Finding("tracks", "ok", "2 tracks are published: keep, welcome")
    assert sender == Finding("sender", "ok", "Ada <ada@house.example>; 1 Harbour Lane, Exampleton")


def test_nothing_published_fails(setup: SetUp, db: Database) -> None:
    clock_row.bind(db, "live", START)
    (found,) = check_internal.published(setup)
    assert (found.state, "nurture publish" in found.remedy) == ("fails", True)


@dataclass
class Gate(Post):
    """A provider that is only asked, and refuses with *fault* if it has one."""

    fault: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def check(self, email: ComposedEmail, now: datetime) -> None:
        assert now == START
        self.asked.append((email.sender.email, email.to.email))
        if self.fault:
            raise Misconfigured(self.fault)


def test_each_sender_is_offered_and_nothing_is_sent(database_url: str, live: House, tmp_path: Path) -> None:
    gate = Gate()
    (found,) = check_external.provider(_setup(database_url, tmp_path, gate))
    assert (found.state, gate.sent) == ("ok", [])
    assert gate.asked == [("ada@house.example", "ada@house.example")]


def test_a_provider_that_refuses_fails_with_its_own_words(
    database_url: str, live: House, tmp_path: Path
) -> None:
    gate = Gate(fault="NURTURE_SENDGRID_KEY is refused. Make a new one.")
    (found,) = check_external.provider(_setup(database_url, tmp_path, gate))
    assert found == Finding("provider", "fails", f"sendgrid: {gate.fault}")


def test_senders_come_from_the_templates_while_nothing_is_published(db: Database, tmp_path: Path) -> None:
    for path, text in tiny_rules().items():
        file = tmp_path / "none" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    gate = Gate()
    check_external.provider(_setup(db.url.render_as_string(hide_password=False), tmp_path, gate))
    assert gate.asked == [("ada@house.example", "ada@house.example")]


@pytest.mark.parametrize(
    ("kind", "name", "until", "state"),
    [
        ("provider", "sendgrid", timedelta(hours=1), "fails"),
        ("provider", "sendgrid", timedelta(0), "warning"),
        ("provider", "smtp", None, "ok"),
        ("domain", "house.example", None, "fails"),
        ("domain", "other.example", None, "ok"),
    ],
)
def test_a_brake_stops_what_it_is_on(
    setup: SetUp, live: House, kind: circuit_breakers.Kind, name: str, until: timedelta | None, state: str
) -> None:
    brake = Brake(kind, name, "too many bounced", START, None if until is None else START + until)
    with live.database.write() as connection:
        circuit_breakers.put(live.database, connection, brake)
    (found,) = check_internal.paused(setup)
    assert found.state == state
    if state != "ok":
        assert "too many bounced" in found.found
        assert f"nurture delivery resume {name}" in found.remedy


def test_answers_that_nobody_reads_are_said(setup: SetUp, imap_box: Mailbox) -> None:
    def said(**given: Any) -> Finding:
        changed = replace(setup, settings=setup.settings.model_copy(update=given))
        [found] = check_inbound.replies(changed)
        return found

    box = SecretStr(f"imap://{quote(USER)}:{quote(IMAP_PASSWORD)}@127.0.0.1:{imap_box.port}")
    wrong = SecretStr(f"imap://{quote(USER)}:wr0ng@127.0.0.1:{imap_box.port}")
    domain = {"reply_domain": "in.example.com"}
    assert (said().state, said(imap_url=box).state) == ("warning", "warning")
    lost = said(**domain)
    assert (lost.state, "nobody reads them" in lost.found) == ("fails", True)
    shut = said(**domain, imap_url=wrong)
    assert (shut.state, "refuses us" in shut.found, shut.remedy) == ("fails", True, "Check NURTURE_IMAP_URL.")
    assert said(**domain, imap_url=box).state == "ok"
    assert "Inbound Parse" in said(**domain, sendgrid_inbound_key="k").found
    assert check_inbound.replies(replace(setup, settings=Settings())) == []


def test_events_that_could_not_be_applied_are_said(setup: SetUp, live: House) -> None:
    assert check_inbound.unapplied(setup) == []
    with live.database.write() as connection:
        store.store(live.database, connection, store.Came("unheard-of", "x", START, 1, "[]"))
    provider_events.apply(live, START)
    [found] = check_inbound.unapplied(setup)
    assert (found.state, "1 batch of" in found.found) == ("warning", True)


@pytest.fixture
def imap_box() -> Iterator[Mailbox]:
    with imap_server() as box:
        yield box


def test_places_where_reps_look_must_be_known(sqlite_url: str, tmp_path: Path) -> None:
    made = _setup(sqlite_url, tmp_path)
    settings = {"tell": SecretStr("teams=json://127.0.0.1:9/hush odd=odd-scheme://hush")}
    made = replace(made, settings=made.settings.model_copy(update=settings))
    with made.database() as database:
        rules = tiny_rules()
        rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(
            "email: ana@house.example,", "email: ana@house.example, tell: [slack-sales, teams],"
        )
        make_house(database, tmp_path, rules=rules)
    missing, unread = check_notifiers.places(made)
    assert "slack-sales, but NURTURE_TELL does not say where" in missing.found
    assert "says where odd is, but apprise cannot read it" in unread.found
    assert "hush" not in f"{missing}{unread}"
    assert can_send([missing, unread])


def test_a_token_that_posted_too_much_is_named_for_a_week_unless_it_is_revoked(
    setup: SetUp, db: Database
) -> None:
    house = make_house(db, setup.settings.mailbox.parent)
    for name in ("site", "old", "crm"):
        tokens.create(house, name, ["signals:write"], START)
    assert check_inbound.tokens(setup) == []
    for number, at in ((1, START), (2, START - timedelta(days=8))):
        tokens.note_ceiling(house, number, at)
    (finding,) = check_inbound.tokens(setup)
    assert (finding.check, finding.state) == ("API", "warning")
    assert "nurture admin tokens revoke site" in finding.remedy
    assert can_send([finding])
    tokens.revoke(house, "site", START)
    assert check_inbound.tokens(setup) == []
