"""Check whether this set-up can send: `nurture doctor`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from nurture.app import crm_of, provider_of
from nurture.cli.output import JsonOption, as_json, out
from nurture.clock import RealClock
from nurture.errors import Misconfigured
from nurture.operations.check_external import CHECKS
from nurture.operations.doctor import Finding, SetUp, can_send, examine
from nurture.settings import Settings
from nurture.web.auth import HEALTH

_COLOURS: Final = {"ok": "green", "warning": "yellow", "fails": "bold red"}
_WIDEST: Final = 110


def doctor(json: JsonOption = False) -> None:
    """Say whether this set-up can send: what was found, and what to do. Nothing is sent or changed."""
    try:
        settings = Settings.read()
    except Misconfigured as error:
        found = [Finding("settings", "fails", str(error), "Correct it; the rest is looked at then.")]
        _tell(found, "", json=json)
        raise typer.Exit(Misconfigured.exit_code) from error
    setup = SetUp(
        settings,
        RealClock(),
        lambda: provider_of(settings, durable=False),
        HEALTH,
        _prefect(settings),
        lambda: crm_of(settings),
    )
    found = examine(setup, CHECKS)
    _tell(found, settings.provider, json=json)
    if not can_send(found):
        raise typer.Exit(Misconfigured.exit_code)


def _prefect(settings: Settings) -> str:
    """Return the address of Prefect's API: the one that is named, or the server of `nurture up`."""
    return os.environ.get("PREFECT_API_URL") or f"http://127.0.0.1:{settings.prefect_port}/api"


def _tell(found: Sequence[Finding], provider: str, *, json: bool) -> None:
    if json:
        as_json({"can_send": can_send(found), "provider": provider, "findings": found})
        return
    shown = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column(overflow="fold")
    for one in found:
        lines = [Text(one.found)]
        if one.remedy and one.state != "ok":
            lines.append(Text(f"→ {one.remedy}", style="dim"))
        shown.add_row(Text(one.state, style=_COLOURS[one.state]), one.check, Group(*lines))
    out.print(shown, width=min(out.width, _WIDEST))
    out.print()
    out.print(_verdict(found, provider))


def _verdict(found: Sequence[Finding], provider: str) -> Text:
    fails = sum(one.state == "fails" for one in found)
    warnings = sum(one.state == "warning" for one in found)
    if fails:
        things = "1 thing" if fails == 1 else f"{fails} things"
        return Text(f"This set-up cannot send yet: mend what fails, {things}.", style=_COLOURS["fails"])
    asides = f" {warnings} to look at." if warnings else ""
    if provider == "mailbox":
        return Text(
            f"This set-up works, and writes mail into files: nobody is mailed.{asides}", style="green"
        )
    return Text(f"This set-up can send, by {provider}.{asides}", style="green")
