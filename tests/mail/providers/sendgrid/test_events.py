"""Reading SendGrid's events: every type, and every field missing or malformed."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery.delivery_status import DeliveryEventType
from nurture.mail.providers.events import InvalidEventBatch, ProviderEvent, SuppressionReason
from nurture.mail.providers.sendgrid.events import count_events, read_events
from tests.doubles.sendgrid_events import KINDS, ODD_EVENTS, encode_events, event, junk_values

AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
ARG = "0badcafe:touch:1:01-hello:1"


def parsed_event(kind: str, **fields: object) -> ProviderEvent:
    (found,) = read_events(encode_events([event(kind, ARG, AT, **fields)]))
    return found


@pytest.mark.parametrize(
    ("kind", "event_type", "suppression_reason"),
    [
        ("processed", DeliveryEventType.PROCESSED, None),
        ("deferred", DeliveryEventType.DEFERRED, None),
        ("delivered", DeliveryEventType.DELIVERED, None),
        ("bounce", DeliveryEventType.BOUNCED, SuppressionReason.BOUNCE),
        ("blocked", DeliveryEventType.BLOCKED, None),
        ("dropped", DeliveryEventType.DROPPED, SuppressionReason.BOUNCE),
        ("spamreport", DeliveryEventType.COMPLAINED, SuppressionReason.COMPLAINT),
        ("unsubscribe", DeliveryEventType.UNSUBSCRIBED, SuppressionReason.UNSUBSCRIBE),
        ("group_unsubscribe", DeliveryEventType.GROUP_UNSUBSCRIBED, SuppressionReason.UNSUBSCRIBE),
        ("group_resubscribe", DeliveryEventType.GROUP_RESUBSCRIBED, None),
        ("open", DeliveryEventType.OPENED, None),
        ("click", DeliveryEventType.CLICKED, None),
        ("account_status_change", DeliveryEventType.UNKNOWN, None),
    ],
)
def test_every_event_name_maps_to_its_type(
    kind: str, event_type: DeliveryEventType, suppression_reason: SuppressionReason | None
) -> None:
    found = parsed_event(kind)
    assert (found.event_type, found.suppression_reason) == (event_type, suppression_reason)
    assert (found.installation_id, found.ref, found.at) == ("0badcafe", "touch:1:01-hello:1", AT)
    assert set(KINDS) >= {kind}


@pytest.mark.parametrize(
    ("fields", "event_type"),
    [
        ({"type": "blocked"}, DeliveryEventType.BLOCKED),
        ({"type": "Blocked", "status": None}, DeliveryEventType.BLOCKED),
        ({"type": None}, DeliveryEventType.BOUNCED),
        ({"type": None, "status": None, "reason": None}, DeliveryEventType.BOUNCED),
        ({"type": None, "status": "4.2.2"}, DeliveryEventType.BLOCKED),
        ({"type": "bounce", "status": "4.2.2"}, DeliveryEventType.BOUNCED),
        ({"type": 7, "status": ["5"]}, DeliveryEventType.BOUNCED),
    ],
)
def test_a_bounce_is_hard_unless_it_may_be_temporary(fields: dict[str, object], event_type: DeliveryEventType) -> None:
    assert parsed_event("bounce", **fields).event_type is event_type


@pytest.mark.parametrize(
    ("fields", "event_type", "is_ambiguous"),
    [
        ({"reason": "550 5.7.1 your host is on our block list"}, DeliveryEventType.BLOCKED, False),
        ({"reason": "550 user unknown: blocked", "status": "5.1.1"}, DeliveryEventType.BLOCKED, False),
        ({"bounce_classification": "Reputation"}, DeliveryEventType.BLOCKED, False),
        ({"bounce_classification": "Content"}, DeliveryEventType.BLOCKED, False),
        ({"reason": "550 5.4.1 Recipient address rejected: Access denied"}, DeliveryEventType.BLOCKED, True),
        ({"reason": "550 no Mrs Miller here", "status": "5.0.0"}, DeliveryEventType.BOUNCED, False),
        ({"reason": "552 5.2.2 mailbox full"}, DeliveryEventType.BOUNCED, False),
    ],
)
def test_a_bounce_whose_words_tell_of_a_block_suppresses_nobody(
    fields: dict[str, object], event_type: DeliveryEventType, is_ambiguous: bool
) -> None:
    found = parsed_event("bounce", type="bounce", **fields)
    assert (found.event_type, found.is_ambiguous) == (event_type, is_ambiguous)
    assert (found.suppression_reason is None) is (event_type is DeliveryEventType.BLOCKED)


@pytest.mark.parametrize(
    ("reason", "suppression_reason"),
    [
        ("Bounced Address", SuppressionReason.BOUNCE),
        ("bounced address ", SuppressionReason.BOUNCE),
        ("Spam Reporting Address", SuppressionReason.COMPLAINT),
        ("Unsubscribed Address", SuppressionReason.UNSUBSCRIBE),
        ("Invalid", None),
        ("Recipient List over Package Quota", None),
        ("Spam Content", None),
        (None, None),
    ],
)
def test_a_drop_suppresses_the_address_only_for_reasons_about_the_address(
    reason: str | None, suppression_reason: SuppressionReason | None
) -> None:
    assert parsed_event("dropped", reason=reason).suppression_reason is suppression_reason


def test_a_reason_keeps_codes_and_classes_without_personal_data() -> None:
    assert parsed_event("bounce").reason == "5.1.1, Invalid Address"
    assert parsed_event("deferred").reason == "4.7.1"
    assert parsed_event("deferred", response=None, reason="452 try later, Mrs Miller").reason == "452"
    assert parsed_event("dropped", status=None).reason == "bounced address"
    assert parsed_event("bounce", bounce_classification="gone@people.example", status="Mrs Miller").reason == "5.1.1"
    assert parsed_event("dropped", reason="Mrs Miller said so", status=None).reason == ""


@pytest.mark.parametrize(
    ("timestamp", "at"),
    [
        (1767605400, AT),
        ("1767605400", AT),
        (1767605400.0, AT),
        (1767605400000, AT),
        (None, None),
        (True, None),
        ("soon", None),
        (-5, None),
        (0, None),
        (10**18, None),
        (1e300, None),
        ([1767605400], None),
    ],
)
def test_a_timestamp_is_read_as_seconds_and_an_invalid_one_is_none(timestamp: object, at: datetime | None) -> None:
    assert parsed_event("open", timestamp=timestamp).at == at


@pytest.mark.parametrize(("value", "machine"), [(True, True), ("true", True), (1, True), (False, False), (None, False)])
def test_a_machine_open_is_flagged(value: object, machine: bool) -> None:
    assert parsed_event("open", sg_machine_open=value).is_machine_open is machine


def test_a_duplicate_is_recognized_by_event_key_or_natural_key() -> None:
    first, again = parsed_event("open", id_="a"), parsed_event("open", id_="b")
    assert first.natural_key == again.natural_key
    assert first.event_key != again.event_key
    assert parsed_event("open", id_="a").event_key == first.event_key


@pytest.mark.parametrize(
    "fields", [{"timestamp": 1}, {"ip": "192.0.2.77"}, {"useragent": "x"}, {"nurture_message": "0badcafe:other"}]
)
def test_events_that_differ_in_a_field_have_different_keys(fields: dict[str, object]) -> None:
    assert parsed_event("open").natural_key != parsed_event("open", **fields).natural_key


def test_event_types_that_share_one_id_as_in_the_documentation_are_different_events() -> None:
    found = read_events(encode_events([event(kind, None, AT, "sg_event_id") for kind in KINDS]))
    assert len({each.event_key for each in found}) == len({each.natural_key for each in found}) == len(KINDS)


def test_keys_contain_no_address() -> None:
    found = parsed_event("processed", email="mrs.miller@people.example", nurture_message=None)
    assert "miller" not in f"{found.natural_key} {found.event_key}"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "not JSON"),
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[]".encode("utf-16"), "not JSON"),
        (b"[1,", "not JSON"),
        (b"[" * 5_000 + b"]" * 5_000, "nested too deep"),
        (b"{}", "not a list"),
        (b'"text"', "not a list"),
        (b"[" + b"{}," * 20_000 + b"{}]", "more than 20000 events"),
    ],
)
def test_an_invalid_batch_is_refused(body: bytes, error: str) -> None:
    for reader in (count_events, read_events):
        with pytest.raises(InvalidEventBatch, match=error):
            reader(body)


def test_a_lone_surrogate_or_nan_loses_no_other_event() -> None:
    body = rb'[{"event":"open","useragent":"\ud83d","url":"a\u0000","x":NaN,"y":-1e999},{"event":"spamreport"}]'
    assert count_events(body) == 2
    odd, plain = read_events(body)
    assert (odd.event_type, odd.user_agent) == (DeliveryEventType.OPENED, "?")
    assert (plain.event_type, plain.suppression_reason) == (DeliveryEventType.COMPLAINED, SuppressionReason.COMPLAINT)


def test_malformed_events_are_unknown_and_have_distinct_keys() -> None:
    deep = orjson.loads("[" * 400 + "]" * 400)
    nested = "[" * 400 + "]" * 400
    body = f'[1,1,null,"x",[],{{}},{{"a":1}},{nested},{{"a":{nested}}},{{"a":{nested}}}]'.encode()
    found = read_events(body)
    assert deep is not None
    assert len(found) == count_events(body) == 10
    assert {each.event_type for each in found} == {DeliveryEventType.UNKNOWN}
    assert len({each.natural_key for each in found}) == 10


@given(st.lists(ODD_EVENTS | junk_values, max_size=5))
def test_any_event_can_be_read(events: list[object]) -> None:
    body = orjson.dumps(events)
    found = read_events(body)
    assert len(found) == count_events(body) == len(events)
    assert read_events(body) == found
    for each in found:
        assert len(each.natural_key) == 32
        assert "@" not in each.reason
