"""Add starters, ready-made tracks of templates/starters/, to the definitions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nurture.definitions.folder import FIELDS, POLICY, Sources, read_folder, write_texts
from nurture.errors import NotFound, suggest

FOLDER: Final = "starters"
_POLICY_PART: Final = "policy.yaml"
_KEY: Final = re.compile(r"^([a-z_]\w*):", re.MULTILINE)
_ENTRY: Final = re.compile(r"^(?=  ([\w-]+):)(.+(?:\n {3,}.+)*)$", re.MULTILINE)
_TITLE: Final = re.compile(r"^# (.+)$", re.MULTILINE)


@dataclass
class StarterFiles:
    """The files that starters add or change, and what they leave alone because it is there already."""

    changed: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def list_starters(shipped: Path) -> dict[str, str]:
    """Return each starter below *shipped*, the starter templates, with the title of its README."""
    readmes = sorted((shipped / FOLDER).glob("*/README.md"))
    titles = ((file.parent.name, _TITLE.search(file.read_text("utf-8"))) for file in readmes)
    return {name: title[1] if title else "" for name, title in titles}


def read_starter(shipped: Path, name: str) -> dict[str, str]:
    """Return the files of a starter by their path below templates/. Raises NotFound."""
    known = list_starters(shipped)
    if name not in known:
        instead = suggest(name, known, f"The starters are: {', '.join(known)}.")
        raise NotFound(f"There is no starter {name}. {instead}")
    folder = shipped / FOLDER / name
    files = (file for file in sorted(folder.rglob("*")) if file.suffix in (".yaml", ".md") and file.parent != folder)
    texts = {file.relative_to(folder).as_posix(): file.read_text("utf-8") for file in files}
    parts = {path: folder / path for path in (FIELDS, _POLICY_PART) if (folder / path).is_file()}
    return texts | {path: file.read_text("utf-8") for path, file in parts.items()}


def write_starters(templates: Path, shipped: Path, names: Sequence[str]) -> list[str]:
    """Write starters of *shipped* into the folder *templates*; return a line about each, and about what was kept.

    Raises NotFound before anything is written, and FileUnreadable.
    """
    starters = {name: read_starter(shipped, name) for name in names}
    original, lines = read_folder(shipped), []
    for name, starter in starters.items():
        found = add_starter(read_folder(templates), starter, original)
        write_texts(templates, found.changed)
        tracks = sorted({path.split("/")[1] for path in found.changed if path.startswith("tracks/")})
        what = f"added {', '.join([*tracks, *(path for path in found.changed if '/tracks/' not in f'/{path}')])}"
        lines.append(f"Starter {name}: {what if found.changed else 'there already'}")
        lines += [f"Starter {name}: {kept}" for kept in found.kept]
    return lines


def add_starter(sources: Sources, starter: Mapping[str, str], shipped: Sources) -> StarterFiles:
    """Return what *starter* changes in *sources*: new files, new fields, and parts of the sales policy.

    A part of the policy replaces the one of the same key only if that is still as it was *shipped*.
    """
    files = StarterFiles()
    for path, text in starter.items():
        if path == FIELDS:
            _add_fields(sources.get(FIELDS, ""), text, files)
        elif path == _POLICY_PART:
            _change_policy(sources.get(POLICY, ""), text, shipped.get(POLICY, ""), files)
        elif path not in sources:
            files.changed[path] = text
        elif sources[path] != text:
            files.kept.append(f"{path} is there already")
    return files


def _add_fields(own: str, added: str, files: StarterFiles) -> None:
    known = dict(_blocks(own))
    new = [block.strip("\n") for key, block in _blocks(added) if key not in known]
    if new:
        files.changed[FIELDS] = "\n\n".join([own.rstrip("\n"), *new]).lstrip("\n") + "\n"


def _change_policy(own: str, parts: str, shipped: str, files: StarterFiles) -> None:
    original = dict(_blocks(shipped))
    changed = own
    for key, block in _blocks(parts):
        current = dict(_blocks(changed)).get(key)
        if current is None:
            changed = f"{changed.rstrip()}\n\n{block.rstrip()}\n"
        else:
            changed = changed.replace(current, _change_part(key, current, block, original.get(key, ""), files), 1)
    if changed != own:
        files.changed[POLICY] = changed


def _change_part(key: str, own: str, block: str, shipped: str, files: StarterFiles) -> str:
    """Return *own* as *block*, as far as it is *shipped*: as a whole, or entry by entry if it has any."""
    entries, shipped_entries = (dict(_ENTRY.findall(text)) for text in (block, shipped))
    if entries and "\n  - " not in block:
        for name, entry in entries.items():
            line = dict(_ENTRY.findall(own)).get(name)
            if line is None:
                own = f"{own.rstrip()}\n{entry}\n"
            elif line == shipped_entries.get(name):
                own = own.replace(line, entry, 1)
            elif line != entry:
                files.kept.append(f"`{name}` in `{key}` of {POLICY} is your own, and stays: {entry.strip()}")
        return own
    if own.strip() == shipped.strip():
        return block
    if own.strip() != block.strip():
        files.kept.append(f"`{key}` in {POLICY} is your own, and stays: compare it with that of the starter")
    return own


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield each top-level key with its lines, up to the comment above the next key."""
    starts = [(found[1], found.start()) for found in _KEY.finditer(text)]
    for (key, start), (_, end) in zip(starts, [*starts[1:], ("", len(text))], strict=True):
        block = text[start:end]
        lines = block.split("\n")
        while len(lines) > 1 and (not lines[-1].strip() or lines[-1].startswith("#")):
            lines.pop()
        yield key, "\n".join(lines) + "\n"
