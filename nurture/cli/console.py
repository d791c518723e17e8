"""The console: serve it, and its users."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from nurture.app import App, open_app
from nurture.cli.output import JsonOption, err, format_cell, pluralize, print_result, print_table
from nurture.clock import RealClock
from nurture.console.access import users
from nurture.console.access.users import Invitation, Role
from nurture.console.actions import MoveClock
from nurture.console.settings import without_secrets
from nurture.journey.handoff import roster
from nurture.settings import Settings

_Login = Annotated[str, typer.Argument(help="The user's email address or login.")]


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on; default NURTURE_CONSOLE_HOST.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="The port; default NURTURE_CONSOLE_PORT. 0 takes any free port."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Serve the console: pages for marketers and sales, with sign-in. Ctrl-C stops it."""
    with open_app(without_secrets(Settings.read()), pages=True) as app:
        serve_app(app, host, port, json=json)


def serve_app(
    app: App,
    host: str | None = None,
    port: int | None = None,
    *,
    json: bool,
    move_clock: MoveClock | None = None,
) -> None:
    """Serve the console of *app* until SIGINT or SIGTERM, and print how to sign in."""
    from nurture.console.serving import serve_console  # noqa: PLC0415 - the other commands never load it

    def print_url(url: str, bound_port: int) -> None:
        invitation = users.invite_first_admin(app.database, RealClock().now())
        link = invitation.url(url) if invitation is not None else None
        text = f"Listening on {url}. Ctrl-C stops."
        if link is not None:
            text += f"\nThe first admin signs in here, once: {link}"
        print_result({"url": url, "port": bound_port, "invitation": link}, Text(text), json=json)

    serve_console(app, host, port, move_clock=move_clock, on_listening=print_url)


def add(
    login: _Login,
    role: Annotated[Role, typer.Option(help="What the user may see and do.")],
    rep: Annotated[str, typer.Option(help="The id of the person in the sales policy; a rep needs one.")] = "",
    json: JsonOption = False,
) -> None:
    """Add a user of the console, and print a link with which the user chooses a password."""
    with open_app() as app:
        if rep:
            with app.database.read() as tx:
                policy = app.ctx.definitions.current(tx).policy
            rep = roster.require_person(policy, rep).id
        invitation = users.add_user(app.database, login, role, rep, RealClock().now())
    _print_invitation(invitation, json=json)


def invite(login: _Login, json: JsonOption = False) -> None:
    """Print a new link for a user who has no password yet, or forgot it. Older links end."""
    with open_app() as app:
        invitation = users.invite(app.database, login, RealClock().now())
    _print_invitation(invitation, json=json)


def _print_invitation(invitation: Invitation, *, json: bool) -> None:
    settings = Settings.read()
    url = invitation.url(settings.console_url or f"http://{settings.console_host}:{settings.console_port}")
    data = {"login": invitation.login, "invitation": url, "expires_at": invitation.expires_at}
    err.print(f"[dim]This link is shown once, and works once until {format_cell(invitation.expires_at)} UTC:[/]")
    print_result(data, escape(url), json=json)


def list_users(json: JsonOption = False) -> None:
    """List the users of the console: roles, open sessions, lockouts."""
    with open_app() as app:
        found = users.list_users(app.database, RealClock().now())
    columns = ("login", "role", "rep", "password", "sessions", "locked until (UTC)")
    rows = [
        (one.login, one.role, one.rep, "yes" if one.has_password else "invited", one.open_sessions, one.locked_until)
        for one in found
    ]
    empty = "There are no users yet. Add one: `nurture users add LOGIN --role marketer`."
    print_table(columns, rows, [one._asdict() for one in found], json=json, right=("sessions",), empty=empty)


def end_sessions(login: _Login, json: JsonOption = False) -> None:
    """End all sessions of a user at once, in every browser."""
    with open_app() as app:
        ended = users.end_sessions(app.database, login, RealClock().now())
    print_result({"login": login, "ended": ended}, f"{pluralize(ended, 'session')} ended.", json=json)


def remove(login: _Login, json: JsonOption = False) -> None:
    """Remove a user for good, and end the sessions at once."""
    with open_app() as app:
        users.remove_user(app.database, login, RealClock().now())
    print_result({"login": login, "removed": True}, f"{escape(login)} is removed.", json=json)
