"""Read the emails of one folder, of a track or of a broadcast, and what a program takes from them."""

from collections.abc import Collection, Mapping
from typing import Any

from nurture.definitions.defaults import Defaults, override_sender, read_sending
from nurture.definitions.email_front_matter import check_front_matter, email_layout, is_call_to_action, read_piece
from nurture.definitions.folder import Sources
from nurture.definitions.languages import check_languages, read_languages, split_language
from nurture.definitions.utm import read_utm
from nurture.definitions.yaml_reader import Node, ParseContext


def emails_in(folder: str, sources: Sources) -> dict[str, str]:
    """Return the text of each email in *folder* by its name, without README.md."""
    return {
        path.removeprefix(folder).removesuffix(".md"): text
        for path, text in sorted(sources.items())
        if path.startswith(folder) and path.endswith(".md") and path != f"{folder}README.md"
    }


def check_email_files(
    folder: str,
    emails: Mapping[str, str],
    sent: Collection[str],
    unsent: tuple[str, str],
    defaults: Defaults,
    context: ParseContext,
) -> None:
    """Report front matter and languages, and emails that are not *sent*: by what *unsent* says, and its remedy."""
    for email, text in emails.items():
        file = f"{folder}{email}.md"
        if split_language(email)[0] not in {split_language(one)[0] for one in sent}:
            context.add_problem(Node(file, 1, None), unsent[0], unsent[1].format(email))
        check_front_matter(file, text, context)
    check_languages(folder, emails, defaults.language, context)


def read_layouts(
    folder: str, emails: Mapping[str, str], defaults: Defaults, sources: Sources, context: ParseContext
) -> dict[str, str]:
    """Return the layout of each email."""
    return {
        email: email_layout(f"{folder}{email}.md", text, defaults.layout, sources, context)
        for email, text in emails.items()
    }


def read_program_defaults(
    folder: str, emails: Mapping[str, str], node: Node, defaults: Defaults, context: ParseContext
) -> dict[str, Any]:
    """Return the values of a program that come from its emails, and from defaults.yaml unless *node* overrides them."""
    sending = read_sending(node.part("send"), defaults.sending, context)
    files = {email: f"{folder}{email}.md" for email in emails}
    pieces = {email: read_piece(files[email], text, context) for email, text in emails.items()}
    calls = (email for email, text in emails.items() if is_call_to_action(files[email], text, context))
    return {
        "sender": override_sender(node.part("sender"), defaults.sender, context),
        "window": sending.window,
        "grace": sending.grace,
        "zone_fallback": sending.zone_fallback,
        "fallbacks": {field.name: field.fallback for field in context.fields.values() if field.fallback},
        "calls_to_action": frozenset(calls),
        "utm": read_utm(node.part("utm"), defaults.utm, context),
        "language": defaults.language,
        "languages": read_languages(emails),
        "pieces": {email: piece for email, piece in pieces.items() if piece},
    }
