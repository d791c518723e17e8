"""Run everything on one machine as one process tree: web pages, console, loop of the stages, Prefect."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import NoReturn

from flows.child_processes import SERVER_SECRET, PortReservation, is_free, reserve_port
from flows.environment import build_console_environment, build_environment
from flows.lock import hold_lock, write_owner
from flows.supervisor import Plan
from nurture.app import open_app
from nurture.console.access import users
from nurture.console.access.users import Invitation
from nurture.errors import Misconfigured
from nurture.files import write_private
from nurture.operations.check_internal import ROOT_WARNING
from nurture.settings import Settings


def up(settings: Settings) -> None:
    """Check and prepare everything, and become the supervisor of the processes. Main thread only; does not return.

    Raises AlreadyRunning, InvalidState for a database in virtual time, Misconfigured for settings that do not work.
    """
    home = settings.state_dir
    with hold_lock(home) as lock:
        sys.stderr.write("Preparing the database ...\n")
        with open_app(settings, live=True, upgrade=True) as app:
            invitation = users.invite_first_admin(app.database, app.clock.now()) if settings.console else None
        port, reservation = reserve_port(settings.prefect_port)
        _require_free(settings.web_host, settings.web_port, "the pages", "NURTURE_WEB_PORT")
        urls = {"Pages": f"http://{settings.web_host}:{settings.web_port}", "Prefect": f"http://127.0.0.1:{port}"}
        own_environments = {}
        if settings.console:
            _require_free(settings.console_host, settings.console_port, "the console", "NURTURE_CONSOLE_PORT")
            urls["Console"] = f"http://{settings.console_host}:{settings.console_port}"
            own_environments["console"] = build_console_environment(settings)
        write_owner(lock, urls)
        variables = build_environment(settings, home, port)
        sign_in = home / "sign-in"
        write_private(sign_in, variables[SERVER_SECRET] + "\n")
        plan = Plan(
            home=str(home),
            environment=variables,
            urls=urls,
            lines=list(_describe(settings, sign_in, invitation)),
            sign_in=str(sign_in),
            lock=lock.fileno(),
            own_environments=own_environments,
        )
        _become_supervisor(plan, home, reservation)


def _become_supervisor(plan: Plan, home: Path, reservation: PortReservation) -> NoReturn:
    """Replace this program; lock and port stay held. The plan has a secret: it goes through a file without a name."""
    with TemporaryFile("w+", encoding="utf-8", dir=home) as file:
        json.dump(asdict(plan), file)
        file.seek(0)
        for handle in (file.fileno(), plan.lock, reservation.fileno()):
            os.set_inheritable(handle, True)
        os.execv(sys.executable, [sys.executable, "-m", "flows.supervisor", str(file.fileno())])  # noqa: S606


def _describe(settings: Settings, sign_in: Path, invitation: Invitation | None) -> Iterator[str]:
    yield f"Sign in: to Prefect's pages with what `cat {sign_in}` prints"
    if invitation is not None:
        direct = f"http://{settings.console_host}:{settings.console_port}"
        yield f"Admin:   {invitation.url(settings.console_url or direct)} lets the first admin of the console in, once"
    yield f"Stages:  when something is due, at the latest every {settings.sweep_seconds} s; the audit at 02:15 UTC"
    if os.geteuid() == 0:
        yield f"Warning: {ROOT_WARNING}"
    yield "Ctrl-C stops everything."


def _require_free(host: str, port: int, what: str, variable: str) -> None:
    if not is_free(host, port):
        raise Misconfigured(
            f"Something else listens on {host}, port {port}. Name another port for {what} in {variable}."
        )
