"""Tests that an erased person is nowhere in the database and is not mailed after another import."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path

import pytest

from nurture import journey
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from nurture.domain.lead import Closing
from nurture.errors import NotFound
from nurture.journey.consent import opt_in, suppression
from nurture.journey.consent.suppression import ALL_MAIL
from nurture.journey.engagement import clicks, provider_events, replies
from nurture.journey.erasure import erase
from nurture.journey.erasure import queries as erasure_queries
from nurture.journey.erasures import ERASURES
from nurture.journey.handoff import responses, roster
from nurture.journey.intake import import_file
from nurture.journey.intake.api import batches, idempotency
from nurture.journey.intake.api.idempotency import KeyedRequest, KeyedResponse
from nurture.journey.intake.api.tokens import create_token
from nurture.runtime.context import AppContext
from tests.doubles.sendgrid_events import encode_events, event
from tests.journey.builders import START, close_lead, make_context, run_at, sample_rules
from tests.journey.engagement.test_replies import DAY, HOUR, NOW, SENT, process_replies, reply_address
from tests.journey.observe import all_rows, custody, one, rows
from tests.mail.inbound.replying import mail

ADDRESS = "Mia.Holm@People.example"
SECRETS = ("mia.holm", "mia", "holm", "quayside", "+49 30 1234", "c-4711", "secret words", "zürich")


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_erasure_context(db, tmp_path)


def make_erasure_context(db: Database, tmp_path: Path) -> AppContext:
    """Return a context with a question to the lead and with a personal destination in a link."""
    rules = sample_rules()
    rules["tracks/welcome/01-hello.md"] += "\n[yours](https://www.example.com/for/{{ lead.company | urlencode }})\n"
    ctx = make_context(db, tmp_path, rules=rules)
    ctx.reply_domain, ctx.base_url, ctx.installation_id = ("in.example.com", "https://go.example.com", "0badcafe")
    return ctx


def import_person(ctx: AppContext, folder: Path, now: object = START) -> None:
    file = folder / "leads.csv"
    names = (
        "Id",
        "Email",
        "First Name",
        "Last Name",
        "Title",
        "Company",
        "Phone",
        "City",
        "Lead Source",
        "Consent",
        "Consent Source",
    )
    person = (
        "c-4711",
        ADDRESS,
        "Mia",
        "Holm",
        "Head of stock",
        "Quayside",
        "+49 30 1234",
        "Zürich",
        "Fair",
        "Yes",
        f"Mia Holm, {ADDRESS}",
    )
    other = (
        "c-1",
        "noor@other.example",
        "Noor",
        "Ali",
        "Head",
        "Otherside",
        "",
        "",
        "Fair",
        "Yes",
        f"a colleague of {ADDRESS}",
    )
    with file.open("w", newline="", encoding="utf-8") as written:
        csv.writer(written).writerows([names, person, other])
    import_file.import_file(ctx, file, now, source="crm")  # type: ignore[arg-type]


def find_secrets(ctx: AppContext) -> dict[str, set[str]]:
    """Return which secrets occur in which tables."""
    texts = {name: json.dumps(found, default=str, ensure_ascii=False).lower() for name, found in all_rows(ctx).items()}
    return {name: found for name, text in texts.items() if (found := {one for one in SECRETS if one in text})}


def create_full_history(ctx: AppContext, folder: Path) -> int:
    """Add a lead with data in every table; return its id."""
    import_person(ctx, folder)
    lead: int = one(ctx, "SELECT lead_id FROM identity WHERE external_id = 'c-4711'")
    clicks.set_open_tracking(ctx, lead, granted=True, source="form", now=START)
    run_at(ctx, START, START + 2 * HOUR, SENT)
    process_replies(
        ctx, mail("Call me, secret words", to=reply_address(ctx, folder, "people.example"), sender=f"Mia <{ADDRESS}>")
    )
    signal = {"lead": {"email": ADDRESS}, "kind": "submitted", "occurred_at": NOW.isoformat()}
    batches.post_signals(ctx, [signal | {"value": "I am Mia Holm", "link": "/for/mia"}], NOW)
    key: str = one(ctx, "SELECT send_key FROM message WHERE kind = 'touch' AND lead_id = :id", id=lead)
    for body in (
        encode_events([event("delivered", f"0badcafe:{key}", SENT, email=ADDRESS)]),
        encode_events([event("odd", None, SENT, email=ADDRESS)]),
    ):
        provider_events.receive(ctx, "sendgrid", body, NOW)
    create_token(ctx, "website", ["signals:write"], NOW)
    request = KeyedRequest(one(ctx, "SELECT id FROM api_token"), "/api/signals", "k", b"x")
    idempotency.respond_once(ctx, request, NOW, lambda: KeyedResponse(202, f"no lead {ADDRESS}"))
    run_at(ctx, NOW, NOW + HOUR)
    assert custody(ctx, lead)[0] == "offer"
    return lead


def test_nothing_in_the_whole_database_identifies_an_erased_person(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    before = find_secrets(ctx)
    assert {
        "address",
        "lead",
        "reply",
        "raw_batch",
        "idempotency_key",
        "personal_link_destination",
        "identity",
        "signal",
    } <= set(before)
    done = erase.erase_person(ctx, ADDRESS, NOW + DAY)
    assert (done.lead, done.address, done.rows) == (lead, True, 4)
    assert find_secrets(ctx) == {}
    assert custody(ctx, lead) == ("closed", "discarded")
    assert rows(ctx, "SELECT state FROM offer") == [("withdrawn",)]
    assert one(ctx, "SELECT count(*) FROM lead WHERE address_id IS NOT NULL") == 1
    run_at(ctx, NOW + DAY, NOW + 9 * DAY)
    assert custody(ctx, lead) == ("closed", "discarded")
    assert find_secrets(ctx) == {}


def test_an_erased_person_who_is_imported_again_is_a_new_lead_that_is_not_mailed(
    ctx: AppContext, tmp_path: Path
) -> None:
    lead = create_full_history(ctx, tmp_path)
    erase.erase_person(ctx, str(lead), NOW + DAY)
    import_person(ctx, tmp_path, NOW + 2 * DAY)
    again: int = one(ctx, "SELECT lead_id FROM identity WHERE external_id = 'c-4711'")
    assert again != lead
    run_at(ctx, NOW + 2 * DAY, NOW + 3 * DAY, NOW + 4 * DAY)
    assert one(ctx, "SELECT count(*) FROM message WHERE kind = 'touch' AND lead_id = :id", id=again) == 0
    assert rows(ctx, "SELECT normalized FROM address ORDER BY id")[0] == ("mia.holm@people.example",)
    opt_in.opt_in(ctx, ADDRESS, ALL_MAIL, "asked at the fair", NOW + 5 * DAY)
    with ctx.database.read() as tx:
        (address,) = rows(ctx, "SELECT address_id FROM lead WHERE id = :id", id=again)[0]
        assert suppression.suppression_queries.load_suppressions(tx, [address]) == {}


def test_an_address_that_no_lead_has_is_erased_too(ctx: AppContext) -> None:
    suppression.suppress(ctx, [ADDRESS], NOW)
    assert find_secrets(ctx) == {"address": {"mia.holm", "mia", "holm"}}
    done = erase.erase_person(ctx, ADDRESS, NOW + HOUR)
    assert (done.lead, done.address) == (None, True)
    assert find_secrets(ctx) == {}
    suppression.suppress(ctx, ["stranger@people.example"], NOW)
    with ctx.database.read() as tx:
        listed = [name for name, _ in suppression.suppression_queries.iterate_logs(tx)]
    assert listed == ["stranger@people.example"]
    assert suppression.suppress(ctx, [ADDRESS], NOW + DAY).known == 1


def test_erasing_twice_changes_nothing_and_an_unknown_person_is_not_found(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    erase.erase_person(ctx, str(lead), NOW + DAY)
    assert erase.erase_person(ctx, str(lead), NOW + DAY).address is False
    with pytest.raises(NotFound):
        erase.erase_person(ctx, ADDRESS, NOW + DAY)


def test_a_lead_with_a_rep_is_closed_and_a_won_lead_stays_won(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    responses.accept(ctx, one(ctx, "SELECT id FROM offer"), NOW + HOUR)
    erase.erase_person(ctx, str(lead), NOW + timedelta(hours=2))
    assert custody(ctx, lead) == ("closed", "discarded")
    assert replies.list_replies(ctx, lead, 5) == []
    (ana, ben) = roster.load_roster(ctx, NOW + timedelta(hours=2))
    assert (ana.open_leads, ben.open_leads) == (0, 0)


def test_each_stage_that_defines_an_erasure_is_registered() -> None:
    stages = Path(journey.__file__).parent
    defined = {
        ".".join(("nurture", "journey", *path.relative_to(stages).with_suffix("").parts))
        for path in stages.rglob("*.py")
        if "\ndef erase_leads(" in path.read_text(encoding="utf-8")
    }
    assert defined == {one.__module__ for one in ERASURES}  # type: ignore[attr-defined] - functions


def test_without_registered_erasures_nothing_is_erased(ctx: AppContext, tmp_path: Path) -> None:
    import_person(ctx, tmp_path)
    with pytest.raises(RuntimeError, match="no erasures are registered"):
        erase.erase_person(AppContext(ctx.database, ctx.provider), ADDRESS, NOW)
    assert rows(ctx, "SELECT count(*) FROM lead WHERE erased_at IS NOT NULL") == [(0,)]


def test_free_texts_about_a_closed_lead_are_erased(ctx: AppContext, tmp_path: Path) -> None:
    lead = create_full_history(ctx, tmp_path)
    close_lead(ctx, lead, Closing.LOST, NOW + HOUR, reason="Mia Holm left Quayside")
    erase.erase_person(ctx, str(lead), NOW + timedelta(hours=2))
    reasons = rows(ctx, "SELECT reason FROM journal WHERE lead_id = :id", id=lead)
    assert not [reason for (reason,) in reasons if "Holm" in str(reason)]
    assert rows(ctx, "SELECT DISTINCT reason FROM outcome WHERE lead_id = :id", id=lead) == [("",)]


def test_each_table_with_leads_is_either_cleared_or_retained() -> None:
    naming = {name for name, table in metadata.tables.items() if "lead_id" in table.c}
    assert naming == erasure_queries.RETAINED_TABLES | erasure_queries.CLEARED_TABLES
