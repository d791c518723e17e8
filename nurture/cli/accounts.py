"""Commands of `nurture leads accounts`: list, import, match."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.output import JsonOption, as_json, many, out, table
from nurture.errors import Refused
from nurture.journey.accounts import accounts, import_file
from nurture.journey.leads import find

NONE = "none"
"""What to write for a lead that belongs to no account."""


def listing(
    named: Annotated[str, typer.Option(help="Only those whose name or domain contains this.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    json: JsonOption = False,
) -> None:
    """List accounts: who owns them, and how many leads belong to each."""
    with open_app() as app:
        found = accounts.listing(app.house, named)
    if json:
        as_json(found[:limit])
        return
    if found:
        _show(found[:limit])
    elif named:
        out.print(f"No account has {escape(named)!r} in its name or domain.")
    else:
        out.print("There are no accounts yet. Bring them in with `nurture leads accounts import FILE`.")
    if len(found) > limit:
        out.print(f"{many(len(found) - limit, 'account')} more; see them with --limit or --named.")


def _show(found: list[accounts.AccountShown]) -> None:
    rows = [
        (one.id, one.name, one.kind, one.owner, " ".join(one.domains), one.parent, one.leads) for one in found
    ]
    columns = ("id", "name", "kind", "owner", "domains", "parent", "leads")
    out.print(table(columns, rows, right=("id", "parent", "leads")))


def import_(
    file: Annotated[Path, typer.Argument(help="A CSV: name; also id, domains, owner, kind, parent.")],
    source: Annotated[str, typer.Option(help="The system whose ids the file holds.")] = "file",
    report: Annotated[Path | None, typer.Option(help="Where bad rows go; default: beside the file.")] = None,
    json: JsonOption = False,
) -> None:
    """Bring accounts in. The same file again changes nothing, and no account is ever removed."""
    with open_app() as app:
        done = import_file.import_accounts(app.house, file, app.clock.now(), source=source, report=report)
    if json:
        as_json(done)
        return
    out.print(
        f"{many(done.rows, 'row')}: {done.new:,} new, {done.changed:,} changed, {done.known:,} known, "
        f"{done.bad:,} bad."
    )
    for note in done.notes:
        out.print(f"[yellow]{escape(note)}[/]")
    if done.report_path is not None:
        out.print(f"Bad rows, with reasons: {escape(str(done.report_path))}")


def match(
    lead: Annotated[str, typer.Argument(help="A lead's id, email address or external id.")],
    account: Annotated[
        str | None, typer.Argument(help="The account's id, or none; left out, the candidates are shown.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """See which accounts a lead may belong to, or settle it: who waited for that is routed at once."""
    with open_app() as app:
        lead_id = find.find_lead(app.house, lead)
        if account is not None:
            accounts.settle(app.house, lead_id, _account_id(account), app.clock.now())
        found = accounts.choice(app.house, lead_id)
    if json:
        as_json(found)
        return
    known = "settled" if found.settled else "matched"
    if found.account is not None:
        out.print(f"Lead {lead_id} belongs to account {found.account.id}, {known}: {escape(found.because)}.")
    elif not found.candidates:
        out.print(f"Lead {lead_id} belongs to no account: {escape(found.because)}.")
    else:
        out.print(f"Lead {lead_id} may belong to one of these: {escape(found.because)}.")
        _show(list(found.candidates))
        out.print(f"Settle it: nurture leads accounts match {lead_id} ID, or none.")


def _account_id(told: str) -> int | None:
    if told.casefold() == NONE:
        return None
    if not (told.isascii() and told.isdigit() and len(told) < 18):
        raise Refused(
            f"{told!r} is no account's id. `nurture leads accounts list` lists them; write none for no"
            " account."
        )
    return int(told)
