from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.rendering.mime import build_message_id, build_mime, encode_address, safe_file_name
from nurture.mail.rendering.render import Address
from tests.mail.build import PLAIN, composed

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = composed("Hi {{ lead.first_name }},\n\nzwölf Boxkämpfer.", layout=PLAIN)
ONE_LINE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Zs"]), min_size=1)
WORDS = st.lists(ONE_LINE, min_size=1, max_size=12).map(" ".join)


def read(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def bodies(message: EmailMessage) -> list[tuple[str, str]]:
    parts = [(part.get_content_type(), part.get_content()) for part in message.iter_parts()]
    return [(kind, content.replace("\r\n", "\n").rstrip("\n")) for kind, content in parts]


def mailbox_in(header: str) -> tuple[str, str]:
    """Parse a mailbox with the legacy API: the new parser adds spaces between encoded words of a name."""
    name, address = parseaddr(header.replace("\n", "").replace("\r", ""))
    return str(make_header(decode_header(name))), address


def test_the_message_reads_back_as_it_was_composed() -> None:
    message = read(build_mime(replace(EMAIL, reply_to=Address("", "reply@example.com")), NOW))
    assert message["From"] == "Northwind <mara@example.com>"
    assert message["To"].addresses[0].display_name == "Aoife O'Neil"
    assert message["Reply-To"] == "reply@example.com"
    assert message["Subject"] == EMAIL.subject
    assert message["Date"].datetime == NOW
    assert message["Message-ID"] == build_message_id(EMAIL)
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert bodies(message) == [("text/plain", EMAIL.text), ("text/html", EMAIL.html)]


@given(WORDS, st.sampled_from(["", "=?utf-8?q?x?= ", "long " * 30, "ü" * 90 + " "]))
def test_any_subject_and_name_read_back(name_text: str, start: str) -> None:
    subject = " ".join(f"{start}{name_text}".split())
    email = replace(EMAIL, subject=subject, to=Address(name_text.strip(), "bo@example.org"))
    raw = build_mime(email, NOW)
    head = raw.partition(b"\r\n\r\n")[0]
    message = read(raw)
    assert message["Subject"] == subject
    assert mailbox_in(message_from_bytes(raw)["To"]) == (name_text.strip(), "bo@example.org")
    assert head.isascii()
    assert max(map(len, head.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "text", ["plain", "ümlaut", "x" * 2000, "line\r\nline\rline", "nul\0", ". dots\n.\n", "=3D kept", "end = \n"]
)
def test_any_text_reads_back_with_lines_that_mail_allows(text: str) -> None:
    raw = build_mime(replace(EMAIL, text=text), NOW)
    expected = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    assert bodies(read(raw))[0] == ("text/plain", expected)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    ("given_as", "written_as"),
    [
        ("bo@example.org", "bo@example.org"),
        ("bo@bücher.example", "bo@xn--bcher-kva.example"),
        ("bo@straße.example", "bo@xn--strae-oqa.example"),
        ("bo@bücher\u3002example", "bo@xn--bcher-kva.example"),
        ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
        ("two..dots@example.org", '"two..dots"@example.org'),
    ],
)
def test_an_address_is_spelled_as_mail_carries_it(given_as: str, written_as: str) -> None:
    assert encode_address(given_as) == written_as
    raw = build_mime(replace(EMAIL, to=Address("Bo", given_as)), NOW)
    assert f"\r\nTo: Bo <{written_as}>\r\n".encode() in raw
    assert build_message_id(replace(EMAIL, sender=Address("", given_as))).endswith(f"@{written_as.split('@')[1]}>")


@pytest.mark.parametrize(
    "address",
    [
        "b" * 308 + "@example.org",
        "bo@" + "x" * 64 + ".example",
        "bo@example..org",
        "bo@exa\uff1emple.org",
        "bo\x9b@example.org",
        "\ud83d@example.org",
    ],
)
def test_an_address_that_mail_cannot_carry_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(ValueError, match=r"the recipient's address|surrogates") as refused:
        build_mime(replace(EMAIL, to=Address("", address)), NOW)
    assert address not in str(refused.value)


def renamed(name: str) -> Address:
    """Return an address that bypasses the checks of its type."""
    address = Address("", "bo@example.org")
    object.__setattr__(address, "name", name)
    return address


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0", "\x85", "\u2028"])
@pytest.mark.parametrize(
    "broken",
    [
        lambda end: {"subject": f"Hi{end}Bcc: eve@example.org"},
        lambda end: {"to": renamed(f"Bo{end}Bcc: eve@example.org")},
        lambda end: {"sender": renamed(f"Bo{end}Bcc: eve@example.org")},
        lambda end: {"reply_to": renamed(f"Bo{end}Bcc: eve@example.org")},
        lambda end: {"headers": (("Feedback-ID", f"a:b{end}Bcc: eve@example.org"),)},
        lambda end: {"headers": ((f"X-A: b{end}Bcc", "eve@example.org"),)},
        lambda end: {"installation_id": f"a{end}Bcc: eve@example.org"},
    ],
)
def test_header_injection_is_refused(broken: Callable[[str], dict[str, Any]], end: str) -> None:
    with pytest.raises(ValueError, match=r"line break or control character|may not be named") as refused:
        build_mime(replace(EMAIL, **broken(end)), NOW)
    assert "eve" not in str(refused.value) or "called" in str(refused.value)


@pytest.mark.parametrize("name", ["Bcc", "subject", "Content-Type", "X A", "", "Größe"])
def test_a_header_that_the_message_writes_itself_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="may not be named"):
        build_mime(replace(EMAIL, headers=((name, "x"),)), NOW)


def test_a_header_longer_than_a_line_is_folded_and_one_long_word_is_refused() -> None:
    value = ", ".join(f"<https://go.example.com/u/{n:0200}>" for n in range(6))
    raw = build_mime(replace(EMAIL, headers=(("List-Unsubscribe", value),)), NOW)
    assert read(raw)["List-Unsubscribe"] == value
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    with pytest.raises(ValueError, match="longer than the line limit"):
        build_mime(replace(EMAIL, headers=(("List-Unsubscribe", "x" * 1000),)), NOW)
    with pytest.raises(ValueError, match="non-ASCII"):
        build_mime(replace(EMAIL, headers=(("Feedback-ID", "größe"),)), NOW)


@pytest.mark.parametrize("subject", [" ", "two  blanks", " leading", "trailing ", "\xa0x\xa0", "a\u3000b"])
def test_blanks_in_a_subject_survive(subject: str) -> None:
    assert read(build_mime(replace(EMAIL, subject=subject), NOW))["Subject"] == subject


@given(st.text(st.characters(codec="utf-8")))
def test_without_8bitmime_everything_is_ascii(text: str) -> None:
    raw = build_mime(replace(EMAIL, text=text, written_html=text), NOW, eight_bit=False)
    expected = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    assert raw.isascii()
    assert [body for _, body in bodies(read(raw))] == [expected, expected]


def test_a_text_that_contains_the_boundary_stays_one_part() -> None:
    boundary = read(build_mime(EMAIL, NOW)).get_boundary()
    text = f"before\n--{boundary}\nContent-Type: text/plain\n\nafter"
    assert bodies(read(build_mime(replace(EMAIL, text=text), NOW)))[0] == ("text/plain", text)


@given(st.text(st.characters(codec="utf-8"), max_size=200), st.text(st.characters(codec="utf-8"), max_size=200))
def test_refs_that_differ_have_names_that_differ_and_fit_any_file_system(one: str, other: str) -> None:
    assert (safe_file_name(one) == safe_file_name(other)) == (one == other)
    assert len(safe_file_name(one)) <= 100
    assert safe_file_name(one).isascii()
    assert not set("/:\\*? ") & set(safe_file_name(one))
