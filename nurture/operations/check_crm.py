"""Doctor check of the CRM."""

from __future__ import annotations

from collections.abc import Sequence

from nurture.crm.base import CrmUnavailable
from nurture.crm.registry import CRMS, is_local
from nurture.operations.doctor import CheckResult, DoctorContext
from nurture.outbox import crm_records


def check_crm(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check access and fields of the CRM, and hand-offs that wait or were rejected; nothing is written.

    Problems are warnings: email is sent without a CRM.
    """
    if setup.make_crm is None:
        return []
    client = setup.make_crm()
    if client is None:
        found = "none: sales gets hand-offs by email only and records outcomes by hand"
        return [CheckResult("CRM", "warning", found, f"Set NURTURE_CRM: {', '.join(CRMS)}.")]
    try:
        problems = list(client.check(setup.clock.now()))
    except CrmUnavailable as down:
        problems = [down.reason]
    finally:
        client.close()
    if problems:
        return [
            CheckResult("CRM", "warning", f"{client.name}: {problem}", "Run `nurture handoffs crm check`.")
            for problem in problems
        ]
    return [_check_waiting(setup, client.name)]


def _check_waiting(setup: DoctorContext, name: str) -> CheckResult:
    with setup.open_database() as database, database.read() as tx:
        states = {one.state: one for one in crm_records.count_by_state(tx)}
    rejected = states.get("rejected")
    if rejected is not None:
        found = f"{name}: {rejected.record_count} hand-offs were rejected, one of them with: {rejected.reason}"
        remedy = "Fix it in the CRM, then run `nurture handoffs crm sync --resync-since DATE`."
        return CheckResult("CRM", "warning", found, remedy)
    waiting = sum(one.record_count for state, one in states.items() if state != "done")
    where = "files in a folder" if is_local(name) else "it has all required fields"
    return CheckResult("CRM", "ok", f"{name}: {where}; {waiting} hand-offs wait for the push")
