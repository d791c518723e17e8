"""Once a night: prove that no lead fell between, and leave the ledger as a table."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Failed

from flows.shell import Counts, gather, leave_table, opened, run_name, shard_task
from nurture.reporting.audit import Audit, audit


@shard_task("audit", minutes=30)
def audit_shard(shard: int, at: str | None) -> Audit:
    """Count every lead twice, and look for every way to leak. Only reads."""
    with opened(at) as (house, now):
        seen = audit(house, now)
    found = sum(one.count for one in seen.findings)
    line = "shard %d: %d leads, residual %d, findings %d"
    get_run_logger().info(line, shard, seen.total.leads, seen.total.residual, found)
    return seen


@flow(name="report", flow_run_name=run_name, timeout_seconds=3_600)
async def audit_ledger(at: str | None = None) -> Counts | State[Any]:
    """Audit the ledger; fail if it does not close. *at* replays a moment (ISO) of a virtual clock."""
    [seen] = await gather(audit_shard, 1, at)
    balances = (*seen.by_source, seen.total)
    rows = [
        {"source": one.name, "leads": one.leads, **one.custody, "residual": one.residual} for one in balances
    ]
    await leave_table("nurture-ledger", rows, at)
    found = [{"finding": one.what, "count": one.count, "remedy": one.remedy} for one in seen.findings]
    if found:
        await leave_table("nurture-findings", found, at)
    _tell(seen)
    if not seen.ok:
        return Failed(
            message="The ledger does not close, or a promise is broken: `nurture reports audit` says where."
        )
    return {"leads": seen.total.leads, **seen.total.custody, "residual": seen.total.residual}


def _tell(seen: Audit) -> None:
    """Emit what automations of Prefect can act on: `nurture.audit.closed` or `nurture.audit.broken`."""
    findings = {one.kind: one.count for one in seen.findings}
    emit_event(
        event=f"nurture.audit.{'closed' if seen.ok else 'broken'}",
        resource={"prefect.resource.id": "nurture.ledger", "prefect.resource.name": "the ledger"},
        payload={"leads": seen.total.leads, "residual": seen.total.residual, "findings": findings},
    )
