"""What intake made of the registrants of a webinar."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import select

from nurture.db.tables.leads import journal, lead
from nurture.runtime.context import AppContext


@dataclass(frozen=True)
class WebinarReport:
    """Leads of one webinar by attendance and readiness rule.

    *custodian* counts (attended, custody kind): "queue" for hand-offs, "closed" for discarded leads.
    """

    attended: int
    missed: int
    rules: Counter[tuple[bool, str]]
    custodian: Counter[tuple[bool, str]]


def report_webinar(ctx: AppContext, source: str) -> WebinarReport:
    """Count the leads of *source* by their newest classification."""
    query = (
        select(lead.c.id, lead.c.fields, lead.c.readiness, journal.c.custody_to)
        .join(journal, (journal.c.lead_id == lead.c.id) & (journal.c.stage == "enroll"))
        .where(lead.c.source == source, journal.c.event.in_(("classified", "hand_off")))
        .order_by(journal.c.id)
    )
    with ctx.database.read() as tx:
        placed = {row[0]: (bool(row[1].get("attended")), row[2], row[3]) for row in tx.execute(query)}
    attended_count = sum(attended for attended, _, _ in placed.values())
    return WebinarReport(
        attended=attended_count,
        missed=len(placed) - attended_count,
        rules=Counter((attended, rule) for attended, rule, _ in placed.values()),
        custodian=Counter((attended, to) for attended, _, to in placed.values()),
    )
