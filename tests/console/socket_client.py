"""A socket client that says what no browser of ours would: it names any element, page and object."""

from __future__ import annotations

import asyncio
import html
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import socketio

from nurture.console.site import COOKIE
from tests.console.world import TLS

_CLIENT = re.compile(r"client_id['\"]?: ?['\"]([0-9a-f-]{36})")
_ELEMENTS = re.compile(r"parseElements\(String\.raw`(.*?)`\)", re.DOTALL)


@dataclass
class OpenedPage:
    """A page as the server sent it: its id, and its elements with their listeners."""

    client_id: str
    elements: dict[str, dict[str, Any]]

    def listeners(self, kind: str) -> list[tuple[int, str]]:
        """Return the element and listener ids of this kind of event."""
        return [
            (int(id_), event["listener_id"])
            for id_, element in self.elements.items()
            for event in element.get("events", [])
            if event["type"] == kind
        ]


def open_page(url: str, path: str, token: str) -> OpenedPage:
    answer = httpx.get(url + path, cookies={COOKIE: token}, timeout=20, verify=TLS)
    client, elements = _CLIENT.search(answer.text), _ELEMENTS.search(answer.text)
    assert client is not None
    assert elements is not None
    return OpenedPage(client[1], orjson.loads(html.unescape(elements[1])))


@dataclass
class PageSocket:
    """The socket of an opened page, and what the server sent on it."""

    client: socketio.AsyncClient
    client_id: str
    received: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    async def fire(self, element: int, listener: str, *args: object, client_id: str = "") -> None:
        """Send an event of an element, also of one that the page does not have."""
        message = {"id": element, "client_id": client_id or self.client_id, "listener_id": listener}
        await self.client.emit("event", {**message, "args": [orjson.dumps(arg).decode() for arg in args]})

    async def wait_for(self, text: str) -> str:
        """Return the first message of the server that contains *text*."""
        async with asyncio.timeout(30):
            while text not in (message := await self.received.get()):
                pass
        return message


@asynccontextmanager
async def open_socket(url: str, client_id: str, token: str, origin: str = "") -> AsyncIterator[PageSocket]:
    """Open the socket of the page *client_id* with this cookie."""
    client = socketio.AsyncClient(reconnection=False)
    opened = PageSocket(client, client_id)

    @client.on("*")
    async def _receive(_name: str, *data: Any) -> None:
        opened.received.put_nowait(orjson.dumps(data, default=str).decode())

    query = f"client_id={client_id}&tab_id={uuid.uuid4()}&document_id={uuid.uuid4()}&implicit_handshake=true"
    headers = {"Cookie": f"{COOKIE}={token}", "Origin": origin or url}
    await client.connect(
        f"{url}?{query}&next_message_id=0",
        headers=headers,
        transports=["websocket"],
        socketio_path="/_nicegui_ws/socket.io",
    )
    try:
        yield opened
    finally:
        await client.disconnect()
