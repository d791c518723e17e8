"""What the doctor looks at outside: the provider, the sender's domain, our own pages, Prefect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import orjson

from nurture.errors import NurtureError
from nurture.mail.rendering.render import Address, ComposedEmail
from nurture.operations.check_crm import check_crm
from nurture.operations.check_inbound import check_api_tokens, check_replies, check_unapplied_events, check_unread_mail
from nurture.operations.check_internal import (
    check_clock,
    check_database,
    check_published,
    check_sending_pauses,
    check_unknown_messages,
    sender_domains,
    senders,
)
from nurture.operations.check_machine import check_file_permissions, check_versions
from nurture.operations.check_notifiers import check_notifiers
from nurture.operations.doctor import Check, CheckResult, CheckState, DoctorContext
from nurture.operations.http_probe import Unreachable, probe

_MOST_SENDERS: Final = 5
_EXAMPLE_DOMAIN: Final = re.compile(r"(.+\.)?(example\.(com|net|org)|example|test|invalid|localhost)")
_LOCAL_HOST: Final = re.compile(r"localhost|127\..*|::1")
_DKIM_ADVICE: Final = {
    "sendgrid": "SendGrid must show it as verified under Settings, Sender Authentication.",
    "smtp": "Your mail server's keeper must sign mail from it (DKIM) and stand in its SPF record.",
}


def check_provider(setup: DoctorContext) -> Sequence[CheckResult]:
    """Ask the provider whether it would take mail from each sender; nothing is sent."""
    name = setup.settings.provider
    if not setup.is_live:
        folder = setup.settings.maildir
        remedy = "To send for real, set NURTURE_PROVIDER: see `Sending for real` in docs/operators.md."
        problems = _probe_senders(setup, [Address("", "nobody@example.com")]) if folder.exists() else []
        if problems:
            return [CheckResult("provider", "failed", f"maildir: {problem}") for problem in problems]
        found = f"maildir: mail goes into files in {folder}/, and never leaves this machine"
        return [CheckResult("provider", "warning", found, remedy)]
    probed = list(senders(setup).values())[:_MOST_SENDERS]
    if not probed:
        built = setup.make_provider()
        built.close()
        found = f"{name}: set up, but no sender is known to ask it about"
        return [CheckResult("provider", "failed", found, "`nurture check`, then `nurture publish`.")]
    problems = _probe_senders(setup, probed)
    if problems:
        return [CheckResult("provider", "failed", f"{name}: {fault}") for fault in problems]
    took = "1 sender" if len(probed) == 1 else f"{len(probed)} senders"
    if name == "sendgrid" and setup.settings.sendgrid_sandbox:
        found = f"sendgrid: the key is good for {took}, but SendGrid only checks mail and delivers none"
        return [CheckResult("provider", "warning", found, "Take NURTURE_SENDGRID_SANDBOX away to send for real.")]
    proof = "the key is valid (asked in its sandbox)" if name == "sendgrid" else "it lets us in"
    return [CheckResult("provider", "ok", f"{name}: {proof}, and it takes mail from {took}; nothing was sent")]


def _probe_senders(setup: DoctorContext, from_addresses: Sequence[Address]) -> list[str]:
    """Offer an email from each sender to itself; return what is wrong, each thing once."""
    problems: dict[str, None] = {}
    client = setup.make_provider()
    try:
        for sender in from_addresses:
            try:
                client.check(_probe_email(sender), setup.clock.now())
            except NurtureError as error:
                problems[str(error)] = None
    finally:
        client.close()
    return list(problems)


def _probe_email(sender: Address) -> ComposedEmail:
    text = "This email asks whether a provider would take it. It is never delivered."
    return ComposedEmail(
        ref="doctor",
        sender=sender,
        to=Address("", sender.email),
        reply_to=None,
        subject="nurture doctor",
        html=f"<p>{text}</p>",
        text=text,
        headers=(),
    )


def check_domains(setup: DoctorContext) -> Sequence[CheckResult]:
    """Say what must be in order at each sender domain. Its DNS is not looked up: nobody named a resolver."""
    if not setup.is_live:
        return []
    return [_check_domain(name, _DKIM_ADVICE[setup.settings.provider]) for name in sender_domains(setup)]


def _check_domain(name: str, advice: str) -> CheckResult:
    if _EXAMPLE_DOMAIN.fullmatch(name):
        found = f"{name} is a domain for examples: nobody can answer mail from it"
        remedy = "Write your own sender in templates/defaults.yaml, and `nurture publish`."
        return CheckResult("domain", "warning", found, remedy)
    found = f"{name}: its SPF, DKIM and DMARC records are not looked up from here"
    return CheckResult("domain", "warning", found, f"{advice} `dig TXT _dmarc.{name}` must show v=DMARC1.")


def check_pages(setup: DoctorContext) -> Sequence[CheckResult]:
    """Open our own pages by their public address, as a lead who unsubscribes does."""
    base = setup.settings.base_url
    if base is None:
        found = "no public address is set: who unsubscribes must answer the mail, no click does it"
        remedy = "Set NURTURE_BASE_URL; large mailbox providers ask for one click."
        return [CheckResult("pages", "warning", found, remedy)]
    worse: CheckState = "failed" if setup.is_live else "warning"
    remedy = "Links to unsubscribe lead there. Start the pages with `nurture up`, and check proxy and DNS."
    try:
        page = probe(base + setup.health_path)
    except Unreachable as error:
        return [CheckResult("pages", worse, f"{base} does not answer: {error}", remedy)]
    if page.status == 503:
        return [CheckResult("pages", worse, f"{base} answers, but cannot use its database", "See database.")]
    if page.status != 200 or not _is_nurture_page(page.body):
        to = f", and points to {urlsplit(page.location).netloc}" if page.location else ""
        found = f"{base} answers, but not with nurture's pages (status {page.status}{to})"
        return [CheckResult("pages", worse, found, remedy)]
    if _LOCAL_HOST.fullmatch(urlsplit(base).hostname or ""):
        found = f"{base} answers, but only this machine can open it"
        return [CheckResult("pages", "warning", found, "Set NURTURE_BASE_URL to the public https address.")]
    return [CheckResult("pages", "ok", f"{base} answers; people can unsubscribe there")]


def _is_nurture_page(body: bytes) -> bool:
    try:
        health = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(health, dict) and health.get("database") == "ok"


def check_bounces(setup: DoctorContext) -> Sequence[CheckResult]:
    """Say whether anybody hears of bounces and complaints."""
    stop = "and stop each such address with `nurture leads suppress ADDRESS`."
    match setup.settings.provider:
        case "sendgrid" if setup.settings.webhook_keys:
            found = "taken from SendGrid's Event Webhook, once it posts to /webhooks/sendgrid/events"
            return [CheckResult("bounces", "ok", found)]
        case "sendgrid":
            found = "not set up yet: nobody hears SendGrid's events, so bounces pause no domain"
            remedy = (
                "Switch its signed Event Webhook on and set NURTURE_SENDGRID_WEBHOOK_KEY. Until then look at "
                f"SendGrid's page Suppressions every few days, {stop}"
            )
        case "smtp" if setup.settings.imap_url is not None:
            found = "come back as mail to the sender: those in NURTURE_IMAP_URL are read, but pause no domain"
            remedy = f"If the sender's mailbox is another one, look into it every few days, {stop}"
        case "smtp":
            found = "come back as mail to the sender, and are not read: they pause no domain"
            remedy = f"Look into the sender's mailbox every few days, {stop}"
        case _:
            return []
    return [CheckResult("bounces", "warning", found, remedy)]


def check_prefect(setup: DoctorContext) -> Sequence[CheckResult]:
    """Ask Prefect's server whether it is well."""
    url = urlsplit(setup.prefect_url)
    shown = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    remedy = "`nurture up` starts it. Without it, `nurture run` or `nurture delivery run` sends when you say so."
    try:
        page = probe(f"{setup.prefect_url.rstrip('/')}/health")
    except Unreachable as error:
        return [CheckResult("Prefect", "warning", f"nothing runs by itself: {shown}: {error}", remedy)]
    if page.status in (401, 403):
        return [CheckResult("Prefect", "ok", f"{shown} answers, and wants to know who asks")]
    if page.status != 200 or page.body.strip() != b"true":
        found = f"nothing runs by itself: {shown} answers with status {page.status}, and not as Prefect does"
        return [CheckResult("Prefect", "warning", found, remedy)]
    return [CheckResult("Prefect", "ok", f"{shown} is well; flows run on their schedules")]


CHECKS: Final[Sequence[tuple[str, Check]]] = (
    ("nurture", check_versions),
    ("files", check_file_permissions),
    ("database", check_database),
    ("clock", check_clock),
    ("tracks", check_published),
    ("provider", check_provider),
    ("domain", check_domains),
    ("pages", check_pages),
    ("notifiers", check_notifiers),
    ("bounces", check_bounces),
    ("replies", check_replies),
    ("CRM", check_crm),
    ("events", check_unapplied_events),
    ("unread mail", check_unread_mail),
    ("API", check_api_tokens),
    ("pauses", check_sending_pauses),
    ("unknown", check_unknown_messages),
    ("Prefect", check_prefect),
)
"""Every check, in the order of the screen."""
