"""Recognize opt-outs, undeliverable addresses and complaints by what columns and cells say, in any language.

The vocabulary is `data/opt_outs.csv`. Names and texts are compared without case, accents and separators.
"""

import re
import unicodedata
from functools import cache, lru_cache
from typing import Final, NamedTuple

from nurture.domain.plain_text import strip_accents
from nurture.formats.dates import is_date_like, is_no_date
from nurture.formats.tables import read_table, split_cell

OPTED_OUT: Final = "opted_out"
UNDELIVERABLE: Final = "undeliverable"
COMPLAINED: Final = "complained"
SUBSCRIBED: Final = "subscribed"
"""A column in which a no is an opt-out, and a yes a consent."""

REFUSALS: Final = (OPTED_OUT, UNDELIVERABLE, COMPLAINED)
ALLOWED: Final = "allowed"
UNDECIDED: Final = "undecided"
DENIED: Final = "denied"

MAX_SHORT: Final = 60
"""Characters of a text that may be a status."""

MAX_REMARK: Final = 500
"""Characters of a remark that may say that its lead wants no email."""

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TOPIC: Final = re.compile(
    r"(?:opted out of (?:e-?mails?|newsletters?)|(?:unsubscribed|opt(?:ed)?.?out) from (?:e-?mails?|topic))\s*:\s*(.+)",
    re.IGNORECASE,
)
_TOPIC_ID: Final = re.compile(r"hs_email_optout_(\d+)", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_PLAIN_YES_OR_NO: Final = re.compile(r"[-+]?0*[01]?(?:[.,]0+)?")
_E_MAIL: Final = re.compile(r"\be (?=mails?\b|post|pos\b|bost)")
_DEAD_MAILBOX: Final = re.compile(r"\b5\d\d[ -]#?5\.1\.\d{1,2}\b")
_KNOWN_SCRIPTS: Final = frozenset(
    {"LATIN", "CYRILLIC", "GREEK", "HEBREW", "ARABIC", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI"}
)
_FALSE_IN_OBJECT: Final = re.compile(r"[:=]\s*\"?(?:false|no|unsubscribed)\b", re.IGNORECASE)
_CLAUSE: Final = re.compile(r"[.;,!?\n|()\[\]\u2013\u2014]|:\s|\s[-/]\s")
_PART: Final = re.compile(r"[.;!?()]|, (?=(?:which|die|que|qui|che)\b)|\s[-\u2013]\s|,? \b(?:and|und|et|y|e|en|i)\b ")
_ASCII_WORD: Final = re.compile(r"[a-z]+")
_FEW_WORDS: Final = 3
_BLANKS: Final = "-\u2013\u2014_.?/ "
_OTHER_CODE: Final = "2"
"""In some systems a permission is 1 for yes and 2 for no."""

_MAX_CACHED: Final = 4_096


class ColumnMeaning(NamedTuple):
    """What a column's name says: a field, and the topic that an opt-out column names, "" for all mail."""

    field: str
    topic: str = ""


class UnclearName(NamedTuple):
    """A name that may be an opt-out's. *positive*: it speaks of a permission, so that only a no is an opt-out.

    *is_status*: the column holds a status, *is_email*: about email; known status words in it are read anyway.
    *by_value*: only some of its texts speak of opting out.
    """

    positive: bool = False
    is_status: bool = False
    is_email: bool = False
    by_value: bool = False


class Reading(NamedTuple):
    """What a cell says: a refusal, "allowed", "undecided", "denied" or, for an empty cell, "".

    *known* False means that the text is not in the vocabulary.
    """

    says: str
    known: bool = True


@lru_cache(maxsize=_MAX_CACHED)
def plain_words(text: str) -> str:
    """Return the words of *text* without case, accents and punctuation, separated by single spaces."""
    spaced = _CAMEL.sub(" ", re.sub(r"__c$|['\u2019`]", "", text.strip()[:200]))
    bare = unicodedata.normalize("NFKC", strip_accents(spaced.casefold()))
    return _E_MAIL.sub("e", " ".join(re.sub(r"[\W_]+", " ", bare).split()))


def _join(text: str) -> str:
    return plain_words(text).replace(" ", "")


@cache
def _rows() -> list[dict[str, str]]:
    return list(read_table("opt_outs.csv"))


@cache
def _texts(kind: str) -> dict[str, str]:
    """Return the meaning of each joined text of *kind*."""
    rows = [row for row in _rows() if row["kind"] == kind]
    return {joined: row["meaning"] for row in rows for text in split_cell(row["texts"]) if (joined := _join(text))}


@cache
def _words(kind: str, meaning: str = "") -> frozenset[str]:
    """Return the texts of *kind* as words."""
    rows = [row for row in _rows() if row["kind"] == kind and meaning in ("", row["meaning"])]
    return frozenset(words for row in rows for text in split_cell(row["texts"]) if (words := plain_words(text)))


@cache
def _pattern(kind: str) -> re.Pattern[str]:
    """Return a pattern that finds the stems of *kind* in a joined text."""
    return re.compile("|".join(sorted(map(re.escape, _texts(kind)), key=len, reverse=True)))


@cache
def _word_pattern(kind: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _words(kind)), key=len, reverse=True))})(?![a-z])")


def _find_stem(kind: str, joined: str) -> str | None:
    found = _pattern(kind).search(joined)
    return _texts(kind)[found[0]] if found else None


@lru_cache(maxsize=_MAX_CACHED)
def find_meaning(name: str) -> ColumnMeaning | None:
    """Return what the column *name* is known to mean, in any spelling; None for an unknown name."""
    name = _without_notice(name)
    topic = _TOPIC.fullmatch(name.strip()) or _TOPIC_ID.fullmatch(name.strip())
    if topic is not None:
        return ColumnMeaning(OPTED_OUT, topic[1].strip())
    plain = plain_words(name)
    joined, names = plain.replace(" ", ""), _texts("name")
    core = [word for word in plain.split() if word not in _words("filler") and not word.isdigit()]
    found = names.get(joined) or names.get("".join(core))
    if _is_other_channel(plain):
        return None
    is_sentence = found is None and len(plain.split()) > _FEW_WORDS
    if is_sentence and _read_sentence(plain, joined).says == ALLOWED:
        found = "consent_basis"  # the label of a box: "I agree to receive marketing emails"
    elif is_sentence and _asks_for_consent(plain, joined):
        found = SUBSCRIBED  # "May we email you?"
    return ColumnMeaning(found) if found is not None else None


def _asks_for_consent(plain: str, joined: str) -> bool:
    """Return whether a label asks for consent to email, without a negation."""
    asks = any(plain.startswith((each + " ", "please " + each + " ")) for each in _words("ask"))
    return asks and bool(_pattern("mail_stem").search(joined)) and not _refuses_mail(plain, joined)


def names_reason(name: str) -> bool:
    """Return whether the column *name* holds a reason or a campaign, which are other texts than yes and no."""
    return bool(_words("reason_word") & set(plain_words(name).split()))


def find_unclear_name(name: str) -> UnclearName | None:
    """Return whether the unknown column *name* may be an opt-out or a permission, None if not."""
    joined = (plain := plain_words(_without_notice(name))).replace(" ", "")
    if not joined or _is_other_channel(plain) or _word_pattern("harmless_word").search(plain):
        return None
    if (
        _pattern("stem").search(joined)
        or _pattern("name_stem").search(joined)
        or _word_pattern("name_word").search(plain)
        or _refuses_mail(plain, joined)
    ):
        return UnclearName()
    is_permission = _pattern("positive_stem").search(joined) or names_email(name)
    if is_permission and not _words("activity_word") & set(plain.split()):
        return UnclearName(True, names_status(name), names_email(name))
    return None


def _refuses_mail(plain: str, joined: str) -> bool:
    """Return whether a name has a negation, or a word such as "inactive", beside a word for email."""
    negated = _words("negation") & set(plain.split()) or _pattern("negation_part").search(joined)
    return bool(negated and _pattern("mail_stem").search(joined))


def _is_other_channel(plain: str) -> bool:
    """Return whether a name speaks of telephone, post, ... and not of email."""
    words = set(plain.split())
    return bool(words & _words("channel", "other")) and not words & _words("channel", "email")


def names_status(name: str) -> bool:
    """Return whether the column *name* holds a status, so that a status word in it means what it says."""
    return bool(_words("status_word") & set(plain_words(name).split()))


def names_email(name: str) -> bool:
    """Return whether the column *name* speaks of email or marketing."""
    return bool(_mail_words() & set(plain_words(name).split()))


class StatusKind(NamedTuple):
    """What a status is about, by the name of its column.

    *is_mailing*: about email, a list or its members, or named just "status": "removed" is an opt-out in it, and
    "pending" is no consent. *may_be_code*: "2" may be one.
    """

    is_mailing: bool
    may_be_code: bool


def find_status_kind(name: str) -> StatusKind:
    """Return what the status in the column *name* is about."""
    words = set((plain := plain_words(name)).split())
    is_plain = plain in _words("status_word", "plain")
    is_mailing = is_plain or names_email(name) or bool(_word_pattern("mailing_word").search(plain))
    may_be_code = is_mailing and bool(_words("status_word", "plain") & words)
    return StatusKind(is_mailing, may_be_code)


def names_opt_in(name: str) -> bool:
    """Return whether a text in the column *name* says how far an opt-in has come, such as "DOI status"."""
    return names_status(name) or "optin" in _join(name) or bool(_words("opt_in_word") & set(plain_words(name).split()))


@lru_cache(maxsize=_MAX_CACHED)
def read_status(text: str, *, weak: bool = True, whole: bool = False) -> str | None:
    """Return the refusal that a status names, None if it names none.

    *weak*: also words such as "cleaned". *whole*: only texts of the vocabulary, not other texts with such a word.
    """
    if len(text) > MAX_SHORT or not (joined := (plain := plain_words(text)).replace(" ", "")):
        return None
    if _DEAD_MAILBOX.search(text):
        return UNDELIVERABLE
    if found := _texts("status").get(joined) or (_texts("status_weak").get(joined) if weak else None):
        return found
    if whole or joined in _texts("allowed") or joined in _texts("undecided") or _is_other_channel(plain):
        return None
    stem = _pattern("stem").search(joined)
    if stem is None or is_soft_bounce(text) or (stem.start() and plain.split()[0] in _words("no")):
        return None  # "not unsubscribed"; but "no contactar" is a stem
    return _texts("stem")[stem[0]]


def find_list_refusal(name: str) -> str | None:
    """Return the refusal after which a list of people is named, such as the sheet "Bounced"; None if it is none."""
    meaning, unclear = find_meaning(name), find_unclear_name(name)
    if meaning is not None and meaning.field in REFUSALS:
        return meaning.field
    is_unclear = unclear is not None and not unclear.positive
    return read_status(name) or (OPTED_OUT if is_unclear else None)


def is_note_refusal(text: str) -> bool:
    """Return whether a remark, or a part of it, says nothing but that the lead wants no email: "Met Jo. No emails!"."""
    if len(text) > MAX_REMARK:
        return False
    known = _words_of_remarks()
    for part in _CLAUSE.split(text.lower().replace("'", "")):
        if not 1 < len(part) <= MAX_SHORT or (part.isascii() and not known.issuperset(_ASCII_WORD.findall(part))):
            continue  # most remarks have other words, too, and reading each takes 11 us
        if _reads_as_refusal(part):
            return True
    return False


@cache
def _words_of_remarks() -> frozenset[str]:
    """Return all words without accents that a remark which refuses email may have, also when written together."""
    kinds = ("note", "note_filler", "status", "negation")
    texts = frozenset[str]().union(*map(_words, kinds), _mail_words(), ["e"])
    return frozenset(
        texts | {word for text in texts for word in text.split()} | {text.replace(" ", "") for text in texts}
    )


@lru_cache(maxsize=_MAX_CACHED)
def _reads_as_refusal(text: str) -> bool:
    if not (words := plain_words(text).split()):
        return False
    core = [word for word in words if word not in _words("note_filler") and not word.isdecimal()] or words
    plain, joined = " ".join(core), "".join(core)
    if joined in _notes() or read_status(plain, weak=False, whole=True) is not None:
        return True
    is_about_mail = all(word in _words("negation") or word in _mail_words() for word in core)
    return is_about_mail and _refuses_mail(plain, joined)


@cache
def _mail_words() -> frozenset[str]:
    return _words("channel", "email") | _words("channel", "marketing")


@cache
def _notes() -> frozenset[str]:
    """Return the joined texts of remarks that refuse email, without words such as "please"."""
    texts = (words.split() for words in _words("note"))
    joined = ("".join([word for word in words if word not in _words("note_filler")]) for words in texts)
    return frozenset(joined) - {""}


def is_unconfirmed(text: str, kind: StatusKind) -> bool:
    """Return whether a status says that the lead has not agreed, or not yet: "not subscribed", "inactive"."""
    found = _texts("status_undecided").get(_join(text)) if len(text) <= MAX_SHORT else None
    return found == "" or (found == "weak" and kind.is_mailing)


def is_soft_bounce(text: str) -> bool:
    """Return whether *text* says that email could not be delivered for now: the address is not known to be dead."""
    joined = _join(text) if len(text) <= MAX_SHORT else ""
    if not joined or _DEAD_MAILBOX.search(text) or _pattern("hard_part").search(joined):
        return False
    return joined in _texts("soft_bounce") or _pattern("soft_part").search(joined) is not None


def is_unread_script(name: str) -> bool:
    """Return whether a column's name is in a script of which the vocabulary has no language."""
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in name if letter.isalpha()}
    return bool(scripts) and scripts.isdisjoint(_KNOWN_SCRIPTS)


@lru_cache(maxsize=_MAX_CACHED)
def read_refusal(text: str, refusal: str = OPTED_OUT, column: str = "") -> Reading:
    """Return what a cell of an opt-out column says. A date or a reason means yes, and so does an unknown text.

    *refusal* is what a plain yes means. In a *column* of hard bounces a full mailbox is one.
    """
    text = text.strip()
    if (yes := _mark_or_number(text)) is not None:
        return Reading(refusal if yes else ALLOWED)
    if not text or is_no_date(text):
        return Reading("")
    if _is_cross(text):
        return Reading(refusal)
    if not (joined := (plain := plain_words(text)).replace(" ", "")):
        return Reading(refusal if text.strip(_BLANKS) else "", known=False)
    if joined in _texts("yes"):
        return Reading(refusal)
    if joined in _texts("no") or joined in _texts("allowed"):
        return Reading(ALLOWED)
    is_soft = is_soft_bounce(text) and not _pattern("hard_part").search(_join(column))
    if refusal == UNDELIVERABLE and (joined in _texts("granted") or is_soft):
        return Reading(ALLOWED)  # an address may be verified; an opt-out that is confirmed is one
    if found := read_status(text):
        return Reading(found if found != OPTED_OUT else refusal)
    if joined in _texts("undecided"):
        return Reading("")
    if joined in _texts("denied") or is_date_like(text):
        return Reading(refusal)
    words = plain.split()
    return Reading(refusal, known=len(words) > 1 and words[0] not in _words("no"))


@lru_cache(maxsize=_MAX_CACHED)
def read_permission(text: str) -> Reading:
    """Return what a cell of a column of permissions says: allowed, denied, undecided, a refusal, or "".

    A sentence allows email only if it says yes, names what is sent, and sets no limit. Other texts are unknown.
    """
    text = _without_notice(text.strip())
    if _NUMBER.fullmatch(text) and not _PLAIN_YES_OR_NO.fullmatch(text):
        return Reading(UNDECIDED, known=False)  # a code of some system, or a count
    if (yes := _mark_or_number(text)) is not None:
        return Reading(ALLOWED if yes else DENIED)
    if _is_cross(text):
        return Reading(UNDECIDED, known=False)
    if not (joined := (plain := plain_words(text)).replace(" ", "")):
        return Reading("")
    if joined in _texts("undecided"):
        return Reading(UNDECIDED)
    if joined in _texts("no") or joined in _texts("denied"):
        return Reading(DENIED)
    if joined in _texts("yes") or joined in _texts("allowed") or joined in _texts("granted"):
        return Reading(ALLOWED)
    if found := read_status(text):
        return Reading(found)
    return _read_sentence(plain, joined)


def _without_notice(text: str) -> str:
    """Return *text* without the part which says that consent can be withdrawn at any time, if there is another."""
    if len(text) <= MAX_SHORT // 2:
        return text
    parts = _PART.split(text)
    kept = [part for part in parts if not _is_notice(plain_words(part))]
    return " ".join(kept) if 0 < len(kept) < len(parts) else text


def _is_notice(plain: str) -> bool:
    if not _word_pattern("any_time").search(plain):
        return False
    words = set(plain.split())
    return bool(words & _words("may")) and not words & _words("negation")


def _read_sentence(plain: str, joined: str) -> Reading:
    if _find_stem("stem", joined) or (
        set(plain.split()) & _words("withdrawn") and not set(plain.split()) & _words("negation")
    ):
        return Reading(DENIED)
    limited = bool(_word_pattern("limit").search(plain)) or any(
        each in joined for each in _texts("limit") if not each.isascii()
    )
    starts_no = plain.split(maxsplit=1)[0] in _words("no")
    if limited or starts_no:
        return Reading(UNDECIDED, known=False)
    assents = any(plain == each or plain.startswith(each + " ") for each in _words("assent"))
    purpose = any(each.replace(" ", "") in joined for each in _words("purpose"))
    return Reading(ALLOWED) if assents and purpose else Reading("", known=False)


def _mark_or_number(text: str) -> bool | None:
    """Return whether *text* is a check mark or not zero (True), an empty box or zero (False), or neither (None)."""
    if _NUMBER.fullmatch(text):
        return bool(re.search("[1-9]", text))
    mark = _marks().get(text.replace(" ", "").replace("\ufe0f", ""))
    return None if mark in (None, "cross") else mark == "yes"


def _is_cross(text: str) -> bool:
    return _marks().get(text.replace("\ufe0f", "")) == "cross"


@cache
def _marks() -> dict[str, str]:
    rows = [row for row in _rows() if row["kind"] == "mark"]
    return {text.replace(" ", ""): row["meaning"] for row in rows for text in split_cell(row["texts"])}


def read_opt_out_flag(text: str) -> bool:
    """Return whether a cell of an opt-out column says that the lead must not be mailed."""
    return read_refusal(text).says in REFUSALS


def may_refuse(text: str, kind: UnclearName) -> bool:
    """Return whether a cell of an unclear column may say that the lead must not be mailed."""
    if kind.by_value:
        return read_status(text) is not None or is_note_refusal(text)
    if not kind.positive:
        return read_refusal(text).says in REFUSALS
    if kind.is_status and (is_soft_bounce(text) or read_status(text, weak=kind.is_email)):
        return False  # it is read anyway
    is_code = text.strip() == _OTHER_CODE or _FALSE_IN_OBJECT.search(text) is not None
    return is_code or read_permission(text).says in (DENIED, *REFUSALS) or plain_words(text) in _words("no")
