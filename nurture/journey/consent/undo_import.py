"""Take back an import of opt-outs: every opt-out and withdrawal that it added, and no other."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.domain.consent.permission import basis_in_force
from nurture.domain.consent.suppression import LogAction, is_retracted
from nurture.errors import InvalidState, NotFound
from nurture.journey.consent.opt_in import reclassify
from nurture.journey.consent.suppression import to_entry
from nurture.journey.leads import consent_queries, suppression_queries
from nurture.runtime.context import AppContext

_MAX_SHOWN: Final = 5


class UndoResult(NamedTuple):
    """What the undo took back: *retracted* opt-outs of *name*; *still_suppressed* addresses have others.

    *later* are files with opt-outs that were imported since. An opt-out that was known already was not logged again, so
    importing them again restores what both files said.
    """

    import_id: int
    name: str
    retracted: int
    still_suppressed: int
    later: Sequence[str]


def import_evidence(import_id: int) -> str:
    """Return the evidence of opt-outs that an import added."""
    return f"import {import_id}"


def undo_import(ctx: AppContext, ref: str, now: datetime) -> UndoResult:
    """Take back the opt-outs that an import of opt-outs added, by its id or the name of its newest file.

    The log keeps them, with an entry that takes each back. Raises NotFound for an unknown import, and InvalidState if
    it added nothing, or was undone before.
    """
    with ctx.database.write() as tx:
        import_id, name = _find_import(tx, ref)
        added = suppression_queries.load_opt_outs_by_evidence(tx, import_evidence(import_id))
        withdrawn = consent_queries.retract_withdrawals(tx, import_evidence(import_id), now)
        addresses = {*withdrawn, *(address_id for address_id, _ in added)}
        leads = suppression_queries.lock_leads_by_address(tx, addresses)
        logs = suppression_queries.load_logs(tx, addresses)
        retracted = [
            (id_, one._replace(action=LogAction.RETRACT)) for id_, one in added if not is_retracted(logs[id_], one)
        ]
        if not retracted and not withdrawn:
            raise InvalidState(f"Import {import_id} ({name}) added no opt-out that is still in force. Nothing changed.")
        evidence = f"undo of {import_evidence(import_id)}"
        suppression_queries.append_entries(tx, [to_entry(id_, one, evidence) for id_, one in retracted])
        changed = {*withdrawn, *(address_id for address_id, _ in retracted)}
        statements = consent_queries.load_statements(tx, withdrawn)
        bases = [(id_, basis_in_force(statements.get(id_, ()), now)) for id_ in sorted(set(withdrawn))]
        consent_queries.note_basis(tx, bases, now)
        remaining = consent_queries.load_refusals(tx, changed)
        by_lead = {leads[id_]: remaining.get(id_, ()) for id_ in changed if id_ in leads}
        reclassify(ctx, tx, by_lead, now, f"the import of {name} was undone")
        later = [
            one.name for one in suppression_queries.list_imports(tx) if one.id > import_id and one.created < one.rows
        ]
    still_suppressed = sum(map(bool, remaining.values()))
    return UndoResult(import_id, name, len(retracted) + len(withdrawn), still_suppressed, later)


def _find_import(tx: Transaction, ref: str) -> tuple[int, str]:
    imports = suppression_queries.list_imports(tx)
    for one in imports:
        if ref in (str(one.id), one.name):
            return one.id, one.name
    known = ", ".join(f"{one.id} ({one.name})" for one in imports[:_MAX_SHOWN])
    raise NotFound(f"No import of opt-outs is called {ref!r}. {f'Newest: {known}.' if known else 'There is none yet.'}")
