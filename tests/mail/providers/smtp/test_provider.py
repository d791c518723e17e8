from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.errors import Misconfigured
from nurture.mail.providers.smtp.provider import SmtpProvider
from nurture.mail.rendering.render import Address
from tests.doubles.smtp import Fault, SMTPDouble, client_context, smtp_server
from tests.mail.build import PLAIN, composed
from tests.mail.conftest import Run
from tests.mail.rendering.test_mime import mailbox_in

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = composed("Hi {{ lead.first_name }},\n\n.zwölf Boxkämpfer.\n\n.", subject="Für 🚀", layout=PLAIN)
OURS = {"from", "to", "reply-to", "subject", "date", "message-id", "mime-version", "content-type"}
OURS |= {"list-unsubscribe", "list-unsubscribe-post"}


def emails(*recipients: str, ref: str = "touch") -> list[Any]:
    return [replace(EMAIL, ref=f"{ref}:{number}:intro:1", to=Address("Bo", to)) for number, to in enumerate(recipients)]


def some(number: int) -> list[Any]:
    return emails(*[f"n{n}@example.org" for n in range(number)])


def kinds(receipts: list[Receipt]) -> list[str]:
    return [type(receipt).__name__ for receipt in receipts]


def test_what_arrives_is_what_was_composed(run: Run) -> None:
    provider, server = run()
    (receipt,) = provider.send([EMAIL], NOW)
    (mail,) = server.accepted
    assert receipt == Accepted(mail.message["Message-ID"])
    assert (mail.sender, mail.recipient) == ("mara@example.com", "aoife@example.org")
    assert mail.message["Subject"] == EMAIL.subject
    plain, html = mail.message.iter_parts()
    assert isinstance(plain, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert plain.get_content().splitlines() == EMAIL.text.splitlines()
    assert html.get_content().splitlines() == EMAIL.html.splitlines()


def test_bounces_are_returned_to_the_return_path(run: Run) -> None:
    provider, server = run()
    provider.send([replace(EMAIL, return_path="reply+abc@in.example.com")], NOW)
    (mail,) = server.accepted
    assert (mail.sender, mail.recipient) == ("reply+abc@in.example.com", "aoife@example.org")
    assert "reply+abc" not in str(mail.message)


def test_a_refused_return_path_is_named_by_its_domain(run: Run) -> None:
    provider, server = run()
    email = replace(EMAIL, return_path="reply+abc@in.example.com")
    server.script_faults("MAIL", *["553 5.7.1 not owned by your account"] * 2)
    (receipt,) = provider.send([email], NOW)
    assert isinstance(receipt, NotSent)
    assert receipt.blocks_sender
    assert "in.example.com" in receipt.reason
    assert "NURTURE_REPLY_DOMAIN" in receipt.reason
    assert "reply+abc" not in receipt.reason
    with pytest.raises(Misconfigured, match="NURTURE_REPLY_DOMAIN"):
        provider.check(email, NOW)


def test_one_connection_is_reused_across_calls(run: Run) -> None:
    provider, server = run()
    for _ in range(3):
        assert set(kinds(provider.send(some(5), NOW))) == {"Accepted"}
    assert (server.connections, len(server.accepted)) == (1, 15)
    provider.close()
    provider.close()
    assert kinds(provider.send(some(1), NOW)) == ["Accepted"]
    assert server.connections == 2


def test_a_connection_is_closed_after_many_emails_or_minutes(run: Run) -> None:
    provider, server = run()
    provider.send(some(101), NOW)
    assert server.connections == 2
    provider.send(some(1), NOW + timedelta(minutes=5))
    assert server.connections == 3


@pytest.mark.parametrize("death", [Fault.DROP, "421 4.4.2 idle for too long"])
@pytest.mark.parametrize("verb", ["RSET", "MAIL"])
def test_a_connection_lost_while_idle_is_reopened_and_nothing_is_unknown(
    run: Run, verb: str, death: str | Fault
) -> None:
    provider, server = run()
    provider.send(some(1), NOW)
    server.script_faults(verb, death)
    assert kinds(provider.send(some(3), NOW)) == ["Accepted"] * 3
    assert (server.connections, len(server.accepted)) == (2, 4)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("verb", "answer", "receipt_type", "reason_text"),
    [
        ("MAIL", "451 4.3.0 later", NotSent, "451 4.3.0 later"),
        ("MAIL", "552 5.3.4 too big", Rejected, "552 5.3.4 too big"),
        ("RCPT", "451 4.7.1 greylisted", NotSent, "451 4.7.1 greylisted"),
        ("RCPT", "550 5.1.1 no such user", Rejected, "550 5.1.1 no such user"),
        ("DATA", "554 5.7.1 not you", Rejected, "554 5.7.1 not you"),
        ("DATA", "451 4.3.2 later", NotSent, "451 4.3.2 later"),
        ("DATA", "250 what?", NotSent, "unexpected reply"),
        ("DOT", "554 5.7.1 spam", Rejected, "554 5.7.1 spam"),
        ("DOT", "451 4.3.0 disk", NotSent, "451 4.3.0 disk"),
        ("DOT", "354 what?", Unknown, "unexpected reply"),
        ("DOT", "not SMTP at all", Unknown, "not SMTP"),
        ("RCPT", "421 4.3.2 going down", NotSent, "421 4.3.2 going down"),
        ("DATA", "421 4.3.2 going down", NotSent, "421 4.3.2 going down"),
        ("DOT", "421 4.3.2 going down", NotSent, "421 4.3.2 going down"),
        ("RCPT", Fault.DROP, NotSent, "before it received the whole email"),
        ("DATA", Fault.DROP, NotSent, "before it received the whole email"),
        ("DOT", Fault.DROP, Unknown, "after it received the whole email"),
        ("TAKEN", Fault.DROP, Unknown, "after it received the whole email"),
    ],
)
def test_each_reply_has_its_receipt_and_does_not_affect_the_others(
    run: Run, verb: str, answer: str | Fault, receipt_type: type, reason_text: str, pipelining: bool
) -> None:
    provider, server = run(pipelining=pipelining)
    server.script_faults(verb, None, answer)
    first, second, third = provider.send(some(3), NOW)
    assert isinstance(first, Accepted)
    assert isinstance(second, receipt_type), second
    assert reason_text in getattr(second, "reason", "")
    assert "\n" not in getattr(second, "reason", "")
    assert isinstance(third, Accepted)
    refs = [mail.message["Message-ID"] for mail in server.accepted]
    assert len(refs) == len(set(refs)) == (3 if verb == "TAKEN" else 2)


@pytest.mark.parametrize(
    ("verb", "receipt_type"),
    [("MAIL", NotSent), ("RCPT", NotSent), ("DATA", NotSent), ("DOT", Unknown), ("TAKEN", Unknown)],
)
@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.DRIP])
def test_a_missing_reply_is_unknown_only_after_the_content(
    run: Run, verb: str, receipt_type: type, fault: Fault
) -> None:
    provider, server = run(timeout=0.1)
    server.script_faults(verb, fault)
    first, second = provider.send(some(2), NOW)
    assert isinstance(first, receipt_type)
    assert isinstance(second, Accepted)


@pytest.mark.parametrize("silent", [Fault.DROP, Fault.SILENCE])
def test_an_interrupted_email_is_not_sent(run: Run, silent: Fault) -> None:
    observed: list[str] = []
    provider, server = run(timeout=0.3, observe=observed.append, receive_buffer=4096, size=100_000_000)
    server.script_faults("BODY", silent)
    (receipt,) = provider.send([replace(EMAIL, text="twelve octets\n" * 2_000_000)], NOW)
    assert isinstance(receipt, NotSent)
    assert "before it received the whole email" in receipt.reason
    assert (observed, server.accepted) == ([], [])


def test_a_refusal_during_the_content_is_quoted(run: Run) -> None:
    provider, server = run(timeout=0.3, receive_buffer=4096, size=100_000_000)
    server.script_faults("BODY", "552 5.3.4 enough")
    first, second = provider.send([replace(EMAIL, text="twelve octets\n" * 2_000_000), *some(1)], NOW)
    assert isinstance(first, Rejected)
    assert "552 5.3.4 enough" in first.reason
    assert isinstance(second, Accepted)


def test_the_stages_of_an_email_are_observed(run: Run) -> None:
    observed: list[str] = []
    provider, server = run(observe=observed.append)
    server.script_faults("RCPT", "550 no")
    server.script_faults("TAKEN", None, Fault.DROP)
    provider.send(some(3), NOW)
    assert observed == ["bytes sent", "response read", "bytes sent"]


@pytest.mark.parametrize("answer", ["421 4.7.0 too many", Fault.DROP])
def test_a_second_lost_connection_stops_the_batch(run: Run, answer: str | Fault) -> None:
    provider, server = run()
    server.script_faults("RCPT", None, answer, answer)
    receipts = provider.send(some(5), NOW)
    assert kinds(receipts) == ["Accepted", "NotSent", "NotSent", "NotSent", "NotSent"]
    assert [getattr(receipt, "blocks_all", None) for receipt in receipts[1:]] == [False, True, True, True]
    assert all(getattr(receipt, "retry_at", NOW) > NOW for receipt in receipts[2:])
    assert server.connections == 2
    assert kinds(provider.send(some(2), NOW)) == ["Accepted"] * 2


def test_a_refused_sender_blocks_only_its_own_emails(run: Run) -> None:
    provider, server = run()
    server.script_faults("MAIL", "553 5.7.1 sender not owned", None)
    first, second, third = some(3)
    third = replace(third, sender=Address("Other", "other@example.com"))
    receipts = provider.send([first, second, third], NOW)
    assert kinds(receipts) == ["NotSent", "NotSent", "Accepted"]
    assert receipts[0] == receipts[1]
    assert isinstance(receipts[0], NotSent)
    assert (receipts[0].blocks_all, receipts[0].blocks_sender) == (False, True)
    assert "mara@example.com" in receipts[0].reason
    assert "templates/defaults.yaml" in receipts[0].reason


def test_required_authentication_blocks_all_and_rejects_no_email(run: Run) -> None:
    for verb, answer in [("MAIL", "530 5.7.0 sign in first"), ("RCPT", "554 5.7.1 Relay access denied")]:
        provider, server = run()
        server.script_faults(verb, answer)
        receipts = provider.send(some(3), NOW)
        assert kinds(receipts) == ["NotSent"] * 3
        assert all("NURTURE_SMTP_URL" in receipt.reason for receipt in receipts if isinstance(receipt, NotSent))
        assert server.accepted == []


def test_a_reached_daily_quota_rejects_no_email(run: Run) -> None:
    provider, server = run()
    server.script_faults("DOT", None, "550 5.4.5 Daily sending quota exceeded")
    receipts = provider.send(some(3), NOW)
    assert kinds(receipts) == ["Accepted", "NotSent", "NotSent"]
    assert all(receipt.blocks_all for receipt in receipts if isinstance(receipt, NotSent))


def test_a_reason_never_contains_the_recipient(run: Run) -> None:
    provider, server = run()
    answers = [
        "550 5.1.1 <Aoife.Byrne@example.org>: Recipient address rejected: User aoife.byrne unknown",
        "550-5.1.1 aoife.byrne@example.org\r\n550 see https://help.example/?who=aoife.byrne%40example.org",
        "421 bye aoife.byrne",
    ]
    for answer in answers:
        server.script_faults("RCPT", answer)
        (receipt,) = provider.send(emails("aoife.byrne@example.org"), NOW)
        assert isinstance(receipt, Rejected | NotSent)
        assert "aoife" not in receipt.reason.lower()
        assert answer[:3] in receipt.reason


def test_an_international_address_is_encoded_for_the_servers_extensions(run: Run) -> None:
    provider, server = run()
    for to, written in [
        ("bo@bücher.example", "bo@xn--bcher-kva.example"),
        ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
    ]:
        assert kinds(provider.send(emails(to), NOW)) == ["Accepted"]
        assert server.accepted[-1].recipient == written
        assert f"To: Bo <{written}>".encode() in server.accepted[-1].content
    assert "SMTPUTF8" in server.accepted[-1].options
    assert "SMTPUTF8" not in server.accepted[0].options


def test_without_smtputf8_a_non_ascii_recipient_is_rejected_and_a_non_ascii_sender_blocked(run: Run) -> None:
    provider, _ = run(utf8=False)
    email, neighbour = emails("jürgen@example.org", "bo@example.org")
    rejected, sent = provider.send([email, neighbour], NOW)
    assert isinstance(rejected, Rejected)
    assert "SMTPUTF8" in rejected.reason
    assert "jürgen" not in rejected.reason
    assert isinstance(sent, Accepted)
    (stopped,) = provider.send([replace(neighbour, sender=Address("", "jürgen@example.com"))], NOW)
    assert isinstance(stopped, NotSent)
    assert stopped.blocks_sender
    assert "templates/defaults.yaml" in stopped.reason


def test_a_server_without_8bitmime_gets_ascii(run: Run) -> None:
    provider, server = run(eight_bit=False)
    provider.send([EMAIL], NOW)
    (mail,) = server.accepted
    assert mail.content.isascii()
    assert "BODY=8BITMIME" not in mail.options
    assert "zwölf Boxkämpfer" in mail.message.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_invalid_emails_are_rejected_and_do_not_affect_the_others(run: Run) -> None:
    provider, server = run(size=1_000_000)
    good = some(2)
    bad = [
        replace(EMAIL, text="a lone surrogate: \ud83d"),
        replace(EMAIL, subject="Hi\r\nBcc: eve@example.org"),
        replace(EMAIL, to=Address("", "b" * 308 + "@example.org")),
        replace(EMAIL, text="x\n" * 1_000_000),
        replace(EMAIL, headers=(("Bcc", "eve@example.org"),)),
    ]
    receipts = provider.send([good[0], *bad, good[1]], NOW)
    assert kinds(receipts) == ["Accepted", *["Rejected"] * len(bad), "Accepted"]
    reasons = " ".join(receipt.reason for receipt in receipts if isinstance(receipt, Rejected))
    for text in ("surrogates", "line break", "320 characters", "is 1,000,000", "may not be named"):
        assert text in reasons
    assert not any(mail.message["Bcc"] for mail in server.accepted)


def test_a_naive_time_is_refused(run: Run) -> None:
    provider, _ = run()
    with pytest.raises(ValueError, match="aware"):
        provider.send([EMAIL], NOW.replace(tzinfo=None))


@pytest.fixture(scope="module", params=[True, False], ids=["eight bits", "seven bits"])
def lasting(request: pytest.FixtureRequest) -> Iterator[tuple[SmtpProvider, SMTPDouble]]:
    with smtp_server(eight_bit=request.param) as double:
        provider = SmtpProvider(SecretStr(double.url), context=client_context())
        yield provider, double
        provider.close()


REFS = count()
UNICODE = st.text(max_size=120)


@given(UNICODE, UNICODE, UNICODE)
def test_any_text_survives_or_is_rejected_and_writes_no_header(
    lasting: tuple[SmtpProvider, SMTPDouble], subject: str, name: str, text: str
) -> None:
    provider, server = lasting
    to = Address("", "bo@example.org")
    object.__setattr__(to, "name", name)
    email = replace(EMAIL, ref=f"law:{next(REFS)}", subject=subject, to=to, text=text)
    before = len(server.accepted)
    (receipt,) = provider.send([email], NOW)
    if isinstance(receipt, Rejected):
        assert receipt.reason
        assert len(server.accepted) == before
        return
    assert isinstance(receipt, Accepted)
    message = server.accepted[before].message
    assert {header.lower() for header in message.keys()} == OURS - {"reply-to"}  # noqa: SIM118
    assert message["Subject"] == subject
    assert mailbox_in(message_from_bytes(server.accepted[before].content)["To"])[0] == name.strip()
    plain, _ = message.iter_parts()
    assert isinstance(plain, EmailMessage)
    wanted = text.replace("\r\n", "\n").replace("\r", "\n")
    assert plain.get_content().replace("\r\n", "\n").rstrip("\n") == wanted.rstrip("\n")
