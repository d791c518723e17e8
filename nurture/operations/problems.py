"""Find what keeps this installation from its work, from what is stored: nothing is called, and nothing is changed."""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from nurture.db import last_rounds
from nurture.db.last_rounds import LastRound
from nurture.db.transaction import Transaction
from nurture.journey import stage_loop
from nurture.journey.delivery import queries as delivery_queries
from nurture.journey.stages import STAGES
from nurture.operations import problem_queries
from nurture.outbox import circuit_breakers
from nurture.outbox.circuit_breakers import PROBE_AFTER

LATE_ROUNDS: Final = 3
"""A stage is late after as many rounds, and mail is stuck after as many rounds of delivery in which none ended."""

DELIVERY_PACE: Final = timedelta(seconds=stage_loop.DELIVERY_PACE)

DEFAULT_PATIENCE: Final = LATE_ROUNDS * timedelta(minutes=5)
"""After which a stage is late, for those who do not know its pace."""

MAX_BACKUP_AGE: Final = timedelta(days=3)
MIN_FREE_BYTES: Final = 500_000_000
LOW_FREE_BYTES: Final = 5_000_000_000
LOW_FREE_SHARE: Final = 0.05
"""A disk is nearly full with fewer free bytes than the first, or than the second and this share of it."""


class Problem(NamedTuple):
    """A problem: a *key* that stays the same while it lasts, what it is, and what to do."""

    key: str
    message: str
    remedy: str


def find_problems(tx: Transaction, now: datetime, pace: timedelta, folder: Path) -> list[Problem]:
    """Return what is wrong at *now* (UTC).

    *pace* is the time between two rounds of a stage, *folder* is on the disk that may not become full.
    """
    rounds = last_rounds.load_all(tx)
    paused = list(_find_pauses(tx, now))
    return [
        *paused,
        *find_late_stages(rounds, now, LATE_ROUNDS * pace),
        *_find_failures(rounds, now),
        *([] if paused else _find_stuck_mail(tx, now - LATE_ROUNDS * _delivery_pace(rounds, now, pace))),
        *_find_unknown_mail(tx),
        *_find_full_disk(folder),
    ]


def _find_pauses(tx: Transaction, now: datetime) -> Iterator[Problem]:
    for one in circuit_breakers.list_active(tx):
        if one.kind == "provider" and now - one.since < PROBE_AFTER * 2:
            continue  # most outages are over with the first probe
        what = {"provider": f"{one.name} is paused", "domain": f"Mail from {one.name} is paused"}
        message = what.get(one.kind, "The database is in quarantine, and nothing leaves it")
        remedy = "`nurture reports deliverability` shows all pauses."
        if one.kind == "domain":
            remedy = f"Find out why, then run `nurture mail resume {one.name}`."
        message = f"{message} since {one.since:%Y-%m-%d %H:%M} UTC: {one.reason}"
        yield Problem(f"paused:{one.kind}:{one.name}", message, remedy)


def find_late_stages(rounds: dict[str, LastRound], now: datetime, patience: timedelta) -> Iterator[Problem]:
    """Yield the stages of which no round ended well within *patience*."""
    for name in STAGES:
        last = rounds.get(name)
        if last is None:
            continue  # it never ran, so nobody relies on it yet
        since = last.succeeded_at
        if since is None or now - since > patience:
            error = f"; it fails: {last.error}" if last.has_failed else ""
            when = f"since {since:%Y-%m-%d %H:%M} UTC" if since is not None else "yet"
            message = f"The stage {name} has not completed a round {when}{error}"
            yield Problem(f"late:{name}", message, "See whether `nurture up` or a worker runs, and its log.")


def _find_failures(rounds: dict[str, LastRound], now: datetime) -> Iterator[Problem]:
    inbox = rounds.get(last_rounds.INBOX)
    if inbox is not None and inbox.has_failed:
        message = f"The mailbox of replies cannot be read, nor opt-outs in it: {inbox.error}"
        yield Problem("inbox", message, "Check NURTURE_IMAP_URL with `nurture doctor`.")
    ledger = rounds.get(last_rounds.LEDGER)
    if ledger is not None and ledger.has_failed:
        yield Problem("audit", f"The audit failed: {ledger.error}", "`nurture reports audit` lists the violations.")
    certificate = rounds.get(last_rounds.CERTIFICATE)
    if certificate is not None and certificate.has_failed:
        message = f"The certificate of the web pages is about to expire, or has expired: {certificate.error}"
        yield Problem("certificate", message, "Renew it: without it nobody can unsubscribe.")
    backup = rounds.get(last_rounds.BACKUP)
    if backup is not None and backup.succeeded_at is not None and now - backup.succeeded_at > MAX_BACKUP_AGE:
        message = f"The last backup is of {backup.succeeded_at:%Y-%m-%d %H:%M} UTC"
        yield Problem("backup", message, "Run `nurture admin backup FILE`, and see why the scheduled one does not.")


def _delivery_pace(rounds: dict[str, LastRound], now: datetime, pace: timedelta) -> timedelta:
    """Return the time between two rounds of delivery, by which mail that does not leave counts as stuck.

    It is *pace* while rounds of delivery end: then a limit holds what is due. It is also *pace* if rounds are started
    by `nurture run`, or none is known.
    """
    last, by_hand = rounds.get("deliver"), rounds.get(last_rounds.RUN)
    if last is None or last.succeeded_at is None or now - last.succeeded_at <= LATE_ROUNDS * DELIVERY_PACE:
        return pace
    if by_hand is not None and by_hand.succeeded_at is not None and by_hand.succeeded_at >= last.succeeded_at:
        return pace  # `nurture run` by a scheduler
    return min(pace, DELIVERY_PACE)


def _find_stuck_mail(tx: Transaction, before: datetime) -> Iterator[Problem]:
    count, first = problem_queries.count_due_mail(tx, before)
    if first is not None:
        message = f"Messages are due and do not leave: {count}, the first since {first:%Y-%m-%d %H:%M} UTC"
        yield Problem("mail-stuck", message, "`nurture doctor` checks what sending needs.")


def _find_unknown_mail(tx: Transaction) -> Iterator[Problem]:
    count = delivery_queries.count_unknown(tx)
    if count:
        message = f"Messages of which nobody knows whether they were sent: {count}"
        yield Problem("unknown", message, "`nurture mail messages` lists them and says what to do.")


def _find_full_disk(folder: Path) -> Iterator[Problem]:
    disk = shutil.disk_usage(folder)
    if disk.free < MIN_FREE_BYTES or (disk.free < LOW_FREE_BYTES and disk.free < disk.total * LOW_FREE_SHARE):
        yield Problem("disk", f"The disk of {folder} is nearly full: {disk.free / 1e6:,.0f} MB are free", "Make room.")
