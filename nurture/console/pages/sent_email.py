"""An email as it was sent to a lead."""

from typing import Final

from nurture.console import action_queries, addresses, components
from nurture.console.actions import ObjectKind, may_see_object
from nurture.console.page import ALL_BUT_REPS, Page, PageRequest
from nurture.console.pages.email import draw_email
from nurture.console.view import View
from nurture.errors import NotFound
from nurture.publishing import preview
from nurture.publishing.preview import EmailPreview


def _load(request: PageRequest) -> tuple[EmailPreview, int | None]:
    message_id = addresses.read_number(request.values, "message_id") or 0
    with request.ctx.database.read() as tx:
        lead_id = action_queries.find_recipient(tx, message_id)
        if lead_id is not None and not may_see_object(tx, request.user, ObjectKind.LEAD, str(lead_id)):
            raise NotFound(f"There is no message {message_id} to one of your leads.")
    return preview.render_sent(request.ctx, message_id, request.now), lead_id


def _render(view: View, data: tuple[EmailPreview, int | None]) -> None:
    found, lead_id = data
    words = "As its version was published, with what is known of the lead now. Links are not those of the lead."
    components.paragraph(words, "soft")
    if lead_id is not None:
        with components.block("", "p"):
            components.link("Its lead", addresses.of_lead(lead_id))
    here = f"{addresses.of_sent_email(int(view.values['message_id']))}?as=sent"
    draw_email(found, here, view.values.get("show", "desktop"))


PAGE: Final = Page("/emails/{message_id}", "Email as sent", ALL_BUT_REPS, _load, _render)
