"""Recognize what a person answers: phrases of all languages, see `phrase_patterns`, and learned words."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Final, NamedTuple

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.learned_words import read_words
from nurture.mail.inbound.phrase_patterns import PhraseIndex, Sentence, load_list, load_rules, normalize

_PRIORITY: Final = (
    ReplyClass.ERASURE_REQUEST,
    ReplyClass.NO_MAIL,
    ReplyClass.LEFT_COMPANY,
    ReplyClass.WRONG_PERSON,
    ReplyClass.NOT_NOW,
    ReplyClass.NOT_INTERESTED,
    ReplyClass.WANTS_TO_TALK,
    ReplyClass.QUESTION,
)
"""The classes that phrases name; of several in a reply the first counts."""

_KINDS: Final = tuple(one.value for one in _PRIORITY)
_OPT_OUT: Final = (ReplyClass.NO_MAIL.value,)
_WEAK: Final = (ReplyClass.POSSIBLE_OPT_OUT.value,)
_HANDED_OFF: Final = (ReplyClass.WANTS_TO_TALK, ReplyClass.QUESTION)
"""Classes that a weak sign of an opt-out makes a case for a person."""

_ABOVE_ONLY: Final = (ReplyClass.ERASURE_REQUEST, ReplyClass.NO_MAIL)
"""Classes for which only the text above the quotation counts."""

_MAX_LENGTH: Final = 4_000
_IN_CITATION: Final = r"(?:(?<=\bart\.)|(?<=\b(?:abs|par|sec|lit|ust)\.)|(?<=\b(?:nr|čl|cl|ст|чл)\.))\s?\d"  # Art. 21
_SENTENCE_END: Final = re.compile(
    rf"(?<!\d)\.++(?!\w)(?!{_IN_CITATION})|[!?;\u3002\uff01\uff1f\u061f\u2026]++|\n[^\S\n]*+\n", re.IGNORECASE
)
_CLAUSE_END: Final = re.compile(r"[,\u3001\uff0c:\uff1a()\u2013\u2014]|\s-{1,3}\s")
_IN_ONE_CLAUSE: Final = (ReplyClass.NO_MAIL, ReplyClass.POSSIBLE_OPT_OUT)
"""Classes for which a clause must say it: "I am not in charge, please write to Ann" has the words of an opt-out."""

_PARAGRAPH: Final = re.compile(r"\n[^\S\n]*+\n")
_QUESTION: Final = re.compile(r"[?\uff1f\u061f]|(?<=\w);[ \t]{0,9}+(?:\n|\Z)")
_MAX_CLAUSES: Final = 100
_MAX_WORDS_ALONE: Final = 8
_MAX_WORDS_SHORT: Final = 12
"""Words of a text in which a single word of an opt-out is a weak sign."""

_MIN_LETTERS: Final = 4
_MIN_WORDS: Final = 5
"""Words of an answer that is more than a short one."""

_LETTERS_PER_WORD: Final = 2
"""Letters that count as a word in scripts without spaces."""

_UNLIKELY: Final = -0.8
"""The learned score below which words of an opt-out are for a person."""

_SURE: Final = {ReplyClass.POSSIBLE_OPT_OUT: 0.2}
_SURE_WITHOUT_PHRASE: Final = 0.4
_SURE_EXCEPTION: Final = 1.0
"""The learned scores from which a reply is an opt-out, with a weak sign, without, and with words of an exception."""

_QUEUED: Final = -0.1
_QUEUED_EXCEPTION: Final = 0.9
"""The learned scores from which a reply waits for a person, and with words of an exception; others are handed off."""

_SURE_REFUSAL: Final = -0.25
"""The learned score from which a reply that would be handed off is a refusal."""

_NO_SPACES: Final = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")


class Meaning(NamedTuple):
    """The class of an answer, and the phrase that decided it."""

    reply_class: ReplyClass
    evidence: str


def find_meaning(above: str, full: str, subject: str = "") -> Meaning:
    """Return the meaning of a person's own text: *above* the quotation, and in *full*."""
    meaning, is_sure = _find_by_phrases(above, full, subject)
    kind, evidence = meaning
    if is_sure:
        return meaning
    opt_out = read_words(above, ReplyClass.NO_MAIL)
    words = f"reads like an opt-out: '{opt_out.words}'"
    if kind in _ABOVE_ONLY:
        return meaning if opt_out.score >= _UNLIKELY else Meaning(ReplyClass.POSSIBLE_OPT_OUT, evidence)
    sure, queued = _SURE.get(kind, _SURE_WITHOUT_PHRASE), _QUEUED
    if _exceptions(ReplyClass.NO_MAIL).find(Sentence.of(above[:_MAX_LENGTH])):
        sure, queued = _SURE_EXCEPTION, _QUEUED_EXCEPTION
    if opt_out.score >= sure:
        return Meaning(ReplyClass.NO_MAIL, words)
    if kind not in (*_HANDED_OFF, ReplyClass.UNCLEAR):
        return meaning
    if opt_out.score >= queued:
        return Meaning(ReplyClass.POSSIBLE_OPT_OUT, words)
    refusal = read_words(above, ReplyClass.NOT_INTERESTED)
    if refusal.score >= _SURE_REFUSAL:
        return Meaning(ReplyClass.NOT_INTERESTED, f"reads like a refusal: '{refusal.words}'")
    return meaning


def _find_by_phrases(above: str, full: str, subject: str) -> tuple[Meaning, bool]:
    """Return the meaning by phrases, and whether learned words cannot change it."""
    found: dict[ReplyClass, str] = {}
    below = _find_rules(full, below=True) if full != above else ()
    for reply_class, evidence in (*_find_alone(above, subject), *_find_rules(above), *_find_clauses(above), *below):
        found.setdefault(reply_class, evidence)
    for reply_class in _PRIORITY:
        if reply_class in found:
            evidence = found[reply_class]
            conflict = _find_conflict(reply_class, evidence, above)
            if conflict:
                return Meaning(ReplyClass.POSSIBLE_OPT_OUT, conflict), reply_class is ReplyClass.NO_MAIL
            return Meaning(reply_class, evidence), reply_class in _ABOVE_ONLY and evidence.startswith("only")
    conflict = _find_weak_sign(above) or _find_possible_opt_out(above)
    if conflict:
        return Meaning(ReplyClass.POSSIBLE_OPT_OUT, conflict), False
    if _QUESTION.search(full[:_MAX_LENGTH]):
        return Meaning(ReplyClass.QUESTION, "a question mark"), False
    return Meaning(ReplyClass.UNCLEAR if count_words(full) >= _MIN_WORDS else ReplyClass.UNCLEAR_SHORT, ""), False


def find_left_company(text: str) -> str:
    """Return the phrase that says that somebody left the company, "" without one."""
    return next((evidence for kind, evidence in _find_rules(text) if kind is ReplyClass.LEFT_COMPANY), "")


def is_opt_out_subject(subject: str) -> bool:
    """Return whether the subject is only an opt-out. A subject such as "Re: ..." is ours and never matches."""
    return normalize(subject).replace(" ", "") in _alone_texts(ReplyClass.NO_MAIL)


def count_words(text: str) -> int:
    """Return how many words a text has."""
    text = text[:_MAX_LENGTH]
    return len(normalize(_NO_SPACES.sub(" ", text)).split()) + len(_NO_SPACES.findall(text)) // _LETTERS_PER_WORD


@cache
def _alone_texts(reply_class: ReplyClass) -> dict[str, str]:
    """Return the texts that have this meaning only if nothing else is said, by their form without spaces."""
    return {phrase.text.replace(" ", ""): phrase.text.strip() for _, phrase in load_list("alone", reply_class.value)}


@cache
def _polite() -> frozenset[str]:
    return frozenset(phrase.text.strip() for _, phrase in load_list("polite"))


def _without_polite(text: str) -> str:
    """Return a short normalized text without polite words around it."""
    words = text.split()
    if len(words) > _MAX_WORDS_ALONE:
        return text
    for size in (3, 2, 1):
        while len(words) > size and " ".join(words[:size]) in _polite():
            words = words[size:]
        while len(words) > size and " ".join(words[-size:]) in _polite():
            words = words[:-size]
    return f" {' '.join(words)} "


def _find_alone(text: str, subject: str) -> Iterator[Meaning]:
    """Yield the meanings of a whole subject, first paragraph or first line."""
    text = text[:_MAX_LENGTH]
    lines = [line for line in text.split("\n") if line.strip()]
    paragraph, *_ = _PARAGRAPH.split(text, maxsplit=1)
    for written in (subject, paragraph, *lines[:1]):
        yield from _look_up(written, "only", _PRIORITY)


def _find_clauses(text: str) -> Iterator[Meaning]:
    """Yield the opt-outs that are a clause of their own."""
    lines = (line for one in _SENTENCE_END.split(text[:_MAX_LENGTH]) for line in one.split("\n"))
    for clause in islice((clause for line in lines for clause in _split_clauses(line)), _MAX_CLAUSES):
        yield from _look_up(clause, "a clause", (ReplyClass.NO_MAIL,))


def _look_up(written: str, place: str, classes: tuple[ReplyClass, ...]) -> Iterator[Meaning]:
    plain = normalize(written)
    squeezed = {variant.replace(" ", "") for variant in (plain, _without_polite(plain))}
    for reply_class in classes:
        known = _alone_texts(reply_class)
        if not known.keys().isdisjoint(squeezed) and not _exceptions(reply_class).find(Sentence.of(written)):
            yield from (Meaning(reply_class, f"{place} '{known[one]}'") for one in sorted(squeezed & known.keys()))


def _find_rules(text: str, *, below: bool = False, kinds: tuple[str, ...] = _KINDS) -> Iterator[Meaning]:
    """Yield the meanings by rules. Exceptions count in all languages, because related languages share their verbs."""
    text = text[:_MAX_LENGTH]
    whole = Sentence.of(text)
    present, possible = load_rules(kinds).find(whole)
    possible = [rule for rule in possible if not (below and rule.kind in _ABOVE_ONLY)]
    exceptions = {kind: _exceptions(kind).find(whole) for kind in {rule.kind for rule in possible}}
    for written in _SENTENCE_END.split(text) if possible else ():
        sentence = Sentence.of(written)
        clauses = [Sentence.of(one) for one in _split_clauses(written)]
        for kind, phrases in exceptions.items():
            places = clauses if kind in _IN_ONE_CLAUSE else [sentence]
            for one in places:
                if any(phrase.is_in(one) for phrase in phrases):
                    continue
                for rule in possible:
                    evidence = rule.find(one, present) if rule.kind == kind else ""
                    if evidence:
                        yield Meaning(ReplyClass(kind), f"says '{evidence}' ({rule.language})")


def _find_conflict(reply_class: ReplyClass, evidence: str, text: str) -> str:
    """Return why a person must decide whether it is an opt-out, "" if that is clear.

    It is not clear if a clause wants to talk: for a rule, in some words and in the sentence that asks for no mail.
    """
    if reply_class is ReplyClass.NO_MAIL and not evidence.startswith("only"):
        for sentence in _SENTENCE_END.split(text[:_MAX_LENGTH])[:_MAX_CLAUSES]:
            clauses = islice(_split_clauses(sentence), _MAX_CLAUSES)
            found = [dict(_find_rules(_without_polite(normalize(clause)))) for clause in clauses]
            wish = next(
                (one[ReplyClass.WANTS_TO_TALK] for one in found if one.keys() == {ReplyClass.WANTS_TO_TALK}), ""
            )
            in_words = " " in wish.split("'")[1] if wish else False
            if wish and (evidence.startswith("a clause") or (in_words and any(reply_class in one for one in found))):
                return f"{evidence} and {wish}"
    return _find_weak_sign(text) if reply_class in _HANDED_OFF else ""


def _find_weak_sign(text: str) -> str:
    """Return the words for which a reply is not handed off before a person has read it, "" without any.

    In a short text, the words that alone are an opt-out in some language are enough.
    """
    sentence = Sentence.of(text)
    if count_words(text) <= _MAX_WORDS_SHORT and not _exceptions(ReplyClass.NO_MAIL).find(sentence):
        words = _long_opt_outs().find(sentence)
        if words:
            return f"says '{min(words).words}'"
    return next((evidence for _, evidence in _find_rules(text, kinds=_WEAK)), "")


@cache
def _long_opt_outs() -> PhraseIndex:
    """Return the texts that alone are an opt-out, without short words, which mean something else elsewhere."""
    phrases = (phrase for _, phrase in load_list("alone", ReplyClass.NO_MAIL.value))
    return PhraseIndex(one for one in phrases if len(_NO_SPACES.sub("**", one.words)) >= _MIN_LETTERS)


def _find_possible_opt_out(text: str) -> str:
    """Return most phrases of an opt-out, if a sentence contains these, "" without any."""
    present, rules = load_rules(_OPT_OUT).find(Sentence.of(text[:_MAX_LENGTH]), missing=1)
    for sentence in map(Sentence.of, _SENTENCE_END.split(text[:_MAX_LENGTH]) if rules else ()):
        if not _exceptions(ReplyClass.NO_MAIL).find(sentence):
            half = next((found for rule in rules if (found := rule.find_most(sentence, present))), "")
            if half:
                return f"says '{half}'"
    return ""


def _split_clauses(sentence: str) -> Iterator[str]:
    """Yield the clauses of a sentence; "please" and "that you write to me" stay with the clause beside them."""
    clause, is_polite = "", True
    for one in _CLAUSE_END.split(sentence):
        words = normalize(one).split()
        if clause and not is_polite and not (words and words[0] in _joining_words()):
            yield clause
            clause, is_polite = "", True
        clause = f"{clause} {one}"
        is_polite = is_polite and all(word in _polite() for word in words)
    yield clause


@cache
def _joining_words() -> frozenset[str]:
    return frozenset(phrase.text.strip() for _, phrase in load_list("joining"))


@cache
def _exceptions(kind: str) -> PhraseIndex:
    """Return the phrases with which a sentence does not have a class."""
    kinds = (*_WEAK, *_OPT_OUT) if kind in _WEAK else (kind,)
    return PhraseIndex(dict.fromkeys(phrase for one in kinds for _, phrase in load_list("unless", one)))
