"""What a person agreed to: show it, suppress addresses, record opt-ins; list, import and export suppressions."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import (
    DryRunOption,
    EncodingOption,
    LeadArgument,
    LimitOption,
    ReportOption,
    SheetOption,
    open_import,
)
from nurture.cli.output import JsonOption, format_cell, make_table, out, pluralize, print_import, print_json
from nurture.clock import parse_time
from nurture.domain.consent.statements import describe_statement
from nurture.domain.consent.suppression import ActiveSuppression, SuppressionScope, describe_suppression
from nurture.errors import InvalidState
from nurture.journey.consent import opt_in as consent_opt_in
from nurture.journey.consent import statements, suppression, suppression_files
from nurture.journey.consent.statements import ConsentHistory
from nurture.journey.consent.suppression import ALL_MAIL, SuppressionTarget
from nurture.journey.consent.undo_import import undo_import
from nurture.journey.engagement import clicks
from nurture.journey.leads import find


def consent(
    lead: LeadArgument,
    grant: Annotated[
        str | None, typer.Option(help="Record why it may be mailed: consent, contract or legitimate_interest.")
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Record that it refuses mail.")] = False,
    evidence: Annotated[str, typer.Option(help="How and when it was said, without names or addresses.")] = "",
    stated_at: Annotated[str | None, typer.Option(help="When it was said (ISO, UTC); default now.")] = None,
    json: JsonOption = False,
) -> None:
    """Show the consent history of a lead's address, or add a statement to it."""
    if grant is not None and withdraw:
        raise InvalidState("Give --grant or --withdraw, not both.")
    if grant is None and not withdraw and (evidence or stated_at):
        raise InvalidState("--evidence and --stated-at belong to --grant or --withdraw. Add one of them.")
    with open_app() as app:
        lead_id, now = find.find_lead(app.ctx, lead), app.clock.now()
        at = parse_time(stated_at) if stated_at else None
        new = None
        if grant is not None:
            new = statements.grant_consent(app.ctx, lead_id, grant, evidence, now, stated_at=at)
        elif withdraw:
            new = statements.withdraw_consent(app.ctx, lead_id, now, evidence=evidence, stated_at=at)
        history = statements.load_history(app.ctx, lead_id, now)
    if json:
        print_json({"lead": lead_id, "new": new, **_to_dict(history)})
        return
    if new is not None:
        out.print("Recorded." if new else "This was recorded before.")
    _print(history)


def _to_dict(history: ConsentHistory) -> dict[str, object]:
    permission = history.permission
    return {
        "may_be_mailed": permission.allowed,
        "reason": permission.reason,
        "statements": [one._asdict() for one in history.statements],
        "suppressions": [describe_suppression(one) for one in history.suppressions],
    }


def _print(history: ConsentHistory) -> None:
    if history.statements:
        rows = [(one.recorded_at, describe_statement(one), one.evidence, one.wording) for one in history.statements]
        out.print(make_table(("recorded (UTC)", "statement", "evidence", "wording"), rows))
    for one in history.suppressions:
        out.print(f"[yellow]Suppressed: {escape(describe_suppression(one))} since {format_cell(one.since)} UTC[/]")
    permission = history.permission
    verb = "may be mailed" if permission.allowed else "is not mailed"
    out.print(f"Lead {history.lead} {verb}: {escape(permission.reason)}.{_remedy(history)}")


def _remedy(history: ConsentHistory) -> str:
    if history.permission.allowed:
        return ""
    if history.suppressions:
        return " Only an opt-in of the lead lifts a suppression: `nurture leads opt-in`."
    return f" A later dated statement allows it: `nurture leads consent {history.lead} --grant BASIS --evidence TEXT`."


def open_tracking(
    lead: LeadArgument,
    agreed: Annotated[
        bool | None, typer.Option("--agreed/--withdrawn", help="Record that the lead agreed, or withdrew.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show or record whether a lead agreed to open tracking. Without consent, opens are not recorded."""
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        if agreed is not None:
            clicks.set_open_tracking(app.ctx, lead_id, granted=agreed, source="admin", now=app.clock.now())
        known = clicks.load_open_consent(app.ctx, lead_id)
    if json:
        print_json({"lead": lead_id, **known._asdict()})
    elif not known.granted:
        out.print(f"Lead {lead_id} has not agreed: its mail has no tracking pixel, and opens are not recorded.")
    else:
        newest = format_cell(known.last_open_on) if known.last_open_on else "never recorded"
        if known.last_open_verdict is not None:
            reason = f": {known.last_open_reason}" if known.last_open_reason else ""
            newest += f" ({known.last_open_verdict}{reason})"
        out.print(f"Lead {lead_id} agreed, as of {format_cell(known.stated_at)} UTC. Last open: {newest}.")


def suppress_addresses(
    emails: Annotated[list[str], typer.Argument(help="The addresses to suppress.", metavar="EMAIL")],
    topic: Annotated[str | None, typer.Option(help="Suppress only mail about this topic.")] = None,
    track: Annotated[str | None, typer.Option(help="Suppress only mail of this track.")] = None,
    json: JsonOption = False,
) -> None:
    """Suppress addresses: they are never mailed again, whether or not a lead has them."""
    if topic is not None and track is not None:
        raise InvalidState("Give --topic or --track, not both: each is a separate opt-out.")
    about = ALL_MAIL
    if topic is not None:
        about = SuppressionTarget(SuppressionScope.TOPIC, topic)
    if track is not None:
        about = SuppressionTarget(SuppressionScope.TRACK, track)
    with open_app() as app:
        done = suppression.suppress(app.ctx, emails, app.clock.now(), target=about)
    if json:
        print_json({"suppressed": True, "new": done.new, "known": done.known})
    elif done.new + done.known == 1:
        out.print("Suppressed." if done.new else "It was already suppressed.")
    else:
        out.print(f"{_count_addresses(done.new)} suppressed, {done.known:,} already were.")


def opt_in(
    email: Annotated[str, typer.Argument(help="The address of a lead who wants mail again.")],
    scope: Annotated[str, typer.Option(help="What the lead agrees to: global, topic:NAME or track:NAME.")],
    evidence: Annotated[str, typer.Option(help="How and when the lead agreed, without names or addresses.")],
    stated_at: Annotated[
        str | None, typer.Option(help="When the lead agreed (ISO, UTC); default now. A later opt-out still applies.")
    ] = None,
    mailbox_evidence: Annotated[
        str | None, typer.Option(help="After a bounce: how you know that the address accepts mail again.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Record that a lead agreed to mail again. Nothing else lifts an opt-out."""
    with open_app() as app:
        done = consent_opt_in.opt_in(
            app.ctx,
            email,
            _parse_scope(scope),
            evidence,
            app.clock.now(),
            stated_at=parse_time(stated_at) if stated_at else None,
            mailbox_evidence=mailbox_evidence,
        )
    if json:
        recorded = describe_statement(done.consent) if done.consent is not None else None
        lifted, remaining = _to_dicts(done.lifted), _to_dicts(done.remaining)
        print_json({"lifted": lifted, "still_suppressed": remaining, "recorded": recorded})
        return
    if done.consent is not None:
        out.print(f"Recorded: {escape(describe_statement(done.consent))}")
    elif not done.lifted:
        out.print("This address is not suppressed. Nothing was changed.")
    for one in done.lifted:
        out.print(f"Lifted: {escape(describe_suppression(one))} of {format_cell(one.since)} UTC")
    for one in done.remaining:
        out.print(f"[yellow]Still in effect: {escape(describe_suppression(one))} of {format_cell(one.since)} UTC[/]")


def _parse_scope(text: str) -> SuppressionTarget:
    kind, _, name = text.partition(":")
    kind = kind.strip().lower()
    if kind == SuppressionScope.GLOBAL and not name.strip():
        return ALL_MAIL
    if kind in (SuppressionScope.TOPIC, SuppressionScope.TRACK) and name.strip():
        return SuppressionTarget(SuppressionScope(kind), name)
    raise InvalidState(f"{text!r} is not a scope. Write global, topic:NAME or track:NAME.")


def _to_dicts(current: tuple[ActiveSuppression, ...]) -> list[dict[str, object]]:
    return [
        {"scope": one.scope.value, "ref": one.ref, "source": one.source.value, "since": one.since} for one in current
    ]


def _count_addresses(count: int) -> str:
    return f"{count:,} address{'' if count == 1 else 'es'}"


def list_suppressions(
    email: Annotated[str | None, typer.Argument(help="Only this address.")] = None,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """List suppressed addresses and withdrawals of consent: scope, source, date and kind."""
    with open_app() as app:
        found = list(islice(suppression_files.list_current(app.ctx, email), limit + 1))
    shown, more = found[:limit], len(found) > limit
    if json:
        print_json([one._asdict() for one in shown])
        return
    if not shown:
        out.print("This address is not suppressed." if email else "No address is suppressed.")
        return
    columns = ("email", "scope", "topic or track", "source", "since (UTC)", "kind")
    out.print(make_table(columns, shown))
    if more:
        out.print("[dim]There are more. Raise --limit, or export all.[/]")


def import_suppressions(
    file: Annotated[Path, typer.Argument(help="A file of opt-outs, a SendGrid export, or a plain list of addresses.")],
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Import opt-outs from a file. Safe to run again. An import never lifts an opt-out."""
    with open_import(file, report, sheet, encoding, dry_run=dry_run, json=json) as (app, options):
        done = suppression_files.import_suppressions(app.ctx, file, app.clock.now(), **options)
    print_import(done, dry_run=dry_run, json=json)
    if done.new and done.import_id and not json:
        out.print(f"[dim]To take this import back: nurture leads suppressions undo {done.import_id}[/]")


def undo_suppression_import(
    name: Annotated[str, typer.Argument(help="The import's id, or the name of its file.", metavar="IMPORT")],
    json: JsonOption = False,
) -> None:
    """Take back an import of opt-outs: what it added, and nothing else. The log keeps both."""
    with open_app() as app:
        done = undo_import(app.ctx, name, app.clock.now())
    if json:
        print_json(done._asdict())
        return
    out.print(f"Import {done.import_id} ({escape(done.name)}): {pluralize(done.retracted, 'opt-out')} taken back.")
    if done.still_suppressed:
        out.print(f"{_count_addresses(done.still_suppressed)} stay suppressed: other opt-outs are in force.")
    if done.later:
        out.print(f"[yellow]Import again what was imported since: {escape(', '.join(done.later))}[/]")


def export_suppressions(
    file: Annotated[str, typer.Argument(help="The CSV to write; - for stdout.")], json: JsonOption = False
) -> None:
    """Export all current opt-outs to a CSV that `nurture leads suppressions import` reads."""
    with open_app() as app:
        if file == "-":
            if json:
                print_json([one._asdict() for one in suppression_files.list_unlifted(app.ctx)])
            else:
                suppression_files.export(app.ctx, typer.get_text_stream("stdout"))
            return
        rows = suppression_files.export_to(app.ctx, Path(file))
    if json:
        print_json({"file": file, "rows": rows})
    else:
        out.print(f"{pluralize(rows, 'opt-out')} in {escape(file)}")
