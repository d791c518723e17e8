"""What a sender must be before anything goes out in its name: reachable, real, and allowed to send."""

from __future__ import annotations

import re
from typing import Final

from nurture.definitions.yaml_reader import Node, ParseContext
from nurture.domain.delivery.sending_limits import normalize_domain

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
_MIN_POSTAL_LETTERS: Final = 8
_POSTAL_HINT: Final = "Write where letters reach you, for example `Larkfield Ltd, 1 Example Street, Exampletown`."
_FREE_MAIL_DOMAINS: Final = frozenset(
    """
    gmail.com googlemail.com ymail.com rocketmail.com aim.com msn.com passport.com icloud.com me.com mac.com
    web.de freenet.de t-online.de arcor.de mail.com email.com proton.me protonmail.com pm.me tutanota.com
    tutanota.de tuta.io fastmail.com hey.com zohomail.com yandex.ru yandex.com ya.ru mail.ru bk.ru inbox.ru
    list.ru rambler.ru qq.com foxmail.com 163.com 126.com yeah.net sina.com sohu.com naver.com hanmail.net
    daum.net rediffmail.com orange.fr wanadoo.fr laposte.net free.fr sfr.fr libero.it virgilio.it tiscali.it
    alice.it tin.it telenet.be skynet.be ziggo.nl kpnmail.nl bluewin.ch wp.pl o2.pl onet.pl interia.pl
    seznam.cz centrum.cz abv.bg ukr.net comcast.net verizon.net att.net sbcglobal.net bellsouth.net cox.net
    charter.net btinternet.com talktalk.net virginmedia.com sky.com bigpond.com optusnet.com.au uol.com.br
    bol.com.br terra.com.br docomo.ne.jp ezweb.ne.jp
    """.split()  # noqa: SIM905  (a list of a hundred lines reads worse)
)
_FREE_MAIL_FAMILIES: Final = re.compile(r"(yahoo|hotmail|live|outlook|gmx|aol)(\.[a-z]{2,3}){1,2}")


def check_sender(node: Node, context: ParseContext) -> None:
    """Note what of a sender, as `sender:` has it, must not go out. What was published once is left alone."""
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
        context.add_problem(name, f"`name`: `{name.value}` is nobody's name", "Write who the mail is from.")


def _check_address(key: str, at: Node, *, is_sender: bool, context: ParseContext) -> None:
    address = str(at.value)
    local, _, domain = address.rpartition("@")
    ascii_domain = normalize_domain(domain)
    if not (_LOCAL.fullmatch(local) and _DOMAIN.fullmatch(ascii_domain)) or (
        len(local) > _MAX_LOCAL_LENGTH or len(local) + 1 + len(ascii_domain) > _MAX_ADDRESS_LENGTH
    ):
        what = f"`{key}`: mail programs take no answer to `{address}`"
        context.add_problem(at, what, "Write for example `nora@example.com`, without accents, quotes or brackets.")
    elif not domain.isascii():
        what = f"`{key}`: not every mail server takes the domain of `{address}` as it is written"
        context.add_problem(at, what, f"Write its other form: `{local}@{ascii_domain}`.")
    elif is_sender and _is_free(ascii_domain):
        what = f"`{key}`: mail from `{address}` is refused: `{ascii_domain}` lets nobody else send in its name"
        instead = "Write an address at a domain of your own; this one may stand as `reply_to`."
        context.add_problem(at, what, instead)


def _is_free(domain: str) -> bool:
    return domain in _FREE_MAIL_DOMAINS or _FREE_MAIL_FAMILIES.fullmatch(domain) is not None


def _check_postal(at: Node, context: ParseContext) -> None:
    """Note what is no place that a letter could go to: the law of most countries wants one in every email."""
    text = " ".join(str(at.value).split())
    signs = sum(sign.isalnum() for sign in text)
    one_word = text.isascii() and " " not in text
    if _PLACEHOLDER.search(text) or signs < _MIN_POSTAL_LETTERS or one_word:
        context.add_problem(
            at, f"`postal_address`: `{text[:60]}` is not a place that a letter could go to", _POSTAL_HINT
        )
