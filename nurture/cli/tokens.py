"""Commands of `nurture admin tokens`: create, list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from nurture.app import open_app
from nurture.cli.output import JsonOption, as_json, err, out, table
from nurture.journey.intake.api import tokens as api_tokens


def create(
    name: Annotated[str, typer.Argument(help="What the program is called, such as website.")],
    scope: Annotated[
        list[str], typer.Option(help="What it may do, such as signals:write. May be given more than once.")
    ],
    json: JsonOption = False,
) -> None:
    """Make a token. It is shown once and kept nowhere: put it where the program finds it."""
    with open_app() as app:
        token = api_tokens.create(app.house, name, scope, app.clock.now())
    if json:
        as_json({"name": name, "scopes": sorted(set(scope)), "token": token})
        return
    err.print(f"The token {name!r}, shown only now:")
    typer.echo(token)


def list_tokens(json: JsonOption = False) -> None:
    """List tokens: what each may do, when it was last used, whether it is revoked."""
    with open_app() as app:
        found = api_tokens.list_tokens(app.house)
    if json:
        as_json(found)
        return
    rows = [
        (one.name, ", ".join(one.scopes), one.created_at, one.used_on, one.revoked_at, one.ceiling_at)
        for one in found
    ]
    columns = ("name", "scopes", "made (UTC)", "last used", "revoked (UTC)", "too much (UTC)")
    out.print(table(columns, rows))


def revoke(
    name: Annotated[str, typer.Argument(help="The token's name.")],
    json: JsonOption = False,
) -> None:
    """End a token at once."""
    with open_app() as app:
        api_tokens.revoke(app.house, name, app.clock.now())
    if json:
        as_json({"revoked": name})
    else:
        out.print(f"The token {name} is revoked.")
