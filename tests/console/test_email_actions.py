"""Send an email or a whole track to oneself: only to the own address, whatever the browser says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nurture.clock import RealClock
from nurture.console import actions
from nurture.console.access.users import Role
from nurture.console.action_list import ACTIONS
from nurture.errors import InvalidState, NotFound
from nurture.runtime.public_links import digest
from tests.console.world import ConsoleWorld, make_world
from tests.journey.builders import START

ME = "me@firm.example"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    made = make_world(tmp_path_factory.mktemp("emails"))
    made.new_user(ME, Role.MARKETER)
    yield made
    made.ctx.database.close()


def _perform(world: ConsoleWorld, name: str, login: str = ME, **values: str) -> str:
    given = {"email": "01-hello", "version": "1", "to": "sample", **values}
    session, now = digest(world.token(login)), RealClock().now()
    return actions.perform(world.ctx, ACTIONS[name], session, "welcome", given, START, now)


def _planned(world: ConsoleWorld) -> list[tuple[str, str]]:
    return [tuple(one) for one in world.rows("SELECT email, rep FROM message WHERE kind = 'to_self' ORDER BY id")]


def test_emails_go_to_the_address_of_the_user_alone(world: ConsoleWorld) -> None:
    assert _perform(world, "send_email_to_me", rep="victim@other.example", address="victim@other.example") == (
        f"01-hello is on its way to {ME}."
    )
    assert _perform(world, "send_track_to_me", to=str(world.ids["mia"])).startswith("2 emails of welcome go to me@")
    assert _planned(world) == [("01-hello", ME), ("01-hello", ME), ("02-more", ME)]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"to": "99999"}, NotFound),
        ({"version": "x"}, InvalidState),
        ({"version": "999"}, NotFound),
        ({"email": "../01-hello"}, NotFound),
        ({"to": "<b>"}, NotFound),
    ],
)
def test_what_a_browser_makes_up_is_refused(
    world: ConsoleWorld, values: dict[str, str], error: type[Exception]
) -> None:
    before = _planned(world)
    with pytest.raises(error):
        _perform(world, "send_email_to_me", **values)
    assert _planned(world) == before


def test_a_login_that_is_no_address_gets_nothing(world: ConsoleWorld) -> None:
    with pytest.raises(InvalidState, match="your login 'marketer' is none"):
        _perform(world, "send_email_to_me", "marketer")
