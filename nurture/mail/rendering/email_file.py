"""Read one email file: YAML front matter, then Markdown with Jinja."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from nurture.domain.problems import Fault
from nurture.mail.rendering.placeholders import Masks

DEFAULT_LAYOUT: Final = "plain"
KEYS: Final = ("subject", "preheader", "layout", "call_to_action")
_FENCE: Final = re.compile(r"^---[ \t]*$")
_SHAPE: Final = "Begin the file with a line `---`, then `subject:` and `preheader:`, then a line `---`"


@dataclass(frozen=True, slots=True)
class EmailSource:
    """One email as its author wrote it; faults show *name*, and count from *first_line*."""

    name: str
    text: str
    first_line: int = 1


@dataclass(frozen=True, slots=True)
class Piece:
    """Text with Jinja tags, and where it stands."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Email:
    """An email file, taken apart."""

    subject: Piece
    preheader: Piece
    body: Piece
    layout: str


@dataclass(frozen=True, slots=True)
class _Head:
    """The front matter's keys, and the line of each."""

    keys: dict[str, str] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)


def read_email(source: EmailSource) -> tuple[Email, list[Fault]]:
    """Take *source* apart; what is missing is empty and named in the faults."""
    lines = source.text.lstrip("\ufeff").replace("\r\n", "\n").split("\n")
    ends = [number for number, line in enumerate(lines) if _FENCE.match(line)][:2]
    if len(ends) < 2 or ends[0] != 0:
        fault = Fault(source.name, source.first_line, "the email has no front matter", _SHAPE)
        return _email(source, _Head(), "\n".join(lines), source.first_line), [fault]
    head = "\n".join(lines[1 : ends[1]])
    body_line = source.first_line + ends[1] + 1
    front, faults = _front_matter(source.name, head, source.first_line + 1)
    email = _email(source, front, "\n".join(lines[ends[1] + 1 :]), body_line)
    if not email.body.text.strip():
        advice = "Write it in Markdown under the second `---`"
        faults.append(Fault(source.name, body_line, "the email has no text", advice))
    return email, faults


def layout_name(source: EmailSource) -> str:
    """Name the layout that *source* asks for, or the default one."""
    return read_email(source)[0].layout


def _email(source: EmailSource, head: _Head, body: str, line: int) -> Email:
    def piece(key: str) -> Piece:
        return Piece(source.name, head.places.get(key, source.first_line), head.keys.get(key, ""))

    layout = head.keys.get("layout") or DEFAULT_LAYOUT
    return Email(piece("subject"), piece("preheader"), Piece(source.name, line, body), layout)


def _front_matter(file: str, text: str, first_line: int) -> tuple[_Head, list[Fault]]:
    masks = Masks(text)
    try:
        loaded: Any = _load(text, masks)
    except MarkedYAMLError as error:
        line = first_line + (error.problem_mark.line if error.problem_mark else 0)
        what = f"the front matter is not YAML: {error.problem or 'it cannot be read'}"
        return _Head(), [Fault(file, line, what, 'Put the value in quotes: subject: "..."')]
    if not isinstance(loaded, dict):
        return _Head(), [Fault(file, first_line, "the front matter has no keys", _SHAPE)]
    places = {str(key): first_line + loaded.lc.key(key)[0] for key in loaded}  # type: ignore[attr-defined]
    keys: dict[str, str] = {}
    faults: list[Fault] = []
    for key, value in ((str(key), value) for key, value in loaded.items()):
        if key not in KEYS:
            faults.append(Fault(file, places[key], f"unknown key `{key}` in the front matter", _nearest(key)))
        elif isinstance(value, dict | list):
            faults.append(
                Fault(file, places[key], f"`{key}` is not a text", f'Put it in quotes: {key}: "..."')
            )
        else:
            keys[key] = "" if value is None else masks.restore(str(value)).strip()
    for key in ("subject", "preheader"):
        if key not in places:
            faults.append(Fault(file, first_line, f"the email has no {key}", f"Add a line `{key}: ...`"))
        elif keys.get(key) == "":
            faults.append(Fault(file, places[key], f"the {key} is empty", f"Write it after `{key}:`"))
    return _Head(keys, places), faults


def _load(text: str, masks: Masks) -> Any:
    """Load YAML as it stands, or, where Jinja's braces confuse it, with its tags hidden."""
    try:
        loaded = YAML(typ="rt").load(text)
        if isinstance(loaded, dict) and all(not isinstance(value, dict | list) for value in loaded.values()):
            return loaded
    except (MarkedYAMLError, TypeError):
        pass
    return YAML(typ="rt").load("\n".join(line for _, line in masks.hide(text, 1)))


def _nearest(key: str) -> str:
    near = get_close_matches(key, KEYS, n=1)
    return f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(KEYS)}"
