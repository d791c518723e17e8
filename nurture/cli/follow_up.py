"""Record a rep's follow-up, and reassign hand-offs."""

from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument, parse_date
from nurture.cli.output import JsonOption, print_result
from nurture.domain.policy.crm_status import SalesStatus
from nurture.journey.handoff import follow_up, responses
from nurture.journey.handoff import reassign as handoff_reassign
from nurture.journey.leads import find


def record_follow_up(
    lead: LeadArgument,
    channel: Annotated[str, typer.Option(help="call, email or meeting.")] = "call",
    next_step: Annotated[str | None, typer.Option(help="The day of the next step, such as 2027-03-31.")] = None,
    in_talks: Annotated[bool, typer.Option("--in-talks", help="The rep expects a sale.")] = False,
    json: JsonOption = False,
) -> None:
    """Record that the rep contacted a lead, and the next step that they agreed."""
    on = parse_date(next_step) if next_step is not None else None
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        stage = SalesStatus.IN_TALKS.value if in_talks else None
        rep = follow_up.record_follow_up(app.ctx, lead_id, channel, app.clock.now(), next_step_on=on, stage=stage)
    agreed = f" Next step on {on}." if on is not None else ""
    text = f"Lead {lead_id} was contacted by {rep}: {escape(channel)}.{agreed}"
    data = {"lead": lead_id, "rep": rep, "channel": channel, "next_step": next_step, "in_talks": in_talks}
    print_result(data, text, json=json)


def no_mail(
    offer: Annotated[int, typer.Argument(help="The hand-off's id.")],
    json: JsonOption = False,
) -> None:
    """Record that a lead wants no mail: it stays with its rep, and is never mailed again."""
    with open_app() as app:
        is_new = responses.stop_mail(app.ctx, offer, app.clock.now())
    text = "Suppressed; the lead stays with its rep." if is_new else "It was already suppressed."
    print_result({"offer": offer, "suppressed": True, "new": is_new}, text, json=json)


def reassign(
    offer: Annotated[int, typer.Argument(help="The hand-off's id.")],
    rep: Annotated[str, typer.Argument(help="The id of the new rep.")],
    force: Annotated[bool, typer.Option("--force", help="Even if the rep has no capacity or is away.")] = False,
    json: JsonOption = False,
) -> None:
    """Offer the lead of a hand-off to another rep, whether the hand-off is open or accepted."""
    with open_app() as app:
        one = handoff_reassign.reassign(app.ctx, offer, rep, app.clock.now(), force=force)
    text = f"Lead {one.lead_id} is now offered to {rep}, no longer to {one.rep}."
    print_result({"offer": offer, "lead": one.lead_id, "from": one.rep, "to": rep}, text, json=json)
