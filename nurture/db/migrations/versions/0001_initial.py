"""Create every table of the first release, independent of the models, which change later."""

from nurture.db.migrations import initial_sales
from nurture.db.migrations.ddl import (
    append_only,
    blob,
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
    reject_changes,
    table,
    text,
    timestamp,
    unique,
)

revision = "0001_initial"
down_revision = None


def upgrade() -> None:
    """Create the tables, then the triggers."""
    _leads()
    _consent()
    _definitions()
    _enrollments()
    initial_sales.create_sales_tables()
    _mail()
    _provider_events()
    _replies()
    _signals()
    _installation()
    append_only_reason = "what was recorded is never changed or deleted; add a newer row instead"
    append_only("publication", append_only_reason)
    append_only("mail_stop", append_only_reason)
    # Erasing a person empties these columns.
    append_only("journal", append_only_reason, erasable=("reason", "detail"))
    append_only("suppression", append_only_reason, erasable=("evidence",))
    append_only("consent_statement", append_only_reason, erasable=("evidence", "wording"))
    append_only("approval", "what was approved stays approved; publish and approve a newer version")
    _guard_custody_version()


def _leads() -> None:
    table("address", generated_id(), text("email", "normalized"), unique("normalized"))
    table(
        "lead",
        generated_id(),
        ref("address_id", "address.id", null=True),
        text("source", "zone", "country", "readiness"),
        json("fields"),
        text("consent_basis", "points_key", "paused_by", null=True),
        timestamp("engagement_at", "decides_stated_at", "signals_since", null=True),
        timestamp("paused_until", "paused_at", "erased_at", null=True),
        number("engagement"),
        number("engagement_2", "engagement_3", "engagement_4", null=True),
        day("decides_on", "call_on", null=True),
        count("touch_interval_days", null=True),
        timestamp("first_contact_at", "created_at", "updated_at"),
        unique("address_id"),
        never_reuse_ids=True,
    )
    index("lead", "ix_lead_source_created_at", "source", "created_at")
    index("lead", "ix_lead_points_key", "points_key", where="points_key is not null")
    table("created_leads", text("source", key=True), count("count"))
    table(
        "identity",
        text("source", "external_id", key=True),
        ref("lead_id", "lead.id", index=True),
        flag("is_ambiguous"),
    )
    table(
        "custody",
        ref("lead_id", "lead.id", key=True),
        text("kind", "ref", "next_action"),
        timestamp("since"),
        timestamp("due_at", null=True),
        id_or_count("version"),
        check("due", "(kind = 'closed') = (due_at is null)"),
        check("kind", "kind in ('intake', 'track', 'queue', 'offer', 'rep', 'closed')"),
        check("next_action", "next_action <> '' or kind = 'closed'"),
        check("ref", "ref <> ''"),
    )
    index("custody", "ix_custody_due", "kind", "due_at", where="due_at is not null")


def _consent() -> None:
    table(
        "suppression",
        generated_id(),
        ref("address_id", "address.id", index=True),
        text("action", "scope", "ref", "source"),
        text("evidence", null=True),
        timestamp("recorded_at"),
        check("action", "action in ('suppress', 'opt_in', 'retract')"),
        check("scope", "scope in ('global', 'topic', 'track')"),
    )
    table(
        "consent_statement",
        generated_id(),
        ref("address_id", "address.id", index=True),
        text("channel", "scope", "ref", "source", "evidence", "wording"),
        text("basis", null=True),
        flag("granted"),
        timestamp("stated_at", null=True),
        timestamp("recorded_at"),
        check("basis", "basis is not null or not granted"),
        check("channel", "channel = 'email'"),
        check("scope", "scope in ('global', 'topic')"),
    )
    table(
        "unclear_field",
        text("source", "name", key=True),
        timestamp("first_seen_at"),
        timestamp("acknowledged_at", null=True),
    )
    table(
        "open_tracking_consent",
        ref("lead_id", "lead.id", key=True),
        flag("granted"),
        text("source"),
        timestamp("stated_at"),
        day("last_open_on", null=True),
        text("last_open_verdict", "last_open_reason", null=True),
    )


def _definitions() -> None:
    table(
        "publication",
        generated_id(),
        text("kind", "name", "digest"),
        count("version"),
        json("sources"),
        timestamp("published_at"),
        unique("kind", "name", "version"),
    )
    table(
        "approval",
        ref("publication_id", "publication.id"),
        count("policy_version", key=True),
        text("approved_by", "method"),
        day("approved_on"),
        timestamp("recorded_at"),
        check("approved_by", "approved_by <> ''"),
        check("method", "method in ('first', 'approved', 'unchanged')"),
        unique("publication_id"),
    )
    table(
        "link_destination",
        text("track", key=True),
        count("track_version", key=True),
        text("email", key=True),
        count("number", key=True),
        text("url"),
    )


def _enrollments() -> None:
    table(
        "enrollment",
        generated_id(),
        ref("lead_id", "lead.id", index=True),
        text("track", "step"),
        timestamp("entered_at", "anchor_at", "reached_at"),
        count("track_version", "visit"),
        timestamp("suspended_at", "ended_at", null=True),
        text("end_reason", null=True),
        never_reuse_ids=True,
    )
    table(
        "audience_exclusion",
        ref("lead_id", "lead.id", key=True),
        text("track", key=True),
        timestamp("excluded_at"),
    )
    where = "ended_at is null and suspended_at is null"
    index("enrollment", "uq_enrollment_active", "lead_id", where=where, unique=True)


def _mail() -> None:
    table(
        "message",
        generated_id(),
        ref("lead_id", "lead.id", index=True),
        ref("enrollment_id", "enrollment.id", null=True),
        ref("offer_id", "offer.id", null=True),
        id_or_count("reply_id", null=True),
        text("send_key", "kind", "recipient", "step", "email", "state"),
        flag("past_cap", "is_ambiguous", null=True),
        text("track", "rep", "sender_domain", "lease_token", "provider", "provider_message_id", null=True),
        text("reason", "held_by", "topic", null=True),
        count("track_version", null=True),
        count("visit", "attempts"),
        timestamp("planned_at", "send_at", "expires_at", "state_at"),
        timestamp("accepted_at", "claimed_at", "lease_until", null=True),
        check("recipient", "recipient in ('lead', 'rep', 'notifier')"),
        check(
            "state",
            "state in ('planned', 'claimed', 'sending', 'accepted', 'rejected', 'unknown', 'cancelled', "
            "'delivered', 'bounced', 'dropped', 'complained')",
        ),
        unique("send_key"),
    )
    index("message", "ix_message_reply", "reply_id", where="reply_id is not null")
    index("message", "ix_message_unknown", "state_at", where="state = 'unknown'")
    index("message", "ix_message_leased", "lease_until", where="state in ('claimed', 'sending')")
    index("message", "ix_message_sender", "sender_domain", "claimed_at", where="claimed_at is not null")
    index("message", "ix_message_due", "send_at", where="state = 'planned'")
    table("personal_link_destination", ref("message_id", "message.id", key=True), json("links"))
    table(
        "circuit_breaker",
        generated_id(),
        text("kind", "name", "reason"),
        flag("is_outdated"),
        timestamp("since"),
        timestamp("until", "released_at", "restored_since", null=True),
        text("released_by", null=True),
        check("kind", "kind in ('provider', 'domain', 'database')"),
    )
    index("circuit_breaker", "uq_circuit_breaker_active", "kind", "name", where="released_at is null", unique=True)
    table(
        "mail_stop",
        generated_id(),
        text("track", "action", "reason", "decided_by", "move_to"),
        timestamp("at"),
        check("action", "action in ('stop', 'stop_all', 'retire', 'start')"),
        check("move_to", "(action = 'retire') = (move_to <> '')"),
    )
    index("mail_stop", "ix_mail_stop_track", "track")


def _provider_events() -> None:
    table(
        "provider_event",
        generated_id(),
        ref("message_id", "message.id", null=True),
        text("natural_key", "provider", "event_type", "raw_event_type", "installation_id", "ref", "reason"),
        text("event_key", "provider_message_id", null=True),
        timestamp("at", "received_at"),
        check("natural_key", "natural_key <> ''"),
        unique("event_key"),
        unique("natural_key"),
    )
    index("provider_event", "ix_provider_event_message_id", "message_id", "at", where="message_id is not null")
    table(
        "raw_batch",
        generated_id(),
        text("provider", "digest", "body"),
        timestamp("received_at"),
        count("events"),
        timestamp("processed_at", null=True),
        text("error", null=True),
        unique("digest"),
    )
    index("raw_batch", "ix_raw_batch_received_at", "received_at")
    index("raw_batch", "ix_raw_batch_unprocessed", "id", where="processed_at is null")


def _replies() -> None:
    table(
        "reply",
        generated_id(),
        ref("lead_id", "lead.id"),
        ref("message_id", "message.id", null=True),
        text("natural_key", "kind", "sender", "text", "evidence", "contact"),
        timestamp("received_at", "sent_at"),
        timestamp("meets_at", null=True),
        day("returns_on", null=True),
        json("attachments"),
        check(
            "kind",
            "kind in ('wants_to_talk', 'question', 'meeting', 'unclear', 'unclear_short', 'possible_opt_out', "
            "'not_now', 'not_interested', 'wrong_person', 'left_company', 'no_mail', "
            "'erasure_request', 'complaint', 'absence', 'calendar_answer', 'receipt', "
            "'bounce', 'empty', 'automatic')",
        ),
        unique("natural_key"),
        never_reuse_ids=True,
    )
    index("reply", "ix_reply_lead_id_received_at", "lead_id", "received_at")
    table(
        "inbound_mail",
        generated_id(),
        text("source", "sender"),
        timestamp("received_at"),
        ref("lead_id", "lead.id", null=True),
        count("size", "attempts"),
        timestamp("last_attempt_at", null=True),
        text("error", null=True),
        blob("body"),
    )
    index("inbound_mail", "ix_inbound_mail_unread", "id", where="error is null")
    index("inbound_mail", "ix_inbound_mail_lead_id", "lead_id")
    table("mailbox_cursor", text("name", key=True), id_or_count("uid_validity", "last_uid"), timestamp("read_at"))
    table(
        "link_token",
        ref("lead_id", "lead.id", index=True),
        ref("message_id", "message.id", null=True),
        ref("offer_id", "offer.id", null=True),
        text("digest", key=True),
        text("purpose"),
        timestamp("created_at"),
    )


def _signals() -> None:
    table(
        "signal",
        generated_id(),
        ref("lead_id", "lead.id"),
        ref("enrollment_id", "enrollment.id", null=True),
        ref("message_id", "message.id", null=True),
        text("kind", "natural_key", "verdict", "verdict_reason", "source"),
        timestamp("occurred_at", "recorded_at"),
        text("click_filter_key", "track", "step", "link", "value", null=True),
        timestamp("applied_at", null=True),
        unique("natural_key"),
    )
    index("signal", "ix_signal_click_filter_key", "click_filter_key", where="click_filter_key is not null")
    index("signal", "ix_signal_lead_id_occurred_at", "lead_id", "occurred_at")
    index("signal", "ix_signal_unapplied", "id", where="applied_at is null")
    table(
        "tracking_request",
        ref("signal_id", "signal.id", key=True),
        ref("message_id", "message.id", index=True),
        timestamp("at"),
        text("method", "agent_type", "ip_hash", "agent_hash", "company_hash"),
        flag("honeypot", "is_machine"),
    )
    index("tracking_request", "ix_tracking_request_company_hash", "company_hash", "at", where="company_hash <> ''")


def _installation() -> None:
    table(
        "journal",
        generated_id(),
        ref("lead_id", "lead.id"),
        timestamp("at"),
        text("stage", "event", "reason"),
        id_or_count("enrollment_id", null=True),
        text("track", "step", "custody_from", "custody_to", "ref", null=True),
        count("track_version", "policy_version", null=True),
        json("detail", null=True),
    )
    index("journal", "ix_journal_custody_changes_at", "at", where="custody_to is not null")
    index("journal", "ix_journal_lead_id", "lead_id", "id")
    index(
        "journal",
        "ix_journal_custody_changes",
        "lead_id",
        "id",
        "custody_from",
        "custody_to",
        where="custody_to is not null",
    )
    table(
        "clock",
        count("id", key=True),
        text("mode", "installation_id", "salt"),
        timestamp("seen_at"),
        id_or_count("generation"),
        json("location", null=True),
        check("mode", "mode in ('live', 'virtual')"),
        check("single_row", "id = 1"),
    )
    table(
        "import_file",
        generated_id(),
        text("kind", "name", "source", "digest"),
        timestamp("imported_at"),
        count("rows", "created", "updated", "rejected"),
    )
    table(
        "api_token",
        generated_id(),
        text("name", "digest", "scopes"),
        timestamp("created_at"),
        day("last_used_on", null=True),
        timestamp("revoked_at", "rate_limited_at", null=True),
        unique("digest"),
    )
    index("api_token", "uq_api_token_name", "name", where="revoked_at is null", unique=True)
    table(
        "idempotency_key",
        ref("token_id", "api_token.id", key=True),
        text("key", key=True),
        text("digest"),
        timestamp("requested_at"),
        count("status_code", null=True),
        text("response", null=True),
    )
    index("idempotency_key", "ix_idempotency_key_requested_at", "requested_at")


def _guard_custody_version() -> None:
    # Rejects an update without a version check. Measured on SQLite: 1-4 % of an update of 2,000 rows.
    reject_changes(
        "custody_version_guard",
        "UPDATE ON custody",
        "custody moves one version at a time: add 1 to the version that was read",
        when="NEW.version <> OLD.version + 1",
    )
