"""What users do about definitions: publish what they saw, take a track back, approve as the person that they are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from nurture.console.access.users import Role
from nurture.console.publish_actions import MOVE
from nurture.db.engine import Database
from nurture.definitions.folder import write_texts
from nurture.errors import InvalidDefinitions, InvalidState
from nurture.publishing import editing, track_versions
from nurture.publishing.editing import FileChanged
from nurture.publishing.folder_state import compare_folder
from nurture.runtime.context import AppContext
from tests.console.test_actions import log, perform, session_of
from tests.journey.builders import START, add_lead, make_context_with_folder, run_at
from tests.journey.observe import custody, one, rows

WELCOME, POLICY = "tracks/welcome/track.yaml", "sales/policy.yaml"


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    return make_context_with_folder(db, tmp_path)


def write(ctx: AppContext, path: str, old: str, new: str) -> None:
    text = (ctx.templates / path).read_text("utf-8")
    assert old in text
    write_texts(ctx.templates, {path: text.replace(old, new)})


def seen(ctx: AppContext, name: str = "") -> str:
    with ctx.database.read() as tx:
        state = compare_folder(ctx, tx)
    change = state.find(name)
    return change.seen if change is not None else state.seen


def versions(ctx: AppContext, track: str = "welcome") -> list[tuple[int, str]]:
    return [(one.version, one.published_by) for one in track_versions.list_versions(ctx, track)]


def test_one_track_is_published_under_the_name_of_the_user(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 1 day")
    write(ctx, "tracks/keep/track.yaml", "after: 10 days", "after: 9 days")
    session = session_of(ctx, Role.MARKETER)
    done = perform(ctx, "publish", session, "welcome", seen=seen(ctx, "welcome"))
    assert done == "Track welcome: version 2 is live."
    assert versions(ctx) == [(2, "marketer (console)"), (1, "")]
    assert versions(ctx, "keep") == [(1, "")]
    assert log(ctx) == [("marketer", "publish", "welcome", "done")]


def test_of_four_who_publish_at_once_one_does(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 1 day")
    mark, session = seen(ctx, "welcome"), session_of(ctx, Role.MARKETER)
    assert at_once(lambda _: perform(ctx, "publish", session, "welcome", seen=mark)) == 1
    assert [version for version, _ in versions(ctx)] == [2, 1]


def test_of_four_who_save_a_file_at_once_one_does(ctx: AppContext) -> None:
    session = session_of(ctx, Role.MARKETER)
    opened = editing.open_file(ctx.templates, WELCOME)

    def save(number: int) -> str:
        text = opened.text.replace("after: 3 days", f"after: {number + 4} days")
        return perform(ctx, "save_file", session, WELCOME, text=text, seen=opened.digest)

    assert at_once(save) == 1


def at_once(act: Callable[[int], str]) -> int:
    """Return how many of four succeed who act at the same moment; the others are refused."""
    begun = Barrier(4)

    def attempt(number: int) -> bool:
        begun.wait(30)
        try:
            act(number)
        except (InvalidState, FileChanged):
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        return sum(threads.map(attempt, range(4)))


def test_of_two_who_look_at_the_same_change_the_second_is_refused(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 1 day")
    mark, session = seen(ctx, "welcome"), session_of(ctx, Role.MARKETER)
    perform(ctx, "publish", session, "welcome", seen=mark)
    with pytest.raises(InvalidState, match="nothing to publish"):
        perform(ctx, "publish", session, "welcome", seen=mark)
    write(ctx, WELCOME, "after: 1 day", "after: 2 days")
    with pytest.raises(InvalidState, match="Reload the page"):
        perform(ctx, "publish", session, "welcome", seen=mark)
    assert len(versions(ctx)) == 2


def test_a_folder_with_a_fault_publishes_nothing(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 3 dais")
    with pytest.raises(InvalidDefinitions):
        perform(ctx, "publish", session_of(ctx, Role.ADMIN), "welcome", seen=seen(ctx, "welcome"))
    assert len(versions(ctx)) == 1


def test_leads_on_other_tracks_move_only_when_the_user_says_so(ctx: AppContext) -> None:
    leads = [add_lead(ctx, title="Head of planning") for _ in range(2)]
    run_at(ctx, START)
    write(ctx, "tracks/keep/track.yaml", "priority: 0", "priority: 90")
    session = session_of(ctx, Role.MARKETER)
    done = perform(ctx, "publish", session, "keep", seen=seen(ctx, "keep"), take_in=MOVE)
    assert "2 leads fit: 2 on welcome" in done
    run_at(ctx, START)
    assert {custody(ctx, lead) for lead in leads} == {("track", "keep")}


def test_everything_is_published_at_once_as_it_was_seen(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 1 day")
    write(ctx, POLICY, "accept_within: 1 day", "accept_within: 2 days")
    session, mark = session_of(ctx, Role.MARKETER), seen(ctx)
    done = perform(ctx, "publish_all", session, "all", seen=mark)
    assert "waits for the approval of Sam, sales" in done
    with pytest.raises(InvalidState):
        perform(ctx, "publish_all", session, "all", seen=mark)


def test_a_track_is_taken_back_unless_somebody_published_in_the_meantime(ctx: AppContext) -> None:
    write(ctx, WELCOME, "after: 3 days", "after: 1 day")
    session = session_of(ctx, Role.MARKETER)
    perform(ctx, "publish", session, "welcome", seen=seen(ctx, "welcome"))
    with pytest.raises(InvalidState, match="Reload the page"):
        perform(ctx, "roll_back", session, "welcome", version="1", seen="1")
    done = perform(ctx, "roll_back", session, "welcome", version="1", seen="2")
    assert done.startswith("Version 3 is live, with the content of version 1.")
    assert versions(ctx)[0] == (3, "marketer (console)")


def test_a_policy_is_approved_only_by_the_person_whom_it_names(ctx: AppContext) -> None:
    write(ctx, POLICY, "accept_within: 1 day", "accept_within: 2 days")
    perform(ctx, "publish_all", session_of(ctx, Role.MARKETER), "all", seen=seen(ctx))
    with pytest.raises(InvalidState, match="not linked to a person"):
        perform(ctx, "approve_policy", session_of(ctx, Role.ADMIN), "2")
    with pytest.raises(InvalidState, match="names Sam, sales as its approver"):
        perform(ctx, "approve_policy", session_of(ctx, Role.SALES_MANAGER, "ana"), "2")
    assert rows(ctx, "SELECT policy_version FROM approval") == [(1,)]


def test_the_named_approver_puts_the_policy_in_force(ctx: AppContext) -> None:
    write(ctx, POLICY, 'by: "Sam, sales"', 'by: "Ana, sales"')
    perform(ctx, "publish_all", session_of(ctx, Role.MARKETER), "all", seen=seen(ctx))
    done = perform(ctx, "approve_policy", session_of(ctx, Role.SALES_MANAGER, "ana"), "2")
    assert done == "Version 2 of the policy is in force, approved by Ana, sales."
    assert one(ctx, "SELECT max(policy_version) FROM approval") == 2


def test_requests_of_a_batch_are_begun_from_the_command_line_which_knows_the_provider(ctx: AppContext) -> None:
    write(ctx, WELCOME, "finally: keep", "batch: yes\nfinally: keep")
    with pytest.raises(InvalidState, match="nurture publish welcome"):
        perform(ctx, "publish", session_of(ctx, Role.ADMIN), "welcome", seen=seen(ctx, "welcome"))
    assert len(versions(ctx)) == 1
