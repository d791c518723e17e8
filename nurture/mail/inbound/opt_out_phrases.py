"""Recognize opt-outs such as "stop" and "take me off your list" in several languages."""

from __future__ import annotations

import re
from typing import Final

from nurture.mail.inbound.phrase_patterns import PhrasePattern

_MAX_WORDS: Final = 25

_GREETING: Final = PhrasePattern(r"(?:{greeting})\b[^\n,.!]{0,50}+[,.!]?[ \t\r]{0,50}+(?:\n|\Z)")
_CLOSING: Final = PhrasePattern(r"\n[ \t]{0,50}+(?:(?:{closing})\b[^\n]{0,40}+|(?:{closing_line})[^\n]*+)(?:\n|\Z)")
_OPT_OUT: Final = PhrasePattern(
    r"\A(?:(?:{polite}) )*+(?:{opt_out})(?: (?:{polite})\b)*+(?: (?:{opt_out}))?(?: (?:{polite})\b)*+"
)
"""A whole text that says "no more mail"."""

_OPT_OUT_SUBJECT: Final = PhrasePattern(r"(?:{opt_out_subject})")
_STANDALONE_WORD: Final = PhrasePattern(r"(?:{opt_out_alone})")
"""Words that are an opt-out as a whole text but not as a clause of a sentence."""

_CLAUSE_BREAK: Final = PhrasePattern(r"[.!?,;:\n\u2013\u2014]++|\s-++\s|\b(?:{clause_break})\b")
_MAX_CLAUSES: Final = 3


def is_opt_out(text: str, subject: str = "") -> bool:
    """Return whether the text begins with an opt-out, or the subject is only an opt-out.

    *text* is the person's own text above the quotation. A subject such as "Re: ..." is ours and never matches.
    """
    if _OPT_OUT_SUBJECT.compiled.fullmatch(_normalize(subject)):
        return True
    plain = text.strip()[:1_000]
    plain = _GREETING.compiled.sub("", plain, count=1).lstrip()
    closing = _CLOSING.compiled.search(f"\n{plain}") if "\n" in plain else None
    body = f"\n{plain}"[: closing.start()] if closing is not None else plain
    # Text after an empty line may be a signature without a delimiter.
    first_paragraph, *_ = re.split(r"\n[^\S\n]*+\n", plain, maxsplit=1)
    if _matches_opt_out(body) or _matches_opt_out(first_paragraph):
        return True
    clauses = [clause for clause in _CLAUSE_BREAK.compiled.split(plain.casefold()) if _normalize(clause)]
    return any(
        _matches_opt_out(one) and not _STANDALONE_WORD.compiled.fullmatch(_normalize(one))
        for one in clauses[:_MAX_CLAUSES]
    )


def _matches_opt_out(text: str) -> bool:
    normalized = _normalize(text)
    return 0 < len(normalized.split()) <= _MAX_WORDS and _OPT_OUT.compiled.fullmatch(normalized) is not None


def _normalize(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()
