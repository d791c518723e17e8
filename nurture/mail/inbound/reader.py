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
from nurture.mail.inbound.classify import ClassifiedMail
from nurture.mail.inbound.raw_mail import RawMail

CPU_SECONDS: Final = 2
"""What one mail may use; the largest good one needs a twentieth of a second."""

MEMORY_BYTES: Final = 512 * 1024 * 1024
"""Bytes that the process which reads may take beyond those it begins with."""

WALL_SECONDS: Final = 30.0
"""How long one mail may take, however busy the machine is."""

_MAX_RESPONSE_BYTES: Final = 1024 * 1024
_CLASSIFIED_MAIL: Final = TypeAdapter(ClassifiedMail)


class UnreadableMail(Exception):
    """A mail could not be read. The text says why, and nothing of what is in it."""


class _ReaderProcess(NamedTuple):
    child: subprocess.Popen[bytes]
    connection: Connection
    owner_pid: int


class MailReader:
    """Reads one mail after another, each within its limits; who exceeds them is replaced."""

    def __init__(
        self, *, cpu_seconds: int = CPU_SECONDS, memory: int = MEMORY_BYTES, wall_seconds: float = WALL_SECONDS
    ) -> None:
        self._limits = (cpu_seconds, memory)
        self.wall_seconds = wall_seconds
        self._running: _ReaderProcess | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Return the number of the process that reads, None before the first mail."""
        return self._running.child.pid if self._running is not None else None

    def read(self, mail: RawMail, today: date) -> ClassifiedMail:
        """Say what a mail is, as `classify_mail` does. Raises UnreadableMail."""
        with self._lock:
            connection = self._ensure_connection()
            try:
                response = self._request(connection, today.isoformat().encode() + mail.pack())
            except (EOFError, OSError) as error:
                raise UnreadableMail(self._describe_exit(error)) from error
        if response[:1] != b"{":
            raise UnreadableMail(f"reading it failed: {response.decode('ascii', 'replace')[:100]}")
        try:
            return _CLASSIFIED_MAIL.validate_json(response)
        except ValidationError as error:
            raise UnreadableMail("what was read of it makes no sense") from error

    def _request(self, connection: Connection, content: bytes) -> bytes:
        connection.send_bytes(content)
        if not connection.poll(self.wall_seconds):
            raise TimeoutError
        return connection.recv_bytes(_MAX_RESPONSE_BYTES)

    def close(self) -> None:
        """End the process that reads, if there is one."""
        with self._lock:
            self._stop()

    def _ensure_connection(self) -> Connection:
        running = self._running
        # After a fork it is the parent's; whoever ended it between two mails is to blame no mail for it.
        if running is None or running.owner_pid != os.getpid() or running.child.poll() is not None:
            running = self._running = self._start()
        return running.connection

    def _start(self) -> _ReaderProcess:
        parent_socket, child_socket = socket.socketpair()
        send_timeout = struct.pack("ll", int(self.wall_seconds) + 1, 0)
        parent_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, send_timeout)
        with child_socket:
            child = subprocess.Popen(  # noqa: S603 - this Python, a module of ours, three numbers
                [
                    sys.executable,
                    "-m",
                    "nurture.mail.inbound.reader_child",
                    str(child_socket.fileno()),
                    *map(str, self._limits),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a traceback may hold what is in the mail
                pass_fds=(child_socket.fileno(),),
                env={"PYTHONPATH": str(Path(nurture.__file__).parents[1])},
            )
        connection = Connection(parent_socket.detach())
        weakref.finalize(self, _stop_process, child, connection)
        return _ReaderProcess(child, connection, os.getpid())

    def _describe_exit(self, error: Exception) -> str:
        running = self._running
        assert running is not None
        self._stop()
        if isinstance(error, TimeoutError):
            return f"it took more than {self.wall_seconds:g} s"
        code = running.child.returncode
        return f"the process that read it ended ({_SIGNAL_NAMES.get(-code, f'code {code}')})"

    def _stop(self) -> None:
        if self._running is not None and self._running.owner_pid == os.getpid():
            _stop_process(self._running.child, self._running.connection)
        self._running = None


_SIGNAL_NAMES: Final = {9: "killed", 11: "crashed", 24: "it used too much CPU"}


def _stop_process(child: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    try:
        child.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@cache
def shared_reader() -> MailReader:
    """Return the reader of this process."""
    return MailReader()
