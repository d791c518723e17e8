"""What the doctor looks at outside: the provider, the sender's domain, our own pages, Prefect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import orjson

from nurture.errors import NurtureError
from nurture.mail.rendering.render import Address, ComposedEmail
from nurture.operations.check_crm import crm
from nurture.operations.check_inbound import replies, tokens, unapplied, unread
from nurture.operations.check_internal import (
    clock,
    database,
    doubtful,
    paused,
    published,
    sender_domains,
    senders,
)
from nurture.operations.check_machine import files, versions
from nurture.operations.check_notifiers import places
from nurture.operations.doctor import Check, Finding, SetUp, State
from nurture.operations.reach import Unreachable, get

_MOST_SENDERS: Final = 5
_EXAMPLE: Final = re.compile(r"(.+\.)?(example\.(com|net|org)|example|test|invalid|localhost)")
_HERE: Final = re.compile(r"localhost|127\..*|::1")
_SIGNED: Final = {
    "sendgrid": "SendGrid must show it as verified under Settings, Sender Authentication.",
    "smtp": "Your mail server's keeper must sign mail from it (DKIM) and stand in its SPF record.",
}


def provider(setup: SetUp) -> Sequence[Finding]:
    """Ask the provider whether it would take mail from each sender; nothing is sent."""
    name = setup.settings.provider
    if not setup.for_real:
        folder = setup.settings.mailbox
        remedy = "To send for real, set NURTURE_PROVIDER: see `Sending for real` in the README."
        faults = _ask(setup, [Address("", "nobody@example.com")]) if folder.exists() else []
        if faults:
            return [Finding("provider", "fails", f"mailbox: {fault}") for fault in faults]
        found = f"mailbox: mail goes into files in {folder}/, and never leaves this machine"
        return [Finding("provider", "warning", found, remedy)]
    asked = list(senders(setup).values())[:_MOST_SENDERS]
    if not asked:
        built = setup.provider()
        built.close()
        found = f"{name}: set up, but no sender is known to ask it about"
        return [Finding("provider", "fails", found, "`nurture check`, then `nurture publish`.")]
    faults = _ask(setup, asked)
    if faults:
        return [Finding("provider", "fails", f"{name}: {fault}") for fault in faults]
    took = "1 sender" if len(asked) == 1 else f"{len(asked)} senders"
    if name == "sendgrid" and setup.settings.sendgrid_sandbox:
        found = f"sendgrid: the key is good for {took}, but SendGrid only checks mail and delivers none"
        return [Finding("provider", "warning", found, "Take NURTURE_SENDGRID_SANDBOX away to send for real.")]
    proof = "the key is valid (asked in its sandbox)" if name == "sendgrid" else "it lets us in"
    return [Finding("provider", "ok", f"{name}: {proof}, and it takes mail from {took}; nothing was sent")]


def _ask(setup: SetUp, asked: Sequence[Address]) -> list[str]:
    """Offer an email from each sender to itself; return what is wrong, each thing once."""
    faults: dict[str, None] = {}
    carrier = setup.provider()
    try:
        for sender in asked:
            try:
                carrier.check(_letter(sender), setup.clock.now())
            except NurtureError as error:
                faults[str(error)] = None
    finally:
        carrier.close()
    return list(faults)


def _letter(sender: Address) -> ComposedEmail:
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


def domains(setup: SetUp) -> Sequence[Finding]:
    """Say what must be in order at each sender domain. Its DNS is not looked up: nobody named a resolver."""
    if not setup.for_real:
        return []
    return [_domain(name, _SIGNED[setup.settings.provider]) for name in sender_domains(setup)]


def _domain(name: str, signed: str) -> Finding:
    if _EXAMPLE.fullmatch(name):
        found = f"{name} is a domain for examples: nobody can answer mail from it"
        remedy = "Write your own sender in templates/defaults.yaml, and `nurture publish`."
        return Finding("domain", "warning", found, remedy)
    found = f"{name}: its SPF, DKIM and DMARC records are not looked up from here"
    return Finding("domain", "warning", found, f"{signed} `dig TXT _dmarc.{name}` must show v=DMARC1.")


def pages(setup: SetUp) -> Sequence[Finding]:
    """Open our own pages by their public address, as a lead who unsubscribes does."""
    base = setup.settings.base_url
    if base is None:
        found = "no public address is set: who unsubscribes must answer the mail, no click does it"
        remedy = "Set NURTURE_BASE_URL; large mailbox providers ask for one click."
        return [Finding("pages", "warning", found, remedy)]
    worse: State = "fails" if setup.for_real else "warning"
    remedy = "Links to unsubscribe lead there. Start the pages with `nurture up`, and check proxy and DNS."
    try:
        page = get(base + setup.health)
    except Unreachable as error:
        return [Finding("pages", worse, f"{base} does not answer: {error}", remedy)]
    if page.status == 503:
        return [Finding("pages", worse, f"{base} answers, but cannot use its database", "See database.")]
    if page.status != 200 or not _is_ours(page.body):
        to = f", and points to {urlsplit(page.location).netloc}" if page.location else ""
        found = f"{base} answers, but not with nurture's pages (status {page.status}{to})"
        return [Finding("pages", worse, found, remedy)]
    if _HERE.fullmatch(urlsplit(base).hostname or ""):
        found = f"{base} answers, but only this machine can open it"
        return [Finding("pages", "warning", found, "Set NURTURE_BASE_URL to the public https address.")]
    return [Finding("pages", "ok", f"{base} answers; people can unsubscribe there")]


def _is_ours(body: bytes) -> bool:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(told, dict) and told.get("database") == "ok"


def bounces(setup: SetUp) -> Sequence[Finding]:
    """Say whether anybody hears of bounces and complaints."""
    stop = "and stop each such address with `nurture leads suppress ADDRESS`."
    match setup.settings.provider:
        case "sendgrid" if setup.settings.webhook_keys:
            found = "taken from SendGrid's Event Webhook, once it posts to /webhooks/sendgrid/events"
            return [Finding("bounces", "ok", found)]
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
    return [Finding("bounces", "warning", found, remedy)]


def prefect(setup: SetUp) -> Sequence[Finding]:
    """Ask Prefect's server whether it is well."""
    url = urlsplit(setup.prefect)
    shown = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    remedy = (
        "`nurture up` starts it. Without it, `nurture run` or `nurture delivery run` sends when you say so."
    )
    try:
        page = get(f"{setup.prefect.rstrip('/')}/health")
    except Unreachable as error:
        return [Finding("Prefect", "warning", f"nothing runs by itself: {shown}: {error}", remedy)]
    if page.status in (401, 403):
        return [Finding("Prefect", "ok", f"{shown} answers, and wants to know who asks")]
    if page.status != 200 or page.body.strip() != b"true":
        found = f"nothing runs by itself: {shown} answers with status {page.status}, and not as Prefect does"
        return [Finding("Prefect", "warning", found, remedy)]
    return [Finding("Prefect", "ok", f"{shown} is well; flows run on their schedules")]


CHECKS: Final[Sequence[tuple[str, Check]]] = (
    ("nurture", versions),
    ("files", files),
    ("database", database),
    ("clock", clock),
    ("tracks", published),
    ("provider", provider),
    ("domain", domains),
    ("pages", pages),
    ("places", places),
    ("bounces", bounces),
    ("replies", replies),
    ("CRM", crm),
    ("events", unapplied),
    ("unread mail", unread),
    ("API", tokens),
    ("brakes", paused),
    ("doubts", doubtful),
    ("Prefect", prefect),
)
"""Every check, in the order of the screen."""
