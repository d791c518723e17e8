"""How a sender domain is described, in the terminal and on pages alike: its use, its warm-up, and its refusals."""

from nurture.journey.delivery.circuit_breakers import DomainStatus


def describe_usage(used: int, limit: int | None) -> str:
    """Return how many emails were sent, of how many that may be."""
    return f"{used:,} sent, no limit" if limit is None else f"{used:,} of {limit:,}"


def describe_warm_up(one: DomainStatus) -> str:
    """Return how far the warm-up of a domain is, "" for a domain without one."""
    day, warm_up = one.warm_up_day, one.limits.warm_up
    if day is None or warm_up is None:
        return ""
    if day < 1:
        return f"starts on {warm_up.start_date.isoformat()}"
    if one.allowed_today == one.limits.per_day:
        return "finished"
    return f"day {day}, {one.allowed_tomorrow:,} tomorrow" if one.allowed_tomorrow is not None else f"day {day}"


def describe_rate(count: int, sent: int, limit: float) -> str:
    """Return the share of the last emails that were refused, and above which share the domain pauses."""
    if not sent:
        return f"none sent yet; pauses above {_percent(limit)}"
    return f"{count:,} of the last {sent:,}: {_percent(count / sent)}; pauses above {_percent(limit)}"


def _percent(share: float) -> str:
    return f"{f'{share * 100:.2f}'.rstrip('0').rstrip('.')} %"
