"""Hands emails to an SMTP server, one after the other over one connection."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from pydantic import SecretStr

from nurture.errors import Misconfigured
from nurture.mail.providers.base import Accepted, InDoubt, NotSent, Receipt, Rejected
from nurture.mail.providers.smtp.commands import CLOSING, Answer, Lost
from nurture.mail.providers.smtp.connection import Relay, Server, Unusable
from nurture.mail.providers.smtp.envelope import Letter, NotByThisServer, letter_for
from nurture.mail.rendering.mime import message_id
from nurture.mail.rendering.render import ComposedEmail

_LATER: Final = timedelta(minutes=1)
_QUOTA_LATER: Final = timedelta(hours=1)
_EMAILS_PER_CONNECTION: Final = 100
_LONGEST_CONNECTION: Final = timedelta(minutes=5)
_PATIENCE: Final = 3  # times the usual wait, for the one answer whose absence leaves a doubt
_QUOTA: Final = re.compile(r"\b5\.4\.5\b")
_NO_RELAY: Final = re.compile(r"\brelay", re.IGNORECASE)
_ABOUT_THE_EMAIL: Final = re.compile(r"\b5\.([23]\.[34]|6\.\d)\b")
_TOO_LARGE: Final = 552
_SIGN_IN: Final = frozenset({530, 538})


def _unobserved(_: str) -> None:
    """Let it pass."""


@dataclass(slots=True)
class _Turn:
    """What one call has met so far: senders refused, connections broken, a server that is down."""

    now: datetime
    looked: bool = False
    breaks: int = 0
    down: NotSent | None = None
    refused: dict[str, NotSent] = field(default_factory=dict)


class SMTP:
    """An SMTP server at *url*: smtp://user:password@host:587 (STARTTLS), or smtps:// (TLS, port 465).

    *timeout* is in seconds, for each answer. *observe* is told "bytes sent" when the last octet of an email
    is with the kernel, and "response read" after the answer to it. SMTP knows no message twice: sending a ref
    again delivers it again. Raises Misconfigured for a URL that is none.
    """

    name = "smtp"

    def __init__(
        self,
        url: SecretStr,
        *,
        timeout: float = 10.0,
        context: ssl.SSLContext | None = None,
        at_once: int = 1,
        observe: Callable[[str], None] = _unobserved,
    ) -> None:
        self.at_once = at_once
        self._server = Server.read(url)
        self._timeout = timeout
        self._context = context or ssl.create_default_context()
        self._observe = observe
        self._relay: Relay | None = None
        self._lock = Lock()

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Hand over each email of *batch*, dated *now* (aware); one receipt each, in order."""
        _refuse_naive(now)
        turn = _Turn(now)
        with self._lock:
            try:
                return [self._receipt(email, turn) for email in batch]
            except BaseException:
                self._drop()  # nobody knows what it would answer next
                raise

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Offer the envelope of *email*, and no more, on a connection of its own. Raises Misconfigured."""
        _refuse_naive(now)
        try:
            relay = Relay(self._server, self._timeout, self._context, now)
            try:
                fault = self._fault(relay, email, now)
            finally:
                relay.leave()
        except (Unusable, NotByThisServer) as error:
            fault = str(error)
        except Lost as error:
            fault = f"{self._server} {error}. Check NURTURE_SMTP_URL, or try again later."
        except (ValueError, LookupError) as error:
            fault = f"the test email cannot be written: {error}."
        if fault:
            raise Misconfigured(fault)

    def close(self) -> None:
        """Take leave of the server. The next email opens a new connection."""
        with self._lock:
            if self._relay is not None:
                self._relay.leave()
                self._relay = None

    def _receipt(self, email: ComposedEmail, turn: _Turn) -> Receipt:
        """Send one email, unless what came before it says that it cannot go now."""
        stopped = turn.down or turn.refused.get(email.sender.email)
        if stopped is not None:
            return stopped
        try:
            receipt = self._carry(self._ready(turn), email, turn)
        except Unusable as error:
            turn.down = NotSent(str(error), turn.now + _LATER, stops=True)
            return turn.down
        if self._relay is None:
            turn.breaks += 1
            if turn.breaks > 1:
                why = f"{self._server} breaks one connection after the other"
                turn.down = NotSent(why, turn.now + _LATER, stops=True)
                if isinstance(receipt, NotSent):
                    receipt = replace(receipt, retry_at=turn.now + _LATER, stops=True)
        return self._receipt(email, turn) if receipt is None else receipt

    def _ready(self, turn: _Turn) -> Relay:
        """Return a connection that is open, and between two emails."""
        relay = self._relay
        if relay is not None:
            old = abs(turn.now - relay.opened_at) >= _LONGEST_CONNECTION
            if old or relay.carried >= _EMAILS_PER_CONNECTION:
                relay.leave()
                self._relay = None
            elif (relay.begun or not turn.looked) and not _between_emails(relay):
                self._drop()
        turn.looked = True
        if self._relay is None:
            self._relay = Relay(self._server, self._timeout, self._context, turn.now)
        return self._relay

    def _carry(self, relay: Relay, email: ComposedEmail, turn: _Turn) -> Receipt | None:
        """Send one email; None says that a connection used before was gone before this email began."""
        try:
            letter = letter_for(relay, self._server, email, turn.now)
        except NotByThisServer as error:
            return self._stop_sender(str(error), email, turn)
        except (ValueError, LookupError) as error:
            return Rejected(f"{email.ref} cannot be written as an email: {error}")
        try:
            refused = self._offered(relay, letter, email, turn) or self._announced(relay, email, turn)
            if refused is not None:
                return refused
            midway = relay.hand_over(letter.content)
        except Lost as error:
            self._drop()
            if relay.carried and not relay.begun and not turn.breaks:
                return None
            return NotSent(_unnamed(f"{self._server} {error} before it had the whole email", email))
        if midway is not None:
            self._drop()  # it may take the rest of this email for commands
            return self._verdict(midway, email, turn)
        self._observe("bytes sent")
        return self._settled(relay, email, turn)

    def _offered(
        self, relay: Relay, letter: Letter, email: ComposedEmail, turn: _Turn
    ) -> NotSent | Rejected | None:
        """Say from whom and to whom; return a refusal."""
        together = relay.offers("pipelining") is not None
        relay.say(letter.mail + letter.rcpt if together else letter.mail)
        answer = relay.hear()
        if answer.kind != 2:
            if together:
                relay.hear()
            return self._sender_refused(answer, email, turn)
        relay.begun = True
        if not together:
            relay.say(letter.rcpt)
        answer = relay.hear()
        if answer.kind == 2:
            return None
        open_door = self._server.user is None and _NO_RELAY.search(answer.words)
        if answer.kind == 5 and (answer.code in _SIGN_IN or open_door):
            raise Unusable(self._asks_for_password(answer, email))
        return self._refusal(answer, email, turn)

    def _announced(self, relay: Relay, email: ComposedEmail, turn: _Turn) -> NotSent | Rejected | None:
        """Say that the email comes now; return a refusal."""
        relay.say(b"DATA\r\n")
        answer = relay.hear()
        return None if answer.kind == 3 else self._refusal(answer, email, turn)

    def _settled(self, relay: Relay, email: ComposedEmail, turn: _Turn) -> Receipt:
        """Wait for the one answer that counts."""
        try:
            answer = relay.hear_all_the_same(_PATIENCE)
        except Lost as error:
            self._drop()
            return InDoubt(f"{self._server} {error} after it had the whole email")
        self._observe("response read")
        relay.begun = False
        relay.carried += 1
        if answer.code == CLOSING or answer.kind not in (2, 4, 5):
            self._drop()
        return self._verdict(answer, email, turn)

    def _verdict(self, answer: Answer, email: ComposedEmail, turn: _Turn) -> Receipt:
        """Read the answer to a whole email."""
        if answer.kind == 2:
            return Accepted(message_id(email))
        if answer.kind not in (4, 5):
            return InDoubt(_unnamed(f"{self._server} answered the whole email out of turn: {answer}", email))
        return self._refusal(answer, email, turn)

    def _refusal(self, answer: Answer, email: ComposedEmail, turn: _Turn) -> NotSent | Rejected:
        if answer.kind == 4:
            return NotSent(_unnamed(f"{self._server} does not take it now: {answer}", email))
        if answer.kind != 5:
            raise Lost(f"answered out of turn: {answer}")
        if _QUOTA.search(answer.words):
            why = _unnamed(f"{self._server} takes no more for today: {answer}", email)
            turn.down = NotSent(why, turn.now + _QUOTA_LATER, stops=True)
            return turn.down
        return Rejected(_unnamed(f"{self._server} refuses it: {answer}", email))

    def _sender_refused(self, answer: Answer, email: ComposedEmail, turn: _Turn) -> NotSent | Rejected:
        if answer.code in _SIGN_IN:
            raise Unusable(self._asks_for_password(answer, email))
        if answer.kind != 5 or answer.code == _TOO_LARGE or _ABOUT_THE_EMAIL.search(answer.words):
            return self._refusal(answer, email, turn)
        return self._stop_sender(
            f"{self._server} refuses the sender {email.sender.email}: {answer}. "
            "Correct the sender in templates/defaults.yaml, or let the server allow it.",
            email,
            turn,
        )

    def _stop_sender(self, why: str, email: ComposedEmail, turn: _Turn) -> NotSent:
        stopped = NotSent(why, turn.now + _LATER, sender=True)
        turn.refused[email.sender.email] = stopped
        return stopped

    def _asks_for_password(self, answer: Answer, email: ComposedEmail) -> str:
        told = _unnamed(str(answer), email)
        if self._server.user is None:
            why, remedy = "carries no mail for strangers", "Add user and password to"
        else:
            why, remedy = "wants another way to sign in", "Check"
        return f"{self._server} {why}: {told}. {remedy} NURTURE_SMTP_URL."

    def _fault(self, relay: Relay, email: ComposedEmail, now: datetime) -> str | None:
        """Offer the envelope, take it back, and return what is wrong."""
        turn = _Turn(now)
        refused = self._offered(relay, letter_for(relay, self._server, email, now), email, turn)
        if isinstance(refused, NotSent) and refused.stops:
            return refused.why
        if isinstance(refused, Rejected) or (refused and not relay.begun):
            return f"{refused.why}. Check what the account in NURTURE_SMTP_URL may send, and to whom."
        _between_emails(relay)  # "later" to the recipient is what greylists say to everybody
        return None

    def _drop(self) -> None:
        if self._relay is not None:
            self._relay.drop()
            self._relay = None


def _refuse_naive(now: datetime) -> None:
    if now.tzinfo is None:
        raise ValueError(f"emails are dated with an aware time, not {now!r}")


def _between_emails(relay: Relay) -> bool:
    """Forget a half-offered email, and say whether the server still listens."""
    try:
        relay.say(b"RSET\r\n")
        relay.begun = relay.hear().kind != 2
    except Lost:
        return False
    return not relay.begun


def _unnamed(text: str, email: ComposedEmail) -> str:
    """Take the recipient out of what a server said: reasons are kept longer than addresses."""
    local, _, _ = email.to.email.rpartition("@")
    for name in (email.to.email, local):
        if len(name) > 2:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(...)", text, flags=re.IGNORECASE)
    return text
