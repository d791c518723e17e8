"""The process that reads mail: it is given one after another, and answers what each is."""

from __future__ import annotations

import gc
import resource
import signal
import sys
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import orjson

from nurture.mail.inbound.classify import read_reply
from nurture.mail.inbound.raw_mail import RawMail


def main(descriptor: int, cpu_seconds: int, memory: int) -> None:
    """Answer mails until the other side closes the line. A mail that uses too much CPU ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no mail is left on disk
    _limit(resource.RLIMIT_AS, _taken() + memory)
    line = Connection(descriptor)
    while True:
        try:
            given = line.recv_bytes()
        except (EOFError, OSError):
            return
        _allow(cpu_seconds)
        line.send_bytes(_answer(given))


def _taken() -> int:
    """Return the bytes of address space that the process has; Linux alone limits and tells them."""
    told = Path("/proc/self/statm")
    return int(told.read_text("ascii").split()[0]) * resource.getpagesize() if told.exists() else 0


def _allow(seconds: int) -> None:
    """Let the process use so many seconds from now on; the system counts all of its life, in whole ones."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _limit(what: int, wanted: int) -> None:
    """Set a limit, or the lower one that whoever started us may not exceed."""
    _, most = resource.getrlimit(what)
    resource.setrlimit(what, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def _answer(given: bytes) -> bytes:
    try:
        reply = read_reply(RawMail.unpack(given[10:]).read(), date.fromisoformat(given[:10].decode()))
        return orjson.dumps(reply, default=list)
    except MemoryError:
        gc.collect()
        return b"it needs too much memory"
    except Exception as error:  # noqa: BLE001 - the type alone: its words may hold what is in the mail
        return type(error).__name__.encode()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
