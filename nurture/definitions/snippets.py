"""Insert snippets into the text of emails: `{% include "price" %}` stands for templates/snippets/price.md."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from nurture.definitions.email_front_matter import read_front_matter
from nurture.definitions.folder import BROADCASTS, TRACKS, Sources
from nurture.definitions.languages import split_language
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.errors import suggest

SNIPPETS: Final = "snippets/"
MAX_CHARACTERS: Final = 100_000
"""Characters of one email with its snippets, as of one file."""

_INCLUDE: Final = re.compile(r"\{%-?\s*include\s+([\"'])([^\"']*)\1\s*-?%\}")
_FENCE: Final = re.compile(r"^---[ \t]*$")
_UNSAFE: Final = re.compile(r"[^a-z0-9]+")

Line = tuple[str, int, str]
"""File, line number and text."""


@dataclass(frozen=True, slots=True)
class ExpandedText:
    """An email with its snippets. *origins* has the file and the line of each of its lines, if they differ."""

    text: str
    origins: tuple[tuple[str, int], ...] = ()
    snippets: frozenset[str] = frozenset()
    """The files of the snippets that it includes."""


def find_snippets(sources: Sources) -> dict[str, str]:
    """Return the file of each snippet by its name."""
    return {path.removeprefix(SNIPPETS).removesuffix(".md"): path for path in sources if _is_snippet(path)}


def expand_emails(sources: Sources, signature: str, context: ParseContext) -> dict[str, ExpandedText]:
    """Return each email of tracks, broadcasts and handoff/ with its snippets, by path; report those that do not exist.

    Emails to leads end with the snippet *signature*, unless they include it themselves or name another.
    """
    every = find_snippets(sources)
    known = {name: file for name, file in every.items() if not split_language(name)[1]}

    def expand(path: str, text: str) -> ExpandedText:
        language = split_language(path.rpartition("/")[2].removesuffix(".md"))[1]
        own = known | {name: every.get(f"{name}.{language}", file) for name, file in known.items()}
        return _expand(path, _sign(path, text, signature, own, context), own, sources, context)

    expanded = {
        path: expand(path, text)
        for path, text in sources.items()
        if path.startswith((TRACKS, BROADCASTS, "handoff/"))
        and path.endswith(".md")
        and not path.endswith("/README.md")
    }
    used = used_snippets(expanded.values())
    for name, path in sorted(every.items()):
        stem = split_language(name)[0]
        safe = _UNSAFE.sub("-", stem.lower()).strip("-")
        if safe != stem:
            what = f"the snippet `{stem}` has a space, a capital or a sign in its name, as no other name has"
            context.warn(
                Node(path, 1, None), what, f"Rename the file to `{safe}.md`, also in the tags that include it."
            )
        if path not in used:
            instead = f'Write `{{% include "{split_language(name)[0]}" %}}` in an email, or remove the file.'
            context.warn(Node(path, 1, None), "no email uses this snippet", instead)
    return expanded


def used_snippets(emails: Iterable[ExpandedText]) -> frozenset[str]:
    """Return the files of all snippets that *emails* include."""
    return frozenset(path for one in emails for path in one.snippets)


def _is_snippet(path: str) -> bool:
    return (
        path.startswith(SNIPPETS) and path.endswith(".md") and path.count("/") == 1 and path != f"{SNIPPETS}README.md"
    )


def _sign(path: str, text: str, signature: str, known: Mapping[str, str], context: ParseContext) -> str:
    """Add the tag of the signature to an email to leads. `signature: no` in the front matter leaves it out."""
    default = signature if path.startswith((TRACKS, BROADCASTS)) else ""
    line, name = (read_front_matter(text) or {}).get("signature", (1, default))
    if name not in ("", "no", *known):
        instead = suggest(name, known, f"Write the file {SNIPPETS}{name}.md.")
        context.add_problem(Node(path, line, None), f"there is no snippet `{name}` in {SNIPPETS}", instead)
        return text
    if name in ("", "no") or any(included == name for _, included in _INCLUDE.findall(text)):
        return text
    return f'{text.rstrip()}\n\n{{% include "{name}" %}}\n'


def _expand(path: str, text: str, known: Mapping[str, str], sources: Sources, context: ParseContext) -> ExpandedText:
    if not _INCLUDE.search(text):
        return ExpandedText(text)
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if _FENCE.match(line)][:2]
    body = fences[1] + 1 if len(fences) == 2 else 0
    expanded: list[Line] = [(path, number, line) for number, line in enumerate(lines[:body], 1)]
    used: set[str] = set()
    size = len(text)
    for number, line in enumerate(lines[body:], body + 1):
        names = [name for _, name in _INCLUDE.findall(line)]
        used.update(known[name] for name in names if name in known)
        size += sum(len(sources[known[name]]) for name in names if name in known)
        if size > MAX_CHARACTERS:
            what = f"the email has more than {MAX_CHARACTERS:,} characters with its snippets"
            context.add_problem(Node(path, number, None), what, "Shorten them.")
            return ExpandedText(text, (), frozenset(used))
        for name in names:
            _check_include(Node(path, number, None), name, line, known, sources, context)
        expanded += _expand_line(path, number, line, known, sources)
    origins = tuple((file, number) for file, number, _ in expanded)
    return ExpandedText("\n".join(line for *_, line in expanded), origins, frozenset(used))


def _check_include(
    node: Node, name: str, line: str, known: Mapping[str, str], sources: Sources, context: ParseContext
) -> None:
    if name not in known:
        stem = name.removesuffix(".md")
        instead = suggest(name, known, f"Write the file {SNIPPETS}{stem}.md.")
        if stem in known:
            instead = f'Write `{{% include "{stem}" %}}`, without `.md`.'
        context.add_problem(node, f"there is no snippet `{name}` in {SNIPPETS}", instead)
    elif not _INCLUDE.fullmatch(line.strip()) and "\n" in sources[known[name]].strip():
        what = f"the snippet `{name}` has several lines, and stands inside a line here"
        context.add_problem(node, what, "Write the tag on a line of its own.")


def _expand_line(path: str, number: int, line: str, known: Mapping[str, str], sources: Sources) -> Iterator[Line]:
    def text_of(tag: re.Match[str]) -> str:
        return sources[known[tag[2]]].strip("\n") if tag[2] in known else ""

    alone = _INCLUDE.fullmatch(line.strip())
    if alone is None or alone[2] not in known:
        yield path, number, _INCLUDE.sub(text_of, line).replace("\n", " ") if _INCLUDE.search(line) else line
        return
    file = known[alone[2]]
    before = len(sources[file]) - len(sources[file].lstrip("\n"))
    indent = line[: len(line) - len(line.lstrip())]
    for offset, inner in enumerate(text_of(alone).split("\n"), before + 1):
        yield file, offset, indent + inner if inner.strip() else ""
