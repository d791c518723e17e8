"""Create, check and revoke the secret links to reps' workspaces."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Final, NamedTuple

from nurture.db.transaction import Transaction
from nurture.errors import Misconfigured
from nurture.journey.handoff import workspace_link_queries
from nurture.journey.handoff.roster import require_rep
from nurture.journey.routing.availability import is_active
from nurture.runtime import link_queries
from nurture.runtime.context import AppContext
from nurture.runtime.public_links import digest

PATH: Final = "i"
"""The path of workspaces under the base URL."""

LINK_LIFETIME: Final = timedelta(days=30)
"""How long a link works, so that one in an old mail opens nothing."""


class RepLink(NamedTuple):
    """A token, which is stored as a digest only, and its rep."""

    token: str
    rep: str

    def url(self, base_url: str) -> str:
        """Return the link under *base_url*."""
        return f"{base_url.rstrip('/')}/{PATH}/{self.token}"


class RevokedLinks(NamedTuple):
    """How many links were revoked: to the workspace, and to answer offers."""

    workspace: int
    offers: int


def create(ctx: AppContext, rep: str, now: datetime) -> RepLink:
    """Create and store a link to the workspace of a rep, or to the page of a manager.

    Raises NotFound, or Misconfigured without a base URL.
    """
    with ctx.database.write() as tx:
        policy = ctx.definitions.current(tx).policy
        if policy.team.manager_with_id(rep) is None:
            require_rep(policy, rep)
        if not ctx.base_url:
            raise Misconfigured("Pages have no public address. Set NURTURE_BASE_URL.")
        return add_links(tx, [rep], now)[rep]


def add_links(tx: Transaction, people: Iterable[str], now: datetime) -> dict[str, RepLink]:
    """Create and store a link to the page of each of these reps and managers, with one statement."""
    links = {one: RepLink(token_urlsafe(16), one) for one in people}
    rows = [(digest(link.token), rep, now, now + LINK_LIFETIME) for rep, link in links.items()]
    workspace_link_queries.add(tx, rows)
    return links


def find_rep(ctx: AppContext, token: str, now: datetime) -> str | None:
    """Return the rep or manager whose page *token* opens; None if invalid, expired, or the person has left."""
    with ctx.database.read() as tx:
        rep_id = workspace_link_queries.find_rep(tx, digest(token), now)
        if rep_id is None:
            return None
        policy = ctx.definitions.current(tx).policy
    rep = policy.rep(rep_id)
    if rep is None:
        return rep_id if policy.team.manager_with_id(rep_id) is not None else None
    return rep_id if is_active(rep, now.date()) else None


def revoke(ctx: AppContext, rep: str, now: datetime) -> RevokedLinks:
    """Revoke every link to a rep's workspace, and those in the rep's briefs, notices and reminders.

    Open offers stay open: a new workspace link, or later reminders, can answer them. A rep who left the policy may
    still have links. Raises NotFound for an id without either.
    """
    with ctx.database.write() as tx:
        ended = RevokedLinks(workspace_link_queries.revoke(tx, rep, now), link_queries.delete_offer_tokens(tx, rep))
        if not any(ended):
            require_rep(ctx.definitions.current(tx).policy, rep)
    return ended
