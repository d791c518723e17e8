"""Suppress addresses and record opt-ins; list, import and export suppressions."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import DryRunOption, LimitOption, ReportOption, import_options
from nurture.cli.output import JsonOption, format_cell, make_table, out, pluralize, print_import, print_json
from nurture.clock import parse_time
from nurture.domain.consent.suppression import ActiveSuppression, SuppressionScope, describe_suppression
from nurture.errors import InvalidState
from nurture.journey.consent import opt_in as consent_opt_in
from nurture.journey.consent import suppression, suppression_files
from nurture.journey.consent.suppression import ALL_MAIL, SuppressionTarget


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
        print_json({"lifted": _to_dicts(done.lifted), "still_suppressed": _to_dicts(done.remaining)})
        return
    if not done.lifted:
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
    """List suppressed addresses: scope, source and date."""
    with open_app() as app:
        found = list(islice(suppression_files.list_current(app.ctx, email), limit + 1))
    shown, more = found[:limit], len(found) > limit
    if json:
        print_json([one._asdict() for one in shown])
        return
    if not shown:
        out.print("This address is not suppressed." if email else "No address is suppressed.")
        return
    columns = ("email", "scope", "topic or track", "source", "since (UTC)")
    out.print(make_table(columns, [(one.email, one.scope, one.ref, one.source, one.since) for one in shown]))
    if more:
        out.print("[dim]There are more. Raise --limit, or export all.[/]")


def import_suppressions(
    file: Annotated[Path, typer.Argument(help="A CSV of opt-outs, a SendGrid export, or a plain list of addresses.")],
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Import opt-outs from a CSV. Safe to run again. An import never lifts an opt-out."""
    with open_app() as app, import_options(file, report, dry_run=dry_run, json=json) as options:
        done = suppression_files.import_suppressions(app.ctx, file, app.clock.now(), **options)
    print_import(done, dry_run=dry_run, json=json)


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
