"""Story: the contracts of twenty customers end in a year, and each mail before an end comes on its day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from nurture.formats.lead_item import ItemReader
from nurture.journey.intake.import_file import import_rows
from nurture.runtime.context import AppContext
from tests.stories.world import context_in_memory, live, shipped_rules, touches

START = datetime(2026, 12, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)
BEFORE = (90, 60, 30, 7)
TRACK = """
name: renewal
goal: Renew the contract
audience: {field: contract_ends, exists: yes}
priority: 90
until: {when: {field: renewed, is: yes}, then: {queue: renewed}}
send: {days: [mon, tue, wed, thu, fri, sat, sun], skip_holidays: no, zone_fallback: UTC}
steps:
""" + "".join(f"  - email: mail-{days}\n    after: {days} days before contract_ends at 10:00\n" for days in BEFORE)
EMAIL = '---\nsubject: Your contract\npreheader: Its end\n---\nHello {{ lead.first_name or "there" }}.\n'


def rules() -> dict[str, str]:
    made = shipped_rules() | {"tracks/renewal/track.yaml": TRACK + "finally: {queue: ended}\n"}
    made["fields.yaml"] = made.get("fields.yaml", "") + "\ncontract_ends: {type: date}\nrenewed: {type: yes/no}\n"
    return made | {f"tracks/renewal/mail-{days}.md": EMAIL for days in BEFORE}


def receive(ctx: AppContext, number: int, at: datetime, ends: date, renewed: str = "no") -> int:
    with ctx.database.read() as tx:
        reader = ItemReader("crm", ctx.definitions.declared_fields(tx))
    item = {"external_id": f"c{number}", "email": f"c{number}@example.com", "consent_basis": "consent"}
    custom = {"contract_ends": ends.isoformat(), "renewed": renewed}
    import_rows(ctx, [reader.read(number + 1, item | {"custom": custom, "employees": "300"})], "API batch", at)
    return number + 1


def mailed(ctx: AppContext, lead: int) -> list[tuple[date, str]]:
    return [(at.date(), email) for at, email in touches(ctx, lead) if email.startswith("mail-")]


def on_days(ends: date, days: tuple[int, ...] = BEFORE) -> list[tuple[date, str]]:
    return [(ends - one * DAY, f"mail-{one}") for one in days]


def test_each_mail_comes_on_its_day_and_who_renews_gets_nothing_more() -> None:
    ctx = context_in_memory(START, rules())
    ends = {
        receive(ctx, number, START, START.date() + (91 + 17 * number) * DAY): START.date() + (91 + 17 * number) * DAY
        for number in range(20)
    }
    renewed, extended = 5, 9
    renews_at = datetime.combine(ends[renewed] - 40 * DAY, START.time(), UTC)
    extends_at = datetime.combine(ends[extended] - 20 * DAY, START.time(), UTC)
    later = ends[extended] + 30 * DAY
    live(
        ctx,
        START,
        START + 480 * DAY,
        (renews_at, lambda at: receive(ctx, renewed - 1, at, ends[renewed], "yes")),
        (extends_at, lambda at: receive(ctx, extended - 1, at, later)),
    )
    for lead, day in ends.items():
        if lead not in (renewed, extended):
            assert mailed(ctx, lead) == on_days(day)
    assert mailed(ctx, renewed) == on_days(ends[renewed], (90, 60))
    assert mailed(ctx, extended) == [*on_days(ends[extended], (90, 60, 30)), *on_days(later, (7,))]
