"""What a log of opt-outs and opt-ins means, as laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.consent.suppression import (
    Act,
    Logged,
    Scope,
    Source,
    adds,
    covering,
    source_named,
    source_of,
    stands,
    unlifted,
)
from nurture.domain.signals import SignalKind

START = datetime(2026, 1, 5, tzinfo=UTC)
TOPICS, TRACKS = ("Webinars", "News"), ("welcome", "keep")


def at(hours: int) -> datetime:
    return START + timedelta(hours=hours)


def entry(
    act: Act, hours: int, scope: Scope = Scope.GLOBAL, ref: str = "", by: Source = Source.PAGE
) -> Logged:
    return Logged(act, scope, ref, by, at(hours))


def out(hours: int, scope: Scope = Scope.GLOBAL, ref: str = "", by: Source = Source.PAGE) -> Logged:
    return entry(Act.SUPPRESS, hours, scope, ref, by)


def back(hours: int, scope: Scope = Scope.GLOBAL, ref: str = "", by: Source = Source.ADMIN) -> Logged:
    return entry(Act.OPT_IN, hours, scope, ref, by)


scopes = st.one_of(
    st.just((Scope.GLOBAL, "")),
    st.tuples(st.just(Scope.TOPIC), st.sampled_from(TOPICS)),
    st.tuples(st.just(Scope.TRACK), st.sampled_from(TRACKS)),
)
entries = st.builds(
    lambda act, about, by, hours: Logged(act, *about, by, at(hours)),
    st.sampled_from(Act),
    scopes,
    st.sampled_from(Source),
    st.integers(0, 6),
)
outs = entries.filter(lambda one: one.act is Act.SUPPRESS)
ins = entries.filter(lambda one: one.act is Act.OPT_IN)
everywhere = [(track, topic) for track in TRACKS for topic in TOPICS]


def blocked(log: list[Logged]) -> set[tuple[str, str]]:
    standing = stands(log)
    return {where for where in everywhere if covering(standing, *where) is not None}


@given(st.lists(entries, max_size=8), st.randoms(use_true_random=False))
def test_neither_order_nor_repeats_change_what_stands(log: list[Logged], chance: object) -> None:
    shuffled = [*log, *log[::2]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert stands(shuffled) == stands(log)


@given(st.lists(entries, max_size=8), st.lists(outs, max_size=4))
def test_more_opt_outs_never_unblock_anything(log: list[Logged], more: list[Logged]) -> None:
    assert blocked([*log, *more]) >= blocked(log)


@given(st.lists(entries, max_size=6), st.lists(entries, max_size=6))
def test_a_merge_of_two_logs_blocks_what_either_blocks_but_for_newer_opt_ins(
    one: list[Logged], other: list[Logged]
) -> None:
    merged = [*one, *other]
    for act in (*unlifted(one), *unlifted(other)):
        newer = [each for each in merged if each.act is Act.OPT_IN and each.at > act.at]
        if act not in unlifted(merged):
            assert any(
                (each.scope, each.ref) == (act.scope, act.ref) and _may_lift(each.source, act.source)
                for each in newer
            )


BY_LINK = (Source.PAGE, Source.ONE_CLICK)


def _may_lift(by: Source, source: Source) -> bool:
    if by in BY_LINK:
        return source in BY_LINK
    return (by is Source.BOUNCE) == (source is Source.BOUNCE)


@given(st.lists(entries, max_size=8), st.integers(0, 6))
def test_replaying_a_part_of_the_log_changes_nothing(log: list[Logged], part: int) -> None:
    assert stands([*log, *log[:part]]) == stands(log)


@given(st.lists(outs, min_size=1, max_size=6), st.lists(ins, max_size=4))
def test_only_an_opt_in_that_is_newer_lifts(before: list[Logged], after: list[Logged]) -> None:
    newest = max(one.at for one in before)
    late = [one for one in after if one.at <= min(each.at for each in before)]
    assert blocked([*before, *late]) == blocked(before)
    everything = [
        back(100, *about, by=by)
        for about in {(one.scope, one.ref) for one in before}
        for by in (Source.ADMIN, Source.BOUNCE)
    ]
    assert newest < at(100)
    assert blocked([*before, *everything]) == set()


@given(st.lists(entries, max_size=8), outs)
def test_what_adds_nothing_never_matters_whatever_comes_later(log: list[Logged], one: Logged) -> None:
    if adds(log, one):
        return
    for later in (-1, 0, 1, 3, 5, 9):
        for by in (Source.ADMIN, Source.BOUNCE, Source.PAGE):
            future = back(later, one.scope, one.ref, by)
            assert blocked([*log, one, future]) == blocked([*log, future])


@given(st.lists(entries, max_size=8))
def test_reading_back_what_is_not_lifted_restores_what_stands(log: list[Logged]) -> None:
    assert stands(unlifted(log)) == stands(log)


def test_a_topic_never_blocks_another_and_a_global_one_blocks_all() -> None:
    assert blocked([out(1, Scope.TOPIC, "News")]) == {("welcome", "News"), ("keep", "News")}
    assert blocked([out(1, Scope.TRACK, "keep")]) == {("keep", "Webinars"), ("keep", "News")}
    assert blocked([out(1)]) == set(everywhere)
    assert covering(stands([out(1, Scope.TOPIC, "News")]), "keep", "") is None


def test_an_opt_in_for_a_topic_lifts_no_global_opt_out_nor_the_other_way_round() -> None:
    assert blocked([out(1), back(2, Scope.TOPIC, "News")]) == set(everywhere)
    assert blocked([out(1, Scope.TOPIC, "News"), back(2)]) == {("welcome", "News"), ("keep", "News")}
    assert blocked([out(1), back(2)]) == set()


def test_at_the_same_moment_the_opt_out_wins() -> None:
    assert blocked([out(1), back(1)]) == set(everywhere)


def test_a_lead_can_take_a_complaint_back_but_not_a_bounce() -> None:
    assert blocked([out(1, by=Source.COMPLAINT), back(2)]) == set()
    bounced = [out(1, by=Source.BOUNCE), back(2)]
    assert blocked(bounced) == set(everywhere)
    assert blocked([*bounced, back(3, by=Source.BOUNCE)]) == set()
    assert blocked([out(1), out(1, by=Source.BOUNCE), back(3, by=Source.BOUNCE)]) == set(everywhere)


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("about", [(Scope.GLOBAL, ""), (Scope.TOPIC, "News"), (Scope.TRACK, "keep")])
def test_a_link_lifts_only_what_was_said_by_a_link(source: Source, about: tuple[Scope, str]) -> None:
    log = [out(1, *about, by=source), back(2, *about, by=Source.PAGE)]
    assert (blocked(log) == set()) == (source in BY_LINK)
    both = [out(1, *about, by=Source.PAGE), *log]
    assert (blocked(both) == set()) == (source in BY_LINK)
    assert stands([*both, back(3, *about), back(3, *about, by=Source.BOUNCE)]) == ()


def test_case_and_spaces_of_a_topic_do_not_matter() -> None:
    standing = stands([out(1, Scope.TOPIC, "news  AND Guides")])
    assert covering(standing, "keep", "News and guides") is not None


def test_what_stands_says_since_when_and_who_said_so_first() -> None:
    by_others = [out(5, by=Source.ADMIN), out(3, by=Source.REPLY)]
    one, other = stands([*by_others, out(1), back(2), out(4), out(6, by=Source.ONE_CLICK)])
    assert (one.source, one.since, one.newest) == (Source.REPLY, at(3), at(5))
    assert (other.source, other.since, other.newest) == (Source.PAGE, at(4), at(6))


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ("one-click", Source.ONE_CLICK),
        ("unsubscribed", Source.IMPORT),
        ("bounced", Source.BOUNCE),
        ("complained", Source.COMPLAINT),
        ("form", Source.ADMIN),
        ("clicked", Source.ADMIN),
    ],
)
def test_older_words_for_a_source_are_understood(written: str, source: Source) -> None:
    assert source_named(written) is source


@pytest.mark.parametrize(
    ("kind", "door", "value", "source"),
    [
        (SignalKind.UNSUBSCRIBED, "link", "one-click", Source.ONE_CLICK),
        (SignalKind.UNSUBSCRIBED, "link", "page", Source.PAGE),
        (SignalKind.UNSUBSCRIBED, "reply", None, Source.REPLY),
        (SignalKind.UNSUBSCRIBED, "told", None, Source.ADMIN),
        (SignalKind.UNSUBSCRIBED, "sendgrid", "provider", Source.PROVIDER),
        (SignalKind.UNSUBSCRIBED, "sendgrid", None, Source.IMPORT),
        (SignalKind.UNSUBSCRIBED, "api", "page", Source.IMPORT),
        (SignalKind.UNSUBSCRIBED, "told", "page", Source.ADMIN),
        (SignalKind.BOUNCED, "webhook", "page", Source.BOUNCE),
        (SignalKind.COMPLAINED, "webhook", None, Source.COMPLAINT),
    ],
)
def test_a_signal_says_who_opted_out(kind: SignalKind, door: str, value: str | None, source: Source) -> None:
    assert source_of(kind, door, value) is source
