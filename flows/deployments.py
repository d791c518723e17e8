"""The flows and their schedules on work pools, as in prefect.yaml, and the names of what `nurture up` deploys."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

WORK_POOL: Final = "nurture"
"""The work pool of prefect.yaml."""

DEAD_RUNS: Final = "nurture-dead-runs"
"""The Prefect automation that ends runs whose worker is gone."""

HEARTBEAT_SECONDS: Final = 30
"""Seconds between two heartbeats of a run on a work pool; prefect.yaml sets it."""

SILENT_SECONDS: Final = 180
"""Seconds without a heartbeat after which a run is ended as crashed."""

WORKER_GONE: Final = "Its worker is gone; later runs do its work."
"""The message of a run that is ended so."""

LOOP_DEPLOYMENT: Final = "loop"
"""The deployment of each stage on the Prefect server of `nurture up`."""

TAG: Final = "nurture"
"""The tag of every deployment."""

_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FlowSchedule:
    """The schedule of one flow, in UTC. Runs may overlap: claims in the database decide who does what.

    *entrypoint* is module.function. It runs every *interval* seconds, *offset* seconds after the full interval,
    or as *cron* says. At most *run_limit* runs at once, more than a dead worker could hold before its runs are ended;
    *grace_seconds* is how long a run may take to start.
    """

    entrypoint: str
    name: str
    slug: str
    interval: int = 0
    offset: int = 0
    cron: str = ""
    run_limit: int = 8
    grace_seconds: int = 120

    @property
    def flow(self) -> str:
        """Return the name of the flow, which is that of its module."""
        return self.entrypoint.split(".")[-2]

    def load(self) -> Any:
        """Import the flow."""
        module, _, function = self.entrypoint.rpartition(".")
        return getattr(import_module(module), function)

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
    FlowSchedule(
        "flows.deliver.deliver_due_mail", "every-30-seconds", "half-minute", interval=30, offset=15, run_limit=16
    ),
    FlowSchedule("flows.audit.audit_ledger", "nightly", "nightly", cron="15 2 * * *"),
    FlowSchedule("flows.cleanup.delete_old_data", "nightly", "nightly", cron="45 2 * * *"),
)
"""The stages in a lead's order, 30 seconds apart, so that a lead passes all of them in one round.

Delivery runs more often: messages of a dead worker are released within a minute, including their lease.
"""
