"""Positions of leads on their tracks."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import FromClause, Select, delete, exists, func, or_, select

from nurture.db.row_values import column_types
from nurture.db.tables.leads import custody
from nurture.db.tables.tracks import audience_exclusion, enrollment
from nurture.db.transaction import Transaction
from nurture.domain.lead import Resting
from nurture.journey.leads.custody import bring_forward


def count_leads_by_step(tx: Transaction) -> dict[tuple[str, str], int]:
    """Return how many leads are at each (track, step) now."""
    statement = (
        select(enrollment.c.track, enrollment.c.step, func.count())
        .where(enrollment.c.ended_at.is_(None))
        .group_by(enrollment.c.track, enrollment.c.step)
    )
    return {(track, step): count for track, step, count in tx.execute(statement)}


def list_leads_on(tx: Transaction, tracks: Sequence[str]) -> list[int]:
    """Return the leads on these tracks, also those whose stay there another track interrupted."""
    open_stays = (enrollment.c.ended_at.is_(None), enrollment.c.track.in_(tracks))
    return list(tx.execute(select(enrollment.c.lead_id).where(*open_stays).distinct()).scalars())


def load_exclusions(tx: Transaction, lead_ids: Sequence[int]) -> dict[int, frozenset[str]]:
    """Return the tracks that each lead may not enter before their audience was once false for it."""
    found: dict[int, frozenset[str]] = {}
    for lead_id, track in tx.execute_for(_exclusions_query, lead_ids):
        found[lead_id] = found.get(lead_id, frozenset()) | {track}
    return found


def _exclusions_query(chosen: FromClause) -> Select[tuple[int, str]]:
    excluded = audience_exclusion.c
    return select(excluded.lead_id, excluded.track).join(chosen, chosen.c.id == excluded.lead_id)


def exclude(tx: Transaction, rows: Sequence[tuple[int, str, datetime]]) -> None:
    """Keep leads out of tracks whose audience they fit already; *rows* are (lead id, track, time)."""
    tx.insert(audience_exclusion, ("lead_id", "track", "excluded_at"), rows, ignore_conflicts=True)


def clear_exclusions(tx: Transaction, tracks: Sequence[str]) -> None:
    """Forget which leads are kept out of *tracks*: their audiences are published anew."""
    tx.execute(delete(audience_exclusion).where(audience_exclusion.c.track.in_(tracks)))


def readmit(tx: Transaction, rows: Sequence[tuple[int, str]]) -> None:
    """Let leads enter tracks again; *rows* are (lead id, track)."""
    if rows:
        readmitted = tx.rows("readmitted", column_types(audience_exclusion, ("lead_id", "track")), rows)
        same = (audience_exclusion.c.lead_id == readmitted.c.lead_id, audience_exclusion.c.track == readmitted.c.track)
        tx.execute(delete(audience_exclusion).where(exists().where(*same)))


def make_tracks_due(tx: Transaction, tracks: Sequence[str] | None, now: datetime) -> None:
    """Make every lead on these tracks due now, None means all, and who rests for want of a track: one may fit now."""
    on_tracks = custody.c.kind == "track"
    resting = (custody.c.kind == "resting") & custody.c.ref.in_((Resting.CUSTOMER.value, Resting.NO_TRACK.value))
    bring_forward(tx, now, or_(resting, on_tracks if tracks is None else on_tracks & custody.c.ref.in_(tracks)))
