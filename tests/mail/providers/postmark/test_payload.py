"""Messages have what Postmark asks for, and turn its own tracking off."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.providers.http_client import InvalidPayload
from nurture.mail.providers.postmark.payload import (
    build_message,
    encode_message,
    join_message_id,
    split_message_id,
)
from nurture.mail.rendering.render import Address
from tests.doubles.postmark import PostmarkDouble, refusals
from tests.mail.build import PLAIN, composed

EMAIL = replace(
    composed("Hi {{ lead.first_name }} 🚀", subject="Für {{ lead.last_name }}", layout=PLAIN),
    labels=("webinar", "intro"),
    installation_id="i7",
    reply_to=Address("Mara Ohm", "mara@example.com"),
)


def test_the_message_contains_every_field() -> None:
    assert orjson.loads(encode_message(EMAIL, "broadcast")) == {
        "From": '"Northwind" <mara@example.com>',
        "To": '"Aoife O\'Neil" <aoife@example.org>',
        "ReplyTo": '"Mara Ohm" <mara@example.com>',
        "Subject": "Für O'Neil",
        "TextBody": EMAIL.text,
        "HtmlBody": EMAIL.html,
        "Tag": "webinar/intro",
        "Headers": [{"Name": name, "Value": value} for name, value in EMAIL.headers],
        "Metadata": {"nurture_message": "i7:touch:17:intro:1"},
        "MessageStream": "broadcast",
        "TrackOpens": False,
        "TrackLinks": "None",
    }


@pytest.mark.parametrize("name", ["", "  ", "Zoë 田中", 'The "Boss", \\ Ltd.', "x@y"])
@pytest.mark.parametrize("address", ["aoife@example.org", "a.b+c@bücher.example"])
def test_any_name_and_international_domain_is_accepted(name: str, address: str) -> None:
    assert refusals(PostmarkDouble(), [build_message(replace(EMAIL, to=Address(name, address)), "broadcast")]) == [0]


def test_an_address_that_postmark_never_accepts_is_rejected_without_naming_it() -> None:
    with pytest.raises(InvalidPayload, match="recipient") as refused:
        build_message(replace(EMAIL, to=Address("", "zoë@example.org")), "broadcast")
    assert "zoë" not in str(refused.value)


@pytest.mark.parametrize("email", [replace(EMAIL, subject="a\r\nBcc: x"), replace(EMAIL, headers=(("X", "a\nb"),))])
def test_a_line_break_in_a_header_is_rejected(email: object) -> None:
    with pytest.raises(InvalidPayload, match="line break"):
        build_message(email, "broadcast")  # type: ignore[arg-type]


def test_an_email_above_ten_megabytes_is_rejected() -> None:
    with pytest.raises(InvalidPayload, match="10 MB"):
        encode_message(replace(EMAIL, text="x" * 10_000_000), "broadcast")


@given(st.text(st.characters(codec="utf-8"), max_size=800))
def test_a_message_id_survives_the_limits_of_metadata(message_id: str) -> None:
    metadata = split_message_id(message_id)
    assert join_message_id({**metadata, "other": "x"}) == message_id
    assert refusals(PostmarkDouble(), [{**build_message(EMAIL, "broadcast"), "Metadata": metadata}]) == [0]


def test_a_message_id_beyond_the_limit_is_rejected() -> None:
    with pytest.raises(InvalidPayload, match="800 characters"):
        split_message_id("x" * 801)
