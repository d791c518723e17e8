"""The child process that classifies mail."""

import gc
import signal
import sys
from datetime import date
from multiprocessing.connection import Connection

import orjson

from nurture.mail.inbound.classify import classify_mail, read_phrases
from nurture.mail.inbound.raw_mail import RawMail
from nurture.process_limits import limit_cpu, limit_memory


def main(descriptor: int, cpu_seconds: int, memory: int) -> None:
    """Classify mails until the parent closes the connection. Too much CPU for one mail ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    gc.disable()  # what is read here is kept: to look for garbage in it takes a third of the start
    read_phrases()
    gc.freeze()
    gc.enable()
    limit_memory(memory)
    connection = Connection(descriptor)
    while True:
        try:
            request = connection.recv_bytes()
        except (EOFError, OSError):
            return
        limit_cpu(cpu_seconds)
        connection.send_bytes(_classify(request))


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
