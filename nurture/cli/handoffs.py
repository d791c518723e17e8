"""List, accept, reject and close hand-offs."""

from datetime import datetime
from typing import Annotated, Final

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import LeadArgument, parse_date
from nurture.cli.output import JsonOption, print_result, print_table
from nurture.clock import parse_time
from nurture.domain.lead import MAX_REST, Closing, full_name
from nurture.errors import InvalidState, NotFound
from nurture.formats.numbers import read_amount
from nurture.formats.rejected_rows import InvalidCell
from nurture.journey.handoff import responses
from nurture.journey.handoff.waiting.decisions import Decision, DecisionKind, decide_waiting
from nurture.journey.handoff.waiting.lists import load_waiting
from nurture.journey.handoff.why_now import rule_label
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
        with app.database.read() as tx:
            current = app.ctx.definitions.find_current(tx)
    policy = current.policy if current is not None else None
    found = sorted(found, key=lambda each: -each.offer_id)[:limit]
    rows = [
        (
            each.offer_id,
            each.lead_id,
            each.rep,
            each.state + (f": {each.reason}" if each.reason else ""),
            each.offered_at,
            (rule_label(policy, each.rule) if policy is not None else "") or each.handoff_reason,
        )
        for each in found
    ]
    columns = ("id", "lead", "rep", "state", "offered (UTC)", "hand-off reason")
    print_table(columns, rows, found, json=json, right=("id", "lead"), empty="No hand-offs found.")


def accept(offer: Annotated[int, typer.Argument(help="The hand-off's id.")], json: JsonOption = False) -> None:
    """Accept a hand-off for its rep: the lead's track ends, and the rep owns the lead."""
    with open_app() as app:
        one = responses.accept(app.ctx, offer, app.clock.now())
    text = f"Hand-off {offer} accepted: lead {one.lead_id} belongs to {one.rep}."
    print_result({"offer": offer, "lead": one.lead_id, "rep": one.rep, "state": "accepted"}, text, json=json)


def reject(
    offer: Annotated[int, typer.Argument(help="The hand-off's id.")],
    reason: Annotated[str, typer.Option(help="One of the policy's reject reasons.")],
    decides_on: Annotated[
        str | None, typer.Option(help="When the lead will decide, if known, such as 2027-03-31.")
    ] = None,
    note: Annotated[str, typer.Option(help="What else the rep learned, such as who decides.")] = "",
    json: JsonOption = False,
) -> None:
    """Give the lead of an open or accepted hand-off back, with a reason. The policy decides where it goes next."""
    when = parse_date(decides_on) if decides_on else None
    with open_app() as app:
        one = responses.reject(app.ctx, offer, reason, app.clock.now(), when, note)
    text = f"Hand-off {offer} rejected ({escape(reason)}): lead {one.lead_id} is recycled."
    print_result({"offer": offer, "lead": one.lead_id, "state": "rejected", "reason": reason}, text, json=json)


def close(
    lead: LeadArgument,
    closing: Annotated[Closing, typer.Argument(help="How it ended.")],
    amount: Annotated[str | None, typer.Option(help="The value of the sale, if won, such as 12000.50.")] = None,
    on: Annotated[str | None, typer.Option(help="When it ended (ISO, UTC); default now.")] = None,
    reason: Annotated[str, typer.Option(help="Why it ended. Required for lost and discarded.")] = "",
    again_on: Annotated[
        str | None,
        typer.Option(help="When to classify it again (ISO, UTC), such as the end of its contract elsewhere."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Close a lead as won, lost, discarded or unreachable."""
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        at = parse_time(on) if on else None
        now = app.clock.now()
        again_at = _parse_again_on(again_on, closing, now) if again_on else None
        value = _parse_amount(amount) if amount else None
        outcome = outcomes.OutcomeReport(lead_id, closing, at, value, reason, again_at=again_at)
        verdict = outcomes.close_lead(app.ctx, outcome, "cli", now)
    rest = f" It rests until {again_at:%Y-%m-%d}." if again_at else ""
    text = f"Lead {lead_id} is closed as {closing.value}.{rest}"
    if verdict in ("known", "same"):
        text = f"Lead {lead_id} was already closed as {closing.value} like that; nothing was changed."
    print_result({"lead": lead_id, "closed": closing.value, "verdict": verdict}, text, json=json)


def _parse_amount(text: str) -> float:
    try:
        return read_amount(text)
    except InvalidCell as error:
        raise InvalidState(f"--amount: {error.reason}. Write it as 12000.50.") from None


def _parse_again_on(text: str, closing: Closing, now: datetime) -> datetime:
    again_at = parse_time(text)
    if closing is Closing.WON:
        raise InvalidState("A won lead rests as a customer. Leave out --again-on.")
    if not now < again_at <= now + MAX_REST:
        raise InvalidState(
            f"{text} is not within the next {MAX_REST.days} days. Name a day up to {now + MAX_REST:%Y-%m-%d}."
        )
    return again_at


def list_waiting(
    person: Annotated[str | None, typer.Option(help="Only the queues of this owner or deputy, by id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The maximum number of rows, longest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List the leads in queues, those that have waited longest first, and who decides about them."""
    with open_app() as app, app.ctx.database.read() as tx:
        policy = app.ctx.definitions.current(tx).policy
        now = app.clock.now()
        found = load_waiting(tx, policy, app.ctx.holidays, now, person=person, limit=limit)
    owners = {one.name: ", ".join(one.rule.owners) if one.rule else "" for one in found.queues}
    rows = [
        (
            each.lead_id,
            full_name(each.fields),
            each.queue,
            owners[each.queue],
            each.entered_at,
            "yes" if found.is_late(each) else "",
            each.reason,
        )
        for each in found.leads
    ]
    columns = ("lead", "name", "queue", "owner", "since (UTC)", "too long", "why")
    shown = [each._asdict() | {"owner": owners[each.queue], "late": found.is_late(each)} for each in found.leads]
    print_table(columns, rows, shown, json=json, right=("lead",), empty="No leads wait in queues.")


def decide(
    lead: LeadArgument,
    by: Annotated[str, typer.Option(help="Who decides: the queue's owner or deputy, or a manager.")],
    to: Annotated[str | None, typer.Option("--to", help="The rep who gets the lead.")] = None,
    nurture: Annotated[bool, typer.Option("--nurture", help="Send it back to its track.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Close it as discarded.")] = False,
    reason: Annotated[str, typer.Option(help="Why no rep gets it. Required for --nurture and --discard.")] = "",
    as_operator: Annotated[
        bool, typer.Option("--as-operator", help="--by is none of these; the lead's history says so.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Decide about a lead that waits in a queue: a rep gets it, it goes back to its track, or it ends."""
    if sum((to is not None, nurture, discard)) != 1:
        raise InvalidState("Write exactly one of --to REP, --nurture and --discard.")
    kind = DecisionKind.ASSIGN if to else DecisionKind.NURTURE if nurture else DecisionKind.DISCARD
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        queue = decide_waiting(app.ctx, lead_id, Decision(kind, by, to or "", reason, as_operator), app.clock.now())
    done = {
        DecisionKind.ASSIGN: f"is offered to {to}",
        DecisionKind.NURTURE: "goes back to its track",
        DecisionKind.DISCARD: "is discarded",
    }
    text = f"Lead {lead_id} waited in {queue}, and {done[kind]} now."
    print_result({"lead": lead_id, "queue": queue, "decision": kind.value, "rep": to or ""}, text, json=json)
