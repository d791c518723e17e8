"""Find what differs between a folder and what is live, besides what is published now."""

from collections.abc import Collection

from nurture.definitions import read_all
from nurture.definitions.folder import Sources
from nurture.journey.leads import enrollment_queries, stop_queries
from nurture.publishing.publish import SINGLE_FILES
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.publication_queries import POLICY
from nurture.runtime.published import BROADCAST, FIELDS, SENDING


def find_removed_tracks(ctx: AppContext, sources: Sources) -> dict[str, int]:
    """Return the published tracks that are missing in *sources* and not stopped, and the number of leads on each.

    They stay published and still enroll leads: the folder may have been deleted by mistake.
    """
    with ctx.database.read() as tx:
        published = [row.name for row in publication_queries.load_newest_versions(tx) if row.kind == "track"]
        leads_per_step = enrollment_queries.count_leads_by_step(tx)
        stops = stop_queries.load_stops(tx)
    removed = [name for name in published if f"tracks/{name}/track.yaml" not in sources and name not in stops]
    return {name: sum(count for (on, _), count in leads_per_step.items() if on == name) for name in removed}


def find_unpublished(ctx: AppContext, sources: Sources, only: Collection[str]) -> list[str]:
    """Return what else than the tracks *only* differs from its published version, as far as it can be read."""
    loaded = read_all.read(sources)[0]
    digests = {("track", name): track.digest for name, track in loaded.tracks.items() if name not in only}
    digests |= {(BROADCAST, name): one.digest for name, one in loaded.broadcasts.items() if name not in only}
    digests |= {(POLICY, POLICY): loaded.policy_digest, (SENDING, SENDING): loaded.sending_digest}
    digests[FIELDS, FIELDS] = loaded.fields_digest
    with ctx.database.read() as tx:
        published = {(row.kind, row.name): row.digest for row in publication_queries.load_newest_versions(tx)}
    return sorted(name for (kind, name), digest in digests.items() if digest and published.get((kind, name)) != digest)


def find_kept_files(ctx: AppContext, sources: Sources) -> list[str]:
    """Return the files whose published version stays in force because *sources* have none."""
    with ctx.database.read() as tx:
        published = {row.kind for row in publication_queries.load_newest_versions(tx)}
    return [path for kind, path in SINGLE_FILES.items() if kind in published and path not in sources]
