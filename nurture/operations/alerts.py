"""Tell the operator of each problem once when it begins, and once when it is over (NURTURE_ALERT)."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from nurture.db.engine import Database
from nurture.domain.delivery.receipts import Accepted, Unknown
from nurture.mail.providers.base import Provider
from nurture.mail.rendering.render import Address, ComposedEmail
from nurture.operations import problem_queries
from nurture.operations.problem_queries import AlertRow
from nurture.operations.problems import Problem

OVER_AFTER: Final = timedelta(minutes=10)
"""How long a problem must not have been seen before it is over: one that comes and goes is reported once."""

_NOBODY: Final = Address("nurture", "alerts@nurture.invalid")  # the notifiers use no address
_LOG: Final = logging.getLogger(__name__)

Tell = Callable[[str, str], bool]
"""Sends a title and a text, and returns whether they may have arrived."""


def update_alerts(database: Database, problems: list[Problem], tell: Tell, now: datetime) -> tuple[int, int]:
    """Tell of new *problems* and of those that are over; return how many of each.

    What could not be reported is reported the next time. Of several processes one reports a problem.
    """
    with database.read() as tx:
        known = problem_queries.list_alerts(tx)
    if not problems and not known:
        return 0, 0
    with database.write() as tx:
        problem_queries.note_seen(tx, [(one.key, one.message) for one in problems], now)
    reported = {row.key for row in known if row.reported_at is not None}
    began = sum(_tell_beginning(database, one, tell, now) for one in problems if one.key not in reported)
    present = {one.key for one in problems}
    ended = [row for row in known if row.key not in present and now - row.seen_at >= OVER_AFTER]
    return began, sum(_tell_end(database, row, tell) for row in ended)


def _tell_beginning(database: Database, problem: Problem, tell: Tell, now: datetime) -> bool:
    with database.write() as tx:
        if not problem_queries.claim_unreported(tx, problem.key, now):
            return False
    if tell(f"nurture: {problem.message.partition(':')[0]}", f"{problem.message}.\n{problem.remedy}"):
        return True
    with database.write() as tx:
        problem_queries.return_unreported(tx, problem.key)
    return False


def _tell_end(database: Database, row: AlertRow, tell: Tell) -> bool:
    with database.write() as tx:
        if not problem_queries.delete_ended(tx, row.key, row.seen_at) or row.reported_at is None:
            return False
    short = row.description.partition(":")[0]
    return tell(f"nurture: over: {short}", f"This is over since {row.seen_at:%Y-%m-%d %H:%M} UTC: {row.description}.")


def tell_by(notifiers: Sequence[Provider], clock_now: Callable[[], datetime], installation: str) -> Tell:
    """Return what tells by every one of *notifiers*; one that may have delivered is enough."""

    def tell(title: str, text: str) -> bool:
        text = f"{text}\n\n{installation}".rstrip()
        email = ComposedEmail("alert", _NOBODY, _NOBODY, None, title, "", text, ())
        receipts = [receipt for one in notifiers for receipt in one.send([email], clock_now())]
        for receipt in receipts:
            if not isinstance(receipt, Accepted):
                _LOG.warning("alert_not_sent", extra={"reason": str(receipt)})
        return any(isinstance(receipt, Accepted | Unknown) for receipt in receipts)

    return tell
