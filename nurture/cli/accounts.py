"""Commands of `nurture leads accounts`: list, import, match."""

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
    MappingOption,
    ReportOption,
    SheetOption,
    open_import,
)
from nurture.cli.output import JsonOption, format_columns, make_table, out, pluralize, print_import, print_json
from nurture.errors import InvalidState
from nurture.journey.accounts import accounts, import_file
from nurture.journey.leads import find

NONE = "none"
"""The account argument that removes a lead's account."""


def list_accounts(
    search: Annotated[str, typer.Option(help="Only accounts whose name or domain contains this text.")] = "",
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """List accounts: who owns them, and how many leads belong to each."""
    with open_app() as app:
        found = accounts.list_accounts(app.ctx, search)
    if json:
        print_json(found[:limit])
        return
    if found:
        _print_accounts(found[:limit])
    elif search:
        out.print(f"No account has {escape(search)!r} in its name or domain.")
    else:
        out.print("There are no accounts yet. Import them with `nurture leads accounts import FILE`.")
    if len(found) > limit:
        out.print(f"{pluralize(len(found) - limit, 'account')} more. Raise --limit or narrow with --search.")


def _print_accounts(found: list[accounts.AccountDetails]) -> None:
    rows = [(one.id, one.name, one.kind, one.owner, " ".join(one.domains), one.parent, one.leads) for one in found]
    columns = ("id", "name", "kind", "owner", "domains", "parent", "leads")
    out.print(make_table(columns, rows, right=("id", "parent", "leads")))


def import_accounts(
    file: Annotated[
        Path,
        typer.Argument(
            help="A CSV or workbook with the column name; id, domains, owner, kind and parent are optional."
        ),
    ],
    mapping: MappingOption = None,
    source: Annotated[str | None, typer.Option(help="The system whose ids the file holds.")] = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    report: ReportOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Import accounts and their owners from a file. Importing a file again is safe; no account is deleted."""
    with open_import(file, report, sheet, encoding, dry_run=dry_run, json=json) as (app, options):
        done = import_file.import_accounts(app.ctx, file, app.clock.now(), source=source, mapping=mapping, **options)
    print_import(done, dry_run=dry_run, json=json, details=format_columns(done))


def match(
    lead: LeadArgument,
    account: Annotated[
        str | None,
        typer.Argument(help="The account's id, or none for no account. Leave it out to list the candidates."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show which accounts a lead may belong to, or assign one. A lead that waited for this is routed at once."""
    with open_app() as app:
        lead_id = find.find_lead(app.ctx, lead)
        if account is not None:
            accounts.assign_account(app.ctx, lead_id, _parse_account_id(account), app.clock.now())
        found = accounts.find_assignment(app.ctx, lead_id)
    if json:
        print_json(found)
        return
    origin = "assigned manually" if found.confirmed else "matched"
    if found.account is not None:
        out.print(f"Lead {lead_id} belongs to account {found.account.id}, {origin}: {escape(found.reason)}.")
    elif not found.candidates:
        out.print(f"Lead {lead_id} belongs to no account: {escape(found.reason)}.")
    else:
        out.print(f"Lead {lead_id} may belong to one of these: {escape(found.reason)}.")
        _print_accounts(list(found.candidates))
        out.print(f"Assign one with: nurture leads accounts match {lead_id} ID (or none).")


def _parse_account_id(text: str) -> int | None:
    if text.casefold() == NONE:
        return None
    account_id = find.parse_id(text)
    if account_id is None:
        raise InvalidState(
            f"{text!r} is not an account id. `nurture leads accounts list` lists the ids; write none for no account."
        )
    return account_id
