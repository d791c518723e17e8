"""The child process that classifies mail."""

from __future__ import annotations

import gc
import resource
import signal
import sys
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import orjson

from nurture.mail.inbound.classify import classify_mail
from nurture.mail.inbound.raw_mail import RawMail


def main(descriptor: int, cpu_seconds: int, memory: int) -> None:
    """Classify mails until the parent closes the connection. Too much CPU for one mail ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would write mail to disk
    _set_limit(resource.RLIMIT_AS, _address_space_bytes() + memory)
    connection = Connection(descriptor)
    while True:
        try:
            request = connection.recv_bytes()
        except (EOFError, OSError):
            return
        _extend_cpu_limit(cpu_seconds)
        connection.send_bytes(_classify(request))


def _address_space_bytes() -> int:
    """Return the size of the address space in bytes, or 0 where it is not available: only Linux limits it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text("ascii").split()[0]) * resource.getpagesize() if statm.exists() else 0


def _extend_cpu_limit(seconds: int) -> None:
    """Allow *seconds* more of CPU time. The limit counts whole seconds since the process started."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _set_limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _set_limit(kind: int, limit: int) -> None:
    """Set a limit, capped by the hard limit."""
    _, hard_limit = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if hard_limit == resource.RLIM_INFINITY else min(limit, hard_limit), hard_limit))


def _classify(request: bytes) -> bytes:
    try:
        reply = classify_mail(RawMail.unpack(request[10:]).parse(), date.fromisoformat(request[:10].decode()))
        return orjson.dumps(reply, default=list)
    except MemoryError:
        gc.collect()
        return b"it needs too much memory"
    except Exception as error:  # noqa: BLE001 - only the type: the message may quote the mail
        return type(error).__name__.encode()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
