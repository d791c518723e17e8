"""No template exceeds the limits or escapes the sandbox."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nurture.errors import NurtureError
from nurture.mail.rendering import template_bounds
from nurture.publishing.publish import check_definitions
from tests.journey.builders import sample_rules
from tests.mail.build import composed
from tests.mail.rendering.hostile import BOMBS, ESCAPES

EMAIL = "tracks/welcome/01-hello.md"
TOO_LONG = "1: the email cannot be composed: a text would have more than 1,000,000 characters. Shorten it"
RULES = sample_rules()
ROOT = Path(__file__).parents[2]
_CHECKED_ALONE = """
import json, resource, signal, sys
from tests.mail.rendering import test_template_bounds as bounds
assert bounds.checked("Read on.") == []
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 512 * 2**20, used + 512 * 2**20))
assert bounds.checked("{{ 1 // 0 }}") != []  # all is imported now
resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # neither files nor network
for name, body in bounds.BOMBS.items():
    print(name, flush=True)
    signal.setitimer(signal.ITIMER_PROF, 2)  # seconds of one processor: whoever takes longer is killed
    bounds.checked(body)
    signal.setitimer(signal.ITIMER_PROF, 0)
print("all", flush=True)
"""


def checked(body: str) -> list[str]:
    rules = RULES | {EMAIL: f"---\nsubject: Hello\npreheader: From us\n---\n{body}\n"}
    return [str(problem).removeprefix(f"{EMAIL}:") for problem in check_definitions(rules)]


def test_no_template_takes_more_than_two_seconds_or_512_megabytes() -> None:
    alone = subprocess.run(
        [sys.executable, "-c", _CHECKED_ALONE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    passed = alone.stdout.splitlines()
    assert (alone.returncode, passed[-1:]) == (0, ["all"]), (passed[-1:], alone.stderr[-2000:])
    assert passed[:-1] == list(BOMBS)


@pytest.mark.parametrize("tag", ESCAPES)
def test_the_sandbox_holds(tag: str) -> None:
    with pytest.raises(NurtureError):
        composed(tag)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (BOMBS["a text doubled by ~"], TOO_LONG),
        (BOMBS["a text doubled by +"], TOO_LONG),
        (BOMBS["a square of a square"], "a number is above 1,000,000,000,000,000. Use a smaller one"),
        (BOMBS["a number of a thousand digits"], "5: a number is above 1,000,000,000,000,000"),
        (BOMBS["a loop in a loop"], "5: a nested loop is not allowed in emails. Use `join`, or loop once"),
        (BOMBS["long loops one after the other"], "its loops have more than 10,000 iterations"),
        (BOMBS["many filters in a loop"], "it processes too much text. Shorten its texts or its loops"),
        (BOMBS["words in title case"], "it processes too much text. Shorten its texts or its loops"),
        (BOMBS["many tags in a loop"], "it processes too much text. Shorten its texts or its loops"),
        (BOMBS["a tree of lists"], "5: a list may contain only strings and numbers"),
        (BOMBS["brackets in brackets"], "5: a tag is nested too deep"),
        ("{% if 1 %}" * 21 + "x" + "{% endif %}" * 21, "there are more than 20 nested blocks"),
        (BOMBS["a list of forty-nine thousand"], "5: its tags have more than 15,000 tokens"),
        (BOMBS["ten thousand tags"], "5: it has more than 100,000 characters or 1,000 tags"),
    ],
)
def test_an_exceeded_limit_is_named(body: str, says: str) -> None:
    problems = checked(body)
    assert any(says in problem for problem in problems), problems


def test_the_bounds_are_where_they_are_documented() -> None:
    def text_of(length: int) -> str:
        return composed("{{ (lead.a ~ lead.b) | length }}", a="a" * (length - 9), b="b" * 9).text

    assert text_of(template_bounds.MAX_TEXT) == str(template_bounds.MAX_TEXT)
    with pytest.raises(NurtureError, match="more than 1,000,000 characters"):
        text_of(template_bounds.MAX_TEXT + 1)
    assert composed("{{ 1000 * 1000000000000 }}").text == "1000000000000000"
    with pytest.raises(NurtureError, match="a number is above"):
        composed("{{ 1000 * 1000000000000 + 1 }}")
    rounds = "{% for a in lead.tags %}{% endfor %}{{ 1 }}"
    assert composed(rounds, tags=["a"] * template_bounds.MAX_ITERATIONS).text == "1"
    with pytest.raises(NurtureError, match="more than 10,000 iterations"):
        composed(rounds, tags=["a"] * (template_bounds.MAX_ITERATIONS + 1))


def test_what_emails_do_is_left_to_them() -> None:
    body = (
        "{{ 'Hello ' ~ lead.first_name ~ lead.seats }} {{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ 7 % 2 }} "
        "{{ 'a' + 'b' }} {{ lead.tags | join(', ') }} {{ lead.first_name[:2] }} {{ 3.14159 | round(2) }} "
        "{% for tag in lead.tags if tag != 'b' %}{{ loop.index }}/{{ loop.length }}{{ tag }}{% endfor %} "
        "{{ lead.tags }} {{ 10000000000000001 if false else lead.big }} {{ (lead.due - lead.since).days }} "
        "{% if lead.seats is defined and lead.seats is number %}{{ lead.seats | default(2) }}{% endif %}"
    )
    from datetime import date

    texts = composed(
        body.replace("10000000000000001 if false else ", ""),
        seats=7,
        tags=["a", "b", "c"],
        big=10**20,
        due=date(2026, 3, 4),
        since=date(2026, 3, 1),
    ).text
    assert texts == ("Hello Aoife7 5.0 3 1 ab a, b, c Ao 3.14 1/2a2/2c ['a', 'b', 'c'] 100000000000000000000 3 7")


def test_a_joined_text_is_escaped_where_it_must_be() -> None:
    email = composed("{{ '<b>' ~ lead.company }}", company="<i>")
    assert "&lt;b&gt;&lt;i&gt;" in email.html
    assert email.text == "<b><i>"
