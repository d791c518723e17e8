"""Tests of opt-outs and opt-ins."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from nurture.db.engine import Database
from nurture.domain.consent.statements import withdrawal
from nurture.domain.consent.suppression import SuppressionScope, SuppressionSource, lift_key
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState, NotFound
from nurture.journey.consent import opt_in, suppression_files
from nurture.journey.consent.evidence import validate_evidence
from nurture.journey.consent.statements import record
from nurture.journey.consent.suppression import ALL_MAIL, OptOut, SuppressionTarget, opt_out, parse_address, suppress
from nurture.journey.engagement import signals
from nurture.journey.leads import suppression_queries
from nurture.journey.tracks import manual
from nurture.publishing.publish import preview_effects, publish
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import (
    add_leads,
    all_rows,
    custody,
    due_at,
    events,
    messages,
    new_signal,
    one,
    record_signal,
    recorded_statements,
    rows,
    write,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SAID = "asked for it again on the phone in March"
WORKS = "the company says that the mailbox is back"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] += "topic: Hellos and more\n"
    rules["tracks/keep/track.yaml"] += "topic: News\n"
    return make_context(db, tmp_path, rules=rules)


def current(ctx: AppContext, email: str) -> list[tuple[str, str, str]]:
    return [(each.scope, each.ref, each.source) for each in suppression_files.list_current(ctx, email)]


def test_who_refused_a_topic_gets_no_mail_of_its_track_under_another_topic(ctx: AppContext) -> None:
    _, yes, said = (add_lead(ctx, title="Head", email=f"{name}@people.example") for name in ("no", "yes", "said"))
    suppress(ctx, ["no@people.example"], START, target=SuppressionTarget(SuppressionScope.TOPIC, "hellos and MORE"))
    with ctx.database.write() as tx:
        address_id = suppression_queries.load_address_ids(tx, [said])[said]
        record(tx, [(address_id, withdrawal("crm", None, START, "Hellos and more"))], START)
    rules = sample_rules()
    rules["tracks/welcome/track.yaml"] += "topic: Greetings\n"
    rules["tracks/keep/track.yaml"] += "topic: news\n"  # the same topic
    publish(ctx, rules, START)
    run_at(ctx, START)
    run_at(ctx, START + DAY)
    assert rows(ctx, "SELECT DISTINCT lead_id FROM message WHERE track = 'welcome'") == [(yes,)]
    assert current(ctx, "no@people.example") == [
        ("topic", "Hellos and more", "admin"),
        ("track", "welcome", "admin"),
    ]
    assert ("track", "welcome", "import") in current(ctx, "said@people.example")


def test_the_preview_of_another_topic_shows_no_email_to_who_refused_the_one_before(ctx: AppContext) -> None:
    no, yes = (add_lead(ctx, title="Head", email=f"{name}@people.example") for name in ("no", "yes"))
    run_at(ctx, START)
    suppress(ctx, ["no@people.example"], START, target=SuppressionTarget(SuppressionScope.TOPIC, "hellos and more"))
    rules = sample_rules()
    track = rules["tracks/welcome/track.yaml"].replace("priority: 10", "priority: 99")
    rules["tracks/welcome/track.yaml"] = track + "topic: Greetings\n"
    effects = preview_effects(ctx, rules, START).effects
    assert effects is not None
    assert {lead for row in effects.rows if row.what == "email" for lead in row.examples} <= {yes}, no


def test_a_publication_that_fails_keeps_no_refusal(sqlite_db: Database, tmp_path: Path) -> None:
    rules = sample_rules()
    track = rules["tracks/welcome/track.yaml"]
    ctx = make_context(sqlite_db, tmp_path, rules=rules | {"tracks/welcome/track.yaml": track + "topic: Hellos\n"})
    suppress(ctx, ["no@people.example"], START, target=SuppressionTarget(SuppressionScope.TOPIC, "Hellos"))
    rules["tracks/welcome/track.yaml"] = track + "topic: Greetings\n"
    write(ctx, "CREATE TRIGGER stops BEFORE INSERT ON publication BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(DBAPIError, match="full"):
        publish(ctx, rules, START)
    assert current(ctx, "no@people.example") == [("topic", "Hellos", "admin")]
    write(ctx, "DROP TRIGGER stops")
    publish(ctx, rules, START)
    assert ("track", "welcome", "admin") in current(ctx, "no@people.example")


def test_an_address_is_suppressed_once_with_or_without_a_lead(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head", email="Ana@people.example")
    run_at(ctx, START)
    assert suppress(ctx, [" ana@PEOPLE.example", "stranger@people.example"], START) == (2, 0)
    assert suppress(ctx, ["ana@people.example"], START + DAY) == (0, 1)
    run_at(ctx, START + HOUR)
    assert custody(ctx, lead) == ("queue", "suppressed")
    assert messages(ctx) == []


@pytest.mark.parametrize(
    "written",
    [
        "ana@b\u00fccher.example",
        "ANA@BU\u0308CHER.EXAMPLE",
        "ana@xn--bcher-kva.example",
        "Ana@XN--BCHER-KVA.example.",
        "Ana Lee <ana@b\u00fccher.example>",
        "mailto:ana@b\u00fccher.example\u200b",
    ],
)
def test_every_spelling_of_an_address_stops_the_same_mailbox(ctx: AppContext, written: str) -> None:
    lead = add_lead(ctx, title="Head", email="ana@xn--bcher-kva.example")
    run_at(ctx, START)
    suppress(ctx, [written], START)
    run_at(ctx, START)
    assert custody(ctx, lead) == ("queue", "suppressed")


def test_a_plus_tag_is_another_mailbox(ctx: AppContext) -> None:
    suppress(ctx, ["ana+news@people.example"], START)
    assert current(ctx, "ana@people.example") == []


@pytest.mark.parametrize("written", ["", "nobody", "a@b", "a@people.example b@people.example", "<>"])
def test_an_invalid_address_is_refused(ctx: AppContext, written: str) -> None:
    before = all_rows(ctx)
    with pytest.raises(InvalidState, match="address"):
        suppress(ctx, ["good@people.example", written], START)
    assert all_rows(ctx) == before


@pytest.mark.parametrize(
    ("target", "known"),
    [
        (SuppressionTarget(SuppressionScope.TRACK, "welcom"), "keep, welcome"),
        (SuppressionTarget(SuppressionScope.TOPIC, "Nws"), "Hellos and more, News"),
        (SuppressionTarget(SuppressionScope.TOPIC, ""), "Hellos and more, News"),
    ],
)
def test_an_unpublished_topic_or_track_is_refused_with_the_known_names(
    ctx: AppContext, target: SuppressionTarget, known: str
) -> None:
    with pytest.raises(NotFound, match=known):
        suppress(ctx, ["ana@people.example"], START, target=target)
    assert one(ctx, "SELECT count(*) FROM suppression") == 0


def test_names_of_topics_and_tracks_are_stored_as_published(ctx: AppContext) -> None:
    suppress(ctx, ["ana@people.example"], START, target=SuppressionTarget(SuppressionScope.TOPIC, " hellos  AND more "))
    suppress(ctx, ["ana@people.example"], START, target=SuppressionTarget(SuppressionScope.TRACK, "KEEP"))
    assert current(ctx, "ana@people.example") == [("topic", "Hellos and more", "admin"), ("track", "keep", "admin")]


def test_an_opt_out_of_a_topic_ends_its_track_at_once_and_starts_another(ctx: AppContext) -> None:
    lead, fresh = (add_lead(ctx, title="Head", email=f"{name}@people.example") for name in ("ana", "bo"))
    write(
        ctx,
        "UPDATE custody SET due_at = :far, version = version + 1 WHERE lead_id = :id",
        far="2027-01-01T00:00:00+00:00",
        id=fresh,
    )
    run_at(ctx, START)
    topic = SuppressionTarget(SuppressionScope.TOPIC, "Hellos and more")
    suppress(ctx, ["ana@people.example", "bo@people.example"], START + HOUR, target=topic)
    run_at(ctx, START + 2 * HOUR)
    assert custody(ctx, lead) == ("track", "keep")
    assert [row[2] for row in messages(ctx)] in ([], ["cancelled"])
    with pytest.raises(InvalidState, match="Hellos and more"):
        manual.enroll(ctx, lead, "welcome", START + 2 * HOUR)
    manual.enroll(ctx, lead, "keep", START + 2 * HOUR)
    write(
        ctx,
        "UPDATE custody SET due_at = :now, version = version + 1 WHERE lead_id = :id",
        now="2026-01-05T08:00:00+00:00",
        id=fresh,
    )
    run_at(ctx, START + 3 * HOUR)
    assert custody(ctx, fresh) == ("track", "keep")
    assert custody(ctx, lead) == ("track", "keep")


def test_an_unsubscription_is_recorded_even_if_the_published_definitions_cannot_be_read(
    ctx: AppContext, db: Database
) -> None:
    lead = add_lead(ctx, email="ana@people.example", title="Head")
    run_at(ctx, START)
    write(ctx, "INSERT INTO publication (kind, name, version, digest, sources, published_at) "
                 "VALUES ('track', 'welcome', 9, 'x', '{}', '2026-01-05T08:00:00+00:00')")  # fmt: skip
    with pytest.raises(Exception, match=r".+"):
        record_signal(ctx, lead, SignalKind.UNSUBSCRIBED, START + HOUR)
    assert current(ctx, "ana@people.example") == [("global", "", "import")]


@pytest.mark.parametrize(
    ("kind", "source"),
    [(SignalKind.UNSUBSCRIBED, "import"), (SignalKind.BOUNCED, "bounce"), (SignalKind.COMPLAINED, "complaint")],
)
def test_signals_are_logged_with_their_source_and_once(ctx: AppContext, kind: SignalKind, source: str) -> None:
    lead = add_lead(ctx, email="ana@people.example")
    for _ in range(3):
        signals.record(ctx, [new_signal(lead, kind, START)], START)
    assert rows(ctx, "SELECT action, scope, source FROM suppression") == [("suppress", "global", source)]


def test_a_bounce_does_not_hide_a_later_opt_out(ctx: AppContext) -> None:
    lead = add_lead(ctx, email="ana@people.example")
    record_signal(ctx, lead, SignalKind.BOUNCED, START)
    assert suppress(ctx, ["ana@people.example"], START + HOUR) == (1, 0)
    opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START + 2 * HOUR, stated_at=START, mailbox_evidence=WORKS)
    assert current(ctx, "ana@people.example") == [("global", "", "admin")]


def test_a_newer_opt_in_returns_the_lead_to_intake_and_stores_its_evidence(ctx: AppContext) -> None:
    lead = add_lead(ctx, title="Head", email="ana@people.example")
    run_at(ctx, START)
    record_signal(ctx, lead, SignalKind.COMPLAINED, START + HOUR)
    run_at(ctx, START + HOUR)
    assert custody(ctx, lead) == ("queue", "suppressed")
    done = opt_in.opt_in(ctx, "Ana@people.example", ALL_MAIL, SAID, START + DAY)
    assert ([each.source for each in done.lifted], done.remaining) == ([SuppressionSource.COMPLAINT], ())
    assert rows(ctx, "SELECT action, source, evidence FROM suppression ORDER BY id")[1] == ("opt_in", "admin", SAID)
    run_at(ctx, START + DAY)
    assert custody(ctx, lead)[0] == "track"
    assert "returned" in events(ctx, lead)
    assert SAID not in repr(rows(ctx, "SELECT reason FROM journal"))


def test_an_opt_in_that_is_older_than_the_opt_out_is_refused(ctx: AppContext) -> None:
    suppress(ctx, ["ana@people.example"], START)
    with pytest.raises(InvalidState, match="Only a newer opt-in"):
        opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START + DAY, stated_at=START - HOUR)
    with pytest.raises(InvalidState, match="Only a newer opt-in"):
        opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START)
    with pytest.raises(InvalidState, match="future"):
        opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START, stated_at=START + DAY)
    assert current(ctx, "ana@people.example") != []


def test_an_opt_in_for_a_topic_lifts_no_global_opt_out(ctx: AppContext) -> None:
    suppress(ctx, ["ana@people.example"], START)
    with pytest.raises(InvalidState, match="lifts no active suppression"):
        opt_in.opt_in(ctx, "ana@people.example", SuppressionTarget(SuppressionScope.TOPIC, "News"), SAID, START + DAY)


def test_a_bounce_is_lifted_only_by_mailbox_evidence(ctx: AppContext) -> None:
    lead = add_lead(ctx, email="ana@people.example")
    record_signal(ctx, lead, SignalKind.BOUNCED, START)
    with pytest.raises(InvalidState, match="--mailbox-evidence"):
        opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START + DAY)
    done = opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START + DAY, mailbox_evidence=WORKS)
    assert done.remaining == ()
    assert current(ctx, "ana@people.example") == []


def test_without_suppressions_an_opt_in_writes_nothing(ctx: AppContext) -> None:
    before = all_rows(ctx)
    assert opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START).lifted == ()
    assert all_rows(ctx) == before


@pytest.mark.parametrize(
    "evidence", ["", "ok", "... --- ...", "yes yes yes", "wrote from ana@people.example on Monday", "x y z", "w " * 400]
)
def test_evidence_that_is_too_short_or_contains_an_address_is_refused(ctx: AppContext, evidence: str) -> None:
    suppress(ctx, ["ana@people.example"], START)
    with pytest.raises(InvalidState, match="evidence"):
        opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, evidence, START + DAY)


def test_evidence_may_be_written_in_any_script() -> None:
    assert validate_evidence(" 电话中 同意再次接收邮件 ") == "电话中 同意再次接收邮件"


def test_a_late_event_from_before_the_opt_in_does_not_suppress_again(ctx: AppContext) -> None:
    lead = add_lead(ctx, email="ana@people.example")
    suppress(ctx, ["ana@people.example"], START)
    opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START + DAY)
    signals.record(ctx, [new_signal(lead, SignalKind.UNSUBSCRIBED, START + HOUR)], START + 2 * DAY)
    assert current(ctx, "ana@people.example") == []
    signals.record(ctx, [new_signal(lead, SignalKind.UNSUBSCRIBED, START + 2 * DAY)], START + 2 * DAY)
    assert current(ctx, "ana@people.example") == [("global", "", "import")]


def test_an_opt_out_from_the_future_counts_from_now(ctx: AppContext) -> None:
    lead = add_lead(ctx, email="ana@people.example")
    with ctx.database.write() as tx:
        address_id = suppression_queries.load_address_ids(tx, [lead])[lead]
        request = OptOut(address_id, SuppressionSource.IMPORT, at=START + 900 * DAY)
        assert opt_out(tx, [request], START) == [True]
    opt_in.opt_in(ctx, "ana@people.example", ALL_MAIL, SAID, START + DAY)
    assert current(ctx, "ana@people.example") == []


@pytest.mark.parametrize("count", [20, 2_000])
def test_two_thousand_addresses_need_as_many_statements_as_twenty(ctx: AppContext, count: int) -> None:
    ids = add_leads(ctx, count, title="Head")
    run_at(ctx, START)
    emails = [row[0] for row in rows(ctx, "SELECT email FROM address")]
    strangers = [f"stranger{number}@people.example" for number in range(count)]
    with recorded_statements(ctx.database) as statements:
        assert suppress(ctx, [*emails, *strangers], START + HOUR) == (2 * count, 0)
    assert len([each for each in statements if not each.startswith(("BEGIN", "PRAGMA"))]) <= 11, statements
    assert {due_at(ctx, lead) for lead in ids[:20]} == {START + HOUR}


_LAW = settings(max_examples=25, deadline=None)


@_LAW
@given(st.lists(st.tuples(st.sampled_from(list(SuppressionSource)), st.integers(0, 5), st.booleans()), max_size=8))
def test_every_opt_out_is_recorded(sqlite_db: Database, opt_outs: list[tuple[SuppressionSource, int, bool]]) -> None:
    ctx = AppContext(sqlite_db, None)  # type: ignore[arg-type] - no mail is sent
    with ctx.database.write() as tx:
        tx.execute(text("INSERT INTO address (email, normalized) VALUES ('x', 'x' || random())"))
        address_id = tx.execute(text("SELECT max(id) FROM address")).scalar_one()
        for source, hours, repeated in opt_outs:
            opt_out(tx, [OptOut(address_id, source, at=START + hours * HOUR, repeated=repeated)], START + DAY)
        found = suppression_queries.load_suppressions(tx, [address_id]).get(address_id, ())
    lifts = {source: lift_key(SuppressionScope.GLOBAL, "", source) for source in SuppressionSource}
    assert {lifts[each.source] for each in found} == {lifts[source] for source, _, _ in opt_outs}
    if not any(repeated for _, _, repeated in opt_outs):
        for key in {lifts[source] for source, _, _ in opt_outs}:
            newest = max(hours for source, hours, _ in opt_outs if lifts[source] == key)
            (found_key,) = [each for each in found if lifts[each.source] == key]
            assert found_key.last_stated_at == START + newest * HOUR


@given(st.emails())
def test_brackets_and_a_trailing_dot_are_removed_from_an_address(email: str) -> None:
    try:
        plain = parse_address(email)
    except InvalidState:
        return
    assert parse_address(f"Somebody <{email}>") == plain
    assert parse_address(f" {email}. ") == plain
