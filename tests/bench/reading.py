"""What the worst mail of a stranger costs: seconds of CPU to look at its headers and to read it whole."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

from nurture.mail.inbound.classify import classify_mail
from nurture.mail.inbound.raw_mail import RawMail
from tests.bench.figures import Figure, Skipped, best_of
from tests.mail.inbound.hostile_mails import MAILS
from tests.mail.inbound.replying import mail

TODAY: Final = date(2026, 1, 5)
REPEATS: Final = 3


def measure(folder: Path) -> list[Figure | Skipped]:
    """Read each mail of the corpus in this process, and a good one to compare with."""
    costs = {name: _cost(make()) for name, make in MAILS.items()}
    worst = max(costs, key=lambda name: costs[name])
    usual = _cost(mail("Yes, please call me.\r\n\r\nMia\r\n"))
    note = f"{worst}; the best of {REPEATS} of {len(costs)} mails; a good one takes {1_000 * usual:.2f} ms"
    return [Figure("hostile_mail_cpu_s", costs[worst], "s", maximum=0.1, note=note)]


def _cost(raw: bytes) -> float:
    def read() -> None:
        one = RawMail({"email": raw})
        one.routing_hints()
        classify_mail(RawMail.unpack(one.pack()).parse(), TODAY)

    return best_of(read, REPEATS).cpu
