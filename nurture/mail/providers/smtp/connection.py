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

from nurture.domain.address import normalise_address
from nurture.errors import Misconfigured
from nurture.mail.providers.smtp.commands import CLOSING, Answer, Line, Lost, TlsLine, in_one_line, why_lost

_CHUNK: Final = 65_536  # octets handed over at a time, so that a slow line has its time for each
_GOODBYE: Final = 2.0  # seconds for the answer to QUIT, which changes nothing
_CHECK_WHERE: Final = "Check the host and the port in NURTURE_SMTP_URL."
_NOT_A_SERVER: Final = (
    "NURTURE_SMTP_URL is set, but it must look like smtp://user:password@smtp.example.com:587, "
    "with special characters in user and password percent-encoded: "
    "%40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for %."
)


class Unusable(Exception):
    """The server takes nothing from us at all: it cannot be reached, or the set-up is wrong."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed over. *tls* from the first octet on, or by STARTTLS."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: SecretStr | None

    @classmethod
    def read(cls, url: SecretStr) -> Self:
        """Read smtp://user:password@host:587 or smtps://...:465. Raises Misconfigured, without the value."""
        server = _parsed(url)
        if server is None:  # raised here, and so without the frame that knew the password
            raise Misconfigured(_NOT_A_SERVER)
        return cls(*server)

    @property
    def is_here(self) -> bool:
        """Say whether it runs on this machine, where nobody listens on the line."""
        return self.host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", self.host))

    def __str__(self) -> str:
        """Name it as a person does."""
        return f"{self.host}:{self.port}"


def _parsed(url: SecretStr) -> tuple[str, int, bool, str | None, SecretStr | None] | None:
    """Take the URL of a server apart, None where it is not one."""
    whole = url.get_secret_value().strip()
    try:
        parts = urlsplit(whole)
        port = parts.port
    except ValueError:  # its message may hold a piece of the password
        return None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or port == 0:
        return None
    if parts.netloc.count("@") > 1 or parts.path not in ("", "/") or {"?", "#"} & set(whole):
        return None  # a piece of the password would pass for the host, and be shown and looked up
    if bool(parts.username) != bool(parts.password):
        return None
    tls = parts.scheme == "smtps"
    return (
        normalise_address(f"@{unquote(parts.hostname)}")[1:],
        port or (465 if tls else 587),
        tls,
        unquote(parts.username) if parts.username else None,
        SecretStr(unquote(parts.password)) if parts.password else None,
    )


class Relay:
    """An open conversation, past TLS and signing in. Opening it raises Unusable.

    *carried* counts its emails, *begun* says that it is amid one, *opened_at* is the caller's time.
    """

    def __init__(self, server: Server, timeout: float, context: ssl.SSLContext, opened_at: datetime) -> None:
        self.carried = 0
        self.begun = False
        self.opened_at = opened_at
        self._server = server
        self._timeout = timeout
        self._smtp = _connected(server, timeout, context)
        try:
            fault = self._introduced(context) or self._signed_in()
        except Lost as error:
            fault = f"{server} {error}. {_CHECK_WHERE}"
        except ssl.SSLError as error:
            fault = _tls_fault(server, error)
        except OSError as error:  # smtplib's own errors are among them
            fault = f"{server} cannot be used: {_reason(error)}. {_CHECK_WHERE}"
        except BaseException:
            self.drop()
            raise
        if fault:  # raised here, and so without the frames that knew the password
            self.drop()
            raise Unusable(fault)

    def offers(self, extension: str) -> str | None:
        """Return the parameters of an SMTP extension (named in lower case), None where there is none."""
        return self._smtp.esmtp_features.get(extension)

    def say(self, line: bytes | memoryview) -> None:
        """Send a command, or a piece of an email. Raises Lost."""
        if self._smtp.sock is None:
            raise Lost("closed the connection")
        try:
            self._smtp.sock.sendall(line)
        except OSError as error:
            raise Lost(why_lost(error, self._timeout)) from None

    def hear(self) -> Answer:
        """Wait for one answer. Raises Lost, also for 421, with which a server takes its leave."""
        answer = self.hear_all_the_same()
        if answer.code == CLOSING:
            raise Lost(f"ended the conversation: {answer}")
        return answer

    def hear_all_the_same(self, patience: float = 1) -> Answer:
        """Wait for one answer, whatever it is, *patience* times as long as usual. Raises Lost."""
        code, words = self._smtp.reply_within(self._timeout * patience)
        return Answer(code, in_one_line(words))

    def hand_over(self, content: bytes) -> Answer | None:
        """Give *content* to the kernel to its last octet, or return why the server would not have it.

        Raises Lost. In both cases the last octet has not left.
        """
        whole = memoryview(content)
        try:
            for start in range(0, len(whole), _CHUNK):
                self.say(whole[start : start + _CHUNK])
        except Lost:
            # A server that wants no more may have said why before it closed.
            answer = None
            with suppress(Lost):
                answer = self.hear_all_the_same()
            if answer is None or answer.kind not in (4, 5):
                raise
            return answer
        return None

    def leave(self) -> None:
        """Say goodbye and close."""
        with suppress(Lost):
            self.say(b"QUIT\r\n")
            self._smtp.reply_within(min(self._timeout, _GOODBYE))
        self.drop()

    def drop(self) -> None:
        """Close at once."""
        with suppress(OSError):
            self._smtp.close()

    def _introduced(self, context: ssl.SSLContext) -> str | None:
        """Greet, and start TLS. Return what stands in the way."""
        smtp, server = self._smtp, self._server
        smtp.ehlo_or_helo_if_needed()
        if server.tls:
            return None
        if smtp.has_extn("starttls"):
            smtp.starttls(context=context)
            smtp.ehlo_or_helo_if_needed()
        elif not server.is_here:
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

    def _signed_in(self) -> str | None:
        """Sign in, where the URL says as whom. Return what stands in the way, never the password."""
        server = self._server
        if server.user is None or server.password is None:
            return None
        mechanisms = (self.offers("auth") or "").upper().split()
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
            self.say(line + b"\r\n")
            answer = self.hear()
            if answer.kind != 3:
                break
        if answer.kind == 2:
            return None
        said = str(answer)  # some servers repeat what they got
        for secret in (password, *(line.removeprefix(b"AUTH PLAIN ") for line in lines)):
            said = said.replace(secret.decode(), "(...)")
        if answer.kind == 4:
            return f"{server} cannot check the password now: {said}. Nothing is wrong with NURTURE_SMTP_URL."
        return f"{server} refuses user or password: {said}. Correct them in NURTURE_SMTP_URL."


def _connected(server: Server, timeout: float, context: ssl.SSLContext) -> Line:
    """Open the line, and wait for the greeting."""
    try:
        # A name of its own spares smtplib a search in DNS, which may take seconds; the true one comes next.
        if server.tls:
            smtp: Line = TlsLine(server.host, server.port, "localhost", timeout=timeout, context=context)
        else:
            smtp = Line(server.host, server.port, "localhost", timeout=timeout)
    except Lost as error:
        more = "" if server.tls else " Where TLS comes first (port 465), write smtps:// there."
        raise Unusable(f"{server} {error} instead of a greeting. {_CHECK_WHERE}{more}") from None
    except ssl.SSLError as error:
        raise Unusable(_tls_fault(server, error)) from None
    except smtplib.SMTPResponseException as error:
        raise Unusable(f"{server} turns nurture away: {_reason(error)}.") from None
    except (socket.gaierror, UnicodeError):
        raise Unusable(f"{server.host} cannot be found. Check the host in NURTURE_SMTP_URL.") from None
    except OSError as error:
        raise Unusable(f"{server} cannot be reached: {_reason(error)}. {_CHECK_WHERE}") from None
    if smtp.sock is not None:
        # Else the end of each email waits for the acknowledgement of what came before.
        smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        smtp.local_hostname = _our_name(smtp.sock.getsockname()[0])
    return smtp


def _our_name(address: str) -> str:
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _tls_fault(server: Server, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return (
            f"{server} shows a certificate that does not prove who it is: {why}. "
            "Check the host in NURTURE_SMTP_URL: it must be the name on the server's certificate."
        )
    why = (error.reason or "no reason given").replace("_", " ").lower()
    return (
        f"{server} cannot start TLS: {why}. "
        "Check the port in NURTURE_SMTP_URL: smtp:// (STARTTLS) goes with 587, smtps:// with 465."
    )


def _reason(error: OSError) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        words = error.smtp_error
        return str(
            Answer(error.smtp_code, in_one_line(words if isinstance(words, bytes) else words.encode()))
        )
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error)).rstrip(".")
