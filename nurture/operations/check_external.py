"""Doctor checks of the outside: provider, sender domains, our own pages, Prefect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import orjson

from nurture.errors import NurtureError
from nurture.mail.providers.spec import EVENTS_PATH
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


def check_provider(setup: DoctorContext) -> Sequence[CheckResult]:
    """Ask the provider whether it accepts email from each sender; nothing is sent."""
    name, spec = setup.settings.provider, setup.provider_spec
    if spec.folder is not None:
        folder = spec.folder(setup.settings)
        remedy = "To send for real, set NURTURE_PROVIDER: see `Sending for real` in docs/operators.md."
        problems = _probe_senders(setup, [Address("", "nobody@example.com")]) if folder.exists() else []
        if problems:
            return [CheckResult("provider", "failed", f"{name}: {problem}") for problem in problems]
        found = f"{name}: email is written to files in {folder}/ and never leaves this machine"
        return [CheckResult("provider", "warning", found, remedy)]
    probed = list(senders(setup).values())[:_MOST_SENDERS]
    if not probed:
        built = setup.make_provider()
        built.close()
        found = f"{name}: configured, but there is no sender to check"
        return [CheckResult("provider", "failed", found, "Run `nurture check`, then `nurture publish`.")]
    problems = _probe_senders(setup, probed)
    if problems:
        return [CheckResult("provider", "failed", f"{name}: {fault}") for fault in problems]
    count = "1 sender" if len(probed) == 1 else f"{len(probed)} senders"
    found = f"{name}: {spec.hints.proof.format(senders=count)}"
    dry_run = spec.hints.find_dry_run(setup.settings)
    if dry_run is not None:
        return [CheckResult("provider", "warning", f"{found}, but {dry_run.meaning}", dry_run.remedy)]
    return [CheckResult("provider", "ok", f"{found}; nothing was sent")]


def _probe_senders(setup: DoctorContext, from_addresses: Sequence[Address]) -> list[str]:
    """Check an email from each sender to itself; return the distinct problems."""
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
    text = "This email checks whether a provider accepts it. It is never delivered."
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
    """Report what to verify at each sender domain; DNS is not queried, because no resolver is configured."""
    if not setup.is_live:
        return []
    return [_check_domain(name, setup.provider_spec.hints.domain) for name in sender_domains(setup)]


def _check_domain(name: str, advice: str) -> CheckResult:
    if _EXAMPLE_DOMAIN.fullmatch(name):
        found = f"{name} is reserved for examples and gets no replies"
        remedy = "Set your own sender in templates/defaults.yaml, then run `nurture publish`."
        return CheckResult("domain", "warning", found, remedy)
    found = f"{name}: SPF, DKIM and DMARC records are not checked from here"
    return CheckResult("domain", "warning", found, f"{advice} `dig TXT _dmarc.{name}` must show v=DMARC1.")


def check_pages(setup: DoctorContext) -> Sequence[CheckResult]:
    """Request our own pages at their public URL, as a lead who unsubscribes does."""
    base = setup.settings.base_url
    if base is None:
        found = "no public URL is set: leads can unsubscribe only by reply"
        remedy = "Set NURTURE_BASE_URL; large mailbox providers require one-click unsubscribe."
        return [CheckResult("pages", "warning", found, remedy)]
    worse: CheckState = "failed" if setup.is_live else "warning"
    remedy = "Unsubscribe links lead there. Start the pages with `nurture up`, and check proxy and DNS."
    try:
        page = probe(base + setup.health_path)
    except Unreachable as error:
        return [CheckResult("pages", worse, f"{base} does not answer: {error}", remedy)]
    if page.status == 503:
        return [CheckResult("pages", worse, f"{base} answers, but cannot use its database", "See the database check.")]
    if page.status != 200 or not _is_nurture_page(page.body):
        to = f", redirect to {urlsplit(page.location).netloc}" if page.location else ""
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
    """Check whether bounces and complaints are received."""
    if not setup.is_live:
        return []
    spec, events = setup.provider_spec, setup.provider_spec.events
    suppress = "every few days, and suppress each such address with `nurture leads suppress ADDRESS`."
    if events is not None and events.is_configured(setup.settings):
        found = f"received from {events.source}, once it posts to {EVENTS_PATH.format(provider=spec.name)}"
        return [CheckResult("bounces", "ok", found)]
    if events is not None:
        found = f"not configured: nothing is accepted from {events.source}, so bounces pause no domain"
        remedy = f"Enable it and set {events.variable}. Until then check {spec.hints.bounces} {suppress}"
    elif setup.settings.imap_url is not None:
        found = "returned as email to the sender: those in NURTURE_IMAP_URL are read, but pause no domain"
        remedy = f"If the sender has another mailbox, check it {suppress}"
    else:
        found = "returned as email to the sender, and not read: they pause no domain"
        remedy = f"Check {spec.hints.bounces} {suppress}"
    return [CheckResult("bounces", "warning", found, remedy)]


def check_prefect(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check the health of the Prefect server."""
    url = urlsplit(setup.prefect_url)
    shown = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    remedy = "Start it with `nurture up`. Without it, run `nurture run` or `nurture delivery run` yourself."
    try:
        page = probe(f"{setup.prefect_url.rstrip('/')}/health")
    except Unreachable as error:
        return [CheckResult("Prefect", "warning", f"no flows are scheduled: {shown}: {error}", remedy)]
    if page.status in (401, 403):
        return [CheckResult("Prefect", "ok", f"{shown} answers, and requires authentication")]
    if page.status != 200 or page.body.strip() != b"true":
        found = f"no flows are scheduled: {shown} answers with status {page.status}, and not as Prefect does"
        return [CheckResult("Prefect", "warning", found, remedy)]
    return [CheckResult("Prefect", "ok", f"{shown} is healthy; flows run on their schedules")]


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
"""Every check, in display order."""
