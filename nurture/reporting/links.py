"""The report on links: clicks by people and by bots."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from nurture.domain.signals import SignalVerdict
from nurture.reporting import queries
from nurture.runtime.context import AppContext


class LinkRow(NamedTuple):
    """One link of one email. *leads* and *clicks* are human; *sent* counts the emails that contained it."""

    track: str
    step: str
    link: str
    leads: int
    clicks: int
    sent: int
    suspects: int
    bots: int


def clicks_per_link(ctx: AppContext, track: str | None = None) -> list[LinkRow]:
    """Return every link that was ever clicked, by track and step, most leads first."""
    with ctx.database.read() as tx:
        found = queries.clicks_by_link(tx)
        sent = queries.messages_by_step(tx)
    counts: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for name, step, link, verdict, clicks, leads in found:
        if track is None or name == track:
            counts[name, step, link][verdict] = (clicks, leads)
    rows = []
    for (name, step, link), by_verdict in counts.items():
        clicks, leads = by_verdict.get(SignalVerdict.HUMAN.value, (0, 0))
        suspects, bots = (by_verdict.get(one.value, (0, 0))[0] for one in (SignalVerdict.SUSPECT, SignalVerdict.BOT))
        rows.append(LinkRow(name, step, link, leads, clicks, sent.get((name, step), (0, 0))[0], suspects, bots))
    return sorted(rows, key=lambda row: (row.track, row.step, -row.leads, -row.clicks, row.link))
