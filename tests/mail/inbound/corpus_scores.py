"""Score the classifier on a folder of the labeled corpus, as `open` or `held_back`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from ruamel.yaml import YAML

from nurture.domain.replies import DEFAULT_ACTIONS, ReplyAction, ReplyClass
from nurture.mail.inbound.classify import classify_mail
from nurture.mail.inbound.message import parse_mail
from tests.mail.inbound.replying import mail

CORPUS: Final = Path(__file__).parent / "corpus"
MAIN_LANGUAGES: Final = ("en", "de", "fr", "es", "it", "nl", "pt", "pl", "sv", "cs", "ru", "ja")
TODAY: Final = date(2026, 11, 30)
_SAME: Final = {ReplyClass.ERASURE_REQUEST: ReplyClass.NO_MAIL, ReplyClass.UNCLEAR_SHORT: ReplyClass.UNCLEAR}
"""Classes that the corpus does not tell apart."""


class Judged(NamedTuple):
    """An entry of the corpus, its class, and what the classifier made of it."""

    language: str
    expected: str
    found: ReplyClass
    text: str

    @property
    def is_right(self) -> bool:
        """Return whether the class is that of the corpus."""
        return self.expected == _SAME.get(self.found, self.found)

    @property
    def is_hot(self) -> bool:
        """Return whether the reply is handed off."""
        return DEFAULT_ACTIONS[self.found] is ReplyAction.HAND_OFF


class Scores(NamedTuple):
    """How well opt-outs are found: shares between 0 and 1. *hot* are those that would be handed off."""

    entries: int
    opt_outs: int
    precision: float
    recall: float
    hot: int
    accuracy: float


def judge(half: str) -> list[Judged]:
    """Classify every entry of a half of the corpus, the name of a folder in `corpus`."""
    return [
        Judged(path.stem, entry["class"], _classify(entry), entry["text"])
        for path in sorted((CORPUS / half).glob("*.yaml"))
        for entry in YAML(typ="safe").load(path.read_text("utf-8"))
    ]


def _classify(entry: dict[str, str]) -> ReplyClass:
    raw = mail(entry["text"].replace("\n", "\r\n"), subject=entry.get("subject", "Re: Three questions on planning"))
    return classify_mail(parse_mail(raw), TODAY).kind


def score(judged: Sequence[Judged]) -> Scores:
    """Return the scores of some entries."""
    opt_outs = [one for one in judged if one.expected == ReplyClass.NO_MAIL]
    claimed = [one for one in judged if _SAME.get(one.found, one.found) is ReplyClass.NO_MAIL]
    right = sum(one.is_right for one in opt_outs)
    return Scores(
        len(judged),
        len(opt_outs),
        right / len(claimed) if claimed else 1.0,
        right / len(opt_outs) if opt_outs else 1.0,
        sum(one.is_hot for one in opt_outs),
        sum(one.is_right for one in judged) / max(1, len(judged)),
    )
