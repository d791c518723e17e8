"""Commands of `nurture handoffs outcomes`: list, import, resolve."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nurture.app import open_app
from nurture.cli.arguments import (
    DryRunOption,
    EncodingOption,
    MappingOption,
    ReportOption,
    SheetOption,
    current_user,
    open_import,
)
from nurture.cli.output import (
    JsonOption,
    format_columns,
    make_table,
    out,
    pluralize,
    print_import,
    print_json,
    print_result,
)
from nurture.domain.lead import Closing
from nurture.journey.outcomes import import_file, outcomes

Decision = Literal["accept", "dismiss"]


def import_outcomes(
    file: Annotated[Path, typer.Argument(help="A CSV file or a workbook with the columns lead and outcome.")],
    mapping: MappingOption = None,
    source: Annotated[str | None, typer.Option(help="The system that reports the outcomes.")] = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Import how leads ended from a file: lead, outcome, amount, date and reason, or an export of deals."""
    with open_import(file, report, sheet, encoding, dry_run=dry_run, json=json) as (app, options):
        done = import_file.import_outcomes(app.ctx, file, app.clock.now(), source=source, mapping=mapping, **options)
    details = format_columns(done)
    if done.still_open:
        details += f"\n  {pluralize(done.still_open, 'deal')} still open, which changes nothing"
    if done.conflicts and not dry_run:
        details += "\n  `nurture handoffs outcomes list` shows the conflicts, to be resolved."
    print_import(done, dry_run=dry_run, json=json, details=details)


def list_outcomes(
    closing: Annotated[Closing | None, typer.Option(help="Only this outcome.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The maximum number of rows, newest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List outcomes with rep, policy, track and last touch, and reports that contradict them."""
    with open_app() as app:
        found = outcomes.list_outcomes(app.ctx, closing, limit)
        conflicts = outcomes.list_contradictions(app.ctx)
    if json:
        print_json({"outcomes": found, "conflicts": conflicts})
        return
    rows = [
        (
            one.lead_id,
            one.closing,
            one.happened_at.date(),
            one.amount,
            one.source,
            one.rep,
            one.policy_version,
            ", ".join(filter(None, (one.track, one.touch))) or None,
        )
        for one in found
    ]
    columns = ("lead", "outcome", "on (UTC)", "amount", "source", "rep", "policy", "track, last touch")
    out.print(make_table(columns, rows, right=("lead", "amount", "policy")) if rows else "No outcomes yet.")
    if conflicts:
        conflict_columns = ("id", "lead", "current", "current source", "reported", "amount", "source")
        conflict_rows = [
            (one.id, one.lead_id, one.current_closing, one.current_source, one.closing, one.amount, one.source)
            for one in conflicts
        ]
        out.print(make_table(conflict_columns, conflict_rows, title="To be resolved", right=("id", "lead", "amount")))


def resolve(
    id_: Annotated[int, typer.Argument(metavar="ID", help="The conflict's id.")],
    decision: Annotated[Decision, typer.Argument(help="accept the later report, or dismiss it.")],
    by: Annotated[str | None, typer.Option(help="Who decides; default: your user name.")] = None,
    json: JsonOption = False,
) -> None:
    """Decide which of two contradicting outcomes counts. Both stay on record."""
    with open_app() as app:
        decided_by = by or current_user()
        accepts = decision == "accept"
        one = outcomes.resolve_contradiction(app.ctx, id_, accept=accepts, by=decided_by, now=app.clock.now())
    current = one.closing if accepts else one.current_closing
    data = {"lead": one.lead_id, "outcome": current, "resolution": "accepted" if accepts else "dismissed"}
    print_result(data, f"Lead {one.lead_id} counts as {current}.", json=json)
