"""Laws of the log of opt-outs and opt-ins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.consent.suppression import (
    LogAction,
    SuppressionLogEntry,
    SuppressionScope,
    SuppressionSource,
    active_opt_outs,
    current_suppressions,
    find_covering,
    is_new_opt_out,
    parse_source,
    source_for_signal,
)
from nurture.domain.signals import SignalKind

START = datetime(2026, 1, 5, tzinfo=UTC)
TOPICS, TRACKS = ("Webinars", "News"), ("welcome", "keep")


def at(hours: int) -> datetime:
    return START + timedelta(hours=hours)


def entry(
    action: LogAction,
    hours: int,
    scope: SuppressionScope = SuppressionScope.GLOBAL,
    ref: str = "",
    by: SuppressionSource = SuppressionSource.PAGE,
) -> SuppressionLogEntry:
    return SuppressionLogEntry(action, scope, ref, by, at(hours))


def out(
    hours: int,
    scope: SuppressionScope = SuppressionScope.GLOBAL,
    ref: str = "",
    by: SuppressionSource = SuppressionSource.PAGE,
) -> SuppressionLogEntry:
    return entry(LogAction.SUPPRESS, hours, scope, ref, by)


def back(
    hours: int,
    scope: SuppressionScope = SuppressionScope.GLOBAL,
    ref: str = "",
    by: SuppressionSource = SuppressionSource.ADMIN,
) -> SuppressionLogEntry:
    return entry(LogAction.OPT_IN, hours, scope, ref, by)


scopes = st.one_of(
    st.just((SuppressionScope.GLOBAL, "")),
    st.tuples(st.just(SuppressionScope.TOPIC), st.sampled_from(TOPICS)),
    st.tuples(st.just(SuppressionScope.TRACK), st.sampled_from(TRACKS)),
)
entries = st.builds(
    lambda action, scope_and_ref, by, hours: SuppressionLogEntry(action, *scope_and_ref, by, at(hours)),
    st.sampled_from(LogAction),
    scopes,
    st.sampled_from(SuppressionSource),
    st.integers(0, 6),
)
outs = entries.filter(lambda one: one.action is LogAction.SUPPRESS)
ins = entries.filter(lambda one: one.action is LogAction.OPT_IN)
everywhere = [(track, topic) for track in TRACKS for topic in TOPICS]


def blocked(log: list[SuppressionLogEntry]) -> set[tuple[str, str]]:
    suppressions = current_suppressions(log)
    return {where for where in everywhere if find_covering(suppressions, *where) is not None}


@given(st.lists(entries, max_size=8), st.randoms(use_true_random=False))
def test_neither_order_nor_repeats_change_the_suppressions(log: list[SuppressionLogEntry], chance: object) -> None:
    shuffled = [*log, *log[::2]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert current_suppressions(shuffled) == current_suppressions(log)


@given(st.lists(entries, max_size=8), st.lists(outs, max_size=4))
def test_more_opt_outs_never_unblock_anything(log: list[SuppressionLogEntry], more: list[SuppressionLogEntry]) -> None:
    assert blocked([*log, *more]) >= blocked(log)


@given(st.lists(entries, max_size=6), st.lists(entries, max_size=6))
def test_a_merge_of_two_logs_blocks_what_either_blocks_but_for_newer_opt_ins_and_undone_imports(
    one: list[SuppressionLogEntry], other: list[SuppressionLogEntry]
) -> None:
    merged = [*one, *other]
    for action in (*active_opt_outs(one), *active_opt_outs(other)):
        newer = [each for each in merged if each.action is LogAction.OPT_IN and each.at > action.at]
        if action not in active_opt_outs(merged) and action._replace(action=LogAction.RETRACT) not in merged:
            assert any(
                (each.scope, each.ref) == (action.scope, action.ref) and _may_lift(each.source, action.source)
                for each in newer
            )


BY_LINK = (SuppressionSource.PAGE, SuppressionSource.ONE_CLICK)


def _may_lift(by: SuppressionSource, source: SuppressionSource) -> bool:
    if by in BY_LINK:
        return source in BY_LINK
    return (by is SuppressionSource.BOUNCE) == (source is SuppressionSource.BOUNCE)


@given(st.lists(outs, min_size=1, max_size=6))
def test_a_retraction_takes_back_only_the_equal_opt_out(log: list[SuppressionLogEntry]) -> None:
    retracted = log[0]._replace(action=LogAction.RETRACT)
    assert set(active_opt_outs([*log, retracted])) == set(active_opt_outs(log)) - {log[0]}


@given(st.lists(entries, max_size=8), st.integers(0, 6))
def test_replaying_a_part_of_the_log_changes_nothing(log: list[SuppressionLogEntry], part: int) -> None:
    assert current_suppressions([*log, *log[:part]]) == current_suppressions(log)


@given(st.lists(outs, min_size=1, max_size=6), st.lists(ins, max_size=4))
def test_only_an_opt_in_that_is_newer_lifts(
    before: list[SuppressionLogEntry], after: list[SuppressionLogEntry]
) -> None:
    newest = max(one.at for one in before)
    late = [one for one in after if one.at <= min(each.at for each in before)]
    assert blocked([*before, *late]) == blocked(before)
    everything = [
        back(100, *scope_and_ref, by=by)
        for scope_and_ref in {(one.scope, one.ref) for one in before}
        for by in (SuppressionSource.ADMIN, SuppressionSource.BOUNCE)
    ]
    assert newest < at(100)
    assert blocked([*before, *everything]) == set()


@given(st.lists(entries, max_size=8), outs)
def test_an_opt_out_that_is_not_new_never_matters(log: list[SuppressionLogEntry], one: SuppressionLogEntry) -> None:
    if is_new_opt_out(log, one):
        return
    for later in (-1, 0, 1, 3, 5, 9):
        for by in (SuppressionSource.ADMIN, SuppressionSource.BOUNCE, SuppressionSource.PAGE):
            future = back(later, one.scope, one.ref, by)
            assert blocked([*log, one, future]) == blocked([*log, future])


@given(st.lists(entries, max_size=8))
def test_reading_back_what_is_not_lifted_restores_the_suppressions(log: list[SuppressionLogEntry]) -> None:
    assert current_suppressions(active_opt_outs(log)) == current_suppressions(log)


def test_a_topic_never_blocks_another_and_a_global_one_blocks_all() -> None:
    assert blocked([out(1, SuppressionScope.TOPIC, "News")]) == {("welcome", "News"), ("keep", "News")}
    assert blocked([out(1, SuppressionScope.TRACK, "keep")]) == {("keep", "Webinars"), ("keep", "News")}
    assert blocked([out(1)]) == set(everywhere)
    assert find_covering(current_suppressions([out(1, SuppressionScope.TOPIC, "News")]), "keep", "") is None


def test_an_opt_in_for_a_topic_lifts_no_global_opt_out_nor_the_other_way_round() -> None:
    assert blocked([out(1), back(2, SuppressionScope.TOPIC, "News")]) == set(everywhere)
    assert blocked([out(1, SuppressionScope.TOPIC, "News"), back(2)]) == {("welcome", "News"), ("keep", "News")}
    assert blocked([out(1), back(2)]) == set()


def test_at_the_same_time_the_opt_out_wins() -> None:
    assert blocked([out(1), back(1)]) == set(everywhere)


def test_a_lead_can_lift_a_complaint_but_not_a_bounce() -> None:
    assert blocked([out(1, by=SuppressionSource.COMPLAINT), back(2)]) == set()
    bounced = [out(1, by=SuppressionSource.BOUNCE), back(2)]
    assert blocked(bounced) == set(everywhere)
    assert blocked([*bounced, back(3, by=SuppressionSource.BOUNCE)]) == set()
    assert blocked([out(1), out(1, by=SuppressionSource.BOUNCE), back(3, by=SuppressionSource.BOUNCE)]) == set(
        everywhere
    )


@pytest.mark.parametrize("source", SuppressionSource)
@pytest.mark.parametrize(
    "scope_and_ref", [(SuppressionScope.GLOBAL, ""), (SuppressionScope.TOPIC, "News"), (SuppressionScope.TRACK, "keep")]
)
def test_a_link_lifts_only_opt_outs_by_a_link(
    source: SuppressionSource, scope_and_ref: tuple[SuppressionScope, str]
) -> None:
    log = [out(1, *scope_and_ref, by=source), back(2, *scope_and_ref, by=SuppressionSource.PAGE)]
    assert (blocked(log) == set()) == (source in BY_LINK)
    both = [out(1, *scope_and_ref, by=SuppressionSource.PAGE), *log]
    assert (blocked(both) == set()) == (source in BY_LINK)
    assert (
        current_suppressions([*both, back(3, *scope_and_ref), back(3, *scope_and_ref, by=SuppressionSource.BOUNCE)])
        == ()
    )


def test_case_and_spaces_of_a_topic_do_not_matter() -> None:
    suppressions = current_suppressions([out(1, SuppressionScope.TOPIC, "news  AND Guides")])
    assert find_covering(suppressions, "keep", "News and guides") is not None


def test_a_suppression_has_its_start_and_first_source() -> None:
    by_others = [out(5, by=SuppressionSource.ADMIN), out(3, by=SuppressionSource.REPLY)]
    one, other = current_suppressions([*by_others, out(1), back(2), out(4), out(6, by=SuppressionSource.ONE_CLICK)])
    assert (one.source, one.since, one.last_stated_at) == (SuppressionSource.REPLY, at(3), at(5))
    assert (other.source, other.since, other.last_stated_at) == (SuppressionSource.PAGE, at(4), at(6))


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ("one-click", SuppressionSource.ONE_CLICK),
        ("unsubscribed", SuppressionSource.IMPORT),
        ("bounced", SuppressionSource.BOUNCE),
        ("complained", SuppressionSource.COMPLAINT),
        ("form", SuppressionSource.ADMIN),
        ("clicked", SuppressionSource.ADMIN),
    ],
)
def test_signal_kinds_are_accepted_as_sources(written: str, source: SuppressionSource) -> None:
    assert parse_source(written) is source


@pytest.mark.parametrize(
    ("kind", "signal_source", "value", "source"),
    [
        (SignalKind.UNSUBSCRIBED, "link", "one-click", SuppressionSource.ONE_CLICK),
        (SignalKind.UNSUBSCRIBED, "link", "page", SuppressionSource.PAGE),
        (SignalKind.UNSUBSCRIBED, "reply", None, SuppressionSource.REPLY),
        (SignalKind.UNSUBSCRIBED, "reported", None, SuppressionSource.ADMIN),
        (SignalKind.UNSUBSCRIBED, "sendgrid", "provider", SuppressionSource.PROVIDER),
        (SignalKind.UNSUBSCRIBED, "sendgrid", None, SuppressionSource.IMPORT),
        (SignalKind.UNSUBSCRIBED, "api", "page", SuppressionSource.IMPORT),
        (SignalKind.UNSUBSCRIBED, "reported", "page", SuppressionSource.ADMIN),
        (SignalKind.BOUNCED, "webhook", "page", SuppressionSource.BOUNCE),
        (SignalKind.COMPLAINED, "webhook", None, SuppressionSource.COMPLAINT),
    ],
)
def test_a_signal_says_who_opted_out(
    kind: SignalKind, signal_source: str, value: str | None, source: SuppressionSource
) -> None:
    assert source_for_signal(kind, signal_source, value) is source
