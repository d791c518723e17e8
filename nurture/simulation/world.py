"""A practice world: a database, mail and CRM files of its own, on a virtual clock. Nothing in it reaches outside."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from nurture.clock import VirtualClock
from nurture.db import clock_row
from nurture.definitions.folder import read_folder
from nurture.journey.accounts.import_file import import_accounts
from nurture.journey.intake.import_file import LeadImportResult, import_file
from nurture.journey.leads import due_queries
from nurture.journey.run_once import RunResult, run_once
from nurture.journey.stages import STAGES
from nurture.mail.providers.registry import DEFAULT_PROVIDER
from nurture.publishing.publish import publish
from nurture.runtime.context import AppContext
from nurture.settings import Settings
from nurture.settings_model import ENV_PREFIX, variable_name
from nurture.simulation import engine, queries
from nurture.simulation.behavior import BehaviorModel
from nurture.simulation.population import write_leads
from nurture.simulation.world_folder import DATABASE, LEADS, REJECTED, WorldDescription

STEP: Final = timedelta(hours=1)
"""The step of a world's clock: what falls due within one is done together at its end."""

FULL_ROUND_EVERY: Final = timedelta(days=1)
MAIL: Final = "mail"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OWN_SETTINGS: Final = frozenset({"templates", "web_host", "web_port"})
"""The settings of the environment that a world uses, or is told by its own options."""


def world_settings(folder: Path, description: WorldDescription) -> Settings:
    """Return the settings of the world in *folder*: none comes from the environment, so that it mails nobody."""
    folder = folder.absolute()
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    overrides = {
        "database_url": SecretStr(f"sqlite:///{folder / DATABASE}"),
        "maildir": folder / MAIL,
        "spool": folder / "spool",
        "crm_folder": folder / "crm",
        "journal_dir": folder / ".nurture",
        "provider": DEFAULT_PROVIDER,
        "crm": description.crm,
        "templates": Path(description.templates),
        "web_port": description.port,
        "base_url": f"http://127.0.0.1:{description.port}",
    }
    return Settings(**defaults | overrides)


def ignored_settings() -> list[str]:
    """Return the variables of the environment that a practice world does not use."""
    used = {variable_name(name) for name in _OWN_SETTINGS}
    known = {variable_name(name) for name in Settings.model_fields} - used
    return sorted(name for name, value in os.environ.items() if name.startswith(ENV_PREFIX) and value and name in known)


def round_up(at: datetime) -> datetime:
    """Return the end of the step of a world's clock that *at* is in."""
    return _EPOCH - (_EPOCH - at) // STEP * STEP


def fill_world(
    ctx: AppContext,
    folder: Path,
    description: WorldDescription,
    leads: Path | None,
    *,
    count: int = 0,
    source: str | None = None,
    mapping: Path | None = None,
    accounts: Path | None = None,
) -> LeadImportResult:
    """Publish the templates, and bring in the leads of a file, or as many as *count* that fit the templates.

    The file *accounts* names companies that reps own already.

    Raises InvalidDefinitions, or FileUnreadable.
    """
    at = datetime.fromisoformat(description.started_at)
    publish(ctx, read_folder(Path(description.templates)), at)
    if accounts is not None:
        import_accounts(ctx, accounts, at)
    if leads is None:
        leads = folder / LEADS
        with ctx.database.read() as tx:
            definitions, fields = ctx.definitions.current(tx), ctx.definitions.declared_fields(tx)
        write_leads(leads, definitions, fields, count, description.seed, at.date())
    imported = import_file(ctx, leads, at, mapping=mapping, source=source, report=folder / REJECTED)
    run_once(ctx, at)
    return imported


def run_world(
    ctx: AppContext,
    behavior: BehaviorModel,
    until: datetime,
    on_round: Callable[[datetime, RunResult], None] | None = None,
) -> None:
    """Advance the world to *until*, which is the end of a step. A run that was killed may be repeated.

    No other process may run the world meanwhile.
    """
    now = clock_row.read_virtual_now(ctx.database)
    with ctx.database.write() as tx:
        queries.requeue_leased(tx)
    engine.run_simulation(
        ctx, now, until, advance_world=behavior.advance_to, on_round=on_round, run_round=DueStages(), min_step=STEP
    )
    with ctx.database.write() as tx:
        clock_row.advance_to(tx, until)


class DueStages:
    """Run the stages for which something is due, as the loop of `nurture up` does, and all of them every day.

    The hand-off runs at each new time: deputies, lists and the capacity of reps depend on the hour.
    """

    def __init__(self) -> None:
        self._period: int | None = None
        self._last: datetime | None = None

    def __call__(self, ctx: AppContext, now: datetime) -> RunResult:
        """Run what is due at *now*; the result names what was done if all stages ran."""
        period, is_new_time, self._last = (now - _EPOCH) // FULL_ROUND_EVERY, now != self._last, now
        if period != self._period:
            self._period = period
            return run_once(ctx, now)
        clock = VirtualClock(now)
        due, is_known = _find_due(ctx, now), True
        for name, stage in STAGES.items():
            is_due = name in due or (is_new_time and name == "hand-off")
            if not is_due and not is_known:  # an earlier stage may have made it due; it makes none of them less due
                due, is_known = _find_due(ctx, now), True
                is_due = name in due
            if is_due:
                stage.run(ctx, clock, lambda: False)
                is_known = False
        return RunResult()


def _find_due(ctx: AppContext, now: datetime) -> frozenset[str]:
    with ctx.database.read() as tx:
        return due_queries.find_due_stages(tx, now)


def list_mails(folder: Path, prefixes: Sequence[str] = ("",)) -> list[Path]:
    """Return the emails of a world as HTML, the newest last, whose name begins with one of *prefixes*."""
    mails = [path for path in (folder / MAIL / "html").glob("*.html") if path.name.startswith(tuple(prefixes))]
    return sorted(mails, key=lambda path: path.stat().st_mtime_ns)
