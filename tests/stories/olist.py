"""Replay the Olist funnel: 8,000 leads over a year, and the 842 deals that they led to."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select

from nurture.domain.lead import Closing
from nurture.journey.intake.import_file import import_file
from nurture.journey.outcomes.outcomes import OutcomeReport, record_outcomes
from nurture.runtime.context import AppContext
from nurture.simulation import engine
from tests.stories.world import TEMPLATES, context_in_memory, table

START: Final = datetime(2017, 6, 14, tzinfo=UTC)
END: Final = datetime(2018, 11, 30, tzinfo=UTC)
MAPPING: Final = TEMPLATES / "examples" / "olist.mapping.yaml"
_LEADS: Final = "olist_marketing_qualified_leads_dataset.csv"
_DEALS: Final = "olist_closed_deals_dataset.csv"


WHOLE: Final = "OLIST_WHOLE"
"""Set to `yes` to replay all 8,000 leads and 842 deals; otherwise one lead in eight, with its deals."""

LEADS, WINS, ONE_IN = 8_000, 842, 8


@dataclass(frozen=True)
class Funnel:
    """The two files: the header and rows of leads, each lead's first contact, each win, by `mql_id`."""

    header: list[str]
    rows: list[list[str]]
    contacts: dict[str, datetime]
    wins: dict[str, datetime]

    def reported_at(self, mql_id: str) -> datetime:
        """Return when the deal can be reported: for a win before the first contact, once the lead is known."""
        return max(self.wins[mql_id], self.contacts[mql_id])


def read_funnel() -> Funnel:
    """Read the files in NURTURE_OLIST_DIR; skip the test if they are missing."""
    named = os.environ.get("NURTURE_OLIST_DIR")
    if not named:
        pytest.skip("set NURTURE_OLIST_DIR to a folder with the Olist files; they may not be shipped")
    missing = [name for name in (_LEADS, _DEALS) if not (Path(named) / name).is_file()]
    if missing:
        pytest.skip(f"the folder in NURTURE_OLIST_DIR has no {' and no '.join(missing)}")
    with (Path(named) / _LEADS).open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    with (Path(named) / _DEALS).open(newline="", encoding="utf-8") as file:
        wins = {row["mql_id"]: _timestamp(row["won_date"]) for row in csv.DictReader(file)}
    assert (len(rows), len(wins)) == (LEADS, WINS)
    contacts = {row[0]: _timestamp(row[1]) for row in rows}
    if os.environ.get(WHOLE) != "yes":
        early = {mql_id for mql_id, at in wins.items() if at < contacts[mql_id]}
        kept = early | set(sorted(contacts, key=contacts.__getitem__)[::ONE_IN])
        rows = [row for row in rows if row[0] in kept]
        contacts, wins = ({one: at for one, at in all_.items() if one in kept} for all_ in (contacts, wins))
    return Funnel(header, rows, contacts, wins)


def _timestamp(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Replay:
    """The funnel, fed to a database as time passes."""

    ctx: AppContext
    funnel: Funnel
    folder: Path
    leads: dict[str, int] = field(default_factory=dict)

    def play(self) -> None:
        """Advance the virtual clock from one due time to the next, up to END.

        Two things come from outside: at midnight the file of leads with their first contact on that day, and
        each deal at the second of its win. The clock stops at each of these times.
        """
        arrivals = defaultdict(list)
        for row in self.funnel.rows:
            arrivals[self.funnel.contacts[row[0]]].append(row)
        deals = defaultdict(list)
        for mql_id in self.funnel.wins:
            deals[self.funnel.reported_at(mql_id)].append(mql_id)
        now = START
        for when in sorted({*arrivals, *deals}):
            if when > now:
                engine.run_simulation(self.ctx, now, when)
            if when in arrivals:
                self._arrive(when, arrivals[when])
            if when in deals:
                self._win(when, deals[when])
            now = when
        engine.run_simulation(self.ctx, now, END)

    def _arrive(self, now: datetime, rows: list[list[str]]) -> None:
        path = self.folder / f"{now:%Y-%m-%d}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.funnel.header, *rows])
        done = import_file(self.ctx, path, now, mapping=MAPPING)
        assert (done.new, done.rejected) == (len(rows), 0)

    def _win(self, now: datetime, mql_ids: list[str]) -> None:
        known = self._meet()
        deals = [OutcomeReport(known[mql_id], Closing.WON, self.funnel.wins[mql_id]) for mql_id in mql_ids]
        assert record_outcomes(self.ctx, deals, "olist", now) == ["closed"] * len(deals)

    def _meet(self) -> dict[str, int]:
        identity = table("identity")
        wanted = select(identity.c.external_id, identity.c.lead_id)
        with self.ctx.database.read() as tx:
            newest = tx.execute(wanted.where(identity.c.lead_id > max(self.leads.values(), default=0)))
            self.leads.update(newest.all())
        return self.leads


def replay(folder: Path) -> Replay:
    """Replay the funnel with the shipped definitions, which keep every lead warm until its deal."""
    funnel = read_funnel()
    story = Replay(context_in_memory(START), funnel, folder)
    story.play()
    story._meet()
    return story
