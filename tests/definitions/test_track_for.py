"""Test `for` in track.yaml: a track takes leads or customers, and sends them to tracks for the same."""

from __future__ import annotations

import pytest

from nurture.definitions import read_all
from tests.journey.builders import sample_rules

_RENEWAL = {
    "tracks/renewal/track.yaml": sample_rules()["tracks/keep/track.yaml"].replace(
        "name: keep", "name: renewal\nfor: customers"
    ),
    "tracks/renewal/01-news.md": sample_rules()["tracks/keep/01-news.md"],
}


def found(**files: str) -> list[str]:
    sources = sample_rules() | _RENEWAL | files
    return [str(one) for one in read_all.check(sources) if not one.is_warning]


def test_a_track_is_for_leads_unless_it_says_customers() -> None:
    tracks = read_all.load(sample_rules() | _RENEWAL).tracks
    assert {name: track.program(1).for_whom for name, track in tracks.items()} == {
        "keep": "leads",
        "renewal": "customers",
        "welcome": "leads",
    }


def test_anyone_else_is_a_problem() -> None:
    text = _RENEWAL["tracks/renewal/track.yaml"].replace("for: customers", "for: everybody")
    (problem,) = found(**{"tracks/renewal/track.yaml": text})
    assert "for" in problem
    assert "customers" in problem


@pytest.mark.parametrize(
    ("file", "old", "new", "whom"),
    [
        ("tracks/welcome/track.yaml", "finally: keep", "finally: renewal", "customers"),
        ("tracks/renewal/track.yaml", "finally: {close: unreachable}", "finally: keep", "leads"),
        ("sales/policy.yaml", "{track: keep}", "{track: renewal}", "customers"),
    ],
)
def test_leads_cannot_be_sent_to_a_track_for_customers_nor_the_reverse(
    file: str, old: str, new: str, whom: str
) -> None:
    text = (sample_rules() | _RENEWAL)[file]
    assert old in text
    (problem,) = found(**{file: text.replace(old, new)})
    assert f"is for {whom}, so nobody from here can enter it" in problem


def test_a_criterion_may_ask_whether_a_customer_is_on_a_track() -> None:
    policy = sample_rules()["sales/policy.yaml"]
    asked = policy.replace("when: {did: replied}", "when: {all: [{did: replied}, {in_track: renewal}]}")
    assert found(**{"sales/policy.yaml": asked}) == []
