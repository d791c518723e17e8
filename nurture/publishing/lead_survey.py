"""Evaluate a policy for every open lead, in batches; refuse territories that overlap."""

from collections.abc import Callable, Iterator
from datetime import datetime

from nurture.domain.planning.lead_view import LeadView
from nurture.domain.policy.policy import Policy
from nurture.domain.policy.policy_impact import PolicyImpact
from nurture.errors import InvalidState
from nurture.journey.leads import snapshot
from nurture.runtime.context import AppContext
from nurture.runtime.published import Definitions

ProgressCallback = Callable[[int], None]


def survey_leads(
    ctx: AppContext, policy: Policy, now: datetime, on_progress: ProgressCallback = lambda _: None
) -> PolicyImpact:
    """Evaluate *policy* for every open lead, in batches."""
    survey = PolicyImpact(policy)
    for view, country in open_leads(ctx, Definitions({}, policy), now, on_progress):
        survey.add_lead(view, country, now)
    return survey


def open_leads(
    ctx: AppContext, definitions: Definitions, now: datetime, on_progress: ProgressCallback
) -> Iterator[tuple[LeadView, str]]:
    """Yield every open lead, as *definitions* look at it, and its country; *on_progress* gets the size of a batch."""
    last = 0
    while True:
        with ctx.database.read() as tx:
            rows = snapshot.load_open_rows_after(tx, last, ctx.batch_size)
            snapshots = snapshot.load_snapshots(ctx, tx, definitions, rows, now)
        yield from ((lead.view, row.country) for row, lead in zip(rows, snapshots, strict=True))
        on_progress(len(rows))
        if len(rows) < ctx.batch_size:
            return
        last = rows[-1].lead_id


def require_no_overlaps(ctx: AppContext, policy: Policy, now: datetime) -> None:
    """Raise InvalidState if two territories of *policy* claim the same open lead, unless it allows that."""
    if policy.overlaps_allowed or sum(rule.territory for rule in policy.routing) < 2:
        return
    for (first, second), tally in survey_leads(ctx, policy, now).overlaps.items():
        leads = "1 lead" if tally.count == 1 else f"{tally.count:,} leads"
        raise InvalidState(
            f"The territories `{first}` and `{second}` both claim {leads}, such as lead {tally.examples[0]}. Make one "
            "of them narrower, or write `overlaps: allowed` in sales/policy.yaml if the first is meant to get them."
        )
