"""Carries emails away by SendGrid's Mail Send (v3), one request each."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import datetime, timedelta
from ssl import SSLContext
from threading import Lock
from typing import Any, Final, TypeVar

import yarl
from pydantic import SecretStr

from nurture.errors import Misconfigured
from nurture.mail.providers.base import Accepted, InDoubt, NotSent, OptedOut, Receipt, Rejected
from nurture.mail.providers.sendgrid.http_client import Dial, Line
from nurture.mail.providers.sendgrid.payload import Account, Unfit, payload_bytes
from nurture.mail.providers.sendgrid.responses import KEY, URL, Answer, judge
from nurture.mail.providers.sendgrid.suppression_lists import opted_out
from nurture.mail.rendering.render import ComposedEmail

T = TypeVar("T")

PATH: Final = "/v3/mail/send"
MOST_TROUBLE: Final = 5
TROUBLE_PAUSE: Final = timedelta(seconds=60)
_WRITABLE: Final = re.compile(r"[\x21-\x7e]++")


class SendGrid:
    """SendGrid at *url* with the API key *key*. Several threads may share it.

    *sandbox* lets SendGrid check every email and deliver none. At most *at_once* requests are out together.
    *connect_timeout*, *read_timeout* and *total_timeout* are seconds for one request; the last must stay
    below the lease of whoever calls. *ssl* checks certificates, by default as this machine does. *observe* is
    told "bytes sent" and "response read", from another thread. Proxies come from HTTPS_PROXY and NO_PROXY.

    SendGrid knows no idempotency key: an email handed over twice is delivered twice. Raises Misconfigured for
    a key that cannot stand in a header, and for a *url* that is none.
    """

    name = "sendgrid"

    def __init__(
        self,
        key: SecretStr,
        *,
        url: str = "https://api.sendgrid.com",
        sandbox: bool = False,
        asm_group: int | None = None,
        ip_pool: str | None = None,
        at_once: int = 96,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
        total_timeout: float = 25.0,
        ssl: SSLContext | None = None,
        observe: Callable[[str], None] | None = None,
    ) -> None:
        self.at_once = at_once
        self._key = SecretStr(key.get_secret_value().strip())
        if not _WRITABLE.fullmatch(self._key.get_secret_value()):
            raise Misconfigured(f"{KEY} is empty, or holds spaces or line breaks. Copy the key once more.")
        self._account = Account(sandbox, asm_group, ip_pool)
        self._dial = Dial(
            _mail_send(url), connect_timeout, read_timeout, total_timeout, at_once, ssl, observe
        )
        self._line: Line | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"SendGrid({str(self._dial.url)!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a SendGrid provider holds a key and connections, and cannot be stored")

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Hand *batch* over at *now*; one receipt each, in order.

        It starts no further request after a rate limit, a refused key, or trouble that goes on and on: what
        has not been tried is not sent, and says when to try again.
        """
        if now.tzinfo is None:
            raise ValueError(f"rate limits are reckoned from an aware time, not {now!r}")
        if not batch:
            return []
        return self._run(lambda line: _Batch(line, self._account, batch, now).carry(self.at_once))

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Let SendGrid check *email* in its sandbox, which delivers nothing. Raises Misconfigured."""
        account = Account(sandbox=True, asm_group=self._account.asm_group, ip_pool=self._account.ip_pool)
        (receipt,) = self._run(lambda line: _Batch(line, account, [email], now).carry(1))
        match receipt:
            case Accepted():
                return
            case InDoubt(why=why):
                raise Misconfigured(f"SendGrid cannot be asked: {why}. Check {URL} and the network.")
            case Rejected(why=why) | NotSent(why=why):
                raise Misconfigured(why)

    def opted_out(self) -> list[OptedOut]:
        """Return whom SendGrid will not mail. Raises Misconfigured where its lists cannot be read."""
        return self._run(lambda line: opted_out(line, self._account.asm_group))

    def close(self) -> None:
        """Give connections back. Closing twice is allowed, and sending afterwards opens new ones."""
        with self._lock:
            line, self._line = self._line, None
        if line is not None and line.process_id == os.getpid():
            line.close()

    def _run(self, work: Callable[[Line], Coroutine[Any, Any, T]]) -> T:
        with self._lock:
            if self._line is None or self._line.process_id != os.getpid():  # a fork takes no thread along
                self._line = Line(self._dial, self._key)
            future = self._line.submit(work(self._line))
        try:
            return future.result()
        except BaseException:  # Ctrl-C: start nothing more
            future.cancel()
            raise


def _mail_send(url: str) -> yarl.URL:
    try:
        whole = yarl.URL(url.rstrip("/") + PATH)
    except ValueError:
        whole = yarl.URL()
    if whole.scheme not in ("http", "https") or not whole.host or whole.user or whole.password:
        raise Misconfigured(f"{URL} is not an address such as https://api.sendgrid.com. Correct it.")
    return whole


class _Batch:
    """One batch on its way: lanes that take the next email each time one has landed."""

    def __init__(self, line: Line, account: Account, batch: Sequence[ComposedEmail], now: datetime) -> None:
        self._line = line
        self._account = account
        self._batch = batch
        self._now = now
        self._places: Iterator[int] = iter(range(len(batch)))
        self._receipts: list[Receipt] = [NotSent("it was not its turn any more")] * len(batch)
        self._stop: NotSent | None = None
        self._refused: dict[str, NotSent] = {}
        self._trouble = 0

    async def carry(self, at_once: int) -> list[Receipt]:
        """Send everything that may go."""
        lanes = min(at_once, len(self._batch))
        if lanes == 1:
            await self._lane()
        else:
            await asyncio.gather(*[self._lane() for _ in range(lanes)])
        return self._receipts

    async def _lane(self) -> None:
        for place in self._places:
            email = self._batch[place]
            try:
                content = payload_bytes(email, self._account)
            except Unfit as error:
                self._receipts[place] = Rejected(str(error))
                continue
            held = await self._turn() or self._refused.get(email.sender.email)
            self._receipts[place] = held or await self._call(email, content)

    async def _turn(self) -> NotSent | None:
        """Wait until one more may start; return why none may."""
        line = self._line
        while True:
            line.pace = line.pace.at(self._now)
            if self._stop is not None:
                return self._stop
            if line.pace.is_shut():
                return NotSent("SendGrid's rate limit is reached", line.pace.opens, stops=True)
            if line.has_room():
                return None
            await line.landed.wait()

    async def _call(self, email: ComposedEmail, content: bytes) -> Receipt:
        line = self._line
        line.flying += 1
        try:
            answer = await line.call(content)
            if isinstance(answer, Answer):
                line.pace = line.pace.heard(answer.status, answer.headers, self._now)
        finally:
            line.land()
        if isinstance(answer, Answer):
            receipt = judge(answer, email.ref, line.pace.opens, sandbox=self._account.sandbox)
        else:
            receipt = answer
        if isinstance(receipt, NotSent) and receipt.sender:
            self._refused[email.sender.email] = receipt
        self._weigh(receipt)
        return receipt

    def _weigh(self, receipt: Receipt) -> None:
        """Stop the batch where going on would only make it worse."""
        match receipt:
            case Accepted() | Rejected() | NotSent(sender=True):
                self._trouble = 0
                return
            case NotSent(stops=True):
                self._stop = self._stop or receipt
            case NotSent() | InDoubt():
                self._trouble += 1
        if self._trouble >= MOST_TROUBLE and self._stop is None:
            why = f"SendGrid failed {self._trouble} times in a row; the last time {receipt.why}"
            self._stop = NotSent(why, self._now + TROUBLE_PAUSE, stops=True)
