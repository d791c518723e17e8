# ruff: noqa: E501  - a problem is one line, as printed
"""`utm:` in the defaults holds for all tracks; a track changes it or does without."""

from __future__ import annotations

import pytest

from nurture.definitions.read_all import load
from nurture.domain.planning.content import utm_parameters
from tests.definitions.build import DEFAULTS, TRACK, bundle, problems


def _utm(defaults: str = "", track: str = "") -> tuple[tuple[str, str], ...]:
    return utm_parameters(
        load(bundle(TRACK + track, defaults=DEFAULTS + defaults)).tracks["hello"].program(1), "01-one"
    )


def test_the_campaign_is_the_track_and_the_content_the_email() -> None:
    of_all = "utm: {source: newsletter}\n"
    fixed = (("utm_source", "newsletter"), ("utm_medium", "email"))
    assert _utm(of_all) == (*fixed, ("utm_campaign", "hello"), ("utm_content", "01-one"))
    changed = _utm(of_all, "utm: {campaign: Spring fair, term: planning}\n")
    assert changed == (*fixed, ("utm_campaign", "Spring fair"), ("utm_content", "01-one"), ("utm_term", "planning"))
    assert _utm(of_all, "utm: no\n") == _utm() == ()


@pytest.mark.parametrize(
    ("utm", "problem"),
    [
        ("{medium: email}", "`utm` has no `source`. Write for example `source: newsletter`"),
        ("{sourc: a}", "unknown key `sourc` in `utm`. Did you mean `source`?"),
        ("{source: '{{ lead.email }}'}", "`source`: `{{ lead.email }}` has a tag. Write the value itself: it is the same for all leads"),
        ("newsletter", "`utm` needs keys and values below it. Write `source:`, `medium:`, `campaign:`, `content:` ... on indented lines"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused(utm: str, problem: str) -> None:
    (found,) = problems(bundle(defaults=f"{DEFAULTS}utm: {utm}\n"))
    assert found.partition(": ")[2] == problem
