"""A double of an IMAP server on loopback: one folder, one account, the few commands that reading takes."""

from __future__ import annotations

import re
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

USER, PASSWORD = "replies@house.example", "s3cret word"


@dataclass
class Mailbox:
    """What the server holds. *commands* are those it was given, without the password."""

    mails: dict[int, bytes] = field(default_factory=dict)
    uid_validity: int = 7
    commands: list[str] = field(default_factory=list)
    port: int = 0
    silent_at: str = ""

    def add(self, raw: bytes) -> int:
        uid = max(self.mails, default=0) + 1
        self.mails[uid] = raw
        return uid


class _Session(socketserver.StreamRequestHandler):
    box: Mailbox

    def handle(self) -> None:
        self._say("* OK ready")
        while line := self.rfile.readline():
            tag, _, told = line.decode().strip().partition(" ")
            self.box.commands.append(told.partition(" ")[0] if told.startswith("LOGIN") else told)
            if self.box.silent_at and self.box.silent_at in told:
                return
            if not self._answer(tag, told):
                return

    def _answer(self, tag: str, told: str) -> bool:
        word = told.split(" ", maxsplit=1)[0].upper()
        if word == "CAPABILITY":
            self._say("* CAPABILITY IMAP4rev1 AUTH=PLAIN")
        elif word == "LOGIN" and told != f'LOGIN {USER} "{PASSWORD}"':
            self._say(f"{tag} NO who are you")
            return True
        elif word == "EXAMINE":
            self._say(f"* {len(self.box.mails)} EXISTS")
            self._say(f"* OK [UIDVALIDITY {self.box.uid_validity}] valid")
            self._say(f"{tag} OK [READ-ONLY] done")
            return True
        elif told.startswith("UID SEARCH"):
            start = int((re.search(r"UID (\d+):", told[3:]) or [0, 0])[1])
            last = max(self.box.mails, default=0)
            found = [uid for uid in self.box.mails if uid >= start or uid == last]
            self._say(f"* SEARCH {' '.join(map(str, found))}")
        elif told.startswith("UID FETCH"):
            wanted = told.split(" ")[2].split(",")
            for number, (uid, raw) in enumerate(self.box.mails.items(), 1):
                if str(uid) in wanted:
                    self._say(f"* {number} FETCH (UID {uid} BODY[]<0> {{{len(raw)}}}")
                    self.wfile.write(raw)
                    self._say(")")
        elif word == "LOGOUT":
            self._say("* BYE")
            self._say(f"{tag} OK")
            return False
        self._say(f"{tag} OK done")
        return True

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def imap_server(context: ssl.SSLContext | None = None) -> Iterator[Mailbox]:
    """Serve a mailbox for as long as the block runs, with TLS where *context* says how."""
    box = Mailbox()

    class Session(_Session):
        pass

    Session.box = box
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session, bind_and_activate=True) as server:
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join(5)
