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
from sqlalchemy import insert

from nurture.clock import VirtualClock
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.db.tables.delivery import message
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.errors import Misconfigured
from nurture.journey.delivery import stopping
from nurture.journey.engagement import provider_event_queries as store
from nurture.journey.engagement import provider_events
from nurture.journey.intake.api import batches, tokens
from nurture.mail.providers.base import Provider
from nurture.mail.rendering.render import ComposedEmail
from nurture.operations import check_external, check_inbound, check_internal, check_notifiers
from nurture.operations.doctor import CheckResult, DoctorContext, acknowledge, can_send, run_checks
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import Breaker
from nurture.publishing import publish
from nurture.runtime.context import AppContext
from nurture.settings import Settings
from tests.doubles.imap import PASSWORD as IMAP_PASSWORD
from tests.doubles.imap import USER, Mailbox, imap_server
from tests.journey.builders import START, add_lead, make_context, sample_rules
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
    assert "nurture admin upgrade" in by_check["database"].message or "nurture init" in by_check["database"].message
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


def test_a_source_whose_leads_cannot_be_asked_to_confirm_fails(setup: DoctorContext, live: AppContext) -> None:
    rules = {**sample_rules(), "sending.yaml": "sources: {website: {confirm: yes}}\n"}
    publish.publish(live, rules, START)
    (found,) = check_internal.check_published(setup)[2:]
    assert (found.state, found.remedy) == ("failed", "Set NURTURE_BASE_URL.")
    assert "leads of website wait to confirm their consent" in found.message
    served = replace(setup, settings=setup.settings.model_copy(update={"base_url": "https://go.example.com"}))
    assert check_internal.check_published(served)[2:] == []


def test_leads_that_confirm_need_the_email_in_the_policy_in_force(setup: DoctorContext, db: Database) -> None:
    clock_row.bind_mode(db, "live", START)
    ctx, rules = AppContext(db, RecordingProvider()), sample_rules()
    text = rules.pop("handoff/confirm.md")
    publish.publish(ctx, rules, START)
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("Not now", "Later")
    pending = {**rules, "handoff/confirm.md": text, "sending.yaml": "sources: {website: {confirm: yes}}\n"}
    publish.publish(ctx, pending, START)
    served = replace(setup, settings=setup.settings.model_copy(update={"base_url": "https://go.example.com"}))
    (found,) = check_internal.check_published(served)[2:]
    assert "the policy in force has no templates/handoff/confirm.md" in found.message


def test_nothing_published_fails(setup: DoctorContext, db: Database) -> None:
    clock_row.bind_mode(db, "live", START)
    (found,) = check_internal.check_published(setup)
    assert (found.state, "nurture publish" in found.remedy) == ("failed", True)


@dataclass
class ProbedProvider(RecordingProvider):
    """A provider whose `check` raises *error*, if given."""

    error: str = ""
    probed: list[tuple[str, str]] = field(default_factory=list)
    return_paths: list[str] = field(default_factory=list)

    def check(self, email: ComposedEmail, now: datetime) -> None:
        assert now == START
        self.probed.append((email.sender.email, email.to.email))
        self.return_paths.append(email.return_path)
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
        assert f"nurture mail resume {name}" in found.remedy


@pytest.mark.parametrize(
    ("track", "state", "remedy"),
    [("welcome", "warning", "nurture tracks start welcome"), (ALL_TRACKS, "failed", "nurture mail start")],
)
def test_a_stop_is_reported_with_its_reason_and_the_command_that_ends_it(
    setup: DoctorContext, live: AppContext, track: str, state: str, remedy: str
) -> None:
    stopping.stop(live, track, "wrong price", "mara", START)
    (found,) = check_internal.check_sending_pauses(setup)
    assert (found.check, found.state) == ("stops", state)
    assert "by mara: wrong price" in found.message
    assert remedy in found.remedy


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


@pytest.mark.parametrize(
    ("given", "state", "says"),
    [
        ({}, "warning", "returned as email to the sender, and not read"),
        (
            {"reply_domain": "in.example.com"},
            "warning",
            "returned as email to addresses at in.example.com, and not",
        ),
        (
            {"reply_domain": "in.example.com", "imap_url": SecretStr("imaps://a:b@imap.example.com")},
            "ok",
            "returned as email to addresses at in.example.com, and read from the mailbox in NURTURE_IMAP_URL",
        ),
    ],
)
def test_by_smtp_bounces_are_said_to_come_back_where_they_do(
    sqlite_url: str, tmp_path: Path, given: dict[str, Any], state: str, says: str
) -> None:
    setup = _setup(sqlite_url, tmp_path)
    (found,) = check_external.check_bounces(
        replace(setup, settings=setup.settings.model_copy(update={"provider": "smtp", **given}))
    )
    assert found.state == state
    assert found.message.startswith(says)


def test_the_address_for_bounces_is_offered_and_its_domain_named(
    database_url: str, live: AppContext, tmp_path: Path
) -> None:
    provider = ProbedProvider()
    setup = _setup(database_url, tmp_path, provider)
    changed = {"provider": "smtp", "reply_domain": "in.example.com"}
    setup = replace(setup, settings=setup.settings.model_copy(update=changed))
    check_external.check_provider(setup)
    assert [path.partition("@")[2] for path in provider.return_paths] == ["in.example.com"]
    assert [one.message.partition(" ")[0] for one in check_external.check_domains(setup)] == [
        "house.example", "in.example.com:",
    ]  # fmt: skip


def test_the_sender_of_email_to_sales_is_checked_too(setup: DoctorContext, live: AppContext) -> None:
    rules = sample_rules()
    own = 'sender: {name: Nora, email: nora@leads.example, postal_address: "2 Quay Street, Exampleton"}\n'
    for name in ("keep", "welcome"):
        rules[f"tracks/{name}/track.yaml"] = own + rules[f"tracks/{name}/track.yaml"].lstrip()
    publish.publish(live, rules, START)
    assert [one.message for one in check_internal.check_published(setup)[1:]] == [
        "Nora <nora@leads.example> (keep, welcome); 2 Quay Street, Exampleton",
        "Ada <ada@house.example> (email to sales); 1 Harbour Lane, Exampleton",
    ]
    assert list(check_internal.senders(setup)) == ["ada@house.example", "nora@leads.example"]
    assert check_internal.track_domains(setup) == ["leads.example"]


def test_email_to_reps_that_was_not_delivered_is_named(setup: DoctorContext, live: AppContext) -> None:
    assert check_inbound.check_sales_email(setup) == []
    sent = [
        ("bounced", "rep", 1),
        ("dropped", "rep", 2),
        ("bounced", "rep", 9),
        ("accepted", "rep", 1),
        ("bounced", "lead", 1),
    ]
    shared = {"kind": "brief", "lead_id": add_lead(live), "email": "", "rep": "ana", "reason": "bounced: 5.1.1"}
    shared |= dict.fromkeys(("planned_at", "send_at", "expires_at"), START)
    with live.database.write() as tx:
        for number, (state, recipient, days) in enumerate(sent):
            own = {"send_key": f"brief:{number}", "recipient": recipient, "state": state}
            tx.execute(
                insert(message).values(
                    **shared, **own, step="", visit=1, attempts=1, state_at=START - timedelta(days=days)
                )
            )
    (found,) = check_inbound.check_sales_email(setup)
    assert (found.state, found.message) == ("warning", "2 to ana not delivered in the last week (bounced: 5.1.1)")


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


def test_a_field_of_a_program_that_may_be_an_opt_out_is_named_until_it_is_acknowledged(
    setup: DoctorContext, db: Database
) -> None:
    ctx = make_context(db, setup.settings.maildir.parent)
    assert check_inbound.check_unclear_opt_outs(setup) == []
    leads = [{"email": f"{name}@people.example", "custom": {"sperrkz": "x"}} for name in ("ana", "bo")]
    for item in leads:
        assert batches.post_leads(ctx, "shop", [item], "site", START).accepted == 1
    (finding,) = check_inbound.check_unclear_opt_outs(setup)
    assert finding.state == "warning"
    assert "leads of shop" in finding.message
    assert "'sperrkz'" in finding.message
    assert can_send([finding])
    acknowledge(setup)
    assert check_inbound.check_unclear_opt_outs(setup) == []
    more = [{"email": "cy@people.example", "custom": {"sperrkz": "x"}}]
    assert batches.post_leads(ctx, "shop", more, "site", START + timedelta(days=1)).accepted == 1
    assert batches.post_leads(ctx, "crm", more, "site", START + timedelta(days=1)).accepted == 1
    assert len(check_inbound.check_unclear_opt_outs(setup)) == 1  # of another source
