"""The published versions of a track: list them, and publish an earlier one again."""

from datetime import datetime

from nurture.db.transaction import Transaction
from nurture.definitions import read_all
from nurture.definitions.read_all import ProjectDefinitions
from nurture.errors import InvalidState, NotFound, suggest
from nurture.publishing.publish import PublicationPlan, PublishedChange, plan_effects, publish_loaded, reduce_to
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.publication_queries import ListedVersion


def list_versions(ctx: AppContext, track: str) -> list[ListedVersion]:
    """Return every published version of *track*, the newest first. Raises NotFound."""
    with ctx.database.read() as tx:
        found = publication_queries.list_changes(tx, "track", track)
        if not found:
            raise _unknown(tx, track)
    return found


def preview_roll_back(
    ctx: AppContext, track: str, version: int, now: datetime, limit: int | None = None
) -> PublicationPlan:
    """Return what `roll_back` would change, and what that does to the leads if nobody acts. Raises as it.

    *limit* is that of `preview_effects`.
    """
    with ctx.database.read() as tx:
        loaded = _load(tx, track, version)
        plan = plan_effects(ctx, tx, loaded, now, only=[track], limit=limit)
    _require_change(plan.changes, track, version)
    return plan


def roll_back(ctx: AppContext, track: str, version: int, now: datetime, by: str = "") -> PublishedChange:
    """Publish an earlier *version* of *track* again, as its newest version; known leads that fit it are not taken in.

    *by* is the user of the console.

    Raises NotFound for an unknown track or version, and InvalidState if it is what is in force, lacks a step with leads
    on it, or leads to a track that is not published any more.
    """
    with ctx.database.read() as tx:
        loaded = _load(tx, track, version)
    changes = publish_loaded(ctx, loaded, now, only=[track], take_in=None, by=by)
    _require_change(changes, track, version)
    return changes[0]


def _require_change(changes: list[PublishedChange], track: str, version: int) -> None:
    if not changes:
        raise InvalidState(f"Version {version} of track {track} has the same content as the one in force.")


def _load(tx: Transaction, track: str, version: int) -> ProjectDefinitions:
    row = publication_queries.find_version(tx, "track", track, version)
    if row is None:
        versions = [str(number) for number, _ in publication_queries.list_versions(tx, "track", track)][::-1]
        if not versions:
            raise _unknown(tx, track)
        raise NotFound(f"Track {track} has no version {version}. It has: {', '.join(versions)}.")
    loaded = read_all.load(publication_queries.load_sources(tx, row.id), complete=False)
    return reduce_to(loaded, [track])


def _unknown(tx: Transaction, track: str) -> NotFound:
    published = {row.name for row in publication_queries.load_newest_versions(tx) if row.kind == "track"}
    return NotFound(f"No track {track} is published. {suggest(track, published)}")
