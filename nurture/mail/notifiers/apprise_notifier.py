"""Notify reps by apprise: Slack, Teams and any other service that it reaches by URL."""

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

from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected, Unknown
from nurture.errors import Misconfigured
from nurture.mail.notifiers.unconfigured import NOTIFIER_PREFIX
from nurture.mail.rendering.render import ComposedEmail

if TYPE_CHECKING:
    from apprise.plugins.base import NotifyBase

RETRY_AFTER: Final = timedelta(minutes=1)
MISCONFIGURED_RETRY_AFTER: Final = timedelta(minutes=15)
"""The pause after an error that a person must correct."""

_STATUS_PATTERN: Final = re.compile(r"\berror=(\d{3})\b")
_TOO_MANY_REQUESTS: Final = 429
_CONTENT_ERROR_STATUSES: Final = frozenset({400, 413, 422})
"""HTTP statuses that reject the notice itself."""

_VERBOSE_LOGGERS: Final = ("apprise", "urllib3")
"""Loggers that write whole URLs, which are secret, at DEBUG level."""


class AppriseNotifier:
    """Notifies *target* at an apprise URL. The URL is a secret: no name, receipt, error or log contains it."""

    max_concurrency = 1

    def __init__(self, target: str, url: SecretStr, setting: str = "NURTURE_NOTIFY") -> None:
        """Take the URL of *target*, and the *setting* that errors name."""
        self.target = target
        self.name = f"{NOTIFIER_PREFIX}{target}"
        self._url, self._setting = url, setting
        self._plugin: NotifyBase | None = None
        self._lock = Lock()  # apprise plugins are not thread-safe
        self._paused_until: datetime | None = None

    def __repr__(self) -> str:
        return f"AppriseNotifier({self.target!r})"

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Send subject and plain text of each email of *batch*; return one receipt per email, in order."""
        return [self._notify(email, now) for email in batch]

    def check(self, email: ComposedEmail, now: datetime) -> None:  # noqa: ARG002 - named by the protocol
        """Parse the URL without contacting the service. Raises Misconfigured."""
        self.load()

    def load(self) -> None:
        """Parse the URL, if not done yet. Raises Misconfigured."""
        with self._lock:
            self._load_plugin()

    def close(self) -> None:
        """Do nothing: no connection stays open between calls."""

    def _notify(self, email: ComposedEmail, now: datetime) -> Receipt:
        with self._lock, _capture_logs() as captured:
            if self._paused_until is not None and now < self._paused_until:
                return NotSent(f"{self.target} did not respond to the last notice", self._paused_until, blocks_all=True)
            try:
                plugin = self._load_plugin()
            except Misconfigured as error:
                return NotSent(str(error), now + MISCONFIGURED_RETRY_AFTER, blocks_all=True)
            try:
                delivered = plugin.notify(email.text, title=email.subject, body_format="text")
            except Exception as error:  # noqa: BLE001 - plugins raise anything, and the notice may have been sent
                return self._pause_and_return_unknown(type(error).__name__, now)
            if delivered:
                return Accepted(email.ref)
            return (
                self._receipt_for_failure(captured, now)
                if len(plugin) <= 1
                else self._pause_and_return_unknown("delivered in part", now)
            )

    def _load_plugin(self) -> NotifyBase:
        """Parse the URL once, on first use: importing apprise takes a second."""
        if self._plugin is None:
            self._plugin = _build_plugin(self.target, self._url, self._setting)
        return self._plugin

    def _receipt_for_failure(self, captured: _LogCapture, now: datetime) -> Receipt:
        """Return the receipt for a failure from apprise's log: its result is only True or False."""
        if captured.error is not None and _failed_before_sending(captured.error):
            return NotSent(f"{self.target} cannot be reached", now + RETRY_AFTER, blocks_all=True)
        if captured.error is not None or captured.status is None or captured.status >= 500:
            status = f"status {captured.status}" if captured.status is not None else "no response"
            return self._pause_and_return_unknown(status, now)
        if captured.status == _TOO_MANY_REQUESTS:
            return NotSent(f"the rate limit of {self.target} is reached", now + RETRY_AFTER, blocks_all=True)
        if captured.status in _CONTENT_ERROR_STATUSES:
            return Rejected(f"{self.target} refused the text: status {captured.status}")
        reason = f"{self.target} refuses the request: status {captured.status}. Correct its URL in {self._setting}"
        return NotSent(reason, now + MISCONFIGURED_RETRY_AFTER, blocks_all=True)

    def _pause_and_return_unknown(self, reason: str, now: datetime) -> Unknown:
        """Return Unknown, and pause so that the next notice does not wait for a timeout."""
        self._paused_until = now + RETRY_AFTER
        return Unknown(f"{self.target} gave no clear outcome: {reason}")


def _build_plugin(target: str, url: SecretStr, setting: str) -> NotifyBase:
    for logger in map(logging.getLogger, _VERBOSE_LOGGERS):
        if logger.getEffectiveLevel() < logging.INFO:
            logger.setLevel(logging.INFO)
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - takes a second

    # A redirected POST becomes a GET that succeeds without delivering anything.
    asset = AppriseAsset(app_id="nurture", secure_logging=True, http_redirects=False, storage_mode="memory")
    with _silence_logs():
        plugin = Apprise.instantiate(url.get_secret_value(), asset=asset)
    if plugin is None:
        raise Misconfigured(
            f"{setting} has a URL for {target} that apprise cannot read. "
            f"Write for example {target}=slack://TOKEN_A/TOKEN_B/TOKEN_C."
        )
    return plugin


class _LogCapture(logging.Handler):
    """Captures why apprise failed: the exception that it caught, or the status of the response."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.error: BaseException | None = None
        self.status: int | None = None
        self._thread = get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Store the exception or status of a record of this thread."""
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
    """Keep apprise from logging a URL that it cannot parse."""
    logger = logging.getLogger("apprise")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled


def _failed_before_sending(error: BaseException) -> bool:
    """Return whether the connection failed, so that nothing can have been sent."""
    from requests.exceptions import ConnectTimeout  # noqa: PLC0415 - loaded with apprise
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
