"""Send emails to an SMTP server, one after the other on one connection."""

import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Final

from pydantic import SecretStr

from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.errors import Misconfigured
from nurture.mail.providers.smtp.commands import SERVICE_CLOSING, ConnectionLost, SmtpReply
from nurture.mail.providers.smtp.connection import SmtpConnection, SmtpServer, SmtpUnavailable
from nurture.mail.rendering.mime import build_message_id, build_mime, encode_address
from nurture.mail.rendering.render import ComposedEmail


class UnsupportedByServer(Exception):
    """The server lacks an extension that the sender's address needs."""


@dataclass(frozen=True, slots=True)
class SmtpMessage:
    """An email as SMTP commands and dot-stuffed content."""

    mail_command: bytes
    rcpt_command: bytes
    content: bytes


def build_smtp_message(
    connection: SmtpConnection, server: SmtpServer, email: ComposedEmail, now: datetime
) -> SmtpMessage:
    """Build *email* for the server's extensions. Raises ValueError or UnsupportedByServer."""
    content = build_mime(email, now, eight_bit=connection.extension_parameters("8bitmime") is not None)
    sender, to = encode_address(email.sender.email, "sender"), encode_address(email.to.email)
    reply_to = encode_address(email.reply_to.email, "reply address") if email.reply_to else ""
    return_path = encode_address(email.return_path, "return path") if email.return_path else sender
    ascii_only = (sender + to + reply_to + return_path).isascii()
    if not ascii_only and connection.extension_parameters("smtputf8") is None:
        if to.isascii():
            raise UnsupportedByServer(
                f"{server} accepts no address with non-ASCII letters before the @ (no SMTPUTF8). "
                "Correct the sender and reply_to in templates/defaults.yaml."
            )
        raise ValueError(
            f"the recipient's address has non-ASCII letters before the @, which {server} does not accept (no SMTPUTF8)"
        )
    size = connection.extension_parameters("size") or ""
    if size.isdigit() and 0 < int(size) < len(content):
        raise ValueError(f"it has {len(content):,} bytes; the limit of {server} is {int(size):,}")
    options = [
        f" SIZE={len(content)}" if connection.extension_parameters("size") is not None else "",
        "" if content.isascii() else " BODY=8BITMIME",
        "" if ascii_only else " SMTPUTF8",
    ]
    return SmtpMessage(
        mail_command=f"MAIL FROM:<{return_path}>{''.join(options)}\r\n".encode(),
        rcpt_command=f"RCPT TO:<{to}>\r\n".encode(),
        content=content.replace(b"\r\n.", b"\r\n..") + b".\r\n",
    )


_RETRY_AFTER: Final = timedelta(minutes=1)
_QUOTA_RETRY_AFTER: Final = timedelta(hours=1)
_MAX_EMAILS_PER_CONNECTION: Final = 100
_MAX_CONNECTION_AGE: Final = timedelta(minutes=5)
_FINAL_REPLY_TIMEOUT_FACTOR: Final = 3  # times the timeout: without the final reply the delivery is unknown
_QUOTA: Final = re.compile(r"\b5\.4\.5\b")
_RELAY_DENIED: Final = re.compile(r"\brelay", re.IGNORECASE)
_MESSAGE_STATUS: Final = re.compile(r"\b5\.([23]\.[34]|6\.\d)\b")
_TOO_LARGE: Final = 552
_AUTH_REQUIRED_CODES: Final = frozenset({530, 538})


def _ignore(_: str) -> None:
    """Ignore a progress event."""


@dataclass(slots=True)
class _BatchState:
    """The state of one `send` call: refused senders, lost connections, and why sending stopped."""

    now: datetime
    connection_checked: bool = False
    disconnects: int = 0
    stop_receipt: NotSent | None = None
    blocked_senders: dict[str, NotSent] = field(default_factory=dict)


class SmtpProvider:
    """An SMTP server at *url*: smtp://user:password@host:587 (STARTTLS), or smtps:// (TLS, port 465).

    *timeout* is in seconds per reply. *observe* is called with "bytes sent" when the kernel has the last byte of
    an email, and with "response read" after the reply to it. SMTP does not detect duplicates: an email sent
    twice is delivered twice. Raises Misconfigured for an invalid URL.
    """

    name = "smtp"

    def __init__(
        self,
        url: SecretStr,
        *,
        oauth: Path | None = None,
        timeout: float = 10.0,
        context: ssl.SSLContext | None = None,
        max_concurrency: int = 1,
        observe: Callable[[str], None] = _ignore,
    ) -> None:
        self.max_concurrency = max_concurrency
        self._server = SmtpServer.parse(url, oauth)
        self._timeout = timeout
        self._context = context or ssl.create_default_context()
        self._observe = observe
        self._connection: SmtpConnection | None = None
        self._lock = Lock()

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Send each email of *batch*, dated *now* (aware); return one receipt per email, in order."""
        _require_aware(now)
        state = _BatchState(now)
        with self._lock:
            try:
                return [self._send_unless_stopped(email, state) for email in batch]
            except BaseException:
                self._close_connection()  # its next reply may belong to the interrupted command
                raise

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Send only the envelope of *email*, on a separate connection. Raises Misconfigured."""
        _require_aware(now)
        try:
            connection = SmtpConnection(self._server, self._timeout, self._context, now)
            try:
                problem = self._find_envelope_problem(connection, email, now)
            finally:
                connection.quit()
        except (SmtpUnavailable, UnsupportedByServer) as error:
            problem = str(error)
        except ConnectionLost as error:
            problem = f"{self._server} {error}. Check NURTURE_SMTP_URL, or try again later."
        except (ValueError, LookupError) as error:
            problem = f"the test email is invalid: {error}."
        if problem:
            raise Misconfigured(problem)

    def close(self) -> None:
        """Close the connection. The next email opens a new one."""
        with self._lock:
            if self._connection is not None:
                self._connection.quit()
                self._connection = None

    def _send_unless_stopped(self, email: ComposedEmail, state: _BatchState) -> Receipt:
        """Send one email, unless an earlier receipt blocks it."""
        stop_receipt = state.stop_receipt or state.blocked_senders.get(email.sender.email)
        if stop_receipt is not None:
            return stop_receipt
        try:
            receipt = self._send_one(self._ready_connection(state), email, state)
        except SmtpUnavailable as error:
            state.stop_receipt = NotSent(str(error), state.now + _RETRY_AFTER, blocks_all=True)
            return state.stop_receipt
        if self._connection is None:
            state.disconnects += 1
            if state.disconnects > 1:
                reason = f"{self._server} closed several connections in a row"
                state.stop_receipt = NotSent(reason, state.now + _RETRY_AFTER, blocks_all=True)
                if isinstance(receipt, NotSent):
                    receipt = replace(receipt, retry_at=state.now + _RETRY_AFTER, blocks_all=True)
        return self._send_unless_stopped(email, state) if receipt is None else receipt

    def _ready_connection(self, state: _BatchState) -> SmtpConnection:
        """Return an open connection that is not in a transaction."""
        connection = self._connection
        if connection is not None:
            is_old = abs(state.now - connection.opened_at) >= _MAX_CONNECTION_AGE
            if is_old or connection.sent_count >= _MAX_EMAILS_PER_CONNECTION:
                connection.quit()
                self._connection = None
            elif (connection.in_transaction or not state.connection_checked) and not _reset_transaction(connection):
                self._close_connection()
        state.connection_checked = True
        if self._connection is None:
            self._connection = SmtpConnection(self._server, self._timeout, self._context, state.now)
        return self._connection

    def _send_one(self, connection: SmtpConnection, email: ComposedEmail, state: _BatchState) -> Receipt | None:
        """Send one email. Return None if a reused connection was lost before this email began."""
        try:
            message = build_smtp_message(connection, self._server, email, state.now)
        except UnsupportedByServer as error:
            return self._block_sender(str(error), email, state)
        except (ValueError, LookupError) as error:
            return Rejected(f"{email.ref} cannot be written as an email: {error}")
        try:
            refused = self._send_envelope(connection, message, email, state) or self._send_data_command(
                connection, email, state
            )
            if refused is not None:
                return refused
            early_reply = connection.send_content(message.content)
        except ConnectionLost as error:
            self._close_connection()
            if connection.sent_count and not connection.in_transaction and not state.disconnects:
                return None
            return NotSent(_redact_recipient(f"{self._server} {error} before it received the whole email", email))
        if early_reply is not None:
            self._close_connection()  # it may read the rest of this email as commands
            return self._receipt_for_final_reply(early_reply, email, state)
        self._observe("bytes sent")
        return self._read_final_reply(connection, email, state)

    def _send_envelope(
        self, connection: SmtpConnection, message: SmtpMessage, email: ComposedEmail, state: _BatchState
    ) -> NotSent | Rejected | None:
        """Send MAIL FROM and RCPT TO; return a refusal, if any."""
        pipelined = connection.extension_parameters("pipelining") is not None
        connection.send(message.mail_command + message.rcpt_command if pipelined else message.mail_command)
        reply = connection.receive()
        if reply.reply_class != 2:
            if pipelined:
                connection.receive()
            return self._receipt_for_sender_refusal(reply, email, state)
        connection.in_transaction = True
        if not pipelined:
            connection.send(message.rcpt_command)
        reply = connection.receive()
        if reply.reply_class == 2:
            return None
        relay_denied = self._server.user is None and _RELAY_DENIED.search(reply.text)
        if reply.reply_class == 5 and (reply.code in _AUTH_REQUIRED_CODES or relay_denied):
            raise SmtpUnavailable(self._describe_auth_required(reply, email))
        return self._receipt_for_refusal(reply, email, state)

    def _send_data_command(
        self, connection: SmtpConnection, email: ComposedEmail, state: _BatchState
    ) -> NotSent | Rejected | None:
        """Send DATA; return a refusal, if any."""
        connection.send(b"DATA\r\n")
        reply = connection.receive()
        return None if reply.reply_class == 3 else self._receipt_for_refusal(reply, email, state)

    def _read_final_reply(self, connection: SmtpConnection, email: ComposedEmail, state: _BatchState) -> Receipt:
        """Read the reply to the whole email and return the receipt."""
        try:
            reply = connection.receive_any(_FINAL_REPLY_TIMEOUT_FACTOR)
        except ConnectionLost as error:
            self._close_connection()
            return Unknown(f"{self._server} {error} after it received the whole email")
        self._observe("response read")
        connection.in_transaction = False
        connection.sent_count += 1
        if reply.code == SERVICE_CLOSING or reply.reply_class not in (2, 4, 5):
            self._close_connection()
        return self._receipt_for_final_reply(reply, email, state)

    def _receipt_for_final_reply(self, reply: SmtpReply, email: ComposedEmail, state: _BatchState) -> Receipt:
        """Return the receipt for the reply to a whole email."""
        if reply.reply_class == 2:
            return Accepted(build_message_id(email))
        if reply.reply_class not in (4, 5):
            return Unknown(
                _redact_recipient(f"{self._server} sent an unexpected reply to the whole email: {reply}", email)
            )
        return self._receipt_for_refusal(reply, email, state)

    def _receipt_for_refusal(self, reply: SmtpReply, email: ComposedEmail, state: _BatchState) -> NotSent | Rejected:
        if reply.reply_class == 4:
            return NotSent(_redact_recipient(f"{self._server} refused it for now: {reply}", email))
        if reply.reply_class != 5:
            raise ConnectionLost(f"sent an unexpected reply: {reply}")
        if _QUOTA.search(reply.text):
            reason = _redact_recipient(f"the daily limit of {self._server} is reached: {reply}", email)
            state.stop_receipt = NotSent(reason, state.now + _QUOTA_RETRY_AFTER, blocks_all=True)
            return state.stop_receipt
        return Rejected(_redact_recipient(f"{self._server} refused it: {reply}", email))

    def _receipt_for_sender_refusal(
        self, reply: SmtpReply, email: ComposedEmail, state: _BatchState
    ) -> NotSent | Rejected:
        if reply.code in _AUTH_REQUIRED_CODES:
            raise SmtpUnavailable(self._describe_auth_required(reply, email))
        if reply.reply_class != 5 or reply.code == _TOO_LARGE or _MESSAGE_STATUS.search(reply.text):
            return self._receipt_for_refusal(reply, email, state)
        if email.return_path:
            domain = email.return_path.rpartition("@")[2]
            problem = f"refuses envelope senders at {domain}, to which it would return bounces: {reply}"
            remedy = f"Allow {domain} on the server for this account, or unset NURTURE_REPLY_DOMAIN."
        else:
            problem = f"refuses the sender {email.sender.email}: {reply}"
            remedy = "Correct the sender in templates/defaults.yaml, or allow it on the server."
        return self._block_sender(f"{self._server} {problem}. {remedy}", email, state)

    def _block_sender(self, reason: str, email: ComposedEmail, state: _BatchState) -> NotSent:
        receipt = NotSent(reason, state.now + _RETRY_AFTER, blocks_sender=True)
        state.blocked_senders[email.sender.email] = receipt
        return receipt

    def _describe_auth_required(self, reply: SmtpReply, email: ComposedEmail) -> str:
        reply_text = _redact_recipient(str(reply), email)
        if self._server.user is None:
            reason, remedy = "requires authentication", "Add user and password to"
        else:
            reason, remedy = "requires another authentication", "Check"
        return f"{self._server} {reason}: {reply_text}. {remedy} NURTURE_SMTP_URL."

    def _find_envelope_problem(self, connection: SmtpConnection, email: ComposedEmail, now: datetime) -> str | None:
        """Send the envelope, reset it, and return the problem, if any."""
        state = _BatchState(now)
        refused = self._send_envelope(
            connection, build_smtp_message(connection, self._server, email, now), email, state
        )
        if isinstance(refused, NotSent) and refused.blocks_all:
            return refused.reason
        if isinstance(refused, Rejected) or (refused and not connection.in_transaction):
            return f"{refused.reason}. Check the sending permissions of the account in NURTURE_SMTP_URL."
        _reset_transaction(connection)  # a temporary refusal of the recipient is greylisting, not a problem
        return None

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _require_aware(now: datetime) -> None:
    if now.tzinfo is None:
        raise ValueError(f"*now* must be timezone-aware, not {now!r}")


def _reset_transaction(connection: SmtpConnection) -> bool:
    """Send RSET; return whether the connection is still usable."""
    try:
        connection.send(b"RSET\r\n")
        connection.in_transaction = connection.receive().reply_class != 2
    except ConnectionLost:
        return False
    return not connection.in_transaction


def _redact_recipient(text: str, email: ComposedEmail) -> str:
    """Remove the recipient from a server's text: reasons are kept longer than addresses."""
    local, _, _ = email.to.email.rpartition("@")
    for name in (email.to.email, local):
        if len(name) > 2:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(...)", text, flags=re.IGNORECASE)
    return text
