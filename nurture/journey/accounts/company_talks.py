"""Find the rep who talks to a company: by the account, or by the domain that the company has for itself."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, Self

from nurture.db.transaction import Transaction
from nurture.domain.lead import FieldValues
from nurture.domain.planning.program import Program
from nurture.domain.policy.policy import Policy
from nurture.journey.accounts import talk_queries
from nurture.journey.leads.snapshot import LeadSnapshot, leads_on
from nurture.journey.ownership.match.domains import company_domain, site_domain

CompanyKey = tuple[str, int | str]
"""An account or a domain; a free mail domain, or one that many companies share, is none."""


class CompanyTalk(NamedTuple):
    """A lead whose rep talks to its company, or did until lately; not *is_binding*: never answered its offer."""

    lead_id: int
    rep: str
    is_binding: bool = True


@dataclass
class CompanyTalks:
    """The leads that sales has, or had until lately, by company; the open and the newest ones first."""

    by_company: defaultdict[CompanyKey, list[CompanyTalk]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def load(cls, tx: Transaction, ended_since: datetime | None) -> Self:
        """Read them with one statement; with *ended_since* also conversations that ended then or later."""
        talks = cls()
        for row in talk_queries.load_talks(tx, ended_since):
            keys = company_keys(row.email, row.fields.get("website"), row.account_id)
            for key in keys:
                talks.by_company[key].append(CompanyTalk(row.lead_id, row.rep, row.is_binding))
        return talks

    def find(self, lead_id: int, keys: Iterable[CompanyKey]) -> CompanyTalk | None:
        """Return the first talk with another lead of the company with one of *keys*: a binding one if there is any."""
        talks = [one for key in keys for one in self.by_company.get(key, ()) if one.lead_id != lead_id]
        return next((one for one in talks if one.is_binding), talks[0] if talks else None)

    def add(self, talk: CompanyTalk, keys: Iterable[CompanyKey]) -> None:
        """Note that a rep is about to talk to a lead, so that the next one of its batch goes to the same rep."""
        for key in keys:
            self.by_company[key].insert(0, talk)


def company_keys(email: str | None, website: object, account_id: int | None) -> Iterator[CompanyKey]:
    """Yield what tells the company of a lead: its account, the domain of its address or else of its site."""
    if account_id is not None:
        yield "account", account_id
    if domain := company_domain(email or "") or site_domain(str(website or "")):
        yield "domain", domain


def mark_colleagues(
    tx: Transaction,
    policy: Policy,
    programs: Mapping[str, Program],
    snapshots: list[LeadSnapshot],
    *,
    on_any_track: bool = False,
) -> list[LeadSnapshot]:
    """Return the leads, each with another lead of its company that sales has, if its track may have to hold for that.

    *on_any_track*: if any track may, because they may come to it.
    """
    calling = {name for name, program in programs.items() if program.calls_to_action}
    concerned = leads_on(snapshots, calling, on_any_track=on_any_track)
    if policy.one_rep_per_company is None or not concerned:
        return snapshots
    colleagues = find_colleagues(tx, {lead.view.lead.id: lead.view.lead.fields for lead in concerned})
    return [
        lead if talk is None else replace(lead, view=replace(lead.view, colleague_with_sales=talk.lead_id))
        for lead in snapshots
        for talk in [colleagues.get(lead.view.lead.id)]
    ]


def find_colleagues(tx: Transaction, leads: Mapping[int, FieldValues]) -> dict[int, CompanyTalk]:
    """Return another lead of the same company that sales has, for each of *leads* (id: fields) for which there is one.

    Reads with one statement, or two.
    """
    talks = CompanyTalks.load(tx, None)
    if not talks.by_company:
        return {}
    companies = talk_queries.load_companies(tx, sorted(leads)).values()
    found = {
        one.lead_id: talks.find(one.lead_id, company_keys(one.email, leads[one.lead_id].get("website"), one.account_id))
        for one in companies
    }
    return {lead_id: talk for lead_id, talk in found.items() if talk is not None}
