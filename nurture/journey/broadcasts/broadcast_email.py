"""The message kind of broadcasts: composed as the emails of tracks are, and looked at again before it is sent."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from nurture.db.transaction import Transaction
from nurture.domain.lead import Custodian, is_parked
from nurture.domain.planning import broadcasts
from nurture.domain.planning.broadcasts import GOAL_REACHED, WITH_SALES, Recipient
from nurture.domain.planning.program import Program
from nurture.journey.broadcasts import queries
from nurture.journey.broadcasts.release import load_with_holds
from nurture.journey.leads import snapshot
from nurture.journey.tracks.touch_email import Touches
from nurture.outbox.messages import BROADCAST, DueMessage
from nurture.runtime.context import AppContext
from nurture.runtime.message_kinds import MessageKind, Review


def withdrawal_reason(message: DueMessage) -> str:
    """Return why a due broadcast is not to be sent to this lead any more, "" if it is."""
    match message.custodian:
        case Custodian.CLOSED:
            return "closed"
        case Custodian.OFFER | Custodian.REP:
            return WITH_SALES
        case Custodian.QUEUE if not is_parked(message.custody_ref):
            return WITH_SALES
        case _:
            return ""


def review(ctx: AppContext, tx: Transaction, batch: Sequence[DueMessage], now: datetime) -> Mapping[int, Review]:
    """Return the due broadcasts whose lead reached the goal since, or whose call to action waits for sales.

    Broadcasts without a goal and without a call to action need no look at their leads.
    """
    by_program: dict[tuple[str, int], list[DueMessage]] = defaultdict(list)
    for one in batch:
        by_program[one.track or "", one.track_version or 0].append(one)
    found: dict[int, Review] = {}
    for key, messages in by_program.items():
        program = ctx.definitions.program(tx, *key)
        if program.exits or program.calls_to_action:
            found |= _review(ctx, tx, program, messages, now)
    return found


def _review(
    ctx: AppContext, tx: Transaction, program: Program, batch: Sequence[DueMessage], now: datetime
) -> dict[int, Review]:
    policy = ctx.definitions.current(tx).policy
    release = queries.find_release(tx, program.track)
    rows = snapshot.load_rows(tx, [one.lead_id for one in batch], lock=False)
    views = {one.view.lead.id: one.view for one in load_with_holds(ctx, tx, rows, program, now)}
    found = {}
    for message in batch:
        view = views[message.lead_id]
        one = Recipient(view, program, policy, release.released_at if release is not None else None)
        if broadcasts.reached_goal(one, now):
            found[message.id] = Review(GOAL_REACHED)
        elif (held := broadcasts.find_hold(program, view, now)) is not None:
            found[message.id] = Review(*held)
    return found


BROADCAST_KIND: Final = MessageKind(BROADCAST, Touches.load, withdrawal_reason, review=review)
