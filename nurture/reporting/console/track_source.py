"""The text of a published version of a track, with the lines of one step."""

from dataclasses import dataclass

from nurture.db.transaction import Transaction
from nurture.definitions.folder import TRACKS
from nurture.definitions.steps import find_step_lines
from nurture.errors import NotFound
from nurture.runtime import publication_queries


@dataclass(frozen=True, slots=True)
class TrackSource:
    """The lines of *path*. *marked* is the number of the line on which the step begins, 0 without one."""

    track: str
    version: int
    path: str
    lines: tuple[str, ...]
    marked: int


def load_track_source(tx: Transaction, track: str, version: int | None, step: str = "") -> TrackSource:
    """Return the text of *version* of *track*, None being the newest. Raises NotFound."""
    versions = [number for number, _ in publication_queries.list_versions(tx, "track", track)]
    if not versions:
        raise NotFound(f"No track {track} is published.")
    found = publication_queries.find_version(tx, "track", track, version if version is not None else versions[0])
    if found is None:
        known = ", ".join(map(str, versions))
        raise NotFound(f"Track {track} has no version {version}. It has: {known}.")
    path = f"{TRACKS}{track}/track.yaml"
    text = publication_queries.load_sources(tx, found.id)[path]
    marked = find_step_lines(path, text).get(step, 0) if step else 0
    return TrackSource(track, found.version, path, tuple(text.splitlines()), marked)
