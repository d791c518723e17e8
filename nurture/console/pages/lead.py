"""One lead: where it is, what comes next and why, its score, and one timeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from nicegui import ui

from nurture.console import addresses, components
from nurture.console.actions import ObjectKind, may_see_object
from nurture.console.page import EVERYBODY, Page, PageRequest
from nurture.console.view import View
from nurture.domain.lead import Custodian
from nurture.domain.planning import calendar
from nurture.errors import NotFound
from nurture.reporting.console.lead_page import CURVE_DAYS, LastWeek, LeadDetails, ScorePoint, TimelineItem, load_lead
from nurture.reporting.explain import LeadExplanation
from nurture.reporting.wording import pluralize

_KINDS: Final = {
    "": "All",
    "email": "Emails",
    "click": "Clicks",
    "reply": "Replies",
    "signal": "Signals",
    "move": "Moves",
    "hand_off": "Hand-offs",
    "outcome": "Outcomes",
    "consent": "Consent",
    "decision": "Decisions",
}
_MAX_LINES: Final = 200
_WIDTH, _HEIGHT = 600, 120


@dataclass(frozen=True, slots=True)
class LeadPage:
    """A lead, and the tracks and reps to which it can be moved."""

    lead: LeadDetails
    tracks: tuple[str, ...]
    reps: tuple[str, ...]


def _load(request: PageRequest) -> LeadPage:
    lead_id = addresses.read_number(request.values, "lead_id") or 0
    with request.ctx.database.read() as tx:
        if not may_see_object(tx, request.user, ObjectKind.LEAD, str(lead_id)):
            raise NotFound(f"There is no lead {lead_id} among yours.")
        definitions = request.ctx.definitions.current(tx)
    tracks, reps = tuple(sorted(definitions.programs)), tuple(one.id for one in definitions.policy.reps)
    return LeadPage(load_lead(request.ctx, lead_id, request.now), tracks, reps)


def _render(view: View, page: LeadPage) -> None:
    lead = page.lead
    with components.card(classes="head"):
        with components.block("soft", "p"):
            company = lead.account[1] if lead.account is not None else lead.explanation.company
            words = [one for one in (company, str(lead.fields.get("title") or ""), lead.email) if one]
            for place, word in enumerate(words):
                components.write("span", " · " if place else "")
                if lead.account is not None and not place:
                    components.link(word, addresses.of_company(lead.account[0]))
                else:
                    components.write("span", word)
        with components.block("why", "p"):
            components.write("strong", _describe_next(lead))
            components.write("span", f" {_describe_why(lead)}.")
        _draw_last_week(lead.last_week)
        _draw_actions(view, page)
    with components.block("columns"):
        with components.card("Now"):
            _draw_facts(lead)
        with components.card("Score"):
            _draw_score(lead)
    with components.card("Timeline"):
        _draw_timeline(view, addresses.of_lead(lead.explanation.lead_id), lead.timeline)


def _draw_last_week(found: LastWeek) -> None:
    """Draw in a sentence what the lead got in the last week, and if nothing, why."""
    with components.block("last-week", "p"):
        if found.emails:
            components.write("strong", f"{pluralize(found.emails, 'email')} in the last 7 days")
            components.write("span", ", the last one ")
        else:
            components.write("strong", "No email in the last 7 days")
            for place, (at, reason) in enumerate(found.reasons):
                components.write("span", ": " if not place else "; ")
                components.write("span", f"{reason.rstrip('.')} (decided ")
                components.time(at)
                components.write("span", ")")
            components.write(
                "span", ". " + ("The last one went out " if found.last_email_at else "There was none yet.")
            )
        if found.last_email_at is not None:
            components.time(found.last_email_at)
            components.write("span", ".")


def _draw_actions(view: View, page: LeadPage) -> None:
    found, target = page.lead.explanation, str(page.lead.explanation.lead_id)
    is_waiting = found.custodian == Custodian.QUEUE
    with components.block("buttons actions"):
        view.action_button("resume_lead" if found.paused_until is not None else "pause_lead", target)
        if found.custodian == Custodian.TRACK:
            view.action_button("hand_over_lead", target, choices={"rep": page.reps})
        if is_waiting:
            view.action_button("assign_waiting", target, choices={"rep": page.reps})
            view.action_button("nurture_waiting", target)
        if found.custodian not in (Custodian.OFFER, Custodian.REP):
            view.action_button("move_lead", target, choices={"track": page.tracks})
        view.action_button("grant_consent", target)
        if found.custodian == Custodian.TRACK:
            view.action_button("stop_lead", target)
        if is_waiting:
            view.action_button("discard_waiting", target)


def _describe_next(lead: LeadDetails) -> str:
    found = lead.explanation
    if found.enrollment is not None and found.custodian == Custodian.TRACK:
        return f"On {found.enrollment.track}, step {found.enrollment.step}."
    return f"With {found.owner}." if not found.owner.startswith("nobody") else "With nobody."


def _describe_why(lead: LeadDetails) -> str:
    why = lead.why.rstrip(".")
    if lead.explanation.custodian == Custodian.TRACK and lead.explanation.hold.guard:
        return f"Waits for {why}"
    return why[:1].upper() + why[1:]


def _draw_facts(lead: LeadDetails) -> None:
    found = lead.explanation
    with components.block("", "dl"):
        _fact("Who has it", found.owner)
        if found.since is not None:
            _draw_time_fact("Since", found, found.since)
        _fact("Next", found.next_action)
        if found.due_at is not None:
            _draw_time_fact("Due", found, found.due_at)
        if found.enrollment is not None:
            components.write("dt", "Track")
            with components.block("", "dd"):
                components.link(found.enrollment.track, addresses.of_track(found.enrollment.track))
                components.write("span", f", step {found.enrollment.step}")
        _fact("Goes back to", "; ".join(found.suspended))
        _fact("Consent", found.consent)
        _fact("Suppressed", "; ".join(found.suppressions))
        _fact("Fit", f"{found.fit}: {found.fit_reason}" if found.fit else "")
        for name, value in found.bant.items():
            _fact(name.capitalize(), value)
        _fact("Decides on", str(found.decides_on or ""))
        _fact("Readiness", found.readiness)
        _fact("Source", found.source)
        _draw_time_fact("First contact", found, found.first_contact_at)


def _fact(label: str, value: str) -> None:
    if value:
        components.write("dt", label)
        components.write("dd", value)


def _draw_time_fact(label: str, found: LeadExplanation, at: datetime) -> None:
    """Draw a time in the zone of the viewer, with that of the lead beside it."""
    components.write("dt", label)
    with components.block("", "dd"):
        components.time(at)
        if found.zone:
            local = calendar.to_local(at, found.zone)
            components.write("span", f" ({local:%a} {local.day} {local:%b %H:%M} for the lead)", "soft")


def _draw_score(lead: LeadDetails) -> None:
    thresholds = list(lead.score.thresholds)
    with components.block("", "p"):
        components.write("strong", f"{lead.explanation.engagement:g}")
        words = "; ".join(f"{one.value:g} for {one.used_by}" for one in thresholds)
        components.write("span", f" now. Needed: {words}" if words else " now", "soft")
    _draw_curve(lead.curve, max((one.value for one in thresholds), default=0.0))
    counted = [one for one in lead.score.lines if one.counts][-8:]
    if counted:
        rows = [
            (
                components.Time(one.at),
                one.kind.replace("_", " "),
                one.step or one.source,
                f"{one.points:g}",
                f"{one.remaining:.1f}",
            )
            for one in reversed(counted)
        ]
        columns = ("When", "What", "Where", "Points", "Left")
        components.table(columns, rows, caption="Signals that count", right=("Points", "Left"))
    else:
        components.empty("No signal counts yet.")


def _draw_curve(curve: Sequence[ScorePoint], threshold: float) -> None:
    """Draw the curve as a picture, with its values in words for screen readers."""
    most = max([one.score for one in curve] + [threshold, 1.0]) * 1.1
    step = _WIDTH / max(len(curve) - 1, 1)
    points = " ".join(
        f"{place * step:.1f},{_HEIGHT - one.score / most * _HEIGHT:.1f}" for place, one in enumerate(curve)
    )
    level = _HEIGHT - threshold / most * _HEIGHT
    line = f'<line x1="0" x2="{_WIDTH}" y1="{level:.1f}" y2="{level:.1f}" class="threshold"/>' if threshold else ""
    words = f"Score over {CURVE_DAYS} days: from {curve[0].score:g} to {curve[-1].score:g}"
    ui.html(
        f'<svg viewBox="0 -4 {_WIDTH} {_HEIGHT + 8}" role="img" aria-label="{words}" class="curve" '
        f'preserveAspectRatio="none">{line}<polyline points="{points}"/></svg>',
        sanitize=False,  # numbers only
    )
    components.paragraph(f"The last {CURVE_DAYS} days", "soft")


def _draw_timeline(view: View, here: str, timeline: Sequence[TimelineItem]) -> None:
    chosen = view.values.get("show", "")
    present = {one.kind for one in timeline}
    with components.block("switch", "nav") as drawn:
        drawn.props["aria-label"] = "Show in the timeline"
        for kind, label in _KINDS.items():
            if not kind or kind in present:
                one = components.link(label, f"{here}?show={kind}#timeline" if kind else f"{here}#timeline")
                if kind == chosen:
                    one.props["aria-current"] = "true"
    shown = [one for one in timeline if not chosen or one.kind == chosen]
    with components.block("timeline", "ol") as lines:
        lines.props("id=timeline")
        for item in shown[:_MAX_LINES]:
            _draw_item(item)
    if not shown:
        components.empty("Nothing of this kind happened.")
    if len(shown) > _MAX_LINES:
        components.paragraph(f"{len(shown) - _MAX_LINES:,} older lines are not shown; choose a kind.", "soft")


def _draw_item(item: TimelineItem) -> None:
    with components.block(f"item {item.kind}" + (" planned" if item.is_planned else ""), "li"):
        components.time(item.at, "item-time")
        with components.block("item-text"):
            components.write("strong", item.title)
            components.write("span", f" {item.detail}", "soft")
            if item.message_id is not None and item.kind == "email" and not item.is_planned:
                components.write("span", " ")
                components.link("Open", addresses.of_sent_email(item.message_id))
            if item.text:
                components.write("blockquote", item.text)


def _name(page: LeadPage) -> str:
    found = page.lead.explanation
    return found.name or page.lead.email or f"Lead {found.lead_id}"


PAGE: Final = Page("/leads/{lead_id}", "Lead", EVERYBODY, _load, _render, name=_name)
