"""Doctor checks of the outside: CRM, provider, sender domains, our own pages, Prefect."""

import re
import socket
import ssl
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from nurture.crm.base import CrmUnavailable
from nurture.crm.registry import CRMS
from nurture.domain.delivery.sending_limits import normalize_domain
from nurture.errors import NurtureError
from nurture.mail.inbound.classify import reply_address
from nurture.mail.providers.spec import EVENTS_PATH
from nurture.mail.rendering.render import Address, ComposedEmail
from nurture.operations import check_inbound, check_internal
from nurture.operations.check_notifiers import check_notifiers
from nurture.operations.doctor import Check, CheckResult, CheckState, DoctorContext
from nurture.outbox import crm_records
from nurture.runtime.public_links import PROBE_TOKEN
from nurture.settings_model import is_local

_MAX_BODY_BYTES: Final = 4_096
_TIMEOUT: Final = 8.0  # seconds, for each wait

_MOST_SENDERS: Final = 5

_EXAMPLE_DOMAIN: Final = re.compile(r"(.+\.)?(example\.(com|net|org)|example|test|invalid|localhost)")

_LOCAL_HOST: Final = re.compile(r"localhost|127\..*|::1")


class Unreachable(Exception):
    """The URL gives no usable response; the message is the reason."""


class ProbeResponse(NamedTuple):
    """A response: status, the first bytes of the body, and the Location header."""

    status: int
    body: bytes
    location: str


def probe(url: str, timeout: float = _TIMEOUT) -> ProbeResponse:
    """Request *url*, http or https, without redirects or proxies; read a bounded body. Raises Unreachable."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: HTTPConnection
    try:
        if parts.scheme == "https":
            trusted = ssl.create_default_context()
            connection = HTTPSConnection(host, parts.port, timeout=timeout, context=trusted)
        else:
            connection = HTTPConnection(host, parts.port, timeout=timeout)
    except ValueError as error:
        raise Unreachable(f"{error}") from error
    try:
        connection.request("GET", parts.path or "/", headers={"User-Agent": "nurture-doctor"})
        answer = connection.getresponse()
        return ProbeResponse(answer.status, answer.read(_MAX_BODY_BYTES), answer.getheader("Location", ""))
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"its certificate is not trusted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Unreachable(f"TLS fails: {error.reason or error}") from error
    except socket.gaierror as error:
        raise Unreachable(f"the host name {host} cannot be resolved") from error
    except TimeoutError as error:
        raise Unreachable(f"no answer within {timeout:g} seconds") from error
    except (OSError, HTTPException, ValueError) as error:
        message = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreachable(message[0].lower() + message[1:]) from error
    finally:
        connection.close()


def check_crm(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check access and fields of the CRM, and hand-offs that wait or were rejected; nothing is written.

    Problems are warnings: email is sent without a CRM.
    """
    if setup.make_crm is None:
        return []
    client = setup.make_crm()
    if client is None:
        found = "none: sales gets hand-offs by email only and records outcomes by hand"
        return [CheckResult("CRM", "warning", found, f"Set NURTURE_CRM: {', '.join(CRMS)}.")]
    try:
        problems = list(client.check(setup.clock.now()))
    except CrmUnavailable as down:
        problems = [down.reason]
    finally:
        client.close()
    if problems:
        return [
            CheckResult("CRM", "warning", f"{client.name}: {problem}", "Run `nurture handoffs crm check`.")
            for problem in problems
        ]
    return [_check_waiting(setup, client.name)]


def _check_waiting(setup: DoctorContext, name: str) -> CheckResult:
    with setup.open_database() as database, database.read() as tx:
        states = {one.state: one for one in crm_records.count_by_state(tx)}
    rejected = states.get("rejected")
    if rejected is not None:
        found = f"{name}: {rejected.record_count} hand-offs were rejected, one of them with: {rejected.reason}"
        remedy = "Fix it in the CRM, then run `nurture handoffs crm sync --resync-since DATE`."
        return CheckResult("CRM", "warning", found, remedy)
    waiting = sum(one.record_count for state, one in states.items() if state != "done")
    where = "files in a folder" if is_local(CRMS, name) else "it has all required fields"
    return CheckResult("CRM", "ok", f"{name}: {where}; {waiting} hand-offs wait for the push")


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
    probed = list(check_internal.senders(setup).values())[:_MOST_SENDERS]
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
                client.check(_probe_email(sender, setup.settings.reply_domain), setup.clock.now())
            except NurtureError as error:
                problems[str(error)] = None
    finally:
        client.close()
    return list(problems)


def _probe_email(sender: Address, reply_domain: str | None) -> ComposedEmail:
    text = "This email checks whether a provider accepts it. It is never delivered."
    return ComposedEmail(
        ref="doctor",
        sender=sender,
        to=Address("", sender.email),
        reply_to=None,
        subject="nurture doctor",
        written_html=f"<p>{text}</p>",
        text=text,
        headers=(),
        return_path=reply_address(PROBE_TOKEN, reply_domain) if reply_domain else "",
    )


def check_domains(setup: DoctorContext) -> Sequence[CheckResult]:
    """Report what to verify at each sender domain; DNS is not queried, because no resolver is configured."""
    if not setup.is_live:
        return []
    spec = setup.provider_spec
    found = [_check_domain(name, spec.hints.domain) for name in _sender_domains(setup)]
    returns_to = setup.settings.reply_domain if spec.events is None else None
    if returns_to is not None:
        remedy = "The envelope sender of all email is at this domain: your mail server must be in its SPF record too."
        found.append(CheckResult("domain", "warning", f"{returns_to}: its SPF record is not checked from here", remedy))
    return found


def _sender_domains(setup: DoctorContext) -> list[str]:
    return sorted({normalize_domain(address.rpartition("@")[2]) for address in check_internal.senders(setup)})


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
        found = "no public URL is set: leads unsubscribe only by reply, and reps cannot answer a hand-off by themselves"
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
    elif (domain := setup.settings.reply_domain) is None:
        found = "returned as email to the sender, and not read: they suppress no address and pause no domain"
        remedy = (
            "Set NURTURE_REPLY_DOMAIN and NURTURE_IMAP_URL, so that they are returned to a mailbox that is read. Until "
            f"then check {spec.hints.bounces} {suppress}"
        )
    elif mailboxes := check_inbound.list_mailboxes(setup.settings):
        found = f"returned as email to addresses at {domain}, and read from {' and '.join(mailboxes)}"
        return [CheckResult("bounces", "ok", found)]
    else:
        found = (
            f"returned as email to addresses at {domain}, and not read: they suppress no address and pause no domain"
        )
        remedy = "Set NURTURE_IMAP_URL to the mailbox of this domain."
    return [CheckResult("bounces", "warning", found, remedy)]


def check_prefect(setup: DoctorContext) -> Sequence[CheckResult]:
    """Check the health of the Prefect server."""
    url = urlsplit(setup.prefect_url)
    shown = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    remedy = "Start it with `nurture up`. Without it, run `nurture run` or `nurture mail run` yourself."
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
    ("nurture", check_internal.check_versions),
    ("files", check_internal.check_file_permissions),
    ("database", check_internal.check_database),
    ("clock", check_internal.check_clock),
    ("tracks", check_internal.check_published),
    ("provider", check_provider),
    ("domain", check_domains),
    ("pages", check_pages),
    ("notifiers", check_notifiers),
    ("bounces", check_bounces),
    ("replies", check_inbound.check_replies),
    ("sales email", check_inbound.check_sales_email),
    ("CRM", check_crm),
    ("activity", check_inbound.check_activity),
    ("events", check_inbound.check_unapplied_events),
    ("unread mail", check_inbound.check_unread_mail),
    ("erasure requests", check_inbound.check_erasure_requests),
    ("API", check_inbound.check_api_tokens),
    ("opt-outs", check_inbound.check_unclear_opt_outs),
    ("pauses", check_internal.check_sending_pauses),
    ("unknown", check_internal.check_unknown_messages),
    ("queues", check_internal.check_queues),
    ("Prefect", check_prefect),
)
"""Every check, in display order."""

_STORED: Final = frozenset({"events", "erasure requests", "API", "opt-outs", "unknown", "queues"})
STORED_CHECKS: Final = tuple(one for one in CHECKS if one[0] in _STORED)
"""The checks that read the database alone: those of a process without the secrets of the others."""
