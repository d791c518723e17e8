"""Laws of consent in the database: whatever comes in, in any order, nobody is mailed after saying no."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nurture.db.engine import Database
from nurture.domain.consent.permission import may_mail
from nurture.domain.consent.statements import ConsentStatement, adds_to, grant, withdrawal
from nurture.domain.consent.suppression import SuppressionSource
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.formats.lead_item import ItemReader
from nurture.journey.consent import opt_in, suppression
from nurture.journey.consent.suppression import ALL_MAIL, OptOut
from nurture.journey.intake.import_file import import_file, import_rows
from nurture.journey.leads import suppression_queries
from nurture.runtime.context import AppContext
from tests.journey.builders import START, make_context, run_at, sample_rules
from tests.journey.intake.lead_files import Row, rows_of, write_file
from tests.journey.intake.test_import_laws import fresh
from tests.journey.observe import record_signal
from tests.laws import law_settings

HOUR = timedelta(hours=1)
STATE = (
    "SELECT address_id, granted, stated_at, source FROM consent_statement ORDER BY id",
    "SELECT address_id, action, source FROM suppression ORDER BY id",
    "SELECT lead_id, kind, ref, version FROM custody ORDER BY lead_id",
    "SELECT lead_id, event FROM journal ORDER BY id",
)


def eager_rules() -> dict[str, str]:
    """Return rules whose track mails a lead once a day."""
    rules = sample_rules()
    keep = rules["tracks/keep/track.yaml"].replace("every: 20 days", "every: 1 day").replace("10 days", "1 hour")
    defaults = rules["defaults.yaml"].replace("touches: 2", "touches: 99").replace("fri]", "fri, sat, sun]")
    return rules | {"tracks/keep/track.yaml": keep, "defaults.yaml": defaults}


@dataclass(frozen=True)
class OldFile:
    """A file that was imported, and what it says."""

    path: Path
    source: str
    email: str
    said: tuple[ConsentStatement, ...]


@dataclass
class Person:
    """One person with id 1 and an address that may change, and what anybody ever said about mail to it."""

    ctx: AppContext
    folder: Path
    email: str = "a@people.example"
    said: list[ConsentStatement] = field(default_factory=list)
    stopped_by: set[str] = field(default_factory=set)
    files: list[OldFile] = field(default_factory=list)

    def apply(self, action: tuple[Any, ...], now: datetime) -> None:
        """Do what *action* says."""
        match action:
            case ("file", consent, days, flag, source, moves):
                self.email = "b@people.example" if moves else self.email
                row = {"Lead ID": "1", "Email": self.email, "Opted Out": "yes" if flag else ""}
                path = write_file(self.folder, [row | _cells(consent, days, now)])
                file = OldFile(path, source, self.email, _statements(consent, days, now, source, flag=flag))
                self.files.append(file)
                self._import(file, now)
            case ("old file", index) if self.files:
                self._import(self.files[index % len(self.files)], now)
            case ("api", consent, days, flag, source, _):
                names = {"Consent": "consent_basis", "Consent Date": "consent_at"}
                cells = {names[name]: text for name, text in _cells(consent, days, now).items() if text}
                item = {"external_id": "1", "email": self.email} | cells | ({"opted_out": True} if flag else {})
                self._note(_statements(consent, days, now, source, flag=flag), now)
                import_rows(self.ctx, [ItemReader(source, {}).read(1, item)], "API batch", now)
            case ("page", "stop"):
                self._stop_on_page(now)
            case ("page", "start"):
                self._start_on_page(now)
            case ("reply",) if (leads := rows_of(self.ctx.database, "SELECT min(id) FROM lead"))[0][0] is not None:
                record_signal(self.ctx, leads[0][0], SignalKind.UNSUBSCRIBED, now)
                self.stopped_by.add("reply")
            case _:
                pass

    def _note(self, said: Sequence[ConsentStatement], now: datetime) -> None:
        for one in said:
            if adds_to(self.said, statement := one._replace(recorded_at=now)):
                self.said.append(statement)

    def _import(self, file: OldFile, now: datetime) -> None:
        """Import a file twice: the second time changes nothing."""
        self.email = file.email
        self._note(file.said, now)
        import_file(self.ctx, file.path, now, source=file.source)
        before = [rows_of(self.ctx.database, query) for query in STATE]
        again = import_file(self.ctx, file.path, now + HOUR / 60, source=file.source)
        assert again.unchanged == again.rows
        assert [rows_of(self.ctx.database, query) for query in STATE] == before

    def _stop_on_page(self, now: datetime) -> None:
        with self.ctx.database.write() as tx:
            found = suppression_queries.find_address(tx, self.email)
            if found is not None:
                suppression.opt_out(tx, [OptOut(found[0], SuppressionSource.PAGE, at=now)], now)
                self.stopped_by.add("page")

    def _start_on_page(self, now: datetime) -> None:
        evidence = "button on the preference page"
        with suppress(InvalidState):  # the opt-out did not come from the page
            if opt_in.opt_in(self.ctx, self.email, ALL_MAIL, evidence, now, source=SuppressionSource.PAGE).lifted:
                self.stopped_by.discard("page")

    def may_be_mailed(self, now: datetime) -> bool:
        """Return whether the newest statement about the person, whatever its address, is no no."""
        return not self.stopped_by and may_mail(self.said, (), None, now).allowed


def _cells(consent: str, days: int | None, now: datetime) -> Row:
    day = "" if days is None else (now - timedelta(days=days)).date().isoformat()
    return {"Consent": consent, "Consent Date": day}


def _statements(
    consent: str, days: int | None, now: datetime, source: str, *, flag: bool
) -> tuple[ConsentStatement, ...]:
    stated = None if days is None else (now - timedelta(days=days)).replace(hour=0, minute=0)
    flagged = (withdrawal(source, None, now),) if flag else ()
    if consent == "No":
        return (*flagged, withdrawal(source, stated, now))
    return flagged or ((grant("consent", source, stated, now),) if consent == "Yes" else ())


consents = st.sampled_from(("", "Yes", "Yes", "No"))
ages = st.none() | st.integers(0, 6)
sources = st.sampled_from(("crm", "fair"))
records = st.tuples(st.sampled_from(("file", "api")), consents, ages, st.booleans(), sources, st.booleans())
actions = st.one_of(
    records,
    records.map(lambda one: (*one[:3], False, *one[4:])),
    st.tuples(st.just("old file"), st.integers(0, 9)),
    st.tuples(st.just("page"), st.sampled_from(("stop", "start"))),
    st.just(("reply",)),
)
_numbers = itertools.count(1)


@law_settings(25)
@given(history=st.lists(actions, min_size=1, max_size=6))
def test_nobody_is_mailed_after_the_newest_statement_is_a_no(
    sqlite_url: str, tmp_path: Path, history: list[tuple[Any, ...]]
) -> None:
    with fresh(sqlite_url, tmp_path) as db:
        _check(db, tmp_path, history)


def _check(db: Database, tmp_path: Path, history: list[tuple[Any, ...]]) -> None:
    folder = tmp_path / f"law-{next(_numbers)}"
    folder.mkdir()
    person = Person(make_context(db, folder, rules=eager_rules()), folder)
    now = START
    for source in ("crm", "fair"):  # both systems know the person
        person.apply(("file", "", None, False, source, False), now)
    for action in history:
        now += timedelta(days=2)
        person.apply(action, now)
        may, sent = person.may_be_mailed(now), _sent(db)
        run_at(person.ctx, now + HOUR, now + 26 * HOUR, now + 28 * HOUR)
        assert may or _sent(db) == sent, (history, person.said)


def _sent(db: Database) -> int:
    query = (
        "SELECT count(*) FROM message WHERE recipient = 'lead' AND state NOT IN ('planned', 'cancelled', 'rejected')"
    )
    count: int = rows_of(db, query)[0][0]
    return count


def test_the_law_is_not_empty(sqlite_db: Database, tmp_path: Path) -> None:
    yes: tuple[Any, ...] = ("file", "Yes", 0, False, "crm", False)
    _check(sqlite_db, tmp_path, [yes, yes])
    assert _sent(sqlite_db) > 1
