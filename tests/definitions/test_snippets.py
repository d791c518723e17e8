# ruff: noqa: E501  - a problem is one line, as printed
"""Snippets are inserted into the text of emails, and each line knows from which file it comes."""

from __future__ import annotations

import pytest

from nurture.definitions.read_all import load
from nurture.definitions.snippets import MAX_CHARACTERS
from tests.definitions.build import EMAIL, bundle, problems

MAIL = "tracks/hello/01-one.md"
SIGN = "snippets/sign.md"
HEAD = "---\nsubject: Hello\npreheader: Hi\n---\n"


def _with(body: str, snippet: str = "\nNora\n\nLarkfield\n", **more: str) -> dict[str, str]:
    return (
        bundle()
        | {MAIL: f"{HEAD}{body}\n", SIGN: snippet}
        | {f"snippets/{name}.md": text for name, text in more.items()}
    )


def test_a_tag_on_a_line_of_its_own_stands_for_the_lines_of_its_snippet() -> None:
    email = load(_with('Hello.\n\n{% include "sign" %}\n\nPS: x')).emails[MAIL]
    assert email.text == f"{HEAD}Hello.\n\nNora\n\nLarkfield\n\nPS: x\n"
    assert email.origins[5:] == ((MAIL, 6), (SIGN, 2), (SIGN, 3), (SIGN, 4), (MAIL, 8), (MAIL, 9), (MAIL, 10))
    assert email.snippets == {SIGN}


def test_a_snippet_of_one_line_may_stand_inside_a_line_and_in_a_list() -> None:
    sources = _with(
        "From {% include 'price' %} a month.\n\n- a\n  {% include 'two' %}", "Nora", price="49 euros\n", two="b\nc\n"
    )
    assert load(sources).emails[MAIL].text == f"{HEAD}From 49 euros a month.\n\n- a\n  b\n  c\n"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{% include 'sing' %}", f"{MAIL}:5: there is no snippet `sing` in snippets/. Did you mean `sign`?"),
        ("{% include 'offer' %}", f"{MAIL}:5: there is no snippet `offer` in snippets/. Write the file snippets/offer.md"),
        ("Hi {% include 'sign' %}", f"{MAIL}:5: the snippet `sign` has several lines, and stands inside a line here. Write the tag on a line of its own"),
    ],
)  # fmt: skip
def test_a_snippet_that_cannot_be_inserted_is_reported_where_it_is_used(body: str, problem: str) -> None:
    assert [one for one in problems(_with(body)) if "warning" not in one] == [problem]


def test_a_snippet_that_no_email_uses_is_a_warning() -> None:
    assert problems(_with("Hello.")) == [
        f'{SIGN}:1: warning: no email uses this snippet. Write `{{% include "sign" %}}` in an email, or remove the file'
    ]


def test_snippets_cannot_make_an_email_grow_without_limit() -> None:
    sources = _with("{% include 'sign' %}\n" * 600, "x" * 500)
    assert problems(sources) == [
        f"{MAIL}:179: the email has more than {MAX_CHARACTERS:,} characters with its snippets. Shorten them"
    ]


def test_a_changed_snippet_changes_what_includes_it_and_nothing_else() -> None:
    before, after = (
        load(
            _with("{% include 'sign' %}", sign)
            | {"handoff/brief.md": f"{EMAIL}{{% include 'team' %}}\n", "snippets/team.md": team}
        )
        for sign, team in (("Nora", "Larkfield"), ("Ida", "Larkfield"))
    )
    assert before.tracks["hello"].digest != after.tracks["hello"].digest
    assert before.policy_digest == after.policy_digest
    assert set(after.sources_of("hello")) & {SIGN, "snippets/team.md"} == {SIGN}
    assert set(after.sources_of_policy()) & {SIGN, "snippets/team.md"} == {"snippets/team.md"}
