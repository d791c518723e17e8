"""The pages of tracks: all tracks on a sheet with the arrows between them, and one track as a map of its steps."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from nurture.db.rollups import SENT, WAY
from nurture.db.transaction import Transaction
from nurture.domain.planning.program import Email, End, ExitKind, Program, ToTrack, TrackDestination
from nurture.domain.policy.policy_wording import describe_condition
from nurture.errors import NotFound, suggest
from nurture.journey.leads import stop_queries
from nurture.reporting.console import track_queries
from nurture.reporting.console.step_cards import Card, arrange_cards, describe_destination
from nurture.reporting.queries import StepKey
from nurture.runtime import publication_queries
from nurture.runtime.context import AppContext

PERIODS: Final = (7, 30, 90)
"""The periods between which a page switches, in days."""

_MAX_COLUMNS: Final = 3
_USUAL: Final = timedelta(days=28)
_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class StepCounts:
    """What happened on a step in the period, and who is there now.

    *sent* are emails, *clicked* and *replied* people, *left* the stays that ended here without a hand-off by reason,
    *handed_off* leads. *with_sales* are held here while sales or a queue has them. *delayed* are decisions of the
    last week that made leads wait for a cap, a stop, a pause or full reps, *usually_delayed* those of a mean week of
    the four before. *ways* says how often each way was taken, by its number, if the step is a fork.
    """

    here: int = 0
    with_sales: int = 0
    sent: int = 0
    clicked: int = 0
    replied: int = 0
    handed_off: int = 0
    left: Mapping[str, int] = field(default_factory=dict)
    delayed: int = 0
    usually_delayed: float = 0.0
    ways: Mapping[int, int] = field(default_factory=dict)

    @property
    def goals(self) -> int:
        """Return how many reached the goal of the track here."""
        return self.left.get(ExitKind.GOAL.value, 0)

    @property
    def lost(self) -> int:
        """Return how many stays ended here, and neither sales nor another track took the lead, nor an exit."""
        return sum(
            number
            for reason, number in self.left.items()
            if reason not in track_queries.NOT_LOST and not reason.startswith(track_queries.WENT_ON)
        )

    @property
    def left_in_all(self) -> int:
        """Return how many stays ended here."""
        return sum(self.left.values())

    @property
    def level(self) -> int:
        """Return 0 if as many wait as usual, 1 if clearly more do, and 2 if several times as many do."""
        more = self.delayed - self.usually_delayed
        if more >= 20 and self.delayed > 3 * self.usually_delayed:
            return 2
        return 1 if more >= 5 and self.delayed > 1.5 * self.usually_delayed else 0


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from a track. *target* is a track, "" if it leads elsewhere, as *label* says."""

    source: str
    target: str
    label: str


@dataclass(frozen=True, slots=True)
class Loss:
    """The step that lost most leads: *lost* of the *of* that all steps lost; *ties* other steps lost as many."""

    track: str
    step: str
    lost: int
    of: int
    ties: int = 0


@dataclass(frozen=True, slots=True)
class TrackTile:
    """One track on the sheet; *counts* are the sums of its steps. *stopped* says by whom and why, "" if it is not."""

    name: str
    version: int
    goal: str
    priority: int
    audience: str
    for_customers: bool
    emails: int
    stopped: str
    counts: StepCounts


@dataclass(frozen=True, slots=True)
class TrackSheet:
    """All published tracks, the highest priority first, and the arrows between them.

    *columns* has the names of the tracks from left to right: most arrows lead to a column further right.
    """

    since: date
    tracks: tuple[TrackTile, ...]
    arrows: tuple[Arrow, ...]
    columns: tuple[tuple[str, ...], ...]
    worst: Loss | None
    """None if no step lost anybody."""


@dataclass(frozen=True, slots=True)
class TrackMap:
    """One version of a track as a map. *others* are steps that it does not have any more, with what happened there."""

    tile: TrackTile
    since: date
    versions: tuple[tuple[int, datetime], ...]
    exits: tuple[tuple[str, str], ...]
    """What ends a stay before the last step, and where it leads, in words."""
    cards: tuple[Card, ...]
    counts: Mapping[str, StepCounts]
    others: Mapping[str, StepCounts]
    arrows: tuple[Arrow, ...]
    worst: Loss | None


def load_track_sheet(ctx: AppContext, tx: Transaction, now: datetime, days: int = 30) -> TrackSheet:
    """Return all tracks with what happened in the last *days* days (UTC), in a constant number of statements."""
    definitions = ctx.definitions.find_current(tx)
    programs = definitions.programs if definitions is not None else {}
    stops = {name: str(stop) for name, stop in stop_queries.load_stops(tx).items()}
    since = _first_day(now, days)
    counts = _load_counts(tx, now, since, None)
    ordered = sorted(programs.values(), key=lambda one: (-one.priority, one.track))
    tiles = tuple(_tile(one, stops.get(one.track, ""), counts) for one in ordered)
    arrows = tuple(arrow for one in ordered for arrow in _arrows(one, programs))
    columns = _arrange([one.track for one in ordered], arrows)
    return TrackSheet(since, tiles, arrows, columns, _find_worst(counts))


def _arrange(tracks: Sequence[str], arrows: Iterable[Arrow]) -> tuple[tuple[str, ...], ...]:
    between = [one for one in arrows if one.target and one.target != one.source]
    place = dict.fromkeys(tracks, 0)
    for _ in range(_MAX_COLUMNS - 1):
        for one in between:
            place[one.target] = max(place[one.target], min(place[one.source] + 1, _MAX_COLUMNS - 1))
    columns = (tuple(name for name in tracks if place[name] == at) for at in range(_MAX_COLUMNS))
    return tuple(column for column in columns if column)


def load_track_map(
    ctx: AppContext, tx: Transaction, track: str, now: datetime, days: int = 30, version: int | None = None
) -> TrackMap:
    """Return the map of *track* with what happened in the last *days* days (UTC), in a constant number of statements.

    With *version*, its steps are those of that version, and the period begins with its publication, or with the longest
    of PERIODS if that is shorter. Raises NotFound.
    """
    definitions = ctx.definitions.current(tx)
    versions = tuple(publication_queries.list_versions(tx, "track", track))
    if not versions:
        raise NotFound(f"No track {track} is published. {suggest(track, definitions.programs)}")
    published = dict(versions)
    if version is not None and version not in published:
        known = ", ".join(str(number) for number, _ in versions)
        raise NotFound(f"Track {track} has no version {version}. It has: {known}.")
    since = _first_day(now, days)
    if version is not None:
        since = max(published[version].astimezone(UTC).date(), _first_day(now, PERIODS[-1]))
    program = ctx.definitions.program(tx, track, version or versions[0][0])
    counts = _load_counts(tx, now, since, track)
    stop = stop_queries.load_stops(tx).get(track)
    by_step = {step: one for (_, step), one in counts.items()}
    return TrackMap(
        _tile(program, str(stop or ""), counts),
        since,
        versions,
        tuple(
            (f"{one.kind.value}: {describe_condition(one.condition)}", describe_destination(one.destination))
            for one in program.exits
        ),
        arrange_cards(program, ctx.definitions.subjects(tx, track, program.version)),
        {step: by_step.get(step, StepCounts()) for step in program.index},
        {
            step: one
            for step, one in sorted(by_step.items())
            if step and step not in program.index and one != StepCounts(ways=one.ways)
        },
        tuple(_arrows(program, definitions.programs)),
        _find_worst(counts),
    )


def _find_worst(counts: Mapping[StepKey, StepCounts]) -> Loss | None:
    lost = {key: one.lost for key, one in counts.items() if one.lost}
    if not lost:
        return None
    track, step = max(sorted(lost), key=lambda key: lost[key])
    most = lost[track, step]
    return Loss(track, step, most, sum(lost.values()), list(lost.values()).count(most) - 1)


def _first_day(now: datetime, days: int) -> date:
    return now.astimezone(UTC).date() - timedelta(days=days - 1)


def _load_counts(tx: Transaction, now: datetime, since: date, track: str | None) -> dict[StepKey, StepCounts]:
    today = now.astimezone(UTC).date()
    this_week = today - _WEEK + timedelta(days=1)
    begins = datetime.combine(since, time.min, UTC)
    measures = track_queries.count_measures(tx, since, today, track)
    delays = track_queries.count_delays(tx, this_week - _USUAL, this_week, track)
    enrolled = track_queries.count_enrolled(tx, track)
    elsewhere = track_queries.count_elsewhere(tx, track)
    answers = track_queries.count_answers(tx, begins, track)
    ended = track_queries.count_ended(tx, begins, track)
    none = track_queries.DelayCount(0, 0.0)
    return {
        key: StepCounts(
            here=enrolled.get(key, 0) - elsewhere.get(key, 0),
            with_sales=elsewhere.get(key, 0),
            sent=measures.get(key, {}).get(SENT, 0),
            clicked=answers.get(key, {}).get("clicked", 0),
            replied=answers.get(key, {}).get("replied", 0),
            handed_off=measures.get(key, {}).get("hand_off", 0),
            left={reason: number for reason, number in ended.get(key, {}).items() if reason != "accepted"},
            delayed=delays.get(key, none).this_week,
            usually_delayed=delays.get(key, none).usual,
            ways={
                int(name.removeprefix(WAY)): number
                for name, number in measures.get(key, {}).items()
                if name.startswith(WAY)
            },
        )
        for key in {*measures, *delays, *enrolled, *answers, *ended}
        if key[0]
    }


def _tile(program: Program, stopped: str, counts: Mapping[StepKey, StepCounts]) -> TrackTile:
    return TrackTile(
        program.track,
        program.version,
        program.goal,
        program.priority,
        describe_condition(program.audience) if program.audience is not None else "nobody by itself",
        program.for_customers,
        len({email for one in program.instructions if isinstance(one, Email) for email in one.emails}),
        stopped,
        _sum(one for (track, _), one in counts.items() if track == program.track),
    )


def _sum(counts: Iterable[StepCounts]) -> StepCounts:
    found = list(counts)
    left: dict[str, int] = {}
    for one in found:
        for reason, number in one.left.items():
            left[reason] = left.get(reason, 0) + number
    numbers = ("here", "with_sales", "sent", "clicked", "replied", "handed_off", "delayed", "usually_delayed")
    return StepCounts(left=left, **{name: sum(getattr(one, name) for one in found) for name in numbers})


def _arrows(program: Program, programs: Mapping[str, Program]) -> Iterator[Arrow]:
    """Yield where the leads of *program* go: at its end, by a step, by an exit, or to a track that takes them over."""
    ways: list[tuple[TrackDestination, str]] = [
        (one.destination, "at the end" if one.destination == program.destination else one.step)
        for one in program.instructions
        if isinstance(one, End)
    ]
    ways += [(one.destination, one.kind.value) for one in program.exits]
    seen: set[tuple[str, str]] = set()
    for to, label in ways:
        target = to.track if isinstance(to, ToTrack) and to.track in programs else ""
        words = label if target else f"{label}: {describe_destination(to)}"
        if (target, words) not in seen:
            seen.add((target, words))
            yield Arrow(program.track, target, words)
