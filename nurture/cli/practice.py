"""Practice without risk: a world from one's own templates on a virtual clock, from which no mail leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from nurture.app import App, open_app
from nurture.cli.arguments import ClicksOption, MappingOption, RepliesOption, TemplatesOption, templates_folder
from nurture.cli.leads import print_lead_import
from nurture.cli.output import JsonOption, err, make_table, out, pluralize, print_json, print_result
from nurture.clock import RealClock, parse_time
from nurture.console.settings import without_secrets
from nurture.db import clock_row
from nurture.definitions.schema_check import InvalidValue
from nurture.definitions.values import read_positive_span
from nurture.errors import InvalidState
from nurture.journey.handoff import workspace_links
from nurture.journey.leads.find import find_lead
from nurture.journey.routing.availability import is_active
from nurture.journey.run_once import RunResult
from nurture.reporting import tracks
from nurture.reporting.broadcasts import report_broadcasts
from nurture.reporting.wording import format_counts
from nurture.settings import Settings
from nurture.settings_model import ENV_PREFIX
from nurture.simulation import world
from nurture.simulation.behavior import BehaviorModel, require_emails
from nurture.simulation.sales_behavior import ANSWERS, AS_USUAL, SalesRates
from nurture.simulation.script import read_rates, read_script
from nurture.simulation.world_folder import (
    WorldDescription,
    clear_world,
    delete_world,
    new_world,
    open_world,
    write_description,
)

FolderOption = Annotated[Path, typer.Option("--folder", help="The folder of the practice world.")]
FOLDER: Final = Path("practice")
_SALES: Final[dict[str, SalesRates | None]] = {"usual": AS_USUAL, "answers": ANSWERS, "ignores": None}
_MAILS_SHOWN: Final = 3
_COLUMNS: Final = ("track", "email", "sent", "clicked", "replied", "waiting", "handed off")


def start(
    leads: Annotated[
        Path | None, typer.Option(help="A file of leads to import. Default: made-up leads that fit your audiences.")
    ] = None,
    mapping: MappingOption = None,
    source: Annotated[str | None, typer.Option(help="The system whose ids the file contains.")] = None,
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many leads to make up without a file.")] = 250,
    at: Annotated[str | None, typer.Option(help="When the world begins (ISO, UTC). Default: now.")] = None,
    seed: Annotated[str, typer.Option(help="The same seed makes the same leads, who make the same choices.")] = "1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The port of the world's pages.")] = 8028,
    folder: FolderOption = FOLDER,
    replace_world: Annotated[bool, typer.Option("--replace", help="Delete the world that is there.")] = False,
    templates: TemplatesOption = None,
    json: JsonOption = False,
) -> None:
    """Make a practice world from your templates: own folder, own database, virtual time. No mail leaves it."""
    begins = world.round_up(parse_time(at) if at else RealClock().now())
    chosen = templates_folder(templates).absolute()
    description = WorldDescription(seed, begins.isoformat(), str(chosen), port)
    with (
        new_world(folder, description, replace=replace_world),
        _deleted_on_error(folder),
        open_app(world.world_settings(folder, description), at=begins, upgrade=True) as app,
    ):
        done = world.fill_world(app.ctx, folder, description, leads, count=count, source=source, mapping=mapping)
    if json:
        ignored = world.ignored_settings()
        print_json({"folder": str(folder), "at": begins, "leads": done.new, "ignored_settings": ignored})
        return
    if ignored := world.ignored_settings():
        out.print(f"[dim]A practice world mails nobody and ignores {', '.join(ignored)}.[/]")
    print_lead_import(done)
    out.print(f"\nThe practice world is in {escape(str(folder))}, at {_format(begins)}. No mail leaves it.")
    _print_next(folder, "run 30 days", "show", "serve")


@contextmanager
def _deleted_on_error(folder: Path) -> Iterator[None]:
    """Leave no half-made world behind."""
    try:
        yield
    except BaseException:
        clear_world(folder)
        raise


def run(
    span: Annotated[
        list[str] | None, typer.Argument(help="How long, such as 90 days. Default: finish the last run.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Run until this ISO time (UTC) instead.")] = None,
    rates: Annotated[
        str | None,
        typer.Option(help="How leads react to an email: none, or click=10%,reply=1%. Default: as in the demo."),
    ] = None,
    clicks: ClicksOption = None,
    replies: RepliesOption = None,
    lead: Annotated[
        list[str] | None, typer.Option(help="Whom --clicks and --replies are about. May be repeated. Default: all.")
    ] = None,
    sales: Annotated[str, typer.Option(help="How reps answer: usual, answers (always, in time), ignores.")] = "usual",
    folder: FolderOption = FOLDER,
    json: JsonOption = False,
) -> None:
    """Move the clock of a practice world forward: mail is sent to files, leads react, reps answer."""
    if sales not in _SALES:
        raise InvalidState(f"Reps cannot answer as {sales!r}.", f"Choose one of: {', '.join(_SALES)}.")
    reactions = read_rates(rates)
    with open_world(folder, running=True) as description, open_app(world.world_settings(folder, description)) as app:
        now = clock_row.read_virtual_now(app.database)
        ends = world.round_up(_find_end(" ".join(span or ()), until, description, now))
        lead_ids = [find_lead(app.ctx, one) for one in lead] if lead else None
        script = read_script(clicks, replies, lead_ids)
        with app.database.read() as tx:
            definitions = app.ctx.definitions
            broadcasts = definitions.newest_broadcasts(tx).values()
            require_emails(script, [*definitions.current(tx).programs.values(), *broadcasts])
        begins = datetime.fromisoformat(description.started_at)
        behavior = BehaviorModel(app.ctx, description.seed, begins, reactions, _SALES[sales], script, now)
        done = _run(folder, description, app, ends, lambda: run_with_bar(app, behavior, now, ends))
    result = {"from": done.since, "until": done.until, "emails": done.sent, "handed_off": done.handed_off}
    print_result(result, done.describe(), json=json)


class _Done(NamedTuple):
    """What happened in a world from *since* to *until*."""

    since: datetime
    until: datetime
    sent: int
    handed_off: int

    def describe(self) -> str:
        done = f"{pluralize(self.sent, 'email')} to leads, {self.handed_off:,} handed off"
        return f"It is {_format(self.until)} now. Since {_format(self.since)}: {done}."


def _run(
    folder: Path, description: WorldDescription, app: App, until: datetime, run_rounds: Callable[[], None]
) -> _Done:
    """Run the rounds to *until*, which a later run completes if this one is interrupted."""
    since, before = clock_row.read_virtual_now(app.database), tracks.report_tracks(app.ctx)
    write_description(folder, replace(description, until=until.isoformat()))
    run_rounds()
    after = tracks.report_tracks(app.ctx)
    sent = sum(one.sent for one in after) - sum(one.sent for one in before)
    handed_off = sum(one.handed_off for one in after) - sum(one.handed_off for one in before)
    return _Done(since, until, sent, handed_off)


def _find_end(span: str, until: str | None, description: WorldDescription, now: datetime) -> datetime:
    if span and until:
        raise InvalidState("Write how long to run, or --until, not both.")
    if span:
        try:
            return now + read_positive_span(span)
        except InvalidValue as error:
            raise InvalidState(f"{error}") from None
    ends = parse_time(until) if until else datetime.fromisoformat(description.until) if description.until else now
    if ends <= now:
        done = "is not after" if until else "was reached:"
        remedy = "Say how long to run, such as `nurture practice run 30 days`."
        raise InvalidState(f"{_format(ends)} {done} the time of the world, {_format(now)}.", remedy)
    return ends


def run_with_bar(app: App, behavior: BehaviorModel, now: datetime, until: datetime) -> None:
    """Run the world to *until*; a bar on a terminal shows the progress."""
    days = max((until - now).days, 1)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[day]}"), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(f"{pluralize(days, 'day')} on the virtual clock", total=days, day="")

        def show_day(at: datetime, _: RunResult) -> None:
            progress.update(task, completed=(at - now).days, day=f"{at:%d %b %Y}")

        world.run_world(app.ctx, behavior, until, show_day)


def show(folder: FolderOption = FOLDER, json: JsonOption = False) -> None:
    """Show a practice world: where its leads are, what went out by track and email, what was handed off."""
    with open_world(folder) as description, open_app(world.world_settings(folder, description)) as app:
        now = clock_row.read_virtual_now(app.database)
        funnel, steps = tracks.report_funnel(app.ctx), tracks.report_tracks(app.ctx)
        released = [one for one in report_broadcasts(app.ctx) if one.release is not None]
    mails = world.list_mails(folder)
    if json:
        print_json({"at": now, "funnel": funnel, "steps": steps, "broadcasts": released, "mails": len(mails)})
        return
    out.print(f"[bold]{_format(now)}[/], begun {_format(datetime.fromisoformat(description.started_at))}\n")
    places = (
        ("on tracks", funnel.nurtured_on),
        ("with sales", {"now": funnel.with_sales, "ever": funnel.handed_off}),
        ("in queues", funnel.queued),
        ("resting", funnel.resting),
        ("closed", funnel.closed),
    )
    for name, counts in places:
        text = format_counts({key: count for key, count in counts.items() if count}) or "-"
        out.print(f"  {name:<11} {escape(text)}")
    out.print()
    rows: list[tuple[object, ...]] = [
        (one.track, one.step, one.sent, one.clicked, one.replied, one.waiting, one.handed_off)
        for one in steps
        if one.is_email
    ]
    rows += [("broadcast", one.name, one.sent, one.clicked, one.replied, one.waiting, "-") for one in released]
    out.print(make_table(_COLUMNS, rows, right=_COLUMNS[2:]))
    out.print(f"\n{pluralize(len(mails), 'email')} as sent, to open in a browser or a mail program:")
    for mail in mails[-_MAILS_SHOWN:]:
        out.print(f"  {escape(str(mail))}", soft_wrap=True)
    _print_next(folder, "run 7 days", "serve", "do explain 1")


def serve(folder: FolderOption = FOLDER, json: JsonOption = False) -> None:
    """Open the pages of a practice world on this machine, on its virtual time. Ctrl-C stops it."""
    from nurture.cli.serving import serve_app  # noqa: PLC0415 - the other commands do without

    with open_world(folder) as description, open_app(world.world_settings(folder, description), pages=True) as app:
        if not json:
            out.print(f"It is {_format(app.clock.now())} in the practice world in {escape(str(folder))}.")
            for person, link in _people_links(app):
                out.print(f"  {escape(person):<12} {link}", soft_wrap=True)
            mails = world.list_mails(folder, ("touch", "brief"))
            out.print(f"The links in its {pluralize(len(mails), 'email')} work too, such as in:")
            for mail in mails[-_MAILS_SHOWN:]:
                out.print(f"  {escape(str(mail))}", soft_wrap=True)
            _print_next(folder, "run 1 day")
        serve_app(app, json=json)


def console(
    folder: FolderOption = FOLDER,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="The port; default 8026.")] = None,
    json: JsonOption = False,
) -> None:
    """Open the console on a practice world, on its virtual time. Ctrl-C stops it."""
    from nurture.cli.console import serve_app  # noqa: PLC0415 - the other commands do without

    with open_world(folder) as description:
        settings = without_secrets(world.world_settings(folder, description))
        with open_app(settings, pages=True) as app:
            serve_app(app, port=port, json=json, move_clock=partial(move_clock, folder))


def move_clock(folder: Path, span: timedelta) -> str:
    """Move the clock of the world in *folder* forward by *span*, as `nurture practice run` does; return what happened.

    Raises NotFound if there is no world, InvalidState if another process runs it.
    """
    with open_world(folder, running=True) as description, open_app(world.world_settings(folder, description)) as app:
        now = clock_row.read_virtual_now(app.database)
        begins, ends = datetime.fromisoformat(description.started_at), world.round_up(now + span)
        behavior = BehaviorModel(app.ctx, description.seed, begins)
        return _run(folder, description, app, ends, lambda: world.run_world(app.ctx, behavior, ends)).describe()


def _people_links(app: App) -> Iterator[tuple[str, str]]:
    """Yield the managers and reps who have a page, each with a new link to it."""
    now = app.clock.now()
    with app.database.read() as tx:
        policy = app.ctx.definitions.current(tx).policy
    people = [*(one.id for one in policy.team.managers), *(one.id for one in policy.reps if is_active(one, now.date()))]
    for person in dict.fromkeys(people):
        yield person, workspace_links.create(app.ctx, person, now).url(app.ctx.base_url)


def delete(folder: FolderOption = FOLDER, json: JsonOption = False) -> None:
    """Delete a practice world with its folder. A folder that holds anything else stays as it is."""
    delete_world(folder)
    print_result({"deleted": str(folder)}, f"The practice world in {folder} is deleted.", json=json)


def do(
    command: Annotated[list[str], typer.Argument(help="A command; write -- before it if it has options.")],
    folder: FolderOption = FOLDER,
    json: JsonOption = False,
) -> None:
    """Run any other command in a practice world: nurture practice do explain 17."""
    from nurture.cli import main  # noqa: PLC0415 - the command line as a whole

    with open_world(folder) as description, _settings_in_force(world.world_settings(folder, description)):
        main([*command, *(["--json"] if json else [])])


@contextmanager
def _settings_in_force(settings: Settings) -> Iterator[None]:
    """Replace the settings in the environment by those of a world, until the end of the block."""
    from flows.environment import nurture_variables  # noqa: PLC0415

    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        del os.environ[name]
    os.environ.update(nurture_variables(settings))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _print_next(folder: Path, *commands: str) -> None:
    where = "" if folder == FOLDER else f" --folder {folder}"
    out.print("\nNext:")
    for command in commands:
        name, _, rest = command.partition(" ")
        out.print(f"  [bold]nurture practice {name}{escape(where)}{' ' if rest else ''}{rest}[/]", soft_wrap=True)


def _format(at: datetime) -> str:
    return f"{at:%a} {at.day} {at:%b %Y %H:%M} UTC"
