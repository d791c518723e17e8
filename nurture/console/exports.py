"""The list of leads as a file: written while it is read, so that any number of leads takes little memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from io import StringIO
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from nurture.console import actions, addresses
from nurture.console.access import teams
from nurture.console.access.guard import USER
from nurture.console.access.sessions import User, find_user
from nurture.console.action_list import ACTIONS
from nurture.console.actions import Refused, SignedOut
from nurture.console.site import Site
from nurture.errors import NotFound
from nurture.formats.csv_writer import CsvWriter
from nurture.reporting.console.lead_export import COLUMNS, load_export_rows
from nurture.reporting.console.lead_list import find_page
from nurture.reporting.console.lead_list_queries import LeadFilter

_PAGE: Final = 2_000
_FILE: Final = {"Content-Disposition": 'attachment; filename="leads.csv"', "X-Content-Type-Options": "nosniff"}

router: Final = APIRouter()


def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


@router.get("/leads.csv")
async def export_leads(request: Request, site: Annotated[Site, Depends(_site)]) -> Response:
    """Return the leads that the filter of the address lets through, the newest first. Raises 403, 404."""
    user: User = request.scope[USER]
    query = request.url.query
    action = ACTIONS["export_leads"]

    def begin() -> LeadFilter:
        actions.perform(site.ctx, action, user.session, query, {}, site.clock.now(), site.real_now())
        return addresses.parse_query(query)

    try:
        chosen = await site.in_thread(begin)
    except (Refused, SignedOut):
        raise HTTPException(403) from None
    except NotFound:
        raise HTTPException(404) from None
    return StreamingResponse(_write(site, user.session, chosen), media_type="text/csv; charset=utf-8", headers=_FILE)


async def _write(site: Site, session: str, chosen: LeadFilter) -> AsyncIterator[str]:
    """Yield the file in parts; it ends early once the session has ended."""
    yield "\ufeff" + _to_csv([COLUMNS])  # the mark by which Excel reads UTF-8
    before: int | None = None
    while True:
        rows, before = await site.in_thread(partial(_read, site, session, chosen, before))
        if rows:
            yield _to_csv(rows)
        if before is None:
            return


def _read(
    site: Site, session: str, chosen: LeadFilter, before: int | None
) -> tuple[Sequence[Sequence[object]], int | None]:
    """Return the rows of a page, and where the next one begins."""
    now = site.clock.now()
    with site.database.read() as tx:
        user = find_user(tx, session, site.real_now())
        if user is None or user.role not in ACTIONS["export_leads"].roles:
            return (), None
        within = replace(chosen, reps=teams.with_team(site.ctx, tx, user).reps)
        found = find_page(site.ctx, tx, within, now, before, _PAGE)
        return load_export_rows(site.ctx, tx, found.ids, now), found.next_before


def _to_csv(rows: Sequence[Sequence[object]]) -> str:
    text = StringIO()
    CsvWriter(text).write_rows(rows)
    return text.getvalue()
