"""List, accept, reject and close hand-offs."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument, parse_date
from nurture.cli.output import JsonOption, make_table, out, print_json
from nurture.clock import parse_time
from nurture.domain.lead import Closing
from nurture.errors import InvalidState, NotFound
from nurture.journey.handoff import sweep
from nurture.journey.leads import find
from nurture.journey.outcomes import outcomes
from nurture.reporting import tracks as reporting

_STATES: Final = ("offered", "accepted", "rejected", "expired", "withdrawn", "reassigned", "lapsed")


def handoffs(
    state: Annotated[str | None, typer.Option(help=f"One of: {', '.join(_STATES)}.")] = None,
    rep: Annotated[str | None, typer.Option(help="Only hand-offs to this rep.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The maximum number of rows, newest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List hand-offs: lead, rep, state, time and reason."""
    if state is not None and state not in _STATES:
        raise NotFound(f"{state!r} is not a state of a hand-off. Write one of: {', '.join(_STATES)}.")
    with open_app() as app:
        found = [
            each
            for each in reporting.report_handoffs(app.ctx)
            if (state is None or each.state == state) and (rep is None or each.rep == rep)
        ]
    found = sorted(found, key=lambda each: -each.offer_id)[:limit]
    if json:
        print_json(found)
        return
    rows = [
        (
            each.offer_id,
            each.lead_id,
            each.rep,
            each.state + (f": {each.reason}" if each.reason else ""),
            each.offered_at,
            each.handoff_reason,
        )
        for each in found
    ]
    columns = ("id", "lead", "rep", "state", "offered (UTC)", "hand-off reason")
    out.print(make_table(columns, rows, right=("id", "lead")) if rows else "No hand-offs found.")


def accept(offer: Annotated[int, typer.Argument(help="The hand-off's id.")], json: JsonOption = False) -> None:
    """Accept a hand-off for its rep: the lead's track ends, and the rep owns the lead."""
    with open_app() as app:
        one = sweep.accept(app.ctx, offer, app.clock.now())
    if json:
        print_json({"offer": offer, "lead": one.lead_id, "rep": one.rep, "state": "accepted"})
    else:
        out.print(f"Hand-off {offer} accepted: lead {one.lead_id} belongs to {one.rep}.")


def reject(
    offer: Annotated[int, typer.Argument(help="The hand-off's id.")],
    reason: Annotated[str, typer.Option(help="One of the policy's reject reasons.")],
    decides_on: Annotated[
        str | None, typer.Option(help="When the lead will decide, if known, such as 2027-03-31.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Reject a hand-off with a reason. The policy decides where the lead goes next."""
    when = parse_date(decides_on) if decides_on else None
    with open_app() as app:
        one = sweep.reject(app.ctx, offer, reason, app.clock.now(), when)
    if json:
        print_json({"offer": offer, "lead": one.lead_id, "state": "rejected", "reason": reason})
    else:
        out.print(f"Hand-off {offer} rejected ({escape(reason)}): lead {one.lead_id} is recycled.")


def close(
    lead: LeadArgument,
    closing: Annotated[Closing, typer.Argument(help="How it ended.")],
    amount: Annotated[float | None, typer.Option(help="The value of the sale, if won.")] = None,
    on: Annotated[str | None, typer.Option(help="When it ended (ISO, UTC); default now.")] = None,
    reason: Annotated[str, typer.Option(help="Why it ended. Required for lost and discarded.")] = "",
    json: JsonOption = False,
) -> None:
    """Close a lead as won, lost, discarded or unreachable."""
    if closing in (Closing.LOST, Closing.DISCARDED) and not reason:
        raise InvalidState(f"Closing a lead as {closing.value} needs a reason. Add --reason.")
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        at = parse_time(on) if on else None
        now = app.clock.now()
        outcome = outcomes.OutcomeReport(
            lead_id, closing, at, amount, reason, key="" if at else f"at {now.isoformat()}"
        )
        (verdict,) = outcomes.record_outcomes(app.ctx, [outcome], "cli", now)
    outcomes.refuse_contradiction(verdict, lead_id)
    if json:
        print_json({"lead": lead_id, "closed": closing.value})
    else:
        out.print(f"Lead {lead_id} is closed as {closing.value}.")
