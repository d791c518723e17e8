"""Find the rep of each lead, in whose name email of `sender: {owner: yes}` goes."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from nurture.db.transaction import Transaction
from nurture.journey.accounts import queries as accounts_queries
from nurture.journey.accounts.index_cache import load_index
from nurture.journey.leads.queries import load_former_owners
from nurture.mail.rendering.render import Address, CompositionFailed
from nurture.runtime.context import AppContext


class Contact(NamedTuple):
    """The data by which the rep of a lead is found."""

    lead_id: int
    email: str
    fields: dict[str, Any]


def load_owners(ctx: AppContext, tx: Transaction, contacts: Iterable[Contact], now: datetime) -> dict[int, Address]:
    """Return name and address of the rep of each lead, by lead id, in a constant number of statements.

    The owner of its account comes first, then the rep who had it before, then who its field `owner` names. A lead
    without any, or only with reps who have left, is not in the result.
    """
    leads = {one.lead_id: one for one in contacts}
    reps = ctx.definitions.current(tx).policy.reps_by_label
    links = accounts_queries.load_links(tx, sorted(leads))
    linked = accounts_queries.load_accounts(tx, [one.account_id for one in links.values() if one.account_id])
    index = load_index(ctx.account_index, tx)
    former = load_former_owners(tx, sorted(leads))

    def account_owner(lead: Contact) -> str:
        link = links.get(lead.lead_id)
        if link is not None:
            return linked[link.account_id].owner if link.account_id in linked else ""
        account = index.match_lead(lead.email, lead.fields).account
        return account.owner if account is not None else ""

    owners: dict[int, Address] = {}
    for id_, lead in leads.items():
        labels = account_owner(lead), former.get(id_, ""), str(lead.fields.get("owner") or "")
        found = (reps[label.casefold()] for label in labels if label.casefold() in reps)
        active = (rep for rep in found if rep.left_on is None or rep.left_on >= now.date())
        rep = next(active, None)
        if rep is not None:
            with suppress(CompositionFailed):  # a name that no header can hold: the usual sender writes
                owners[id_] = Address(rep.name, rep.email)
    return owners
