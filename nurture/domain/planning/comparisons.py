"""Compare field values: text ignoring case, numbers as numbers, postcodes."""

from enum import StrEnum
from math import isfinite
from typing import assert_never

from nurture.domain.lead import FieldValue, has_value


class Comparison(StrEnum):
    """How a field is compared."""

    IS = "is"
    IS_NOT = "is_not"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    EXISTS = "exists"


def _fold_text(value: FieldValue) -> FieldValue:
    return value.casefold().strip() if isinstance(value, str) else value


def to_number(value: FieldValue) -> float | None:
    """Return a field's value as a number, None if it is not one."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _equal(actual: FieldValue, value: FieldValue) -> bool:
    if isinstance(actual, bool) or isinstance(value, bool):
        return actual is value
    if isinstance(actual, str) and isinstance(value, str):
        return _fold_text(actual) == _fold_text(value)  # "01067" and "1067" are two postal codes
    left, right = to_number(actual), to_number(value)
    return left is not None and left == right


def matches(comparison: Comparison, actual: FieldValue, value: FieldValue | tuple[FieldValue, ...]) -> bool:
    """Return whether the field's value compares as requested with *value*, or with one of several."""
    options = value if isinstance(value, tuple) else (value,)
    present = has_value(actual)
    match comparison:
        case Comparison.EXISTS:
            return present is bool(value)
        case Comparison.IS:
            return present and _equal(actual, options[0])
        case Comparison.IS_NOT:
            return not (present and _equal(actual, options[0]))
        case Comparison.IN:
            return present and any(_equal(actual, option) for option in options)
        case Comparison.NOT_IN:
            return not (present and any(_equal(actual, option) for option in options))
        case Comparison.CONTAINS:
            text = str(_fold_text(actual)) if present else ""
            return present and any(str(_fold_text(option)) in text for option in options)
        case Comparison.AT_LEAST | Comparison.AT_MOST:
            number, bound = to_number(actual), to_number(options[0])
            if number is None or bound is None:
                return False
            return number >= bound if comparison is Comparison.AT_LEAST else number <= bound
        case _:
            assert_never(comparison)


def normalize_postcode(code: FieldValue, like: str = "") -> str:
    """Return a postcode without spaces, hyphens and a country prefix ("D-80331").

    A postcode that arrived as a number has lost its leading zeros: it is padded to the length of *like*.
    """
    if isinstance(code, bool) or code is None:
        return ""
    plain = "".join(letter for letter in str(code).upper() if letter.isalnum())
    if not isinstance(code, str):
        return plain.zfill(len(like))
    before, dash, after = code.upper().strip().partition("-")
    if dash and before.isalpha() and after[:1].isdigit():
        return "".join(letter for letter in after if letter.isalnum())
    return plain
