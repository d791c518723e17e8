"""What the doctor looks at in the CRM: whether it can be asked, and has the fields that we need."""

from __future__ import annotations

from collections.abc import Sequence

from nurture.crm.base import CrmUnavailable
from nurture.operations.doctor import CheckResult, DoctorContext
from nurture.outbox import crm_records


def check_crm(setup: DoctorContext) -> Sequence[CheckResult]:
    """Ask the CRM whether hand-offs can go there, and say what waits or was rejected. Nothing is written.

    Mail goes out without it: what is wrong here is a warning.
    """
    if setup.make_crm is None:
        return []
    client = setup.make_crm()
    if client is None:
        found = "none: sales hears of hand-offs by mail alone, and tells outcomes by hand"
        return [CheckResult("CRM", "warning", found, "Set NURTURE_CRM to csv, salesforce or hubspot.")]
    try:
        problems = list(client.check(setup.clock.now()))
    except CrmUnavailable as down:
        problems = [down.reason]
    finally:
        client.close()
    if problems:
        return [
            CheckResult("CRM", "warning", f"{client.name}: {problem}", "`nurture handoffs crm check`")
            for problem in problems
        ]
    return [_check_waiting(setup, client.name)]


def _check_waiting(setup: DoctorContext, name: str) -> CheckResult:
    with setup.open_database() as database, database.read() as connection:
        states = {one.state: one for one in crm_records.count_by_state(connection)}
    rejected = states.get("rejected")
    if rejected is not None:
        found = f"{name}: {rejected.record_count} hand-offs were rejected, one of them: {rejected.reason}"
        return CheckResult(
            "CRM", "warning", found, "Mend it there; then `nurture handoffs crm sync --resync-since DATE`."
        )
    waiting = sum(one.record_count for state, one in states.items() if state != "done")
    where = "files in a folder, nothing is called" if name == "csv" else "it has all our fields"
    return CheckResult("CRM", "ok", f"{name}: {where}; {waiting} hand-offs wait to be told")
