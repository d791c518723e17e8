"""Doctor checks of inbound data: replies, provider events, API tokens."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from nurture.db import last_rounds
from nurture.journey.engagement import inbound_mail_queries, provider_event_queries
from nurture.journey.intake.api import queries as api_queries
from nurture.journey.leads import consent_queries, reply_queries
from nurture.journey.stages import STAGES
from nurture.mail.inbound.imap import Inbox, InboxUnavailable
from nurture.mail.providers.registry import PROVIDERS
from nurture.mail.providers.spec import INBOUND_PATH
from nurture.operations import problem_queries
from nurture.operations.doctor import CheckResult, CheckState, DoctorContext
from nurture.operations.problems import find_problems
from nurture.settings import Settings

_REPORTED_HERE: Final = ("late:", "mail-stuck", "audit", "backup", "disk")
"""Problems that no other check reports."""

_LOOKBACK: Final = timedelta(days=7)
_MAX_SHOWN: Final = 5
_PATIENCE: Final = 10.0  # seconds for a connection, and for each answer


def check_replies(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check whether replies of leads are read; the mailbox is opened, and nothing in it is changed."""
    settings = setup.settings
    mailboxes = list_mailboxes(settings)
    domain = settings.reply_domain
    worse: CheckState = "failed" if setup.is_live else "warning"
    if domain is None and not mailboxes:
        found = "replies go to the sender only, and nurture reads none, not even opt-outs"
        remedy = (
            "Set NURTURE_REPLY_DOMAIN, or record each reply with `nurture leads signal LEAD replied` and each "
            "opt-out with `nurture leads suppress`."
        )
        return [CheckResult("replies", "warning", found, remedy)] if setup.is_live else []
    if domain is None:
        found = f"{' and '.join(mailboxes)} can be read, but no email has a reply address there"
        return [CheckResult("replies", "warning", found, "Set NURTURE_REPLY_DOMAIN to its email domain.")]
    if not mailboxes:
        found = f"email has reply addresses at {domain}, but replies are not read"
        webhooks = [spec.inbound.variable for spec in PROVIDERS.values() if spec.inbound is not None]
        remedy = f"Set {' or '.join((*webhooks, 'NURTURE_IMAP_URL'))}; else unset NURTURE_REPLY_DOMAIN."
        return [CheckResult("replies", worse, found, remedy)]
    if settings.imap_url is not None:
        try:
            with Inbox(settings.imap_url, settings.imap_oauth, timeout=_PATIENCE).open_folder():
                pass
        except InboxUnavailable as error:
            return [CheckResult("replies", worse, error.reason.rstrip("."), error.remedy)]
    return [CheckResult("replies", "ok", f"replies to {domain} are read from {' and '.join(mailboxes)}")]


def check_activity(setup: DoctorContext) -> Sequence[CheckResult]:
    """Say when the stages last ran, and when the last event and reply came; warn of what problems tell."""
    now, pace = setup.clock.now(), timedelta(seconds=setup.settings.sweep_seconds)
    with setup.read_database() as tx:
        rounds = last_rounds.load_all(tx)
        problems = find_problems(tx, now, pace, setup.settings.state_dir.parent)
        event, reply = problem_queries.find_last_event(tx), problem_queries.find_last_reply(tx)
    ran = [one.succeeded_at for name, one in rounds.items() if name in STAGES and one.succeeded_at is not None]
    times = {"all stages ran": min(ran, default=None), "event": event, "reply": reply}
    shown = ", ".join(f"{what} {f'{at:%Y-%m-%d %H:%M} UTC' if at else 'never'}" for what, at in times.items())
    results = [CheckResult("activity", "ok", f"last: {shown}")]
    reported = [one for one in problems if one.key.startswith(_REPORTED_HERE)]
    return results + [CheckResult("activity", "warning", one.message, one.remedy) for one in reported]


def check_unread_mail(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for inbound email that could not be read."""
    with setup.read_database() as tx:
        found = inbound_mail_queries.list_failed(tx, inbound_mail_queries.MAX_FAILED)
    if not found:
        return []
    many = "1 email" if len(found) == 1 else f"{len(found)} emails"
    what = f"{many} could not be read and may contain replies, the newest of {found[0].received_at:%Y-%m-%d}"
    remedy = "`nurture leads replies` shows why; `nurture leads replies --retry` tries again."
    return [CheckResult("unread mail", "warning", what, remedy)]


def check_erasure_requests(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for leads that asked in a reply to be erased."""
    with setup.read_database() as tx:
        leads = reply_queries.find_erasure_requests(tx)
    if not leads:
        return []
    shown = ", ".join(map(str, leads[:10])) + (" and others" if len(leads) > 10 else "")
    what = f"asked by reply to be erased: lead {shown}; their email is stopped"
    remedy = f"`nurture leads replies {leads[0]}` shows the words, `nurture leads erase {leads[0]} --yes` erases."
    return [CheckResult("erasure requests", "warning", what, remedy)]


def check_api_tokens(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for API tokens that reached their hourly limit in the last week."""
    with setup.read_database() as tx:
        since = setup.clock.now() - _LOOKBACK
        found = [one for one in api_queries.list_tokens(tx) if one.rate_limited_at and one.rate_limited_at > since]
    return [
        CheckResult(
            "API",
            "warning",
            f"the token {token.name!r} reached its hourly limit at {token.rate_limited_at:%Y-%m-%d %H:%M} UTC",
            f"Ask its owner. If it leaked, run `nurture admin tokens revoke {token.name}`.",
        )
        for token in found
        if token.revoked_at is None
    ]


def check_unclear_opt_outs(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for fields of programs that may be opt-outs, until an operator acknowledges them."""
    with setup.read_database() as tx:
        found = consent_queries.list_unclear_fields(tx)
    return [
        CheckResult(
            "opt-outs",
            "warning",
            f"leads of {source} have come with the field {name!r} since {at:%Y-%m-%d}; it may be an opt-out, so these "
            "leads are not mailed",
            "If it is one, send it as `opted_out`. If not, give it another name, and record the leads' consent. Then "
            "run `nurture doctor --acknowledge`.",
        )
        for source, name, at in found[:_MAX_SHOWN]
    ]


def list_mailboxes(settings: Settings) -> list[str]:
    """Return the sources from which inbound mail is read."""
    posted = [
        f"{spec.inbound.source}, once it posts to {INBOUND_PATH.format(provider=name)}"
        for name, spec in PROVIDERS.items()
        if spec.inbound is not None and spec.inbound.is_configured(settings)
    ]
    return [*posted, "the mailbox in NURTURE_IMAP_URL"] if settings.imap_url is not None else posted


def check_sales_email(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for email to reps that was not delivered in the last week."""
    with setup.read_database() as tx:
        found = provider_event_queries.list_undelivered_to_sales(tx, setup.clock.now() - _LOOKBACK)
    remedy = "Correct it in templates/sales/policy.yaml and publish it. `nurture handoffs list` shows the leads."
    return [
        CheckResult("sales email", "warning", f"{count:,} to {rep} not delivered in the last week ({reason})", remedy)
        for rep, count, reason in found
    ]


def check_unapplied_events(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check for batches of provider events that were not fully applied."""
    with setup.read_database() as tx:
        count, oldest = provider_event_queries.count_failed(tx)
    if oldest is None:
        return []
    many = "1 batch" if count == 1 else f"{count:,} batches"
    found = f"{many} of provider events could not be fully applied, the oldest of {oldest:%Y-%m-%d}"
    remedy = "Each is stored and retried in every run; the log has the reason under event_batch_failed."
    return [CheckResult("events", "warning", found, remedy)]
