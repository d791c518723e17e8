"""The doctor: independent checks that mask every secret and name a remedy."""

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
from nurture.operations.doctor import CheckResult, DoctorContext, can_send, run_checks
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.publishing import publish
from nurture.runtime.context import AppContext
from nurture.settings import Settings
from tests.doubles.imap import PASSWORD as IMAP_PASSWORD
from tests.doubles.imap import USER, Mailbox, imap_server
from tests.journey.builders import START, make_context, sample_rules
from tests.journey.observe import RecordingProvider, all_rows

pytestmark = pytest.mark.quick

KEY = "SG.very-secret"
PASSWORD = "p%40ss-word"


@pytest.fixture
def setup(database_url: str, tmp_path: Path) -> DoctorContext:
    """A configuration for SendGrid with a provider that accepts everything."""
    return _setup(database_url, tmp_path)


def _setup(url: str, folder: Path, provider: Provider | None = None) -> DoctorContext:
    settings = Settings(
        database_url=SecretStr(url),
        provider="sendgrid",
        sendgrid_key=SecretStr(KEY),
        smtp_url=SecretStr(f"smtp://nora:{PASSWORD}@127.0.0.1:587"),
        maildir=folder / "maildir",
        templates=folder / "none",
    )
    return DoctorContext(
        settings, VirtualClock(START), lambda: provider or RecordingProvider(), "/healthz", "http://127.0.0.1:9/api"
    )


@pytest.fixture
def db(setup: DoctorContext) -> Iterator[Database]:
    database = Database(setup.settings.database_url.get_secret_value())
    yield database
    database.close()


@pytest.fixture
def live(db: Database) -> AppContext:
    """A context on a live clock with published sample definitions."""
    clock_row.bind_mode(db, "live", START)
    ctx = AppContext(db, RecordingProvider())
    publish.publish(ctx, sample_rules(), START)
    return ctx


def _good(_: DoctorContext) -> list[CheckResult]:
    return [CheckResult("good", "ok", "all is well")]


def test_a_check_that_hangs_or_breaks_hides_no_other(setup: DoctorContext) -> None:
    never = Event()

    def hangs(_: DoctorContext) -> list[CheckResult]:
        never.wait()
        return []

    def breaks(_: DoctorContext) -> list[CheckResult]:
        raise ZeroDivisionError("by nothing")

    checks = [("slow", hangs), ("first", _good), ("broken", breaks), ("last", _good)]
    found = run_checks(setup, checks, timeout=0.2)
    never.set()
    assert [(one.check, one.state) for one in found] == [
        ("slow", "failed"), ("good", "ok"), ("broken", "failed"), ("good", "ok"),
    ]  # fmt: skip
    assert "did not end within 0.2 seconds" in found[0].message
    assert "ZeroDivisionError: by nothing" in found[2].message
    assert not can_send(found)


def test_no_finding_shows_a_secret(setup: DoctorContext) -> None:
    def talks(_: DoctorContext) -> list[CheckResult]:
        raise Misconfigured(f"refused: {KEY} and {PASSWORD} and p@ss-word")

    def remedies(_: DoctorContext) -> list[CheckResult]:
        return [CheckResult("x", "warning", "y", f"try {KEY} again")]

    messages = repr(run_checks(setup, [("talks", talks), ("remedies", remedies)]))
    assert "refused: *** and *** and ***" in messages
    assert "try *** again" in messages


def test_warnings_do_not_stop_anybody_from_sending() -> None:
    assert can_send([CheckResult("a", "ok", ""), CheckResult("b", "warning", "")])
    assert not can_send([CheckResult("a", "ok", ""), CheckResult("b", "failed", "")])


def test_a_working_database_is_ok_and_is_not_changed(setup: DoctorContext, live: AppContext) -> None:
    before = all_rows(live)
    (found,) = check_internal.check_database(setup)
    assert (found.state, "can be written" in found.message) == ("ok", True)
    assert all_rows(live) == before


def test_a_database_without_tables_says_what_to_run(empty_db: Database, tmp_path: Path) -> None:
    url = empty_db.url.render_as_string(hide_password=False)
    found = run_checks(_setup(url, tmp_path), check_external.CHECKS)
    by_check = {one.check: one for one in found}
    assert by_check["database"].state == "failed"
    assert (
        "nurture admin upgrade" in by_check["database"].message or "nurture admin init" in by_check["database"].message
    )
    assert {by_check[name].state for name in ("clock", "tracks", "pauses", "unknown")} == {"warning"}
    assert empty_db.is_missing is empty_db.is_sqlite


@pytest.mark.parametrize("url", ["postgresql://nora:hush-hush@127.0.0.1:1/none", "sqlite:////no/such/x.db"])
def test_a_database_that_is_not_there_fails_and_the_provider_is_asked_all_the_same(url: str, tmp_path: Path) -> None:
    by_check = {one.check: one for one in run_checks(_setup(url, tmp_path), check_external.CHECKS)}
    assert by_check["database"].state == "failed"
    assert "hush-hush" not in repr(by_check)
    assert "provider" in by_check
    assert by_check["nurture"].state == ("warning" if os.geteuid() == 0 else "ok")


def test_the_clock_is_compared_with_what_the_database_has_seen(setup: DoctorContext, live: AppContext) -> None:
    (found,) = check_internal.check_clock(setup)
    on_sqlite = live.database.is_sqlite
    assert found.state == ("ok" if on_sqlite else "failed")  # the server's clock shows today, and not START
    if on_sqlite:
        with live.database.write() as tx:
            clock_row.advance_to(tx, START + timedelta(hours=1))
        (late,) = check_internal.check_clock(setup)
        assert (late.state, late.remedy) == ("failed", "Correct the system clock.")
    else:
        assert "apart from the database server" in found.message


def test_a_virtual_clock_never_goes_with_real_mail(setup: DoctorContext, db: Database, tmp_path: Path) -> None:
    make_context(db, tmp_path)
    (found,) = check_internal.check_clock(setup)
    assert (found.state, "virtual" in found.message) == ("failed", True)


def test_published_tracks_and_senders_are_named(setup: DoctorContext, live: AppContext) -> None:
    tracks, sender = check_internal.check_published(setup)
    assert tracks == CheckResult("tracks", "ok", "2 tracks are published: keep, welcome")
    assert sender == CheckResult("sender", "ok", "Ada <ada@house.example>; 1 Harbour Lane, Exampleton")


def test_nothing_published_fails(setup: DoctorContext, db: Database) -> None:
    clock_row.bind_mode(db, "live", START)
    (found,) = check_internal.check_published(setup)
    assert (found.state, "nurture publish" in found.remedy) == ("failed", True)


@dataclass
class ProbedProvider(RecordingProvider):
    """A provider whose `check` raises *error*, if given."""

    error: str = ""
    probed: list[tuple[str, str]] = field(default_factory=list)

    def check(self, email: ComposedEmail, now: datetime) -> None:
        assert now == START
        self.probed.append((email.sender.email, email.to.email))
        if self.error:
            raise Misconfigured(self.error)


def test_each_sender_is_offered_and_nothing_is_sent(database_url: str, live: AppContext, tmp_path: Path) -> None:
    provider = ProbedProvider()
    (found,) = check_external.check_provider(_setup(database_url, tmp_path, provider))
    assert (found.state, provider.sent) == ("ok", [])
    assert provider.probed == [("ada@house.example", "ada@house.example")]


def test_a_provider_that_refuses_fails_with_its_own_words(database_url: str, live: AppContext, tmp_path: Path) -> None:
    provider = ProbedProvider(error="NURTURE_SENDGRID_KEY is refused. Make a new one.")
    (found,) = check_external.check_provider(_setup(database_url, tmp_path, provider))
    assert found == CheckResult("provider", "failed", f"sendgrid: {provider.error}")


def test_senders_come_from_the_templates_while_nothing_is_published(db: Database, tmp_path: Path) -> None:
    for path, text in sample_rules().items():
        file = tmp_path / "none" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    provider = ProbedProvider()
    check_external.check_provider(_setup(db.url.render_as_string(hide_password=False), tmp_path, provider))
    assert provider.probed == [("ada@house.example", "ada@house.example")]


@pytest.mark.parametrize(
    ("kind", "name", "until", "state"),
    [
        ("provider", "sendgrid", timedelta(hours=1), "failed"),
        ("provider", "sendgrid", timedelta(0), "warning"),
        ("provider", "smtp", None, "ok"),
        ("domain", "house.example", None, "failed"),
        ("domain", "other.example", None, "ok"),
    ],
)
def test_a_pause_stops_what_it_is_on(
    setup: DoctorContext, live: AppContext, kind: circuit_breakers.Kind, name: str, until: timedelta | None, state: str
) -> None:
    pause = Breaker(kind, name, "too many bounced", START, None if until is None else START + until)
    with live.database.write() as tx:
        circuit_breakers.trip(tx, pause)
    (found,) = check_internal.check_sending_pauses(setup)
    assert found.state == state
    if state != "ok":
        assert "too many bounced" in found.message
        assert f"nurture delivery resume {name}" in found.remedy


def test_replies_that_are_not_read_are_reported(setup: DoctorContext, imap_box: Mailbox) -> None:
    def check(**given: Any) -> CheckResult:
        changed = replace(setup, settings=setup.settings.model_copy(update=given))
        [found] = check_inbound.check_replies(changed)
        return found

    box = SecretStr(f"imap://{quote(USER)}:{quote(IMAP_PASSWORD)}@127.0.0.1:{imap_box.port}")
    wrong = SecretStr(f"imap://{quote(USER)}:wr0ng@127.0.0.1:{imap_box.port}")
    domain = {"reply_domain": "in.example.com"}
    assert (check().state, check(imap_url=box).state) == ("warning", "warning")
    lost = check(**domain)
    assert (lost.state, "replies are not read" in lost.message) == ("failed", True)
    shut = check(**domain, imap_url=wrong)
    assert (shut.state, "refused the login" in shut.message, shut.remedy) == ("failed", True, "Check NURTURE_IMAP_URL.")
    assert check(**domain, imap_url=box).state == "ok"
    assert "Inbound Parse" in check(**domain, sendgrid_inbound_key="k").message
    assert check_inbound.check_replies(replace(setup, settings=Settings())) == []


def test_events_that_could_not_be_applied_are_reported(setup: DoctorContext, live: AppContext) -> None:
    assert check_inbound.check_unapplied_events(setup) == []
    with live.database.write() as tx:
        store.store_batch(tx, store.NewBatch("unheard-of", "x", START, 1, "[]"))
    provider_events.apply_pending(live, START)
    [found] = check_inbound.check_unapplied_events(setup)
    assert (found.state, "1 batch of" in found.message) == ("warning", True)


@pytest.fixture
def imap_box() -> Iterator[Mailbox]:
    with imap_server() as box:
        yield box


def test_notifiers_that_the_policy_names_must_be_configured(sqlite_url: str, tmp_path: Path) -> None:
    made = _setup(sqlite_url, tmp_path)
    settings = {"notify": SecretStr("teams=json://127.0.0.1:9/hush odd=odd-scheme://hush")}
    made = replace(made, settings=made.settings.model_copy(update=settings))
    with made.open_database() as database:
        rules = sample_rules()
        rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(
            "email: ana@house.example,", "email: ana@house.example, notify: [slack-sales, teams],"
        )
        make_context(database, tmp_path, rules=rules)
    missing, unread = check_notifiers.check_notifiers(made)
    assert "slack-sales, which is not in NURTURE_NOTIFY" in missing.message
    assert "has a URL for odd that apprise cannot read" in unread.message
    assert "hush" not in f"{missing}{unread}"
    assert can_send([missing, unread])


def test_a_token_that_posted_too_much_is_named_for_a_week_unless_it_is_revoked(
    setup: DoctorContext, db: Database
) -> None:
    ctx = make_context(db, setup.settings.maildir.parent)
    for name in ("site", "old", "crm"):
        tokens.create_token(ctx, name, ["signals:write"], START)
    assert check_inbound.check_api_tokens(setup) == []
    for number, at in ((1, START), (2, START - timedelta(days=8))):
        tokens.record_rate_limit(ctx, number, at)
    (finding,) = check_inbound.check_api_tokens(setup)
    assert (finding.check, finding.state) == ("API", "warning")
    assert "nurture admin tokens revoke site" in finding.remedy
    assert can_send([finding])
    tokens.revoke_token(ctx, "site", START)
    assert check_inbound.check_api_tokens(setup) == []
