"""Read the languages of emails: `01-hello.de.md` is the German `01-hello.md`."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import PlainValidator

from nurture.definitions.schema_check import InvalidValue
from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.errors import suggest
from nurture.formats.languages import language_code

_SUFFIX: Final = re.compile(r"(.+)\.([A-Za-z_-]+)")


def _read_language(given: Any) -> str:
    code = language_code(given) if isinstance(given, str) else ""
    if not code:
        raise InvalidValue(f"`{given}` is not a language", "Write its code of two letters, such as `de`.")
    return code


Language = Annotated[str, PlainValidator(_read_language)]


def split_language(email: str) -> tuple[str, str]:
    """Return an email without its language, and the language, "" for the default: ("01-hello", "de")."""
    found = _SUFFIX.fullmatch(email)
    return (found[1], found[2]) if found else (email, "")


def read_languages(emails: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the languages of each email that has any, besides the default."""
    found: dict[str, list[str]] = {}
    for email, language in map(split_language, sorted(emails)):
        if language:
            found.setdefault(email, []).append(language)
    return {email: tuple(languages) for email, languages in found.items()}


def check_languages(folder: str, emails: Mapping[str, str], default: str, context: ParseContext) -> None:
    """Report languages that do not exist, and emails that some languages of their track lack."""
    names = {email for email in emails if not split_language(email)[1]}
    by_email = read_languages(emails)
    for email, language in map(split_language, emails):
        file = Node(f"{folder}{email}.{language}.md", 1, None)
        if not language:
            continue
        code = language_code(language)
        if email not in names:
            instead = suggest(email, names, f"Write {email}.md, which all other leads get.")
            context.add_problem(file, f"there is no email `{email}.md` of which this is one language", instead)
        elif code != language:
            instead = f"Rename it to {email}.{code}.md." if code else "Name it for example 01-hello.de.md."
            context.add_problem(file, f"`{language}` is not the code of a language", instead)
        elif code == default:
            instead = f"Move its text to {email}.md, or write the other `language:` in defaults.yaml."
            context.add_problem(file, f"`{language}` is the language of {email}.md", instead)
    every = {language for languages in by_email.values() for language in languages}
    for email in sorted(names):
        missing = sorted(every - set(by_email.get(email, ())))
        if missing:
            what = f"the email is missing in {', '.join(missing)}: leads of these languages get it in {default}"
            files = " and ".join(f"{email}.{language}.md" for language in missing)
            context.warn(Node(f"{folder}{email}.md", 1, None), what, f"Write {files}.")
