"""Record the opt-outs, bounces and complaints that statuses of the CRM say."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from nurture.crm.base import RemoteRecord
from nurture.db.transaction import Transaction
from nurture.domain.consent.permission import basis_in_force
from nurture.domain.consent.statements import adds_to, withdrawal
from nurture.domain.consent.suppression import SuppressionSource
from nurture.formats.opt_outs import COMPLAINED, UNDELIVERABLE, read_status
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import OptOut
from nurture.journey.leads import consent_queries, signal_queries, suppression_queries

_SUPPRESSES = {UNDELIVERABLE: SuppressionSource.BOUNCE, COMPLAINED: SuppressionSource.COMPLAINT}


def record_refusals(tx: Transaction, source: str, seen: Mapping[int, RemoteRecord], now: datetime) -> int:
    """Record what the statuses of these leads refuse, such as "Unsubscribed"; return how many are new."""
    says = {lead_id: read_status(one.crm_status, weak=False) for lead_id, one in seen.items()}
    refused = {lead_id: refusal for lead_id, refusal in says.items() if refusal is not None}
    if not refused:
        return 0
    addresses = suppression_queries.load_address_ids(tx, refused)
    known = defaultdict(list, {k: [*v] for k, v in consent_queries.load_statements(tx, addresses.values()).items()})
    new, opt_outs = [], []
    for lead_id, address_id in addresses.items():
        if (suppresses := _SUPPRESSES.get(refused[lead_id])) is not None:
            opt_outs.append(OptOut(address_id, suppresses, at=seen[lead_id].changed_at))
            continue
        evidence = f"status {seen[lead_id].crm_status[:100]!r}"
        one = withdrawal(source, seen[lead_id].changed_at, now, evidence=evidence)
        if adds_to(known[address_id], one):
            known[address_id].append(one)
            new.append((lead_id, address_id, one))
    consent_queries.append_statements(tx, [(address_id, one) for _, address_id, one in new])
    bases = [(address_id, basis_in_force(known[address_id], now)) for _, address_id, _ in new]
    consent_queries.note_basis(tx, bases, now)
    signal_queries.make_due(tx, [lead_id for lead_id, _, _ in new], now)
    return len(new) + sum(suppression.opt_out(tx, opt_outs, now))
