"""Find tokens of other programs, such as *|FNAME|*, which an email would show as they stand."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from nurture.domain.problems import Problem
from nurture.formats.lead_row import STORED_FIELDS
from nurture.mail.rendering.email_file import Piece

_TAG_ENDS: Final = {"{{": "}}", "{%": "%}", "{#": "#}", "<!--": "-->"}
_TAG_START: Final = re.compile("|".join(map(re.escape, _TAG_ENDS)))
_TOKEN: Final = re.compile(
    r"\*\|[A-Z][A-Z0-9_:]{0,60}+\|\*"  # Mailchimp
    r"|\{contactfield=[^{}\n]{0,60}+\}"  # Mautic
    r"|##[A-Z][A-Z_]{2,60}+##"  # CleverReach, rapidmail
    r"|%[A-Z][A-Z_]{2,60}+%"  # Brevo
    r"|\[\[ {0,9}+[A-Za-z][\w .]{0,60}+\]\]|<< {0,9}+[A-Za-z][\w .]{0,60}+>>"
    r"|\{(?:lead|contact|person|first|last|full|company)[\w. |=-]{0,60}+\}"  # one brace instead of two
    r"|\[(?:first|last|full|company)[ _-]?name\](?![(\[:])",  # a placeholder in brackets, and no link
    re.IGNORECASE,
)
_ABBREVIATIONS: Final = {"fname": "first_name", "lname": "last_name", "vorname": "first_name", "nachname": "last_name"}


def find_foreign_tokens(piece: Piece) -> Iterator[Problem]:
    """Yield a problem for each token of another program in *piece*, with the field that it means here."""
    text = blank_tags(piece.text)
    for token in dict.fromkeys(_TOKEN.findall(text)):
        if token.startswith("%") and not token.isupper():
            continue
        line = piece.line + text[: text.index(token)].count("\n")
        what = f"`{token}` is a token of another program, and would be sent as it stands"
        yield Problem(piece.file, line, what, _remedy(token))


def blank_tags(text: str, instead: str = " ") -> str:
    """Return *text* with *instead* for its own tags and comments, up to one that is not closed; lines stay."""
    parts, at = [], 0
    while start := _TAG_START.search(text, at):
        closing = _TAG_ENDS[start[0]]
        end = text.find(closing, start.end())
        if end < 0:
            break
        parts += [text[at : start.start()], "\n" * text.count("\n", start.start(), end) or instead]
        at = end + len(closing)
    return "".join(parts) + text[at:]


def _remedy(token: str) -> str:
    letters = re.sub(r"^(?:contactfield|lead|contact|person)\b", "", token.strip("*|%#[]<>{} ").lower())
    name = re.sub(r"[^a-z]", "", letters.partition("|")[0].partition(":")[0])
    fields = {field.replace("_", ""): field for field in STORED_FIELDS}
    near = get_close_matches(name, fields, n=1)
    field = _ABBREVIATIONS.get(name) or (fields[near[0]] if near else "first_name")
    return f'Here it is {{{{ lead.{field} or "{"there" if field == "first_name" else "..."}" }}}}'
