"""What the console needs to answer requests, and the one place where it reads the database: in threads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from nurture.clock import Clock, RealClock
from nurture.console.access import sessions
from nurture.console.access.sessions import User
from nurture.console.actions import MoveClock
from nurture.db.engine import Database
from nurture.runtime.context import AppContext
from nurture.settings import Settings
from nurture.web.templates import Templates

T = TypeVar("T")

MAX_THREADS: Final = 8
"""How many reads and actions run at once; the others wait for a thread."""

COOKIE: Final = "nurture_console"
SECURE_COOKIE: Final = "__Host-nurture_console"
"""The cookie of a sign-in by https; browsers accept it only with Secure and for this host alone."""

THEME_COOKIE: Final = "nurture_theme"


@dataclass(frozen=True, slots=True)
class Site:
    """The console: its context, clocks and address. *clock* may be virtual; sessions last by *real_clock*.

    *url* is the public address, "" if browsers reach the console directly. *move_clock* moves a virtual clock; None
    if this console may not. *settings* are those that the console knows, for the page that shows them.
    """

    ctx: AppContext
    clock: Clock
    templates: Templates
    url: str = ""
    move_clock: MoveClock | None = None
    settings: Settings | None = None
    real_clock: Clock = field(default_factory=RealClock)
    limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(MAX_THREADS))

    @property
    def database(self) -> Database:
        """Return the database."""
        return self.ctx.database

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run *function* in a thread: the event loop serves all viewers and never waits for the database."""
        return await anyio.to_thread.run_sync(function, limiter=self.limiter)

    async def authenticate(self, token: str) -> User | None:
        """Return the user whose cookie is *token*."""
        return await self.in_thread(lambda: sessions.authenticate(self.database, token, self.real_now()))

    def real_now(self) -> datetime:
        """Return the time by which sessions last."""
        return self.real_clock.now()

    def is_secure(self, scheme: str) -> bool:
        """Return whether browsers reach the console by https, for a request with this scheme."""
        return scheme in ("https", "wss") or self.url.startswith("https:")

    def cookie_name(self, scheme: str) -> str:
        """Return the name of the session cookie."""
        return SECURE_COOKIE if self.is_secure(scheme) else COOKIE

    def is_own_origin(self, origin: str, scheme: str, host: str) -> bool:
        """Return whether a request that names *origin* comes from a page of ours."""
        if self.url:
            parts = urlsplit(self.url)
            return origin == f"{parts.scheme}://{parts.netloc}"
        return origin == f"{'https' if scheme in ('https', 'wss') else 'http'}://{host}"
