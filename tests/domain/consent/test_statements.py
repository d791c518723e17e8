"""Laws of the history of consent statements, and of the decision whether an address may be mailed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.consent.permission import MailPermission, basis_in_force, combine_refusals, may_mail
from nurture.domain.consent.statements import (
    ConsentStatement,
    active_withdrawals,
    adds_to,
    describe_statement,
    find_grant,
    grant,
    withdrawal,
)
from nurture.domain.consent.suppression import ActiveSuppression, SuppressionScope, SuppressionSource

START = datetime(2026, 1, 5, tzinfo=UTC)
NOW = START + timedelta(hours=100)
TOPICS = ("Webinars", "News")


def at(hours: int) -> datetime:
    return START + timedelta(hours=hours)


def yes(stated: int | None, recorded: int, source: str = "crm") -> ConsentStatement:
    return grant("consent", source, None if stated is None else at(stated), at(recorded))


def no(stated: int | None, recorded: int, topic: str = "", source: str = "crm") -> ConsentStatement:
    return withdrawal(source, None if stated is None else at(stated), at(recorded), topic)


def allowed(*statements: ConsentStatement, topic: str | None = "") -> bool:
    return may_mail(statements, (), topic, NOW).allowed


def stopped(scope: SuppressionScope, ref: str) -> ActiveSuppression:
    return ActiveSuppression(scope, ref, SuppressionSource.PAGE, START, START)


times = st.integers(0, 9)
targets = st.sampled_from([(SuppressionScope.GLOBAL, ""), *((SuppressionScope.TOPIC, topic) for topic in TOPICS)])
statements = st.builds(
    lambda target, granted, source, stated, recorded: ConsentStatement(
        *target, "consent" if granted else None, granted, source, None if stated is None else at(stated), at(recorded)
    ),
    targets,
    st.booleans(),
    st.sampled_from(["crm", "fair"]),
    st.none() | times,
    times,
)
histories = st.lists(statements, max_size=7)
suppressions = st.lists(st.builds(lambda target: stopped(*target), targets), max_size=2)
topics = st.sampled_from([None, "", *TOPICS])


@pytest.mark.parametrize(
    ("history", "may"),
    [
        ((), False),
        ((yes(None, 1),), True),
        ((no(None, 1),), False),
        ((yes(None, 1), no(None, 2)), False),
        ((no(None, 1), yes(None, 2)), False),
        ((no(None, 1), yes(1, 2)), False),
        ((no(None, 1), yes(2, 3)), True),
        ((no(3, 4), yes(2, 5)), False),
        ((yes(9, 3), no(None, 4)), False),
        ((no(None, 1), yes(20, 2)), True),
        ((no(None, 1), yes(50, 2)), False),
        ((no(9, 3), yes(4, 5)), True),
        ((no(1, 5), yes(2, 5)), False),
        ((no(None, 1), yes(2, 3, "fair")), True),
        ((no(None, 1, "Webinars"), yes(None, 2)), True),
    ],
    ids=[
        "nothing",
        "an undated yes",
        "a no",
        "an undated no after a yes",
        "an undated yes after a no",
        "the same time",
        "a later dated yes",
        "a dated yes before the no",
        "a yes from the future counts as of its record",
        "a yes of the next day by another time zone",
        "a yes from a distant future lifts nothing",
        "a no from the future counts as of its record",
        "recorded together",
        "a later dated yes of another source",
        "a no about another topic",
    ],
)
def test_the_newest_statement_counts(history: Sequence[ConsentStatement], may: bool) -> None:
    assert allowed(*history) is may
    assert allowed(*reversed(history)) is may
    assert (basis_in_force(history, NOW) is not None) is may


def test_a_no_about_a_topic_stops_that_topic_alone() -> None:
    history = (yes(None, 1), no(None, 2, "Webinars"))
    assert [allowed(*history, topic=topic) for topic in ("Webinars", " WEBINARS", "News", "", None)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert not allowed(*history, yes(5, 6), topic="Webinars")  # a yes lifts only a no about the same mail


def test_consent_to_a_topic_allows_that_topic_alone() -> None:
    topic = yes(1, 1)._replace(scope=SuppressionScope.TOPIC, ref="News")
    assert [allowed(topic, topic=about) for about in ("News", "Webinars", "", None)] == [True, False, False, True]


def test_the_reason_names_who_said_it_and_when() -> None:
    assert may_mail([yes(0, 1)], (), "", NOW).reason == "consent given (crm, on 2026-01-05)"
    refused = may_mail([no(None, 1, source="fair")], (), "", NOW)
    assert refused.reason == "suppressed: consent withdrawn (fair, undated, recorded 2026-01-05)"
    assert refused.refusal is not None
    assert (refused.refusal.source, refused.refusal.scope) == (SuppressionSource.WITHDRAWN, SuppressionScope.GLOBAL)
    by_page = may_mail([no(1, 1)], [stopped(SuppressionScope.GLOBAL, "")], "", NOW)
    assert by_page.reason == "suppressed: page (global)"
    assert describe_statement(no(1, 1, "News")) == "consent withdrawn for News (crm, on 2026-01-05)"


@given(histories, suppressions, topics, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(
    history: list[ConsentStatement], refused: list[ActiveSuppression], topic: str | None, chance: st.DrawFn
) -> None:
    again = history + history
    chance.shuffle(again)  # type: ignore[attr-defined]
    first, second = may_mail(history, refused, topic, NOW), may_mail(again, refused, topic, NOW)
    assert (first.allowed, first.basis, first.refusal) == (second.allowed, second.basis, second.refusal)
    assert combine_refusals(history, refused) == combine_refusals(again, refused)


@given(histories, topics)
def test_nobody_is_mailed_while_no_statement_is_newer_than_a_no(
    history: list[ConsentStatement], topic: str | None
) -> None:
    """Written differently from the code: for each no that covers the mail, a dated yes about the same must be newer."""
    covering = [one for one in history if not one.granted and one.ref in ("", topic)]
    for refused in covering:
        newer = [
            one
            for one in history
            if one.granted
            and (one.scope, one.ref) == (refused.scope, refused.ref)
            and one.stated_at is not None
            and min(one.stated_at, one.recorded_at) > min(refused.stated_at or NOW, refused.recorded_at)
        ]
        if not newer:
            assert not may_mail(history, (), topic, NOW).allowed


@given(histories, statements.filter(lambda one: not one.granted), topics)
def test_a_no_never_allows_more(history: list[ConsentStatement], more: ConsentStatement, topic: str | None) -> None:
    assert may_mail([*history, more], (), topic, NOW).allowed <= may_mail(history, (), topic, NOW).allowed


@given(histories, suppressions, topics)
def test_a_suppression_is_lifted_by_no_statement(
    history: list[ConsentStatement], refused: list[ActiveSuppression], topic: str | None
) -> None:
    decision = may_mail(history, refused, topic, NOW)
    covers = any(one.scope is SuppressionScope.GLOBAL or (topic and one.ref == topic) for one in refused)
    assert not (covers and decision.allowed)
    assert isinstance(decision, MailPermission)
    assert decision.allowed == bool(decision.basis)
    if decision.allowed:
        assert find_grant(history, topic, NOW) is not None


@given(histories, statements)
def test_what_was_recorded_adds_nothing(history: list[ConsentStatement], new: ConsentStatement) -> None:
    later = [*history, new] if adds_to(history, new) else history
    assert not adds_to(later, new._replace(recorded_at=NOW)) or new not in active_withdrawals(later)


@given(st.lists(statements, max_size=6))
def test_a_file_that_is_recorded_again_adds_nothing(file: list[ConsentStatement]) -> None:
    recorded: list[ConsentStatement] = []
    for now in (at(1), at(2), NOW):
        before = list(recorded)
        for one in (each._replace(recorded_at=now) for each in file):
            if adds_to(recorded, one):
                recorded.append(one)
        assert now == at(1) or recorded == before
