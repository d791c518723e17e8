"""Which links of which emails people follow, and how often machines do."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from nurture.domain.signals import SignalVerdict
from nurture.reporting import queries
from nurture.runtime.context import AppContext


class LinkRow(NamedTuple):
    """One link of one email. *leads* and *clicks* are people's; *sent* counts the emails that carried it."""

    track: str
    step: str
    link: str
    leads: int
    clicks: int
    sent: int
    suspects: int
    bots: int


def clicks_per_link(ctx: AppContext, track: str | None = None) -> list[LinkRow]:
    """Return every link that was ever followed, within each email the most followed first."""
    with ctx.database.read() as connection:
        found = queries.clicks_by_link(connection)
        sent = queries.messages_by_step(connection)
    counts: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for of_track, step, link, verdict, clicks, leads in found:
        counts[of_track, step, link][verdict] = (clicks, leads)
    rows = []
    for (of_track, step, link), of_verdict in counts.items():
        clicks, leads = of_verdict.get(SignalVerdict.HUMAN.value, (0, 0))
        suspects, bots = (of_verdict.get(one.value, (0, 0))[0] for one in (SignalVerdict.SUSPECT, SignalVerdict.BOT))
        total = sent.get((of_track, step), (0, 0))[0]
        rows.append(LinkRow(of_track, step, link, leads, clicks, total, suspects, bots))
    selected = [one for one in rows if track is None or one.track == track]
    return sorted(selected, key=lambda one: (one.track, one.step, -one.leads, -one.clicks, one.link))
