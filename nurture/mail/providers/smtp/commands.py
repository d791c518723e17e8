"""What is said to an SMTP server and what it answers, each answer in its time."""

from __future__ import annotations

import re
import smtplib
from time import monotonic
from typing import Any, Final, NamedTuple

CLOSING: Final = 421
_LONGEST_ANSWER: Final = 65_536  # octets
_LONGEST_WORDS: Final = 300
_ADDRESS: Final = re.compile(r"""<?(?:"[^"]{0,64}"|(?<![^\s<>@:;,"(])[^\s<>@:;,"(]++)@[^\s<>@:;,"')]++>?""")


class Lost(Exception):
    """The conversation ended before its time, or made no sense any more."""


class Answer(NamedTuple):
    """What the server said, in one line and without addresses."""

    code: int
    words: str

    @property
    def kind(self) -> int:
        """Return 2 for yes, 3 for go on, 4 for later and 5 for never."""
        return self.code // 100

    def __str__(self) -> str:
        """Say it as the server did."""
        return f"{self.code} {self.words}".strip()


class Line(smtplib.SMTP):
    """smtplib, with a time for each whole answer, however slowly it drips."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._unread = bytearray()
        super().__init__(*args, **kwargs)

    def getreply(self) -> tuple[int, bytes]:
        """Wait for an answer to what smtplib itself has said. Raises Lost."""
        return self.reply_within(float(self.timeout))

    def reply_within(self, seconds: float) -> tuple[int, bytes]:
        """Wait *seconds* for one whole answer. Raises Lost, and then the line is closed."""
        ends = monotonic() + seconds
        lines: list[bytes] = []
        while True:
            line = self._line(ends, seconds)
            lines.append(line[4:].strip())
            if sum(map(len, lines)) > _LONGEST_ANSWER or not line[:3].isdigit():
                self.close()
                raise Lost("gave an answer that is not SMTP")
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)

    def _line(self, ends: float, seconds: float) -> bytes:
        while (end := self._unread.find(b"\n")) < 0:
            left = ends - monotonic()
            try:
                if self.sock is None:
                    raise Lost("closed the connection")
                if left <= 0 or len(self._unread) > _LONGEST_ANSWER:
                    raise TimeoutError
                self.sock.settimeout(left)
                more = self.sock.recv(4096)
                self.sock.settimeout(float(self.timeout))
            except OSError as error:
                self.close()
                raise Lost(why_lost(error, seconds)) from None
            if not more:
                self.close()
                raise Lost("closed the connection")
            self._unread += more
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line

    def starttls(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        """Start TLS, and forget what was heard before it."""
        reply = super().starttls(*args, **kwargs)
        self._unread.clear()  # whatever came with it was said in clear, by anybody
        return reply


class TlsLine(Line, smtplib.SMTP_SSL):
    """The same, with TLS from the first octet on."""


def why_lost(error: OSError, seconds: float) -> str:
    """Say in plain words how a line went."""
    if isinstance(error, TimeoutError):
        return f"did not answer within {seconds:g} s"
    return f"closed the connection ({error.strerror or type(error).__name__})"


def in_one_line(words: bytes) -> str:
    """Quote a server in one line of printable text, without the addresses that it names."""
    text = " ".join(words.decode("utf-8", "replace").split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return _ADDRESS.sub("(address)", text)[:_LONGEST_WORDS]
