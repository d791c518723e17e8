"""Every record type of the webhook becomes an event; junk in it is kept and breaks nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery.delivery_status import DeliveryEventType as Kind
from nurture.mail.providers.events import InvalidEventBatch, ProviderEvent, SuppressionReason
from nurture.mail.providers.postmark.events import count_events, read_events
from nurture.mail.providers.postmark.payload import split_message_id
from tests.doubles.postmark import RECORD_TYPES, encode, event
from tests.doubles.sendgrid_events import junk_values

AT = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
METADATA = split_message_id("0badcafe:touch:17:intro:1")


def read(record_type: str, **fields: Any) -> ProviderEvent:
    (found,) = read_events(encode(event(record_type, METADATA, AT, **fields)))
    return found


@pytest.mark.parametrize(
    ("record_type", "fields", "kind", "suppression", "reason"),
    [
        ("Delivery", {}, Kind.DELIVERED, None, ""),
        ("Open", {}, Kind.OPENED, None, ""),
        ("Click", {}, Kind.CLICKED, None, ""),
        ("SpamComplaint", {}, Kind.COMPLAINED, SuppressionReason.COMPLAINT, "SpamComplaint"),
        ("Bounce", {}, Kind.BOUNCED, SuppressionReason.BOUNCE, "5.1.1, HardBounce"),
        ("Bounce", {"Type": "SoftBounce"}, Kind.BLOCKED, None, "5.1.1, SoftBounce"),
        ("Bounce", {"Details": "smtp;550 5.7.1 on our block list"}, Kind.BLOCKED, None, "5.7.1, HardBounce"),
        ("Bounce", {"Details": "550 5.4.1 Access denied"}, Kind.BLOCKED, None, "5.4.1, HardBounce"),
        ("Bounce", {"Type": "Transient", "Details": ""}, Kind.DEFERRED, None, "Transient"),
        ("Bounce", {"Type": "Unsubscribe"}, Kind.UNSUBSCRIBED, SuppressionReason.UNSUBSCRIBE, "5.1.1, Unsubscribe"),
        ("Bounce", {"Type": "AutoResponder", "Details": "gone"}, Kind.PROCESSED, None, "AutoResponder"),
        ("Bounce", {"Type": "Brandnew", "Details": "x"}, Kind.UNKNOWN, None, ""),
        ("SubscriptionChange", {}, Kind.UNSUBSCRIBED, SuppressionReason.UNSUBSCRIBE, "ManualSuppression"),
        (
            "SubscriptionChange",
            {"SuppressionReason": "HardBounce"},
            Kind.BOUNCED,
            SuppressionReason.BOUNCE,
            "HardBounce",
        ),
        (
            "SubscriptionChange",
            {"SuppressSending": False, "SuppressionReason": None},
            Kind.GROUP_RESUBSCRIBED,
            None,
            "",
        ),
        ("Inbound", {}, Kind.UNKNOWN, None, ""),
    ],
)
def test_each_record_type_has_its_meaning(
    record_type: str, fields: dict[str, Any], kind: Kind, suppression: SuppressionReason | None, reason: str
) -> None:
    found = read(record_type, **fields)
    assert (found.event_type, found.suppression_reason, found.reason) == (kind, suppression, reason)
    assert (found.installation_id, found.ref) == ("0badcafe", "touch:17:intro:1")
    assert found.at is not None
    assert found.at.replace(microsecond=0) == AT
    assert "lead@" not in found.reason


def test_an_open_and_a_click_have_what_tells_people_from_machines() -> None:
    click = read("Click")
    assert (click.ip, click.url) == ("192.0.2.9", "https://www.example.com/guide")
    assert click.user_agent is not None
    assert read("Open", UserAgent=None, Geo=None).user_agent is None


@pytest.mark.parametrize("record_type", RECORD_TYPES)
def test_a_repeated_event_has_the_same_key_and_another_one_has_not(record_type: str) -> None:
    first = event(record_type, METADATA, AT)
    (one,), (again,) = read_events(encode(first)), read_events(encode({**first, "Tag": "changed"}))
    assert (one.natural_key, one.event_key) == (again.natural_key, again.event_key)
    (later,) = read_events(encode(event(record_type, METADATA, AT + timedelta(seconds=1))))
    assert later.natural_key != one.natural_key
    (other,) = read_events(encode({**first, "MessageID": "another", "ID": 7}))
    assert other.natural_key != one.natural_key


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"1", b'"Bounce"', b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_no_event(body: bytes) -> None:
    for reader in (count_events, read_events):
        with pytest.raises(InvalidEventBatch):
            reader(body)


_FIELDS = (
    "RecordType", "Type", "Metadata", "Geo", "ID", "Details", "MessageID", "Email", "BouncedAt", "Recipient",
    "SuppressSending", "SuppressionReason", "UserAgent", "OriginalLink", "ReceivedAt",
)  # fmt: skip


@given(st.sampled_from(RECORD_TYPES), st.dictionaries(st.sampled_from(_FIELDS), junk_values, max_size=6))
def test_any_field_may_be_missing_or_have_any_value(record_type: str, odd: dict[str, Any]) -> None:
    body = encode({**event(record_type, METADATA, AT), **odd})
    assert count_events(body) == len(read_events(body)) == 1
