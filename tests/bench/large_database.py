"""A large SQLite database made in bulk from a seed: leads, their whole history, and its counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nurture.db import rollups
from nurture.runtime.context import AppContext
from tests.bench import seed_data

MESSAGES_PER_LEAD: Final = 5
DAYS: Final = 730
"""Leads arrive evenly over this many days before `seed_data.START`."""

_SCRIPT: Final = Path(__file__).with_suffix(".sql")


def build_large_database(path: Path, leads: int, *, seed: int = 1) -> AppContext:
    """Make a database of *leads* leads with `MESSAGES_PER_LEAD` messages each; the same seed makes the same one."""
    made = seed_data.make_context(f"sqlite:///{path}")
    made.database.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")  # whoever is interrupted begins again
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -400000")
    values = {
        "leads": leads,
        "start": int(seed_data.START.timestamp()),
        "days": DAYS,
        "steps": str(list(range(1, MESSAGES_PER_LEAD + 1))),
    }
    connection.execute("BEGIN")
    for statement in _SCRIPT.read_text("utf-8").split(";\n\n"):
        connection.execute(_expand(statement, seed), values)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    with made.database.write() as tx:
        rollups.recount(tx)
    return made


def _expand(statement: str, seed: int) -> str:
    """Write out the functions of the script; SQLite calls none of ours, which would take minutes."""
    return _replace_calls(
        _replace_calls(statement, " hash(", lambda inner: _hash_sql(*inner.split(", "), seed)),
        " time(",
        lambda inner: f" strftime('%Y-%m-%dT%H:%M:%S+00:00', {inner}, 'unixepoch')",
    )


def _hash_sql(id_: str, number: str, seed: int) -> str:
    factor = 7919 + 27_481 * int(number) ** 3 + 2 * seed
    return f" (({id_} * {factor} % 1000003) * {104_729 + int(number)} % 999983 % 1000)"


def _replace_calls(statement: str, name: str, write: Callable[[str], str]) -> str:
    """Replace each call of *name*, whose argument may contain brackets."""
    done = ""
    while name in statement:
        before, _, rest = statement.partition(name)
        depth, end = 1, 0
        while depth:
            depth += {"(": 1, ")": -1}.get(rest[end], 0)
            end += 1
        done += before + write(rest[: end - 1])
        statement = rest[end:]
    return done + statement
