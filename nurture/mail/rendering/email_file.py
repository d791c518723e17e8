"""Parse an email file: YAML front matter, then Markdown with Jinja."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from nurture.domain.problems import Problem
from nurture.errors import suggest
from nurture.mail.rendering.placeholders import Placeholders

DEFAULT_LAYOUT: Final = "plain"
FRONT_MATTER_KEYS: Final = (
    "subject",
    "preheader",
    "layout",
    "call_to_action",
    "signature",
    "image",
    "image_alt",
    "piece",
)
_FENCE: Final = re.compile(r"^---[ \t]*$")
_COMMENT: Final = re.compile(r"^\w+:\s([^\"'\n]*?)\s(#.*)$")
"""A value without quotes, and the comment behind it."""

_EXPECTED_FORMAT: Final = "Begin the file with a line `---`, then `subject:` and `preheader:`, then a line `---`"


@dataclass(frozen=True, slots=True)
class EmailSource:
    """The source of one email. Problems name *name* and count lines from *first_line*.

    *origins* has the file and line of each line of *text*, if it was put together from several files.
    """

    name: str
    text: str
    first_line: int = 1
    origins: tuple[tuple[str, int], ...] = ()

    @property
    def without_snippets(self) -> Self:
        """This text without the lines of other files."""
        own = [number for number, (file, _) in enumerate(self.origins) if file == self.name]
        lines = self.text.split("\n")
        text = "\n".join(lines[number] for number in own)
        return replace(self, text=text, origins=tuple(self.origins[number] for number in own))

    def locate(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return *problems* of this text at the files and lines from which it was put together."""

        def located(problem: Problem) -> Problem:
            if problem.file != self.name or not 0 < problem.line <= len(self.origins):
                return problem
            file, line = self.origins[problem.line - 1]
            opened = self._find_open_tag(problem.line)
            if opened is not None and opened[0] != file:
                file, line = opened
            return replace(problem, file=file, line=line)

        return [located(problem) for problem in problems]

    def _find_open_tag(self, line: int) -> tuple[str, int] | None:
        """Return where the tag begins that is still open before *line*: only the next file shows that it is."""
        before = "\n".join(self.text.split("\n")[: line - 1])
        start = max(before.rfind("{{"), before.rfind("{%"))
        if start < 0 or max(before.rfind("}}"), before.rfind("%}")) > start:
            return None
        return self.origins[before.count("\n", 0, start)]


@dataclass(frozen=True, slots=True)
class Piece:
    """Text with Jinja tags, and its position in a file."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class ParsedEmail:
    """A parsed email file."""

    subject: Piece
    preheader: Piece
    body: Piece
    layout: str
    image: Piece
    """The web address of the picture that some layouts show, and its text."""
    image_alt: Piece


@dataclass(frozen=True, slots=True)
class _FrontMatter:
    """The values of the front matter, and the line of each key."""

    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


def parse_email(source: EmailSource) -> tuple[ParsedEmail, list[Problem]]:
    """Parse *source* and return its problems; a missing piece is empty."""
    lines = source.text.lstrip("\ufeff").replace("\r\n", "\n").split("\n")
    ends = [number for number, line in enumerate(lines) if _FENCE.match(line)][:2]
    if len(ends) < 2 or ends[0] != 0:
        problem = Problem(source.name, source.first_line, "the email has no front matter", _EXPECTED_FORMAT)
        return _build_email(source, _FrontMatter(), "\n".join(lines), source.first_line), [problem]
    front_matter_text = "\n".join(lines[1 : ends[1]])
    body_line = source.first_line + ends[1] + 1
    front, problems = _parse_front_matter(source.name, front_matter_text, source.first_line + 1)
    email = _build_email(source, front, "\n".join(lines[ends[1] + 1 :]), body_line)
    if not email.body.text.strip():
        advice = "Write it in Markdown below the second `---`"
        problems.append(Problem(source.name, body_line, "the email has no text", advice))
    return email, problems


def get_layout_name(source: EmailSource) -> str:
    """Return the layout that *source* names, or the default."""
    return parse_email(source)[0].layout


def _build_email(source: EmailSource, front_matter: _FrontMatter, body: str, line: int) -> ParsedEmail:
    def piece(key: str) -> Piece:
        return Piece(source.name, front_matter.lines.get(key, source.first_line), front_matter.values.get(key, ""))

    layout = front_matter.values.get("layout") or DEFAULT_LAYOUT
    subject, preheader, image, image_alt = map(piece, ("subject", "preheader", "image", "image_alt"))
    return ParsedEmail(subject, preheader, Piece(source.name, line, body), layout, image, image_alt)


def _parse_front_matter(file: str, text: str, first_line: int) -> tuple[_FrontMatter, list[Problem]]:
    placeholders = Placeholders(text)
    try:
        loaded: Any = _load(text, placeholders)
    except MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark else 0
        message = f"the front matter is not YAML: {error.problem or 'it cannot be read'}"
        key, _, value = text.split("\n")[line].partition(":")
        written = f'{key.strip()}: "{value.strip()}"' if value.strip() and '"' not in value else 'subject: "..."'
        return _FrontMatter(), [Problem(file, first_line + line, message, f"Put the value in quotes: {written}")]
    except (ValueError, IndexError):  # a number without digits, as `0x_` and `+_`
        message = "the front matter has a value that begins like a number and is none"
        return _FrontMatter(), [Problem(file, first_line, message, 'Put it in quotes: subject: "..."')]
    if not isinstance(loaded, dict):
        return _FrontMatter(), [Problem(file, first_line, "the front matter has no keys", _EXPECTED_FORMAT)]
    lines = {str(key): first_line + loaded.lc.key(key)[0] for key in loaded}  # type: ignore[attr-defined]
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for key, value in ((str(key), value) for key, value in loaded.items()):
        if key not in FRONT_MATTER_KEYS:
            problems.append(
                Problem(file, lines[key], f"unknown key `{key}` in the front matter", suggest(key, FRONT_MATTER_KEYS))
            )
        elif isinstance(value, dict | list):
            problems.append(Problem(file, lines[key], f"`{key}` is not a text", f'Put it in quotes: {key}: "..."'))
        else:
            values[key] = "" if value is None else placeholders.restore(str(value)).strip()
            comment = _COMMENT.search(text.split("\n")[lines[key] - first_line])
            if key in ("subject", "preheader") and comment and comment[1].strip() == values[key]:
                what = f"the {key} ends before `#`, which begins a comment: `{values[key][:60]}`"
                remedy = f'Put the value in quotes: {key}: "{comment[1].strip()} {comment[2]}"'
                problems.append(Problem(file, lines[key], what, remedy, is_warning=True))
    for key in ("subject", "preheader"):
        if key not in lines:
            problems.append(Problem(file, first_line, f"the email has no {key}", f"Add a line `{key}: ...`"))
        elif values.get(key) == "":
            problems.append(Problem(file, lines[key], f"the {key} is empty", f"Write it after `{key}:`"))
    return _FrontMatter(values, lines), problems


def _load(text: str, placeholders: Placeholders) -> Any:
    """Load YAML, with placeholders for Jinja tags if the braces are not valid YAML."""
    try:
        loaded = YAML(typ="rt").load(text)
        if isinstance(loaded, dict) and all(not isinstance(value, dict | list) for value in loaded.values()):
            return loaded
    except (MarkedYAMLError, TypeError, ValueError, IndexError):
        pass
    return YAML(typ="rt").load("\n".join(line for _, line in placeholders.hide(text, 1)))
