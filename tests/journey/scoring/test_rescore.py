"""Scores that follow the policy: reckoned anew when it counts otherwise, and shown as arithmetic."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.domain.signals import SignalKind
from nurture.errors import NotFound
from nurture.journey.engagement import signals as engagement_signals
from nurture.journey.engagement.click_filtering import Visited
from nurture.journey.leads import signal_queries
from nurture.journey.scoring import breakdown, rescore
from nurture.reporting import explain
from nurture.runtime.context import House
from tests.journey.builders import START, add_lead, make_house, publish_approved, tick_at, tiny_rules
from tests.journey.observe import counted, crowd, heard, one, rows, tell, write

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CLICKED, REPLIED, VISITED, OPENED = (
    SignalKind.CLICKED,
    SignalKind.REPLIED,
    SignalKind.VISITED,
    SignalKind.OPENED,
)
OLD = "points: {clicked: 10, replied: 40, deciding: 30, half_life: 30 days}"
NEW = (
    "points: {half_lives: {fast: 10 days, slow: 100 days}, clicked: 8, visited: 2, "
    "replied: {points: 50, half_life: slow}}"
)
FIT = "fit: {A: {field: employees, at_least: 200}, B: {field: title, contains: [head]}}\n"


@pytest.fixture
def house(db: Database, tmp_path: Path) -> House:
    return make_house(db, tmp_path)


def publish_points(house: House, now: datetime, points: str = NEW, more: str = "") -> None:
    sources = tiny_rules()
    policy = sources["sales/policy.yaml"]
    assert OLD in policy
    sources["sales/policy.yaml"] = policy.replace(OLD, points) + more
    publish_approved(house, sources, now)


def sums(house: House, lead: int) -> tuple[float, float | None]:
    ((first, second),) = rows(house, "SELECT engagement, engagement_2 FROM lead WHERE id = :id", id=lead)
    return first, second


def test_new_points_are_counted_from_what_leads_did_before_anything_else_is_heard(house: House) -> None:
    lead = add_lead(house)
    for kind in (CLICKED, VISITED, REPLIED, OPENED):
        tell(house, lead, kind, START)
    assert sums(house, lead) == (50, None)
    publish_points(house, START + DAY)
    engagement_signals.listen(house, START + DAY)
    assert sums(house, lead) == (10, 50)
    tell(house, lead, CLICKED, START + 10 * DAY)
    assert sums(house, lead) == (pytest.approx(5 + 8), pytest.approx(50 * 0.5**0.1))


def test_a_kind_that_had_no_points_before_counts_once_it_has(house: House) -> None:
    lead = add_lead(house)
    tell(house, lead, VISITED, START)
    assert sums(house, lead) == (0, None)
    publish_points(house, START)
    engagement_signals.listen(house, START)
    assert sums(house, lead) == (2, 0)


def test_a_policy_that_counts_as_before_reckons_nothing_anew(house: House) -> None:
    lead = add_lead(house)
    tell(house, lead, CLICKED, START)
    publish_points(house, START, OLD, FIT)
    assert rescore.rescore(house, START) == 0


def test_until_it_is_reckoned_anew_whoever_decides_reckons_from_the_signals(house: House) -> None:
    lead = add_lead(house, title="Clerk")
    tick_at(house, START)
    tell(house, lead, CLICKED, START + HOUR)
    publish_points(house, START + HOUR, "points: {clicked: 30, half_life: 30 days}")
    assert explain.why(house, lead, START + HOUR).held.because.startswith("engaged: engagement 30.0")
    assert sums(house, lead) == (10, None)


def test_signals_that_come_before_the_reckoning_are_not_lost_in_it(house: House) -> None:
    lead = add_lead(house)
    tell(house, lead, CLICKED, START)
    publish_points(house, START)
    with house.database.write() as connection:
        signal_queries.record(house.database, connection, [heard(lead, VISITED, START)])
    engagement_signals.listen_batch(house, START, 10)
    engagement_signals.listen(house, START)
    assert sums(house, lead) == (10, 0)


def test_what_a_rep_answered_stays_answered_under_new_points(house: House) -> None:
    lead = add_lead(house)
    write(house, "UPDATE lead SET evidence_since = :at", at=f"{START + DAY:%Y-%m-%dT%H:%M:%S}+00:00")
    tell(house, lead, REPLIED, START)
    tell(house, lead, CLICKED, START + 2 * DAY)
    publish_points(house, START + 2 * DAY)
    engagement_signals.listen(house, START + 2 * DAY)
    assert sums(house, lead) == (8, 0)


def test_ten_thousand_leads_are_reckoned_in_batches_of_constant_cost_that_go_on_where_they_stopped(
    house: House,
) -> None:
    leads = crowd(house, 10_000)
    with house.database.write() as connection:
        told = [heard(lead, CLICKED, START - HOUR * (lead % 7)) for lead in leads]
        signal_queries.record(house.database, connection, told)
    engagement_signals.listen(house, START)
    publish_points(house, START)
    costs = []
    for limit in (10, 2_000, 2_000):
        with counted(house.database) as seen:
            assert rescore.rescore_batch(house, START, limit) == limit
        costs.append(len(seen))
    assert len(set(costs[1:])) == 1
    assert costs[0] - costs[1] in (0, 1, 2)  # the first one reads the published policy
    assert rescore.rescore(house, START) == 10_000 - 4_010
    assert rescore.rescore(house, START) == 0
    assert one(house, "SELECT count(*) FROM lead WHERE engagement = 8") == 10_000


def test_a_score_is_shown_line_by_line_with_what_counts_and_why(house: House) -> None:
    publish_points(house, START, NEW, FIT)
    lead = add_lead(house, title="Head of Tea", employees=20)
    tick_at(house, START, START + 2 * HOUR)
    sent: int = one(house, "SELECT id FROM message WHERE lead_id = :id", id=lead)
    at = START + 3 * HOUR
    tell(house, lead, OPENED, at)
    tell(house, lead, SignalKind.SUBMITTED, at)
    tell(house, lead, REPLIED, at)
    clicks = [
        Visited(CLICKED, sent, at, "guide", method="HEAD"),
        Visited(CLICKED, sent, at + DAY, "guide", agent="Mozilla/5.0 (X11) Firefox/140.0"),
    ]
    engagement_signals.record(house, [], at + DAY, clicks)
    shown = breakdown.reckon(house, lead, at + DAY)
    assert [(entry.kind, entry.points, entry.counts) for entry in shown.entries] == [
        ("opened", 0, False),
        ("submitted", 0, False),
        ("replied", 50, True),
        ("clicked", 8, False),
        ("clicked", 8, True),
    ]
    whys = [entry.because for entry in shown.entries]
    assert whys[0].startswith("opens never count")
    assert whys[1] == "the policy gives it no points"
    assert whys[2] == "as we were told"
    assert whys[3] == "asked with HEAD"
    assert whys[4] == "counts; nothing acts on it before 11:01:30 UTC"
    assert [(part.name, part.now) for part in shown.half_lives] == [
        ("fast (10 days)", 8),
        ("slow (100 days)", round(50 * 0.5**0.01, 4)),
    ]
    assert shown.engagement == shown.kept == round(sum(entry.now for entry in shown.entries), 4)
    assert (shown.fit, shown.fit_because) == ("B", "title contains head")
    ((asked, by, reached, falls),) = [(one.asked, one.by, one.reached, one.at) for one in shown.falls]
    assert (asked, by, reached) == (25, "engaged", True)
    assert falls is not None
    assert breakdown.reckon(house, lead, falls - timedelta(seconds=1)).falls[0].reached
    assert not breakdown.reckon(house, lead, falls).falls[0].reached


def test_a_score_of_what_a_rep_answered_says_so(house: House) -> None:
    lead = add_lead(house)
    tell(house, lead, CLICKED, START)
    write(house, "UPDATE lead SET evidence_since = :at", at=f"{START + DAY:%Y-%m-%dT%H:%M:%S}+00:00")
    shown = breakdown.reckon(house, lead, START + DAY)
    assert (shown.engagement, shown.entries[0].because) == (0, "from before a rep answered")


def test_a_score_of_nobody_is_refused_and_of_a_quiet_lead_is_nothing(house: House) -> None:
    with pytest.raises(NotFound, match="`nurture leads list` lists them"):
        breakdown.reckon(house, 999, START)
    shown = breakdown.reckon(house, add_lead(house), START)
    assert (shown.engagement, shown.entries, shown.fit) == (0, (), "D")
    assert [(falls.asked, falls.reached, falls.at) for falls in shown.falls] == [(25, False, None)]


def test_the_fit_letter_stands_in_the_brief_and_in_the_why(house: House, tmp_path: Path) -> None:
    publish_points(house, START, NEW, FIT)
    lead = add_lead(house, title="Head", employees=500)
    tick_at(house, START)
    trace = explain.why(house, lead, START)
    assert dict(explain.summary(trace))["fit"] == "A: employees at least 200"
    tell(house, lead, REPLIED, START + HOUR)
    tick_at(house, START + HOUR)
    (brief,) = [mail for mail in (tmp_path / "mailbox").rglob("*.eml") if "brief" in mail.name]
    assert "Fit A (employees at least 200)" in brief.read_text("utf-8")


def test_leads_may_be_chosen_by_fit(house: House) -> None:
    sources = tiny_rules()
    sources["sales/policy.yaml"] += FIT
    sources["sales/policy.yaml"] = sources["sales/policy.yaml"].replace(
        "when: {field: demo_requested, is: yes}", "when: {fit: {at_least: A}}"
    )
    publish_approved(house, sources, START)
    good, other = add_lead(house, title="Head", employees=500), add_lead(house, title="Head")
    tick_at(house, START)
    named = [one(house, "SELECT readiness FROM lead WHERE id = :id", id=lead) for lead in (good, other)]
    assert named == ["ready", "nurture"]
