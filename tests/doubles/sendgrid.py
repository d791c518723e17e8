"""SendGrid for tests: `with SendGridDouble(folder / "sendgrid.log") as double:`; its API is `double.url`."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

import orjson

KEY: Final = "SG.double.key"
REF: Final = "nurture_message"
"""The custom argument that names a message."""

FaultKind = Literal[
    "pass",  # nothing: lets one request of an ordered list through
    "status",  # answers *status*: 502, 503 and 504 as a proxy's HTML, others as JSON
    "too_many",  # 429, with X-RateLimit-Reset in *seconds*
    "too_large",  # 413, as a proxy's HTML
    "hang",  # says nothing for *seconds*
    "reset_mid_body",  # resets the connection before the request's body was read
    "reset",  # resets the connection instead of answering
    "close",  # closes the connection instead of answering, as for an idle one
    "drip_body",  # answers *status* and headers at once, then a byte of body each *seconds*
    "drip_headers",  # answers *status*, a byte of the headers each *seconds*
    "garbage",  # answers with what is not HTTP
    "kill",  # SIGKILL to *pid*, then a reset
]
_SECONDS: Final[dict[FaultKind, float]] = {"too_many": 1, "hang": 3600, "drip_body": 1, "drip_headers": 1}
_BEFORE_ACCEPTING: Final = frozenset({"pass", "too_many", "too_large", "reset_mid_body"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing to do wrong, before accepting the message or *after* it.

    Without *ref* and *chance* it waits in a queue: each request, as it arrives, takes the next one. With a
    *ref*, a pattern searched in the message's name, or a *chance* from 0 to 1 it is conditional, and is
    looked at where the queue gave nothing. *times* bounds it, by default once in the queue and always
    elsewhere. A chance is a hash of *seed*, the name and how often that name was seen: the same in each run,
    however requests interleave. A reset_mid_body that waits for a name has to read the body first.
    """

    what: FaultKind
    after: bool = False
    status: int = 500
    seconds: float | None = None
    pid: int | None = None
    ref: str | None = None
    chance: float | None = None
    seed: int = 0
    times: int | None = None

    def __post_init__(self) -> None:
        if self.after and self.what in _BEFORE_ACCEPTING:
            raise ValueError(f"{self.what} comes before accepting, never after")
        if self.what == "kill" and (self.pid is None or self.pid < 2 or self.pid == os.getpid()):
            raise ValueError(f"whom to kill? pid={self.pid}")
        if self.chance is not None and not 0 <= self.chance <= 1:
            raise ValueError(f"a chance is between 0 and 1: {self.chance}")
        re.compile(self.ref or "")

    @property
    def is_conditional(self) -> bool:
        """Say whether it waits for a name or for chance, not in the queue."""
        return self.ref is not None or self.chance is not None

    @property
    def pause(self) -> float:
        """Return its seconds, given or usual."""
        return _SECONDS.get(self.what, 0) if self.seconds is None else self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How the account behind the API is set up.

    *denied_status* answers a missing or wrong *key*: 401 or 403. *latency_ms* passes before each answer.
    *limit* requests are allowed in each *window* of seconds, all of them where it is 0. *ip_pools* and
    *senders* (addresses or domains, verified) say what exists; anything does where they are None.
    *can_read_suppressions* is whether the key may read whom the account does not mail.
    """

    key: str = KEY
    denied_status: int = 401
    latency_ms: float = 0
    limit: int = 0
    window: int = 1
    ip_pools: tuple[str, ...] | None = None
    senders: tuple[str, ...] | None = None
    can_read_suppressions: bool = True


class Accepted(NamedTuple):
    """One personalization that was accepted: who had it delivered, whatever the client came to know.

    *seq* counts the log's lines, *time* (unix seconds) is that of its writing. *read* is CLOCK_MONOTONIC
    when the request had been read to its end. *body* is its payload, with this personalization alone, where
    the double was asked to keep bodies.
    """

    ref: str | None
    to: str
    seq: int
    time: float
    read: float
    message_id: str
    body: dict[str, Any] | None


class RejectedRequest(NamedTuple):
    """One request that was answered with 4xx by the rules, not by a fault. *errors* are (field, message)."""

    refs: tuple[str, ...]
    status: int
    errors: tuple[tuple[str | None, str], ...]
    seq: int
    read: float | None


class PlayedFault(NamedTuple):
    """One fault that was played. *refs* is empty where the body was never read."""

    what: FaultKind
    after: bool
    refs: tuple[str, ...]
    seq: int
    read: float | None


class Traffic(NamedTuple):
    """What came by so far: API requests, connections that carried them, most requests open at one time."""

    requests: int
    connections: int
    peak_concurrency: int
    faults_waiting: int


class SendGridDouble:
    """A SendGrid in a process of its own on loopback, and the log of what it accepted.

    *log* is appended to, one line an event, before the client hears of it; it outlives clients and doubles.
    With *certificate* and *private_key* (PEM, for 127.0.0.1) it speaks TLS only. *bodies* keeps payloads.
    """

    def __init__(
        self,
        log: Path,
        account: Account | None = None,
        *,
        port: int = 0,
        certificate: Path | None = None,
        private_key: Path | None = None,
        bodies: bool = False,
    ) -> None:
        self.log = log
        self.account = account or Account()
        self._secure = certificate is not None
        options = {"--port": port, "--log": log, "--certificate": certificate, "--private-key": private_key}
        command = [sys.executable, "-m", "tests.doubles.sendgrid_server", *(["--bodies"] if bodies else [])]
        command += [text for name, value in options.items() if value is not None for text in (name, str(value))]
        self._complaints = log.with_name(f"{log.name}.stderr")
        with self._complaints.open("ab") as complaints:
            self._server = subprocess.Popen(
                command,
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
        try:
            self.port = self._read_port()
            self.configure(self.account)
        except BaseException:
            self.close()
            raise

    def _read_port(self) -> int:
        assert self._server.stdout is not None
        output = self._server.stdout.readline()
        if not output.strip().isdigit():
            raise RuntimeError(f"the double of SendGrid did not start:\n{self._complaints.read_text('utf-8')}")
        return int(output)

    @property
    def url(self) -> str:
        """Return what stands before /v3/mail/send."""
        return f"{'https' if self._secure else 'http'}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Return the server's own process id."""
        return self._server.pid

    def add_faults(self, *faults: Fault) -> None:
        """Play *faults* from now on, and no earlier ones; without any, behave."""
        self._ask("POST", {"faults": [_fields(fault) for fault in faults]})

    def configure(self, account: Account) -> None:
        """Set the account up as *account*, and begin a new rate limit window."""
        self._ask("POST", {"account": _fields(account)})
        self.account = account

    def suppress(self, path: str, entries: list[Any]) -> None:
        """Let the list at *path*, such as /v3/suppression/bounces, hold *entries*."""
        self._ask("POST", {"lists": {path: entries}})

    def traffic(self) -> Traffic:
        """Return what came by since it started."""
        return Traffic(**self._ask("GET"))

    def accepted(self) -> list[Accepted]:
        """Return everything ever accepted into this log, in order."""
        return [
            Accepted(line["ref"], line["to"], line["seq"], line["time"], line["read"], line["id"], line.get("body"))
            for line in self._lines("accepted")
        ]

    def checked(self) -> list[str | None]:
        """Return the names of messages that were valid and, in sandbox mode, went nowhere."""
        return [line["ref"] for line in self._lines("checked")]

    def refused(self) -> list[RejectedRequest]:
        """Return every request that the rules refused, in order."""
        return [
            RejectedRequest(
                tuple(line["refs"]),
                line["status"],
                tuple((field, message) for field, message in line["errors"]),
                line["seq"],
                line["read"],
            )
            for line in self._lines("refused")
        ]

    def faulted(self) -> list[PlayedFault]:
        """Return every fault that was played, in order."""
        return [
            PlayedFault(line["what"], line["after"], tuple(line["refs"]), line["seq"], line["read"])
            for line in self._lines("fault")
        ]

    def close(self) -> None:
        """End the server, by its id. Closing twice is allowed."""
        self._server.terminate()
        self._server.wait(timeout=10)
        for stream in (self._server.stdin, self._server.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lines(self, kind: str) -> Iterator[dict[str, Any]]:
        begins = b'{"kind":"%s"' % kind.encode()
        complete = self.log.read_bytes().rpartition(b"\n")[0]  # a line that is being written has no end yet
        lines = [line for line in complete.split(b"\n") if line.startswith(begins)]
        parsed: list[dict[str, Any]] = orjson.loads(b"[%s]" % b",".join(lines))
        return iter(parsed)

    def _ask(self, method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = (
            # The key pair that it was given may be one that nobody should trust: that is a test, too.
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=_trusting_context())
            if self._secure
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        )
        try:
            connection.request(method, "/_control", orjson.dumps(body) if body else None, {"Connection": "close"})
            answer = connection.getresponse()
            output = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, output
        parsed: dict[str, Any] = orjson.loads(output)
        return parsed


def _fields(value: Fault | Account) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _trusting_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def count_lines(log: Path) -> int:
    """Count the whole lines of *log*; 0 where there is none."""
    return log.read_bytes().count(b"\n") if log.exists() else 0
