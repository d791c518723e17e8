"""One track as a map of its steps, top to bottom, with what happened on each and who is there now."""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Final

from nicegui import ui

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.tracks import draw_count, draw_counts, draw_periods, draw_worst, read_days
from nurture.console.reports.people import within_days
from nurture.console.view import View
from nurture.domain.planning.program import FINALLY, ToTrack
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.reporting.console.step_cards import Card, CardKind
from nurture.reporting.console.track_map import StepCounts, TrackMap, load_track_map

_KINDS: Final = {
    CardKind.EMAIL: "Email",
    CardKind.WAIT: "Wait",
    CardKind.BRANCH: "Branch",
    CardKind.SPLIT: "Split",
    CardKind.REPEAT: "Repeat",
    CardKind.HAND_OFF: "Hand-off",
    CardKind.SET: "Field",
    CardKind.END: "End",
}


_END_WORDS: Final = {
    "goal": "reached the goal",
    "exit": "met a condition to leave",
    "interrupted": "stayed on another track",
    "queue suppressed": "opted out or cannot be reached",
    "discarded": "disqualified",
}
"""Why stays end, in the words of the page; the others are as the journal has them."""


def _load(request: PageRequest) -> tuple[TrackMap, int]:
    days, version = read_days(request), addresses.read_number(request.values, "version")
    with request.ctx.database.read() as tx:
        found = load_track_map(request.ctx, tx, request.values["track"], request.now, days, version)
    return found, days


def _render(view: View, data: tuple[TrackMap, int]) -> None:
    found, days = data
    tile = found.tile
    if tile.stopped:
        components.notice(tile.stopped, "warning")
    with components.card(classes="head"):
        components.paragraph(tile.goal)
        with components.block("buttons"):
            components.link("Simulate", addresses.of_simulation(tile.name), "button quiet")
            components.link("Text", addresses.of_track_source(tile.name, tile.version), "button quiet")
            components.link("Edit", addresses.of_file(f"tracks/{tile.name}/track.yaml"), "button quiet")
            components.link("Versions", addresses.of_versions(tile.name), "button quiet")
            view.action_button("copy_track", tile.name)
            view.action_button("start_track" if tile.stopped else "stop_track", tile.name)
    with components.block("switches"):
        version = view.values.get("version", "")
        draw_periods(addresses.of_track(tile.name) + "?days={}", 0 if version else days)
        _draw_versions(found, version)
    draw_worst(found.worst, found.since)
    with components.block("map"):
        with components.block("step entry"):
            components.write("span", "Entry", "step-kind")
            components.write("strong", f"Takes {'customers' if tile.for_customers else 'leads'}: {tile.audience}")
            draw_counts(tile, found.since)
            for condition, to in found.exits:
                components.paragraph(f"Leaves by {condition} → {to}", "soft")
        _draw_cards(found, found.cards)
    if found.others:
        with components.card("Steps that this version does not have"):
            for step, counts in found.others.items():
                with components.block("step"):
                    components.write("strong", step)
                    _draw_numbers(found, step, counts)


def _draw_versions(found: TrackMap, chosen: str) -> None:
    if len(found.versions) < 2:
        return
    with components.block("switch", "nav") as drawn:
        drawn.props["aria-label"] = "Since a version"
        for number, at in found.versions[:6]:
            label = f"since version {number} ({at:%d %b})"
            one = components.link(label, addresses.of_track(found.tile.name, version=number))
            if chosen == str(number):
                one.props["aria-current"] = "true"


def _draw_cards(found: TrackMap, cards: tuple[Card, ...]) -> None:
    for card in cards:
        counts = found.counts.get(card.step, StepCounts())
        with components.block(f"step {card.kind.value} level-{counts.level}"):
            components.write("span", _KINDS[card.kind], "step-kind")
            _draw_title(found, card)
            if card.detail:
                components.paragraph(card.detail, "soft")
            _draw_numbers(found, card.step, counts)
        if card.ways:
            with components.block("ways" if len(card.ways) > 1 else "ways single"):
                for number, way in enumerate(card.ways):
                    with components.block("way"):
                        components.write("span", way.label, "way-label")
                        _draw_share(found, card.step, counts.ways, number)
                        _draw_cards(found, way.cards)
                        if not way.cards:
                            components.paragraph("goes on below", "soft")


def _draw_share(found: TrackMap, step: str, ways: Mapping[int, int], number: int) -> None:
    """Draw how many of those who passed a fork took the way, and their share; it leads to them."""
    if passed := sum(ways.values()):
        taken = ways.get(number, 0)
        with components.block("share"):
            bar = ui.element("meter").props(f"min=0 max=1 value={taken / passed:.3f}")
            bar.props["aria-label"] = "Share of this way"
            took = LeadFilter(track=found.tile.name, step=step, way=number)
            people = addresses.of_leads(within_days(took, found.since, None))
            text = f"{taken / passed:.0%}: {taken:,} of {passed:,}"
            components.link(text, people) if taken else components.write("span", text)


def _draw_title(found: TrackMap, card: Card) -> None:
    if card.emails:
        href = addresses.of_email(found.tile.name, card.emails[0], version=found.tile.version)
        components.link(card.title, href, "step-title")
    elif isinstance(card.to, ToTrack):
        components.link(card.title, addresses.of_track(card.to.track), "step-title")
    else:
        components.write("strong", card.title, "step-title")


def _draw_numbers(found: TrackMap, step: str, counts: StepCounts) -> None:
    track, since = found.tile.name, datetime.combine(found.since, time.min, UTC)

    def people(did: str) -> str:
        return addresses.of_leads(LeadFilter(track=track, step=step, did=did, since=since))

    numbers = [
        ("here now", counts.here, addresses.of_leads(LeadFilter(track=track, step=step))),
        ("with sales", counts.with_sales, addresses.of_leads(LeadFilter(track=track, step=step))),
        ("sent", counts.sent, people("emailed")),
        (_rate("clicked", counts.clicked, counts.sent), counts.clicked, people("clicked")),
        (_rate("replied", counts.replied, counts.sent), counts.replied, people("replied")),
        ("handed off", counts.handed_off, people("handed_off")),
        ("reached the goal", counts.goals, people("reached_goal")),
        ("went on", counts.left_in_all - counts.goals - counts.lost, people("went_on")),
        (_lost_label(found, counts), counts.lost, people("lost")),
    ]
    if any(number for _, number, _ in numbers):
        with components.block("counts"):
            for label, number, href in numbers:
                if number:
                    draw_count(label, number, href)
    if counts.level:
        usual = f"{counts.usually_delayed:,.0f} in a usual week"
        components.paragraph(f"Held {counts.delayed:,} times this week by caps, stops or full reps; {usual}", "delay")
    if reasons := ", ".join(f"{number:,} {_END_WORDS.get(one, one)}" for one, number in sorted(counts.left.items())):
        components.paragraph(f"Left: {reasons}", "soft")
    if step in found.counts and step != FINALLY:
        source = components.link("Text", addresses.of_track_source(track, found.tile.version, step), "step-source")
        source.props["aria-label"] = f"Text of the step {step}"


def _lost_label(found: TrackMap, counts: StepCounts) -> str:
    of = found.worst.of if found.worst is not None else 0
    return f"lost, {counts.lost / of:.0%} of all lost" if of else "lost"


def _rate(label: str, part: int, whole: int) -> str:
    return f"{label}, {part / whole:.0%}" if whole else label


PAGE: Final = Page("/tracks/{track}", "Track", ALL_BUT_REPS, _load, _render, name=lambda data: data[0].tile.name)
