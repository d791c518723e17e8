"""Write the brief that a rep receives with a lead: why now, what they did, how to answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, select

from nurture.domain import calendar
from nurture.domain.policy import Policy
from nurture.domain.team import Rep
from nurture.domain.track import Sender
from nurture.errors import NotFound
from nurture.mail.compose import Address, ComposedEmail, Envelope, compose
from nurture.store import offers, replies, tables
from nurture.store.offers import OfferRow
from nurture.store.outbox import Waiting
from nurture.store.replies import Said

from . import links
from .house import House
from .letters import full_name, lead_values, sender_address
from .links import Link, Wanted

MOST_DEEDS: Final = 8
MOST_REPLIES: Final = 3
MOST_WORDS: Final = 1_500
"""Characters of a reply that a brief shows."""

_LINK: Final = re.compile(r"(?:https?|ftp)://|www\.", re.IGNORECASE)
_signal: Table = tables.Signal.__table__  # type: ignore[attr-defined]

Deed = dict[str, str]
Words = dict[str, object]
"""What somebody wrote: on, who, lines."""


@dataclass
class Briefs:
    """What the briefs of one batch have in common, read in a constant number of statements."""

    house: House
    connection: Connection
    offers: Mapping[int, OfferRow]
    deeds: Mapping[int, Sequence[Deed]]
    replies: Mapping[int, Sequence[Words]]
    sender: Sender | None

    @classmethod
    def of(cls, house: House, connection: Connection, batch: Sequence[Waiting]) -> Briefs:
        """Read what the briefs of *batch* show."""
        if not batch:
            return cls(house, connection, {}, {}, {}, None)
        book = house.rulebooks.current(connection)
        found = offers.find(house.database, connection, [one.offer_id for one in batch if one.offer_id])
        lead_ids = [one.lead_id for one in batch]
        deeds = deeds_of(house, connection, lead_ids)
        words = replies_of(house, connection, lead_ids)
        sender = next((program.sender for program in book.programs.values()), None)
        return cls(house, connection, found, deeds, words, sender)

    def notice(self, one: Waiting) -> tuple[ComposedEmail, list[Link]]:
        """Write the few lines that tell a rep of one offer where colleagues read along."""
        offer, _, rep, sender = self._about(one)
        made: list[Link] = []
        how = f"nurture accept {offer.id}"
        if self.house.base_url:
            made.append(links.make(Wanted(links.ACCEPT, one.lead_id, one.id, offer.id)))
            how = made[-1].url(self.house.base_url)
        told = [full_name(one.facts) or "A lead", str(one.facts.get("company") or "")]
        email = ComposedEmail(
            ref=one.send_key,
            sender=sender_address(sender),
            to=Address(rep.name, rep.email),
            reply_to=None,
            subject=f"{rep.name}: {', '.join(part for part in told if part)}",
            html="",
            text=f"Why now: {offer.because}\nAnswer by {by_when(offer.expires_at, rep)}\n{how}",
            headers=(),
            labels=("handoff",),
            origin=self.house.origin,
        )
        return email, made

    def _about(self, one: Waiting) -> tuple[OfferRow, Policy, Rep, Sender]:
        offer = self.offers.get(one.offer_id or 0)
        if offer is None or self.sender is None:
            raise NotFound(
                f"The hand-off of {one.send_key} is gone. `nurture handoffs` lists those there are."
            )
        policy = self.house.rulebooks.policy(self.connection, offer.policy_version)
        rep = policy.rep(offer.rep)
        if rep is None:
            raise NotFound(f"Rep {offer.rep} is not in version {policy.version} of the policy.")
        return offer, policy, rep, self.sender

    def write(self, one: Waiting) -> tuple[ComposedEmail, list[Link]]:
        """Compose the brief of one offer, with its links to answer."""
        offer, policy, rep, sender = self._about(one)
        made: list[Link] = []
        urls = {"accept": "", "reject": ""}
        if self.house.base_url:
            for name, purpose in (("accept", links.ACCEPT), ("reject", links.REJECT)):
                link = links.make(Wanted(purpose, one.lead_id, one.id, offer.id))
                made.append(link)
                urls[name] = link.url(self.house.base_url)
        values = brief_values(
            one,
            offer,
            policy,
            self.deeds.get(one.lead_id, ()),
            urls,
            self.replies.get(one.lead_id, ()),
        )
        envelope = Envelope(
            ref=one.send_key,
            sender=sender_address(sender),
            to=Address(rep.name, rep.email),
            reply_to=Address("", sender.reply_to) if sender.reply_to else None,
            labels=("handoff",),
            origin=self.house.origin,
        )
        values["sender"] = {"name": sender.name}
        return compose(self.house.rulebooks.brief(self.connection, policy.version), values, envelope), made


def brief_values(
    one: Waiting,
    offer: OfferRow,
    policy: Policy,
    deeds: Sequence[Deed],
    urls: Mapping[str, str],
    words: Sequence[Words] = (),
) -> dict[str, object]:
    """Return the plain values that a brief is rendered with."""
    rep = policy.rep(offer.rep)
    fit, fit_because = policy.grade(one.facts)
    return {
        "lead": lead_values(one.facts) | {"id": one.lead_id, "email": one.address or ""},
        "rep": {"id": offer.rep, "name": rep.name if rep is not None else offer.rep},
        "offer": {
            "id": offer.id,
            "because": offer.because,
            "routed_because": offer.routed_because,
            "fit": fit,
            "fit_because": fit_because,
            "expires_on": f"{offer.expires_at:%A %d %B %Y, %H:%M} UTC",
            "accept_url": urls["accept"],
            "reject_url": urls["reject"],
            "deeds": list(deeds),
            "replies": list(words),
            "reasons": [{"code": each.code, "label": each.label} for each in policy.reject_reasons.values()],
        },
    }


def by_when(moment: datetime, rep: Rep) -> str:
    """Say a moment (UTC) as the rep's own clock shows it."""
    zone = rep.hours.zone
    return f"{calendar.local(moment, zone):%A %d %B %Y, %H:%M} ({zone})"


def deeds_of(house: House, connection: Connection, lead_ids: Sequence[int]) -> Mapping[int, list[Deed]]:
    """Return the newest things that each lead did, the newest first."""
    chosen = house.database.ids("chosen", list(set(lead_ids)))
    wanted = (
        select(
            _signal.c.lead_id,
            _signal.c.kind,
            _signal.c.occurred_at,
            _signal.c.step,
            _signal.c.link,
            _signal.c.value,
        )
        .join(chosen, chosen.c.id == _signal.c.lead_id)
        .where(_signal.c.verdict == "human")
        .order_by(_signal.c.lead_id, _signal.c.occurred_at.desc(), _signal.c.id.desc())
    )
    found: dict[int, list[Deed]] = defaultdict(list)
    for lead_id, kind, occurred_at, step, link, value in connection.execute(wanted):
        if len(found[lead_id]) < MOST_DEEDS:
            found[lead_id].append({"on": _day(occurred_at), "what": _told(kind, step, link, value)})
    return found


def replies_of(house: House, connection: Connection, lead_ids: Sequence[int]) -> Mapping[int, list[Words]]:
    """Return what was last written for each lead, the newest first, as plain lines without live links."""
    found = replies.said(house.database, connection, lead_ids, ("reply",), MOST_REPLIES)
    return {lead_id: [told_by(one) for one in said] for lead_id, said in found.items()}


def told_by(one: Said) -> Words:
    """Return what one answer says, as plain lines without live links."""
    text = one.text[:MOST_WORDS] + ("..." if len(one.text) > MOST_WORDS else "")
    lines = [_unlinked(line) for line in text.splitlines() if line.strip()]
    if one.attachments:
        lines.append(f"({one.attachments} attachment{'s' if one.attachments > 1 else ''}, not kept)")
    who = f"somebody else ({_unlinked(one.sender)})" if one.sender else "the lead"
    return {"on": _day(one.received_at), "who": who, "lines": lines or ["(no words)"]}


def _unlinked(text: str) -> str:
    """Return text in which mail programs find no link to make clickable."""
    return _LINK.sub(lambda found: found[0].lower().replace("tt", "xx").replace(".", "[.]"), text)


def _day(moment: datetime) -> str:
    return f"{moment:%d %b %Y}"


def _told(kind: str, step: str | None, link: str | None, value: Any) -> str:
    told = kind.replace("_", " ")
    if step:
        told += f" ({step}{', ' + link if link else ''})"
    return f"{told}: {_unlinked(' '.join(str(value).split()))}" if value else told
