"""All tracks on one sheet, with the arrows between them."""

from collections import defaultdict
from datetime import UTC, date, datetime, time
from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.reporting.console.track_map import PERIODS, Arrow, Loss, TrackSheet, TrackTile, load_track_sheet
from nurture.reporting.wording import pluralize

_LEVELS: Final = ("", "more wait than usual", "far more wait than usual")


def read_days(request: PageRequest) -> int:
    """Return the period in the address, in days."""
    days = addresses.read_number(request.values, "days", 30)
    return days if days in PERIODS else 30


def _load(request: PageRequest) -> TrackSheet:
    with request.ctx.database.read() as tx:
        return load_track_sheet(request.ctx, tx, request.now, read_days(request))


def _render(view: View, sheet: TrackSheet) -> None:
    days = int(view.values.get("days", "30") or 30) if view.values.get("days", "30").isdecimal() else 30
    draw_periods("/tracks?days={}", days)
    if not sheet.tracks:
        components.empty("No track is published. Run `nurture publish`.")
        return
    arrows: dict[str, list[Arrow]] = defaultdict(list)
    entering: dict[str, list[Arrow]] = defaultdict(list)
    for one in sheet.arrows:
        arrows[one.source].append(one)
        entering[one.target].append(one)
    draw_worst(sheet.worst, sheet.since)
    tiles = {tile.name: tile for tile in sheet.tracks}
    with components.block(f"sheet of-{len(sheet.columns)}"):
        for column in sheet.columns:
            with components.block("sheet-column"):
                for name in column:
                    _draw_tile(tiles[name], sheet.since, arrows[name], entering[name])


def draw_worst(worst: Loss | None, since: date) -> None:
    """Draw in a sentence which step lost most leads since *since*."""
    with components.card(classes="finding"):
        if worst is None:
            components.paragraph(f"No step lost anybody since {since.day} {since:%B}.")
        else:
            begins = datetime.combine(since, time.min, UTC)
            chosen = LeadFilter(track=worst.track, step=worst.step, did="lost", since=begins)
            with components.block("", "p"):
                components.write("strong", "Most people are lost at the step ")
                components.link(worst.step, addresses.of_track(worst.track))
                components.write("strong", f" of {worst.track}: ")
                components.link(f"{worst.lost:,} of {worst.of:,}", addresses.of_leads(chosen))
                ties = f"; {pluralize(worst.ties, 'other step')} lost as many" if worst.ties else ""
                share = f" that were lost since {since.day} {since:%B}, {worst.lost / worst.of:.0%}{ties}."
                components.write("span", share)
        components.paragraph("Lost: they left, and neither sales nor another track took them.", "soft")


def draw_periods(address: str, days: int, label: str = "Period") -> None:
    """Draw the switch between the periods; *address* has a place for the days."""
    with components.block("switch", "nav") as drawn:
        drawn.props["aria-label"] = label
        for period in PERIODS:
            one = components.link(f"{period} days", address.format(period))
            if period == days:
                one.props["aria-current"] = "true"


def _draw_tile(tile: TrackTile, since: date, leaving: list[Arrow], entering: list[Arrow]) -> None:
    with components.card(classes=f"tile level-{tile.counts.level}") as card:
        card.props["data-track"] = tile.name
        card.props["data-to"] = " ".join(one.target for one in leaving)
        with components.block("tile-head"):
            components.link(tile.name, addresses.of_track(tile.name), "tile-name")
            if tile.stopped:
                components.write("span", "stopped", "badge bad")
            if tile.counts.level:
                components.write("span", _LEVELS[tile.counts.level], "badge warn")
        components.paragraph(tile.goal)
        components.paragraph(f"Takes {'customers' if tile.for_customers else 'leads'}: {tile.audience}", "soft")
        draw_counts(tile, since)
        with components.block("arrows", "ul"):
            for one in entering:
                with components.block("", "li"):
                    components.write("span", "← from ")
                    components.link(one.source, addresses.of_track(one.source))
                    components.write("span", f" ({one.label})", "soft")
            for one in leaving:
                with components.block("", "li"):
                    if one.target:
                        components.write("span", "→ to ")
                        components.link(one.target, addresses.of_track(one.target))
                        components.write("span", f" ({one.label})", "soft")
                    else:
                        components.write("span", f"→ {one.label}")


def draw_counts(tile: TrackTile, since: date) -> None:
    """Draw the numbers of a track since *since* (UTC), each of which leads to its people."""
    counts, begins = tile.counts, datetime.combine(since, time.min, UTC)

    def people(did: str) -> str:
        return addresses.of_leads(LeadFilter(track=tile.name, did=did, since=begins))

    with components.block("counts"):
        href = addresses.of_leads(LeadFilter(track=tile.name)) if counts.here + counts.with_sales else ""
        draw_count("here now", counts.here, href)
        draw_count("with sales", counts.with_sales, href)
        draw_count("emails", counts.sent, people("emailed"))
        draw_count("clicked", counts.clicked, people("clicked"))
        draw_count("replied", counts.replied, people("replied"))
        draw_count("handed off", counts.handed_off, people("handed_off"))
        draw_count("left", counts.left_in_all, people("left"))


def draw_count(label: str, value: int, href: str = "") -> None:
    """Draw a small number with its label; with *href* it leads to the people behind it."""
    with components.block("count"):
        if href and value:
            components.link(f"{value:,}", href, "count-value")
        else:
            components.write("span", f"{value:,}", "count-value")
        components.write("span", label, "count-label")


PAGE: Final = Page("/tracks", "Tracks", ALL_BUT_REPS, _load, _render, "Tracks", 20)
