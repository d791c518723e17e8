"""Tables of the sales side, as the revision 0001_initial creates them."""

from __future__ import annotations

from nurture.db.migrations.ddl import (
    check,
    count,
    day,
    flag,
    generated_id,
    id_or_count,
    index,
    json,
    moment,
    number,
    ref,
    table,
    text,
    unique,
)


def create() -> None:
    """Create the tables of hand-offs, reps, accounts, outcomes and the CRM."""
    _handoffs()
    _outcomes()
    _accounts()
    _reps()
    _crm()


def _handoffs() -> None:
    table(
        "offer",
        generated_id(),
        ref("lead_id", "lead.id", index=True),
        ref("enrollment_id", "enrollment.id", null=True),
        ref("policy_version", "approval.policy_version"),
        text("rep", "rule", "because", "routed_because", "state"),
        moment("offered_at", "expires_at"),
        moment("answered_at", "followed_up_at", null=True),
        text("reason", "followed_how", null=True),
        count("level", "round"),
        number("urgency"),
        flag("hot"),
        check(
            "state",
            "state in ('offered', 'accepted', 'rejected', 'expired', 'withdrawn', 'reassigned', 'lapsed')",
        ),
        ids_leap=True,
    )
    index(
        "offer",
        "ix_offer_in_hand",
        "rep",
        where="state in ('offered', 'accepted') and followed_up_at is null",
    )
    index("offer", "ix_offer_rep_offered_at", "rep", "offered_at")
    index("offer", "uq_offer_open", "lead_id", where="state = 'offered'", unique=True)
    table(
        "routing",
        generated_id(),
        ref("lead_id", "lead.id"),
        ref("offer_id", "offer.id", null=True),
        moment("at"),
        count("policy_version"),
        text("rule"),
        text("rep", "queue", null=True),
        json("because", "asked"),
        check("result", "(rep is null) <> (queue is null)"),
    )
    index("routing", "ix_routing_lead_id", "lead_id", "id")
    index("routing", "ix_routing_offer_id", "offer_id", where="offer_id is not null")
    table(
        "fact_wanted",
        ref("lead_id", "lead.id", key=True),
        text("field", key=True),
        text("rule"),
        moment("wanted_at", "overdue_at"),
        moment("filled_at", null=True),
        text("filled_by", null=True),
        check("filled", "(filled_at is null) = (filled_by is null)"),
        check("filled_by", "filled_by in ('lead', 'source')"),
    )
    index("fact_wanted", "ix_fact_wanted_field", "field")
    table(
        "urgency",
        ref("lead_id", "lead.id", key=True),
        text("rule"),
        count("points"),
        flag("hot"),
        moment("since", "rank"),
    )
    table("vote", ref("offer_id", "offer.id", key=True), text("rep"), flag("useful"), moment("voted_at"))


def _outcomes() -> None:
    table(
        "outcome",
        generated_id(),
        ref("lead_id", "lead.id", index=True),
        text("closing", "reason", "source"),
        moment("happened_at", "recorded_at"),
        number("amount", null=True),
    )
    table(
        "outcome_told",
        generated_id(),
        ref("lead_id", "lead.id", index=True),
        text("natural_key", "closing", "reason", "source", "verdict"),
        moment("happened_at", "told_at"),
        number("amount", null=True),
        text("settled", null=True),
        moment("settled_at", null=True),
        check("settled", "settled in ('took', 'kept')"),
        check("verdict", "verdict in ('closed', 'same', 'completed', 'contradicts')"),
        unique("natural_key"),
    )
    index("outcome_told", "ix_outcome_told_open", "id", where="verdict = 'contradicts' and settled is null")


def _accounts() -> None:
    table(
        "account",
        generated_id(),
        ref("parent_id", "account.id", null=True, index=True),
        text("source", "external_id", "name", "owner", "kind"),
        json("domains"),
        moment("created_at", "updated_at"),
        check("kind", "kind in ('customer', 'prospect', 'partner')"),
        check("name", "name <> ''"),
        unique("source", "external_id"),
    )
    table(
        "lead_account",
        ref("lead_id", "lead.id", key=True),
        ref("account_id", "account.id", null=True, index=True),
        text("how", "because"),
        moment("at"),
        check("account_id", "account_id is not null or how = 'settled'"),
        check("how", "how in ('matched', 'settled')"),
    )


def _reps() -> None:
    table(
        "leave",
        generated_id(),
        text("rep"),
        day("first_day", "last_day"),
        text("deputy", null=True),
        moment("recorded_at"),
        moment("cancelled_at", null=True),
        check("days", "first_day <= last_day"),
    )
    index("leave", "ix_leave_last_day", "last_day")
    table("pool_turn", text("key", "rep", key=True), id_or_count("given"))
    table(
        "pressure",
        count("id", key=True),
        moment("at"),
        count("places", "given", "waiting"),
        moment("full_until", null=True),
        check("one", "id = 1"),
    )
    table("queue_look", count("id", key=True), moment("at"), json("free"), check("one", "id = 1"))
    table(
        "rep_link",
        text("digest", key=True),
        text("rep"),
        moment("created_at", "expires_at"),
        moment("revoked_at", null=True),
    )
    index("rep_link", "ix_rep_link_rep", "rep")


def _crm() -> None:
    table(
        "crm_record",
        generated_id(),
        ref("offer_id", "offer.id"),
        ref("lead_id", "lead.id"),
        text("key", "wanted", "state"),
        moment("wanted_at", "state_at", "due_at"),
        text("written", "lease_token", "crm", "crm_id", "reason", null=True),
        moment("written_at", "lease_until", null=True),
        count("attempts"),
        check("state", "state in ('planned', 'claimed', 'sending', 'done', 'in_doubt', 'refused')"),
        unique("key"),
        unique("offer_id"),
    )
    index("crm_record", "ix_crm_record_lead_id", "lead_id", "id")
    index("crm_record", "ix_crm_record_leased", "lease_until", where="state in ('claimed', 'sending')")
    index("crm_record", "ix_crm_record_unsettled", "state_at", where="state in ('in_doubt', 'refused')")
    index("crm_record", "ix_crm_record_waiting", "due_at", where="state = 'planned'")
    table(
        "crm_link",
        text("crm", key=True),
        ref("lead_id", "lead.id", key=True, index=True),
        text("crm_id", "status", "owner", "handoff", "stage"),
        moment("changed_at", "seen_at"),
    )
    table("crm_cursor", text("crm", key=True), text("cursor"), moment("read_at"))
