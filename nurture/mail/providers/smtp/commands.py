"""SMTP replies, each read within a deadline."""

import re
import smtplib
from time import monotonic
from typing import Any, Final, NamedTuple

SERVICE_CLOSING: Final = 421
_MAX_REPLY_BYTES: Final = 65_536  # octets
_MAX_REPLY_TEXT: Final = 300
_ADDRESS: Final = re.compile(r"""<?(?:"[^"]{0,64}"|(?<![^\s<>@:;,"(])[^\s<>@:;,"(]++)@[^\s<>@:;,"')]++>?""")


class ConnectionLost(Exception):
    """The server closed the connection, timed out, or sent an invalid reply."""


class SmtpReply(NamedTuple):
    """A server's reply, in one line and without addresses."""

    code: int
    text: str

    @property
    def reply_class(self) -> int:
        """Return 2 for success, 3 for continue, 4 for a temporary and 5 for a permanent failure."""
        return self.code // 100

    def __str__(self) -> str:
        """Return code and text."""
        return f"{self.code} {self.text}".strip()


class SmtpStream(smtplib.SMTP):
    """smtplib.SMTP with a deadline per reply instead of per read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._buffer = bytearray()
        super().__init__(*args, **kwargs)

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply to a command that smtplib sent. Raises ConnectionLost."""
        return self.read_reply(float(self.timeout))

    def read_reply(self, seconds: float) -> tuple[int, bytes]:
        """Read one complete reply within *seconds*. Raises ConnectionLost after closing the connection."""
        deadline = monotonic() + seconds
        lines: list[bytes] = []
        while True:
            line = self._read_line(deadline, seconds)
            lines.append(line[4:].strip())
            if sum(map(len, lines)) > _MAX_REPLY_BYTES or not line[:3].isdigit():
                self.close()
                raise ConnectionLost("sent a reply that is not SMTP")
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
        """Start TLS and discard any bytes received before it."""
        reply = super().starttls(*args, **kwargs)
        self._buffer.clear()  # sent in clear text, so anybody may have injected it
        return reply


class TlsSmtpStream(SmtpStream, smtplib.SMTP_SSL):
    """SmtpStream with implicit TLS."""


def describe_disconnect(error: OSError, seconds: float) -> str:
    """Describe why a connection was lost."""
    if isinstance(error, TimeoutError):
        return f"did not answer within {seconds:g} s"
    return f"closed the connection ({error.strerror or type(error).__name__})"


def sanitize_reply(raw: bytes) -> str:
    """Return a reply as one line of printable text, with addresses removed."""
    text = " ".join(raw.decode("utf-8", "replace").split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return _ADDRESS.sub("(address)", text)[:_MAX_REPLY_TEXT]
