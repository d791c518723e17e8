"""Classify untrusted mail in a child process with limits on CPU, memory and time.

The child starts with the first mail, has no access to secrets, and ends with its parent.
"""

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
"""CPU seconds per mail; the largest legitimate one needs 0.05."""

MEMORY_BYTES: Final = 512 * 1024 * 1024
"""Bytes that the child may allocate beyond its initial address space."""

WALL_SECONDS: Final = 30.0
"""Wall-clock seconds per mail, on a machine under any load."""

_MAX_RESPONSE_BYTES: Final = 1024 * 1024
_CLASSIFIED_MAIL: Final = TypeAdapter(ClassifiedMail)


class UnreadableMail(Exception):
    """A mail could not be read. The text says why, without quoting the mail."""


class _ReaderProcess(NamedTuple):
    child: subprocess.Popen[bytes]
    connection: Connection
    owner_pid: int


class MailReader:
    """Classifies mail in a child process, which is replaced when it exceeds its limits."""

    def __init__(
        self, *, cpu_seconds: int = CPU_SECONDS, memory: int = MEMORY_BYTES, wall_seconds: float = WALL_SECONDS
    ) -> None:
        self._limits = (cpu_seconds, memory)
        self.wall_seconds = wall_seconds
        self._running: _ReaderProcess | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Return the process id of the child, or None before the first mail."""
        return self._running.child.pid if self._running is not None else None

    def read(self, mail: RawMail, today: date) -> ClassifiedMail:
        """Classify a mail, as `classify_mail` does. Raises UnreadableMail."""
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
            raise UnreadableMail("the reader process returned an invalid result") from error

    def _request(self, connection: Connection, content: bytes) -> bytes:
        connection.send_bytes(content)
        if not connection.poll(self.wall_seconds):
            raise TimeoutError
        return connection.recv_bytes(_MAX_RESPONSE_BYTES)

    def close(self) -> None:
        """Stop the child, if it runs."""
        with self._lock:
            self._stop()

    def _ensure_connection(self) -> Connection:
        running = self._running
        # After a fork the child belongs to the parent; if it ended between two mails, neither mail is the cause.
        if running is None or running.owner_pid != os.getpid() or running.child.poll() is not None:
            running = self._running = self._start()
        return running.connection

    def _start(self) -> _ReaderProcess:
        parent_socket, child_socket = socket.socketpair()
        send_timeout = struct.pack("ll", int(self.wall_seconds) + 1, 0)
        parent_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, send_timeout)
        with child_socket:
            child = subprocess.Popen(  # noqa: S603 - this Python, our module, three numbers
                [
                    sys.executable,
                    "-m",
                    "nurture.mail.inbound.reader_child",
                    str(child_socket.fileno()),
                    *map(str, self._limits),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a traceback may quote the mail
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
        return f"the reader process ended ({_SIGNAL_NAMES.get(-code, f'code {code}')})"

    def _stop(self) -> None:
        if self._running is not None and self._running.owner_pid == os.getpid():
            _stop_process(self._running.child, self._running.connection)
        self._running = None


_SIGNAL_NAMES: Final = {9: "killed", 11: "crashed", 24: "used too much CPU"}


def _stop_process(child: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    try:
        child.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@cache
def shared_reader() -> MailReader:
    """Return the shared reader of this process."""
    return MailReader()
