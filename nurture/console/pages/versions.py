"""The versions of a track: who published each and when, and an earlier one again with its effect shown first."""

from dataclasses import dataclass
from typing import Final

from nurture.console import addresses, components
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.change import MAX_FORECAST, draw_effects
from nurture.console.view import View
from nurture.errors import NotFound, NurtureError
from nurture.publishing import track_versions
from nurture.publishing.publish import PublicationPlan
from nurture.runtime.publication_queries import ListedVersion


@dataclass(frozen=True, slots=True)
class VersionsPage:
    """All versions; *plan* is what publishing version *back* again does, or *problem* why it would be refused."""

    track: str
    versions: list[ListedVersion]
    back: int | None
    plan: PublicationPlan | None = None
    problem: str = ""


def _load(request: PageRequest) -> VersionsPage:
    track, back = request.values["track"], addresses.read_number(request.values, "back")
    versions = track_versions.list_versions(request.ctx, track)
    if back is None:
        return VersionsPage(track, versions, back)
    try:
        plan = track_versions.preview_roll_back(request.ctx, track, back, request.now, MAX_FORECAST)
    except NotFound:
        raise
    except NurtureError as error:
        return VersionsPage(track, versions, back, problem=str(error))
    return VersionsPage(track, versions, back, plan)


def _render(view: View, page: VersionsPage) -> None:
    with components.block("", "p"):
        components.link(page.track, addresses.of_track(page.track))
        components.write("span", " · ")
        components.link("What the folder changes", addresses.of_change("track", page.track))
    if page.problem:
        components.notice(page.problem, "warning")
    if page.plan is not None:
        components.heading(f"Version {page.back} again")
        draw_effects(page.plan)
        with components.block("buttons"):
            choices = {"version": (str(page.back),), "seen": (str(page.versions[0].version),)}
            view.action_button("roll_back", page.track, f"Publish version {page.back} again", choices)
            components.link("Leave it", addresses.of_versions(page.track), "button quiet")
    newest = page.versions[0].version
    rows = [
        (
            components.Link(f"{one.version}", addresses.of_track(page.track)) if one.version == newest else one.version,
            components.Time(one.published_at),
            one.published_by or "the command line",
            ", ".join(one.changed_files),
            "live" if one.version == newest else _back(page.track, one.version),
        )
        for one in page.versions
    ]
    with components.card("All versions"):
        components.table(("Version", "Published", "By", "Changed files", "State"), rows, caption="Versions")


def _back(track: str, version: int) -> components.Link:
    return components.Link("Take it back to this", addresses.of_versions(track, back=version))


def _name(page: VersionsPage) -> str:
    return f"Versions of {page.track}"


PAGE: Final = Page("/tracks/{track}/versions", "Versions", ALL_BUT_REPS, _load, _render, name=_name)
