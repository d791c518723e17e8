"""Places where reps look besides their mail: Slack, Teams and whatever else apprise reaches by one URL."""

from __future__ import annotations

import logging
import re
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from nurture.errors import Misconfigured
from nurture.mail.notifiers.unconfigured import PREFIX
from nurture.mail.providers.base import Accepted, InDoubt, NotSent, Receipt, Rejected
from nurture.mail.rendering.render import ComposedEmail

if TYPE_CHECKING:
    from apprise.plugins.base import NotifyBase

TRY_AGAIN_AFTER: Final = timedelta(minutes=1)
LOOK_AGAIN_AFTER: Final = timedelta(minutes=15)
"""When a place is tried again that refuses us: somebody must mend it."""

_STATUS: Final = re.compile(r"\berror=(\d{3})\b")
_TOO_MANY: Final = 429
_BAD: Final = frozenset({400, 413, 422})
"""HTTP statuses that refuse the text itself."""

_LOUD: Final = ("apprise", "urllib3")
"""Loggers that write whole URLs, which are secret, when they are asked for details."""


class Chat:
    """What tells *place*, at an apprise URL. The URL is a key: no name, receipt, error or log shows it."""

    at_once = 1

    def __init__(self, place: str, url: SecretStr) -> None:
        self.place = place
        self.name = f"{PREFIX}{place}"
        self._url = url
        self._target: NotifyBase | None = None
        self._alone = Lock()  # what apprise builds is made for one thread
        self._silent_until: datetime | None = None

    def __repr__(self) -> str:
        return f"Chat({self.place!r})"

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Tell each of *batch*, its subject and its plain text; one receipt each, in order."""
        return [self._tell(email, now) for email in batch]

    def check(self, email: ComposedEmail, now: datetime) -> None:  # noqa: ARG002 - the port names them
        """Read the URL; whether somebody listens there shows with the first notice. Raises Misconfigured."""
        self.open()

    def open(self) -> None:
        """Read the URL, if it was not read yet. Raises Misconfigured."""
        with self._alone:
            self._opened()

    def close(self) -> None:
        """Nothing is held open."""

    def _tell(self, email: ComposedEmail, now: datetime) -> Receipt:
        with self._alone, _overheard() as heard:
            if self._silent_until is not None and now < self._silent_until:
                return NotSent(f"{self.place} did not answer a moment ago", self._silent_until, stops=True)
            try:
                place = self._opened()
            except Misconfigured as error:
                return NotSent(str(error), now + LOOK_AGAIN_AFTER, stops=True)
            try:
                done = place.notify(email.text, title=email.subject, body_format="text")
            except Exception as error:  # noqa: BLE001 - a hundred plugins; whatever it is, it may have gone
                return self._unclear(type(error).__name__, now)
            if done:
                return Accepted(email.ref)
            return self._verdict(heard, now) if len(place) <= 1 else self._unclear("told in part", now)

    def _opened(self) -> NotifyBase:
        """Read the URL once, when it is needed first: reading in apprise takes a second."""
        if self._target is None:
            self._target = _opened(self.place, self._url)
        return self._target

    def _verdict(self, heard: _Heard, now: datetime) -> Receipt:
        """Say what a refusal means: apprise itself answers no more than yes or no."""
        if heard.error is not None and _never_left(heard.error):
            return NotSent(f"{self.place} cannot be reached", now + TRY_AGAIN_AFTER, stops=True)
        if heard.error is not None or heard.status is None or heard.status >= 500:
            status = f"status {heard.status}" if heard.status is not None else "no answer"
            return self._unclear(status, now)
        if heard.status == _TOO_MANY:
            return NotSent(f"{self.place} takes no more for now", now + TRY_AGAIN_AFTER, stops=True)
        if heard.status in _BAD:
            return Rejected(f"{self.place} refused the text: status {heard.status}")
        why = f"{self.place} refuses us: status {heard.status}. Correct its URL in NURTURE_TELL"
        return NotSent(why, now + LOOK_AGAIN_AFTER, stops=True)

    def _unclear(self, why: str, now: datetime) -> InDoubt:
        """Leave the place alone for a while too: nobody waits for it with the next notice."""
        self._silent_until = now + TRY_AGAIN_AFTER
        return InDoubt(f"{self.place} gave no clear outcome: {why}")


def _opened(name: str, url: SecretStr) -> NotifyBase:
    for loud in map(logging.getLogger, _LOUD):
        if loud.getEffectiveLevel() < logging.INFO:
            loud.setLevel(logging.INFO)
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - see above

    # A redirected POST comes back as a GET that succeeds and tells nobody.
    asset = AppriseAsset(app_id="nurture", secure_logging=True, http_redirects=False, storage_mode="memory")
    with _muted():
        place = Apprise.instantiate(url.get_secret_value(), asset=asset)
    if place is None:
        raise Misconfigured(
            f"NURTURE_TELL says where {name} is, but apprise cannot read it. "
            f"Write {name}=slack://TOKEN_A/TOKEN_B/TOKEN_C, for example."
        )
    return place


class _Heard(logging.Handler):
    """Overhears why apprise says no: the error that it caught, or the status of the answer."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.error: BaseException | None = None
        self.status: int | None = None
        self._thread = get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what one record tells."""
        if record.thread != self._thread:
            return
        self.error = self.error or sys.exc_info()[1]
        found = _STATUS.search(record.getMessage())
        if found is not None:
            self.status = int(found[1])


@contextmanager
def _overheard() -> Iterator[_Heard]:
    heard = _Heard()
    logger = logging.getLogger("apprise")
    logger.addHandler(heard)
    try:
        yield heard
    finally:
        logger.removeHandler(heard)


@contextmanager
def _muted() -> Iterator[None]:
    """Keep apprise from quoting a URL that it cannot read."""
    logger = logging.getLogger("apprise")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _never_left(error: BaseException) -> bool:
    """Say whether no connection came about, so that nothing can have been sent."""
    from requests.exceptions import ConnectTimeout  # noqa: PLC0415 - as apprise
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError  # noqa: PLC0415

    unsent = (ConnectTimeout, ConnectTimeoutError, NewConnectionError, ssl.SSLCertVerificationError)
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        one = left.pop()
        if isinstance(one, unsent):
            return True
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            left += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return False
