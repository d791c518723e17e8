"""The ledger at the end of each day, counted from the journal alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import select

from nurture.db.tables import leads as lead_tables
from nurture.db.tables.base import table
from nurture.domain.lead import Custodian
from nurture.runtime.context import AppContext

journal = table(lead_tables.Journal)
lead = table(lead_tables.Lead)


@dataclass(frozen=True, slots=True)
class DayBalance:
    """All leads at the end of one day (UTC), and their custodians."""

    day: date
    leads: int
    new_leads: int
    custody: dict[str, int]

    @property
    def residual(self) -> int:
        """Return the number of leads without a custodian."""
        return self.leads - sum(self.custody.values())


def ledger_by_day(ctx: AppContext, since: date | None = None, until: date | None = None) -> list[DayBalance]:
    """Return the balance of each day from *since*, or the first lead, to *until*, or the last change."""
    changes: Any = select(journal.c.at, journal.c.custody_from, journal.c.custody_to)
    with ctx.database.read() as tx:
        new_leads = Counter(at.date() for at in tx.execute(select(lead.c.created_at)).scalars())
        moves: dict[date, Counter[str]] = {}
        for at, source, target in tx.execute(changes.where(journal.c.custody_to.is_not(None))):
            day = moves.setdefault(at.date(), Counter())
            day[target] += 1
            if source is not None:
                day[source] -= 1
    days = {*new_leads, *moves}
    if not days:
        return []
    leads, kinds, balances = 0, Counter[str](), []
    for number in range(((until or max(days)) - min(days)).days + 1):
        today = min(days) + timedelta(days=number)
        leads += new_leads[today]
        kinds.update(moves.get(today, {}))
        if since is None or today >= since:
            custody = {kind.value: kinds[kind.value] for kind in Custodian}
            balances.append(DayBalance(today, leads, new_leads[today], custody))
    return balances
