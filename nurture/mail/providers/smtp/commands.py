"""What is said to an SMTP server and what it answers, each answer in its time."""

from __future__ import annotations

import re
import smtplib
from time import monotonic
from typing import Any, Final, NamedTuple

SERVICE_CLOSING: Final = 421
_MAX_REPLY_BYTES: Final = 65_536  # octets
_MAX_REPLY_TEXT: Final = 300
_ADDRESS: Final = re.compile(r"""<?(?:"[^"]{0,64}"|(?<![^\s<>@:;,"(])[^\s<>@:;,"(]++)@[^\s<>@:;,"')]++>?""")


class ConnectionLost(Exception):
    """The conversation ended before its time, or made no sense any more."""


class SmtpReply(NamedTuple):
    """What the server said, in one line and without addresses."""

    code: int
    text: str

    @property
    def reply_class(self) -> int:
        """Return 2 for yes, 3 for go on, 4 for later and 5 for never."""
        return self.code // 100

    def __str__(self) -> str:
        """Say it as the server did."""
        return f"{self.code} {self.text}".strip()


class SmtpStream(smtplib.SMTP):
    """smtplib, with a time for each whole answer, however slowly it drips."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._buffer = bytearray()
        super().__init__(*args, **kwargs)

    def getreply(self) -> tuple[int, bytes]:
        """Wait for an answer to what smtplib itself has said. Raises ConnectionLost."""
        return self.read_reply(float(self.timeout))

    def read_reply(self, seconds: float) -> tuple[int, bytes]:
        """Wait *seconds* for one whole answer. Raises ConnectionLost, and then the line is closed."""
        deadline = monotonic() + seconds
        lines: list[bytes] = []
        while True:
            line = self._read_line(deadline, seconds)
            lines.append(line[4:].strip())
            if sum(map(len, lines)) > _MAX_REPLY_BYTES or not line[:3].isdigit():
                self.close()
                raise ConnectionLost("gave an answer that is not SMTP")
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)

    def _read_line(self, deadline: float, seconds: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            remaining = deadline - monotonic()
            try:
                if self.sock is None:
                    raise ConnectionLost("closed the connection")
                if remaining <= 0 or len(self._buffer) > _MAX_REPLY_BYTES:
                    raise TimeoutError
                self.sock.settimeout(remaining)
                received = self.sock.recv(4096)
                self.sock.settimeout(float(self.timeout))
            except OSError as error:
                self.close()
                raise ConnectionLost(describe_disconnect(error, seconds)) from None
            if not received:
                self.close()
                raise ConnectionLost("closed the connection")
            self._buffer += received
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def starttls(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        """Start TLS, and forget what was heard before it."""
        reply = super().starttls(*args, **kwargs)
        self._buffer.clear()  # whatever came with it was said in clear, by anybody
        return reply


class TlsSmtpStream(SmtpStream, smtplib.SMTP_SSL):
    """The same, with TLS from the first octet on."""


def describe_disconnect(error: OSError, seconds: float) -> str:
    """Say in plain words how a line went."""
    if isinstance(error, TimeoutError):
        return f"did not answer within {seconds:g} s"
    return f"closed the connection ({error.strerror or type(error).__name__})"


def sanitize_reply(raw: bytes) -> str:
    """Quote a server in one line of printable text, without the addresses that it names."""
    text = " ".join(raw.decode("utf-8", "replace").split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return _ADDRESS.sub("(address)", text)[:_MAX_REPLY_TEXT]
