"""Post thousands of forged requests to a real server: nothing may change or fail."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import orjson
from sqlalchemy import text

from nurture.clock import RealClock
from nurture.db.engine import Database
from nurture.runtime.context import AppContext
from tests.bench.figures import Figure
from tests.chaos.databases import empty_databases
from tests.chaos.sent_messages import context_with_sent_messages
from tests.chaos.web_client import Request, post_all, run_server
from tests.doubles.sendgrid_events import KINDS, SIGNATURE, TIMESTAMP, Signer, encode_events, event
from tests.journey.observe import all_rows

MAILS: Final = 200
HUGE: Final = 50 * 1024 * 1024
MEMORY: Final = 160.0
"""Maximum growth of the server's memory in MB."""


@dataclass(frozen=True)
class Forger:
    """Forges events of *signer*; *other* has an unknown key."""

    signer: Signer
    other: Signer
    chance: Random
    bodies: tuple[bytes, ...]

    def forge(self, number: int) -> Request:
        """Return a forgery; *number* chooses its kind."""
        name, make = _KINDS[number % len(_KINDS)]
        body = self.chance.choice(self.bodies)
        return make(self, name, body, self.signer.headers(body))

    def flipped(self, raw: bytes) -> bytes:
        bit = self.chance.randrange(8 * len(raw))
        return raw[: bit // 8] + bytes([raw[bit // 8] ^ 1 << bit % 8]) + raw[bit // 8 + 1 :]


Good = Mapping[str, str]


def _request(name: str, body: bytes, headers: Good, *, streamed: bool = False) -> Request:
    return Request(name, body, list(headers.items()), streamed)


def _unsigned(_forger: Forger, name: str, body: bytes, _good: Good) -> Request:
    return _request(name, body, {"Content-Type": "application/json"})


def _half_signed(forger: Forger, name: str, body: bytes, good: Good) -> Request:
    gone = forger.chance.choice((SIGNATURE, TIMESTAMP))
    return _request(name, body, {key: value for key, value in good.items() if key != gone})


def _wrong_key(forger: Forger, name: str, body: bytes, _good: Good) -> Request:
    return _request(name, body, forger.other.headers(body))


def _flipped_body(forger: Forger, name: str, body: bytes, good: Good) -> Request:
    return _request(name, forger.flipped(body), good)


def _flipped_signature(forger: Forger, name: str, body: bytes, good: Good) -> Request:
    flipped = b64encode(forger.flipped(b64decode(good[SIGNATURE]))).decode()
    return _request(name, body, {**good, SIGNATURE: flipped})


def _other_time(forger: Forger, name: str, body: bytes, good: Good) -> Request:
    made = str(int(good[TIMESTAMP]) + forger.chance.randint(1, 99_999))
    return _request(name, body, {**good, TIMESTAMP: forger.chance.choice((made, "", "now", "1" * 900))})


def _reserialised(_forger: Forger, name: str, body: bytes, good: Good) -> Request:
    return _request(name, orjson.dumps(orjson.loads(body)), good)


def _cut(forger: Forger, name: str, body: bytes, good: Good) -> Request:
    return _request(name, body[: forger.chance.randrange(len(body))], good)


def _swapped(forger: Forger, name: str, body: bytes, _good: Good) -> Request:
    other = forger.chance.choice([one for one in forger.bodies if one != body])
    return _request(name, body, forger.signer.headers(other))


def _garbage(forger: Forger, name: str, body: bytes, good: Good) -> Request:
    junk = b64encode(forger.chance.randbytes(forger.chance.choice((0, 1, 8, 70, 71, 72, 150, 3_000)))).decode()
    return _request(name, body, {**good, SIGNATURE: junk})


def _deep(forger: Forger, name: str, _body: bytes, _good: Good) -> Request:
    depth = forger.chance.choice((1_100, 20_000, 900_000))
    body = forger.chance.choice((b"[" * depth, b'{"a":' * (depth // 5), b"[" * depth + b"]" * depth))
    return _request(name, body, forger.signer.headers(body))


def _not_a_batch(forger: Forger, name: str, body: bytes, _good: Good) -> Request:
    body = forger.chance.choice((b"", b"{}", b"null", b"1", b"\xff\xfe", b"\xef\xbb\xbf[]", body[:-3], b"[]]"))
    return _request(name, body, forger.signer.headers(body))


_KINDS: Final[tuple[tuple[str, Callable[[Forger, str, bytes, Good], Request]], ...]] = (
    ("no signature", _unsigned),
    ("half a signature", _half_signed),
    ("wrong key", _wrong_key),
    ("flipped bit of the body", _flipped_body),
    ("flipped bit of the signature", _flipped_signature),
    ("another time", _other_time),
    ("re-serialised", _reserialised),
    ("cut off", _cut),
    ("another's signature", _swapped),
    ("garbage for a signature", _garbage),
    ("deep JSON", _deep),
    ("signed, but no batch", _not_a_batch),
)
"""The last two are signed with the right key, and must change nothing either."""


@dataclass
class ForgeryRun:
    """Answers by status, changed rows, and growth of the server's memory in MB."""

    requests: int
    statuses: Counter[int]
    changed: list[str]
    grown: float


def forge(database: Database, folder: Path, count: int, huge: int, chance: Random) -> ForgeryRun:
    """Post *count* forgeries, and *huge* bodies of 50 MB, to a real server."""
    ctx = context_with_sent_messages(database, folder, MAILS)
    signer = Signer()
    forger = Forger(signer, Signer(), chance, _bodies(ctx))
    url = ctx.database.url.render_as_string(hide_password=False)
    with run_server(url, folder, [signer.public]) as server:
        post_all(server.url, [forger.forge(number) for number in range(len(_KINDS))])
        # Leads may fall due meanwhile, so compare everything else that a webhook can change.
        before, memory = _snapshot(ctx), server.memory
        answers = post_all(server.url, [forger.forge(number) for number in range(count - huge)], keep_going=True)
        giants = [_huge_body(forger, number) for number in range(huge)]
        # A refused huge body may end the connection.
        answers += post_all(server.url, giants, connections=8, keep_going=True)
        after, grown = _snapshot(ctx), server.memory - memory
        alive = server.process.poll() is None
    changed = [name for name in before if before[name] != after[name]]
    if not alive:
        changed.append("the server ended")
    return ForgeryRun(len(answers), Counter(answer.status for answer in answers), changed, grown)


def _huge_body(forger: Forger, number: int) -> Request:
    body = b"[" + b" " * HUGE + b"]"
    return _request("50 MB", body, forger.signer.headers(body[:10]), streamed=bool(number % 2))


def _bodies(ctx: AppContext) -> tuple[bytes, ...]:
    with ctx.database.read() as tx:
        keys = tx.execute(text("SELECT send_key FROM message ORDER BY id")).scalars().all()
    now = RealClock().now()
    return tuple(
        encode_events(
            [event(kind, f"{ctx.installation_id}:{key}", now) for key in keys[first : first + 3] for kind in KINDS]
        )
        for first in range(0, 30, 3)
    )


def _snapshot(ctx: AppContext) -> dict[str, list[tuple[object, ...]]]:
    return {name: found for name, found in all_rows(ctx).items() if name != "clock"}


def measure(
    server: Callable[[str], str], folder: Path, seed: int, count: int, huge: int = 40
) -> tuple[list[Figure], list[str]]:
    """Forge on SQLite and on PostgreSQL, *count* each."""
    requests = bad = 0
    wrong: list[str] = []
    notes: list[str] = []
    with empty_databases(server, folder) as databases:
        for name, database in databases.items():
            found = forge(database, folder, count, huge, Random(f"{seed}:forge"))
            requests += found.requests
            bad += sum(number for status, number in found.statuses.items() if 200 <= status < 300)
            bad += len(found.changed)
            wrong += [f"{name}: {line}" for line in _find_violations(found)]
            counts = dict(sorted(found.statuses.items()))
            notes.append(f"{name}: answers {counts}; the server grew by {found.grown:.0f} MB")
    return [
        Figure("webhook_forged", requests, "requests", minimum=2 * count, note="; ".join(notes)),
        Figure("webhook_forged_accepted", bad, "requests", maximum=1),
    ], wrong


def _find_violations(found: ForgeryRun) -> list[str]:
    broken = sum(number for status, number in found.statuses.items() if status >= 500)
    wrong = [f"forged requests changed {name}" for name in found.changed]
    wrong += [f"{broken} forged requests were answered with a server error"] if broken else []
    wrong += [f"forged requests let the server grow by {found.grown:.0f} MB"] if found.grown > MEMORY else []
    return wrong
