"""Recognize automatic replies and the return date of absences, by phrases of all languages (see `phrase_patterns`)."""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cache, lru_cache
from typing import Final, NamedTuple

from nurture.formats.languages import LANGUAGES, WORDS_LIKE_MONTHS, fold, month_numbers, month_numbers_in
from nurture.mail.inbound.phrase_patterns import (
    PhraseIndex,
    Sentence,
    languages,
    load_list,
    load_phrases,
    normalize,
)

_MAX_TEXT: Final = 5_000
_TAG: Final = re.compile(r"\s{0,9}\[[^\]\n]{1,30}\]")
_PREFIX: Final = re.compile(r"[^:\uff1a]{1,60}[:\uff1a]")
_MAX_REPLY_PREFIX: Final = 6
"""Letters of a prefix such as "Re" and "Antw" that mail programs put before the subject of a person's reply."""

_GAP_END: Final = re.compile(r"[.!?;\u3002\uff01\uff1f0-9]")
"""Characters that cannot occur between a phrase and its date."""

_MAX_GAP: Final = 45
"""Characters allowed between a phrase and its date, the date after the phrase or before it."""

_MAX_DAYS_WITHOUT_YEAR: Final = 200
_MAX_DAYS_WITH_YEAR: Final = 400
"""Days ahead for a date without and with a year. A later date is a mistake or belongs to another year."""

_STEM: Final = 4
"""Letters at the start of a month's name that stay the same with any ending, and the most that an ending has."""

_NAME: Final = r"[^\W\d_]{2,15}"
_DAY_FIRST: Final = re.compile(
    r"(?<!\d)(?P<d>\d{1,2})(?:st|nd|rd|th|er|\.|º|ª)? ?(?:(?:of|de|ta|d|di|der|den|a)['\u2019]? )?"
    rf"(?P<m>{_NAME})\.?,?(?: ?(?:del? )?(?P<y>\d{{4}})(?!\d))?",
    re.IGNORECASE,
)
_MONTH_FIRST: Final = re.compile(
    rf"(?:(?<!\d)(?P<y>\d{{4}})[.,]? (?:m\. )?)?(?<![^\W\d_])(?P<m>{_NAME})\.? "
    r"(?P<d>\d{1,2})(?![\d:])(?:st|nd|rd|th)?(?:,? ?(?P<y2>\d{4})(?!\d))?",
    re.IGNORECASE,
)
_NUMERIC: Final = re.compile(
    r"(?<!\d)(?:(?P<iso>\d{4}[-./]\d{1,2}[-./]\d{1,2})(?!\d)"
    r"|(?:(?P<y1>\d{4}) ?[年년] ?)?(?P<m1>\d{1,2}) ?[月월] ?(?P<d1>\d{1,2}) ?[日일号號]"
    r"|(?P<d3>\d{1,2})\. ?(?P<m3>\d{1,2})\.(?: ?(?P<y3>\d{4}|\d{2})\b)?"
    r"|(?P<a4>\d{1,2})(?P<sep>[/.-])(?P<b4>\d{1,2})(?:(?P=sep)(?P<y4>\d{4}|\d{2}))?\b)"
)


class _Found(NamedTuple):
    """A date in a text: its place, and its parts; *names* is a month's name, *ambiguous* which number is the day."""

    start: int
    end: int
    year: int | None
    month: int
    day: int
    name: str = ""
    ambiguous: bool = False


def is_automatic_subject(subject: str) -> bool:
    """Return whether the subject is that of an automatic reply, not of a person's reply to one."""
    plain = normalize(_TAG.sub("", subject[:500], count=1))
    return plain.startswith(_subject_starts())


def is_receipt_subject(subject: str) -> bool:
    """Return whether the subject is that of a receipt: a word for "read", a colon, and the subject of our mail."""
    prefix = _PREFIX.match(subject.strip())
    if prefix is None:
        return False
    return normalize(prefix[0]).strip() in {phrase.text.strip() for _, phrase in load_list("receipt_subject")}


def has_unusual_prefix(subject: str) -> bool:
    """Return whether some words and a colon precede the subject, unlike "Re:" in any language."""
    prefix = _PREFIX.match(subject.strip())
    letters = normalize(prefix[0]).strip() if prefix is not None else ""
    return " " in letters or len(letters) > _MAX_REPLY_PREFIX or (bool(letters) and not letters.isascii())


@cache
def _subject_starts() -> tuple[str, ...]:
    return tuple(one.text if one.text[:1] == " " else f" {one.text}" for _, one in load_list("automatic_subject"))


def find_absence(text: str) -> str:
    """Return the phrase that says that somebody is away, "" without one."""
    return min((one.text.strip() for one in _phrases("absence").find(Sentence.of(text[:_MAX_TEXT]))), default="")


def find_automatic_phrases(text: str) -> list[str]:
    """Return the phrases of automatic replies in a text, each once, without those that are part of another."""
    found = {one.text.strip() for one in _phrases("automatic").find(Sentence.of(text[:_MAX_TEXT]))}
    return sorted(one for one in found if not any(one != other and one in other for other in found))


@cache
def _phrases(kind: str) -> PhraseIndex:
    return PhraseIndex(dict.fromkeys(phrase for _, phrase in load_list(kind)))


def parse_return_date(text: str, today: date) -> date | None:
    """Return the return date in an out-of-office reply.

    Return None if there is none, more than one, an ambiguous one, or one too far ahead.
    """
    plain = " ".join(text[:_MAX_TEXT].split())
    dates = _find_dates(plain)
    if not dates:
        return None
    for kind, after_kind, delay in (("back", "back_after", 0), ("until", "until_after", 1)):
        days = _dates_near(plain, dates, kind, after_kind, today)
        if days:
            day = days.pop() if len(days) == 1 else None
            return day + timedelta(days=delay) if day is not None else None
    return None


def find_future_dates(text: str, today: date, *, day_first: bool = False) -> list[date]:
    """Return the dates in a text that are ahead, in order; 3/4 only with *day_first*."""
    plain = " ".join(text[:_MAX_TEXT].split())
    found = [_resolve(one, "day first" if day_first else "", today) for one in _find_dates(plain)]
    return [day for day in found if day is not None]


def _dates_near(plain: str, dates: Sequence[_Found], before: str, after: str, today: date) -> set[date | None]:
    """Return the dates near phrases. If languages disagree on a date, the one with more phrases in the text counts."""
    lowered = plain.casefold()
    ends = [match.start() for match in _GAP_END.finditer(plain)]
    found: dict[str, set[date | None]] = {}
    for language in languages():
        chosen = {
            one
            for kind, is_after in ((before, False), (after, True))
            for pattern in (_phrase_regex(language, kind),)
            if pattern is not None
            for one in _closest(pattern, lowered, dates, ends, after_only=is_after, both=kind == "back")
        }
        if chosen:
            days = {_resolve(one, language, today) for one in chosen}
            found[language] = days - {None} or days
    if not found:
        return set()
    if len(set().union(*found.values())) > 1:
        counts = _count_phrases(plain)
        best = max(counts[language] for language in found)
        found = {language: days for language, days in found.items() if counts[language] == best}
    return set().union(*found.values())


@cache
def _phrase_regex(language: str, kind: str) -> re.Pattern[str] | None:
    """Return an expression for the phrases of one kind in one language; it searches text with accents."""
    content = load_phrases(language)
    loose = "no" in (content.get("spaces"), content.get("borders"))
    written = sorted(content.get(kind, ()), key=len, reverse=True)
    if not written:
        return None
    expressions = [
        ("" if loose or one.startswith("*") else r"(?<!\w)")
        + re.escape(one.strip("*").casefold())
        + ("" if loose or one.endswith("*") else r"(?!\w)")
        for one in written
    ]
    return re.compile("|".join(expressions))


def _closest(
    pattern: re.Pattern[str], text: str, dates: Sequence[_Found], ends: Sequence[int], *, after_only: bool, both: bool
) -> Iterator[_Found]:
    """Yield for each phrase the date that follows it closely; the date before it if *after_only*, or else if *both*."""
    starts = [one.start for one in dates]
    for phrase in pattern.finditer(text):
        index = bisect_left(starts, phrase.end())
        following = dates[index] if index < len(dates) else None
        inside = next((one for one in dates[max(0, index - 1) : index] if one.end > phrase.start()), None)
        before = [one for one in dates[max(0, index - 2) : index] if one.end <= phrase.start()]
        if inside is not None:
            continue
        if not after_only and following is not None and _is_close(phrase.end(), following.start, ends):
            yield following
        elif (after_only or both) and before and _is_close(before[-1].end, phrase.start(), ends):
            yield before[-1]


def _is_close(start: int, end: int, ends: Sequence[int]) -> bool:
    at = bisect_left(ends, start)
    return end - start <= _MAX_GAP and not (at < len(ends) and ends[at] < end)


def _count_phrases(text: str) -> Counter[str]:
    """Return how many phrases of absences each language has in a text: a guess at its language."""
    plain, squeezed = Sentence.of(text)
    return Counter(
        language
        for kind in ("absence", "automatic", "back", "back_after", "until", "until_after", "polite")
        for language, phrase in load_list(kind)
        if phrase[0] in (squeezed if phrase[1] else plain)
    )


def _find_dates(plain: str) -> list[_Found]:
    """Return the dates in a text, in order; overlapping ones once."""
    candidates = [one for match in _NUMERIC.finditer(plain) if (one := _from_numbers(match)) is not None]
    candidates += [
        _Found(match.start(), match.end(), _year(match["y"]), 0, int(match["d"]), match["m"])
        for match in _DAY_FIRST.finditer(plain)
        if _is_month(match["m"], has_year=match["y"] is not None)
    ]
    candidates += [
        _Found(match.start(), match.end(), _year(match["y"] or match["y2"]), 0, int(match["d"]), match["m"])
        for match in _MONTH_FIRST.finditer(plain)
        if _is_month(match["m"], has_year=bool(match["y"] or match["y2"]))
    ]
    found: list[_Found] = []
    for one in sorted(candidates, key=lambda one: (one.start, -one.end)):
        if not found or one.start >= found[-1].end:
            found.append(one)
    return found


def _from_numbers(match: re.Match[str]) -> _Found | None:
    if match["iso"]:
        year, month, day = (int(part) for part in re.split("[-./]", match["iso"]))
        return _Found(match.start(), match.end(), year, month, day)
    if match["m1"]:
        return _Found(match.start(), match.end(), _year(match["y1"]), int(match["m1"]), int(match["d1"]))
    if match["d3"]:
        return _Found(match.start(), match.end(), _year(match["y3"]), int(match["m3"]), int(match["d3"]))
    first, second = int(match["a4"]), int(match["b4"])
    if match["sep"] == "." and not match["y4"]:
        return None  # a time, or the number of a version
    day, month = (second, first) if second > 12 else (first, second)
    ambiguous = match["sep"] != "." and first != second and first <= 12 and second <= 12
    return _Found(match.start(), match.end(), _year(match["y4"]), month, day, ambiguous=ambiguous)


def _year(text: str | None) -> int | None:
    if not text:
        return None
    return int(text) if len(text) == 4 else 2000 + int(text)


def _is_month(name: str, *, has_year: bool) -> bool:
    if fold(name) in WORDS_LIKE_MONTHS or name.casefold() in WORDS_LIKE_MONTHS:
        return has_year
    return bool(_months_by_language(name))


@cache
def _month_names() -> dict[str, dict[str, int]]:
    """Return the months that a name means, by language."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for language in (*LANGUAGES, *(one for one in languages() if one not in LANGUAGES)):
        for name, number in month_numbers_in(language).items():
            found[name][language] = number
    for name, number in month_numbers().items():
        found[name].setdefault("en", number)
    return dict(found)


@cache
def _month_stems() -> dict[str, list[str]]:
    """Return the long names of months by their first letters, for names with another ending."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in _month_names():
        if len(name) > _STEM:
            found[name[:_STEM]].append(name)
    return found


@lru_cache(maxsize=1024)
def _months_by_language(name: str) -> dict[str, int]:
    """Return the month that a word means in each language, with any ending; {} if it is no month."""
    plain, names = name.casefold().removeprefix("ב"), _month_names()
    known = names.get(plain) or names.get(fold(name))
    if known:
        return known
    found: dict[str, int] = {}
    for one in _month_stems().get(plain[:_STEM], ()):
        if plain.startswith(one[: max(_STEM + 1, len(one) - 2)]) and len(plain) <= len(one) + _STEM:
            found = {**names[one], **found}
    return found


def list_months(name: str) -> frozenset[int]:
    """Return the months that a whole word names in any language, with "may", "mars" and other words that mean more."""
    return frozenset(_months_by_language(name).values()) if len(name) > 2 else frozenset()


def find_month(name: str) -> int | None:
    """Return the month that a word of at least five letters names in any language, with any ending."""
    if len(name) < _STEM or fold(name) in WORDS_LIKE_MONTHS:
        return None
    return next(iter(_months_by_language(name).values()), None)


def _resolve(found: _Found, language: str, today: date) -> date | None:
    """Return the date ahead that is meant, in the words of *language* if it knows them; None if it is ambiguous."""
    if found.ambiguous and language in ("", "en"):
        return None  # 3/4 is March 4 or April 3
    month = found.month
    if found.name:
        months = _months_by_language(found.name)
        month = months.get(language) or next(iter(months.values()))
    for year in (today.year, today.year + 1) if found.year is None else (found.year,):
        try:
            candidate = date(year, month, found.day)
        except ValueError:
            continue
        limit = _MAX_DAYS_WITHOUT_YEAR if found.year is None else _MAX_DAYS_WITH_YEAR
        if today < candidate <= today + timedelta(days=limit):
            return candidate
    return None
