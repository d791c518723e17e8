"""Hostile emails between good ones, some of which kill the reader process: every good one is processed."""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from random import Random
from typing import Final

import psycopg

from nurture.db import schema
from nurture.db.engine import Database
from nurture.journey.engagement import replies
from nurture.mail.inbound.classify import ClassifiedMail
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.inbound.reader import MailReader
from nurture.mail.providers.maildir.provider import MaildirProvider
from nurture.runtime.context import AppContext
from tests.bench.figures import Figure
from tests.journey.builders import START, add_lead, make_context, run_at
from tests.journey.observe import rows
from tests.mail.inbound.hostile_mails import MAILS
from tests.mail.inbound.replying import TO, mail

GOOD: Final = 60
NOW: Final = START + timedelta(hours=4)
MAX_RUNS: Final = 60
_HOUR: Final = timedelta(hours=1)
_ROOT: Final = Path(__file__).parents[2]

DEADLY: Final = b"this ends the worker"
CRASHING: Final = b"this ends the reader"
STUCK: Final = b"this stops the reader"


@dataclass
class FakeMailbox:
    """A mailbox of these mails."""

    mails: Sequence[bytes]
    name: str = "box"
    uid_validity: int = 1

    @contextmanager
    def open_folder(self) -> Iterator[FakeMailbox]:
        yield self

    def list_uids_after(self, uid: int) -> list[int]:
        return [number for number in range(1, len(self.mails) + 1) if number > uid]

    def fetch(self, uids: Sequence[int]) -> list[tuple[int, RawMail]]:
        return [(uid, RawMail({"email": self.mails[uid - 1]})) for uid in uids]


class CrashingReader:
    """A reader that executes what an email says, as an exploited parser would."""

    def __init__(self) -> None:
        self._real = MailReader(wall_seconds=20.0)

    def read(self, one: RawMail, today: date) -> ClassifiedMail:
        """Read a mail, or kill or stop the reader process."""
        raw = one.fields["email"]
        if DEADLY in raw:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._real.pid is not None and (CRASHING in raw or STUCK in raw):
            self._real.wall_seconds = 0.5
            os.kill(self._real.pid, signal.SIGSTOP if STUCK in raw else signal.SIGKILL)
            try:
                os.kill(self._real.pid, signal.SIGSTOP)  # so that it cannot answer before it is killed
                return self._real.read(one, today)
            finally:
                self._real.wall_seconds = 20.0
        return self._real.read(one, today)


@dataclass(frozen=True)
class ReadRun:
    """The number of good mails that were not processed, and of workers that were ended."""

    hostile: int
    blocked: int
    ended: int
    left: int


def measure(server: Callable[[str], str], folder: Path, seed: int) -> tuple[list[Figure], list[str]]:
    """Run workers on the mailbox, on both databases, until one has read all of it."""
    figures: list[Figure] = []
    wrong: list[str] = []
    blocked = hostile = ended = 0
    for name in ("sqlite", "postgres"):
        place = folder / name
        place.mkdir(parents=True)
        url = f"sqlite:///{place / 'hostile.db'}" if name == "sqlite" else _make_database(server)
        found = read_all(url, place, Random(f"{seed} {name}"))
        blocked, hostile, ended = blocked + found.blocked, hostile + found.hostile, ended + found.ended
        if found.blocked:
            wrong.append(f"{name}: {found.blocked} of {GOOD} good mails were not processed")
        if found.left:
            wrong.append(f"{name}: {found.left} mails were neither read nor marked as failed")
    note = f"{hostile} hostile mails between {2 * GOOD} good ones; workers were ended {ended} times"
    figures.append(Figure("hostile_blocked_good", blocked, "mails", maximum=1, note=note))
    figures.append(Figure("hostile_mails", hostile, "mails"))
    return figures, wrong


def read_all(url: str, folder: Path, chance: Random) -> ReadRun:
    """Fill a mailbox, and start workers until one has read it to its end."""
    database = Database(url)
    schema.upgrade(database)
    ctx = make_context(database, folder)
    ctx.reply_domain = "in.example.com"
    for n in range(GOOD):
        add_lead(ctx, title="Head", email=f"p{n}@people.example")
    run_at(ctx, START, START + 2 * _HOUR, START + 3 * _HOUR)
    to = _addresses(folder / "maildir")
    good = [
        mail(f"Call {n}", to=address, sender=f"p{n}@people.example", number=f"good-{n}") for n, address in enumerate(to)
    ]
    bad = [make().replace(TO.encode(), chance.choice(to).encode()) for make in MAILS.values()]
    for number, words in enumerate((DEADLY, CRASHING, STUCK) * 3):
        bad.append(mail(words.decode(), to=chance.choice(to), number=f"bad-{number}"))
    mails = [*good, *bad]
    chance.shuffle(mails)
    kept = folder / "mails"
    kept.write_bytes(pickle.dumps(mails))
    ended = 0
    for run in range(MAX_RUNS):
        now = NOW + run * timedelta(minutes=10)
        worker = [sys.executable, "-m", "tests.chaos.hostile_mail", url, str(folder), now.isoformat()]
        if subprocess.run(worker, cwd=_ROOT, check=False, timeout=600).returncode == 0:
            break
        ended += 1
    found = {text for (text,) in rows(ctx, "SELECT text FROM reply WHERE kind = 'reply'")}
    left = rows(ctx, "SELECT id FROM inbound_mail WHERE error IS NULL")
    database.close()
    return ReadRun(len(bad), sum(f"Call {n}" not in found for n in range(GOOD)), ended, len(left))


def _make_database(server: Callable[[str], str]) -> str:
    """Return the URL of a new PostgreSQL database."""
    name = f"hostile_{secrets.token_hex(4)}"
    with psycopg.connect(server("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server(name)


def _addresses(folder: Path) -> list[str]:
    """Return the Reply-To address of the mail to each lead, in the order of the leads."""
    found = {}
    for file in (folder / "new").iterdir():
        sent = message_from_bytes(file.read_bytes(), policy=policy.default)
        found[str(sent["To"].addresses[0].addr_spec)] = str(sent["Reply-To"].addresses[0].addr_spec)
    return [found[f"p{n}@people.example"] for n in range(GOOD)]


def _work(url: str, folder: Path, now: datetime) -> None:
    ctx = AppContext(Database(url), MaildirProvider(folder / "maildir"))
    ctx.reply_domain = "in.example.com"
    ctx.mail_reader = CrashingReader()  # type: ignore[assignment]
    ctx.inbox = FakeMailbox(pickle.loads((folder / "mails").read_bytes()))  # type: ignore[assignment]
    replies.poll_inbox(ctx, now)


if __name__ == "__main__":
    _work(sys.argv[1], Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3]))
