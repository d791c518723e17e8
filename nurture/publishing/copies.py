"""Copy a track, or one email, in the folder of definitions. Nothing is published."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from nurture.definitions.email_front_matter import read_front_matter
from nurture.definitions.folder import TRACKS, Sources, read_folder, write_texts
from nurture.definitions.schema_check import InvalidValue
from nurture.definitions.tracks import names_in
from nurture.definitions.values import read_name
from nurture.domain.problems import Problem
from nurture.errors import InvalidState, NotFound, suggest
from nurture.publishing.publish import check_definitions

_NAME: Final = re.compile(r"^name:.*$", re.MULTILINE)
_CAMPAIGN: Final = re.compile(r"\bcampaign:")
_LIST: Final = "`nurture tracks list` shows all."


class Copy(NamedTuple):
    """The files of a copy by path, what its author has to change, and the problems that it adds to those of `check`."""

    files: Mapping[str, str]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def copy_track(sources: Sources, origin: str, name: str) -> Copy:
    """Copy the track *origin* as *name*. Raises NotFound and InvalidState.

    Leads, versions and send keys hang on the name of a track, so that those of the copy are its own.
    """
    _check_name(name)
    tracks, folder, target = names_in(TRACKS, sources), f"{TRACKS}{origin}/", f"{TRACKS}{name}/"
    if f"{folder}track.yaml" not in sources:
        raise NotFound(f"There is no track {origin}. {suggest(origin, tracks, _LIST)}")
    if name in tracks:
        raise InvalidState(f"There is a track {name} already. Choose another name, or remove its folder {target}.")
    files = {target + path.removeprefix(folder): text for path, text in sources.items() if path.startswith(folder)}
    definition = f"{target}track.yaml"
    files[definition] = _NAME.sub(f"name: {name}", files[definition], count=1)
    notes = [_describe_subjects(files, origin)]
    if _CAMPAIGN.search(files[definition]):
        notes.append(f"Its `utm: campaign` is that of {origin}, so that web statistics count both as one.")
    if any("piece" in (read_front_matter(text) or {}) for path, text in files.items() if path.endswith(".md")):
        notes.append(f"Each `piece` is that of {origin}: with `content: once` nobody gets it on both tracks.")
    return _finish(sources, files, notes)


def copy_email(sources: Sources, origin: str, target: str) -> Copy:
    """Copy an email, TRACK/EMAIL, with all its languages. Raises NotFound and InvalidState."""
    origin, (track, _, name) = origin.removesuffix(".md"), target.removesuffix(".md").partition("/")
    if f"{TRACKS}{origin}.md" not in sources:
        emails = [path.removeprefix(TRACKS).removesuffix(".md") for path in sources if path.endswith(".md")]
        raise NotFound(f"There is no email {origin}. {suggest(origin, emails, 'Write TRACK/EMAIL.')}")
    if track not in names_in(TRACKS, sources):
        raise NotFound(f"There is no track {track}. {suggest(track, names_in(TRACKS, sources), _LIST)}")
    _check_name(name)
    if f"{TRACKS}{track}/{name}.md" in sources:
        raise InvalidState(f"There is an email {track}/{name} already. Choose another name.")
    languages = re.compile(rf"{re.escape(TRACKS + origin)}((?:\.[A-Za-z_-]+)?\.md)")
    found = [(path, match[1]) for path in sources if (match := languages.fullmatch(path))]
    files = {f"{TRACKS}{track}/{name}{suffix}": sources[path] for path, suffix in found}
    return _finish(sources, files, [_describe_subjects(files, origin)])


def write_copy(templates: Path, origin: str, target: str) -> Copy:
    """Copy a track, or an email if *target* is TRACK/EMAIL, in the folder *templates*. Raises FileUnreadable, too."""
    copy = copy_email if "/" in target else copy_track
    found = copy(read_folder(templates), origin, target)
    write_texts(templates, found.files)
    return found


def _finish(sources: Sources, files: Mapping[str, str], notes: Iterable[str]) -> Copy:
    before = set(check_definitions(sources))
    added = [one for one in check_definitions({**sources, **files}) if one not in before]
    return Copy(files, tuple(note for note in notes if note), tuple(added))


def _describe_subjects(files: Mapping[str, str], origin: str) -> str:
    count = sum("subject" in (read_front_matter(text) or {}) for path, text in files.items() if path.endswith(".md"))
    if not count:
        return ""
    whose = "The email has the subject" if count == 1 else f"{count} emails have the subjects"
    return f"{whose} of {origin}: whoever gets both sees the same email twice."


def _check_name(name: str) -> None:
    try:
        read_name(name)
    except InvalidValue as error:
        raise InvalidState(f"{error.message}. {error.suggestion}") from error
