"""Commands of `nurture handoffs outcomes`: list, import, resolve."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Literal

import typer

from nurture.app import open_app
from nurture.cli.output import JsonOption, as_json, out, table
from nurture.domain.lead import Closing
from nurture.journey.outcomes import import_file, outcomes

Decision = Literal["take", "keep"]


def import_(
    file: Annotated[Path, typer.Argument(help="A CSV with the columns lead and outcome.")],
    source: Annotated[str, typer.Option(help="Who says so.")] = "csv",
    report: Annotated[Path | None, typer.Option(help="Where bad rows go; default beside the file.")] = None,
    json: JsonOption = False,
) -> None:
    """Take in how leads ended: lead, outcome; amount, date and reason where you have them."""
    with open_app() as app:
        now = app.clock.now()
        done = import_file.import_outcomes(app.house, file, now, source=source, report=report)
    if json:
        as_json(done)
        return
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(done.counts.items())) or "nothing"
    out.print(f"{done.rows:,} rows: {counts}, {done.bad:,} bad")
    if done.report_path is not None:
        out.print(f"The bad rows, each with what to do, are in {done.report_path}.")
    if done.counts["contradicts"]:
        out.print("What contradicts is kept: `nurture handoffs outcomes list` shows it.")


def list_(
    closing: Annotated[Closing | None, typer.Option(help="Only leads that ended so.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List outcomes with rep, policy, track and last touch; and what contradicts them."""
    with open_app() as app:
        found = outcomes.listing(app.house, closing, limit)
        open_ = outcomes.contradicting(app.house)
    if json:
        as_json({"outcomes": found, "contradicting": open_})
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
    columns = ("lead", "outcome", "on (UTC)", "amount", "told by", "rep", "policy", "track, last touch")
    out.print(table(columns, rows, right=("lead", "amount", "policy")) if rows else "No lead has ended yet.")
    if open_:
        names = ("id", "lead", "stands", "told by", "contradicts", "amount", "told by ")
        facts = [
            (one.id, one.lead_id, one.stands, one.stands_source, one.closing, one.amount, one.source)
            for one in open_
        ]
        out.print(table(names, facts, title="To be settled", right=("id", "lead", "amount")))


def settle(
    id_: Annotated[int, typer.Argument(metavar="ID", help="The contradiction's id.")],
    decision: Annotated[Decision, typer.Argument(help="take what was told later, or keep what stands.")],
    by: Annotated[str | None, typer.Option(help="Who decides; default your user name.")] = None,
    json: JsonOption = False,
) -> None:
    """Decide which of two outcomes counts; both stay on record."""
    with open_app() as app:
        who = by or getpass.getuser()
        take = decision == "take"
        one = outcomes.settle(app.house, id_, take=take, by=who, now=app.clock.now())
    stands = one.closing if take else one.stands
    if json:
        as_json({"lead": one.lead_id, "outcome": stands, "settled": "took" if take else "kept"})
    else:
        out.print(f"Lead {one.lead_id} counts as {stands}.")
