"""Send emails with Postmark's Email API, in batches."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretStr

from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected
from nurture.errors import Misconfigured
from nurture.mail.providers.base import SuppressedAddress
from nurture.mail.providers.http_client import (
    ClientConfig,
    HttpResponse,
    InvalidPayload,
    LazyClient,
    parse_api_url,
    require_header_value,
)
from nurture.mail.providers.postmark.payload import encode_message
from nurture.mail.providers.postmark.responses import (
    PAUSE,
    STREAM_VARIABLE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    parse_suppressions,
    receipts_for_response,
)
from nurture.mail.rendering.render import ComposedEmail

MAX_REQUESTS: Final = 4
MAX_BATCH: Final = 500
MAX_BATCH_BYTES: Final = 50_000_000
MAX_RESULTS_BYTES: Final = 1_000_000
"""The longest response to a batch: 500 results with their messages have a fifth of it."""

MAX_LIST_BYTES: Final = 100_000_000


class PostmarkProvider:
    """The server of Postmark at *url* with the token *token*, and its message stream *stream*. Thread-safe.

    A batch is one request, with a result for each message. Postmark has no idempotency key: an email sent twice is
    delivered twice. Raises Misconfigured for a token that is not a valid header value, and for an invalid *url*.
    The other parameters are those of `ClientConfig`.
    """

    name = "postmark"
    max_concurrency = 2 * MAX_BATCH

    def __init__(
        self,
        token: SecretStr,
        *,
        stream: str = "broadcast",
        url: str = "https://api.postmarkapp.com",
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
        total_timeout: float = 25.0,
        ssl: SSLContext | None = None,
        observe: Callable[[str], None] | None = None,
    ) -> None:
        self._stream = stream
        self._url = parse_api_url(url, URL_VARIABLE)
        self._client = LazyClient(
            ClientConfig(
                provider="Postmark",
                url=self._url,
                url_variable=URL_VARIABLE,
                auth_header="X-Postmark-Server-Token",
                credential=require_header_value(token, TOKEN_VARIABLE),
                max_concurrency=MAX_REQUESTS,
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                total_timeout=total_timeout,
                ssl_context=ssl,
                observe=observe,
            )
        )

    def __repr__(self) -> str:
        return f"Postmark({str(self._url)!r}, {self._stream!r})"

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Send *batch* at *now*; return one receipt per email, in order.

        Makes no further request after one without a response, or one that blocks all: the remaining receipts are
        NotSent with the time to retry.
        """
        if now.tzinfo is None:
            raise ValueError(f"*now* must be timezone-aware, not {now!r}")
        receipts: list[Receipt] = [NotSent("the batch stopped before this email")] * len(batch)
        messages: dict[int, bytes] = {}
        for index, email in enumerate(batch):
            try:
                messages[index] = encode_message(email, self._stream)
            except InvalidPayload as error:
                receipts[index] = Rejected(str(error))
        stop: NotSent | None = None
        for indexes in _chunks(messages):
            if stop is None:
                refs = [batch[index].ref for index in indexes]
                results = self._post([messages[index] for index in indexes], refs, now)
                stop = _find_stop(results, now)
            else:
                results = [stop] * len(indexes)
            for index, receipt in zip(indexes, results, strict=True):
                receipts[index] = receipt
        return receipts

    def check(self, email: ComposedEmail, now: datetime) -> None:  # noqa: ARG002 - no request checks an email
        """Verify the token, that the server delivers, and the message stream. Raises Misconfigured."""
        if self._get("/server").get("DeliveryType") == "Sandbox":
            raise Misconfigured(
                "the server of this token is a sandbox, which delivers nothing.",
                f"Set {TOKEN_VARIABLE} to the token of a live server.",
            )
        stream = self._get(self._stream_path())
        if stream.get("ArchivedAt") is not None or stream.get("MessageStreamType") == "Inbound":
            raise Misconfigured(
                f"Postmark's message stream {self._stream} is archived, or receives only.",
                f"Correct {STREAM_VARIABLE}.",
            )

    def list_suppressions(self) -> list[SuppressedAddress]:
        """Return the addresses that the message stream suppresses. Raises Misconfigured if they cannot be read."""
        return parse_suppressions(self._get(f"{self._stream_path()}/suppressions/dump", MAX_LIST_BYTES))

    def close(self) -> None:
        """Close connections. May be called twice; a later send opens new ones."""
        self._client.close()

    def _post(self, messages: Sequence[bytes], refs: Sequence[str], now: datetime) -> list[Receipt]:
        if len(messages) == 1:
            url, content = self._url.joinpath("email"), messages[0]
        else:
            url, content = self._url.joinpath("email", "batch"), b"[" + b",".join(messages) + b"]"
        response = self._client.run(lambda client: client.post(url, content, MAX_RESULTS_BYTES))
        if isinstance(response, HttpResponse):
            return receipts_for_response(response, refs, now)
        return [response] * len(messages)

    def _stream_path(self) -> str:
        return f"/message-streams/{quote(self._stream, safe='')}"

    def _get(self, path: str, max_bytes: int = 100_000) -> dict[str, Any]:
        """Return an object of the API. Raises Misconfigured, naming the setting."""
        response = self._client.run(lambda client: client.get(path, max_bytes))
        if isinstance(response, NotSent):
            raise Misconfigured(response.reason)
        if response.status == 401:
            raise Misconfigured(
                "Postmark refuses the token (401).",
                f"Set {TOKEN_VARIABLE} to the token of a server, from its API Tokens.",
            )
        if response.status in (404, 422) and path != "/server":
            raise Misconfigured(
                f"Postmark knows no message stream {self._stream!r} on this server ({response.status}).",
                f"Correct {STREAM_VARIABLE}.",
            )
        found = response.json() if response.status == 200 else None
        if not isinstance(found, dict):
            raise Misconfigured(
                f"{path} of the API answers with status {response.status}, and not as Postmark does.",
                f"Check {URL_VARIABLE}.",
            )
        return found


def _chunks(messages: dict[int, bytes]) -> Iterator[list[int]]:
    """Yield the indexes of *messages* in groups that one request may hold."""
    chunk: list[int] = []
    size = 0
    for index, message in messages.items():
        if chunk and (len(chunk) == MAX_BATCH or size + len(message) >= MAX_BATCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(index)
        size += len(message) + 1
    if chunk:
        yield chunk


def _find_stop(receipts: Sequence[Receipt], now: datetime) -> NotSent | None:
    """Return why no further request may be made after these *receipts* of one."""
    blocking = next((one for one in receipts if isinstance(one, NotSent) and one.blocks_all), None)
    if blocking is not None:
        return blocking
    if all(isinstance(one, Accepted | Rejected) or getattr(one, "blocks_sender", False) for one in receipts):
        return None
    return NotSent("the request before this one failed", now + PAUSE)
