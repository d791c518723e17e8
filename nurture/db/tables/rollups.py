"""Counts that are kept with the facts they count, so that a report does not read every fact."""

from datetime import date

from sqlmodel import Field

from nurture.db.tables.base import Model, table
from nurture.db.types import Id


class DailyCount(Model, table=True):
    """How often something happened on one day (UTC), by step and by the source of the lead.

    *measure* is an event of the journal, `sent` for touches that the provider accepted, `signal ` and a kind for
    signals of people that were applied, or `way ` and a number for leads that took this way at a fork. "" and 0 stand
    for no track, step or version; signals have none, and ways no version. *shard*: workers of PostgreSQL write to rows
    of their own, so that they do not wait for each other.
    """

    day: date = Field(primary_key=True)
    track: str = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    step: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    measure: str = Field(primary_key=True)
    shard: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    n: int = Field(sa_type=Id, nullable=False)


class StageInterval(Model, table=True):
    """How many stays with a custodian of kind *stage* ended on one day (UTC), by what came next and by their length.

    A signal stays from `signal` to `applied`: from its record until it has its effect.
    *length* is the lower bound of a class of lengths, in seconds: one of `rollups.LENGTHS`. *seconds* is their sum.
    """

    day: date = Field(primary_key=True)
    stage: str = Field(primary_key=True)
    next_stage: str = Field(primary_key=True)
    length: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    shard: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    n: int = Field(sa_type=Id, nullable=False)
    seconds: int = Field(sa_type=Id, nullable=False)


class LeadCount(Model, table=True):
    """How many leads first came in on one day (UTC), by source, readiness rule and custodian now.

    *ref* is the queue in which they wait, "" for other custodians.
    """

    day: date = Field(primary_key=True)
    source: str = Field(primary_key=True)
    readiness: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    ref: str = Field(primary_key=True)
    shard: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    n: int = Field(sa_type=Id, nullable=False)


daily_count = table(DailyCount)
stage_interval = table(StageInterval)
lead_count = table(LeadCount)
