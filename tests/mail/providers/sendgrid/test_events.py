"""SendGrid's events, read as they come: every kind, every field missing or odd."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery.delivery_status import Told
from nurture.mail.providers.events import MailEvent, Refusal, Unreadable
from nurture.mail.providers.sendgrid.events import count, read
from tests.doubles.events import JUNK, KINDS, ODD_EVENTS, body_of, event

AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
ARG = "0badcafe:touch:1:01-hello:1"


def one(kind: str, **fields: object) -> MailEvent:
    (found,) = read(body_of([event(kind, ARG, AT, **fields)]))
    return found


@pytest.mark.parametrize(
    ("kind", "told", "refusal"),
    [
        ("processed", Told.PROCESSED, None),
        ("deferred", Told.DEFERRED, None),
        ("delivered", Told.DELIVERED, None),
        ("bounce", Told.BOUNCED, Refusal.BOUNCE),
        ("blocked", Told.BLOCKED, None),
        ("dropped", Told.DROPPED, Refusal.BOUNCE),
        ("spamreport", Told.COMPLAINED, Refusal.COMPLAINT),
        ("unsubscribe", Told.UNSUBSCRIBED, Refusal.UNSUBSCRIBE),
        ("group_unsubscribe", Told.GROUP_UNSUBSCRIBED, Refusal.UNSUBSCRIBE),
        ("group_resubscribe", Told.GROUP_RESUBSCRIBED, None),
        ("open", Told.OPENED, None),
        ("click", Told.CLICKED, None),
        ("account_status_change", Told.UNKNOWN, None),
    ],
)
def test_every_kind_of_event_is_told_in_our_words(kind: str, told: Told, refusal: Refusal | None) -> None:
    found = one(kind)
    assert (found.told, found.refusal) == (told, refusal)
    assert (found.origin, found.ref, found.at) == ("0badcafe", "touch:1:01-hello:1", AT)
    assert set(KINDS) >= {kind}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"type": "blocked"}, Told.BLOCKED),
        ({"type": "Blocked", "status": None}, Told.BLOCKED),
        ({"type": None}, Told.BOUNCED),
        ({"type": None, "status": None, "reason": None}, Told.BOUNCED),
        ({"type": None, "status": "4.2.2"}, Told.BLOCKED),
        ({"type": "bounce", "status": "4.2.2"}, Told.BOUNCED),
        ({"type": 7, "status": ["5"]}, Told.BOUNCED),
    ],
)
def test_a_bounce_is_hard_unless_it_says_that_it_may_pass(fields: dict[str, object], told: Told) -> None:
    assert one("bounce", **fields).told is told


@pytest.mark.parametrize(
    ("reason", "refusal"),
    [
        ("Bounced Address", Refusal.BOUNCE),
        ("bounced address ", Refusal.BOUNCE),
        ("Spam Reporting Address", Refusal.COMPLAINT),
        ("Unsubscribed Address", Refusal.UNSUBSCRIBE),
        ("Invalid", None),
        ("Recipient List over Package Quota", None),
        ("Spam Content", None),
        (None, None),
    ],
)
def test_a_dropped_mail_refuses_the_address_only_for_reasons_of_the_address(
    reason: str | None, refusal: Refusal | None
) -> None:
    assert one("dropped", reason=reason).refusal is refusal


def test_what_a_mail_server_writes_is_kept_as_codes_and_classes_without_the_person() -> None:
    assert one("bounce").reason == "5.1.1, Invalid Address"
    assert one("deferred").reason == "4.7.1"
    assert one("deferred", response=None, reason="452 try later, Mrs Miller").reason == "452"
    assert one("dropped", status=None).reason == "bounced address"
    assert one("bounce", bounce_classification="gone@people.example", status="Mrs Miller").reason == "5.1.1"
    assert one("dropped", reason="Mrs Miller said so", status=None).reason == ""


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
def test_times_are_seconds_and_what_cannot_be_one_is_none(timestamp: object, at: datetime | None) -> None:
    assert one("open", timestamp=timestamp).at == at


@pytest.mark.parametrize(
    ("said", "machine"), [(True, True), ("true", True), (1, True), (False, False), (None, False)]
)
def test_an_open_by_a_machine_says_so(said: object, machine: bool) -> None:
    assert one("open", sg_machine_open=said).machine is machine


def test_a_copy_is_known_by_its_id_or_by_what_it_says() -> None:
    first, again = one("open", id_="a"), one("open", id_="b")
    assert first.natural_key == again.natural_key
    assert first.event_key != again.event_key
    assert one("open", id_="a").event_key == first.event_key


@pytest.mark.parametrize(
    "fields",
    [{"timestamp": 1}, {"ip": "192.0.2.77"}, {"useragent": "x"}, {"nurture_message": "0badcafe:other"}],
)
def test_what_differs_is_another_event(fields: dict[str, object]) -> None:
    assert one("open").natural_key != one("open", **fields).natural_key


def test_kinds_that_share_one_id_as_in_the_documentation_are_different_events() -> None:
    found = read(body_of([event(kind, None, AT, "sg_event_id") for kind in KINDS]))
    assert len({one.event_key for one in found}) == len({one.natural_key for one in found}) == len(KINDS)


def test_keys_hold_no_address() -> None:
    found = one("processed", email="mrs.miller@people.example", nurture_message=None)
    assert "miller" not in f"{found.natural_key} {found.event_key}"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON"),
        (b"nonsense", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        ("[]".encode("utf-16"), "no JSON"),
        (b"[1,", "no JSON"),
        (b"[" * 5_000 + b"]" * 5_000, "nested too deep"),
        (b"{}", "no list"),
        (b'"text"', "no list"),
        (b"[" + b"{}," * 20_000 + b"{}]", "more than 20000 events"),
    ],
)
def test_what_is_no_batch_is_refused(body: bytes, why: str) -> None:
    for reader in (count, read):
        with pytest.raises(Unreadable, match=why):
            reader(body)


def test_half_a_character_or_a_number_that_is_none_costs_no_other_event() -> None:
    body = (
        rb'[{"event":"open","useragent":"\ud83d","url":"a\u0000","x":NaN,"y":-1e999},{"event":"spamreport"}]'
    )
    assert count(body) == 2
    odd, plain = read(body)
    assert (odd.told, odd.agent) == (Told.OPENED, "?")
    assert (plain.told, plain.refusal) == (Told.COMPLAINED, Refusal.COMPLAINT)


def test_what_is_no_event_is_told_as_unknown_and_no_two_are_mixed_up() -> None:
    deep = orjson.loads("[" * 400 + "]" * 400)
    nested = "[" * 400 + "]" * 400
    body = f'[1,1,null,"x",[],{{}},{{"a":1}},{nested},{{"a":{nested}}},{{"a":{nested}}}]'.encode()
    found = read(body)
    assert deep is not None
    assert len(found) == count(body) == 10
    assert {one.told for one in found} == {Told.UNKNOWN}
    assert len({one.natural_key for one in found}) == 10


@given(st.lists(ODD_EVENTS | JUNK, max_size=5))
def test_nothing_that_an_event_may_hold_stops_its_reader(events: list[object]) -> None:
    body = orjson.dumps(events)
    found = read(body)
    assert len(found) == count(body) == len(events)
    assert read(body) == found
    for one in found:
        assert len(one.natural_key) == 32
        assert "@" not in one.reason
