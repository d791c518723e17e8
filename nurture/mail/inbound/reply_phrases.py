"""Recognize what a person answers: phrases of all languages, see `phrase_patterns`, and learned words."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Final, NamedTuple

from nurture.domain.replies import ReplyClass
from nurture.mail.inbound.concepts import find_language
from nurture.mail.inbound.learned_meaning import weigh
from nurture.mail.inbound.learned_words import find_telling_words
from nurture.mail.inbound.phrase_patterns import Phrase, PhraseIndex, Sentence, load_list, load_rules, normalize

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

_SURE: Final = 0.6
_SURE_EXCEPTED: Final = 0.95
"""The probabilities from which a reply is an opt-out, and with words of an exception."""

_MAX_RISK: Final = {ReplyClass.WANTS_TO_TALK: 0.08, ReplyClass.QUESTION: 0.05, ReplyClass.UNCLEAR: 0.02}
_MAX_RISK_COLD: Final = 0.3
"""The probabilities of an opt-out from which a person decides, by the class that is likely otherwise."""

_MAX_RISK_WITH_WORDS: Final = 0.02
"""The same for a reply that would be handed off and has words of an opt-out or of an exception to one."""

_MIN_WORDLESS: Final = 0.5
"""The probability from which a reply without words of any class is shown as a possible opt-out, not as unclear."""

_MAX_REFUSAL: Final = 0.15
_MAX_REFUSAL_ASKED: Final = 0.5
"""The probabilities of a refusal from which a reply is not handed off, and one with a phrase that wants to talk."""

_SURE_CLASS: Final = 0.6
"""The probability from which a class counts that no phrase has."""

_EXCEPTED: Final = f"unless {ReplyClass.NO_MAIL}"
_HAS_WORDS: Final = f"means {ReplyClass.POSSIBLE_OPT_OUT}"
_FOREIGN_WORD: Final = "opt-out in another language"
_WANTS_TO_TALK: Final = f"means {ReplyClass.WANTS_TO_TALK}"
_CLAIMS: Final = frozenset(f"means {one}" for one in _ABOVE_ONLY)
_OF_PROGRAMS: Final = (ReplyClass.ABSENCE, ReplyClass.AUTOMATIC)
"""Classes that need other signs than words."""

_NO_SPACES: Final = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")


class Meaning(NamedTuple):
    """The class of an answer, and the phrase that decided it."""

    reply_class: ReplyClass
    evidence: str


def find_meaning(above: str, full: str, subject: str = "") -> Meaning:
    """Return the meaning of a person's own text: *above* the quotation, and in *full*."""
    found = _find_by_phrases(above, full, subject)
    kind, evidence = found.meaning
    if found.is_sure:
        return found.meaning
    likely = decide(weigh(above, found.signs), found.signs)
    if likely in (ReplyClass.NO_MAIL, ReplyClass.POSSIBLE_OPT_OUT):
        if kind in _ABOVE_ONLY:
            return Meaning(kind if likely is ReplyClass.NO_MAIL else likely, evidence)
        words = evidence or f"reads like an opt-out: '{find_telling_words(above, ReplyClass.NO_MAIL)}'"
        return Meaning(likely, words)
    if likely is ReplyClass.UNCLEAR_SHORT or (likely is ReplyClass.UNCLEAR and count_words(full) < _MIN_WORDS):
        return Meaning(ReplyClass.UNCLEAR_SHORT, "")
    return found.meaning if likely is kind else Meaning(likely, f"reads like '{find_telling_words(above, likely)}'")


def decide(chances: Mapping[ReplyClass, float], signs: frozenset[str]) -> ReplyClass:
    """Return the class of a reply by the probabilities of classes and the signs that phrases found.

    Whoever may have refused is not handed off: the more a class heats, the less risk it bears. What learned words
    alone say must be likely to have an effect; else a person reads it. Against a phrase that wants to talk they never
    opt anybody out.
    """
    refused = chances[ReplyClass.NO_MAIL]
    is_claimed = not signs.isdisjoint(_CLAIMS)
    is_excepted = _EXCEPTED in signs and not is_claimed
    if refused >= (_SURE_EXCEPTED if is_excepted else _SURE):
        return ReplyClass.POSSIBLE_OPT_OUT if _WANTS_TO_TALK in signs else ReplyClass.NO_MAIL
    likely = max(chances, key=lambda one: chances[one] if one is not ReplyClass.NO_MAIL else 0.0)
    if _FOREIGN_WORD in signs and likely in _MAX_RISK and not is_excepted:
        return ReplyClass.POSSIBLE_OPT_OUT
    has_words = is_excepted or _HAS_WORDS in signs
    if refused >= (
        _MAX_RISK_WITH_WORDS if has_words and likely in _MAX_RISK else _MAX_RISK.get(likely, _MAX_RISK_COLD)
    ):
        is_thin = is_excepted or (f"means {ReplyClass.UNCLEAR}" in signs and refused < _MIN_WORDLESS)
        return ReplyClass.UNCLEAR_SHORT if is_thin else ReplyClass.POSSIBLE_OPT_OUT
    if likely in _MAX_RISK:
        limit = _MAX_REFUSAL_ASKED if _WANTS_TO_TALK in signs else _MAX_REFUSAL
        is_refused = chances[ReplyClass.NOT_INTERESTED] >= limit
        return ReplyClass.UNCLEAR_SHORT if is_refused else likely
    needed = 0.0 if f"means {likely}" in signs else _SURE_EXCEPTED if is_excepted else _SURE_CLASS
    return likely if likely not in _OF_PROGRAMS and chances[likely] >= needed else ReplyClass.UNCLEAR_SHORT


class _ByPhrases(NamedTuple):
    """The meaning by phrases, whether nothing can change it, and the names of all signs that they found."""

    meaning: Meaning
    is_sure: bool
    signs: frozenset[str]


def find_signs(above: str, full: str, subject: str = "") -> frozenset[str]:
    """Return the names of the signs that phrases found, which learned weights are for."""
    return _find_by_phrases(above, full, subject).signs


def _find_by_phrases(above: str, full: str, subject: str) -> _ByPhrases:
    found: dict[ReplyClass, str] = {}
    signs: set[str] = set()
    below = _find_rules(full, below=True) if full != above else ()
    sources = {
        "alone": _find_alone(above, subject),
        "rule": _find_rules(above),
        "clause": _find_clauses(above),
        "below": below,
    }
    for source, meanings in sources.items():
        for reply_class, evidence in meanings:
            found.setdefault(reply_class, evidence)
            signs.add(f"{source} {reply_class}")
    sentence = Sentence.of(above[:_MAX_LENGTH])
    signs.update(f"unless {one}" for one in _KINDS if _exceptions(one).find(sentence))
    weak, half = _find_weak_sign(above), _find_possible_opt_out(above)
    signs.update(name for name, one in (("weak", weak), ("half", half)) if one)
    if weak and _has_foreign_opt_out(above):
        signs.add(_FOREIGN_WORD)
    meaning, is_sure = _rank(found, above, weak or half)
    if meaning.reply_class is ReplyClass.UNCLEAR and _QUESTION.search(full[:_MAX_LENGTH]):
        meaning = Meaning(ReplyClass.QUESTION, "a question mark")
    signs.add(f"means {meaning.reply_class}")
    return _ByPhrases(meaning, is_sure, frozenset(signs))


def _rank(found: dict[ReplyClass, str], above: str, weak: str) -> tuple[Meaning, bool]:
    """Return the first of the meanings, and whether nothing can change it."""
    for reply_class in _PRIORITY:
        if reply_class in found:
            evidence = found[reply_class]
            conflict = _find_conflict(reply_class, evidence, above)
            if conflict:
                return Meaning(ReplyClass.POSSIBLE_OPT_OUT, conflict), reply_class is ReplyClass.NO_MAIL
            return Meaning(reply_class, evidence), reply_class in _ABOVE_ONLY and evidence.startswith("only")
    return Meaning(ReplyClass.POSSIBLE_OPT_OUT if weak else ReplyClass.UNCLEAR, weak), False


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
    words = _find_words_alone(text)
    if words:
        return f"says '{min(words).words}'"
    return next((evidence for _, evidence in _find_rules(text, kinds=_WEAK)), "")


def _find_words_alone(text: str) -> set[Phrase]:
    """Return the words of a short text that alone are an opt-out in some language."""
    sentence = Sentence.of(text)
    if count_words(text) > _MAX_WORDS_SHORT or _exceptions(ReplyClass.NO_MAIL).find(sentence):
        return set()
    return _long_opt_outs().find(sentence)


def _has_foreign_opt_out(text: str) -> bool:
    """Return whether all such words of a short text are of other languages than its own."""
    words = _find_words_alone(text)
    return bool(words) and not any((find_language(text), one) in _alone_opt_outs() for one in words)


@cache
def _alone_opt_outs() -> frozenset[tuple[str, Phrase]]:
    """Return (language, phrase) of the texts that alone are an opt-out."""
    return frozenset(load_list("alone", ReplyClass.NO_MAIL.value))


@cache
def _long_opt_outs() -> PhraseIndex:
    """Return the texts that alone are an opt-out, without short words, which mean something else elsewhere."""
    phrases = (phrase for _, phrase in _alone_opt_outs())
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
