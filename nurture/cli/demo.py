"""Run the webinar demo: 250 registrants over half a year of virtual time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from rich.rule import Rule

from nurture.app import App, open_app
from nurture.cli.leads import print_lead_import
from nurture.cli.output import make_table, out
from nurture.cli.practice import run_with_bar
from nurture.cli.reports import overview
from nurture.crm.registry import DEFAULT_CRM
from nurture.journey.handoff import roster
from nurture.journey.handoff.why_now import rule_label
from nurture.reporting import audit, sales, tracks, webinar
from nurture.reporting.wording import format_counts
from nurture.settings import Settings
from nurture.simulation import world
from nurture.simulation.behavior import BehaviorModel
from nurture.simulation.world_folder import DATABASE, REJECTED, WorldDescription, new_world

if TYPE_CHECKING:
    from flows.demo_runs import PrefectServer

START: Final = datetime(2026, 3, 6, 9, tzinfo=UTC)
"""The day after the webinar, on which its report is imported."""

SEED: Final = "webinar"
SOURCE: Final = "webinar"
PORT: Final = 8027
FLOW_DAYS: Final = 2
LEAVE: Final = (
    ("yuki", date(2026, 4, 7), date(2026, 4, 17), None),
    ("lena", date(2026, 7, 20), date(2026, 7, 31), "mara"),
)
"""Who is away, and the deputy where the policy names none."""


def run(folder: Path, days: int, *, flows: bool) -> None:
    """Run the demo in *folder*, whose old contents are deleted, and print the results. Raises InvalidState.

    The demo is a practice world with the webinar's registrants.
    """
    description = WorldDescription(
        SEED, START.isoformat(), str(Settings.read().templates.absolute()), PORT, DEFAULT_CRM
    )
    settings = world.world_settings(folder, description)
    began = perf_counter()
    until = START + timedelta(days=days)
    with new_world(folder, description, replace=True), _start_prefect(settings, wanted=flows) as server:
        with open_app(settings, at=START, upgrade=True) as app:
            examples = settings.templates / "examples"
            leads, accounts = examples / "webinar.csv", examples / "accounts.csv"
            imported = world.fill_world(app.ctx, folder, description, leads, source=SOURCE, accounts=accounts)
            print_lead_import(imported)
            for person, first, last, deputy in LEAVE:
                roster.add_leave(app.ctx, person, first, last, deputy, START)
            _print_heading("1. Registrants, and where they went")
            _print_funnel(app)
            behavior = BehaviorModel(app.ctx, SEED, START)
            simulated_until = until - timedelta(days=FLOW_DAYS if flows else 0)
            run_with_bar(app, behavior, START, simulated_until)
        if server is not None:
            _run_flow_days(server, simulated_until, until)
    with open_app(settings) as app:
        _print_results(app, until)
        _print_next_steps(folder, perf_counter() - began)


def _start_prefect(settings: Settings, *, wanted: bool) -> AbstractContextManager[PrefectServer | None]:
    """Start Prefect's server in parallel with the months that are simulated without it: it starts slowly."""
    if not wanted:
        return nullcontext()
    from flows.demo_runs import run_server  # noqa: PLC0415 - only the demo with flows needs Prefect
    from flows.environment import prefect_settings  # noqa: PLC0415

    if ignored := prefect_settings(os.environ):
        out.print(f"[dim]The demo runs its own Prefect server and ignores {', '.join(sorted(ignored))}.[/]")
    return run_server(settings)


def _print_heading(text: str) -> None:
    out.print()
    out.print(Rule(f"[bold]{text}[/]", align="left", style="dim"))


def _print_funnel(app: App) -> None:
    """Print the funnel next to the numbers of the article that the example is based on."""
    found = webinar.report_webinar(app.ctx, SOURCE)
    rules, to = found.rules, found.custodian
    ready = to[True, "queue"]
    rows = [
        ("registered", found.attended + found.missed, 250, ""),
        ("  attended", found.attended, 83, ""),
        ("    ready: to sales", ready, 21, "asked for a demo, or decides within three months"),
        ("    not ready yet: to a track", to[True, "track"], 42, "webinar-attended"),
        ("    discarded, with a reason", to[True, "closed"], 20, ""),
        ("  did not attend", found.missed, 167, ""),
        ("    good fit: to a track", rules[False, "nurture-good-fit"], 42, "webinar-no-show"),
        ("    possible fit: to a track", rules[False, "nurture-possible-fit"], 83, "webinar-no-show"),
        ("    discarded, with a reason", to[False, "closed"], 42, ""),
        ("on a track, not lost", to[True, "track"] + to[False, "track"], 167, "8 for each lead that is ready"),
    ]
    out.print(make_table(("leads", "here", "article", ""), rows, right=("here", "article")))


def _run_flow_days(server: PrefectServer, simulated_until: datetime, until: datetime) -> None:
    """Run the last days as Prefect flow runs."""
    times = [simulated_until + timedelta(days=day + 1) for day in range((until - simulated_until).days)]
    _print_heading("2. The last days, as Prefect flow runs")
    rows = [(run.at, run.flow, run.name, run.state, f"{run.seconds:.1f} s") for run in server.run(times)]
    out.print(make_table(("virtual time (UTC)", "flow", "run", "state", "took"), rows, right=("took",)))


def _print_results(app: App, now: datetime) -> None:
    _print_heading(f"3. {(now - START).days} days later, {now:%d %b %Y}")
    funnel, sold = tracks.report_funnel(app.ctx), sales.report_sales(app.ctx, now)
    handoff_counts = {
        "accepted": sum(one.accepted for one in sold.rules),
        "given back with a reason": sum(one.rejected for one in sold.rules),
        "ended unanswered": sum(one.unanswered for one in sold.rules),
        "still open": sold.still_open,
    }
    rows: Sequence[Sequence[object]] = [
        ("handed off", funnel.handed_off, "for engagement, a reply, or the decision date they stated"),
        ("  recycled to marketing", funnel.recycled, ""),
        ("  their hand-offs", sold.handed_off, format_counts(handoff_counts)),
        ("on a track now", funnel.nurtured, format_counts(funnel.nurtured_on)),
        ("with sales now", funnel.with_sales, ""),
        ("resting", sum(funnel.resting.values()), format_counts(funnel.resting)),
        ("closed", sum(funnel.closed.values()), format_counts(funnel.closed)),
        ("in queues", sum(funnel.queued.values()), format_counts(funnel.queued)),
    ]
    out.print(make_table(("leads", "count", ""), rows, right=("count",)))
    _print_heading("4. Hand-offs: reason and rep")
    offers = tracks.report_handoffs(app.ctx)
    with app.database.read() as tx:
        policy = app.ctx.definitions.current(tx).policy
    shown = [*offers[:6], *offers[-6:]] if len(offers) > 12 else offers
    lines = [
        (
            each.offer_id,
            each.lead_id,
            f"{each.offered_at:%d %b}",
            each.rep,
            each.state + (f": {each.reason}" if each.reason else ""),
            rule_label(policy, each.rule) or each.handoff_reason,
        )
        for each in shown
    ]
    out.print(make_table(("id", "lead", "on", "rep", "state", "hand-off reason"), lines, right=("id", "lead")))
    if len(offers) > len(shown):
        out.print(f"[dim]and {len(offers) - len(shown)} more: nurture handoffs list[/]")
    _print_heading("5. Touches per week")
    overview.print_touches(tracks.touches_per_week(app.ctx))
    _print_heading("6. Audit: every lead has one custodian")
    overview.print_audit(audit.run_audit(app.ctx, now))


def _print_next_steps(folder: Path, seconds: float) -> None:
    mails = world.list_mails(folder)
    brief = next(iter(world.list_mails(folder, ("brief",))), None)
    _print_heading(f"Done in {seconds:.0f} s")
    out.print(f"  {len(mails):,} emails   {folder}/{world.MAIL}/new/*.eml; as HTML: {folder}/{world.MAIL}/html/")
    if brief is not None:
        out.print(f"  a brief        {brief}", soft_wrap=True)
    out.print(f"  rejected rows  {folder}/{REJECTED}")
    out.print(f"  the database   {folder}/{DATABASE}")
    out.print("\nOpen its pages, on virtual time and without mail:")
    out.print(f"  [bold].venv/bin/nurture practice serve --folder {folder}[/]", soft_wrap=True)
    out.print("\nTry next:")
    for command in ("do explain 17", "do handoffs list", "do reports tracks", "run 7 days"):
        name, _, rest = command.partition(" ")
        out.print(f"  [bold].venv/bin/nurture practice {name} --folder {folder} {rest}[/]", soft_wrap=True)
    out.print("  [bold].venv/bin/nurture simulate webinar-attended --zone Europe/Berlin[/]", soft_wrap=True)
    out.print("\nOpen the console: what marketers and sales see, with a bar that moves the clock forward:")
    out.print(f"  [bold].venv/bin/nurture practice console --folder {folder}[/]", soft_wrap=True)
