"""Tokens of public links: one digest verifies all links of a message, and each link keeps working."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.db.tables.delivery import message as messages
from nurture.journey.leads.changeset import Changes, NewMessage
from nurture.outbox.messages import TO_LEAD, TOUCH
from nurture.runtime import public_links
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import CLICK, MESSAGE_PURPOSES, QUESTION, UNSUBSCRIBE, Link, LinkSpec, MessageLinks
from tests.journey.builders import START, add_lead, make_context
from tests.journey.observe import one, rows


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context(db, tmp_path)


@pytest.fixture
def message(ctx: AppContext) -> tuple[int, int]:
    """Return a lead, and a message to it."""
    lead = add_lead(ctx)
    planned = NewMessage.due_now("touch:1:hello:1", TOUCH, TO_LEAD, lead, "hello", START, START)
    with ctx.database.write() as tx:
        Changes(new_messages=[planned]).write(tx, START)
    return lead, one(ctx, "SELECT id FROM message")


def _store(ctx: AppContext, links: Mapping[str, Link]) -> None:
    digests = {(link.spec.message_id, link.message_digest) for link in links.values() if link.message_digest}
    with ctx.database.write() as tx:
        public_links.store_links(tx, links.values(), START)
        tx.update_by_id(messages, ("link_digest",), list(digests))


def _found(ctx: AppContext, token: str, purpose: str) -> tuple[str, int, int | None] | None:
    with ctx.database.read() as tx:
        record = public_links.find_token(tx, token, purpose)
    return record and record[:3]


def test_each_link_of_a_message_is_found_for_its_own_purpose_only(ctx: AppContext, message: tuple[int, int]) -> None:
    links = MessageLinks(*message)
    _store(ctx, links)
    for (made_for, link), asked in product(links.items(), (*MESSAGE_PURPOSES, QUESTION)):
        expected = (asked, *message) if made_for == asked else None
        assert _found(ctx, link.token, asked) == expected, (made_for, asked)
    assert rows(ctx, "SELECT count(*) FROM link_token") == [(0,)]


def test_links_of_a_message_that_is_sent_again_leave_its_first_ones_working(
    ctx: AppContext, message: tuple[int, int]
) -> None:
    first = MessageLinks(*message)
    second = MessageLinks(*message, is_repeated=True)
    for links in (first, second):
        _store(ctx, links)
    assert all(_found(ctx, link.token, purpose) for links in (first, second) for purpose, link in links.items())


def test_links_with_a_digest_of_their_own_go_on_working(ctx: AppContext, message: tuple[int, int]) -> None:
    """Mail that was sent before messages had a digest has such links."""
    sent = {purpose: public_links.make_link(LinkSpec(purpose, *message)) for purpose in MESSAGE_PURPOSES}
    _store(ctx, sent)
    _store(ctx, MessageLinks(*message))
    assert all(_found(ctx, link.token, purpose) == (purpose, *message) for purpose, link in sent.items())


def test_a_link_that_was_not_stored_is_not_found(ctx: AppContext, message: tuple[int, int]) -> None:
    links = MessageLinks(*message)
    assert [_found(ctx, link.token, purpose) for purpose, link in links.items()] == [None] * len(links)


@pytest.mark.parametrize("token", ["", "A" * 21, "A" * 23, "é" * 22, "\0" * 22, "A" * 21 + "B", "=" * 22, "A" * 10_000])
def test_a_token_of_another_form_belongs_to_no_message(token: str) -> None:
    assert public_links.message_digest(token, UNSUBSCRIBE) is None


def test_the_token_of_a_tracked_link_tells_no_token_that_can_do_more() -> None:
    """Each token is a hash of the one before it, and the stored digest is that of the last."""
    links = MessageLinks(1, 2)
    digests = {public_links.message_digest(link.token, purpose) for purpose, link in links.items()}
    assert digests == {links[CLICK].message_digest}
    assert public_links.message_digest(links[CLICK].token, UNSUBSCRIBE) not in digests
