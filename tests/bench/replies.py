"""How well opt-outs in replies are found, by language, on the open and the held-back part of the labeled corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure, Skipped
from tests.mail.inbound.corpus_scores import MAIN_LANGUAGES, Judged, Scores, judge, score

RESULTS: Final = Path(__file__).parents[2] / "build" / "replies.json"


def measure(folder: Path) -> list[Figure | Skipped]:
    """Classify the corpus, print a table for each part, and keep the scores of each language in build/replies.json."""
    halves = {half: judge(half) for half in ("open", "held_back")}
    scores = {half: _by_language(judged) for half, judged in halves.items()}
    for half, found in scores.items():
        Console().print(_table(half, found))
    RESULTS.parent.mkdir(exist_ok=True)
    kept = {half: {name: one._asdict() for name, one in found.items()} for half, found in scores.items()}
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    whole = score(halves["held_back"])
    lowest = min(scores["held_back"][name].recall for name in MAIN_LANGUAGES)
    note = f"on {whole.entries} replies that nobody tuned the phrases to; classes right: {whole.accuracy:.1%}"
    return [
        Figure("replies_optout_precision", whole.precision, "", minimum=0.98, note=note),
        Figure("replies_optout_recall", whole.recall, "", minimum=0.95),
        Figure("replies_optout_recall_lowest_main_language", lowest, "", minimum=0.9),
        Figure("replies_no_handed_hot", float(whole.hot), "opt-outs", maximum=1),
    ]


def _by_language(judged: list[Judged]) -> dict[str, Scores]:
    names = sorted({one.language for one in judged})
    return {"all": score(judged)} | {name: score([one for one in judged if one.language == name]) for name in names}


def _table(half: str, scores: dict[str, Scores]) -> Table:
    table = Table(title=f"opt-outs in replies, {half.replace('_', ' ')}")
    for name in ("language", "replies", "opt-outs", "precision", "recall", "handed off", "accuracy"):
        table.add_column(name, justify="left" if name == "language" else "right", no_wrap=True)
    for name, one in scores.items():
        shares = (f"{share:.1%}" for share in (one.precision, one.recall))
        table.add_row(name, str(one.entries), str(one.opt_outs), *shares, str(one.hot), f"{one.accuracy:.1%}")
    return table
