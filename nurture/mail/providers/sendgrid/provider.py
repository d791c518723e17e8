"""Send emails with SendGrid's Mail Send (v3): one request per email, or for up to 1,000 emails of one form."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from ssl import SSLContext
from typing import Final

from pydantic import SecretStr
from yarl import URL

from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.errors import Misconfigured
from nurture.mail.providers.base import SuppressedAddress
from nurture.mail.providers.http_client import (
    ClientConfig,
    HttpClient,
    HttpResponse,
    InvalidPayload,
    LazyClient,
    parse_api_url,
    require_header_value,
)
from nurture.mail.providers.sendgrid.batches import MAX_PERSONALIZATIONS, encode_batch, group_emails
from nurture.mail.providers.sendgrid.payload import Account
from nurture.mail.providers.sendgrid.responses import (
    KEY_VARIABLE,
    URL_VARIABLE,
    fetch_suppressions,
    receipt_for_response,
)
from nurture.mail.rendering.render import ComposedEmail

MAIL_SEND_PATH: Final = "v3/mail/send"
MAX_CONSECUTIVE_FAILURES: Final = 5
FAILURE_PAUSE: Final = timedelta(seconds=60)


class SendGridProvider:
    """SendGrid at *url* with the API key *key*. Thread-safe.

    In *sandbox* mode SendGrid validates every email and delivers none. At most *max_concurrency* requests run
    in parallel. *connect_timeout*, *read_timeout* and *total_timeout* are seconds per request; the last must
    be below the caller's lease. *ssl* verifies certificates, by default with the system's. *observe* is called
    with "bytes sent" and "response read", from another thread. Proxies come from HTTPS_PROXY and NO_PROXY.

    SendGrid has no idempotency key: an email sent twice is delivered twice. Raises Misconfigured for a key that
    is not a valid header value, and for an invalid *url*.
    """

    name = "sendgrid"
    max_batch = MAX_PERSONALIZATIONS

    def __init__(
        self,
        key: SecretStr,
        *,
        url: str = "https://api.sendgrid.com",
        sandbox: bool = False,
        asm_group: int | None = None,
        ip_pool: str | None = None,
        max_concurrency: int = 96,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
        total_timeout: float = 25.0,
        ssl: SSLContext | None = None,
        observe: Callable[[str], None] | None = None,
    ) -> None:
        self.max_concurrency = max_concurrency
        self._account = Account(sandbox, asm_group, ip_pool)
        base_url = parse_api_url(url, URL_VARIABLE)
        self._url = base_url.joinpath(MAIL_SEND_PATH)
        bearer = SecretStr(f"Bearer {require_header_value(key, KEY_VARIABLE).get_secret_value()}")
        self._client = LazyClient(
            ClientConfig(
                "SendGrid",
                base_url,
                URL_VARIABLE,
                "Authorization",
                bearer,
                max_concurrency,
                connect_timeout,
                read_timeout,
                total_timeout,
                ssl,
                observe,
            )
        )

    def __repr__(self) -> str:
        return f"SendGrid({str(self._url)!r})"

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Send *batch* at *now*; return one receipt per email, in order.

        Starts no further request after a rate limit, a refused key or MAX_CONSECUTIVE_FAILURES: the remaining
        receipts are NotSent with the time to retry.
        """
        if now.tzinfo is None:
            raise ValueError(f"*now* must be timezone-aware, not {now!r}")
        if not batch:
            return []
        return self._client.run(
            lambda client: _Batch(client, self._url, self._account, batch, now).send(self.max_concurrency)
        )

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Validate *email* in SendGrid's sandbox mode, which delivers nothing. Raises Misconfigured."""
        account = Account(sandbox=True, asm_group=self._account.asm_group, ip_pool=self._account.ip_pool)
        (receipt,) = self._client.run(lambda client: _Batch(client, self._url, account, [email], now).send(1))
        match receipt:
            case Accepted():
                return
            case Unknown(reason=reason):
                raise Misconfigured(f"SendGrid did not respond: {reason}. Check {URL_VARIABLE} and the network.")
            case Rejected(reason=reason) | NotSent(reason=reason):
                raise Misconfigured(reason)

    def list_suppressions(self) -> list[SuppressedAddress]:
        """Return the addresses that SendGrid suppresses. Raises Misconfigured if a list cannot be read."""
        return self._client.run(lambda client: fetch_suppressions(client, self._account.asm_group))

    def close(self) -> None:
        """Close connections. May be called twice; a later send opens new ones."""
        self._client.close()


class _Batch:
    """A batch being sent by workers that share one iterator of requests."""

    def __init__(
        self, client: HttpClient, url: URL, account: Account, batch: Sequence[ComposedEmail], now: datetime
    ) -> None:
        self._client = client
        self._url = url
        self._account = account
        self._batch = batch
        self._now = now
        self._requests: Iterator[Sequence[int]] = iter(group_emails(batch))
        self._receipts: list[Receipt] = [NotSent("the batch stopped before this email")] * len(batch)
        self._stop_receipt: NotSent | None = None
        self._blocked_senders: dict[str, NotSent] = {}
        self._consecutive_failures = 0

    async def send(self, max_concurrency: int) -> list[Receipt]:
        """Send the batch and return the receipts."""
        workers = min(max_concurrency, len(self._batch))
        if workers == 1:
            await self._run_worker()
        else:
            await asyncio.gather(*[self._run_worker() for _ in range(workers)])
        return self._receipts

    async def _run_worker(self) -> None:
        for indexes in self._requests:
            await self._send(indexes)

    async def _send(self, indexes: Sequence[int]) -> None:
        """Send the emails with *indexes* in one request; halve a request that is invalid or refused.

        So an email that SendGrid refuses is refused alone.
        """
        emails = [self._batch[index] for index in indexes]
        receipt: Receipt
        try:
            content = encode_batch(emails, self._account)
        except InvalidPayload as error:
            receipt = Rejected(str(error))
        else:
            blocked = await self._wait_for_capacity() or self._blocked_senders.get(emails[0].sender.email)
            receipt = blocked or await self._call(emails[0], content)
        if isinstance(receipt, Rejected) and len(indexes) > 1:
            half = len(indexes) // 2
            await asyncio.gather(self._send(indexes[:half]), self._send(indexes[half:]))
            return
        for index in indexes:
            self._receipts[index] = receipt

    async def _wait_for_capacity(self) -> NotSent | None:
        """Wait until one more call may start; return why none may, if so."""
        client = self._client
        while True:
            client.rate_limit = client.rate_limit.without_expired_window(self._now)
            if self._stop_receipt is not None:
                return self._stop_receipt
            if client.rate_limit.is_exhausted():
                return NotSent("SendGrid's rate limit is reached", client.rate_limit.resets_at, blocks_all=True)
            if client.has_capacity():
                return None
            await client.completed.wait()

    async def _call(self, email: ComposedEmail, content: bytes) -> Receipt:
        client = self._client
        client.in_flight += 1
        try:
            response = await client.post(self._url, content)
            if isinstance(response, HttpResponse):
                client.rate_limit = client.rate_limit.updated(response.status, response.headers, self._now)
        finally:
            client.finish_call()
        if isinstance(response, HttpResponse):
            receipt = receipt_for_response(
                response, email.ref, client.rate_limit.resets_at, sandbox=self._account.sandbox
            )
        else:
            receipt = response
        if isinstance(receipt, NotSent) and receipt.blocks_sender:
            self._blocked_senders[email.sender.email] = receipt
        self._track_failures(receipt)
        return receipt

    def _track_failures(self, receipt: Receipt) -> None:
        """Stop the batch after a blocking receipt or too many failures in a row."""
        match receipt:
            case Accepted() | Rejected() | NotSent(blocks_sender=True):
                self._consecutive_failures = 0
                return
            case NotSent(blocks_all=True):
                self._stop_receipt = self._stop_receipt or receipt
            case NotSent() | Unknown():
                self._consecutive_failures += 1
        if self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES and self._stop_receipt is None:
            reason = f"SendGrid failed {self._consecutive_failures} times in a row; the last time {receipt.reason}"
            self._stop_receipt = NotSent(reason, self._now + FAILURE_PAUSE, blocks_all=True)
