"""Read strangers' mail in a process of its own, which a mail may use up without harm to anybody else.

It is started with the first mail, knows no secret of ours, and ends when the process that started it does.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import weakref
from datetime import date
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

import nurture
from nurture.mail.inbound.classify import Reply
from nurture.mail.inbound.raw_mail import RawMail

CPU_SECONDS: Final = 2
"""What one mail may use; the largest good one needs a twentieth of a second."""

MEMORY: Final = 512 * 1024 * 1024
"""Bytes that the process which reads may take beyond those it begins with."""

WALL_SECONDS: Final = 30.0
"""How long one mail may take, however busy the machine is."""

_MOST_ANSWERED: Final = 1024 * 1024
_REPLY: Final = TypeAdapter(Reply)


class Unread(Exception):
    """A mail could not be read. The text says why, and nothing of what is in it."""


class _Running(NamedTuple):
    child: subprocess.Popen[bytes]
    line: Connection
    owner: int


class MailReader:
    """Reads one mail after another, each within its limits; who exceeds them is replaced."""

    def __init__(
        self, *, cpu_seconds: int = CPU_SECONDS, memory: int = MEMORY, wall_seconds: float = WALL_SECONDS
    ) -> None:
        self._limits = (cpu_seconds, memory)
        self.wall_seconds = wall_seconds
        self._running: _Running | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Return the number of the process that reads, None before the first mail."""
        return self._running.child.pid if self._running is not None else None

    def read(self, mail: RawMail, today: date) -> Reply:
        """Say what a mail is, as `replies.read_reply` does. Raises Unread."""
        with self._one_at_a_time:
            line = self._line()
            try:
                answer = self._ask(line, today.isoformat().encode() + mail.pack())
            except (EOFError, OSError) as error:
                raise Unread(self._why_ended(error)) from error
        if answer[:1] != b"{":
            raise Unread(f"reading it failed: {answer.decode('ascii', 'replace')[:100]}")
        try:
            return _REPLY.validate_json(answer)
        except ValidationError as error:
            raise Unread("what was read of it makes no sense") from error

    def _ask(self, line: Connection, given: bytes) -> bytes:
        line.send_bytes(given)
        if not line.poll(self.wall_seconds):
            raise TimeoutError
        return line.recv_bytes(_MOST_ANSWERED)

    def close(self) -> None:
        """End the process that reads, if there is one."""
        with self._one_at_a_time:
            self._end()

    def _line(self) -> Connection:
        running = self._running
        # After a fork it is the parent's; whoever ended it between two mails is to blame no mail for it.
        if running is None or running.owner != os.getpid() or running.child.poll() is not None:
            running = self._running = self._start()
        return running.line

    def _start(self) -> _Running:
        ours, theirs = socket.socketpair()
        patience = struct.pack("ll", int(self.wall_seconds) + 1, 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        with theirs:
            child = subprocess.Popen(  # noqa: S603 - this Python, a module of ours, three numbers
                [
                    sys.executable,
                    "-m",
                    "nurture.mail.inbound.reader_child",
                    str(theirs.fileno()),
                    *map(str, self._limits),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a traceback may hold what is in the mail
                pass_fds=(theirs.fileno(),),
                env={"PYTHONPATH": str(Path(nurture.__file__).parents[1])},
            )
        line = Connection(ours.detach())
        weakref.finalize(self, _end, child, line)
        return _Running(child, line, os.getpid())

    def _why_ended(self, error: Exception) -> str:
        running = self._running
        assert running is not None
        self._end()
        if isinstance(error, TimeoutError):
            return f"it took more than {self.wall_seconds:g} s"
        code = running.child.returncode
        return f"the process that read it ended ({_SIGNALS.get(-code, f'code {code}')})"

    def _end(self) -> None:
        if self._running is not None and self._running.owner == os.getpid():
            _end(self._running.child, self._running.line)
        self._running = None


_SIGNALS: Final = {9: "killed", 11: "crashed", 24: "it used too much CPU"}


def _end(child: subprocess.Popen[bytes], line: Connection) -> None:
    line.close()
    try:
        child.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@cache
def shared() -> MailReader:
    """Return the reader of this process."""
    return MailReader()
