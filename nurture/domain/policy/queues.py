"""Define who works the leads in queues, and how soon.

The time of a lead counts from when it entered its queue, whatever moved its due date since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from nurture.domain.lead import Queue
from nurture.domain.planning.calendar import NeverOpens, openings
from nurture.domain.policy.business_hours import DurationUnit, SlaDuration, WorkCalendar

OTHERS: Final = "others"
"""The entry for all queues without one of their own."""

DEFAULT_WITHIN: Final = SlaDuration(1, DurationUnit.BUSINESS_DAYS)
"""In which time leads are decided about in queues of which the policy says nothing."""

REVIEW_INTERVAL: Final = timedelta(days=7)
"""How often a lead in a queue is checked again, besides when its time is over."""

NOTIFIED_AT_ONCE: Final = frozenset({Queue.MANAGER_DECISION})
"""Queues whose owner is emailed when a lead enters, not only in the morning."""

LISTED_DAILY: Final = frozenset(
    {
        Queue.HAND_OFF,
        Queue.NO_CONSENT_BASIS,
        Queue.NO_ADDRESS,
        Queue.SUPPRESSED,
        Queue.OWNER_UNKNOWN,
        Queue.AMBIGUOUS,
    }
)
"""Queues that leads enter in large numbers: their owner is notified in the morning only."""

_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)
_LONGEST_HOLIDAYS: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class QueueRule:
    """Who works the leads of a queue (*owner*, a rep or manager), in which time, and who is notified afterwards too.

    *co_owners* get all that the owner gets.
    """

    owner: str
    within: SlaDuration
    deputy: str | None = None
    co_owners: tuple[str, ...] = ()

    def recipients(self, *, late: bool) -> tuple[str, ...]:
        """Return who is notified of leads in the queue: the owners, and the deputy of late ones."""
        return (*self.owners, self.deputy) if late and self.deputy else self.owners

    @property
    def owners(self) -> tuple[str, ...]:
        """Return the owner and the co-owners."""
        return (self.owner, *self.co_owners)

    def reminder_at(self, since: datetime, calendar: WorkCalendar) -> datetime:
        """Return when owner and deputy are notified of a lead that entered at *since*.

        At the full hour before its time is over, so that one email lists many leads.
        """
        return self.within.after(since, calendar).replace(minute=0, second=0, microsecond=0)

    def late_since(self, now: datetime, calendar: WorkCalendar) -> datetime:
        """Return the newest entry whose time is over at *now*, in a year without openings to the minute."""
        length = self.within.length(calendar)
        if self.within.unit is DurationUnit.CLOCK_HOURS or length <= timedelta():
            return now - length
        earliest = now - 8 * length - _LONGEST_HOLIDAYS
        try:
            worked = openings(calendar.window, calendar.zone, calendar.days_off, earliest)
            spans = [(one.start, min(one.end, now)) for one in takewhile(lambda one: one.start < now, worked)]
        except NeverOpens:
            return self._search_late_since(earliest, now, calendar)
        for start, end in reversed(spans):
            if end - start >= length:
                return end - length
            length -= end - start
        return earliest

    def _search_late_since(self, earliest: datetime, newest: datetime, calendar: WorkCalendar) -> datetime:
        now = newest
        while newest - earliest > _MINUTE:
            middle = earliest + (newest - earliest) / 2
            if self.within.after(middle, calendar) <= now:
                earliest = middle
            else:
                newest = middle
        return earliest

    def earliest_reminder(self, calendar: WorkCalendar) -> timedelta:
        """Return the least time from the entry to the reminder: working time takes at least as long as clock time."""
        return max(self.within.length(calendar) - _HOUR, timedelta())


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """The rule of each queue, by name; OTHERS applies to those that are not named.

    *default* applies where the policy says nothing: it was published before `queues:` was required.
    """

    rules: Mapping[str, QueueRule] = field(default_factory=dict)
    default: QueueRule | None = None

    def stated_rule(self, queue: str) -> QueueRule | None:
        """Return the rule that the policy states for a queue, None if it states none."""
        return self.rules.get(queue) or self.rules.get(OTHERS)

    def rule_for(self, queue: str) -> QueueRule | None:
        """Return the rule of a queue, None if nobody works it."""
        return self.stated_rule(queue) or self.default

    def late_since(self, queues: Iterable[str], now: datetime, calendar: WorkCalendar) -> dict[str, datetime]:
        """Return for each of *queues* that somebody works the newest entry whose time is over at *now*."""
        rules = {name: self.rule_for(name) for name in queues}
        by_rule = {rule: rule.late_since(now, calendar) for rule in set(rules.values()) if rule is not None}
        return {name: by_rule[rule] for name, rule in rules.items() if rule is not None}

    @property
    def people(self) -> tuple[str, ...]:
        """Return the ids of all owners and deputies."""
        default = () if self.default is None or OTHERS in self.rules else (self.default,)
        named = (id_ for rule in (*self.rules.values(), *default) for id_ in rule.recipients(late=True))
        return tuple(dict.fromkeys(named))
