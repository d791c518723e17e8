"""The rules for sending, as the worker reads them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.delivery.sending_limits import Limits, SendingRules
from nurture.publishing.publish import Change, keeps_sending, publish
from nurture.runtime.context import House
from nurture.runtime.published import Rulebooks
from tests.journey.builders import START, add_lead, make_house, tick_at, tiny_rules
from tests.journey.observe import one

pytestmark = pytest.mark.quick

SLOW = "on_doubt: {resend_after: 24 hours}\ndefault: {per_day: 50}\n"


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def sending(house: House) -> SendingRules:
    with house.database.read() as connection:
        fresh = Rulebooks().current(connection).sending
        assert house.rulebooks.current(connection).sending == fresh
    return fresh


def test_where_none_were_ever_published_the_built_in_ones_hold(house: House) -> None:
    assert sending(house) == SendingRules()


def test_they_are_published_as_numbered_versions_of_their_own(house: House) -> None:
    rules = tiny_rules() | {"sending.yaml": SLOW}
    assert publish(house, rules, START, dry_run=True) == [Change("sending", "sending", None, 1)]
    assert sending(house) == SendingRules()
    assert publish(house, rules, START) == [Change("sending", "sending", None, 1)]
    assert sending(house) == SendingRules(Limits(per_day=50), resend_after=timedelta(hours=24))
    assert publish(house, rules, START) == []
    faster = rules | {"sending.yaml": SLOW.replace("50", "80")}
    assert publish(house, faster, START) == [Change("sending", "sending", 1, 2)]
    assert sending(house).default.per_day == 80


def test_a_folder_without_them_leaves_what_is_published(house: House) -> None:
    assert not keeps_sending(house, tiny_rules())
    publish(house, tiny_rules() | {"sending.yaml": SLOW}, START)
    assert publish(house, tiny_rules(), START) == []
    assert sending(house).default.per_day == 50
    assert keeps_sending(house, tiny_rules())
    assert not keeps_sending(house, tiny_rules() | {"sending.yaml": SLOW})


def test_they_wake_no_lead(house: House) -> None:
    add_lead(house, title="Head")
    tick_at(house, START)
    due = one(house, "SELECT due_at FROM custody")
    publish(house, tiny_rules() | {"sending.yaml": SLOW}, START)
    assert one(house, "SELECT due_at FROM custody") == due
