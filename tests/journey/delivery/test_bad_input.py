"""Test delivery of bad data: a clear reason on the message, and nothing else stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.delivery.receipts import Receipt
from nurture.journey.delivery import run
from nurture.journey.tracks import advance, enroll
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.mail.rendering.render import ComposedEmail
from nurture.reporting import explain
from nurture.runtime.context import AppContext
from tests.doubles.sendgrid import KEY, SendGridDouble
from tests.journey.builders import START, add_lead, make_context, sample_rules
from tests.journey.delivery.test_run import OPEN
from tests.journey.observe import RecordingProvider, one, rows, write

LOCAL = "a" * 64


@pytest.fixture
def double(tmp_path: Path) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path / "sendgrid.log", bodies=True) as double:
        yield double


@pytest.fixture
def ctx(db: Database, tmp_path: Path, double: SendGridDouble) -> Iterator[AppContext]:
    rules = sample_rules()
    hello = rules["tracks/welcome/01-hello.md"]
    rules["tracks/welcome/01-hello.md"] = hello.replace("subject: Hello", "subject: Hello {{ lead.company }}")
    made = make_context(db, tmp_path, rules=rules)
    made.provider = SendGridProvider(SecretStr(KEY), url=double.url)
    yield made
    made.provider.close()


def _planned(ctx: AppContext, **fields: object) -> int:
    lead = add_lead(ctx, title="Head", **fields)
    enroll.classify(ctx, START)
    advance.advance(ctx, START)
    advance.advance(ctx, OPEN)
    return lead


def _address(ctx: AppContext, lead: int, email: str) -> None:
    """Insert an address that no import accepts."""
    write(
        ctx,
        "UPDATE address SET email = :email WHERE id = (SELECT address_id FROM lead WHERE id = :id)",
        email=email,
        id=lead,
    )


def _outcome(ctx: AppContext, lead: int) -> tuple[str, str]:
    (found,) = rows(ctx, "SELECT state, reason FROM message WHERE lead_id = :id", id=lead)
    return found[0], found[1] or ""


def _with_address(ctx: AppContext, email: str) -> int:
    lead = _planned(ctx)
    _address(ctx, lead, email)
    return lead


BAD = {
    "malformed": (lambda ctx: _with_address(ctx, "ann at people.example"), "is not an email address"),
    "320 characters": (
        lambda ctx: _with_address(ctx, f"{LOCAL}@{'b' * 60}.{'c' * 63}.{'d' * 63}.{'e' * 63}.example"),
        "characters",
    ),
    "two addresses": (lambda ctx: _with_address(ctx, "a@people.example,b@people.example"), "not an email"),
    "a line break": (lambda ctx: _with_address(ctx, "a@people.example\r\nBcc: b@x.example"), "not an email"),
    "2 MB": (lambda ctx: _planned(ctx, first_name="x" * 2_000_000), "the limit is 1 MB"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_lead_gets_a_reason_and_stops_no_other(ctx: AppContext, double: SendGridDouble, bad: str) -> None:
    make, expected = BAD[bad]
    before, lead, after = _planned(ctx), make(ctx), _planned(ctx)
    run.deliver(ctx, VirtualClock(OPEN))
    state, reason = _outcome(ctx, lead)
    assert state == "rejected"
    assert expected in reason
    assert len(reason) < 400
    assert [_outcome(ctx, other)[0] for other in (before, after)] == ["accepted", "accepted"]
    assert len(double.accepted()) == 2
    assert expected in str(explain.explain(ctx, lead, OPEN))


def test_a_name_with_line_breaks_is_one_line_in_the_header(ctx: AppContext, double: SendGridDouble) -> None:
    _planned(ctx, first_name="Ann\r\nBcc: everybody@people.example", last_name="Lee")
    run.deliver(ctx, VirtualClock(OPEN))
    (sent,) = double.accepted()
    (personal,) = sent.body["personalizations"] if sent.body else ()
    assert personal["to"][0]["name"] == "Ann Bcc: everybody@people.example Lee"
    assert set(personal) <= {"to", "headers"}


class _ForgetfulProvider(RecordingProvider):
    """Returns a receipt too few."""

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        return super().send(batch, now)[1:]


def test_a_call_with_too_few_results_leaves_its_messages_unknown_and_none_is_sent_again(ctx: AppContext) -> None:
    leads = [_planned(ctx) for _ in range(3)]
    ctx.provider = provider = _ForgetfulProvider()
    for _ in range(2):
        run.deliver(ctx, VirtualClock(OPEN))
    assert {_outcome(ctx, lead) for lead in leads} == {("unknown", "post returned 2 results for 3 of a call")}
    assert len(provider.sent) == 3


def test_an_emoji_subject_goes_as_it_is(ctx: AppContext, double: SendGridDouble) -> None:
    _planned(ctx, company="\N{ROCKET} O'Neil & Söhne")
    run.deliver(ctx, VirtualClock(OPEN))
    (sent,) = double.accepted()
    assert sent.body is not None
    assert sent.body["subject"] == "Hello \N{ROCKET} O'Neil & Söhne"


def test_a_lead_without_a_time_zone_is_written_to_on_the_clock_of_the_track(
    ctx: AppContext, double: SendGridDouble
) -> None:
    lead = _planned(ctx)
    write(ctx, "UPDATE lead SET zone = '' WHERE id = :id", id=lead)
    run.deliver(ctx, VirtualClock(OPEN))
    assert _outcome(ctx, lead)[0] == "accepted"
    assert one(ctx, "SELECT count(*) FROM message") == len(double.accepted())
