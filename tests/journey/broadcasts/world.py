"""Build a context with a published broadcast, and read who got it."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Final

from nurture.db.engine import Database
from nurture.journey.broadcasts import release
from nurture.publishing import publish
from nurture.runtime.context import AppContext
from tests.journey.builders import START, make_context, sample_rules
from tests.journey.observe import RecordingProvider, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NAME: Final = "spring"
TEN: Final = START + 2 * HOUR
"""When the broadcast is sent to leads in UTC, on a Monday; leads farther east get it up to 14 hours earlier."""

YAML: Final = """
name: spring
audience: {field: city, is: Kiel}
topic: Webinars
when: 2026-01-05 10:00
zone: UTC
not_after: 2026-01-07 12:00
"""


def broadcast_rules(more: str = "", text: str = "Hello.", front: str = "") -> dict[str, str]:
    """Return the sample rules with the broadcast; *more* goes into its YAML, *front* into the front matter."""
    email = f"---\nsubject: Spring\npreheader: News\n{front}---\n{text}\n"
    files = {"broadcasts/spring/broadcast.yaml": YAML + more, "broadcasts/spring/invitation.md": email}
    return sample_rules() | files


def make_broadcast(db: Database, tmp_path: Path, rules: dict[str, str] | None = None) -> AppContext:
    """Return a context in which the broadcast is published; its provider records what it is given."""
    ctx = make_context(db, tmp_path, rules=rules or broadcast_rules())
    ctx.provider = RecordingProvider()
    return ctx


def republish(ctx: AppContext, rules: dict[str, str]) -> None:
    """Publish changed rules."""
    publish.publish(ctx, rules, TEN)


def send(ctx: AppContext) -> release.Released:
    """Release the broadcast at START."""
    return release.release(ctx, NAME, "mara", START)


def recipients(ctx: AppContext) -> Counter[int]:
    """Return how often each lead was sent the broadcast."""
    found = rows(ctx, "SELECT lead_id FROM message WHERE kind = 'broadcast' AND accepted_at IS NOT NULL")
    return Counter(lead for (lead,) in found)


def states(ctx: AppContext) -> dict[int, str]:
    """Return the state and reason of the broadcast's message by lead."""
    query = "SELECT lead_id, state, coalesce(reason, '') FROM message WHERE kind = 'broadcast' ORDER BY lead_id"
    return {lead: f"{state} {reason}".strip() for lead, state, reason in rows(ctx, query)}
