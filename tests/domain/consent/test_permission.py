"""Requests for consent: they allow and refuse nothing, in any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.consent.permission import may_mail
from nurture.domain.consent.statements import ConsentStatement, adds_to, grant, withdrawal

START = datetime(2026, 1, 5, tzinfo=UTC)
NOW = START + timedelta(days=400)
days = st.integers(0, 300).map(lambda count: START + timedelta(days=count))
_BUILDERS = st.sampled_from([lambda *at: grant("consent", "crm", *at), lambda *at: withdrawal("crm", *at)])
statements = st.builds(lambda build, stated, at: build(stated, at), _BUILDERS, st.none() | days, days)
requests = st.builds(grant, st.just("consent"), st.just("website"), st.none() | days, days).map(
    lambda one: one._replace(granted=False)
)
histories = st.lists(statements, max_size=4)


@given(histories, st.lists(requests, min_size=1, max_size=3))
def test_a_request_changes_no_answer_about_mail(known: list[ConsentStatement], asked: list[ConsentStatement]) -> None:
    before, after = may_mail(known, (), None, NOW), may_mail([*known, *asked], (), None, NOW)
    assert (after.allowed, after.basis, after.refusal) == (before.allowed, before.basis, before.refusal)


@given(histories, st.lists(requests, max_size=3))
def test_an_address_is_asked_only_if_a_confirmation_is_all_that_is_missing(
    known: list[ConsentStatement], asked: list[ConsentStatement]
) -> None:
    permission = may_mail([*known, *asked], (), None, NOW)
    assert permission.to_ask().allowed == (bool(asked) and not permission.allowed and permission.refusal is None)


@given(requests, requests)
def test_a_second_request_counts_only_if_it_is_dated_much_later(
    first: ConsentStatement, second: ConsentStatement
) -> None:
    later = second.stated_at is not None and second.at >= first.at + timedelta(days=30)
    assert adds_to([first], second) == later
    assert adds_to([], second)
    assert not adds_to([second], second)


@given(requests, st.none() | days)
def test_consent_of_a_source_is_not_asked_for_again(asked: ConsentStatement, stated: datetime | None) -> None:
    assert not adds_to([grant("consent", "website", stated, START)], asked)
