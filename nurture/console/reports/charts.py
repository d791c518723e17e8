"""Charts as SVG in the page: bars over days or names. A table beside a chart says the same to screen readers."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup
from nicegui import ui

from nurture.console import components

_WIDTH: Final = 600
_HEIGHT: Final = 120
_FEW: Final = 14
"""Bars that are drawn below each other, each with its name."""

_GAP: Final = 0.2
"""The part of a bar's place that is left empty."""

_RECT: Final = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>')


class Bar(NamedTuple):
    """A bar: its name, its value, and the part of the value that is drawn in the color of problems."""

    name: str
    value: float
    bad: float = 0.0


def bars(title: str, values: Sequence[Bar]) -> None:
    """Draw a bar for each value: a few below each other, many side by side, the first and the last with its name."""
    if len(values) <= _FEW:
        _draw_rows(values)
        return
    most = max(1, *(one.value for one in values))
    place = _WIDTH / len(values)
    drawn = []
    for at, one in enumerate(values):
        for kind, value in (("bar", one.value), ("bar bad", one.bad)):
            height, text = value / most * _HEIGHT, f"{one.name}: {_format(value)}"
            drawn.append(_RECT.format(kind, at * place, _HEIGHT - height, place * (1 - _GAP), height, text))
    svg = Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, f"{title}: at most {_format(most)}", Markup("").join(drawn)
    )
    legend = Markup('<div class="axis"><span>{}</span><span>{}</span><span>{}</span></div>').format(
        values[0].name, f"at most {_format(most)}", values[-1].name
    )
    ui.html(svg + legend, sanitize=False).classes("chart")  # every value in it is escaped above


def _draw_rows(values: Sequence[Bar]) -> None:
    most = max([1, *(one.value for one in values)])
    with components.block("pipeline", "ul"):
        for one in values:
            with components.block("stage", "li"):
                components.write("span", one.name)
                with components.block("stage-bar") as bar:
                    bar.style(f"--share: {one.value / most:.3f}")
                components.write("span", _format(one.value), "number")


def _format(value: float) -> str:
    return f"{value:,.1f}" if value % 1 else f"{value:,.0f}"
