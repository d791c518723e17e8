"""Users of the console: invitations, passwords, lockout and sessions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.console.access import sessions, users
from nurture.console.access.users import FIRST_LOCKOUT, FREE_FAILURES, INVITATION_LIFETIME, Role
from nurture.db.engine import Database
from nurture.errors import InvalidState, NotFound
from tests.journey.builders import START

pytestmark = pytest.mark.quick

PASSWORD = "a long enough password"
MINUTE = timedelta(minutes=1)


def signed_in(db: Database, login: str = "mara@firm.example", role: str = "marketer", rep: str = "") -> str:
    """Add a user who has accepted the invitation and signed in; return the token of the session."""
    invitation = users.add_user(db, login, role, rep, START)
    assert users.accept_invitation(db, invitation.token, PASSWORD, START) == login
    token = users.sign_in(db, login, PASSWORD, START)
    assert token is not None
    return token


def test_an_invited_user_chooses_a_password_and_signs_in(db: Database) -> None:
    token = signed_in(db)
    user = sessions.authenticate(db, token, START)
    assert user is not None
    assert (user.login, user.role) == ("mara@firm.example", "marketer")
    (listed,) = users.list_users(db, START)
    assert (listed.has_password, listed.open_sessions) == (True, 1)


def test_an_invitation_works_once_and_for_a_week_and_a_newer_one_ends_it(db: Database) -> None:
    first = users.add_user(db, "mara", Role.MARKETER, "", START)
    second = users.invite(db, "mara", START)
    assert users.find_invited(db, first.token, START) is None
    assert users.find_invited(db, second.token, START + INVITATION_LIFETIME) is None
    assert users.accept_invitation(db, second.token, PASSWORD, START) == "mara"
    assert users.accept_invitation(db, second.token, "another long password", START) is None


def test_the_database_stores_neither_password_nor_token(db: Database) -> None:
    token = signed_in(db)
    with db.read() as tx:
        stored = [
            str(tx.exec_driver_sql(f"SELECT * FROM {name}").all()) for name in ("console_user", "console_session")
        ]
    assert PASSWORD not in "".join(stored)
    assert token not in "".join(stored)
    assert "$argon2id$" in stored[0]


def test_wrong_passwords_lock_a_user_out_for_longer_each_time_and_a_right_one_ends_that(db: Database) -> None:
    signed_in(db, "mara")
    for _ in range(FREE_FAILURES + 1):
        assert users.sign_in(db, "mara", "wrong", START) is None
    assert users.sign_in(db, "mara", PASSWORD, START) is None
    later = START + FIRST_LOCKOUT
    assert users.sign_in(db, "mara", "wrong", later) is None
    assert users.sign_in(db, "mara", PASSWORD, later + FIRST_LOCKOUT) is None
    assert users.sign_in(db, "mara", PASSWORD, later + 2 * FIRST_LOCKOUT) is not None
    assert users.list_users(db, later)[0].locked_until is None


def test_a_login_that_does_not_exist_is_refused_like_a_wrong_password(db: Database) -> None:
    assert users.sign_in(db, "nobody", PASSWORD, START) is None
    users.add_user(db, "invited", Role.VIEWER, "", START)
    assert users.sign_in(db, "invited", "", START) is None


def test_sessions_end_when_they_are_ended_unused_or_a_week_old(db: Database) -> None:
    token = signed_in(db, "mara")
    assert sessions.authenticate(db, token, START + sessions.IDLE_LIFETIME - MINUTE) is not None
    assert sessions.authenticate(db, token, START + sessions.IDLE_LIFETIME + MINUTE) is not None  # used since
    assert sessions.authenticate(db, token, START + 2 * sessions.IDLE_LIFETIME + 2 * MINUTE) is None
    assert sessions.authenticate(db, token, START + sessions.LIFETIME) is None
    assert users.end_sessions(db, "mara", START) == 1
    assert sessions.authenticate(db, token, START) is None
    assert sessions.authenticate(db, "", START) is None
    assert sessions.authenticate(db, "x" * 10_000, START) is None


def test_removing_a_user_ends_everything_and_frees_the_login(db: Database) -> None:
    token = signed_in(db, "mara")
    invitation = users.invite(db, "mara", START)
    users.remove_user(db, "mara", START)
    assert sessions.authenticate(db, token, START) is None
    assert users.find_invited(db, invitation.token, START) is None
    assert users.sign_in(db, "mara", PASSWORD, START) is None
    with pytest.raises(NotFound, match="no user"):
        users.remove_user(db, "mara", START)
    users.add_user(db, "mara", Role.VIEWER, "", START)
    assert sessions.authenticate(db, token, START) is None


def test_the_first_start_invites_an_admin_until_somebody_has_a_password(db: Database) -> None:
    first = users.invite_first_admin(db, START)
    again = users.invite_first_admin(db, START)
    assert first is not None
    assert again is not None
    assert users.find_invited(db, first.token, START) is None
    assert users.accept_invitation(db, again.token, PASSWORD, START) == users.FIRST_ADMIN
    assert users.invite_first_admin(db, START) is None
    assert [one.role for one in users.list_users(db, START)] == [Role.ADMIN]


@pytest.mark.parametrize(
    ("login", "role", "rep", "says"),
    [
        ("two words", "viewer", "", "not a login"),
        ("<b>", "viewer", "", "not a login"),
        ("mara", "boss", "", "no role"),
        ("mara", "rep", "", "--rep"),
    ],
)
def test_a_user_that_makes_no_sense_is_refused(sqlite_db: Database, login: str, role: str, rep: str, says: str) -> None:
    with pytest.raises(InvalidState, match=says):
        users.add_user(sqlite_db, login, role, rep, START)
    assert users.list_users(sqlite_db, START) == []


def test_a_login_is_taken_once_in_any_case(db: Database) -> None:
    users.add_user(db, "Mara@Firm.example", Role.VIEWER, "", START)
    with pytest.raises(InvalidState, match="already"):
        users.add_user(db, "mara@firm.example", Role.ADMIN, "", START)


def test_a_password_is_neither_short_nor_endless(sqlite_db: Database) -> None:
    invitation = users.add_user(sqlite_db, "mara", Role.VIEWER, "", START)
    for password in ("short", "x" * 201):
        with pytest.raises(InvalidState, match="characters"):
            users.accept_invitation(sqlite_db, invitation.token, password, START)
