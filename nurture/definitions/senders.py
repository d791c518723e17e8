"""Check that a sender is reachable, real, and allowed to send from its domain."""

import re
from typing import Final

from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.delivery.sending_limits import normalize_domain
from nurture.formats.mail_domains import is_free_mail

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"({_LABEL}\.)+(?!\d+$){_LABEL}", re.IGNORECASE)
_MAX_LOCAL_LENGTH: Final = 64
_MAX_ADDRESS_LENGTH: Final = 254
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PLACEHOLDER: Final = re.compile(
    r"\b(todo|to do|tbd|tba|tbc|fixme|x{3,}|n/a|placeholder|change ?me|lorem|ipsum"
    r"|(your|our|my|company|postal|street|the|an?) address|address here"
    r"|your (name|company|street|city|business))\b"
    r"|[<\[{].*[>\]}]|\.\.\.|…",
    re.IGNORECASE | re.DOTALL,
)
_UNREAD: Final = re.compile(r"(no|do[-_.]?not)[-_.]?reply.*", re.IGNORECASE)
_MIN_POSTAL_LETTERS: Final = 8
_POSTAL_HINT: Final = "Write your postal address, for example `Larkfield Ltd, 1 Example Street, Exampletown`."


def check_sender(node: Node, context: ParseContext) -> None:
    """Report invalid parts of a `sender:`. Published versions are not checked again."""
    if not context.complete:
        return
    for key in ("email", "reply_to"):
        part = node.part(key)
        if part is not None and part.value:
            _check_address(key, part, is_sender=key == "email", context=context)
    postal = node.part("postal_address")
    if postal is not None:
        _check_postal(postal, context)
    name = node.part("name")
    if name is not None and (_CONTROL.search(str(name.value)) or _PLACEHOLDER.fullmatch(str(name.value))):
        context.add_problem(name, f"`name`: `{name.value}` is not a name", "Write who the mail is from.")


def _check_address(key: str, at: Node, *, is_sender: bool, context: ParseContext) -> None:
    address = str(at.value)
    local, _, domain = address.rpartition("@")
    ascii_domain = normalize_domain(domain)
    if not (_LOCAL.fullmatch(local) and _DOMAIN.fullmatch(ascii_domain)) or (
        len(local) > _MAX_LOCAL_LENGTH or len(local) + 1 + len(ascii_domain) > _MAX_ADDRESS_LENGTH
    ):
        what = f"`{key}`: mail programs cannot reply to `{address}`"
        context.add_problem(at, what, "Write for example `nora@example.com`, without accents, quotes or brackets.")
    elif not domain.isascii():
        what = f"`{key}`: not every mail server accepts the domain of `{address}` in this form"
        context.add_problem(at, what, f"Write its ASCII form: `{local}@{ascii_domain}`.")
    elif is_sender and is_free_mail(ascii_domain):
        what = f"`{key}`: mail from `{address}` is refused: `{ascii_domain}` lets only its own servers send"
        instead = "Use an address at your own domain; this one may be the `reply_to`."
        context.add_problem(at, what, instead)
    elif _UNREAD.fullmatch(local):
        what = f"`{key}`: nobody reads `{address}`, and answers are the best sign of interest"
        context.warn(at, what, "Write an address that somebody reads, also as `reply_to`.")


def _check_postal(at: Node, context: ParseContext) -> None:
    """Report what cannot be a postal address: the law of most countries requires one in every email."""
    text = " ".join(str(at.value).split())
    signs = sum(sign.isalnum() for sign in text)
    one_word = text.isascii() and " " not in text
    if _PLACEHOLDER.search(text) or signs < _MIN_POSTAL_LETTERS or one_word:
        context.add_problem(at, f"`postal_address`: `{text[:60]}` is not a postal address", _POSTAL_HINT)
