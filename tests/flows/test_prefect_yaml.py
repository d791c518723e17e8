"""prefect.yaml has no unknown key, which Prefect would ignore silently."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from ruamel.yaml import YAML

from flows.deliver import ROUND_SECONDS
from flows.deployments import HEARTBEAT_SECONDS, SCHEDULE, SILENT_SECONDS, WORK_POOL
from nurture.journey.stage_loop import DELIVERY_PACE
from nurture.outbox.lease_queue import LEASE

pytestmark = pytest.mark.quick

SLOT_SECONDS = 300
"""Seconds for which Prefect keeps the slot of a run whose worker died."""

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "prefect.yaml").read_text("utf-8")
FILE: dict[str, Any] = YAML(typ="safe", pure=True).load(TEXT)
DEPLOYMENTS: list[dict[str, Any]] = FILE["deployments"]

KNOWN = {
    "": {"name", "prefect-version", "build", "push", "pull", "definitions", "deployments"},
    "deployment": {
        "name",
        "description",
        "entrypoint",
        "tags",
        "parameters",
        "schedules",
        "concurrency_limit",
        "work_pool",
        "enforce_parameter_schema",
    },
    "schedule": {"interval", "anchor_date", "cron", "timezone", "slug", "active", "parameters"},
    "concurrency_limit": {"limit", "collision_strategy", "grace_period_seconds"},
    "work_pool": {"name", "work_queue_name", "job_variables"},
}


def _id(deployment: dict[str, Any]) -> str:
    return str(deployment["entrypoint"])


def _flow(entrypoint: str) -> Flow[..., Any]:
    module, _, function = entrypoint.rpartition(".")
    flow = getattr(import_module(module), function)
    assert isinstance(flow, Flow)
    return flow


def test_no_key_is_unknown_to_prefect() -> None:
    assert set(FILE) <= KNOWN[""]
    for deployment in DEPLOYMENTS:
        assert set(deployment) <= KNOWN["deployment"]
        assert set(deployment["concurrency_limit"]) == KNOWN["concurrency_limit"]
        assert set(deployment["work_pool"]) <= KNOWN["work_pool"]
        for schedule in deployment["schedules"]:
            assert set(schedule) <= KNOWN["schedule"]


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for one in value.values():
                yield from _texts(one)
        case list():
            for one in value:
                yield from _texts(one)
        case str():
            yield value


def test_no_path_is_absolute() -> None:
    for text in _texts(FILE):
        assert not re.match(r"[/~\\]|[A-Za-z]:[/\\]", text), text


def test_the_pool_is_named_once() -> None:
    assert re.findall(r"(?m)^\s+name: (\S+)$", TEXT.partition("deployments:")[0]) == [WORK_POOL]
    assert all(deployment["work_pool"]["name"] == WORK_POOL for deployment in DEPLOYMENTS)
    assert TEXT.partition("deployments:")[2].count("work_pool: *pool") == len(DEPLOYMENTS)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=_id)
def test_a_deployment_names_a_flow_and_gives_it_parameters_that_it_has(deployment: dict[str, Any]) -> None:
    flow = _flow(deployment["entrypoint"])
    assert set(deployment.get("parameters", {})) <= set(flow.parameters.properties)
    assert flow.isasync
    assert flow.timeout_seconds


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=_id)
def test_a_schedule_is_in_utc_and_has_a_slug_of_its_own(deployment: dict[str, Any]) -> None:
    slugs = [schedule["slug"] for schedule in deployment["schedules"]]
    assert len(slugs) == len(set(slugs)) == 1
    for schedule in deployment["schedules"]:
        assert schedule["timezone"] == "UTC"
        assert ("interval" in schedule) != ("cron" in schedule)
        if "cron" in schedule:
            assert CronSchedule(cron=schedule["cron"], timezone="UTC")
        else:
            assert schedule["interval"] >= 30
            assert datetime.fromisoformat(schedule["anchor_date"]).utcoffset() == timedelta()


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=_id)
def test_a_stage_has_more_slots_than_a_dead_worker_can_keep(deployment: dict[str, Any]) -> None:
    assert deployment["concurrency_limit"]["collision_strategy"] == "CANCEL_NEW"
    interval = deployment["schedules"][0].get("interval", 86_400)
    lasts = (
        2 * ROUND_SECONDS if "deliver" in deployment["entrypoint"] else _flow(deployment["entrypoint"]).timeout_seconds
    )
    assert lasts
    overlapping = math.ceil((lasts + SLOT_SECONDS) / interval)
    assert deployment["concurrency_limit"]["limit"] > overlapping + 1


def test_runs_send_heartbeats_often_enough_for_the_end_of_dead_ones() -> None:
    for deployment in DEPLOYMENTS:
        beats = int(deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
        assert beats == HEARTBEAT_SECONDS
    assert HEARTBEAT_SECONDS * 3 < SILENT_SECONDS


def test_every_flow_is_deployed() -> None:
    defined = {
        f"flows.{file.stem}.{name}"
        for file in (ROOT / "flows").glob("*.py")
        for name in re.findall(r"@flow\([^@]*?\)\nasync def (\w+)", file.read_text("utf-8"))
    }
    assert len(defined) >= 6
    assert {deployment["entrypoint"] for deployment in DEPLOYMENTS} == defined


def test_the_table_of_schedules_is_that_of_prefect_yaml() -> None:
    deployed = [
        (
            one["entrypoint"],
            one["name"],
            schedule["slug"],
            schedule.get("interval", 0),
            schedule.get("cron", ""),
            schedule.get("anchor_date"),
            one["concurrency_limit"]["limit"],
            one["concurrency_limit"]["grace_period_seconds"],
        )
        for one in DEPLOYMENTS
        for schedule in one["schedules"]
    ]
    served = [
        (
            one.entrypoint,
            one.name,
            one.slug,
            one.interval,
            one.cron,
            one.anchor.isoformat() if one.interval else None,
            one.run_limit,
            one.grace_seconds,
        )
        for one in SCHEDULE
    ]
    assert deployed == served


def test_leases_of_a_dead_worker_are_found_within_a_minute() -> None:
    (deliver,) = (one for one in SCHEDULE if "deliver" in one.entrypoint)
    assert timedelta(seconds=deliver.interval) + LEASE <= timedelta(minutes=1)
    assert timedelta(seconds=DELIVERY_PACE) + LEASE <= timedelta(minutes=1)
