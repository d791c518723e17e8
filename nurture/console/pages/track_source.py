"""The text of a track as it was published, with the lines of a step marked."""

from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.reporting.console.track_source import TrackSource, load_track_source


def _load(request: PageRequest) -> TrackSource:
    version = addresses.read_number(request.values, "version")
    with request.ctx.database.read() as tx:
        return load_track_source(tx, request.values["track"], version, request.values.get("step", ""))


def _render(view: View, found: TrackSource) -> None:
    with components.block("", "p"):
        components.link(found.track, addresses.of_track(found.track))
        components.write("span", f" · version {found.version}, {found.path} · ", "soft")
        components.link("Edit it in the folder", addresses.of_file(found.path))
    if step := view.values.get("step", ""):
        where = f"begins in line {found.marked}" if found.marked else "is written by the lines of others"
        components.paragraph(f"The step {step} {where}.")
    with components.block("card source") as region, components.block("", "ol"):
        region.props("tabindex=0 role=region")
        region.props["aria-label"] = f"Text of {found.track}"
        for number, line in enumerate(found.lines, 1):
            components.write("li", line or " ", "marked" if number == found.marked else "")


PAGE: Final = Page(
    "/tracks/{track}/source", "Text", ALL_BUT_REPS, _load, _render, name=lambda found: f"Text of {found.track}"
)
