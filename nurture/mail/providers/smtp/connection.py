"""One connection to an SMTP server: address, TLS, authentication and replies."""

import re
import smtplib
import socket
import ssl
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from nurture.domain.address import normalize_address
from nurture.errors import Misconfigured, NurtureError
from nurture.mail.oauth import AccessTokens
from nurture.mail.providers.smtp.commands import (
    SERVICE_CLOSING,
    ConnectionLost,
    SmtpReply,
    SmtpStream,
    TlsSmtpStream,
    describe_disconnect,
    sanitize_reply,
)

_CHUNK_BYTES: Final = 65_536  # bytes per send, so that the timeout applies to each chunk on a slow connection
_QUIT_TIMEOUT: Final = 2.0  # seconds for the reply to QUIT, which changes nothing
_CHECK_HOST_AND_PORT: Final = "Check the host and the port in NURTURE_SMTP_URL."
_INVALID_URL: Final = (
    "NURTURE_SMTP_URL must look like smtp://user:password@smtp.example.com:587, "
    "with special characters in user and password percent-encoded: "
    "%40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for %."
)
_URL_WITH_OAUTH: Final = (
    "NURTURE_SMTP_OAUTH is set, so NURTURE_SMTP_URL must have a user and no password: "
    "smtp://user%40example.com@smtp.example.com:587."
)


class SmtpUnavailable(Exception):
    """The server cannot be used: it is unreachable, or the settings are wrong."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The address and login of an SMTP server. *tls*: implicit TLS; otherwise STARTTLS."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: SecretStr | None
    tokens: AccessTokens | None = None

    @classmethod
    def parse(cls, url: SecretStr, oauth: Path | None = None) -> Self:
        """Parse smtp://user:password@host:587 or smtps://...:465; with the file *oauth*, it has no password.

        Raises Misconfigured, without the value.
        """
        parts = _parse_url(url, with_password=oauth is None)
        if parts is None:  # raised here so that the traceback omits the frame with the password
            raise Misconfigured(_INVALID_URL if oauth is None else _URL_WITH_OAUTH)
        return cls(*parts, AccessTokens(oauth) if oauth is not None else None)

    @property
    def is_local(self) -> bool:
        """Return whether the server runs on this machine, so that clear text cannot be intercepted."""
        return self.host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", self.host))

    def __str__(self) -> str:
        """Return host and port."""
        return f"{self.host}:{self.port}"


def _parse_url(url: SecretStr, *, with_password: bool) -> tuple[str, int, bool, str | None, SecretStr | None] | None:
    """Parse the URL of a server; return None if it is invalid. Without a password, a user is required."""
    text = url.get_secret_value().strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # its message may contain part of the password
        return None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or port == 0:
        return None
    if parts.netloc.count("@") > 1 or parts.path not in ("", "/") or {"?", "#"} & set(text):
        return None  # part of the password would be taken for the host, displayed and resolved
    if with_password and bool(parts.username) != bool(parts.password):
        return None
    if not with_password and (parts.password or not parts.username):
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
    """An open, authenticated connection. The constructor raises SmtpUnavailable.

    *sent_count* counts the emails sent on it, *in_transaction* is True between MAIL FROM and the final reply,
    *opened_at* is the caller's time.
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
        if problem:  # raised here so that the traceback omits the frames with the password
            self.close()
            raise SmtpUnavailable(problem)

    def extension_parameters(self, extension: str) -> str | None:
        """Return the parameters of an SMTP extension (name in lower case), or None if it is not offered."""
        return self._stream.esmtp_features.get(extension)

    def send(self, data: bytes | memoryview) -> None:
        """Send a command or part of an email. Raises ConnectionLost."""
        if self._stream.sock is None:
            raise ConnectionLost("closed the connection")
        try:
            self._stream.sock.sendall(data)
        except OSError as error:
            raise ConnectionLost(describe_disconnect(error, self._timeout)) from None

    def receive(self) -> SmtpReply:
        """Read one reply. Raises ConnectionLost, also for 421 (service closing)."""
        reply = self.receive_any()
        if reply.code == SERVICE_CLOSING:
            raise ConnectionLost(f"ended the session: {reply}")
        return reply

    def receive_any(self, timeout_factor: float = 1) -> SmtpReply:
        """Read one reply of any kind within *timeout_factor* times the timeout. Raises ConnectionLost."""
        code, text = self._stream.read_reply(self._timeout * timeout_factor)
        return SmtpReply(code, sanitize_reply(text))

    def send_content(self, content: bytes) -> SmtpReply | None:
        """Pass all of *content* to the kernel, or return the server's early refusal.

        Raises ConnectionLost. After a refusal or an error, the last byte was not sent.
        """
        view = memoryview(content)
        try:
            for start in range(0, len(view), _CHUNK_BYTES):
                self.send(view[start : start + _CHUNK_BYTES])
        except ConnectionLost:
            # A server may send the reason before it closes.
            reply = None
            with suppress(ConnectionLost):
                reply = self.receive_any()
            if reply is None or reply.reply_class not in (4, 5):
                raise
            return reply
        return None

    def quit(self) -> None:
        """Send QUIT and close."""
        with suppress(ConnectionLost):
            self.send(b"QUIT\r\n")
            self._stream.read_reply(min(self._timeout, _QUIT_TIMEOUT))
        self.close()

    def close(self) -> None:
        """Close without QUIT."""
        with suppress(OSError):
            self._stream.close()

    def _negotiate_tls(self, context: ssl.SSLContext) -> str | None:
        """Send EHLO and start TLS. Return the problem, if any."""
        stream, server = self._stream, self._server
        stream.ehlo_or_helo_if_needed()
        if server.tls:
            return None
        if stream.has_extn("starttls"):
            stream.starttls(context=context)
            stream.ehlo_or_helo_if_needed()
        elif not server.is_local:
            return (
                f"{server} does not offer STARTTLS, and nurture sends no mail unencrypted. "
                "Check the port in NURTURE_SMTP_URL, or use smtps:// for implicit TLS (port 465)."
            )
        elif server.user is not None:
            return (
                f"{server} does not offer STARTTLS, and nurture sends no password unencrypted. "
                "Remove user and password from NURTURE_SMTP_URL, or enable STARTTLS on the server."
            )
        return None

    def _authenticate(self) -> str | None:
        """Authenticate if the URL names a user. Return the problem, if any, without the password."""
        server = self._server
        mechanisms = (self.extension_parameters("auth") or "").upper().split()
        if server.user is not None and server.tokens is not None:
            return self._authenticate_by_token(server.user, server.tokens, mechanisms)
        if server.user is None or server.password is None:
            return None
        user, password = server.user.encode(), server.password.get_secret_value().encode()
        if "PLAIN" in mechanisms:
            lines = [b"AUTH PLAIN " + b64encode(b"\0" + user + b"\0" + password)]
        elif "LOGIN" in mechanisms:
            lines = [b"AUTH LOGIN", b64encode(user), b64encode(password)]
        else:
            offered = ", ".join(mechanisms) or "none"
            return (
                f"{server} offers no supported authentication (PLAIN, LOGIN; it offers {offered}). "
                "Check the host and the port in NURTURE_SMTP_URL, or remove user and password from it."
            )
        for line in lines:
            self.send(line + b"\r\n")
            reply = self.receive()
            if reply.reply_class != 3:
                break
        if reply.reply_class == 2:
            return None
        reply_text = str(reply)  # some servers echo the command
        for secret in (password, *(line.removeprefix(b"AUTH PLAIN ") for line in lines)):
            reply_text = reply_text.replace(secret.decode(), "(...)")
        if reply.reply_class == 4:
            return f"{server} cannot check the password now: {reply_text}. Try again later."
        return f"{server} refuses user or password: {reply_text}. Correct them in NURTURE_SMTP_URL."

    def _authenticate_by_token(self, user: str, tokens: AccessTokens, mechanisms: list[str]) -> str | None:
        """Authenticate by XOAUTH2. Return the problem, if any, without the token."""
        server = self._server
        if "XOAUTH2" not in mechanisms:
            offered = ", ".join(mechanisms) or "none"
            return f"{server} offers no XOAUTH2 (it offers {offered}). Unset NURTURE_SMTP_OAUTH, or check the host."
        try:
            token = tokens.response(user)
        except NurtureError as error:
            return str(error)
        self.send(b"AUTH XOAUTH2 " + b64encode(token) + b"\r\n")
        reply = self.receive()
        if reply.reply_class == 3:  # the reason, as JSON in base64; the refusal follows an empty line
            self.send(b"\r\n")
            reply = self.receive()
        if reply.reply_class == 2:
            return None
        tokens.forget()
        return (
            f"{server} refuses the access token: {reply.code}. Allow the application to send for the user "
            "in NURTURE_SMTP_URL, and check `scope` in the file that NURTURE_SMTP_OAUTH names."
        )


def _open_stream(server: SmtpServer, timeout: float, context: ssl.SSLContext) -> SmtpStream:
    """Connect and read the greeting. Raises SmtpUnavailable."""
    try:
        # "localhost" keeps smtplib from a DNS lookup that may take seconds; the real name is set below.
        if server.tls:
            stream: SmtpStream = TlsSmtpStream(server.host, server.port, "localhost", timeout=timeout, context=context)
        else:
            stream = SmtpStream(server.host, server.port, "localhost", timeout=timeout)
    except ConnectionLost as error:
        hint = "" if server.tls else " For implicit TLS (port 465), use smtps://."
        raise SmtpUnavailable(f"{server} {error} instead of a greeting. {_CHECK_HOST_AND_PORT}{hint}") from None
    except ssl.SSLError as error:
        raise SmtpUnavailable(_describe_tls_error(server, error)) from None
    except smtplib.SMTPResponseException as error:
        raise SmtpUnavailable(f"{server} refuses the connection: {_describe_error(error)}.") from None
    except (socket.gaierror, UnicodeError):
        raise SmtpUnavailable(f"{server.host} cannot be found. Check the host in NURTURE_SMTP_URL.") from None
    except OSError as error:
        raise SmtpUnavailable(f"{server} cannot be reached: {_describe_error(error)}. {_CHECK_HOST_AND_PORT}") from None
    if stream.sock is not None:
        # With Nagle's algorithm, the end of each email waits for the acknowledgment of the previous packet.
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
            f"{server} has a certificate that cannot be verified: {reason}. "
            "Check the host in NURTURE_SMTP_URL: it must be the name on the server's certificate."
        )
    reason = (error.reason or "no reason given").replace("_", " ").lower()
    return (
        f"{server} cannot start TLS: {reason}. "
        "Check the port in NURTURE_SMTP_URL: 587 for smtp:// (STARTTLS), 465 for smtps://."
    )


def _describe_error(error: OSError) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return str(SmtpReply(error.smtp_code, sanitize_reply(text if isinstance(text, bytes) else text.encode())))
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror or str(error)).rstrip(".")
