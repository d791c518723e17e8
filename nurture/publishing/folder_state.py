"""Compare the folder of definitions with what is live: what changed, in words and in lines, and the faults."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff
from enum import StrEnum
from hashlib import sha256
from typing import Final

from nurture.db.transaction import Transaction
from nurture.definitions import read_all
from nurture.definitions.folder import TRACKS, Sources, email_folder, scan_folder
from nurture.definitions.read_all import ProjectDefinitions
from nurture.definitions.tracks import names_in
from nurture.domain.policy.policy_diff import diff_policies, diff_values
from nurture.domain.problems import Problem, faults
from nurture.errors import FileUnreadable, InvalidState
from nurture.publishing.publish import SINGLE_FILES, check_definitions, find_concerned
from nurture.publishing.track_changes import describe_changes
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext
from nurture.runtime.publication_queries import POLICY, PublishedVersion, VersionDetail
from nurture.runtime.published import BROADCAST, FIELDS, SENDING

TRACK: Final = "track"
LABELS: Final = {POLICY: "the sales policy", SENDING: "the sending limits", FIELDS: "the declared fields"}
_MAX_DIFF_LINES: Final = 400


class State(StrEnum):
    """How a definition in the folder differs from what is live."""

    NEW = "new"
    CHANGED = "changed"
    REMOVED = "no longer in the folder"
    UNREADABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class FileDiff:
    """The lines of a file that differ, as a unified diff without its head; at most 400."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DefinitionChange:
    """A track, broadcast or single file that differs from what is live.

    *version* is the live one, None before the first; *published_by* is "" for the command line. *words* say what
    changes, one sentence each.
    """

    kind: str
    name: str
    state: State
    digest: str
    version: int | None = None
    published_at: datetime | None = None
    published_by: str = ""
    words: tuple[str, ...] = ()
    files: tuple[FileDiff, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def label(self) -> str:
        """Return the definition as a phrase."""
        return LABELS.get(self.kind, f"track {self.name}" if self.kind == TRACK else self.name)

    @property
    def seen(self) -> str:
        """Return a mark of this content beside that live version: it differs when either changes."""
        return f"{self.version or 0}:{self.digest[:40]}"

    @property
    def is_publishable(self) -> bool:
        """Return whether `publish` would not refuse it because of a fault."""
        return self.state in (State.NEW, State.CHANGED) and not faults(self.problems)


@dataclass(frozen=True, slots=True)
class FolderState:
    """What differs from what is live, all problems of `check`, and how many definitions are as they are live.

    *unreadable* says why the folder itself cannot be read, "" if it can.
    """

    changes: tuple[DefinitionChange, ...]
    problems: tuple[Problem, ...] = ()
    unchanged: int = 0
    unreadable: str = ""

    @property
    def seen(self) -> str:
        """Return a mark of all changes; see `DefinitionChange.seen`."""
        return sha256(" ".join(f"{one.name} {one.seen}" for one in self.changes).encode()).hexdigest()

    def find(self, name: str) -> DefinitionChange | None:
        """Return the change of the definition *name*, None if it is as it is live."""
        return next((one for one in self.changes if one.name == name), None)


def compare_folder(ctx: AppContext, tx: Transaction) -> FolderState:
    """Compare the folder `ctx.templates` with what is live."""
    try:
        sources, unreadable = scan_folder(ctx.templates)
    except FileUnreadable as error:
        return FolderState((), unreadable=str(error))
    problems = tuple(check_definitions(sources, unreadable))
    loaded = read_all.read(sources)[0]
    newest = {(one.kind, one.name): one for one in publication_queries.load_newest_versions(tx)}
    digests = _digests(loaded, sources)
    states = {key: _state(digest, newest.get(key)) for key, digest in digests.items()}
    tracks = (key for key in newest if key[0] in (TRACK, BROADCAST))
    states |= {key: State.REMOVED for key in tracks if key not in digests}
    differing = [key for key, state in states.items() if state is not None]
    details = publication_queries.load_details(tx, [newest[key].id for key in differing if key in newest])
    changes = []
    for key in sorted(differing, key=lambda key: (key[0] not in (TRACK, BROADCAST), key)):
        kind, name = key
        state, live = states[key], newest.get(key)
        assert state is not None  # by `differing`
        detail = details[live.id] if live is not None else None
        concerned = tuple(find_concerned(problems, [name])) if kind in (TRACK, BROADCAST) else problems
        change = DefinitionChange(kind, name, state, digests.get(key, ""), problems=concerned)
        changes.append(_describe(change, loaded, live, detail, sources))
    return FolderState(tuple(changes), problems, len(states) - len(differing))


def require_seen(now: str, seen: str, what: str) -> None:
    """Raise InvalidState if the folder or the live version is no longer what a user looked at."""
    if now != seen:
        raise InvalidState(
            f"The folder or the live version of {what} changed after you opened this page, so nothing was published. "
            "Reload the page, and look at the change again."
        )


def _digests(loaded: ProjectDefinitions, sources: Sources) -> Mapping[tuple[str, str], str]:
    """Return the digest of each definition in the folder; "" for a track that cannot be read."""
    found = {(TRACK, name): "" for name in names_in(TRACKS, sources)}
    found |= {(TRACK, name): one.digest for name, one in loaded.tracks.items()}
    found |= {(BROADCAST, name): one.digest for name, one in loaded.broadcasts.items()}
    single = {(POLICY, POLICY): loaded.policy_digest, (SENDING, SENDING): loaded.sending_digest}
    single[FIELDS, FIELDS] = loaded.fields_digest
    return found | {key: digest for key, digest in single.items() if digest}


def _state(digest: str, live: PublishedVersion | None) -> State | None:
    if not digest:
        return State.UNREADABLE
    if live is None:
        return State.NEW
    return None if live.digest == digest else State.CHANGED


def _describe(
    change: DefinitionChange,
    loaded: ProjectDefinitions,
    live: PublishedVersion | None,
    detail: VersionDetail | None,
    sources: Sources,
) -> DefinitionChange:
    before = dict(detail.sources) if detail is not None else {}
    after = _files_of(change, loaded, sources)
    words: Collection[str] = ()
    if change.state is State.CHANGED and detail is not None and not faults(change.problems):
        words = tuple(_words(change, loaded, detail.sources)) or ("Only the notation changes: it means the same.",)
    return DefinitionChange(
        change.kind,
        change.name,
        change.state,
        change.digest,
        live.version if live is not None else None,
        detail.published_at if detail is not None else None,
        detail.published_by if detail is not None else "",
        tuple(words),
        tuple(diff_files(before, after)) if change.state is not State.REMOVED else (),
        change.problems,
    )


def _files_of(change: DefinitionChange, loaded: ProjectDefinitions, sources: Sources) -> Sources:
    if change.state is State.REMOVED:
        return {}
    if change.state is State.UNREADABLE:
        folder = email_folder(change.name)
        return {path: text for path, text in sources.items() if path.startswith(folder)}
    if change.kind == POLICY:
        return loaded.sources_of_policy()
    if change.kind in (SENDING, FIELDS):
        return loaded.source_of(SINGLE_FILES[change.kind])
    return loaded.sources_of(change.name)


def _words(change: DefinitionChange, loaded: ProjectDefinitions, live: Sources) -> Iterator[str]:
    old = read_all.load(live, complete=False)
    match change.kind:
        case "policy" if old.unversioned_policy is not None and loaded.unversioned_policy is not None:
            yield from (f"{one}." for one in diff_policies(old.unversioned_policy, loaded.unversioned_policy))
        case "sending":
            yield from (f"{one}." for one in diff_values("sending", old.sending, loaded.sending))
        case "fields":
            yield from (f"{one}." for one in diff_values("field", old.fields, loaded.fields))
        case "track" | "broadcast":
            yield from describe_changes(old.definition(change.name), loaded.definition(change.name))
            others = ((path, text) for path, text in loaded.sources_of(change.name).items() if live.get(path) != text)
            for path, _ in others:
                if not path.startswith(email_folder(change.name)):
                    yield f"{path} changes, which it uses."


def diff_files(before: Sources, after: Sources) -> Iterator[FileDiff]:
    """Yield the lines that differ, file by file."""
    for path in sorted(before.keys() | after.keys()):
        was, becomes = before.get(path, ""), after.get(path, "")
        if was != becomes:
            lines = list(unified_diff(was.splitlines(), becomes.splitlines(), lineterm="", n=2))[2:]
            shown = lines[:_MAX_DIFF_LINES]
            rest = [f"… {len(lines) - len(shown):,} more lines"] if len(lines) > len(shown) else []
            yield FileDiff(path, (*shown, *rest))
