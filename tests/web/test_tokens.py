"""A token serves one purpose for one lead, and an invalid token reveals nothing."""

from __future__ import annotations

from itertools import product
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.web.world import ONE_CLICK, World

PURPOSES = {"accept": "a", "reject": "r", "unsubscribe": "u", "preferences": "p"}
HELD = (("dana", "accept"), ("dana", "reject"), ("erik", "accept"), ("mia", "unsubscribe"), ("mia", "preferences"))
ALL_FIELDS = {"answer": "accept", "reason": "not-now", "do": "stop", **ONE_CLICK}
FORM = "application/x-www-form-urlencoded"

a_few = settings(max_examples=80, deadline=None, derandomize=True)


@pytest.mark.parametrize(("who", "purpose"), HELD)
def test_a_token_opens_the_pages_of_its_own_purpose_only(world: World, who: str, purpose: str) -> None:
    before = world.all_rows()
    nobody = world.client.get("/a/AAAAAAAAAAAAAAAAAAAAAA")
    for other, letter in PURPOSES.items():
        if other == purpose:
            continue
        path = f"/{letter}/{world.token(who, purpose)}"
        for page in (world.client.get(path), world.client.post(path, data=ALL_FIELDS)):
            assert (page.status_code, page.content) == (404, nobody.content)
    assert world.all_rows() == before


def test_a_token_acts_on_its_own_lead_only(world: World) -> None:
    before = {who: world.custodian(who) for who in world.ids}
    world.client.post(world.path("dana", "accept"), data=ALL_FIELDS)
    world.client.post(world.path("mia", "unsubscribe"), data=ALL_FIELDS)
    assert world.custodian("dana") == ("rep", "ana")
    for who in ("erik", "mia", "noor"):  # mia's track ends at the next sweep
        assert world.custodian(who) == before[who]
    query = "SELECT lead.id FROM suppression JOIN lead ON lead.address_id = suppression.address_id"
    assert world.value(query) == world.ids["mia"]
    assert world.value("SELECT count(*) FROM suppression") == 1
    assert world.value("SELECT state FROM offer WHERE lead_id = :id", id=world.ids["erik"]) == "offered"


def test_a_damaged_token_is_not_found(world: World) -> None:
    before = world.all_rows()
    nobody = world.client.get("/u/AAAAAAAAAAAAAAAAAAAAAA")
    for (who, purpose), letter in product(HELD, PURPOSES.values()):
        token = world.token(who, purpose)
        for damaged in (token[:-1], token[1:], token.swapcase(), token + "A", token + "=", token + "%20", token[::-1]):
            path = f"/{letter}/{damaged}"
            for page in (world.client.get(path), world.client.post(path, data=ALL_FIELDS)):
                assert (page.status_code, page.content) == (404, nobody.content), path
    assert world.all_rows() == before


def test_the_database_stores_no_token(sqlite_world: World) -> None:
    kept = repr(sqlite_world.all_rows())
    for who, purpose in HELD:
        assert sqlite_world.token(who, purpose) not in kept


def test_no_page_repeats_its_token(sqlite_world: World) -> None:
    for who, purpose in HELD:
        page = sqlite_world.client.get(sqlite_world.path(who, purpose))
        assert sqlite_world.token(who, purpose) not in page.text


@a_few
@given(
    letter=st.sampled_from("arux"),
    token=st.text(min_size=1, max_size=60) | st.binary(min_size=1, max_size=40),
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "TRACE"]),
)
@example("a", "\0", "POST")
@example("u", b"\xff\xfe", "GET")
@example("r", "../healthz", "GET")
@example("u", "A" * 30_000, "POST")
def test_a_random_token_changes_nothing_and_raises_no_error(
    sqlite_world: World, letter: str, token: str | bytes, method: str
) -> None:
    before = sqlite_world.all_rows()
    path = f"/{letter}/{quote(token, safe='')}"
    page = sqlite_world.client.request(method, path, data=ALL_FIELDS if method == "POST" else None)
    assert page.status_code in (404, 405)
    assert "set-cookie" not in page.headers
    assert sqlite_world.all_rows() == before


_names = st.sampled_from(["answer", "reason", "decides_on", "List-Unsubscribe"]) | st.text(max_size=12)
_values = st.sampled_from(["Accept", "not now", "One Click", "2026-13-01"]) | st.text(max_size=12)
_urlencoded = st.lists(st.tuples(_names, _values), max_size=25).map(lambda pairs: urlencode(pairs).encode())
_kinds = st.sampled_from(
    [
        FORM,
        f"{FORM}; charset=nonsense",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "multipart/form-data; boundary=x; charset=nonsense",
        "multipart/form-data; boundary=",
        "application/json",
        "",
    ]
)
_FILE = b'--x\r\nContent-Disposition: form-data; name="answer"; filename="f"\r\n\r\naccept\r\n--x--'
_parts = st.lists(
    st.sampled_from(
        [
            b"--x",
            b"--x--",
            b"\r\n",
            b"\n",
            b":",
            b"Content-Disposition: form-data",
            b'; name="answer"',
            b"; name=",
            b"\0",
            b'; filename="a"',
            b"Content-Type: text/plain; charset=none",
            b"accept?",
            b"\xff",
            b"Content-Transfer-Encoding: x",
        ]
    ),
    max_size=30,
).map(b"".join)


@a_few
@given(held=st.sampled_from(HELD), body=st.binary(max_size=200) | _urlencoded | _parts, kind=_kinds)
@example(("dana", "reject"), b"reason=%00not-now&decides_on=%ff", FORM)
@example(("mia", "unsubscribe"), b"List-Unsubscribe", FORM)
@example(("dana", "accept"), b"answer=accept", "application/json")
@example(("dana", "accept"), _FILE, "multipart/form-data; boundary=x")
@example(("dana", "accept"), b"&".join([b"a=1"] * 50), FORM)
@example(("dana", "accept"), b"a=" + b"1" * 60_000, FORM)
def test_a_random_form_changes_nothing_and_raises_no_error(
    sqlite_world: World, held: tuple[str, str], body: bytes, kind: str
) -> None:
    before = sqlite_world.all_rows()
    page = sqlite_world.client.post(sqlite_world.path(*held), content=body, headers={"Content-Type": kind})
    assert page.status_code in (400, 422)
    assert sqlite_world.all_rows() == before
