"""Story: an invitation goes to 20 leads in five zones on one day, beside the emails of their tracks."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from nurture.domain.consent.suppression import SuppressionScope
from nurture.domain.signals import SignalKind
from nurture.formats.lead_item import ItemReader
from nurture.journey.broadcasts import release
from nurture.journey.consent import suppression
from nurture.journey.consent.suppression import SuppressionTarget
from nurture.journey.intake.import_file import import_rows
from nurture.reporting import broadcasts as reporting
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.stories.world import context_in_memory, does, live, rows, touches

NAME = "planning-webinar"
START = datetime(2027, 2, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)
END = START + 45 * DAY
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Sydney", "America/Los_Angeles")
INVITED_ON = date(2027, 3, 2)
LEADS = 20


def receive(ctx: AppContext) -> None:
    with ctx.database.read() as tx:
        reader = ItemReader("crm", ctx.definitions.declared_fields(tx))
    items: list[dict[str, Any]] = [
        {
            "external_id": f"c{number}",
            "email": f"c{number}@example.com",
            "consent_basis": "consent",
            "zone": ZONES[number % 5],
            "employees": "300",
            "attended": "yes" if number % 4 else "no",
            "registered_at": "2027-01-20",
        }
        for number in range(LEADS)
    ]
    import_rows(ctx, [reader.read(number, item) for number, item in enumerate(items, 1)], "API batch", START)


def world(*, invites: bool) -> AppContext:
    """Live for six weeks; with *invites* the broadcast is released on 25 February."""
    ctx = context_in_memory(START)
    receive(ctx)

    def invite(at: datetime) -> None:
        if invites:
            release.release(ctx, NAME, "mara", at)

    def refuse_topic(at: datetime) -> None:
        suppression.suppress(ctx, ["c1@example.com"], at, target=SuppressionTarget(SuppressionScope.TOPIC, "Webinars"))

    released_at = datetime(2027, 2, 25, 9, tzinfo=UTC)
    live(
        ctx,
        START,
        END,
        (released_at, invite),
        (released_at + DAY, refuse_topic),
        (released_at + 2 * DAY, does(ctx, 3, SignalKind.REGISTERED)),
    )
    return ctx


def test_each_gets_it_at_its_own_ten_o_clock_and_the_tracks_go_on_as_without_it() -> None:
    ctx, without = world(invites=True), world(invites=False)
    mails = [row for row in rows(ctx, "message") if row.kind == "broadcast"]
    sent = [row for row in mails if row.accepted_at is not None]
    zones = {row.id: row.zone for row in rows(ctx, "lead")}
    assert max(Counter(row.lead_id for row in mails).values()) == 1
    assert len(sent) > LEADS / 2
    on_the_day = 0
    for row in sent:
        local = row.accepted_at.astimezone(ZoneInfo(zones[row.lead_id]))
        assert INVITED_ON <= local.date() <= INVITED_ON + 2 * DAY
        assert 9 <= local.hour < 17
        on_the_day += local.date() == INVITED_ON and 10 <= local.hour <= 12
    assert on_the_day > len(sent) / 2
    reasons = {row.lead_id: row.reason for row in mails if row.accepted_at is None}
    assert reasons[2].startswith("left out: suppressed")
    assert reasons[3] == "left out: reached the goal"
    found = reporting.report_broadcast(ctx, NAME, END)
    assert (found.state, found.sent, found.waiting) == ("done", len(sent), 0)
    assert found.sent + found.expired.total() + found.left_out.total() + found.withdrawn.total() == len(mails)
    invited = {row.lead_id for row in sent}
    for lead in zones:
        beside, alone = touches(ctx, lead), touches(without, lead)
        if lead not in invited:
            assert beside == alone
        count = min(len(beside), len(alone))
        assert [name for _, name in beside][:count] == [name for _, name in alone][:count]
        assert all(with_it - at <= 7 * DAY for (with_it, _), (at, _) in zip(beside, alone, strict=False))
    assert run_audit(ctx, END).ok
