"""Read what the definitions need of an email's front matter: subject, layout, call to action."""

import re
from typing import Final

from nurture.definitions.folder import Sources
from nurture.definitions.languages import split_language
from nurture.definitions.schema_check import Reporting
from nurture.definitions.values import read_name
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.errors import suggest
from nurture.formats.languages import LANGUAGES

LAYOUTS: Final = "layouts/"
_MJML: Final = ".mjml"
_FENCE: Final = re.compile(r"^---[ \t]*$")
_YES_OR_NO: Final = {"yes": True, "true": True, "no": False, "false": False}
_FRONT_MATTER_HINT: Final = "Begin the file with a line `---`, then `subject:` and `preheader:`, then a line `---`"


def layouts_in(sources: Sources) -> dict[str, str]:
    """Return the MJML of each layout by its name."""
    return {
        path.removeprefix(LAYOUTS).removesuffix(_MJML): text
        for path, text in sources.items()
        if path.startswith(LAYOUTS) and path.endswith(_MJML)
    }


def check_front_matter(file: str, text: str, context: ParseContext) -> None:
    """Report an email without front matter or subject, in the same words as the mail package."""
    front = read_front_matter(text)
    if front is None:
        context.add_problem(Node(file, 1, None), "the email has no front matter", _FRONT_MATTER_HINT)
    elif "subject" not in front:
        instead = "Add `subject: ...` to the front matter"
        context.add_problem(Node(file, 2, None), "the email has no subject", instead)
    elif not front["subject"][1]:
        line, _ = front["subject"]
        context.add_problem(Node(file, line, None), "the subject is empty", "Write it after `subject:`")


def email_layout(file: str, text: str, default: str, sources: Sources, context: ParseContext) -> str:
    """Return the layout that an email names, or *default*, in its language; one that does not exist is reported.

    A layout that shows `words` needs no file for a language whose words nurture has.
    """
    known = layouts_in(sources)
    line, layout = (read_front_matter(text) or {}).get("layout", (1, default))
    if layout not in known:
        what = f"there is no layout `{layout}` in {LAYOUTS}"
        context.add_problem(Node(file, line, None), what, suggest(layout, known))
    language = split_language(file.rpartition("/")[2].removesuffix(".md"))[1]
    is_translated = language in LANGUAGES and "words.unsubscribe" in known.get(layout, "")
    if language and not is_translated and f"{layout}.{language}" not in known:
        what = f"there are emails in {language}, but this layout is not there in {language}: the small print is English"
        context.warn(Node(f"{LAYOUTS}{layout}.mjml", 1, None), what, f"Write {LAYOUTS}{layout}.{language}.mjml.")
    return f"{layout}.{language}" if f"{layout}.{language}" in known else layout


def is_call_to_action(file: str, text: str, context: ParseContext) -> bool:
    """Return whether an email asks the lead to talk to sales; a value other than yes or no is reported."""
    line, value = (read_front_matter(text) or {}).get("call_to_action", (1, "no"))
    if value.lower() not in _YES_OR_NO:
        what = f"`call_to_action: {value}` is neither yes nor no"
        context.add_problem(Node(file, line, None), what, "Write `call_to_action: yes`, or leave it out.")
    return _YES_OR_NO.get(value.lower(), False)


def read_piece(file: str, text: str, context: ParseContext) -> str:
    """Return the piece of content that an email says it sends, "" if it names none."""
    line, piece = (read_front_matter(text) or {}).get("piece", (1, ""))
    with Reporting(Node(file, line, None), context, "`piece`"):
        return read_name(piece) if piece else ""
    return ""


def read_front_matter(text: str) -> dict[str, tuple[int, str]] | None:
    """Return the keys of the front matter with line and value, if on one line."""
    lines = text.split("\n")
    ends = [number for number, line in enumerate(lines) if _FENCE.match(line)][:2]
    if len(ends) < 2 or ends[0] != 0:
        return None
    pairs = ((number, line.partition(":")) for number, line in enumerate(lines[1 : ends[1]], 2))
    return {key.strip(): (number, value.strip().strip("\"'")) for number, (key, colon, value) in pairs if colon}
