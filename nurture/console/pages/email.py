"""The preview of an email of a track: as a lead gets it, or as the worst cases do; sizes, links, headers and text."""

import re
from dataclasses import dataclass
from typing import Final

from nicegui import ui

from nurture.console import addresses, components
from nurture.console.actions import ObjectKind, may_see_object
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.view import View
from nurture.errors import NotFound, NurtureError
from nurture.journey.leads.find import find_lead
from nurture.journey.tracks.emails_to_self import SAMPLE_RECIPIENTS, load_recipient
from nurture.mail.rendering.render import CompositionFailed
from nurture.publishing import preview
from nurture.publishing.preview import EmailPreview
from nurture.runtime import publication_queries

_SAMPLES: Final = {
    "sample": "A sample lead",
    "only-an-address": "Only an address",
    "long-values": "Long values",
}
_IF_DARK: Final = re.compile(r"\(\s*prefers-color-scheme\s*:\s*dark\s*\)")
_SHOWN: Final = {"desktop": "700 px", "phone": "390 px", "dark": "Dark", "text": "Text"}


@dataclass(frozen=True, slots=True)
class EmailPage:
    """The preview of *email*, or why it cannot be composed for this recipient."""

    track: str
    name: str
    version: int
    emails: tuple[str, ...]
    found: EmailPreview | None
    problem: str


def _find_own_lead(request: PageRequest, reference: str) -> int:
    """Return the lead that *reference* names, if the user may see it. Raises NotFound."""
    lead_id = find_lead(request.ctx, reference)
    with request.ctx.database.read() as tx:
        if not may_see_object(tx, request.user, ObjectKind.LEAD, str(lead_id)):
            raise NotFound(f"There is no lead {reference} among yours.")
    return lead_id


def _load(request: PageRequest) -> EmailPage:
    track, name = request.values["track"], request.values["email"]
    to = request.values.get("to", "sample")
    try:
        recipient = SAMPLE_RECIPIENTS.get(to) or load_recipient(request.ctx, _find_own_lead(request, to), request.now)
        problem = ""
    except NurtureError as error:
        recipient, problem = SAMPLE_RECIPIENTS["sample"], str(error)
    with request.ctx.database.read() as tx:
        versions = publication_queries.list_versions(tx, "track", track)
        if not versions:
            raise NotFound(f"No track {track} is published.")
        version = addresses.read_number(request.values, "version", versions[0][0]) or versions[0][0]
        emails = tuple(sorted(request.ctx.definitions.subjects(tx, track, version)))
        found = None
        if not problem:
            try:
                found = preview.render_published(request.ctx, tx, track, version, name, recipient)
            except CompositionFailed as error:
                problem = str(error)
    return EmailPage(track, name, version, emails, found, problem)


def _render(view: View, page: EmailPage) -> None:
    to, shown = view.values.get("to", "sample"), view.values.get("show", "desktop")
    with components.block("", "p"):
        components.link(page.track, addresses.of_track(page.track))
        components.write("span", f" · {page.name}, version {page.version} · ", "soft")
        components.link("Edit it in the folder", addresses.of_file(f"tracks/{page.track}/{page.name}.md"))
    with components.block("switches"):
        with components.block("switch", "nav") as drawn:
            drawn.props["aria-label"] = "As whom"
            for key, label in _SAMPLES.items():
                href = addresses.of_email(page.track, page.name, version=page.version, to=key, show=shown)
                one = components.link(label, href)
                if key == to:
                    one.props["aria-current"] = "true"
        with ui.element("form").classes("inline").props("method=get"):
            for name, value in (("version", str(page.version)), ("show", shown)):
                ui.element("input").props(f"type=hidden name={name}").props["value"] = value
            field = ui.element("input").props("type=text name=to maxlength=200")
            field.props["aria-label"] = "As this lead: id, address or external id"
            field.props["placeholder"] = "As a lead: id or address"
            field.props["value"] = "" if to in _SAMPLES else to
            components.write("button", "Show", "quiet").props("type=submit")
    with components.block("buttons"):
        chosen = {"email": (page.name,), "version": (str(page.version),), "to": (to,)}
        view.action_button("send_email_to_me", page.track, choices=chosen)
        view.action_button("send_track_to_me", page.track, choices=chosen)
    if page.problem:
        components.notice(page.problem, "problem")
    if page.found is not None:
        draw_email(page.found, addresses.of_email(page.track, page.name, version=page.version, to=to), shown)
    with components.card("Emails of this track"), components.block("", "ul"):
        for name in page.emails:
            with components.block("", "li"):
                components.link(name, addresses.of_email(page.track, name, version=page.version, to=to))


def draw_email(found: EmailPreview, address: str, shown: str) -> None:
    """Draw an email as an inbox and a reader show it; *address* is that of the page, with a query."""
    email = found.email
    with components.card("In the inbox"), components.block("inbox"):
        components.write("strong", email.sender.name or email.sender.email, "inbox-from")
        with components.block("inbox-line"):
            components.write("strong", email.subject)
            components.write("span", f" {found.preheader}", "soft")
    with components.block("switch", "nav") as drawn:
        drawn.props["aria-label"] = "Show as"
        for key, label in _SHOWN.items():
            one = components.link(label, f"{address}&show={key}")
            if key == shown:
                one.props["aria-current"] = "true"
    if shown == "text":
        components.write("pre", email.text, "mail-text")
    else:
        with components.block(f"mail {shown if shown in _SHOWN else 'desktop'}"):
            frame = ui.element("iframe").props("referrerpolicy=no-referrer")
            frame.props["sandbox"] = ""
            frame.props["title"] = f"Email: {email.subject}"
            frame.props["srcdoc"] = _in_theme(email.html, "min" if shown == "dark" else "max")
    with components.block("columns"):
        with components.card("Links, as they are sent"):
            if found.links:
                components.table(("Text", "Address"), found.links, caption="Links")
            else:
                components.empty("No link.")
        with components.card("Headers and sizes"):
            reply_to = f"{email.reply_to.name} <{email.reply_to.email}>" if email.reply_to is not None else ""
            rows = [
                ("From", f"{email.sender.name} <{email.sender.email}>"),
                ("To", f"{email.to.name} <{email.to.email}>".strip()),
                *([("Reply-To", reply_to)] if reply_to else []),
                ("Subject", email.subject),
                *email.headers,
                ("HTML", f"{found.html_bytes / 1_000:.1f} kB; Gmail clips emails over 102 kB"),
                ("Text", f"{found.text_bytes / 1_000:.1f} kB"),
            ]
            with components.block("", "dl"):
                for name, value in rows:
                    components.write("dt", name)
                    components.write("dd", value)


def _in_theme(html: str, bound: str) -> str:
    """Return the email with its dark style always on (*bound* is min) or off (max), whatever theme the viewer has."""
    return _IF_DARK.sub(f"({bound}-width: 0)", html)


PAGE: Final = Page("/tracks/{track}/emails/{email}", "Email preview", ALL_BUT_REPS, _load, _render)
