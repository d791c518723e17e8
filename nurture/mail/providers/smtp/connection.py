"""One connection to an SMTP server: where it is, TLS, signing in, and what it answers."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from nurture.domain.address import normalize_address
from nurture.errors import Misconfigured
from nurture.mail.providers.smtp.commands import (
    SERVICE_CLOSING,
    ConnectionLost,
    SmtpReply,
    SmtpStream,
    TlsSmtpStream,
    describe_disconnect,
    sanitize_reply,
)

_CHUNK_BYTES: Final = 65_536  # octets handed over at a time, so that a slow line has its time for each
_QUIT_TIMEOUT: Final = 2.0  # seconds for the answer to QUIT, which changes nothing
_CHECK_HOST_AND_PORT: Final = "Check the host and the port in NURTURE_SMTP_URL."
_INVALID_URL: Final = (
    "NURTURE_SMTP_URL is set, but it must look like smtp://user:password@smtp.example.com:587, "
    "with special characters in user and password percent-encoded: "
    "%40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for %."
)


class SmtpUnavailable(Exception):
    """The server takes nothing from us at all: it cannot be reached, or the set-up is wrong."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed over. *tls* from the first octet on, or by STARTTLS."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: SecretStr | None

    @classmethod
    def parse(cls, url: SecretStr) -> Self:
        """Read smtp://user:password@host:587 or smtps://...:465. Raises Misconfigured, without the value."""
        parts = _parse_url(url)
        if parts is None:  # raised here, and so without the frame that knew the password
            raise Misconfigured(_INVALID_URL)
        return cls(*parts)

    @property
    def is_local(self) -> bool:
        """Say whether it runs on this machine, where nobody listens on the line."""
        return self.host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", self.host))

    def __str__(self) -> str:
        """Name it as a person does."""
        return f"{self.host}:{self.port}"


def _parse_url(url: SecretStr) -> tuple[str, int, bool, str | None, SecretStr | None] | None:
    """Take the URL of a server apart, None where it is not one."""
    text = url.get_secret_value().strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # its message may hold a piece of the password
        return None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or port == 0:
        return None
    if parts.netloc.count("@") > 1 or parts.path not in ("", "/") or {"?", "#"} & set(text):
        return None  # a piece of the password would pass for the host, and be shown and looked up
    if bool(parts.username) != bool(parts.password):
        return None
    tls = parts.scheme == "smtps"
    return (
        normalize_address(f"@{unquote(parts.hostname)}")[1:],
        port or (465 if tls else 587),
        tls,
        unquote(parts.username) if parts.username else None,
        SecretStr(unquote(parts.password)) if parts.password else None,
    )


class SmtpConnection:
    """An open conversation, past TLS and signing in. Opening it raises SmtpUnavailable.

    *sent_count* counts its emails, *in_transaction* says that it is amid one, *opened_at* is
    the caller's time.
    """

    def __init__(self, server: SmtpServer, timeout: float, context: ssl.SSLContext, opened_at: datetime) -> None:
        self.sent_count = 0
        self.in_transaction = False
        self.opened_at = opened_at
        self._server = server
        self._timeout = timeout
        self._stream = _open_stream(server, timeout, context)
        try:
            problem = self._negotiate_tls(context) or self._authenticate()
        except ConnectionLost as error:
            problem = f"{server} {error}. {_CHECK_HOST_AND_PORT}"
        except ssl.SSLError as error:
            problem = _describe_tls_error(server, error)
        except OSError as error:  # smtplib's own errors are among them
            problem = f"{server} cannot be used: {_describe_error(error)}. {_CHECK_HOST_AND_PORT}"
        except BaseException:
            self.close()
            raise
        if problem:  # raised here, and so without the frames that knew the password
            self.close()
            raise SmtpUnavailable(problem)

    def extension_parameters(self, extension: str) -> str | None:
        """Return the parameters of an SMTP extension (named in lower case), None where there is none."""
        return self._stream.esmtp_features.get(extension)

    def send(self, data: bytes | memoryview) -> None:
        """Send a command, or a piece of an email. Raises ConnectionLost."""
        if self._stream.sock is None:
            raise ConnectionLost("closed the connection")
        try:
            self._stream.sock.sendall(data)
        except OSError as error:
            raise ConnectionLost(describe_disconnect(error, self._timeout)) from None

    def receive(self) -> SmtpReply:
        """Wait for one answer. Raises ConnectionLost, also for 421, with which a server takes its leave."""
        reply = self.receive_any()
        if reply.code == SERVICE_CLOSING:
            raise ConnectionLost(f"ended the conversation: {reply}")
        return reply

    def receive_any(self, timeout_factor: float = 1) -> SmtpReply:
        """Wait *timeout_factor* times as long as usual for one answer of any kind. Raises ConnectionLost."""
        code, text = self._stream.read_reply(self._timeout * timeout_factor)
        return SmtpReply(code, sanitize_reply(text))

    def send_content(self, content: bytes) -> SmtpReply | None:
        """Give *content* to the kernel to its last octet, or return why the server would not have it.

        Raises ConnectionLost. In both cases the last octet has not left.
        """
        view = memoryview(content)
        try:
            for start in range(0, len(view), _CHUNK_BYTES):
                self.send(view[start : start + _CHUNK_BYTES])
        except ConnectionLost:
            # A server that wants no more may have said why before it closed.
            reply = None
            with suppress(ConnectionLost):
                reply = self.receive_any()
            if reply is None or reply.reply_class not in (4, 5):
                raise
            return reply
        return None

    def quit(self) -> None:
        """Say goodbye and close."""
        with suppress(ConnectionLost):
            self.send(b"QUIT\r\n")
            self._stream.read_reply(min(self._timeout, _QUIT_TIMEOUT))
        self.close()

    def close(self) -> None:
        """Close at once."""
        with suppress(OSError):
            self._stream.close()

    def _negotiate_tls(self, context: ssl.SSLContext) -> str | None:
        """Greet, and start TLS. Return what stands in the way."""
        stream, server = self._stream, self._server
        stream.ehlo_or_helo_if_needed()
        if server.tls:
            return None
        if stream.has_extn("starttls"):
            stream.starttls(context=context)
            stream.ehlo_or_helo_if_needed()
        elif not server.is_local:
            return (
                f"{server} offers no TLS (STARTTLS), and mail does not travel in clear. "
                "Check the port in NURTURE_SMTP_URL, or write smtps:// where TLS comes first (port 465)."
            )
        elif server.user is not None:
            return (
                f"{server} offers no TLS (STARTTLS), and a password does not travel in clear. "
                "Leave user and password out of NURTURE_SMTP_URL, or let the server offer TLS."
            )
        return None

    def _authenticate(self) -> str | None:
        """Sign in, where the URL says as whom. Return what stands in the way, never the password."""
        server = self._server
        if server.user is None or server.password is None:
            return None
        mechanisms = (self.extension_parameters("auth") or "").upper().split()
        user, password = server.user.encode(), server.password.get_secret_value().encode()
        if "PLAIN" in mechanisms:
            lines = [b"AUTH PLAIN " + b64encode(b"\0" + user + b"\0" + password)]
        elif "LOGIN" in mechanisms:
            lines = [b"AUTH LOGIN", b64encode(user), b64encode(password)]
        else:
            offered = ", ".join(mechanisms) or "none"
            return (
                f"{server} offers no way to sign in that nurture knows (PLAIN, LOGIN; it offers {offered}). "
                "Check the host and the port in NURTURE_SMTP_URL, or leave user and password out of it."
            )
        for line in lines:
            self.send(line + b"\r\n")
            reply = self.receive()
            if reply.reply_class != 3:
                break
        if reply.reply_class == 2:
            return None
        reply_text = str(reply)  # some servers repeat what they got
        for secret in (password, *(line.removeprefix(b"AUTH PLAIN ") for line in lines)):
            reply_text = reply_text.replace(secret.decode(), "(...)")
        if reply.reply_class == 4:
            return f"{server} cannot check the password now: {reply_text}. Nothing is wrong with NURTURE_SMTP_URL."
        return f"{server} refuses user or password: {reply_text}. Correct them in NURTURE_SMTP_URL."


def _open_stream(server: SmtpServer, timeout: float, context: ssl.SSLContext) -> SmtpStream:
    """Open the line, and wait for the greeting."""
    try:
        # A name of its own spares smtplib a search in DNS, which may take seconds; the true one comes next.
        if server.tls:
            stream: SmtpStream = TlsSmtpStream(server.host, server.port, "localhost", timeout=timeout, context=context)
        else:
            stream = SmtpStream(server.host, server.port, "localhost", timeout=timeout)
    except ConnectionLost as error:
        hint = "" if server.tls else " Where TLS comes first (port 465), write smtps:// there."
        raise SmtpUnavailable(f"{server} {error} instead of a greeting. {_CHECK_HOST_AND_PORT}{hint}") from None
    except ssl.SSLError as error:
        raise SmtpUnavailable(_describe_tls_error(server, error)) from None
    except smtplib.SMTPResponseException as error:
        raise SmtpUnavailable(f"{server} turns nurture away: {_describe_error(error)}.") from None
    except (socket.gaierror, UnicodeError):
        raise SmtpUnavailable(f"{server.host} cannot be found. Check the host in NURTURE_SMTP_URL.") from None
    except OSError as error:
        raise SmtpUnavailable(f"{server} cannot be reached: {_describe_error(error)}. {_CHECK_HOST_AND_PORT}") from None
    if stream.sock is not None:
        # Else the end of each email waits for the acknowledgement of what came before.
        stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.local_hostname = _helo_name(stream.sock.getsockname()[0])
    return stream


def _helo_name(address: str) -> str:
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _describe_tls_error(server: SmtpServer, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        return (
            f"{server} shows a certificate that does not prove who it is: {reason}. "
            "Check the host in NURTURE_SMTP_URL: it must be the name on the server's certificate."
        )
    reason = (error.reason or "no reason given").replace("_", " ").lower()
    return (
        f"{server} cannot start TLS: {reason}. "
        "Check the port in NURTURE_SMTP_URL: smtp:// (STARTTLS) goes with 587, smtps:// with 465."
    )


def _describe_error(error: OSError) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return str(SmtpReply(error.smtp_code, sanitize_reply(text if isinstance(text, bytes) else text.encode())))
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error)).rstrip(".")
