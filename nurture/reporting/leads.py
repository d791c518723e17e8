"""The list of leads, and the current score and fit of a lead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, full_name
from nurture.domain.scoring.scoring import Points
from nurture.errors import NotFound, suggest
from nurture.journey.leads import history_queries
from nurture.journey.leads.history_queries import LIST_ORDERS, LeadRecord
from nurture.runtime.context import AppContext


@dataclass(frozen=True, slots=True)
class LeadRow:
    """One lead, its custodian and its next action; *due_at* None means never. *step* is that of its track."""

    id: int
    name: str
    email: str
    company: str
    source: str
    custodian: str
    ref: str
    step: str
    next_action: str
    due_at: datetime | None
    engagement: float


def list_leads(
    ctx: AppContext,
    now: datetime,
    *,
    custodian: str | None = None,
    track: str | None = None,
    source: str | None = None,
    queue: str | None = None,
    find: str = "",
    order: str = "due",
    offset: int = 0,
    limit: int = 50,
) -> list[LeadRow]:
    """Return leads whose name, company or address contains all words of *find*, by default earliest due first.

    Raises NotFound for an unknown custodian or order.
    """
    known = [kind.value for kind in Custodian]
    if custodian is not None and custodian not in known:
        raise NotFound(f"There is no custodian {custodian!r}.", suggest(custodian, known))
    if order not in LIST_ORDERS:
        raise NotFound(f"Leads cannot be sorted by {order!r}.", suggest(order, LIST_ORDERS))
    chosen = {"custodian": custodian, "track": track, "source": source, "queue": queue}
    with ctx.database.read() as tx:
        rows = history_queries.list_leads(tx, **chosen, words=find.split(), order=order, offset=offset, limit=limit)
        return describe_rows(ctx, tx, rows, now)


def describe_rows(
    ctx: AppContext, tx: Transaction, rows: Sequence[tuple[LeadRecord, str]], now: datetime
) -> list[LeadRow]:
    """Return what a list shows of leads, each with its step, in this order."""
    points = load_points(ctx, tx)
    return [
        LeadRow(
            row.id,
            full_name(row.fields),
            row.email or "",
            str(row.fields.get("company") or ""),
            row.source,
            row.kind or "nobody",
            row.ref or "",
            step,
            row.next_action or "",
            row.due_at,
            row.score_at(points, now),
        )
        for row, step in rows
    ]


def load_points(ctx: AppContext, tx: Transaction) -> Points:
    """Return the points of signals in the published policy; the defaults without one."""
    definitions = ctx.definitions.find_current(tx)
    return definitions.policy.points if definitions is not None else Points()


def load_fit(ctx: AppContext, tx: Transaction, row: LeadRecord) -> tuple[str, str]:
    """Return the lead's fit letter and its reason; ("", "") if the policy grades no fit."""
    definitions = ctx.definitions.find_current(tx)
    return definitions.policy.grade(row.fields) if definitions is not None else ("", "")
