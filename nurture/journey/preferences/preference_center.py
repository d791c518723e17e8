"""The preference center of a lead: topics, frequency, pause and decision date."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import select

from nurture.db.tables.leads import address as _address
from nurture.db.tables.leads import lead
from nurture.db.tables.signals import signal as _signal
from nurture.db.transaction import Transaction
from nurture.domain.consent.suppression import (
    ActiveSuppression,
    SuppressionScope,
    SuppressionSource,
    is_reader_opt_out,
    normalize_ref,
)
from nurture.domain.lead import PausedBy
from nurture.domain.planning import calendar
from nurture.domain.signals import SignalKind
from nurture.errors import InvalidState
from nurture.journey.consent import opt_in, suppression
from nurture.journey.consent.suppression import ALL_MAIL, OptOut, SuppressionTarget
from nurture.journey.engagement import signals
from nurture.journey.leads import consent_queries, suppression_queries
from nurture.journey.preferences.unsubscribe import SOURCE, link_signal, load_program, mask_address
from nurture.journey.tracks import manual
from nurture.runtime.context import AppContext
from nurture.runtime.link_queries import TokenRecord
from nurture.runtime.published import PublishedDefinitions

PREFERENCE_PAGE: Final = "on the preference page"
UNSUBSCRIBE_PAGE: Final = "on the unsubscribe page"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of mail. *stopped_elsewhere*: the opt-out did not come from a link in an email."""

    name: str
    subscribed: bool
    stopped_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Preferences:
    """The choices of a lead. *address* is masked, because recipients of a forwarded email see this page too.

    *contact* is the sender's reply address. *today* is in the lead's zone. *stopped_elsewhere*: all mail was stopped
    outside this page and email links, so that these cannot resume it. *bounced*: mail to the address bounced.
    *paused_on_page*: the pause was set on this page and can be ended here. *decides_on*: the date that was stated on
    this page, unless another was stated later.
    """

    sender: str
    contact: str
    address: str
    zone: str
    today: date
    unsubscribed: bool
    stopped_elsewhere: bool
    bounced: bool
    topics: Sequence[Topic]
    paused_until: date | None
    paused_on_page: bool
    touch_interval_days: int | None
    decides_on: date | None

    def topic(self, name: str) -> Topic | None:
        """Return the topic with this name in any spelling, None if there is none."""
        return next((one for one in self.topics if normalize_ref(one.name) == normalize_ref(name)), None)


def load_preferences(ctx: AppContext, token: TokenRecord, now: datetime) -> Preferences:
    """Return the current choices of the lead of this link."""
    statement = (
        select(
            lead.c.zone,
            lead.c.paused_until,
            lead.c.paused_by,
            lead.c.touch_interval_days,
            _address.c.id,
            _address.c.email,
        )
        .outerjoin(_address, _address.c.id == lead.c.address_id)
        .where(lead.c.id == token.lead_id)
    )
    with ctx.database.read() as tx:
        row = tx.execute(statement).one()
        by_address = consent_queries.load_refusals(tx, [row.id] if row.id is not None else [])
        suppressions = by_address.get(row.id, ())
        global_opt_outs = [
            one
            for one in suppressions
            if one.scope is SuppressionScope.GLOBAL and one.source is not SuppressionSource.BOUNCE
        ]
        program = load_program(ctx, tx, token)
        zone = row.zone or (program.zone_fallback if program is not None else "UTC")
        active_pause = row.paused_until if row.paused_until is not None and row.paused_until > now else None
        return Preferences(
            sender=program.sender.name if program is not None else "",
            contact=(program.sender.reply_to or program.sender.email) if program is not None else "",
            address=mask_address(row.email or ""),
            zone=zone,
            today=calendar.to_local(now, zone).date(),
            unsubscribed=bool(global_opt_outs),
            stopped_elsewhere=not all(map(is_reader_opt_out, global_opt_outs)),
            bounced=any(
                one.scope is SuppressionScope.GLOBAL and one.source is SuppressionSource.BOUNCE for one in suppressions
            ),
            topics=_topics(ctx.definitions, tx, suppressions),
            paused_until=calendar.to_local(active_pause, zone).date() if active_pause is not None else None,
            paused_on_page=row.paused_by == PausedBy.PREFERENCE_PAGE,
            touch_interval_days=row.touch_interval_days,
            decides_on=_stated_on_page(tx, token.lead_id),
        )


def unsubscribe_topic(ctx: AppContext, token: TokenRecord, topic: Topic, now: datetime) -> None:
    """Opt the lead out of one topic. `unsubscribe.unsubscribe` stops all mail."""
    with ctx.database.write() as tx:
        address_id = suppression_queries.load_address_ids(tx, [token.lead_id]).get(token.lead_id)
        if address_id is not None:
            opt_out = OptOut(address_id, SuppressionSource.PAGE, SuppressionScope.TOPIC, topic.name)
            suppression.opt_out(tx, [opt_out], now)


def resubscribe(ctx: AppContext, token: TokenRecord, now: datetime) -> bool:
    """Opt the lead in to mail again, without changing topics; return whether that lifted anything.

    Everybody who has the email has this link, so it lifts only opt-outs that came from such a link.
    """
    return _opt_in(ctx, token, ALL_MAIL, now)


def resubscribe_topic(ctx: AppContext, token: TokenRecord, topic: Topic, now: datetime) -> bool:
    """Opt the lead in to one topic again; return whether that lifted anything."""
    return _opt_in(ctx, token, SuppressionTarget(SuppressionScope.TOPIC, topic.name), now)


def pause_until(
    ctx: AppContext, token: TokenRecord, day: date, zone: str, now: datetime, *, by: str = PREFERENCE_PAGE
) -> None:
    """Pause mail until *day* begins in *zone*; a longer pause of somebody else is kept."""
    manual.pause(
        ctx,
        token.lead_id,
        calendar.start_of_day(day, zone),
        now,
        by=by,
        paused_by=PausedBy.PREFERENCE_PAGE,
    )


def end_pause(ctx: AppContext, token: TokenRecord, now: datetime) -> None:
    """End the lead's pause. Raises InvalidState if it was not set on this page."""
    manual.pause(ctx, token.lead_id, None, now, by=PREFERENCE_PAGE, paused_by=PausedBy.PREFERENCE_PAGE)


def set_touch_interval(
    ctx: AppContext, token: TokenRecord, days: int | None, now: datetime, *, by: str = PREFERENCE_PAGE
) -> None:
    """Send the lead at most one email in *days*; None leaves the frequency to its track."""
    manual.set_touch_interval(ctx, token.lead_id, days, now, by=by)


def set_timeline(ctx: AppContext, token: TokenRecord, day: date, now: datetime) -> None:
    """Record the date on which the lead decides; the same date again records nothing."""
    with ctx.database.read() as tx:
        current = tx.execute(select(lead.c.decides_on).where(lead.c.id == token.lead_id)).scalar_one()
    if current == day:
        return
    key = f"deciding|{token.lead_id}|{day.isoformat()}|{now.isoformat()}"
    signal = link_signal(ctx, token, SignalKind.DECIDING, key, now)
    signals.record(ctx, [signal._replace(value=day.isoformat())], now)


def clear_timeline(ctx: AppContext, token: TokenRecord, now: datetime) -> None:
    """Withdraw the decision date if it was stated on this page."""
    with ctx.database.read() as tx:
        current = _stated_on_page(tx, token.lead_id)
    if current is not None:
        manual.clear_timeline(ctx, token.lead_id, now, by=PREFERENCE_PAGE)


def _stated_on_page(tx: Transaction, lead_id: int) -> date | None:
    """Return the decision date if it was stated on this page, else None."""
    is_stated_on_page = select(_signal.c.id).where(
        _signal.c.lead_id == lead.c.id,
        _signal.c.kind == SignalKind.DECIDING.value,
        _signal.c.source == SOURCE,
        _signal.c.occurred_at == lead.c.decides_stated_at,
    )
    statement = select(lead.c.decides_on).where(lead.c.id == lead_id, is_stated_on_page.exists())
    return tx.execute(statement).scalar_one_or_none()


def _opt_in(ctx: AppContext, token: TokenRecord, target: SuppressionTarget, now: datetime) -> bool:
    statement = select(_address.c.email).join(lead).where(lead.c.id == token.lead_id)
    with ctx.database.read() as tx:
        email = tx.execute(statement).scalar_one_or_none()
    if email is None:
        return False
    evidence = f"button on the preference page, opened by the link in message {token.message_id}"
    try:
        return bool(opt_in.opt_in(ctx, email, target, evidence, now, source=SuppressionSource.PAGE).lifted)
    except InvalidState:  # the opt-out did not come from a link in an email
        return False


def _topics(
    definitions: PublishedDefinitions, tx: Transaction, suppressions: Sequence[ActiveSuppression]
) -> list[Topic]:
    """Return the topics of published tracks and released broadcasts, and others that the lead opted out of."""
    current = definitions.find_current(tx)
    programs = list(current.programs.values()) if current is not None else []
    topics = [*(one.topic for one in programs), *suppression_queries.list_broadcast_topics(tx)]
    opted_out = {normalize_ref(one.ref): one.ref for one in suppressions if one.scope is SuppressionScope.TOPIC}
    stopped_elsewhere = {
        normalize_ref(one.ref)
        for one in suppressions
        if one.scope is SuppressionScope.TOPIC and not is_reader_opt_out(one)
    }
    names = opted_out | {normalize_ref(one): one for one in topics if one}
    return [Topic(names[key], key not in opted_out, key in stopped_elsewhere) for key in sorted(names)]
