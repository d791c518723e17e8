"""Make the leak report from exports of a CRM. No database is read or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from nurture.definitions import read_all
from nurture.definitions.fields import load_declared
from nurture.definitions.folder import FIELDS, POLICY, read_folder
from nurture.domain.fields import Fields
from nurture.reporting.leaks import figures
from nurture.reporting.leaks.business_case import BusinessCase, GivenInputs, make_case
from nurture.reporting.leaks.exports import DEALS, ExportFile, Exports, read_exports
from nurture.reporting.leaks.facts import Touch
from nurture.reporting.leaks.figures import DuplicateFigures, FirstTouches, OwnerFigures, ReplayFigures, UntouchedRow
from nurture.reporting.leaks.lists import LeadLists, ListedRows, read_list
from nurture.reporting.leaks.replay import PolicyReplay
from nurture.runtime.published import Definitions

DEFAULT_AFTER: Final = timedelta(days=7)
"""How long a lead may wait for its first touch before it counts as leaked."""

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Gap:
    """A figure that cannot be computed, or only in part, and the column, file or rule that would give it."""

    figure: str
    remedy: str


@dataclass(frozen=True)
class LeakReport:
    """What leaks, by the files. Each lead counts once. *by_status*: so many are untouched by their status alone.

    *undated* leaked leads have no date on which they came in. *own_policy*: the policy is not the example that comes
    with nurture. None for what cannot be computed; *gaps* say why. *lists* are the lists asked for.
    """

    at: datetime
    files: tuple[ExportFile, ...]
    templates: Path
    own_policy: bool
    after: timedelta
    leads: int
    touches: dict[Touch, int]
    untouched: int | None
    by_status: int
    by_age: tuple[UntouchedRow, ...]
    by_owner: tuple[UntouchedRow, ...]
    leaked: int | None
    undated: int
    lead_days: int | None
    first_touches: FirstTouches | None
    owners: OwnerFigures
    duplicates: DuplicateFigures
    replay: ReplayFigures
    case: BusinessCase
    gaps: tuple[Gap, ...]
    lists: tuple[ListedRows, ...] = ()


def report_leaks(
    paths: Sequence[Path],
    templates: Path,
    shipped: Path,
    now: datetime,
    *,
    after: timedelta = DEFAULT_AFTER,
    given: GivenInputs | None = None,
    lists: Sequence[str] = (),
) -> LeakReport:
    """Return the report on the files at *paths*, replayed with the policy in the folder *templates* at *now*.

    *shipped* holds the templates that come with nurture. *lists* are names of `LISTS`. Raises FileUnreadable,
    InvalidDefinitions, NotFound.
    """
    sources = read_folder(templates)
    loaded = read_all.load(sources)
    programs = {name: one.program(_VERSION) for name, one in loaded.tracks.items()}
    policy = loaded.policy(_VERSION)
    replay = PolicyReplay(Definitions(programs, policy, loaded.sending), now)
    declared: Fields = load_declared(sources) if FIELDS in sources else {}
    exports = read_exports(paths, replay, declared, now)
    chosen = LeadLists(exports, now, after)
    own = sources[POLICY] != _policy_text(shipped)
    has_owner, has_created = exports.some_leads_have("owner"), exports.some_leads_have("created_at")
    untouched, leaked = chosen.select("never-touched"), chosen.select("leaked")
    touches = figures.count_touches(exports.leads)
    is_known = touches[Touch.UNKNOWN] < len(exports.leads)
    times = figures.measure_first_touches(exports.leads) if exports.some_leads_have("first_touch") else None
    owners = figures.count_owners(
        chosen, policy if own else None, has_owner=has_owner, has_territories=own and replay.has_territories
    )
    return LeakReport(
        now,
        tuple(exports.files),
        templates,
        own,
        after,
        len(exports.leads),
        touches,
        len(untouched) if is_known else None,
        sum(one.by_status for one in untouched),
        figures.count_by_age(chosen),
        figures.count_by_owner(chosen),
        len(leaked) if is_known else None,
        sum(one.created_at is None for one in leaked),
        figures.count_lead_days(chosen) if has_created and is_known else None,
        times if has_created else None,
        owners,
        figures.count_duplicates(chosen),
        figures.count_places(chosen, policy),
        make_case(len(leaked) if is_known else None, exports.leads, exports.deals, given),
        tuple(_find_gaps(exports, own=own, has_territories=replay.has_territories)),
        tuple(read_list(chosen, name, declared) for name in lists),
    )


def _policy_text(shipped: Path) -> str:
    file = shipped / POLICY
    return file.read_text("utf-8") if file.is_file() else ""


_NEEDED: Final = (
    (
        ("first_touch", "last_touch", "touches"),
        "Who was touched: it is judged by the status alone",
        "Last Activity Date, Last Contacted or Number of Times Contacted",
    ),
    (("created_at",), "How old leads are, how long they waited, and which are overdue", "Created Date"),
    (
        ("first_touch", "created_at"),
        "The time to the first touch",
        "First Contacted or First Activity Date, and Created Date",
    ),
    (("owner",), "Wrong and absent owners", "Lead Owner"),
    (("email",), "Leads that stand in several rows, by address", "Email"),
    (("last_name", "full_name"), "People with several addresses", "First Name and Last Name"),
    (("consent_basis",), "Who may be mailed", "a column of consent or legal basis"),
)
"""Columns of which one is needed (all of them with created_at), the figure, and the column to export."""


def _find_gaps(exports: Exports, *, own: bool, has_territories: bool) -> list[Gap]:
    gaps = []
    for fields, figure, column in _NEEDED:
        has = [exports.some_leads_have(name) for name in fields]
        if not (all(has) if "created_at" in fields else any(has)):
            gaps.append(Gap(figure, f"export the leads with {column}"))
    if not any(one.kind == DEALS for one in exports.files):
        gaps.append(
            Gap("The deal value, and the win rate by deals", "add an export of deals, with the contact's email address")
        )
    if not own:
        gaps.append(
            Gap(
                "Owners in the wrong territory, owners who are no reps, and who would get each lead",
                "write your reps and territories into templates/sales/policy.yaml: this is the example policy",
            )
        )
    elif not has_territories:
        gaps.append(
            Gap("Owners in the wrong territory", "mark routing rules with `territory: yes` in sales/policy.yaml")
        )
    return gaps
