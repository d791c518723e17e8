"""Names of emails, steps and queues as people read them."""

from __future__ import annotations

import pytest

from nurture.domain.code_names import readable, readable_title


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("04-when-do-you-decide", "when do you decide"),
        ("02b-case", "case"),
        ("wait-after-04-when-do-you-decide", "wait after when do you decide"),
        ("keep_warm", "keep warm"),
        ("news-2026", "news 2026"),
        ("90-days", "days"),
    ],
)
def test_a_name_is_read_as_words(name: str, words: str) -> None:
    assert readable(name) == words


def test_a_title_begins_with_a_capital() -> None:
    assert readable_title("manager-decision") == "Manager decision"
    assert readable_title("") == ""
