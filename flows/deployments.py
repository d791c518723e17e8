"""The schedules of `nurture up`. prefect.yaml has the same ones for work pools."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

WORK_POOL: Final = "nurture"
"""The work pool of prefect.yaml."""

SENDER_LIMIT: Final = "nurture-senders"
"""The global concurrency limit of shards that send mail, across all machines."""

_DEFAULT_INTERVAL: Final = 300
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FlowSchedule:
    """The schedule of one flow, in UTC, with at most one concurrent run.

    *entrypoint* is module.function. It runs every *interval* seconds, *offset* seconds after the full interval,
    or as *cron* says. *grace_seconds* is how long a run may take to start.
    """

    entrypoint: str
    name: str
    slug: str
    interval: int = 0
    offset: int = 0
    cron: str = ""
    grace_seconds: int = 120

    @property
    def anchor(self) -> datetime:
        """Return the time from which intervals are counted."""
        return _EPOCH + timedelta(seconds=self.offset)


SCHEDULE: Final = (
    FlowSchedule("flows.signals.apply_signals", "every-5-minutes", "five-minutes", interval=300),
    FlowSchedule("flows.intake.classify_new_leads", "every-5-minutes", "five-minutes", interval=300, offset=30),
    FlowSchedule("flows.advance.advance_due_leads", "every-5-minutes", "five-minutes", interval=300, offset=60),
    FlowSchedule("flows.handoff.offer_ready_leads", "every-5-minutes", "five-minutes", interval=300, offset=90),
    FlowSchedule("flows.crm.sync_crm", "every-5-minutes", "five-minutes", interval=300, offset=120),
    FlowSchedule("flows.deliver.deliver_due_mail", "every-30-seconds", "half-minute", interval=30, offset=15),
    FlowSchedule("flows.audit.audit_ledger", "nightly", "nightly", cron="15 2 * * *"),
)
"""The stages in a lead's order, 30 seconds apart, so that a lead passes all of them in one round.

Delivery runs more often: messages of a dead worker are released within a minute, including their lease.
"""


def with_interval(interval: int) -> tuple[FlowSchedule, ...]:
    """Return the schedule with another interval in seconds; the stages keep their order and proportional offsets.

    Delivery keeps its own interval, unless *interval* is shorter.
    """
    return tuple(
        _with_interval(one, interval if one.interval == _DEFAULT_INTERVAL else min(interval, one.interval))
        for one in SCHEDULE
    )


def _with_interval(one: FlowSchedule, interval: int) -> FlowSchedule:
    return replace(one, interval=interval, offset=one.offset * interval // one.interval) if one.interval else one


def build_deployments(schedule: Iterable[FlowSchedule]) -> list[RunnerDeployment]:
    """Return the deployments for Prefect's `serve`."""
    return [_build_deployment(one) for one in schedule]


def _build_deployment(one: FlowSchedule) -> RunnerDeployment:
    from prefect import Flow  # noqa: PLC0415 - the table above is read without Prefect
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy  # noqa: PLC0415
    from prefect.deployments.runner import RunnerDeployment  # noqa: PLC0415
    from prefect.schedules import Cron, Interval  # noqa: PLC0415
    from prefect.types.entrypoint import EntrypointType  # noqa: PLC0415

    module, _, function = one.entrypoint.rpartition(".")
    flow: Flow[..., object] = getattr(import_module(module), function)
    schedule = (
        Interval(timedelta(seconds=one.interval), anchor_date=one.anchor, timezone="UTC", slug=one.slug)
        if one.interval
        else Cron(one.cron, timezone="UTC", slug=one.slug)
    )
    return RunnerDeployment.from_flow(
        flow,
        name=one.name,
        schedules=[schedule],
        tags=["nurture"],
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW, grace_period_seconds=one.grace_seconds
        ),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
