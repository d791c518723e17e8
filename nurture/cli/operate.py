"""Set up and run nurture: `nurture demo`, `up`, `run`, `version`, and `nurture init`, `serve`, `upgrade`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from nurture import __version__
from nurture.app import open_app
from nurture.cli.output import JsonOption, out, pluralize, print_error, print_json, print_result
from nurture.clock import parse_time
from nurture.db import last_rounds
from nurture.journey.run_once import RunResult, run_once
from nurture.journey.stages import STAGES
from nurture.reporting.wording import format_counts
from nurture.settings import Settings

_MOVES_SHOWN: Final = 6


def demo(
    folder: Annotated[
        Path, typer.Option(help="The folder for the demo's database and mail. Its old contents are deleted.")
    ] = Path("demo"),
    days: Annotated[int, typer.Option(min=7, max=1_000, help="How many days to simulate.")] = 180,
    flows: Annotated[bool, typer.Option(help="Run the last two days as Prefect flow runs.")] = True,
) -> None:
    """Run the webinar example: 250 registrants over half a year, on a virtual clock."""
    from nurture.cli.demo import run  # noqa: PLC0415 - only the demo needs it

    run(folder, days, flows=flows)


def up() -> None:
    """Run everything on this machine: the web pages, the stages, Prefect. Ctrl-C stops it."""
    from flows.up import up as start  # noqa: PLC0415 - the other commands never load Prefect

    start(Settings.read())


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on; default NURTURE_WEB_HOST.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="The port to listen on; default NURTURE_WEB_PORT. 0 takes any free port."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Serve the web application without the flows: links in mail, webhooks, the API. Ctrl-C stops it."""
    from nurture.cli.serving import serve_app  # noqa: PLC0415 - the other commands do without

    with open_app(pages=True) as app:
        serve_app(app, host, port, json=json)


def init(
    starter: Annotated[
        list[str] | None, typer.Option(help="Add a starter track, such as trade-fair. May be repeated.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create what is missing: database, starter templates, Prefect work pool and limits. Safe to run again."""
    from flows.setup import init as set_up  # noqa: PLC0415 - the other commands never load Prefect

    done = set_up(Settings.read(), starter or ())
    print_result({"done": done}, "\n".join(done), json=json)


def run_stages(
    at: Annotated[str | None, typer.Option(help="Move a virtual clock forward to this ISO time (UTC) first.")] = None,
    json: JsonOption = False,
) -> None:
    """Run every stage once, without Prefect: signals, intake, tracks, hand-offs, CRM sync, delivery."""
    from nurture.cli.leads import describe_closed, print_closed  # noqa: PLC0415 - the other commands do without

    with open_app(at=parse_time(at) if at else None) as app:
        now = app.clock.now()
        done = run_once(app.ctx, now, app.clock)
        with app.database.write() as tx:
            last_rounds.note_successes(tx, (*STAGES, last_rounds.RUN), app.clock.now())
    if json:
        found = done.delivered.stopped_by
        quarantine_field = {"quarantine": found.reason} if found is not None else {}
        closed = {"closed_by_policy": [describe_closed(one) for one in done.closed]}
        print_json({"at": now, **stage_counts(done), **closed, "moved": dict(done.advanced.moved), **quarantine_field})
        return
    if done.delivered.refusal:
        print_error(done.delivered.refusal)
    out.print(f"[bold]{now:%Y-%m-%d %H:%M} UTC[/]")
    for stage, what in stage_counts(done).items():
        out.print(f"  {stage.replace('_', ' '):<11} {what if isinstance(what, int) else format_counts(what) or '-'}")
        if stage == "classified":
            print_closed(done.closed)
        if stage == "advanced":
            for move, number in done.advanced.moved.most_common(_MOVES_SHOWN):
                out.print(f"    {pluralize(number, 'email')} {move}")


def stage_counts(done: RunResult) -> dict[str, int | dict[str, int]]:
    """Return the counts of a run per stage; those of broadcasts only if one was planned."""
    planned = {"planned": done.broadcasts.planned, "left out": done.broadcasts.left_out.total()}
    return {
        "signals": done.signals_applied,
        "classified": dict(done.classified),
        "advanced": dict(done.advanced.events),
        "handed_off": dict(done.handed_off),
        "crm": dict(done.crm),
        **({"broadcasts": planned} if done.broadcasts.was_due else {}),
        "delivered": {state: count for state, count in done.delivered.states.items() if count},
    }


def upgrade(json: JsonOption = False) -> None:
    """Create or migrate the database tables. Safe to run again."""
    from nurture.db import schema  # noqa: PLC0415
    from nurture.db.engine import Database  # noqa: PLC0415

    db = Database(Settings.read().database_url.get_secret_value())
    try:
        applied = schema.upgrade(db)
        text = f"Upgraded {db.name}: {', '.join(applied)}" if applied else f"{db.name} is up to date."
        print_result({"database": db.name, "applied": applied}, text, json=json)
    finally:
        db.close()


def version(json: JsonOption = False) -> None:
    """Print the version."""
    print_result({"version": __version__}, __version__, json=json)
