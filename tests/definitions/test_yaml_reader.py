"""Reading YAML with either parser."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.definitions.folder import read_folder
from nurture.definitions.yaml_reader import ParseContext, read_yaml
from tests.definitions.build import SHIPPED

TEXTS = [text for path, text in read_folder(SHIPPED).items() if path.endswith(".yaml")]
INSERTS = st.sampled_from(
    [*" \n:-[]{}#\"'|>&*!%?\\~<\u2028\x85\ufeff\xa0é", "\n  ", "- ", ": ", "\r\n", "|+\n", ">-\n", "<<: ", "&a ", "*a"]
)


def value(text: str, *, complete: bool) -> Any:
    context = ParseContext(complete=complete)
    node = read_yaml("a.yaml", text, context)
    return None if node is None or context.problems else node.value


@pytest.mark.parametrize(
    "text",
    [
        *TEXTS,
        "a: yes\nb: 'yes'\nc: [no, NO]\nd: 007\ne: 1.50\nf: 2026-12-01\ng:\nh: ''\ni: ~",
        "a: &x 5\nb: *x\nc: &d: 6",
        "a: |+\n\n# kept\nb: |\n  one\n  two\nc: >-\n  three\n  four",
        "a: one line\u2028?\nb: 'up\x85on'\nc: \ufeffmark",
        'a: "\\u00e9\\/\\x41"\nb: {c: [1, {d: http://example.com:80/}]}',
        "a: !!int '5'\n? b\n: 6",
        "--- # first\na: 5\n...\n",
    ],
)
def test_a_published_text_has_the_values_that_were_checked(text: str) -> None:
    checked = value(text, complete=True)
    assert checked
    assert repr(value(text, complete=False)) == repr(checked)


@given(st.sampled_from(TEXTS), st.lists(st.tuples(st.integers(0, 20_000), INSERTS), max_size=4))
def test_any_text_that_passes_the_check_has_the_same_values_once_published(
    text: str, edits: list[tuple[int, str]]
) -> None:
    for at, insert in edits:
        place = at % len(text)
        text = text[:place] + insert + text[place:]
    checked = value(text, complete=True)
    assert checked is None or repr(value(text, complete=False)) == repr(checked)


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: " + "{b: " * 100_000])
def test_deep_nesting_is_a_problem_and_no_crash(text: str) -> None:
    context = ParseContext()
    assert read_yaml("a.yaml", text, context) is None
    assert [problem.line for problem in context.problems] == [1]
