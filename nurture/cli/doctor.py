"""Check whether this set-up can send: `nurture doctor`."""

import os
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from nurture.app import make_crm, make_provider
from nurture.cli.output import JsonOption, out, pluralize, print_json
from nurture.clock import RealClock
from nurture.errors import Misconfigured
from nurture.mail.providers.registry import PROVIDERS
from nurture.operations.check_external import CHECKS
from nurture.operations.doctor import CheckResult, DoctorContext, can_send, run_checks
from nurture.operations.doctor import acknowledge as acknowledge_findings
from nurture.settings import Settings
from nurture.settings_model import is_local
from nurture.web.routes import HEALTH

_COLORS: Final = {"ok": "green", "warning": "yellow", "failed": "bold red"}
_MAX_WIDTH: Final = 110


def doctor(
    acknowledge: Annotated[
        bool, typer.Option(help="Stop showing the fields that may be opt-outs known so far.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check whether this set-up can send, and list what to fix. Nothing is sent."""
    try:
        settings = Settings.read()
    except Misconfigured as error:
        found = [
            CheckResult(
                "settings", "failed", str(error), "Correct the setting, then run the doctor again for the other checks."
            )
        ]
        _print_findings(found, "", json=json)
        raise typer.Exit(Misconfigured.exit_code) from error
    setup = DoctorContext(
        settings,
        RealClock(),
        lambda: make_provider(settings, durable=False),
        HEALTH,
        _prefect_api_url(settings),
        lambda: make_crm(settings),
    )
    if acknowledge:
        acknowledge_findings(setup)
    found = run_checks(setup, CHECKS)
    _print_findings(found, settings.provider, json=json)
    if not can_send(found):
        raise typer.Exit(Misconfigured.exit_code)


def _prefect_api_url(settings: Settings) -> str:
    """Return the URL of Prefect's API: PREFECT_API_URL, or the server of `nurture up`, on whatever port it runs."""
    from flows.lock import read_urls  # noqa: PLC0415 - the flows are above the commands' other imports

    server = read_urls(settings.state_dir).get("Prefect") or f"http://127.0.0.1:{settings.prefect_port}"
    return os.environ.get("PREFECT_API_URL") or f"{server}/api"


def _print_findings(found: Sequence[CheckResult], provider: str, *, json: bool) -> None:
    if json:
        print_json({"can_send": can_send(found), "provider": provider, "findings": found})
        return
    grid = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for one in found:
        lines = [Text(one.message)]
        if one.remedy and one.state != "ok":
            lines.append(Text(f"→ {one.remedy}", style="dim"))
        grid.add_row(Text(one.state, style=_COLORS[one.state]), one.check, Group(*lines))
    out.print(grid, width=min(out.width, _MAX_WIDTH))
    out.print()
    out.print(_verdict(found, provider))


def _verdict(found: Sequence[CheckResult], provider: str) -> Text:
    fails = sum(one.state == "failed" for one in found)
    warnings = sum(one.state == "warning" for one in found)
    if fails:
        return Text(f"This set-up cannot send yet: {pluralize(fails, 'check')} failed.", style=_COLORS["failed"])
    warning_note = f" {pluralize(warnings, 'warning')}." if warnings else ""
    if is_local(PROVIDERS, provider):
        return Text(f"This set-up works, and writes mail to files: nobody is mailed.{warning_note}", style="green")
    return Text(f"This set-up can send, by {provider}.{warning_note}", style="green")
