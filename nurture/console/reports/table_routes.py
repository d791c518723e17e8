"""Tables of reports as CSV files."""

from io import StringIO
from typing import Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from nurture.console import addresses
from nurture.console.access import teams
from nurture.console.access.guard import USER
from nurture.console.access.sessions import User
from nurture.console.access.sign_in import SiteDep
from nurture.console.page import ALL_BUT_REPS
from nurture.console.reports import report_runs
from nurture.formats.csv_writer import CsvWriter
from nurture.reporting.console.reports import REPORTS, Report, limit_to_team

router: Final = APIRouter()


@router.get("/reports/{name}/table.csv")
async def send_table(request: Request, site: SiteDep, name: str, table: str = "0") -> Response:
    """Answer with a table of a report that was computed minutes ago; else lead to its page, which computes it."""
    user: User = request.scope[USER]
    if user.role not in ALL_BUT_REPS:
        raise HTTPException(403)
    kind = REPORTS.get(name)
    if kind is None:
        raise HTTPException(404)
    chosen = report_runs.choose(kind, request.query_params)

    def read() -> Report | None:
        run = report_runs.run(site.ctx, kind, chosen, site.clock.now())
        with site.database.read() as tx:
            reps = teams.with_team(site.ctx, tx, user).reps
        return limit_to_team(run.result, reps) if isinstance(run.result, Report) else None

    report = await site.in_thread(read)
    if report is None:
        return RedirectResponse(addresses.of_report(name, **chosen), 303)
    if not table.isdecimal() or int(table[:9]) >= len(report.tables):
        raise HTTPException(404)
    found, text = report.tables[int(table)], StringIO(newline="")
    writer = CsvWriter(text)
    writer.write_row(found.columns)
    writer.write_rows(found.rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}-{table}.csv"'}
    return Response("\ufeff" + text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)
