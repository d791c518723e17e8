"""What the doctor looks at in the CRM: whether it can be asked, and has the fields that we need."""

from __future__ import annotations

from collections.abc import Sequence

from nurture.crm.base import CrmDown
from nurture.operations.doctor import Finding, SetUp
from nurture.outbox import crm_records


def crm(setup: SetUp) -> Sequence[Finding]:
    """Ask the CRM whether hand-offs can go there, and say what waits or was refused. Nothing is written.

    Mail goes out without it: what is wrong here is a warning.
    """
    if setup.crm is None:
        return []
    keeper = setup.crm()
    if keeper is None:
        found = "none: sales hears of hand-offs by mail alone, and tells outcomes by hand"
        return [Finding("CRM", "warning", found, "Set NURTURE_CRM to csv, salesforce or hubspot.")]
    try:
        faults = list(keeper.check(setup.clock.now()))
    except CrmDown as down:
        faults = [down.why]
    finally:
        keeper.close()
    if faults:
        return [
            Finding("CRM", "warning", f"{keeper.name}: {fault}", "`nurture handoffs crm check`")
            for fault in faults
        ]
    return [_waiting(setup, keeper.name)]


def _waiting(setup: SetUp, name: str) -> Finding:
    with setup.database() as database, database.read() as connection:
        states = {one.state: one for one in crm_records.standing(connection)}
    refused = states.get("refused")
    if refused is not None:
        found = f"{name}: {refused.handoffs} hand-offs were refused, one of them: {refused.reason}"
        return Finding(
            "CRM", "warning", found, "Mend it there; then `nurture handoffs crm sync --again-since DATE`."
        )
    waits = sum(one.handoffs for state, one in states.items() if state != "done")
    where = "files in a folder, nothing is called" if name == "csv" else "it has all our fields"
    return Finding("CRM", "ok", f"{name}: {where}; {waits} hand-offs wait to be told")
