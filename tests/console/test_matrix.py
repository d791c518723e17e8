"""Every role fires every action at its own and at another's object, over the socket, past all pages."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import socketio

from nurture.clock import RealClock
from nurture.console import filter_queries
from nurture.console.access import users
from nurture.console.access.users import Role
from nurture.console.action_list import ACTIONS
from nurture.console.actions import STARTED, Action, ObjectKind
from nurture.console.user_actions import NEW_USER
from tests.console.socket_client import open_page, open_socket
from tests.console.world import ConsoleWorld, make_world, serve_console

_PAGES: Final = Path(__file__).with_name("extra_pages")
_SERVE: Final = (sys.executable, "-m", "tests.console.serve_with_pages", str(_PAGES), "--port", "0", "--json")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    """A console with a page that checks nothing."""
    made = make_world(tmp_path_factory.mktemp("matrix"))
    with serve_console(made, _SERVE):
        yield made
    made.ctx.database.close()


def _objects(world: ConsoleWorld, action: Action) -> dict[str, bool]:
    """Return objects of the action, and whether each is ana's own; a filter's owner is the viewer."""
    if action.kind is ObjectKind.LEAD:
        return {str(world.ids["dana"]): True, str(world.ids["erik"]): False, str(world.ids["mia"]): False}
    if action.kind is ObjectKind.OFFER:
        return {
            str(number): rep == "ana" for number, rep in world.rows("SELECT id, rep FROM offer ORDER BY id LIMIT 2")
        }
    if action.kind is ObjectKind.USER:
        return {NEW_USER: False} if action.name == "add_user" else {"guest": False}
    if action.kind is ObjectKind.CLOCK:
        return {"world": False}
    if action.kind is ObjectKind.TOKEN:
        return {"website": False}
    if action.kind is ObjectKind.FILTER:
        return {"track=welcome": False}
    if action.kind is ObjectKind.SAVED_FILTER:
        return {str(number): False for (number,) in world.rows("SELECT max(id) FROM console_filter WHERE name = 'old'")}
    if action.kind is ObjectKind.MESSAGE:
        return {str(world.ids["hello"]): False}
    if action.kind is ObjectKind.UPLOAD:
        return {world.upload_with_question: False}
    return {"welcome": False} if action.kind is ObjectKind.TRACK else {"all": False}


def _values(action: Action) -> dict[str, str]:
    known = {
        "login": "guest",
        "role": "viewer",
        "until": "2026-03-01",
        "track": "keep",
        "rep": "ben",
        "basis": "contract",
        "span": "1 hour",
        "who": "only me",
    }
    return {one.name: known.get(one.name, "It was said by phone on 3 January") for one in action.fields}


def _as_logged(action: Action, target: str) -> tuple[str, str]:
    """Return the name and the object in the log; a sentence is no name and is not logged."""
    return action.name, f"{target}: guest" if action.named_by == "login" else target


def _logged(world: ConsoleWorld, login: str) -> list[tuple[str, str, str]]:
    sql = (
        "SELECT action, object, outcome FROM console_action AS a JOIN console_user AS u ON u.id = a.user_id "
        "WHERE login = :login ORDER BY a.id"
    )
    return world.rows(sql, login=login)


def _is_refused(action: Action, login: str, role: Role, *, is_own: bool) -> bool:
    if role not in action.roles or (role == Role.REP and not is_own):
        return True
    if login == "maya" and action.kind is ObjectKind.LEAD:  # ben, to whom leads are given, is not of her team
        return not is_own or any(field.name == "rep" for field in action.fields)
    return action.kind is ObjectKind.SAVED_FILTER and role != Role.ADMIN


@pytest.mark.parametrize("login", [*(one.value.replace("_", "-") for one in Role), "maya"])
def test_an_action_over_the_socket_is_refused_unless_role_and_object_allow_it(world: ConsoleWorld, login: str) -> None:
    role = Role.SALES_MANAGER if login == "maya" else Role(login.replace("-", "_"))
    with world.ctx.database.write() as tx:
        ((viewer,),) = world.rows("SELECT id FROM console_user WHERE login = 'viewer'")
        filter_queries.replace_filter(tx, viewer, "old", "track=welcome", RealClock().now(), is_shared=True)
    asked = [(one, *target) for one in ACTIONS.values() for target in _objects(world, one).items()]
    before = len(_logged(world, login))

    async def fire_all() -> None:
        page = open_page(world.url, "/trusting", world.token(login))
        ((element, listener),) = page.listeners("act")
        async with open_socket(world.url, page.client_id, world.token(login)) as socket:
            for number, (action, target, _) in enumerate(asked):
                call = {"number": number, "action": action.name, "object": target, "values": _values(action)}
                await socket.fire(element, listener, call)
                await socket.wait_for(f"{number} ")

    asyncio.run(fire_all())
    logged = [one for one in _logged(world, login)[before:] if one[2] != STARTED]
    assert [one[:2] for one in logged] == [_as_logged(action, target) for action, target, _ in asked]
    refused = {one[:2] for one in logged if one[2] == "Refused"}
    assert refused == {
        _as_logged(action, target)
        for action, target, is_own in asked
        if _is_refused(action, login, role, is_own=is_own)
    }


def test_after_its_session_was_ended_an_open_socket_does_nothing(world: ConsoleWorld) -> None:
    token = world.new_user("leaver", Role.ADMIN)

    async def fire() -> None:
        page = open_page(world.url, "/trusting", token)
        ((element, listener),) = page.listeners("act")
        async with open_socket(world.url, page.client_id, token) as socket:
            ended = asyncio.Event()
            socket.client.on("disconnect", lambda *_: ended.set())
            users.end_sessions(world.ctx.database, "leaver", RealClock().now())
            for number, action in enumerate(ACTIONS.values()):
                (target, *_) = _objects(world, action)
                call = {"number": number, "action": action.name, "object": target, "values": _values(action)}
                await socket.fire(element, listener, call)
            async with asyncio.timeout(20):
                await ended.wait()
            assert socket.received.empty()

    before = world.state()
    asyncio.run(fire())
    assert _logged(world, "leaver") == []
    assert world.state() == before


def test_forged_elements_listeners_and_pages_of_others_do_nothing(world: ConsoleWorld) -> None:
    admin, viewer = world.token("admin"), world.token("viewer")
    before = (world.state(), _logged(world, "admin"), _logged(world, "viewer"))

    async def fire() -> None:
        of_admin, own = open_page(world.url, "/", admin), open_page(world.url, "/", viewer)
        assert of_admin.listeners("click") != []
        async with (
            open_socket(world.url, of_admin.client_id, admin),
            open_socket(world.url, own.client_id, viewer) as socket,
        ):
            for kind in ("click", "submit"):
                for element, listener in of_admin.listeners(kind):
                    await socket.fire(element, listener, {"reason": "forged"}, client_id=of_admin.client_id)
                    for forged in range(200):
                        await socket.fire(forged, listener, {"reason": "forged"})
            assert own.listeners("click") == []
        with pytest.raises(socketio.exceptions.ConnectionError):
            async with open_socket(world.url, of_admin.client_id, viewer):
                pass

    asyncio.run(fire())
    assert (world.state(), _logged(world, "admin"), _logged(world, "viewer")) == before
