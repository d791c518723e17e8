"""A SendGrid double: `with SendGridDouble(folder / "sendgrid.log") as double:`; its API is at `double.url`."""

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
"""The custom argument that identifies a message."""

FaultKind = Literal[
    "pass",  # no fault: lets one request of the queue through
    "status",  # answers *status*: 502, 503 and 504 as a proxy's HTML, others as JSON
    "too_many",  # 429, with X-RateLimit-Reset in *seconds*
    "too_large",  # 413, as a proxy's HTML
    "hang",  # sends nothing for *seconds*
    "reset_mid_body",  # resets the connection before the request's body was read
    "reset",  # resets the connection instead of answering
    "close",  # closes the connection instead of answering, as for an idle one
    "drip_body",  # answers *status* and headers at once, then a byte of body each *seconds*
    "drip_headers",  # answers *status*, a byte of the headers each *seconds*
    "garbage",  # answers with bytes that are not HTTP
    "kill",  # SIGKILL to *pid*, then a reset
]
_SECONDS: Final[dict[FaultKind, float]] = {"too_many": 1, "hang": 3600, "drip_body": 1, "drip_headers": 1}
_BEFORE_ACCEPTING: Final = frozenset({"pass", "too_many", "too_large", "reset_mid_body"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault, before accepting the message or *after* it.

    Without *ref* and *chance* it is queued: each request takes the next queued fault. With *ref*, a pattern
    searched in the message's ref, or *chance* from 0 to 1, it is conditional, and applies if the queue is empty.
    *times* limits it, by default to 1 in the queue and without limit elsewhere. *chance* is evaluated by a hash of
    *seed*, the ref and the number of its requests, so that it does not depend on the order of requests. A
    reset_mid_body with *ref* has to read the body first.
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
        """Return whether the fault depends on a ref or on chance."""
        return self.ref is not None or self.chance is not None

    @property
    def pause(self) -> float:
        """Return *seconds*, or the default of the fault."""
        return _SECONDS.get(self.what, 0) if self.seconds is None else self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The settings of the account.

    *denied_status*, 401 or 403, is the status for a wrong *key*. *latency_ms* delays each response. *limit* requests
    are allowed per *window* of seconds, 0 for no limit. *ip_pools* and *senders* (verified addresses or domains) are
    those that exist; None allows any. *can_read_suppressions*: the key may read the suppression lists.
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
    """An accepted personalization, whether or not the client got the response.

    *seq* is the line number in the log, *time* (unix seconds) the time of writing. *read* is CLOCK_MONOTONIC when the
    request was complete. *body* is its payload with only this personalization, if the double stores bodies.
    """

    ref: str | None
    to: str
    seq: int
    time: float
    read: float
    message_id: str
    body: dict[str, Any] | None


class RejectedRequest(NamedTuple):
    """A request refused with 4xx by the rules, not by a fault. *errors* are (field, message)."""

    refs: tuple[str, ...]
    status: int
    errors: tuple[tuple[str | None, str], ...]
    seq: int
    read: float | None


class PlayedFault(NamedTuple):
    """A fault that was applied. *refs* is empty if the body was not read."""

    what: FaultKind
    after: bool
    refs: tuple[str, ...]
    seq: int
    read: float | None


class Traffic(NamedTuple):
    """Numbers of API requests and connections, and the highest number of concurrent requests."""

    requests: int
    connections: int
    peak_concurrency: int
    faults_waiting: int


class SendGridDouble:
    """A SendGrid double in its own process on loopback, with a log of accepted messages.

    Each event is appended to *log*, as one line, before the response is sent. With *certificate* and *private_key*
    (PEM, for 127.0.0.1) it uses TLS. *bodies* stores payloads.
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
        """Return the base URL of the API."""
        return f"{'https' if self._secure else 'http'}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Return the process id of the server."""
        return self._server.pid

    def add_faults(self, *faults: Fault) -> None:
        """Replace the faults by *faults*."""
        self._ask("POST", {"faults": [_fields(fault) for fault in faults]})

    def configure(self, account: Account) -> None:
        """Set the account, and begin a new rate limit window."""
        self._ask("POST", {"account": _fields(account)})
        self.account = account

    def suppress(self, path: str, entries: list[Any]) -> None:
        """Set the list at *path*, such as /v3/suppression/bounces, to *entries*."""
        self._ask("POST", {"lists": {path: entries}})

    def traffic(self) -> Traffic:
        """Return the traffic since the start."""
        return Traffic(**self._ask("GET"))

    def accepted(self) -> list[Accepted]:
        """Return all messages accepted in this log, in order."""
        return [
            Accepted(line["ref"], line["to"], line["seq"], line["time"], line["read"], line["id"], line.get("body"))
            for line in self._lines("accepted")
        ]

    def checked(self) -> list[str | None]:
        """Return the refs of messages that were validated in sandbox mode."""
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
        """Return every fault that was applied, in order."""
        return [
            PlayedFault(line["what"], line["after"], tuple(line["refs"]), line["seq"], line["read"])
            for line in self._lines("fault")
        ]

    def close(self) -> None:
        """Stop the server. May be called twice."""
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
        complete = self.log.read_bytes().rpartition(b"\n")[0]  # the last line may be incomplete
        lines = [line for line in complete.split(b"\n") if line.startswith(begins)]
        parsed: list[dict[str, Any]] = orjson.loads(b"[%s]" % b",".join(lines))
        return iter(parsed)

    def _ask(self, method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = (
            # The certificate may be an untrusted one, which is also tested.
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
    """Return the number of complete lines of *log*, 0 without a file."""
    return log.read_bytes().count(b"\n") if log.exists() else 0
