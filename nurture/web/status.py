"""Say how this installation is: `/health/live`, `/health/ready` and `/metrics`, for machines that watch it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from nurture.db import clock_row, last_rounds
from nurture.db.transaction import Transaction
from nurture.errors import DatabaseUnavailable
from nurture.journey.delivery import queries as delivery_queries
from nurture.journey.leads.due_queries import find_due_stages
from nurture.journey.stages import STAGES
from nurture.operations import problem_queries
from nurture.operations.problems import find_problems
from nurture.web.site import SiteDep

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


def health(site: SiteDep) -> JSONResponse:
    """Return whether the database is available."""
    try:
        clock_row.read_mode(site.ctx.database)
    except DatabaseUnavailable:
        return JSONResponse({"status": "unavailable", "database": "unusable"}, status_code=503)
    return JSONResponse({"status": "ok", "database": "ok"})


async def live() -> JSONResponse:
    """Return that the process answers."""
    return JSONResponse({"status": "ok"})


def ready(site: SiteDep) -> JSONResponse:
    """Return whether pages can be served, with the ages of rounds and inbound data, and what is wrong.

    Problems do not make it unready: opt-outs must be taken whatever happens to mail.
    """
    found = health(site)
    if found.status_code != 200:
        return found
    now = site.clock.now()
    with site.ctx.database.read() as tx:
        rounds = last_rounds.load_all(tx)
        event, reply = problem_queries.find_last_event(tx), problem_queries.find_last_reply(tx)
        problems = _find_problems(site, tx, now)
    ages = {name: _age(one.succeeded_at, now) for name, one in rounds.items()}
    inbound = {"event": _age(event, now), "reply": _age(reply, now)}
    body = {"status": "ok", "database": "ok", "seconds_since": ages | inbound, "problems": problems}
    return JSONResponse(body)


def metrics(site: SiteDep) -> Response:
    """Return the figures in the text format of Prometheus. They are read anew, by index, at each request."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - only where it is asked for

    return Response(generate_latest(_collect(site, site.clock.now())), media_type=CONTENT_TYPE_LATEST)


def _collect(site: SiteDep, now: datetime) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415

    registry = CollectorRegistry()
    with site.ctx.database.read() as tx:
        rounds = last_rounds.load_all(tx)
        due_mail, first_due = problem_queries.count_due_mail(tx, now)
        unknown, sent = delivery_queries.count_unknown(tx), problem_queries.count_sent(tx)
        due_stages = find_due_stages(tx, now)
        problems = Counter(one["key"].partition(":")[0] for one in _find_problems(site, tx, now))
    since_round = Gauge(
        "nurture_round_age_seconds", "Seconds since a stage last completed a round.", ["stage"], registry=registry
    )
    for name, one in rounds.items():
        if (age := _age(one.succeeded_at, now)) is not None:
            since_round.labels(name).set(age)
    is_due = Gauge("nurture_stage_due", "Whether something is due for a stage.", ["stage"], registry=registry)
    for name in STAGES:
        is_due.labels(name).set(name in due_stages)
    found = Gauge("nurture_problems", "Problems, as in alerts, by kind.", ["kind"], registry=registry)
    for kind, count in problems.items():
        found.labels(kind).set(count)
    figures = (
        ("nurture_mail_due", "Messages that are due.", due_mail),
        ("nurture_mail_due_age_seconds", "Seconds since the first due message became due.", _age(first_due, now) or 0),
        ("nurture_mail_unknown", "Messages of which nobody knows whether they were sent.", unknown),
        ("nurture_mail_sent", "Touches sent since the beginning.", sent),
    )
    for name, help_text, value in figures:
        Gauge(name, help_text, registry=registry).set(value)
    return registry


def _find_problems(site: SiteDep, tx: Transaction, now: datetime) -> list[dict[str, str]]:
    folder = site.ctx.database.file.parent if site.ctx.database.file is not None else Path.cwd()
    return [one._asdict() for one in find_problems(tx, now, site.pace, folder)]


def _age(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else round((now - since).total_seconds(), 1)
