"""Leads per second to their reps, matched, routed, the decisions stored; and how often a match is wrong."""

from __future__ import annotations

import gc
from pathlib import Path

from sqlalchemy import text

from nurture.definitions import read_folder
from nurture.journey.accounts import queries as accounts_queries
from nurture.journey.accounts.queries import NewAccount
from nurture.journey.handoff.queue import offer_all
from nurture.journey.leads import snapshot
from nurture.journey.routing import capacity as rooms
from nurture.journey.routing.replay import replay
from nurture.journey.routing.router import router
from nurture.runtime.context import House
from nurture.runtime.gc_pause import undisturbed
from tests.bench import worlds
from tests.bench.figures import Figure, Skipped, took
from tests.journey.accounts.match.labelled import labelled, score

LEADS = 100_000
BATCH = 2_000
ACCOUNTS = 10_000
REPS = 12

_PEOPLE = "\n".join(
    f"  - {{id: rep{number}, name: Rep {number}, email: rep{number}@house.example, capacity: 100000, "
    f"weight: {1 + number % 3}}}"
    for number in range(REPS)
)
_ROUTING = f"""
pools:
  dach: {{reps: [rep0, rep1, rep2, rep3], by: weighted}}
  south: {{reps: [rep4, rep5, rep6], by: least loaded}}
  all: {{reps: [{", ".join(f"rep{number}" for number in range(REPS))}], by: weighted}}
routing:
  - {{name: account, to: account owner}}
  - {{name: former, to: former owner}}
  - {{name: key, accounts: {{company4321.example: rep7}}}}
  - {{name: partners, when: {{field: channel, is: partner}}, to: {{pool: south}}}}
  - {{name: dach, when: {{field: country, is: [DE, AT]}}, needs: [country], to: {{pool: dach}}}}
  - {{name: south, when: {{field: country, is: [FR, ES, IT]}}, to: {{pool: south}}, territory: yes}}
  - name: large
    when: {{all: [{{field: employees, at_least: 500}}, {{fit: {{at_least: B}}}}]}}
    to: {{rep: rep9}}
  - {{name: rest, when: always, to: {{pool: all}}}}
"""


def measure(folder: Path) -> list[Figure | Skipped]:
    """Route 100,000 leads among 10,000 accounts, and match the labelled set."""
    made = _house(folder)
    ids = list(range(1, LEADS + 1))
    with undisturbed():
        alone = took(lambda: _route(made, ids))
        whole = took(lambda: _offer(made))
    checked = replay(made)
    made.database.close()
    note = (
        f"{ACCOUNTS:,} accounts, {REPS} reps, 8 rules; {LEADS / alone.cpu:,.0f} a second of one core's time; "
        f"with the whole offer {LEADS / whole.wall:,.0f} a second; {checked.decisions:,} asked again, "
        f"{len(checked.differences)} differ"
    )
    found = score(labelled())
    told = f"of {found.leads:,} labelled leads; {found.unsure_percent:.1f} % are left to a person"
    return [
        Figure("route_leads_per_s", LEADS / alone.wall, "leads/s", at_least=5_000, note=note),
        Figure("match_wrong_owner_percent", found.wrong_percent, "%", below=2, note=told),
    ]


def _house(folder: Path) -> House:
    sources = dict(read_folder(worlds.TEMPLATES))
    policy = sources["sales/policy.yaml"]
    begins, ends = policy.index("reps:\n"), policy.index("accept_within:")
    sources["sales/policy.yaml"] = f"{policy[:begins]}reps:\n{_PEOPLE}\n{_ROUTING}\n{policy[ends:]}"
    made = worlds.house(f"sqlite:///{folder / 'routing.db'}", sources)
    worlds.enrol(made, LEADS)
    waits = "UPDATE custody SET kind='queue', ref='hand-off', next_action='offer', version=version+1"
    with made.database.write() as connection:
        accounts_queries.add(made.database, connection, [_account(number) for number in range(ACCOUNTS)])
        connection.execute(text(waits))
    return made


def _account(number: int) -> NewAccount:
    """Return an account; of every two leads one comes from one of the first 2,500."""
    name = f"Company {number}" if number < 2_500 else f"Other {number} Works"
    domain = f"company{number}.example" if number < 2_500 else f"other{number}.example"
    at, kind = worlds.START, "customer" if number % 3 else "prospect"
    return NewAccount("crm", str(number), name, [domain], f"rep{number % REPS}", kind, at, at)


def _route(made: House, ids: list[int]) -> None:
    """Read what routing asks about, ask, and store it, page by page; undone, to be offered after that."""
    with made.database.read() as connection:
        policy = made.rulebooks.current(connection).policy
    for begin in range(0, len(ids), BATCH):
        page = ids[begin : begin + BATCH]
        with made.database.write() as connection:
            found = snapshot.these(made.database, connection, page)
            seen = snapshot.views(made.database, connection, found, worlds.START, made.holidays)
            room = rooms.look(made, connection, policy, worlds.START)
            routes = router(made, connection, policy, page, room, {})
            for lead in seen:
                asked, routed = routes.route(lead, {})
                routes.keep(lead, asked, routed, None)
            routes.write(made.database, connection, set(page))
            connection.rollback()
        gc.collect(1)


def _offer(made: House) -> None:
    offer_all(made, worlds.START)
