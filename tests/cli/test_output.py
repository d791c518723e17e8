"""The layout of results in a terminal."""

from __future__ import annotations

from io import StringIO
from typing import Final

import pytest
from rich.console import Console

from nurture.cli import output

LINE: Final = output.out.width


def _shown(*rows: tuple[str, ...], names: tuple[str, ...] = ("name", "state", "why")) -> str:
    printed = StringIO()
    Console(file=printed, width=LINE).print(output.make_table(names, rows))
    assert max(map(len, printed.getvalue().splitlines())) <= LINE
    return printed.getvalue()


def test_a_short_line_breaks_cells_between_words() -> None:
    shown = _shown(("Mara Lindqvist", "discarded", "was there " * LINE))
    for word in ("Lindqvist", "discarded"):
        assert word in shown


def test_a_word_longer_than_any_line_is_folded_and_loses_nothing() -> None:
    shown = _shown(("x" * LINE, "z" * LINE, "-"))
    assert (shown.count("x"), shown.count("z")) == (LINE, LINE)


def test_marks_and_wide_letters_in_a_cell_are_unchanged() -> None:
    shown = _shown(("[bold]x[/]", "田辺ゆき", "-"))
    for cell in ("[bold]x[/]", "田辺ゆき"):
        assert cell in shown


def test_nothing_is_cut_off_at_the_right_where_a_table_just_fits_or_just_does_not() -> None:
    for words in range(LINE // 8 - 2, LINE // 8 + 2):
        names = tuple(f"one{place:03}" for place in range(words))
        shown = "".join(_shown(tuple("a b" for _ in names), names=names).split())
        assert shown.count("b") == words
        assert _shown(names, ("x y z w v u t",) * words, names=names).count("t") == words


def test_a_column_of_times_stays_whole_while_the_others_wrap() -> None:
    row = ("Tue 08 Dec 2026 10:00", "email c", "moved to Tuesday 8 December: already 2 emails in 7 days " * 2)
    printed = StringIO()
    Console(file=printed, width=LINE).print(output.make_table(("when", "event", "reason"), [row], whole=("when",)))
    assert row[0] in printed.getvalue()


def test_a_reference_is_printed_as_it_is_and_not_as_an_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    output.out.print("touch:100:05-x:1")
    assert capsys.readouterr().out == "touch:100:05-x:1\n"
