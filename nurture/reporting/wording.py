"""How reports write their figures, in the terminal and on pages alike."""


def format_percent(share: float | None) -> str:
    """Return a share as a percentage, "-" for None."""
    return "-" if share is None else f"{share * 100:.1f} %"


def pluralize(count: int, thing: str) -> str:
    """Return a count with its noun: 1 row, 2 rows."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
