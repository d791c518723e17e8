"""Sales tables of the revision 0001_initial."""

from nurture.db.migrations.ddl import (
    check,
    count,
    day,
    flag,
    generated_id,
    id_or_count,
    index,
    json,
    number,
    ref,
    table,
    text,
    timestamp,
    unique,
)


def create_sales_tables() -> None:
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
        text("rep", "rule", "handoff_reason", "routing_reason", "state"),
        timestamp("offered_at", "expires_at"),
        timestamp("answered_at", "followed_up_at", null=True),
        text("reason", "follow_up_method", null=True),
        count("escalation_level", "round"),
        number("priority"),
        flag("hot"),
        check("state", "state in ('offered', 'accepted', 'rejected', 'expired', 'withdrawn', 'reassigned', 'lapsed')"),
        never_reuse_ids=True,
    )
    index("offer", "ix_offer_held_by_rep", "rep", where="state in ('offered', 'accepted') and followed_up_at is null")
    index("offer", "ix_offer_rep_offered_at", "rep", "offered_at")
    index("offer", "uq_offer_open", "lead_id", where="state = 'offered'", unique=True)
    table(
        "routing_decision",
        generated_id(),
        ref("lead_id", "lead.id"),
        ref("offer_id", "offer.id", null=True),
        timestamp("at"),
        count("policy_version"),
        text("rule"),
        text("rep", "queue", null=True),
        json("reasons", "request"),
        check("result", "(rep is null) <> (queue is null)"),
    )
    index("routing_decision", "ix_routing_decision_lead_id", "lead_id", "id")
    index("routing_decision", "ix_routing_decision_offer_id", "offer_id", where="offer_id is not null")
    table(
        "missing_field",
        ref("lead_id", "lead.id", key=True),
        text("field", key=True),
        text("rule"),
        timestamp("requested_at", "due_at"),
        timestamp("filled_at", null=True),
        text("filled_by", null=True),
        check("filled", "(filled_at is null) = (filled_by is null)"),
        check("filled_by", "filled_by in ('lead', 'source')"),
    )
    index("missing_field", "ix_missing_field_field", "field")
    table(
        "queue_priority",
        ref("lead_id", "lead.id", key=True),
        text("rule"),
        count("points"),
        flag("hot"),
        timestamp("since", "rank"),
    )
    table("offer_rating", ref("offer_id", "offer.id", key=True), text("rep"), flag("useful"), timestamp("rated_at"))


def _outcomes() -> None:
    table(
        "outcome",
        generated_id(),
        ref("lead_id", "lead.id", index=True),
        text("closing", "reason", "source"),
        timestamp("happened_at", "recorded_at"),
        number("amount", null=True),
    )
    table(
        "outcome_report",
        generated_id(),
        ref("lead_id", "lead.id", index=True),
        text("natural_key", "closing", "reason", "source", "verdict"),
        timestamp("happened_at", "reported_at"),
        number("amount", null=True),
        text("resolution", null=True),
        timestamp("resolved_at", null=True),
        check("resolution", "resolution in ('accepted', 'dismissed')"),
        check("verdict", "verdict in ('closed', 'same', 'completed', 'conflict')"),
        unique("natural_key"),
    )
    index("outcome_report", "ix_outcome_report_unresolved", "id", where="verdict = 'conflict' and resolution is null")


def _accounts() -> None:
    table(
        "account",
        generated_id(),
        ref("parent_id", "account.id", null=True, index=True),
        text("source", "external_id", "name", "owner", "kind"),
        json("domains"),
        timestamp("created_at", "updated_at"),
        check("kind", "kind in ('customer', 'prospect', 'partner')"),
        check("name", "name <> ''"),
        unique("source", "external_id"),
    )
    table(
        "lead_account",
        ref("lead_id", "lead.id", key=True),
        ref("account_id", "account.id", null=True, index=True),
        text("method", "reason"),
        timestamp("at"),
        check("account_id", "account_id is not null or method = 'manual'"),
        check("method", "method in ('matched', 'manual')"),
    )


def _reps() -> None:
    table(
        "rep_leave",
        generated_id(),
        text("rep"),
        day("first_day", "last_day"),
        text("deputy", null=True),
        timestamp("recorded_at"),
        timestamp("cancelled_at", null=True),
        check("days", "first_day <= last_day"),
    )
    index("rep_leave", "ix_rep_leave_last_day", "last_day")
    table("round_robin_count", text("rotation_key", "rep", key=True), id_or_count("assigned"))
    table(
        "capacity_forecast",
        count("id", key=True),
        timestamp("at"),
        count("daily_capacity", "offered_today", "waiting"),
        timestamp("full_until", null=True),
        check("single_row", "id = 1"),
    )
    table("queue_scan", count("id", key=True), timestamp("at"), json("available_reps"), check("single_row", "id = 1"))
    table(
        "workspace_link",
        text("digest", key=True),
        text("rep"),
        timestamp("created_at", "expires_at"),
        timestamp("revoked_at", null=True),
    )
    index("workspace_link", "ix_workspace_link_rep", "rep")


def _crm() -> None:
    table(
        "crm_record",
        generated_id(),
        ref("offer_id", "offer.id"),
        ref("lead_id", "lead.id"),
        text("send_key", "target_state", "state"),
        timestamp("target_set_at", "state_at", "send_at"),
        text("pushed_state", "lease_token", "provider", "crm_id", "reason", null=True),
        timestamp("pushed_at", "claimed_at", "lease_until", null=True),
        count("attempts"),
        check("state", "state in ('planned', 'claimed', 'sending', 'done', 'unknown', 'rejected')"),
        unique("send_key"),
        unique("offer_id"),
    )
    index("crm_record", "ix_crm_record_lead_id", "lead_id", "id")
    index("crm_record", "ix_crm_record_leased", "lease_until", where="state in ('claimed', 'sending')")
    index("crm_record", "ix_crm_record_unresolved", "state_at", where="state in ('unknown', 'rejected')")
    index("crm_record", "ix_crm_record_due", "send_at", where="state = 'planned'")
    table(
        "crm_link",
        text("crm", key=True),
        ref("lead_id", "lead.id", key=True, index=True),
        text("crm_id", "crm_status", "owner", "handoff_key", "handoff_status"),
        timestamp("changed_at", "seen_at"),
    )
    table("crm_cursor", text("crm", key=True), text("cursor"), timestamp("read_at"))
