"""What runs when: the schedules of `nurture up`. prefect.yaml says the same for work pools."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

POOL: Final = "nurture"
"""The work pool of prefect.yaml."""

SENDERS: Final = "nurture-senders"
"""The global concurrency limit on how many shards, on all machines, send mail at once."""

_ROUND: Final = 300
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One flow on one schedule, always in UTC, never two runs of it at once.

    *entrypoint* is module.function. Runs come *every* so many seconds, *offset* seconds after the full
    interval, or when *cron* says. *grace* is how long a run may take to start, in seconds.
    """

    entrypoint: str
    name: str
    slug: str
    every: int = 0
    offset: int = 0
    cron: str = ""
    grace: int = 120

    @property
    def anchor(self) -> datetime:
        """Return the moment from which intervals are counted."""
        return _EPOCH + timedelta(seconds=self.offset)


SCHEDULE: Final = (
    Scheduled("flows.listen.apply_signals", "every-5-minutes", "five-minutes", every=300),
    Scheduled("flows.intake.classify_new_leads", "every-5-minutes", "five-minutes", every=300, offset=30),
    Scheduled("flows.advance.advance_due_leads", "every-5-minutes", "five-minutes", every=300, offset=60),
    Scheduled("flows.handoff.offer_ready_leads", "every-5-minutes", "five-minutes", every=300, offset=90),
    Scheduled("flows.crm.sync_crm", "every-5-minutes", "five-minutes", every=300, offset=120),
    Scheduled("flows.deliver.deliver_due_mail", "every-30-seconds", "half-minute", every=30, offset=15),
    Scheduled("flows.report.audit_ledger", "nightly", "nightly", cron="15 2 * * *"),
)
"""In a lead's order, half a minute apart: one round passes a lead on from stage to stage.

Mail goes out more often than the rest: what a dead worker held is found within a minute, its lease included.
"""


def paced(every: int) -> tuple[Scheduled, ...]:
    """Return the schedule with another interval, in seconds; the stages stay in order and as far apart.

    Mail keeps its own, unless *every* is shorter.
    """
    return tuple(_paced(one, every if one.every == _ROUND else min(every, one.every)) for one in SCHEDULE)


def _paced(one: Scheduled, every: int) -> Scheduled:
    return replace(one, every=every, offset=one.offset * every // one.every) if one.every else one


def to_serve(schedule: Iterable[Scheduled]) -> list[RunnerDeployment]:
    """Return the deployments that `serve` takes."""
    return [_deployment(one) for one in schedule]


def _deployment(one: Scheduled) -> RunnerDeployment:
    from prefect import Flow  # noqa: PLC0415 - the table above is read without Prefect
    from prefect.client.schemas.objects import (  # noqa: PLC0415
        ConcurrencyLimitConfig,
        ConcurrencyLimitStrategy,
    )
    from prefect.deployments.runner import RunnerDeployment  # noqa: PLC0415
    from prefect.schedules import Cron, Interval  # noqa: PLC0415
    from prefect.types.entrypoint import EntrypointType  # noqa: PLC0415

    module, _, function = one.entrypoint.rpartition(".")
    flow: Flow[..., object] = getattr(import_module(module), function)
    schedule = (
        Interval(timedelta(seconds=one.every), anchor_date=one.anchor, timezone="UTC", slug=one.slug)
        if one.every
        else Cron(one.cron, timezone="UTC", slug=one.slug)
    )
    return RunnerDeployment.from_flow(
        flow,
        name=one.name,
        schedules=[schedule],
        tags=["nurture"],
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1,
            collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW,
            grace_period_seconds=one.grace,
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
