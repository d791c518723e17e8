"""Broadcasts: list them, count who gets one, send, stop and start it."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.markup import escape

from nurture.app import open_app
from nurture.cli.arguments import DryRunOption, current_user
from nurture.cli.delivery import print_stop
from nurture.cli.output import (
    JsonOption,
    format_cell,
    make_table,
    out,
    pluralize,
    print_json,
    print_result,
    print_table,
)
from nurture.definitions.folder import BROADCASTS
from nurture.journey.broadcasts import release as releasing
from nurture.journey.broadcasts.release import BroadcastCounts, Released
from nurture.journey.delivery import stopping
from nurture.reporting import broadcasts as reporting
from nurture.reporting.broadcasts import BroadcastReport

_Name = Annotated[str, typer.Argument(help="A published broadcast.")]


def list_broadcasts(json: JsonOption = False) -> None:
    """List the published broadcasts: when each goes out, on which topic, and whether it is released."""
    with open_app() as app:
        found = reporting.report_broadcasts(app.ctx)
    rows = [(one.name, one.version, one.state, one.when, one.zone or "lead", one.not_after, one.topic) for one in found]
    columns = ("broadcast", "version", "state", "when", "zone", "not after", "topic")
    empty = "No broadcast is published. Write templates/broadcasts/NAME/, then run `nurture publish`."
    print_table(columns, rows, found, json=json, right=("version",), empty=empty)


def show(name: _Name, json: JsonOption = False) -> None:
    """Show one broadcast: who was sent it, who waits, who did not get it and why, and what it led to."""
    with open_app() as app:
        found = reporting.report_broadcast(app.ctx, name, app.clock.now())
    print_result(found, _print_report, json=json)


def _print_report(one: BroadcastReport) -> None:
    zone = one.zone or "the zone of each lead"
    out.print(f"[bold]{one.name}[/], version {one.version}: {one.state}")
    out.print(f"{format_cell(one.when)} to {format_cell(one.not_after)}, in {zone}; topic: {escape(one.topic or '-')}")
    if one.stop:
        out.print(f"[yellow]{escape(one.stop)}[/]", soft_wrap=True)
    if one.release is None:
        out.print(f"Nobody has released it: `nurture broadcasts send {one.name} --dry-run`, then without --dry-run.")
        return
    by = f"by {one.release.released_by} on {format_cell(one.release.released_at)} UTC"
    out.print(f"released {escape(by)}; planned from {format_cell(one.release.due_at)} UTC on")
    out.print(make_table(("", "leads", "why"), list(_report_rows(one)), right=("leads",)))


def _report_rows(one: BroadcastReport) -> Iterator[tuple[str, int, str]]:
    yield "sent", one.sent, ""
    yield "  clicked", one.clicked, ""
    yield "  replied", one.replied, ""
    yield "  unsubscribed", one.unsubscribed, ""
    if one.reached_goal is not None:
        yield "  reached the goal", one.reached_goal, one.goal
    yield "waiting", one.waiting, ""
    yield from (("  held", count, reason.removeprefix("held: ")) for reason, count in one.held.most_common())
    groups = (("expired", one.expired), ("left out", one.left_out), ("withdrawn", one.withdrawn))
    yield from ((label, count, reason) for label, counts in groups for reason, count in counts.most_common())


def history(name: _Name, json: JsonOption = False) -> None:
    """List the published versions of a broadcast, the newest first: the files that changed, and to how many each went.

    Nothing rolls back what was sent; to send an earlier text to the others, publish that text again.
    """
    with open_app() as app:
        found = reporting.list_versions(app.ctx, name)
    rows = [(one.version, one.published_at, one.sent, ", ".join(one.changed_files)) for one in found]
    columns = ("version", "published (UTC)", "sent", "changed files")
    print_table(columns, rows, found, json=json, right=("version", "sent"))


def send(name: _Name, dry_run: DryRunOption = False, json: JsonOption = False) -> None:
    """Release a broadcast: the sweeps send it at its time. Whoever has had it never gets it again, in no version."""
    with open_app() as app:
        now = app.clock.now()
        if dry_run:
            counts = releasing.preview(app.ctx, name, now)
            print_result(counts, _print_counts, json=json)
            return
        found = releasing.release(app.ctx, name, current_user(), now)
    if json:
        print_json({"broadcast": name, "version": found.program.version, **found.release._asdict()})
        return
    _print_released(name, found, is_due=found.release.due_at <= now)


def _print_counts(found: BroadcastCounts) -> None:
    between = ""
    if found.first_at is not None:
        between = f", between {format_cell(found.first_at)} and {format_cell(found.last_at)} UTC"
    out.print(f"{pluralize(found.recipients, 'lead')} would get {found.broadcast}, version {found.version}{between}.")
    if not (found.recipients or found.finished or found.delayed or found.expiring or found.left_out):
        out.print(f"  No lead fits its audience. Look at `audience` in {escape(found.broadcast)}/broadcast.yaml.")
    if found.finished:
        out.print(f"{found.finished:>7,} have had it, and do not get it again")
    for label, counts in (
        ("of them later", found.delayed),
        ("expire", found.expiring),
        ("left out", found.left_out),
    ):
        for reason, count in counts.most_common():
            out.print(f"{count:>7,} {label}: {escape(reason)}")


def _print_released(name: str, found: Released, *, is_due: bool) -> None:
    schedule = found.program.schedule
    assert schedule is not None
    zone = schedule.zone or "the zone of each lead"
    verb = "is released" if found.is_new else "was released before"
    asked = "at the next run" if is_due else f"on {format_cell(found.release.due_at)} UTC"
    out.print(
        f"{name}, version {found.program.version}, {verb}: {format_cell(schedule.when)} in {zone}, and not after "
        f"{format_cell(schedule.not_after)}. Its audience is asked {asked}.",
        soft_wrap=True,
    )
    out.print(f"[dim]To stop it: nurture broadcasts stop {name} --reason WHY[/]")


def stop(
    name: _Name,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever starts it again.")],
    json: JsonOption = False,
) -> None:
    """Stop a broadcast at once. What is not sent waits for a start, and expires at `not_after`."""
    with open_app() as app:
        found = stopping.stop(app.ctx, f"{BROADCASTS}{name}", reason, current_user(), app.clock.now())
    print_stop(found, json=json)


def start(
    name: _Name, reason: Annotated[str, typer.Option("--reason", help="Why.")] = "", json: JsonOption = False
) -> None:
    """Start a stopped broadcast again: what waits goes in its newest version, as far as it is not too late."""
    with open_app() as app:
        found = stopping.start(app.ctx, f"{BROADCASTS}{name}", reason, current_user(), app.clock.now())
    print_stop(found, json=json)


def report(json: JsonOption = False) -> None:
    """Show per broadcast: sent, waiting, expired, left out, clicked, replied, unsubscribed."""
    with open_app() as app:
        found = reporting.report_broadcasts(app.ctx)
    rows = [
        (
            one.name,
            one.sent,
            one.waiting,
            one.expired.total(),
            one.left_out.total() + one.withdrawn.total(),
            one.clicked,
            one.replied,
            one.unsubscribed,
        )
        for one in found
    ]
    columns = ("broadcast", "sent", "waiting", "expired", "left out", "clicked", "replied", "unsub.")
    print_table(columns, rows, found, json=json, right=columns[1:], empty="No broadcast is published.")
