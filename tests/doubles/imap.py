"""An IMAP double on loopback: one account, one folder, and the commands needed for reading."""

from __future__ import annotations

import re
import socketserver
import ssl
import threading
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

USER, PASSWORD = "replies@house.example", "s3cret word"


@dataclass
class Mailbox:
    """The state of the server. *commands* are the received commands, without the password."""

    mails: dict[int, bytes] = field(default_factory=dict)
    uid_validity: int = 7
    commands: list[str] = field(default_factory=list)
    port: int = 0
    silent_at: str = ""
    access_tokens: Collection[str] = ()

    def add(self, raw: bytes) -> int:
        uid = max(self.mails, default=0) + 1
        self.mails[uid] = raw
        return uid


class _Session(socketserver.StreamRequestHandler):
    mailbox: Mailbox

    def handle(self) -> None:
        self._send("* OK ready")
        while line := self.rfile.readline():
            tag, _, command = line.decode().strip().partition(" ")
            self.mailbox.commands.append(command.partition(" ")[0] if command.startswith("LOGIN") else command)
            if self.mailbox.silent_at and self.mailbox.silent_at in command:
                return
            if not self._answer(tag, command):
                return

    def _answer(self, tag: str, command: str) -> bool:
        verb = command.split(" ", maxsplit=1)[0].upper()
        if verb == "CAPABILITY":
            self._send("* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2")
        elif verb == "LOGIN" and command != f'LOGIN {USER} "{PASSWORD}"':
            self._send(f"{tag} NO who are you")
            return True
        elif verb == "AUTHENTICATE":
            self._send("+ ")
            given = b64decode(self.rfile.readline()).decode().strip("\x01").partition("\x01auth=Bearer ")
            if given[0] != f"user={USER}" or given[2] not in self.mailbox.access_tokens:
                self._send("+ " + b64encode(b'{"status":"400"}').decode())
                assert not self.rfile.readline().strip()
                self._send(f"{tag} NO AUTHENTICATE failed.")
                return True
        elif verb == "EXAMINE":
            self._send(f"* {len(self.mailbox.mails)} EXISTS")
            self._send(f"* OK [UIDVALIDITY {self.mailbox.uid_validity}] valid")
            self._send(f"{tag} OK [READ-ONLY] done")
            return True
        elif command.startswith("UID SEARCH"):
            start = int((re.search(r"UID (\d+):", command[3:]) or [0, 0])[1])
            last = max(self.mailbox.mails, default=0)
            found = [uid for uid in self.mailbox.mails if uid >= start or uid == last]
            self._send(f"* SEARCH {' '.join(map(str, found))}")
        elif command.startswith("UID FETCH"):
            wanted = command.split(" ")[2].split(",")
            for number, (uid, raw) in enumerate(self.mailbox.mails.items(), 1):
                if str(uid) in wanted:
                    self._send(f"* {number} FETCH (UID {uid} BODY[]<0> {{{len(raw)}}}")
                    self.wfile.write(raw)
                    self._send(")")
        elif verb == "LOGOUT":
            self._send("* BYE")
            self._send(f"{tag} OK")
            return False
        self._send(f"{tag} OK done")
        return True

    def _send(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def imap_server(context: ssl.SSLContext | None = None) -> Iterator[Mailbox]:
    """Serve a mailbox while the block runs, with TLS if *context* is given."""
    mailbox = Mailbox()

    class Session(_Session):
        pass

    Session.mailbox = mailbox
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session, bind_and_activate=True) as server:
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        mailbox.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield mailbox
        finally:
            server.shutdown()
            thread.join(5)
