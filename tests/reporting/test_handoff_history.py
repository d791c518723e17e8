"""Offers are grouped into hand-offs, with owner, follow-up and closing time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nurture.reporting.handoff_history import HandoffHistory, group_into_handoffs
from nurture.reporting.handoff_history_queries import OfferRecord, OutcomeRecord
from nurture.reporting.sales_rates import compute_rates

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _offer(id_: int, state: str, **more: Any) -> OfferRecord:
    values = {"lead_id": 1, "rep": "mara", "rule": "replied", "reason": None, "round": 1, "policy_version": 1}
    values |= {
        "offered_at": AT + id_ * HOUR,
        "answered_at": None,
        "followed_up_at": None,
        "useful": None,
        "ended_at": None,
    }
    return OfferRecord(**{"id": id_, "state": state, "crm_owner": "", **values, **more})  # type: ignore[arg-type]


def _group(
    *offers: OfferRecord,
    handed_off: dict[int, list[datetime]] | None = None,
    outcomes: list[OutcomeRecord] | None = None,
) -> list[HandoffHistory]:
    return list(group_into_handoffs(offers, handed_off or {}, {1: outcomes or []}))


def test_the_reps_who_were_asked_in_turn_are_one_hand_off() -> None:
    (one,) = _group(_offer(1, "expired"), _offer(2, "rejected", round=2), _offer(3, "accepted", round=3))
    assert [offer.id for offer in one.offers] == [1, 2, 3]
    assert one.accepted_offer is not None
    assert one.accepted_offer.id == 3
    assert not one.had_wrong_owner


def test_a_lead_that_comes_back_and_is_handed_off_again_is_another_hand_off() -> None:
    first, second = _group(
        _offer(1, "rejected"), _offer(9, "accepted"), handed_off={1: [AT, AT + 8 * HOUR, AT + 30 * HOUR]}
    )
    assert (first.decided_at, first.next_handoff_at) == (AT, AT + 8 * HOUR)
    assert (second.decided_at, second.next_handoff_at) == (AT + 8 * HOUR, None)


def test_a_lead_that_a_rep_asks_for_is_handed_off_then_and_not_when_it_was_the_last_time() -> None:
    won = OutcomeRecord(1, "won", AT + 3 * HOUR, 900.0)
    first, asked = _group(_offer(1, "accepted"), _offer(99, "accepted"), handed_off={1: [AT + HOUR]}, outcomes=[won])
    assert (first.decided_at, asked.decided_at) == (AT + HOUR, AT + 99 * HOUR)
    assert (first.has_won, asked.has_won) == (True, False)


def test_leads_are_kept_apart() -> None:
    assert len(_group(_offer(1, "expired"), _offer(2, "expired", lead_id=2, round=1))) == 2


def test_a_lead_that_was_passed_on_refused_as_not_theirs_or_changed_in_the_crm_had_the_wrong_owner() -> None:
    (passed_on,) = _group(_offer(1, "reassigned"), _offer(2, "accepted", rep="yuki"))
    (refused,) = _group(_offer(1, "rejected", reason="not-mine"))
    (changed,) = _group(_offer(1, "accepted", crm_owner="yuki"))
    (right,) = _group(_offer(1, "accepted", crm_owner="mara"))
    (other_reason,) = _group(_offer(1, "rejected", reason="no-budget", crm_owner="yuki"))
    assert [one.had_wrong_owner for one in (passed_on, refused, changed)] == [True, True, True]
    assert [one.had_wrong_owner for one in (right, other_reason)] == [False, False]


def test_only_who_took_the_lead_reaches_it() -> None:
    (by_owner,) = _group(_offer(1, "accepted", followed_up_at=AT + 5 * HOUR))
    (by_another,) = _group(_offer(1, "lapsed", followed_up_at=AT + 5 * HOUR), _offer(2, "accepted", round=2))
    assert by_owner.was_reached_by_owner
    assert not by_another.was_reached_by_owner
    assert by_another.followed_up_at == AT + 5 * HOUR


def test_who_bought_was_reached_even_if_nobody_noted_a_call() -> None:
    won = OutcomeRecord(1, "won", AT + 3 * DAY, 900.0)
    (one,) = _group(_offer(1, "accepted"), outcomes=[won])
    assert (one.was_reached_by_owner, one.followed_up_at, one.has_won) == (True, AT + 3 * DAY, True)
    assert one.was_followed_up_within(7 * DAY)
    assert not one.was_followed_up_within(2 * DAY)


def test_who_lost_without_a_call_was_not_reached() -> None:
    (one,) = _group(_offer(1, "accepted"), outcomes=[OutcomeRecord(1, "lost", AT + 3 * DAY, None)])
    assert (one.was_reached_by_owner, one.has_won) == (False, False)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["offered", "accepted", "rejected", "expired", "lapsed", "withdrawn"]),
            st.none() | st.integers(0, 300),
            st.none() | st.integers(0, 300),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_followed_up_not_known_and_never_are_the_parts_of_all(drawn: list[tuple[str, int | None, int | None]]) -> None:
    offers = [
        _offer(
            number,
            state,
            round=number,
            answered_at=None if answered is None else AT + answered * HOUR,
            followed_up_at=None if touched is None else AT + touched * HOUR,
        )
        for number, (state, answered, touched) in enumerate(drawn, 1)
    ]
    rates = {one.name: one for one in compute_rates(_group(*offers), AT + 30 * DAY)}
    parts = [rates[name] for name in ("followed up", "contact not known", "never followed up")]
    assert sum(one.count for one in parts) == parts[0].total == 1


def test_a_hand_off_that_nobody_answers_is_ignored_and_an_answer_ends_that() -> None:
    (ignored,) = _group(_offer(1, "expired"), _offer(2, "lapsed", round=2))
    (answered,) = _group(_offer(1, "expired"), _offer(2, "rejected", round=2))
    assert (ignored.was_ignored, answered.was_ignored) == (True, False)


def test_the_loop_closes_with_the_first_reason_or_outcome_and_never_before_the_decision() -> None:
    rejected = _offer(1, "rejected", answered_at=AT + 4 * HOUR)
    (given_back,) = _group(rejected, outcomes=[OutcomeRecord(1, "won", AT + 40 * DAY, 1.0)], handed_off={1: [AT]})
    assert given_back.closed_at == AT + 4 * HOUR
    (open_one,) = _group(_offer(1, "expired"))
    assert open_one.closed_at is None
    assert not open_one.was_closed_within(90 * DAY)
    (won,) = _group(_offer(1, "accepted"), outcomes=[OutcomeRecord(1, "won", AT + 40 * DAY, 1.0)], handed_off={1: [AT]})
    assert (won.was_closed_within(30 * DAY), won.was_closed_within(90 * DAY)) == (False, True)


def test_an_outcome_counts_for_the_hand_off_that_it_followed_only() -> None:
    first, second = _group(
        _offer(1, "rejected", answered_at=AT + 2 * HOUR),
        _offer(9, "accepted"),
        handed_off={1: [AT, AT + 8 * HOUR]},
        outcomes=[OutcomeRecord(1, "won", AT + DAY, 5.0)],
    )
    assert (first.outcome, second.has_won) == (None, True)
