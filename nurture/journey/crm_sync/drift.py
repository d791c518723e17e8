"""Compare leads with the CRM and report differences; nothing is corrected automatically."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from nurture.crm.base import Crm, RemoteRecord
from nurture.domain.lead import Custodian
from nurture.domain.policy.crm_status import CrmStatusMap, SalesStatus
from nurture.domain.policy.policy import Policy
from nurture.journey.crm_sync import queries
from nurture.journey.crm_sync.push import handoff_key, lead_key
from nurture.journey.crm_sync.queries import UNKNOWN_OWNER, CrmLeadState, HandoffState
from nurture.runtime.context import AppContext

BATCH_SIZE: Final = 500


class Drift(NamedTuple):
    """One difference between the CRM and this database."""

    lead_id: int
    field: str
    crm_says: str
    we_say: str
    remedy: str


def find_drift(ctx: AppContext, crm: Crm) -> list[Drift]:
    """Look up every pushed lead in *crm*, and return the differences. Raises CrmUnavailable."""
    found: list[Drift] = []
    after = 0
    while True:
        with ctx.database.read() as tx:
            handoffs = queries.load_pushed_handoffs(tx, crm.name, after, BATCH_SIZE)
            links = queries.load_links(tx, crm.name, [one.lead_id for one in handoffs])
            policy = ctx.definitions.current(tx).policy
            status_mapping = ctx.definitions.crm_statuses(tx)
        if not handoffs:
            return found
        seen = crm.look_up([lead_key(ctx, one.lead_id) for one in handoffs])
        for one in handoffs:
            crm_record = seen.get(lead_key(ctx, one.lead_id))
            found += _compare(ctx, one, crm_record, links.get(one.lead_id), policy, status_mapping)
        after = handoffs[-1].lead_id


def _compare(
    ctx: AppContext,
    handoff: HandoffState,
    crm_record: RemoteRecord | None,
    link: CrmLeadState | None,
    policy: Policy,
    status_mapping: CrmStatusMap,
) -> list[Drift]:
    if handoff.crm_state is None or handoff.record_state != "done":
        return []  # still being pushed: `nurture handoffs crm sync` reports it
    if crm_record is None:
        remedy = "If it was deleted by mistake, `nurture handoffs crm sync --resync-since` creates it again."
        return [Drift(handoff.lead_id, "record", "no record", f"hand-off {handoff.offer_id}: {handoff.state}", remedy)]
    found = []
    crm_values = (crm_record.handoff_key, crm_record.handoff_status)
    is_same = crm_values == (handoff_key(ctx, handoff.offer_id), handoff.crm_state)
    if not is_same and not crm_record.converted:  # a converted record takes no changes
        remedy = "Our fields were changed there; `nurture handoffs crm sync --resync-since` writes them again."
        found.append(
            Drift(handoff.lead_id, "hand-off", " ".join(crm_values), f"{handoff.offer_id}: {handoff.crm_state}", remedy)
        )
    status = crm_record.crm_status or (link.crm_status if link else "")
    return [
        *found,
        *_owner_drift(handoff, crm_record, policy),
        *_status_drift(handoff, crm_record, status, status_mapping),
    ]


def _owner_drift(handoff: HandoffState, crm_record: RemoteRecord, policy: Policy) -> Sequence[Drift]:
    if handoff.custodian != Custodian.REP or not crm_record.owner:
        return []
    reps = {rep.email.casefold(): rep.id for rep in policy.reps}
    owner = reps.get(crm_record.owner.casefold(), UNKNOWN_OWNER)
    if owner == handoff.custody_ref:
        return []
    owner_name = owner if owner != UNKNOWN_OWNER else "an owner unknown to the policy"
    remedy = "Correct the owner in the CRM, or reassign the hand-off with `nurture handoffs reassign`."
    return [Drift(handoff.lead_id, "owner", owner_name, handoff.custody_ref, remedy)]


def _status_drift(
    handoff: HandoffState, crm_record: RemoteRecord, status: str, status_mapping: CrmStatusMap
) -> Sequence[Drift]:
    meaning = status_mapping.map_status(status)
    we_say = f"{handoff.custodian} {handoff.custody_ref}".strip()
    if status and meaning is None and not crm_record.closing:
        remedy = "Map it in templates/sales/crm.yaml, and publish."
        return [Drift(handoff.lead_id, "status", f"{status}, which is not mapped", we_say, remedy)]
    closing = crm_record.closing or (meaning.status.value if meaning and meaning.status in _CLOSED_MEANINGS else "")
    is_closed, is_customer = handoff.custodian == Custodian.CLOSED, handoff.customer_since is not None
    closed = SalesStatus.WON.value if is_customer else handoff.custody_ref if is_closed else ""
    if closing and closing != closed:
        remedy = "`nurture handoffs crm sync` imports it; `nurture handoffs outcomes list` shows contradictions."
        return [Drift(handoff.lead_id, "outcome", closing, we_say, remedy)]
    if closed in _CLOSED_MEANINGS and not closing:
        remedy = "Close it in the CRM too."
        return [Drift(handoff.lead_id, "outcome", status or "open", we_say, remedy)]
    return []


_CLOSED_MEANINGS: Final = (SalesStatus.WON.value, SalesStatus.LOST.value)
