"""How reports write their figures, in the terminal and on pages alike."""


def format_percent(share: float | None) -> str:
    """Return a share as a percentage, "-" for None."""
    return "-" if share is None else f"{share * 100:.1f} %"
