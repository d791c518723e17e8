"""Read counts and amounts as people of all countries write them; what is in doubt is refused, not guessed."""

import re
import unicodedata
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Final

from nurture.formats.languages import month_number
from nurture.formats.rejected_rows import InvalidCell
from nurture.formats.tables import read_words

_MAX_COUNT: Final = 2_000_000_000  # what an integer column holds
_MAX_AMOUNT: Final = 1e12
_MAX_LENGTH: Final = 60

_SPACE: Final = re.compile(r"[\s\u00a0\u2007\u2009\u202f]+")
_DIGITS: Final = r"(?:\d(?:[\d.,' ]*\d)?|[.,]\d+)(?:e[+-]?\d{1,2}(?!\w))?"
_NUMBER: Final = re.compile(rf"(?P<before>[^\d]*?)(?P<digits>{_DIGITS})(?P<after>[^\d]*)", re.IGNORECASE)
_COUNT: Final = re.compile(
    rf"(?P<digits>{_DIGITS}) ?(?P<unit>[^\W\d_]*)(?: ?[-\u2013\u2014] ?(?P<to>{_DIGITS}) ?(?P<to_unit>[^\W\d_]*))?",
    re.IGNORECASE,
)
_NO_CENTS: Final = re.compile(r"^[.,] ?[-\u2013\u2014]{1,2}")
_SIGNS: Final = re.compile(r"[-+\u2212\u2013]")
_GROUPS: Final = re.compile(r"\d{1,3}(?:([.,' ])\d{3})(?:\1\d{3})*|\d{1,2}(?:([.,' ])\d{2})(?:\2\d{2})*\2\d{3}")
_LIKE_A_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d.*|\d{1,2}[-. ]?([^\W\d]{3,9})\.?|([^\W\d]{3,9})\.?[-. ]?\d{1,4}")


class AmbiguousNumber(InvalidCell):
    """The separator of a number marks either thousands or decimals."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:_MAX_LENGTH]!r} is not a clear amount: does its separator mark thousands or decimals?",
            "write it as 12000.00, or give another amount of the column with both separators",
        )


@dataclass(slots=True)
class DecimalEvidence:
    """Evidence of the numbers of one column for its decimal mark."""

    marks: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        """Add the evidence of a cell."""
        found = _NUMBER.fullmatch(_plain(text)[:_MAX_LENGTH])
        if found is None:
            return
        digits = found["digits"]
        separators = [letter for letter in digits if letter in ".,"]
        if len(set(separators)) == 2 or (separators and not _is_ambiguous(digits)):
            last = separators[-1]
            is_decimal = separators.count(last) == 1
            self.marks.add(last if is_decimal else {".": ",", ",": "."}[last])

    def decimal_mark(self) -> str | None:
        """Return the decimal mark; None without evidence or with contradicting evidence."""
        return next(iter(self.marks)) if len(self.marks) == 1 else None


def read_amount(text: str, decimal_mark: str | None = None) -> float:
    """Return the amount of a deal: 1,234.50 or 1.234,50 € or 12k. *decimal_mark* decides 12,000.

    Raises InvalidCell for a negative, an unclear or any other text. If the mark makes three decimals of an amount, as
    of 1.234, it stays unclear: money has two.
    """
    number = read_number(text, decimal_mark)
    if decimal_mark and re.fullmatch(rf"(?!0)\d{{1,3}}\{decimal_mark}\d{{3}}", re.sub(r"[^\d.,]", "", text)):
        raise InvalidCell(f"{text[:_MAX_LENGTH]!r} is not a clear amount", "write it as 1234.50")
    if not 0 <= number <= _MAX_AMOUNT:
        raise InvalidCell(
            f"{text[:_MAX_LENGTH]!r} is out of range for a deal", f"write a number from 0 to {_MAX_AMOUNT:,.0f}"
        )
    return number


@lru_cache(maxsize=4096)
def read_number(text: str, decimal_mark: str | None = None) -> float:
    """Return a number with separators, sign, currency and magnitude. Raises InvalidCell, mostly AmbiguousNumber."""
    plain = _plain(text)
    is_negative = plain.startswith("(") and plain.endswith(")")
    found = _NUMBER.fullmatch(plain.strip("()") if is_negative else plain)
    if found is not None and len(plain) <= _MAX_LENGTH:
        before, after = found["before"], _NO_CENTS.sub("", found["after"])
        signs = _SIGNS.findall(before + after)
        scale = _read_words(_SIGNS.sub(" ", before), _SIGNS.sub(" ", after))
        value = _parse_digits(found["digits"], decimal_mark, text)
        if value is not None and scale is not None and len(signs) + is_negative <= 1:
            return float(-value * scale if is_negative or signs not in ([], ["+"]) else value * scale)
    raise InvalidCell(f"{text[:_MAX_LENGTH]!r} is not a clear amount", "write it as 1234.50")


@lru_cache(maxsize=4096)
def read_count(text: str) -> int | None:
    """Return a number of people, for a range ("21-50", "1,000+") its lower end; None without a clear number.

    A single separator before three digits marks thousands: there are no thousandths of people.
    """
    plain = _plain(text)
    found = _COUNT.search(plain)
    if found is None or plain[0] in "-\u2212" or (plain[0] == "(" and plain[-1] == ")") or _is_like_a_date(plain):
        return None
    value, upper = (_parse_digits(digits, "", text) if digits else None for digits in (found["digits"], found["to"]))
    scale, upper_scale = (_magnitude(found[name] or "") for name in ("unit", "to_unit"))
    if value is None or (scale > 1 and _is_ambiguous(found["digits"])):
        return None
    if scale == 1 and upper is not None and value < upper:  # 1-5k is 1,000 to 5,000
        scale = upper_scale
    number = int(value * scale)
    return number if number <= _MAX_COUNT else None


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip().replace("\u2019", "'")


def _is_like_a_date(text: str) -> bool:
    """Return whether a spreadsheet may have turned the range 1-10 into a date such as Jan 10."""
    found = _LIKE_A_DATE.fullmatch(text)
    return found is not None and (found.lastindex is None or month_number(found[found.lastindex]) is not None)


def _is_ambiguous(digits: str) -> bool:
    """Return whether the only separator stands before three digits: 1.234 and 12,000, but not 0.123."""
    return re.fullmatch(r"(?!0)\d{1,3}[.,]\d{3}", digits) is not None


def _parse_digits(digits: str, decimal_mark: str | None, text: str) -> Decimal | None:
    """Return the value; *decimal_mark* "" means that an only separator marks thousands. Raises AmbiguousNumber."""
    mantissa, _, exponent = digits.casefold().partition("e")
    if _is_ambiguous(mantissa):
        if decimal_mark is None:
            raise AmbiguousNumber(text)
        mark = decimal_mark if decimal_mark and decimal_mark in mantissa else ""
    else:
        mark = next((letter for letter in reversed(mantissa) if letter in ".,"), "")
        mark = mark if mantissa.count(mark) == 1 else ""
    whole, _, fraction = mantissa.partition(mark) if mark else (mantissa, "", "")
    if not (whole.isdecimal() or not whole or _GROUPS.fullmatch(whole)) or not (fraction.isdecimal() or not fraction):
        return None
    whole = re.sub(r"[.,' ]", "", whole)
    return Decimal(f"{whole or 0}.{fraction or 0}e{exponent or 0}")


def _read_words(before: str, after: str) -> int | None:
    """Return the magnitude in the words around a number, None if there is another word than currencies."""
    scale = 1
    for place, words in enumerate((before, after)):
        for word in re.sub(r"[.,]", " ", words).split():
            letters = "".join(letter for letter in word if unicodedata.category(letter) != "Sc")
            magnitude = _magnitude(letters) if place else 1
            if magnitude > 1 and scale == 1:
                scale = magnitude
            elif magnitude > 1 or (letters and not _is_currency(letters)):
                return None
    return scale


def _magnitude(word: str) -> int:
    return int(read_words("magnitude").get(word.casefold(), 1))


def _is_currency(word: str) -> bool:
    if word.casefold() in read_words("currency"):
        return True
    from babel.core import get_global  # noqa: PLC0415 - a tenth of a second, and rarely needed

    return word.upper() in get_global("all_currencies")
