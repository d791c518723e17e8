"""Deliverability: senders and their limits, what bounced, who must not be mailed, and messages to settle."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Final

from nicegui import ui

from nurture.console import addresses, components
from nurture.console.components import Cell, Link, Time
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.calendar import format_day
from nurture.console.reports.charts import Bar, bars
from nurture.console.reports.people import within_days
from nurture.console.view import View
from nurture.domain.delivery.stops import ALL_TRACKS
from nurture.errors import InvalidState
from nurture.journey.consent import suppression_files
from nurture.journey.consent.suppression_files import ListedOptOut
from nurture.journey.delivery.circuit_breakers import DomainStatus
from nurture.journey.delivery.unknown import PendingResolution
from nurture.outbox.circuit_breakers import Breaker
from nurture.reporting.console.deliverability import DAYS, MAX_UNKNOWN, Deliverability, load_deliverability
from nurture.reporting.console.deliverability_queries import MAX_OVERDUE
from nurture.reporting.console.lead_list_queries import LeadFilter
from nurture.reporting.domain_wording import describe_rate, describe_usage, describe_warm_up
from nurture.runtime import quarantine

_MAX_FOUND: Final = 20


@dataclass(frozen=True, slots=True)
class DeliverabilityPage:
    """What the page shows, the address that was asked about, its opt-outs, and what is wrong with it."""

    found: Deliverability
    address: str
    opt_outs: Sequence[ListedOptOut]
    problem: str


def _load(request: PageRequest) -> DeliverabilityPage:
    found = load_deliverability(request.ctx, request.now)
    address = request.values.get("address", "").strip()[:254]
    if not address:
        return DeliverabilityPage(found, "", (), "")
    try:
        return DeliverabilityPage(
            found, address, list(islice(suppression_files.list_current(request.ctx, address), _MAX_FOUND)), ""
        )
    except InvalidState as error:
        return DeliverabilityPage(found, address, (), str(error))


def _render(view: View, page: DeliverabilityPage) -> None:
    found = page.found
    for breaker in found.status.breakers:
        _draw_pause(view, breaker)
    for stop in found.status.stops:
        components.notice(f"{stop}.", "warning")
        view.action_button(*(("start_mail", "all") if stop.track == ALL_TRACKS else ("start_track", stop.track)))
    with components.card("Sender domains"):
        if found.status.domains:
            columns = ("Domain", "State", "This hour", "Today", "Warm-up", "Bounced", "Complained", "Tracks")
            components.table(columns, [_domain_row(one) for one in found.status.domains], caption="Sender domains")
            components.paragraph("Hours and days are in UTC. Above its limit of bounces a domain pauses.", "soft after")
        else:
            components.empty("No track is published, so no domain sends.")
    _draw_days(found)
    _draw_unknown(view, found)
    with components.block("columns"):
        _draw_suppressions(view, page)
        _draw_events(found)


def _draw_pause(view: View, breaker: Breaker) -> None:
    with components.block("task urgent"):
        with components.block("task-text"):
            components.write(
                "strong", f"Mail by {breaker.name} is paused" if breaker.kind != quarantine.KIND else "Quarantine"
            )
            with components.block("soft", "p"):
                components.write("span", f"{breaker.reason}. Since ")
                components.time(breaker.since)
                if breaker.until is not None:
                    components.write("span", ", tried again ")
                    components.time(breaker.until)
            if breaker.kind == quarantine.KIND:
                components.paragraph(quarantine.remedy_for(breaker), "soft")
        if breaker.kind != quarantine.KIND:
            view.action_button("resume_sender", breaker.name)


def _domain_row(one: DomainStatus) -> tuple[Cell, ...]:
    limits, received = one.limits, one.stats
    return (
        one.domain,
        "paused" if one.pause is not None else "sends",
        describe_usage(one.sent.this_hour, limits.per_hour),
        describe_usage(one.sent.today, one.allowed_today),
        describe_warm_up(one) or "none",
        describe_rate(received.bounced, received.sent, limits.max_bounce_rate),
        describe_rate(received.complained, received.sent, limits.max_complaint_rate),
        ", ".join(one.tracks),
    )


def _draw_days(found: Deliverability) -> None:
    with components.card(f"The last {DAYS} days"):
        bars("Sent by day", [Bar(f"{one.day:%d %b}", one.sent, one.bounced + one.complained) for one in found.days])
        shown = [one for one in reversed(found.days) if one.sent or one.bounced or one.complained]
        if shown:
            rows = [(format_day(one.day), _emailed(one.day, one.sent), one.bounced, one.complained) for one in shown]
            columns = ("Day (UTC)", "Emails to leads", "Bounced", "Complained")
            components.table(columns, rows, caption="By day", right=columns[1:])
        else:
            components.empty("Nothing was sent.")


def _emailed(day: date, sent: int) -> Cell:
    """Return the number of emails of a day, which leads to those who got one."""
    people = within_days(LeadFilter(did="emailed"), day, day)
    return Link(f"{sent:,}", addresses.of_leads(people)) if sent else 0


def _draw_unknown(view: View, found: Deliverability) -> None:
    with components.card("Messages whose delivery is unknown"):
        if not found.pending:
            components.empty("None. Every message was accepted or refused.")
            return
        components.paragraph("Each may or may not have arrived. Ask the provider or the recipient, then say which.")
        for one in found.pending:
            with components.block("row"):
                with components.block("who"):
                    what = f"{one.message.track}/{one.message.step}" if one.message.track else one.message.kind
                    components.link(what, addresses.of_lead(one.message.lead_id))
                    with components.block("soft", "p"):
                        components.write("span", f"{one.message.reason or 'no reason is known'}. Tried ")
                        components.time(one.message.called_at)
                        components.write("span", f". {_default(one)}")
                with components.block("buttons"):
                    view.action_button("settle_sent", str(one.message.id))
                    view.action_button("settle_not_sent", str(one.message.id))
        if found.unknown_count > MAX_UNKNOWN:
            components.paragraph(f"The oldest {MAX_UNKNOWN} of {found.unknown_count:,}.", "soft")


def _default(one: PendingResolution) -> str:
    if one.at is None:
        return "It is not sent again by itself."
    then = "is sent again" if one.resolution == "resend" else "counts as sent"
    return f"If nobody says, it {then} at {one.at:%Y-%m-%d %H:%M} UTC."


def _draw_suppressions(view: View, page: DeliverabilityPage) -> None:
    with components.card("Who must not be mailed"):
        with ui.element("form").classes("inline").props("action=/deliverability method=get"):
            field = ui.element("input").props("type=text name=address maxlength=254")
            field.props["aria-label"] = field.props["placeholder"] = "Is this address suppressed?"
            field.props["value"] = page.address
            components.write("button", "Look up", "quiet").props("type=submit")
        if page.problem:
            components.notice(page.problem, "problem")
        elif page.opt_outs:
            rows = [(one.scope, one.ref, one.source, Time(one.since)) for one in page.opt_outs]
            components.table(("Scope", "Of", "By", "Since"), rows, caption=f"Opt-outs of {page.address}")
        elif page.address:
            components.notice(f"{page.address} is not suppressed.", "success")
        if page.found.opt_outs:
            counts = [(source, count, new) for source, (count, new) in page.found.opt_outs.items()]
            columns = ("Opt-outs by", "All", f"Last {DAYS} days")
            components.table(columns, counts, caption="Opt-outs in the log", right=columns[1:])
            components.paragraph("Those that were lifted since are counted, too.", "soft after")
        else:
            components.empty("Nobody has opted out, bounced or complained.")
        with components.block("buttons"):
            view.action_button("suppress", "all")


def _draw_events(found: Deliverability) -> None:
    with components.card("Provider and webhooks"):
        sending = found.sending
        if sending.oldest is not None:
            with components.block("notice warning", "p"):
                many = f"{sending.overdue:,}{' or more' if sending.overdue == MAX_OVERDUE else ''}"
                components.write("span", f"{many} emails had to go out more than an hour ago, the first ")
                components.time(sending.oldest)
                components.write("span", ". Stops, pauses and limits hold them, or no run sends.")
        if found.failed_batches:
            text = (
                f"{found.failed_batches:,} batches of events could not be applied; they are tried again in every run."
            )
            components.notice(text, "warning")
        rows: list[tuple[Cell, ...]] = [
            (
                f"Email accepted by {sending.provider}" if sending.provider else "Email accepted",
                _time(sending.last_accepted),
            ),
            (
                f"Events of {found.events.provider}" if found.events.provider else "Events",
                _time(found.events.last_event),
            ),
            ("Replies", _time(found.events.last_reply)),
        ]
        components.table(("What", "The last one"), rows, caption="Last events")
        components.paragraph("Bounces and complaints come as events. Without events they are not known.", "soft after")
        components.link("What else needs somebody", "/")


def _time(at: datetime | None) -> Cell:
    return Time(at) if at is not None else "none yet"


PAGE: Final = Page("/deliverability", "Deliverability", ALL_BUT_REPS, _load, _render, "Deliverability", 60)
