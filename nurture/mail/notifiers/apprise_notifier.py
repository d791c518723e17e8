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
from nurture.mail.notifiers.unconfigured import NOTIFIER_PREFIX
from nurture.mail.providers.base import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.mail.rendering.render import ComposedEmail

if TYPE_CHECKING:
    from apprise.plugins.base import NotifyBase

RETRY_AFTER: Final = timedelta(minutes=1)
MISCONFIGURED_RETRY_AFTER: Final = timedelta(minutes=15)
"""When a place is tried again that refuses us: somebody must mend it."""

_STATUS_PATTERN: Final = re.compile(r"\berror=(\d{3})\b")
_TOO_MANY_REQUESTS: Final = 429
_CONTENT_ERROR_STATUSES: Final = frozenset({400, 413, 422})
"""HTTP statuses that refuse the text itself."""

_VERBOSE_LOGGERS: Final = ("apprise", "urllib3")
"""Loggers that write whole URLs, which are secret, when they are asked for details."""


class AppriseNotifier:
    """Notifies *target* at an apprise URL. The URL is a key: no name, receipt, error or log shows it."""

    max_concurrency = 1

    def __init__(self, target: str, url: SecretStr) -> None:
        self.target = target
        self.name = f"{NOTIFIER_PREFIX}{target}"
        self._url = url
        self._plugin: NotifyBase | None = None
        self._lock = Lock()  # what apprise builds is made for one thread
        self._paused_until: datetime | None = None

    def __repr__(self) -> str:
        return f"AppriseNotifier({self.target!r})"

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Tell each of *batch*, its subject and its plain text; one receipt each, in order."""
        return [self._notify(email, now) for email in batch]

    def check(self, email: ComposedEmail, now: datetime) -> None:  # noqa: ARG002 - the port names them
        """Read the URL; whether somebody listens there shows with the first notice. Raises Misconfigured."""
        self.load()

    def load(self) -> None:
        """Read the URL, if it was not read yet. Raises Misconfigured."""
        with self._lock:
            self._load_plugin()

    def close(self) -> None:
        """Nothing is held open."""

    def _notify(self, email: ComposedEmail, now: datetime) -> Receipt:
        with self._lock, _capture_logs() as captured:
            if self._paused_until is not None and now < self._paused_until:
                return NotSent(f"{self.target} did not answer a moment ago", self._paused_until, blocks_all=True)
            try:
                plugin = self._load_plugin()
            except Misconfigured as error:
                return NotSent(str(error), now + MISCONFIGURED_RETRY_AFTER, blocks_all=True)
            try:
                delivered = plugin.notify(email.text, title=email.subject, body_format="text")
            except Exception as error:  # noqa: BLE001 - a hundred plugins; whatever it is, it may have gone
                return self._pause_and_return_unknown(type(error).__name__, now)
            if delivered:
                return Accepted(email.ref)
            return (
                self._receipt_for_failure(captured, now)
                if len(plugin) <= 1
                else self._pause_and_return_unknown("delivered in part", now)
            )

    def _load_plugin(self) -> NotifyBase:
        """Read the URL once, when it is needed first: reading in apprise takes a second."""
        if self._plugin is None:
            self._plugin = _build_plugin(self.target, self._url)
        return self._plugin

    def _receipt_for_failure(self, captured: _LogCapture, now: datetime) -> Receipt:
        """Say what a refusal means: apprise itself answers no more than yes or no."""
        if captured.error is not None and _failed_before_sending(captured.error):
            return NotSent(f"{self.target} cannot be reached", now + RETRY_AFTER, blocks_all=True)
        if captured.error is not None or captured.status is None or captured.status >= 500:
            status = f"status {captured.status}" if captured.status is not None else "no answer"
            return self._pause_and_return_unknown(status, now)
        if captured.status == _TOO_MANY_REQUESTS:
            return NotSent(f"{self.target} takes no more for now", now + RETRY_AFTER, blocks_all=True)
        if captured.status in _CONTENT_ERROR_STATUSES:
            return Rejected(f"{self.target} refused the text: status {captured.status}")
        reason = f"{self.target} refuses us: status {captured.status}. Correct its URL in NURTURE_NOTIFY"
        return NotSent(reason, now + MISCONFIGURED_RETRY_AFTER, blocks_all=True)

    def _pause_and_return_unknown(self, reason: str, now: datetime) -> Unknown:
        """Leave the place alone for a while too: nobody waits for it with the next notice."""
        self._paused_until = now + RETRY_AFTER
        return Unknown(f"{self.target} gave no clear outcome: {reason}")


def _build_plugin(target: str, url: SecretStr) -> NotifyBase:
    for logger in map(logging.getLogger, _VERBOSE_LOGGERS):
        if logger.getEffectiveLevel() < logging.INFO:
            logger.setLevel(logging.INFO)
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - see above

    # A redirected POST comes back as a GET that succeeds and tells nobody.
    asset = AppriseAsset(app_id="nurture", secure_logging=True, http_redirects=False, storage_mode="memory")
    with _silence_logs():
        plugin = Apprise.instantiate(url.get_secret_value(), asset=asset)
    if plugin is None:
        raise Misconfigured(
            f"NURTURE_NOTIFY says where {target} is, but apprise cannot read it. "
            f"Write {target}=slack://TOKEN_A/TOKEN_B/TOKEN_C, for example."
        )
    return plugin


class _LogCapture(logging.Handler):
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
        match = _STATUS_PATTERN.search(record.getMessage())
        if match is not None:
            self.status = int(match[1])


@contextmanager
def _capture_logs() -> Iterator[_LogCapture]:
    capture = _LogCapture()
    logger = logging.getLogger("apprise")
    logger.addHandler(capture)
    try:
        yield capture
    finally:
        logger.removeHandler(capture)


@contextmanager
def _silence_logs() -> Iterator[None]:
    """Keep apprise from quoting a URL that it cannot read."""
    logger = logging.getLogger("apprise")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled


def _failed_before_sending(error: BaseException) -> bool:
    """Say whether no connection came about, so that nothing can have been sent."""
    from requests.exceptions import ConnectTimeout  # noqa: PLC0415 - as apprise
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError  # noqa: PLC0415

    connect_errors = (ConnectTimeout, ConnectTimeoutError, NewConnectionError, ssl.SSLCertVerificationError)
    visited: set[int] = set()
    pending: list[object] = [error]
    while pending:
        candidate = pending.pop()
        if isinstance(candidate, connect_errors):
            return True
        if isinstance(candidate, BaseException) and id(candidate) not in visited:
            visited.add(id(candidate))
            pending += [candidate.__cause__, candidate.__context__, getattr(candidate, "reason", None), *candidate.args]
    return False
