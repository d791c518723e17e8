"""A real SMTP server on loopback, in its own thread, with scripted faults.

`accepted` is append-only and written before the reply is sent.
"""
# ruff: noqa: ARG002, N802 - aiosmtpd finds its hooks by these names and signatures

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64decode
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import Enum
from functools import partial
from threading import Event, Thread
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

CA = trustme.CA()
USER, PASSWORD = "nora@example.com", "p@ss/w:rd #1"


class Fault(Enum):
    """What the server may do instead of replying."""

    DROP = "drop the connection"
    SILENCE = "never answer"
    DRIP = "answer without end, an octet at a time"


@dataclass(frozen=True)
class Accepted:
    """An accepted email."""

    sender: str
    recipient: str
    content: bytes
    options: tuple[str, ...]
    tls: bool
    user: str

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        return message


@dataclass
class SMTPDouble:
    """The server's settings, script and records.

    `script[verb]` lists the behavior for the next commands of that verb: None (normal), a reply, or a Fault. Verbs
    are CONNECT, EHLO, AUTH, MAIL, RCPT, DATA (before 354), BODY (after 354), DOT (before the email is accepted),
    TAKEN (after it is accepted), RSET. `refused` maps recipients to a permanent reply.
    """

    port: int = 0
    host: str = "127.0.0.1"
    eight_bit: bool = True
    utf8: bool = True
    pipelining: bool = True
    size: int = 10_000_000
    mechanisms: tuple[str, ...] = ("LOGIN", "PLAIN")
    access_tokens: Collection[str] = ()
    auth_required: bool = False
    password: str = PASSWORD
    refused: dict[str, str] = field(default_factory=dict)
    script: dict[str, deque[str | Fault | None]] = field(default_factory=lambda: defaultdict(deque))
    accepted: list[Accepted] = field(default_factory=list, repr=False)
    connections: int = 0
    commands: list[str] = field(default_factory=list, repr=False)

    def script_faults(self, verb: str, *steps: str | Fault | None) -> None:
        self.script[verb].extend(steps)

    def next(self, verb: str) -> str | Fault | None:
        steps = self.script[verb]
        return steps.popleft() if steps else None

    @property
    def url(self) -> str:
        return f"smtp://{self.host}:{self.port}"


class _SmtpHandler:
    """The aiosmtpd handler."""

    def __init__(self, double: SMTPDouble) -> None:
        self._double = double

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        lines = [line for line in responses[:-1] if self._double.eight_bit or "8BITMIME" not in line]
        if not self._double.mechanisms:
            lines = [line for line in lines if "AUTH" not in line]
        return [*lines, *(["250-PIPELINING"] if self._double.pipelining else []), responses[-1]]

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self._double.refused:
            return self._double.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: _Server, session: Session, envelope: Envelope) -> str:
        return await server.accept(session, envelope)

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth: LoginPassword
    ) -> AuthResult:
        is_valid = auth.login.decode() == USER and auth.password.decode() == self._double.password
        return AuthResult(success=is_valid, handled=False, auth_data=auth if is_valid else None)

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> AuthResult:
        user, _, token = b64decode(args[1]).decode().strip("\x01").partition("\x01auth=Bearer ")
        if user == f"user={USER}" and token in self._double.access_tokens:
            return AuthResult(success=True, auth_data=LoginPassword(USER.encode(), b""))
        await server.challenge_auth('{"status":"401","schemes":"bearer"}')
        return AuthResult(success=False, handled=False)


class _Server(SMTP):
    """The SMTP server; checks the script before each command."""

    def __init__(self, double: SMTPDouble, **options: Any) -> None:
        self._double = double
        hooks = _SmtpHandler(double)
        super().__init__(
            hooks,
            authenticator=hooks.authenticate,
            enable_SMTPUTF8=double.utf8,
            data_size_limit=double.size,
            auth_required=double.auth_required,
            auth_exclude_mechanism=[m for m in ("LOGIN", "PLAIN", "XOAUTH2") if m not in double.mechanisms],
            hostname="mail.example.com",
            **options,
        )
        for verb in ("EHLO", "AUTH", "MAIL", "RCPT", "RSET"):
            self._smtp_methods[verb] = partial(self._play_fault, verb, self._smtp_methods[verb])

    async def _play_fault(
        self, verb: str, continue_command: Callable[[Any], Coroutine[Any, Any, None]], arg: Any
    ) -> None:
        self._double.commands.append(f"{verb} {arg or ''}".strip())
        if not await self._next_fault(verb):
            await continue_command(arg)

    async def _next_fault(self, verb: str) -> bool:
        match self._double.next(verb):
            case None:
                return False
            case Fault.DROP:
                assert self.transport is not None
                self.transport.abort()
                await asyncio.Event().wait()
            case Fault.SILENCE:
                await asyncio.Event().wait()
            case Fault.DRIP:
                while True:
                    self._writer.write(b"2")
                    await asyncio.sleep(0.02)
            case str(answer):
                await self.push(answer)
                if answer.startswith("421"):
                    assert self.transport is not None
                    self.transport.close()
        return True

    async def _handle_client(self) -> None:
        self._double.connections += 1
        if not await self._next_fault("CONNECT"):
            await super()._handle_client()

    async def smtp_DATA(self, arg: str) -> None:
        self._double.commands.append("DATA")
        assert self.envelope is not None
        if await self._next_fault("DATA"):
            return
        if not self._double.script["BODY"]:
            await super().smtp_DATA(arg)
            return
        await self.push("354 go on")
        await self._reader.read(1)
        await self._next_fault("BODY")

    async def accept(self, session: Session, envelope: Envelope) -> str:
        match self._double.next("DOT"):
            case str(answer):
                if answer.startswith("421"):
                    self.loop.call_soon(self.transport.close)
                return answer
            case Fault() as fault:
                self._double.script["now"].append(fault)
                await self._next_fault("now")
        assert isinstance(envelope.content, bytes)
        assert envelope.mail_from is not None
        user = session.auth_data.login.decode() if session.auth_data else ""
        tls = bool(session.ssl) or self.transport.get_extra_info("sslcontext") is not None
        self._double.accepted.append(
            Accepted(
                envelope.mail_from, envelope.rcpt_tos[0], envelope.content, tuple(envelope.mail_options), tls, user
            )
        )
        match self._double.next("TAKEN"):
            case str(answer):
                return answer
            case Fault() as fault:
                self._double.script["now"].append(fault)
                await self._next_fault("now")
        return "250 2.0.0 Ok: queued"


def client_context() -> ssl.SSLContext:
    """Return a TLS context that trusts the double."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def certificate(*names: str) -> ssl.SSLContext:
    """Return a server context with a certificate for *names*."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(*names).configure_cert(context)
    return context


@contextmanager
def smtp_server(
    *, starttls: Sequence[str] = (), tls: Sequence[str] = (), receive_buffer: int | None = None, **offers: Any
) -> Iterator[SMTPDouble]:
    """Run a server, with a certificate for the given names, if any."""
    double = SMTPDouble(**offers)
    # Named as TCP, so that asyncio disables Nagle's algorithm like MTAs do.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind((double.host, 0))
    if receive_buffer:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    double.port = listening.getsockname()[1]
    options: dict[str, Any] = {"tls_context": certificate(*starttls)} if starttls else {}
    options["auth_require_tls"] = not tls
    loop = asyncio.new_event_loop()
    running = Event()

    async def serve() -> None:
        protocols: list[_Server] = []

        def protocol() -> _Server:
            protocols.append(_Server(double, loop=loop, **options))
            return protocols[-1]

        server = await loop.create_server(protocol, sock=listening, ssl=certificate(*tls) if tls else None)
        running.set()
        try:
            await double_stops.wait()
        finally:
            server.close()
            for one in protocols:
                if one.transport is not None:
                    one.transport.abort()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    double_stops = asyncio.Event()
    thread = Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    running.wait(10)
    try:
        yield double
    finally:
        loop.call_soon_threadsafe(double_stops.set)
        thread.join(10)
        loop.close()
