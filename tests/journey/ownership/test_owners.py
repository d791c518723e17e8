"""Email of `sender: owner` goes in the name of the lead's rep; replies reach us as before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.journey.engagement import replies
from nurture.journey.ownership import queries as accounts_queries
from nurture.journey.ownership.owners import load_owners
from nurture.journey.ownership.queries import NewAccount
from nurture.journey.tracks.touch_email import load_owner_addresses
from nurture.mail.inbound.classify import classify_mail
from nurture.mail.inbound.message import parse_mail
from nurture.runtime.context import AppContext
from tests.journey.builders import START, add_lead, make_context, run_at, sample_rules
from tests.journey.observe import custody, recorded_statements
from tests.mail.inbound.replying import mail

HOUR = timedelta(hours=1)
SENT = START + 3 * HOUR
WELCOME = "tracks/welcome/track.yaml"


def _rules(sender: str = "sender: owner\n", reps: str = "") -> dict[str, str]:
    rules = sample_rules()
    rules[WELCOME] += sender
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("reps:\n", f"reps:\n{reps}")
    return rules


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path, rules=_rules())


def add_account(ctx: AppContext, domain: str, owner: str) -> None:
    with ctx.database.write() as tx:
        new = NewAccount("crm", domain, domain, [domain], owner, "prospect", START, START)
        accounts_queries.insert_accounts(tx, [new])


def owners_of(ctx: AppContext, leads: Mapping[int, Mapping[str, str]]) -> dict[int, str]:
    with ctx.database.read() as tx:
        policy = ctx.definitions.current(tx).policy
        found = load_owners(ctx.account_index, tx, policy, leads, START)
    return {lead: rep.name for lead, rep in found.items()}


def sent_to(folder: Path, address: str) -> EmailMessage:
    for file in (folder / "maildir" / "new").iterdir():
        found = message_from_bytes(file.read_bytes(), policy=policy.default)
        if address in str(found["To"]):
            return found  # type: ignore[return-value]
    raise AssertionError(f"no mail to {address}")


def test_the_name_and_the_reply_address_are_those_of_the_rep_and_the_address_stays(
    ctx: AppContext, tmp_path: Path
) -> None:
    add_account(ctx, "acme.example", "ben")
    add_lead(ctx, title="Head of stock", email="mia@acme.example")
    add_lead(ctx, title="Head of stock", email="noor@other.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    mia, noor = sent_to(tmp_path, "mia@acme.example"), sent_to(tmp_path, "noor@other.example")
    assert [str(mia[name]) for name in ("From", "Reply-To")] == ["Ben <ada@house.example>", "Ben <ben@house.example>"]
    assert [str(noor["From"]), noor["Reply-To"]] == ["Ada <ada@house.example>", None]
    assert "mailto:ada@house.example" in str(mia["List-Unsubscribe"])  # an opt-out must not land with a rep
    assert "\n1 Harbour Lane, Exampleton" in mia.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_an_email_names_the_rep_of_the_lead_and_has_words_for_a_lead_without(db: Database, tmp_path: Path) -> None:
    rules = _rules(sender="")
    hello = "tracks/welcome/01-hello.md"
    rules[hello] = rules[hello].replace("subject: Hello", "subject: '{{ lead.owner or \"we\" }}'", 1)
    ctx = make_context(db, tmp_path, rules=rules)
    add_account(ctx, "acme.example", "ben")
    add_lead(ctx, title="Head of stock", email="mia@acme.example", owner="ana")
    add_lead(ctx, title="Head of stock", email="lia@other.example", owner="ana@house.example")
    add_lead(ctx, title="Head of stock", email="kim@third.example", owner="Somebody Else")
    add_lead(ctx, title="Head of stock", email="noor@fourth.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    names = {name: str(sent_to(tmp_path, name)["Subject"]) for name in ("mia", "lia", "kim", "noor")}
    assert names == {"mia": "Ben", "lia": "Ana", "kim": "Somebody Else", "noor": "we"}
    assert str(sent_to(tmp_path, "mia")["From"]) == "Ada <ada@house.example>"


def test_with_a_reply_domain_a_reply_still_comes_to_its_message_and_then_to_the_rep(
    ctx: AppContext, tmp_path: Path
) -> None:
    ctx.reply_domain = "in.example.com"
    add_account(ctx, "acme.example", "ben")
    lead = add_lead(ctx, title="Head of stock", email="mia@acme.example")
    run_at(ctx, START, START + 2 * HOUR, SENT)
    (to,) = sent_to(tmp_path, "mia@acme.example")["Reply-To"].addresses
    assert (to.display_name, to.username[:6], to.domain) == ("Ben", "reply+", "in.example.com")
    raw = mail("Can we talk about prices next week?", to=to.addr_spec, sender="mia@acme.example")
    done = replies.apply_replies(ctx, [classify_mail(parse_mail(raw), SENT.date())], SENT + HOUR)
    assert done.matched == 1
    run_at(ctx, SENT + HOUR)
    assert custody(ctx, lead)[0] == "offer"


@pytest.mark.parametrize(
    ("fields", "account", "left_on", "expected"),
    [
        ({"owner": "BEN@house.example"}, "", None, "Ben"),
        ({"owner": "Ana"}, "ben", None, "Ben"),
        ({"owner": "somebody"}, "", None, None),
        ({}, "ben", "2026-01-04", None),
        ({"owner": "ana"}, "ben", "2026-01-04", "Ana"),
        ({}, "ben", "2026-01-05", "Ben"),
    ],
)
def test_the_owner_of_the_account_comes_first_and_who_has_left_sends_nothing(
    sqlite_db: Database, tmp_path: Path, fields: dict[str, str], account: str, left_on: str | None, expected: str | None
) -> None:
    rules = _rules()
    if left_on:
        rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace(
            "name: Ben, email: ben@house.example",
            f"name: Ben, left_on: {date.fromisoformat(left_on)}, email: ben@house.example",
        )
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    if account:
        add_account(ctx, "acme.example", account)
    lead = add_lead(ctx, email="mia@acme.example")
    found = owners_of(ctx, {lead: fields})
    assert found == ({lead: expected} if expected else {})


def test_owners_cost_the_same_number_of_statements_for_any_number_of_leads(ctx: AppContext) -> None:
    add_account(ctx, "acme.example", "ben")
    counts = []
    for number in (2, 200):
        leads = [add_lead(ctx, email=f"a{number}-{one}@acme.example") for one in range(number)]
        with recorded_statements(ctx.database) as statements:
            found = owners_of(ctx, {lead: {} for lead in leads})
        counts.append(len(statements))
        assert found == dict.fromkeys(leads, "Ben")
    assert counts[1] <= counts[0]


def test_a_rep_whose_name_no_header_can_hold_leaves_the_usual_sender(sqlite_db: Database, tmp_path: Path) -> None:
    rules = _rules()
    rules["sales/policy.yaml"] = rules["sales/policy.yaml"].replace("name: Ben,", 'name: "Ben\\tB",')
    ctx = make_context(sqlite_db, tmp_path, rules=rules)
    with ctx.database.read() as tx:
        found = load_owner_addresses(ctx, tx, {1: {"owner": "ben"}, 2: {"owner": "ana"}}, START)
    assert {id_: one.name for id_, one in found.items()} == {2: "Ana"}
