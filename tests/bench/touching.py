"""Whole touches: from a due lead to a recorded receipt, and the bytes that a lead and its first touch take."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

import orjson
from sqlalchemy import text

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.domain.delivery.receipts import Receipt
from nurture.domain.planning.program import Program
from nurture.journey.delivery.run import deliver
from nurture.journey.intake.import_file import import_file
from nurture.journey.tracks.advance import advance
from nurture.journey.tracks.enroll import classify
from nurture.journey.tracks.touch_email import touch_values
from nurture.mail.rendering.compile import CompiledEmail
from nurture.mail.rendering.link_tracking import LinkTracking
from nurture.mail.rendering.render import ComposedEmail
from nurture.runtime.context import AppContext
from nurture.simulation.engine import DiscardingProvider
from tests.bench import seed_data
from tests.bench.figures import Duration, Figure, Skipped, measure_time

LEADS: Final = 5_000
REPEATS: Final = 3
FEW: Final = 10
BATCH: Final = 1_000
BASE_URL: Final = "https://nurture.example.com"
_EARLIER: Final = seed_data.START - timedelta(minutes=1)

_SELECT_DUE = """
SELECT c.lead_id, c.version, a.email, l.fields, e.id, e.step, e.visit
FROM custody c JOIN lead l ON l.id = c.lead_id JOIN address a ON a.id = l.address_id
JOIN enrollment e ON e.lead_id = c.lead_id AND e.ended_at IS NULL
WHERE c.kind = 'track' AND c.due_at <= ? ORDER BY c.due_at LIMIT ?
"""
_UPDATE_CUSTODY = (
    "UPDATE custody SET due_at = ?, next_action = 'x', version = version + 1 WHERE lead_id = ? AND version = ?"
)
_INSERT_MESSAGE = """
INSERT INTO message (send_key, kind, recipient, lead_id, enrollment_id, track, track_version, step, visit, email,
  planned_at, send_at, expires_at, state, state_at, attempts)
VALUES (?, 'touch', 'lead', ?, ?, 'webinar-attended', 1, ?, ?, '01-recording', ?, ?, ?, 'planned', ?, 0)
"""
_INSERT_JOURNAL = """
INSERT INTO journal (lead_id, at, stage, event, reason, enrollment_id, track, track_version, policy_version, step)
VALUES (?, ?, 'advance', 'touch', 'due', ?, 'webinar-attended', 1, 1, ?)
"""
_SELECT_PLANNED = """
SELECT m.id, m.send_key, m.lead_id, a.email, l.fields FROM message m JOIN lead l ON l.id = m.lead_id
JOIN address a ON a.id = l.address_id WHERE m.state = 'planned' ORDER BY m.send_at, m.id LIMIT ?
"""
_MARK_ACCEPTED = "UPDATE message SET state = 'accepted', provider_message_id = ?, accepted_at = ? WHERE id = ?"
_INSERT_TOKEN = "INSERT INTO link_token (digest, purpose, lead_id, message_id, created_at) VALUES (?, ?, ?, ?, ?)"
_WAKE = "UPDATE custody SET due_at = ?, version = version + 1 WHERE lead_id = ?"


def measure(folder: Path) -> list[Figure | Skipped]:
    """Measure the engine and a hand-written loop in turns, on SQLite, with a provider that answers at once."""
    engines, loops = [], []
    for turn in range(REPEATS):
        engines.append(_engine(folder / f"engine{turn}.db"))
        loops.append(_loop(folder / f"loop{turn}.db"))
    planned, sent, whole = _least(engines)
    loop_planned, _, loop_whole = _least(loops)
    note = (
        f"CPU per 1,000 touches: {_per_1000(whole):.0f} ms, of them {_per_1000(planned):.0f} to plan and "
        f"{_per_1000(sent):.0f} to send; the loop {_per_1000(loop_whole):.0f} ms, {_per_1000(loop_planned):.0f} to plan"
    )
    return [
        Figure("touch_single_ratio", loop_whole / whole, "of the loop", minimum=0.6, note=note),
        Figure("advance_ratio", loop_planned / planned, "of the loop", minimum=0.3),
        _enrolled_size(folder),
        _imported_size(folder),
    ]


def _least(runs: list[tuple[Duration, Duration]]) -> tuple[float, float, float]:
    """Return the least seconds of CPU of some runs to plan, to send, and of both."""
    spent = [(planned.cpu, sent.cpu) for planned, sent in runs]
    return min(one for one, _ in spent), min(one for _, one in spent), min(map(sum, spent))


def _per_1000(seconds: float) -> float:
    """Return the milliseconds per 1,000 leads of a run over all."""
    return seconds * 1e6 / LEADS


class _ReadingProvider(DiscardingProvider):
    """Discards emails, and reads them before: the HTML of one is written when it is read."""

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Accept every email that has a body."""
        if not all(one.html and one.text for one in batch):
            raise RuntimeError("an email has no body")
        return super().send(batch, now)


def _context(path: Path) -> AppContext:
    """Return a context in which the first email of LEADS leads is due."""
    made = seed_data.make_context(f"sqlite:///{path}")
    made.base_url, made.provider = BASE_URL, _ReadingProvider()
    seed_data.enroll_leads(made, LEADS)
    return made


def _engine(path: Path) -> tuple[Duration, Duration]:
    """Plan and send one touch for each lead; return how long either took, once definitions are read."""
    made = _context(path)
    seed_data.enroll_leads(made, FEW, first=LEADS + 1, due=_EARLIER)
    advance(made, _EARLIER)
    deliver(made, VirtualClock(_EARLIER))
    planned = measure_time(lambda: advance(made, seed_data.START))
    sent = measure_time(lambda: deliver(made, VirtualClock(seed_data.START)))
    with made.database.read() as tx:
        states = dict(tx.execute(text("SELECT state, count(*) FROM message GROUP BY state")).tuples().all())
    made.database.close()
    if states != {"accepted": LEADS + FEW}:
        raise RuntimeError(f"the run did not do what it is measured for: {states}")
    return planned, sent


def _enrolled_size(folder: Path) -> Figure:
    """Return the bytes of an enrolled lead after its first touch, indexes included."""
    made = seed_data.make_context(f"sqlite:///{folder / 'enrolled.db'}")
    made.base_url = BASE_URL
    empty = _sizes(made.database)
    seed_data.enroll_leads(made, LEADS)
    enrolled = _sizes(made.database)
    advance(made, seed_data.START)
    deliver(made, VirtualClock(seed_data.START))
    figure = _size_figure("db_bytes_per_lead", empty, enrolled, _sizes(made.database), 1_801)
    made.database.close()
    return figure


def _imported_size(folder: Path) -> Figure:
    """Return the bytes of a lead that a file brought with a signal, after its classification, a hold and a touch."""
    made = seed_data.make_context(f"sqlite:///{folder / 'imported.db'}")
    made.base_url = BASE_URL
    empty = _sizes(made.database)
    at = seed_data.START - timedelta(days=1)
    import_file(made, _write_csv(folder), at - timedelta(minutes=5))
    classify(made, at)
    enrolled = _sizes(made.database)
    advance(made, at)  # its email is not due yet
    at += timedelta(days=1)
    advance(made, at)
    deliver(made, VirtualClock(at))
    if (planned := _count_messages(made)) != LEADS or _count_messages(made, "accepted") != LEADS:
        raise RuntimeError(f"{planned} messages to {LEADS} leads, or some were not sent")
    figure = _size_figure("db_bytes_per_imported_lead", empty, enrolled, _sizes(made.database))
    made.database.close()
    return figure


def _size_figure(
    name: str, empty: dict[str, int], enrolled: dict[str, int], after: dict[str, int], maximum: float | None = None
) -> Figure:
    grown = {name: (size - empty.get(name, 0)) / LEADS for name, size in after.items()}
    untouched = (sum(enrolled.values()) - sum(empty.values())) / LEADS
    largest = sorted(grown.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{name} {size:.0f}" for name, size in largest if size >= 1)
    note = f"{untouched:,.0f} of them before the touch; {listed}"
    return Figure(name, sum(grown.values()), "bytes", maximum=maximum, note=note)


def _write_csv(folder: Path) -> Path:
    """Write a lead file of LEADS people who attended a webinar."""
    path = folder / "attended.csv"
    person = ("Head of Operations", "Germany", "Yes", "yes")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("Email", "First Name", "Last Name", "Company", "Job Title", "Country", "Attended", "Consent"))
        writer.writerows(
            (f"ann.{i}@firm{i % 5000}.example", f"Ann{i % 97}", f"Lee{i % 89}", f"Firm {i % 5000}", *person)
            for i in range(LEADS)
        )
    return path


def _count_messages(made: AppContext, state: str = "%") -> int:
    with made.database.read() as tx:
        query = text("SELECT count(*) FROM message WHERE state LIKE :state")
        return int(tx.execute(query, {"state": state}).scalar_one())


def _sizes(database: Database) -> dict[str, int]:
    """Return the bytes of each table and each index."""
    with database.write() as tx:
        tx.execute(text("ANALYZE"))
    with database.read() as tx:
        return dict(tx.execute(text("SELECT name, sum(pgsize) FROM dbstat GROUP BY name")).tuples().all())


def _loop(path: Path) -> tuple[Duration, Duration]:
    made = _context(path)
    with made.database.read() as tx:
        program = made.definitions.current(tx).programs["webinar-attended"]
        tracking = LinkTracking(BASE_URL)
        compiled = made.definitions.email(tx, "webinar-attended", program.version, "01-recording", tracking)
    made.database.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -65536")

    def plan() -> None:
        while _plan(connection):
            pass

    def send() -> None:
        while _send(connection, program, compiled):
            pass

    took = measure_time(plan), measure_time(send)
    connection.close()
    return took


def _plan(connection: sqlite3.Connection) -> int:
    """Do it by hand: read, write. No decision, no conditions, no checks."""
    now, later = seed_data.START.isoformat(), (seed_data.START + timedelta(hours=72)).isoformat()
    connection.execute("BEGIN IMMEDIATE")
    due = connection.execute(_SELECT_DUE, (now, BATCH)).fetchall()
    connection.executemany(_UPDATE_CUSTODY, [(later, row[0], row[1]) for row in due])
    connection.executemany(
        _INSERT_MESSAGE,
        [(f"touch:{row[4]}:{row[5]}:{row[6]}", row[0], row[4], row[5], row[6], now, now, later, now) for row in due],
    )
    connection.executemany(_INSERT_JOURNAL, [(row[0], now, row[4], row[5]) for row in due])
    connection.execute("COMMIT")
    return len(due)


def _send(connection: sqlite3.Connection, program: Program, compiled: CompiledEmail) -> int:
    """Do it by hand: read, make links, render, deliver, write. No claims, no leases, no checks."""
    due = connection.execute(_SELECT_PLANNED, (BATCH,)).fetchall()
    now = seed_data.START.isoformat()
    rendered: list[tuple[str, str, str, str, str]] = []
    tokens: list[tuple[str, str, int, int, str]] = []
    for id_, key, lead_id, address, fields in due:
        links = {purpose: token_urlsafe(16) for purpose in ("unsubscribe", "preferences", "click")}
        tokens += [(sha256(one.encode()).hexdigest(), purpose, lead_id, id_, now) for purpose, one in links.items()]
        urls = f"{BASE_URL}/u/{links['unsubscribe']}", "consent", f"{BASE_URL}/p/{links['preferences']}"
        values = touch_values(orjson.loads(fields), program, *urls)
        values |= {"_link_prefix": f"{BASE_URL}/c/{links['click']}/", "_open_pixel_url": ""}
        subject, html = compiled.subject.render(values), compiled.html.render(values)
        rendered.append((key, address, subject, html, compiled.text.render(values)))
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT_TOKEN, tokens)
    done = [(email[0], now, row[0]) for email, row in zip(rendered, due, strict=True)]
    connection.executemany(_MARK_ACCEPTED, done)
    connection.executemany(_WAKE, [(now, row[2]) for row in due])
    connection.execute("COMMIT")
    return len(due)
