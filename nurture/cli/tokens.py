"""Commands of `nurture admin tokens`: create, list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from nurture.app import open_app
from nurture.cli.output import JsonOption, err, make_table, out, print_json
from nurture.journey.intake.api import tokens as api_tokens


def create(
    name: Annotated[str, typer.Argument(help="The program's name, such as website.")],
    scope: Annotated[list[str], typer.Option(help="What it may do, such as signals:write. May be repeated.")],
    json: JsonOption = False,
) -> None:
    """Create an API token. It is shown only once and not stored: save it where the program reads it."""
    with open_app() as app:
        token = api_tokens.create_token(app.ctx, name, scope, app.clock.now())
    if json:
        print_json({"name": name, "scopes": sorted(set(scope)), "token": token})
        return
    err.print(f"The token {name!r}, shown only once:")
    typer.echo(token)


def list_tokens(json: JsonOption = False) -> None:
    """List API tokens: scopes, last use, and whether each is revoked."""
    with open_app() as app:
        found = api_tokens.list_tokens(app.ctx)
    if json:
        print_json(found)
        return
    rows = [
        (one.name, ", ".join(one.scopes), one.created_at, one.last_used_on, one.revoked_at, one.rate_limited_at)
        for one in found
    ]
    columns = ("name", "scopes", "created (UTC)", "last used", "revoked (UTC)", "rate limited (UTC)")
    out.print(make_table(columns, rows))


def revoke(name: Annotated[str, typer.Argument(help="The token's name.")], json: JsonOption = False) -> None:
    """Revoke an API token at once."""
    with open_app() as app:
        api_tokens.revoke_token(app.ctx, name, app.clock.now())
    if json:
        print_json({"revoked": name})
    else:
        out.print(f"The token {name} is revoked.")
