from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.compose import Address
from nurture.mail.mime import file_name, message_id, mime_bytes
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
    """Read a mailbox by the older functions: the newer parser adds spaces between encoded words of a name."""
    name, address = parseaddr(header.replace("\n", "").replace("\r", ""))
    return str(make_header(decode_header(name))), address


def test_the_message_reads_back_as_it_was_composed() -> None:
    message = read(mime_bytes(replace(EMAIL, reply_to=Address("", "reply@example.com")), NOW))
    assert message["From"] == "Northwind <mara@example.com>"
    assert message["To"].addresses[0].display_name == "Aoife O'Neil"
    assert message["Reply-To"] == "reply@example.com"
    assert message["Subject"] == EMAIL.subject
    assert message["Date"].datetime == NOW
    assert message["Message-ID"] == message_id(EMAIL)
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert bodies(message) == [("text/plain", EMAIL.text), ("text/html", EMAIL.html)]


@given(WORDS, st.sampled_from(["", "=?utf-8?q?x?= ", "long " * 30, "ü" * 90 + " "]))
def test_any_subject_and_name_read_back(words: str, start: str) -> None:
    subject = " ".join(f"{start}{words}".split())
    email = replace(EMAIL, subject=subject, to=Address(words.strip(), "bo@example.org"))
    raw = mime_bytes(email, NOW)
    head = raw.partition(b"\r\n\r\n")[0]
    message = read(raw)
    assert message["Subject"] == subject
    assert mailbox_in(message_from_bytes(raw)["To"]) == (words.strip(), "bo@example.org")
    assert head.isascii()
    assert max(map(len, head.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "text",
    ["plain", "ümlaut", "x" * 2000, "line\r\nline\rline", "nul\0", ". dots\n.\n", "=3D kept", "end = \n"],
)
def test_any_text_reads_back_with_lines_that_mail_allows(text: str) -> None:
    raw = mime_bytes(replace(EMAIL, text=text), NOW)
    wanted = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    assert bodies(read(raw))[0] == ("text/plain", wanted)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")


def test_an_address_beyond_ascii_is_kept() -> None:
    message = read(mime_bytes(replace(EMAIL, to=Address("Jürgen", "jürgen@bücher.example")), NOW))
    assert "jürgen@bücher.example" in str(message["To"])


@given(
    st.text(st.characters(codec="utf-8"), max_size=200), st.text(st.characters(codec="utf-8"), max_size=200)
)
def test_refs_that_differ_have_names_that_differ_and_fit_any_file_system(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)
    assert len(file_name(one)) <= 100
    assert file_name(one).isascii()
    assert not set("/:\\*? ") & set(file_name(one))
