from __future__ import annotations

from datetime import date, time

import pytest

from nurture.definitions.policy.team import read_hours
from nurture.definitions.read_all import load
from nurture.definitions.schema_check import InvalidValue
from nurture.domain.planning.calendar import Window
from nurture.domain.policy.team import (
    EVERYONE_POOL,
    ROUND_THE_CLOCK,
    Pool,
    Rep,
    RotationMethod,
    Team,
    WorkingHours,
)
from nurture.errors import InvalidDefinitions
from tests.definitions.build import POLICY, bundle, problems

MARA = "  - {id: mara, name: Mara, email: mara@example.com, capacity: 5}\n"
TOMAS = "  - {id: tomas, name: Tomas, email: tomas@example.com, capacity: 5}\n"
WHO = "{id: mara, name: Mara, email: mara@example.com, capacity: 5"


def team(reps: str = MARA + TOMAS, more: str = "") -> Team:
    return load(bundle(policy=POLICY.replace(MARA, reps) + more)).policy(1).team


def team_problems(reps: str = MARA + TOMAS, more: str = "") -> list[str]:
    prefix = "sales/policy.yaml:"
    return [one.removeprefix(prefix) for one in problems(bundle(policy=POLICY.replace(MARA, reps) + more))]


def test_by_default_reps_work_at_all_hours_in_one_round_robin_pool() -> None:
    found = team()
    assert found.reps[0] == Rep("mara", "Mara", "mara@example.com", 5)
    assert found.pools == {EVERYONE_POOL: Pool(EVERYONE_POOL, ("mara", "tomas"), RotationMethod.ROUND_ROBIN)}
    assert (found.managers, found.business_hours) == ((), ROUND_THE_CLOCK)
    assert found.manager_of(found.reps[0]) is None


def test_everything_about_a_rep_is_read_and_the_business_hours_fill_in_the_rest() -> None:
    found = team(
        f"  - {WHO}, max_open_leads: 40, weight: 2, zone: Europe/Lisbon, country: pt, "
        "hours: 'mon to thu 08:00-16:00', manager: lena, deputy: tomas, notify: [slack-sales], "
        "left_on: 2027-01-31}\n" + TOMAS,
        "business_hours: {zone: Europe/Berlin, country: DE, hours: 'monday to friday 09:00-17:00'}\n"
        "managers:\n  - {id: lena, name: Lena Voss, email: lena@example.com, notify: pager}\n",
    )
    mara, tomas = found.reps
    own = WorkingHours(Window(frozenset(range(4)), time(8), time(16)), "Europe/Lisbon", "PT")
    assert mara.hours == own
    assert tomas.hours == found.business_hours == WorkingHours(Window(), "Europe/Berlin", "DE")
    assert (mara.max_open_leads, mara.weight, mara.deputy, mara.notify) == (40, 2, "tomas", ("slack-sales",))
    assert mara.left_on == date(2027, 1, 31)
    lena = found.manager_of(mara)
    assert lena is not None
    assert (lena.id, lena.email, lena.notify) == ("lena", "lena@example.com", ("pager",))


def test_a_published_country_stays_valid_if_its_holidays_are_no_longer_known() -> None:
    policy = POLICY + "business_hours: {zone: Europe/Berlin, country: XX}\n"
    with pytest.raises(InvalidDefinitions, match="the public holidays of `XX` are not known"):
        load(bundle(policy=policy))
    assert load(bundle(policy=policy), complete=False).policy(1).team.business_hours.country == "XX"


def test_a_manager_may_be_a_rep_too() -> None:
    found = team(f"  - {WHO}, manager: tomas}}\n" + TOMAS)
    manager = found.manager_of(found.reps[0])
    assert manager is not None
    assert (manager.id, manager.email) == ("tomas", "tomas@example.com")


def test_partners_are_in_the_pool_of_everyone_only_if_there_are_no_other_reps() -> None:
    partner = MARA.replace("}", ", partner: yes}")
    assert team(partner + TOMAS).pools[EVERYONE_POOL].reps == ("tomas",)
    assert team(partner).pools[EVERYONE_POOL].reps == ("mara",)


def test_pools_have_their_rotation() -> None:
    found = team(
        more="pools: {south: {reps: [tomas, mara], rotation: least loaded}, key: {reps: mara, rotation: weighted}}\n"
    )
    assert found.pools["south"] == Pool("south", ("tomas", "mara"), RotationMethod.LEAST_LOADED)
    assert found.pools["key"] == Pool("key", ("mara",), RotationMethod.WEIGHTED)
    assert set(found.pools) == {"south", "key", EVERYONE_POOL}


@pytest.mark.parametrize(
    ("text", "days", "opens", "closes"),
    [
        ("monday to friday 09:00-17:00", {0, 1, 2, 3, 4}, time(9), time(17)),
        ("08:30 to 16:00", {0, 1, 2, 3, 4}, time(8, 30), time(16)),
        ("Mon, wed and sat 10:00-14:00", {0, 2, 5}, time(10), time(14)),
        ("sunday to thursday 9:00-17:00", {6, 0, 1, 2, 3}, time(9), time(17)),
        ("mon to wed, sat 22:00-06:00", {0, 1, 2, 5}, time(22), time(6)),
    ],
)
def test_hours_are_read_as_people_write_them(text: str, days: set[int], opens: time, closes: time) -> None:
    assert read_hours(text) == Window(frozenset(days), opens, closes)


@pytest.mark.parametrize("text", ["", "always", "monday", "someday 09:00-17:00", "mon 9-17", "mon 09:00-25:00"])
def test_invalid_hours_are_named(text: str) -> None:
    with pytest.raises(InvalidValue, match="Write for example `monday to friday"):
        read_hours(text)


@pytest.mark.parametrize(
    ("reps", "more", "problem"),
    [
        (f"  - {WHO}, deputy: tomos}}\n" + TOMAS, "", "8: the deputy `tomos` of `mara` is not in this policy"),
        (f"  - {WHO}, deputy: mara}}\n", "", "8: `mara` is their own deputy"),
        (f"  - {WHO}, manager: lena}}\n", "", "8: the manager `lena` of `mara` is not in this policy"),
        (f"  - {WHO}, country: XX}}\n", "", "8: `country`: the public holidays of `XX` are not known"),
        (MARA + MARA, "", "9: the id `mara` is used twice"),
        (MARA, "pools: {south: {reps: [mara, anna]}}\n", "15: the pool `south` names `anna`, who is not a rep"),
        (MARA, "pools: {south: {reps: [mara, mara]}}\n", "15: the pool `south` names mara twice"),
        (MARA, "pools: {south: {reps: mara, rotation: luck}}\n", "15: unknown rotation `luck`"),
        (MARA, "pools: []\n", "15: `pools` has no pools"),
        (MARA, "managers: {lena: Lena}\n", "15: `managers` is not a list"),
        (MARA, "business_hours: {hours: '09:00-17:00'}\n", "15: `zone` is missing in `business_hours`"),
    ],
)
def test_unknown_people_are_reported_with_their_line(reps: str, more: str, problem: str) -> None:
    found = team_problems(reps, more)
    assert len(found) == 1
    assert found[0].startswith(problem)
