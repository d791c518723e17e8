"""Test that reps are notified of an offer once and soon, without delaying mail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.journey.delivery.run import deliver
from nurture.journey.handoff import responses, sweep
from nurture.journey.tracks.enroll import classify
from nurture.mail.notifiers.apprise_notifier import AppriseNotifier
from nurture.outbox.lease_queue import LEASE
from nurture.runtime.context import AppContext
from tests.doubles.chat_server import ChatServer
from tests.journey.builders import START, add_lead, make_context, sample_rules
from tests.journey.observe import rows

NOTIFIERS = ("slack-sales", "teams")

BASE = "https://go.example.com"


@pytest.fixture
def chats() -> Iterator[dict[str, ChatServer]]:
    with ChatServer() as slack, ChatServer() as teams:
        yield dict(zip(NOTIFIERS, (slack, teams), strict=True))


@pytest.fixture
def ctx(sqlite_db: Database, tmp_path: Path, chats: dict[str, ChatServer]) -> AppContext:
    """Return a context in which Ana uses Slack and Teams, and one lead is offered to her."""
    rules = sample_rules()
    policy = rules["sales/policy.yaml"].replace(
        "email: ana@house.example,", "email: ana@house.example, notify: [slack-sales, teams],"
    )
    rules["sales/policy.yaml"] = "\n".join(line for line in policy.splitlines() if "id: ben" not in line)
    made = make_context(sqlite_db, tmp_path, rules=rules)
    made.base_url = BASE
    made.notifiers = {
        name: AppriseNotifier(name, SecretStr(f"json://127.0.0.1:{chat.port}?rto=0.5")) for name, chat in chats.items()
    }
    _offer_one(made)
    return made


def _offer_one(ctx: AppContext) -> int:
    lead_id = add_lead(ctx, full_name="Dana Miller", company="Acme", phone="+49 30 1234", demo_requested=True)
    classify(ctx, START)
    sweep.hand_off(ctx, START)
    return lead_id


def _states(ctx: AppContext, kind: str = "notice") -> list[tuple[str, ...]]:
    wanted = "SELECT email, state FROM message WHERE kind = :kind ORDER BY email, id"
    return [tuple(row) for row in rows(ctx, wanted, kind=kind)]


def _deliver(ctx: AppContext, after: timedelta = timedelta()) -> None:
    deliver(ctx, VirtualClock(START + after))


def test_each_notifier_of_the_rep_gets_one_notice_with_name_company_reason_deadline_and_link(
    ctx: AppContext, chats: dict[str, ChatServer]
) -> None:
    for _ in range(2):
        _deliver(ctx)
    for chat in chats.values():
        (notice,) = chat.received
        assert notice["title"] == "Ana: Dana Miller, Acme"
        reason, until, *links = notice["message"].splitlines()
        assert reason.startswith("Why now: ready")
        assert until == "Answer by Tuesday 6 January 2026, 08:00 (UTC)"
        pages = {"Accept": "a", "Give back": "r", "Pass on": "g", "Call later": "l"}
        assert [one[:-22] for one in links] == [f"{label}: {BASE}/{path}/" for label, path in pages.items()]
        assert "1234" not in str(notice)
        assert "@" not in notice["message"]
    assert _states(ctx) == [("slack-sales", "accepted"), ("teams", "accepted")]


def test_the_name_of_a_lead_is_no_link_no_mention_and_no_markup_in_any_notice(
    ctx: AppContext, chats: dict[str, ChatServer]
) -> None:
    _deliver(ctx)
    hostile = {"full_name": "[Sign in](https://evil.example)", "company": "<!channel> @everyone *Acme*"}
    add_lead(ctx, demo_requested=True, **hostile)
    classify(ctx, START)
    sweep.hand_off(ctx, START)
    _deliver(ctx)
    for chat in chats.values():
        title, message = chat.received[-1]["title"], chat.received[-1]["message"]
        assert "Sign in" in title
        assert not re.search(r"[\[\]<>@*]|https:", title)
        assert not re.search(r"[\[\]<>@*]", message)
        assert message.count("https:") == message.count(f"{BASE}/") == 4, "our own links"


def test_a_notifier_that_hangs_holds_neither_mail_nor_another_notifier(
    ctx: AppContext, chats: dict[str, ChatServer]
) -> None:
    chats["slack-sales"].answers = "hang"
    _offer_one(ctx)
    _deliver(ctx)
    assert _states(ctx, "brief") == [("brief", "accepted")] * 2
    assert [state for notifier, state in _states(ctx) if notifier == "teams"] == ["accepted"] * 2
    assert sorted(state for notifier, state in _states(ctx) if notifier == "slack-sales") == ["planned", "unknown"]
    assert len(chats["slack-sales"].received) == 1  # one unknown result, and the notifier is not called for a while
    ((kind, name),) = rows(ctx, "SELECT kind, name FROM circuit_breaker")
    assert (kind, name) == ("provider", "notify:slack-sales")
    chats["slack-sales"].answers = 200
    _deliver(ctx, timedelta(minutes=2))
    assert len(chats["slack-sales"].received) == 2  # the second lead's; the first one stays unknown
    assert rows(ctx, "SELECT count(*) FROM circuit_breaker WHERE released_at IS NULL") == [(0,)]


def test_a_worker_that_dies_after_the_call_leaves_the_notice_unknown_and_nobody_is_notified_twice(
    ctx: AppContext, chats: dict[str, ChatServer]
) -> None:
    class Died(BaseException):
        pass

    def die(point: str, refs: Sequence[str]) -> None:
        if point == "after the call" and any(ref.startswith("notice:") for ref in refs):
            raise Died

    with pytest.raises(Died):
        deliver(ctx, VirtualClock(START), observe=die)
    assert ("slack-sales", "sending") in _states(ctx)
    _deliver(ctx, LEASE + timedelta(seconds=1))
    assert _states(ctx) == [("slack-sales", "unknown"), ("teams", "accepted")]
    assert [len(chat.received) for chat in chats.values()] == [1, 1]


def test_a_notice_of_an_offer_that_was_answered_is_cancelled(ctx: AppContext, chats: dict[str, ChatServer]) -> None:
    ((offer_id,),) = rows(ctx, "SELECT id FROM offer")
    responses.accept(ctx, offer_id, START)
    _deliver(ctx)
    assert {state for _, state in _states(ctx)} == {"cancelled"}
    assert [chat.received for chat in chats.values()] == [[], []]


def test_notices_for_an_unconfigured_notifier_wait_for_it(ctx: AppContext, chats: dict[str, ChatServer]) -> None:
    assert ctx.notifiers is not None
    ctx.notifiers = {"teams": ctx.notifiers["teams"]}
    _deliver(ctx)
    assert _states(ctx) == [("slack-sales", "planned"), ("teams", "accepted")]
    ((reason,),) = rows(ctx, "SELECT reason FROM message WHERE email = 'slack-sales'")
    assert "Add slack-sales=URL" in reason
