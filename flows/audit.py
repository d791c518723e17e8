"""Audit the ledger every night, and publish it as a table artifact."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Failed

from flows.shards import Counts, gather, open_context, publish_table, run_name, shard_task
from nurture.db import last_rounds
from nurture.reporting.audit import AuditReport, run_audit


@shard_task("audit", minutes=30)
def audit_shard(shard: int, at: str | None) -> AuditReport:
    """Run the audit, and record how it ended."""
    with open_context(at) as (ctx, now):
        result = run_audit(ctx, now)
        with ctx.database.write() as tx:
            if result.ok:
                last_rounds.note_success(tx, last_rounds.LEDGER, now)
            else:
                kinds = ", ".join(one.kind for one in result.findings)
                last_rounds.note_failure(tx, last_rounds.LEDGER, now, kinds or f"residual {result.total.residual}")
    found = sum(one.count for one in result.findings)
    line = "shard %d: %d leads, residual %d, findings %d"
    get_run_logger().info(line, shard, result.total.leads, result.total.residual, found)
    return result


@flow(name="audit", flow_run_name=run_name, timeout_seconds=3_600)
async def audit_ledger(at: str | None = None) -> Counts | State[Any]:
    """Audit the ledger; fail if it does not balance. *at* is a time (ISO) on a virtual clock."""
    [result] = await gather(audit_shard, 1, at)
    balances = (*result.by_source, result.total)
    rows = [{"source": one.name, "leads": one.leads, **one.custody, "residual": one.residual} for one in balances]
    await publish_table("nurture-ledger", rows, at)
    found = [{"finding": one.description, "count": one.count, "remedy": one.remedy} for one in result.findings]
    if found:
        await publish_table("nurture-findings", found, at)
    _emit_audit_event(result)
    if not result.ok:
        return Failed(message="The audit failed. `nurture reports audit` lists the violations.")
    return {"leads": result.total.leads, **result.total.custody, "residual": result.total.residual}


def _emit_audit_event(result: AuditReport) -> None:
    """Emit the Prefect event `nurture.audit.passed` or `nurture.audit.failed`, for automations."""
    findings = {one.kind: one.count for one in result.findings}
    emit_event(
        event=f"nurture.audit.{'passed' if result.ok else 'failed'}",
        resource={"prefect.resource.id": "nurture.ledger", "prefect.resource.name": "the ledger"},
        payload={"leads": result.total.leads, "residual": result.total.residual, "findings": findings},
    )
