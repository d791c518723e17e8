"""Warn of files that nothing reads: in the wrong folder, or under a name that is not known there."""

from collections.abc import Mapping, Sequence
from typing import Final

from nurture.definitions.folder import BRIEF, BROADCASTS, CONFIRM, CRM, POLICY, QUESTION, TRACKS, Sources
from nurture.definitions.languages import split_language
from nurture.definitions.policy.queues import WAITING
from nurture.definitions.policy.sla import ESCALATE, REMIND
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.errors import suggest

_READ_ALL: Final = {"layouts": ".mjml", "snippets": ".md"}
"""The folders of which each file is read, with the end of its name."""

_READ_BY_NAME: Final[Mapping[str, Sequence[str]]] = {
    "handoff": [path.partition("/")[2] for path in (BRIEF, CONFIRM, ESCALATE, QUESTION, REMIND, WAITING)],
    "sales": [path.partition("/")[2] for path in (CRM, POLICY)],
}


def warn_of_misplaced_files(sources: Sources, context: ParseContext) -> None:
    """Warn of each file that is in a folder of the definitions, under a name that nothing reads."""
    for path in sources:
        folder, _, rest = path.partition("/")
        name = path.rpartition("/")[2]
        what, remedy = f"nothing reads the file `{name}`", ""
        if not rest or name == "README.md":
            continue
        if f"{folder}/" in (TRACKS, BROADCASTS):
            main = f"{folder.removesuffix('s')}.yaml"
            if rest.count("/") != 1:
                what = f"nothing reads this file: only files in {folder}/NAME/ are read"
                remedy = "Move it into such a folder, or remove it."
            elif not name.endswith(".md") and name != main and name != main.removesuffix("yaml") + "yml":
                remedy = f"Only `{main}` and the emails (`.md`) are read here: {_rename_to(name, [main])}"
        elif folder in _READ_ALL:
            suffix = _READ_ALL[folder]
            if rest.count("/") or not name.endswith(suffix):
                remedy = f"Only files directly in {folder}/ that end with `{suffix}` are read: move or remove it."
        elif folder in _READ_BY_NAME and _without_language(rest) not in _READ_BY_NAME[folder]:
            remedy = _rename_to(rest, _READ_BY_NAME[folder])
        if remedy:
            context.warn(Node(path, 1, None), what, remedy)


def _rename_to(name: str, known: Sequence[str]) -> str:
    return suggest(name, known, f"Name it {' or '.join(known)}, or remove it.")


def _without_language(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{split_language(stem)[0]}{dot}{suffix}"
