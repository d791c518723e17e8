"""Leads per second to their reps, matched, routed, the decisions stored; and how often a match is wrong."""

from __future__ import annotations

import gc
from pathlib import Path

from sqlalchemy import text

from nurture.definitions.folder import read_folder
from nurture.journey.handoff.queue import offer_all
from nurture.journey.leads import snapshot
from nurture.journey.ownership import queries as accounts_queries
from nurture.journey.ownership.queries import NewAccount
from nurture.journey.routing import capacity as routing_capacity
from nurture.journey.routing.replay import replay
from nurture.journey.routing.router import make_router
from nurture.runtime.batches import gc_paused
from nurture.runtime.context import AppContext
from tests.bench import seed_data
from tests.bench.figures import Figure, Skipped, measure_time
from tests.journey.ownership.match.labeled_leads import labeled_set, score

LEADS = 100_000
BATCH = 2_000
ACCOUNTS = 10_000
REPS = 12

_REPS_YAML = "\n".join(
    f"  - {{id: rep{number}, name: Rep {number}, email: rep{number}@house.example, capacity: 100000, "
    f"weight: {1 + number % 3}}}"
    for number in range(REPS)
)
_ROUTING_YAML = f"""
pools:
  dach: {{reps: [rep0, rep1, rep2, rep3], rotation: weighted}}
  south: {{reps: [rep4, rep5, rep6], rotation: least loaded}}
  all: {{reps: [{", ".join(f"rep{number}" for number in range(REPS))}], rotation: weighted}}
routing:
  - {{name: account, to: account owner}}
  - {{name: former, to: former owner}}
  - {{name: key, accounts: {{company4321.example: rep7}}}}
  - {{name: partners, when: {{field: channel, is: partner}}, to: {{pool: south}}}}
  - {{name: dach, when: {{field: country, is: [DE, AT]}}, required_fields: [country], to: {{pool: dach}}}}
  - {{name: south, when: {{field: country, is: [FR, ES, IT]}}, to: {{pool: south}}, territory: yes}}
  - name: large
    when: {{all: [{{field: employees, at_least: 500}}, {{fit: {{at_least: B}}}}]}}
    to: {{rep: rep9}}
  - {{name: rest, when: always, to: {{pool: all}}}}
"""


def measure(folder: Path) -> list[Figure | Skipped]:
    """Route 100,000 leads among 10,000 accounts, and match the labeled leads."""
    made = _make_context(folder)
    ids = list(range(1, LEADS + 1))
    with gc_paused():
        alone = measure_time(lambda: _route(made, ids))
        whole = measure_time(lambda: _offer(made))
    checked = replay(made)
    made.database.close()
    note = (
        f"{ACCOUNTS:,} accounts, {REPS} reps, 8 rules; {LEADS / alone.cpu:,.0f} a second of one core's time; "
        f"with the whole offer {LEADS / whole.wall:,.0f} a second; {checked.decisions:,} asked again, "
        f"{len(checked.differences)} differ"
    )
    found = score(labeled_set())
    match_note = f"of {found.leads:,} labeled leads; {found.unsure_percent:.1f} % are left to a person"
    return [
        Figure("route_leads_per_s", LEADS / alone.wall, "leads/s", minimum=5_000, note=note),
        Figure("match_wrong_owner_percent", found.wrong_percent, "%", maximum=2, note=match_note),
    ]


def _make_context(folder: Path) -> AppContext:
    sources = dict(read_folder(seed_data.TEMPLATES))
    policy = sources["sales/policy.yaml"]
    begins, ends = policy.index("reps:\n"), policy.index("accept_within:")
    sources["sales/policy.yaml"] = f"{policy[:begins]}reps:\n{_REPS_YAML}\n{_ROUTING_YAML}\n{policy[ends:]}"
    made = seed_data.make_context(f"sqlite:///{folder / 'routing.db'}", sources)
    seed_data.enroll_leads(made, LEADS)
    waits = "UPDATE custody SET kind='queue', ref='hand-off', next_action='offer', version=version+1"
    with made.database.write() as tx:
        accounts_queries.insert_accounts(tx, [_account(number) for number in range(ACCOUNTS)])
        tx.execute(text(waits))
    return made


def _account(number: int) -> NewAccount:
    """Return an account; every second lead belongs to one of the first 2,500."""
    name = f"Company {number}" if number < 2_500 else f"Other {number} Works"
    domain = f"company{number}.example" if number < 2_500 else f"other{number}.example"
    at, kind = seed_data.START, "customer" if number % 3 else "prospect"
    return NewAccount("crm", str(number), name, [domain], f"rep{number % REPS}", kind, at, at)


def _route(made: AppContext, ids: list[int]) -> None:
    """Read what routing asks about, ask, and store it, page by page; undone, to be offered after that."""
    with made.database.read() as tx:
        policy = made.definitions.current(tx).policy
    for begin in range(0, len(ids), BATCH):
        page = ids[begin : begin + BATCH]
        with made.database.write() as tx:
            found = snapshot.load_rows(tx, page)
            leads = snapshot.load_snapshots(made, tx, None, found, seed_data.START)
            capacity = routing_capacity.load_capacity(made, tx, policy, seed_data.START)
            routes = make_router(made, tx, policy, page, capacity, {})
            for lead in leads:
                request, routed = routes.route(lead, {})
                routes.record_decision(lead, request, routed, None)
            routes.write(tx, set(page))
            tx.connection.rollback()
        gc.collect(1)


def _offer(made: AppContext) -> None:
    offer_all(made, seed_data.START)
