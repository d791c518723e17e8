"""The API stores valid signals and leads, and returns rejected items with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from typing import Any

import httpx
import orjson
import pytest

from nurture.domain.signals import SignalKind
from nurture.journey.intake.api import idempotency, tokens
from nurture.journey.intake.api.idempotency import KeyedResponse
from nurture.journey.intake.api.tokens import TokenScope
from nurture.web.app import create_app
from nurture.web.routes import LEADS, MAX_BATCH_BYTES, SIGNALS
from tests.journey.builders import run_at
from tests.journey.observe import recorded_statements
from tests.web.serving import serve_in_thread
from tests.web.world import NOW, World, advance_clock

THEN = (NOW - timedelta(hours=1)).isoformat()


@pytest.fixture
def token(world: World) -> str:
    return tokens.create_token(world.ctx, "website", list(TokenScope), NOW)


@pytest.fixture
def sqlite_token(sqlite_world: World) -> str:
    return tokens.create_token(sqlite_world.ctx, "website", list(TokenScope), NOW)


def post(world: World, token: str, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    all_headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **headers}
    answer: httpx.Response = world.client.post(path, content=content, headers=all_headers)
    return answer


def visit(**given: Any) -> dict[str, Any]:
    return {
        "lead": {"email": "mia@people.example"},
        "kind": "visited",
        "occurred_at": THEN,
        "link": "/pricing",
        **given,
    }


def signals(world: World) -> int:
    found: int = world.value("SELECT count(*) FROM signal WHERE source = 'api'")
    return found


def test_signals_are_recorded_once_applied_and_wake_their_leads(world: World, token: str) -> None:
    items = [
        visit(),
        visit(lead={"id": world.ids["noor"]}, kind="deciding", value="2026-05-01"),
        visit(lead={"email": " MIA@People.example "}, kind="submitted"),
    ]
    due = "SELECT due_at FROM custody WHERE lead_id = :id"
    before = world.value(due, id=world.ids["mia"])
    result = {"received": 3, "accepted": 3, "new": 3, "known": 0, "rejected": []}
    answer = post(world, token, SIGNALS, {"signals": items})
    assert (answer.status_code, answer.json()) == (202, result)
    assert world.value("SELECT count(*) FROM signal WHERE applied_at IS NULL") == 0
    assert world.value("SELECT decides_on FROM lead WHERE id = :id", id=world.ids["noor"]) is not None
    assert world.value(due, id=world.ids["mia"]) < before
    advance_clock(world, hours=3)
    assert post(world, token, SIGNALS, {"signals": items}).json() == {**result, "new": 0, "known": 3}
    assert signals(world) == 3


def test_a_lead_is_named_by_its_key_in_another_system(world: World, token: str) -> None:
    lead = {"external_id": "7", "source": "crm"}
    post(world, token, LEADS, {"source": "crm", "leads": [{"external_id": "7"}, {"external_id": "x" * 300}]})
    items = [visit(lead=lead), visit(lead={**lead, "external_id": "x" * 300}), visit(lead={**lead, "source": "erp"})]
    result = post(world, token, SIGNALS, {"signals": items}).json()
    assert (result["accepted"], [one["index"] for one in result["rejected"]]) == (2, [2])


def test_rejected_items_have_index_field_reason_and_remedy_and_stop_no_others(world: World, token: str) -> None:
    future, old = (NOW + timedelta(minutes=6)).isoformat(), (NOW - timedelta(days=731)).isoformat()
    wrong: list[tuple[Any, str, str]] = [
        (visit(kind="clickd"), "kind", "Unknown kind 'clickd'."),
        (visit(lead={"email": "nobody@example.com"}), "lead", "No lead matches this reference."),
        (visit(lead={"id": 2**62}), "lead", "No lead matches this reference."),
        (visit(lead={"id": 2**70}), "lead.id", "1.1805916207174113e+21 is not a whole number."),
        (visit(lead={"id": 0}), "lead.id", "0 is below 1."),
        (visit(lead={"id": True}), "lead.id", "true is not a whole number."),
        (visit(lead="mia@people.example"), "lead", "A lead reference must be an object."),
        (visit(lead={}), "lead", "A lead needs exactly one of id, email and external_id."),
        (visit(lead={"external_id": "7"}), "lead", "external_id and source must be given together."),
        (visit(lead={"mail": "a@example.com"}), "lead.mail", "A lead reference has no such field."),
        (visit(occurred_at=future), "occurred_at", f"'{future}' is in the future."),
        (visit(occurred_at=old), "occurred_at", f"'{old}' is more than two years ago."),
        (visit(occurred_at="2026-01-05T09:00"), "occurred_at", "'2026-01-05T09:00' has no time zone."),
        (visit(occurred_at="soon"), "occurred_at", "'soon' is not a time."),
        (visit(occurred_at="0001-01-01T00:00:00+23:59"), "occurred_at", "'0001-01-01T00:00:00+23:59' is not a time."),
        (visit(occurred_at=None), "occurred_at", "A signal needs occurred_at."),
        (visit(occured_at=THEN), "occured_at", "A signal has no such field."),
        (visit(kind="deciding", value="soon"), "value", "Invalid decision date 'soon'."),
        (visit(value="x" * 501), "value", "The value is over 500 characters long."),
        (visit(link=5), "link", "5 is not text."),
        ("visit", "", "A signal must be an object."),
        (None, "", "A signal must be an object."),
    ]
    items = [visit(), *(item for item, _, _ in wrong), visit(kind="used", value="export")]
    answer = post(world, token, SIGNALS, {"signals": items})
    result = answer.json()
    assert answer.status_code == 202
    assert (result["received"], result["accepted"], result["new"]) == (len(items), 2, 2)
    assert [(one["index"], one["field"], one["reason"]) for one in result["rejected"]] == [
        (index, field, reason) for index, (_, field, reason) in enumerate(wrong, 1)
    ]
    assert all(one["remedy"].endswith((".", "}", "?")) for one in result["rejected"])
    assert any(one["remedy"].startswith("Did you mean `occurred_at`?") for one in result["rejected"])
    assert signals(world) == 2


@pytest.mark.parametrize("kind", list(SignalKind))
def test_every_kind_of_signal_can_be_posted(sqlite_world: World, sqlite_token: str, kind: SignalKind) -> None:
    value = "2026-05-01" if kind is SignalKind.DECIDING else None
    result = post(sqlite_world, sqlite_token, SIGNALS, {"signals": [visit(kind=kind, value=value)]}).json()
    assert result["new"] == 1


def test_an_opt_out_that_a_program_posts_stops_mail_at_once(world: World, token: str) -> None:
    post(world, token, SIGNALS, {"signals": [visit(kind="unsubscribed")]})
    stopped = (
        "SELECT count(*) FROM suppression JOIN lead ON lead.address_id = suppression.address_id "
        "WHERE lead.id = :id AND scope = 'global'"
    )
    assert world.value(stopped, id=world.ids["mia"]) == 1


def test_invisible_characters_are_not_stored(world: World, token: str) -> None:
    post(world, token, LEADS, {"leads": [{"email": "ana@firm.example", "first_name": "An\x1b[31ma"}]})
    result = visit(lead={"email": "ana@firm.example"}, link="/a\0", value="\u202ex\x1b]0;y\x07")
    assert post(world, token, SIGNALS, {"signals": [result]}).json()["new"] == 1
    assert world.value("SELECT value FROM signal WHERE link = '/a'") == "x ]0;y"
    assert "An [31ma" in str(world.value("SELECT fields FROM lead ORDER BY id DESC LIMIT 1"))


def test_a_slightly_fast_clock_is_accepted_and_its_repeat_is_a_duplicate(world: World, token: str) -> None:
    item = visit(occurred_at=(NOW + timedelta(minutes=4)).isoformat())
    assert post(world, token, SIGNALS, {"signals": [item]}).json()["new"] == 1
    assert world.value("SELECT count(*) FROM signal WHERE occurred_at > recorded_at") == 0
    advance_clock(world, hours=1)
    assert post(world, token, SIGNALS, {"signals": [item]}).json()["known"] == 1


def test_the_callers_id_distinguishes_equal_signals_and_detects_repeats(world: World, token: str) -> None:
    items = [visit(id="e1"), visit(id="e2"), visit(id="e1", link="/about"), visit(id="e1", kind="used")]
    result = post(world, token, SIGNALS, {"signals": items}).json()
    assert (result["new"], result["known"]) == (3, 1)


def test_leads_mean_what_the_same_row_of_a_file_means(world: World, token: str) -> None:
    item = {
        "external_id": "c9",
        "email": "Otto@Firm.example",
        "full_name": "Otto Maier",
        "country": "Germany",
        "employees": "200-500",
        "consent_basis": "consent",
        "demo_requested": True,
        "registered_at": "2026-01-02T10:00:00+01:00",
        "custom": {"Plan": "trial", "seats": 7},
    }
    result = {"received": 1, "accepted": 1, "new": 1, "updated": 0, "unchanged": 0, "rejected": []}
    answer = post(world, token, LEADS, {"source": "crm", "leads": [item]})
    assert (answer.status_code, answer.json()) == (202, result)
    assert post(world, token, LEADS, {"source": "crm", "leads": [item]}).json() == {**result, "new": 0, "unchanged": 1}
    fields = world.value("SELECT fields FROM lead JOIN identity ON identity.lead_id = lead.id WHERE external_id = 'c9'")
    fields = orjson.loads(fields) if isinstance(fields, str) else fields
    expected = {"first_name": "Otto", "employees": 200, "country": "DE", "plan": "trial", "seats": "7"}
    assert expected.items() <= fields.items()
    signal_count = "SELECT count(*) FROM signal WHERE lead_id = (SELECT lead_id FROM identity WHERE external_id = 'c9')"
    assert world.value(signal_count) == 2
    changed = post(world, token, LEADS, {"source": "crm", "leads": [{**item, "title": "Head of it"}]}).json()
    assert changed["updated"] == 1


def test_rejected_leads_are_returned_and_stop_no_others(world: World, token: str) -> None:
    wrong: list[tuple[Any, str, str]] = [
        ({"email": "not an address"}, "email", "not an email address"),
        ({"title": "Head"}, "email", "The lead has no email and no external_id."),
        ({"email": "n/a"}, "email", "The lead has no email and no external_id."),
        ({"emial": "a@example.com"}, "emial", "A lead has no such field."),
        ({"email": "a@example.com", "consent_at": "3rd of May"}, "consent_at", "is not a date."),
        ({"email": "a@example.com", "customer": "perhaps"}, "customer", "neither yes nor no"),
        ({"email": "a@example.com", "attended": False, "minutes_attended": 5}, "", "Attended says no"),
        ({"email": ["a@example.com"]}, "email", "The value is an object or a list."),
        ({"email": "a@example.com", "need": "x" * 2_001}, "need", "The value is over 2,000 characters long."),
        ({"email": "a@example.com", "custom": {"email": "b@example.com"}}, "custom.email", "a standard field"),
        ({"email": "a@example.com", "custom": {"?": 1}}, "custom.?", "The name has no letters"),
        ({"email": "a@example.com", "custom": [1]}, "custom", "custom must be an object."),
        ({"email": "a@example.com", "custom": {"plan": {"a": 1}}}, "custom.plan", "an object or a list"),
        (
            {"email": "a@example.com", "custom": {str(n): n for n in range(201)}},
            "custom",
            "There are 201 custom fields.",
        ),
        (["a@example.com"], "", "A lead must be an object."),
    ]
    items = [{"email": "one@firm.example"}, *(item for item, _, _ in wrong), {"external_id": "two"}]
    result = post(world, token, LEADS, {"leads": items}).json()
    assert (result["received"], result["accepted"], result["new"]) == (len(items), 2, 2)
    for index, (one, (_, field, reason)) in enumerate(zip(result["rejected"], wrong, strict=True), 1):
        assert (one["index"], one["field"]) == (index, field)
        assert reason in one["reason"]
        assert one["remedy"]
        assert "cell" not in one["remedy"]


def test_a_repeated_key_gets_the_same_answer_or_is_refused_with_another_body(world: World, token: str) -> None:
    one, other = {"signals": [visit()]}, {"signals": [visit(link="/about")]}
    first = post(world, token, SIGNALS, one, **{"Idempotency-Key": "k1"})
    again = post(world, token, SIGNALS, one, **{"Idempotency-Key": "k1"})
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    refused = post(world, token, SIGNALS, other, **{"Idempotency-Key": "k1"})
    assert refused.status_code == 409
    assert signals(world) == 1
    assert post(world, token, LEADS, {"leads": [{"email": "a@firm.example"}]}, **{"Idempotency-Key": "k1"}).json()[
        "new"
    ]
    second = tokens.create_token(world.ctx, "other", [TokenScope.SIGNALS], NOW)
    assert post(world, second, SIGNALS, other, **{"Idempotency-Key": "k1"}).json()["new"] == 1
    advance_clock(world, hours=49)
    assert post(world, token, SIGNALS, one, **{"Idempotency-Key": "k1"}).json()["known"] == 1


def test_an_interrupted_request_is_processed_when_it_is_repeated(world: World, token: str) -> None:
    body = orjson.dumps({"signals": [visit()]})
    post(world, token, SIGNALS, body, **{"Idempotency-Key": "k1"})
    with world.ctx.database.write() as tx:
        tx.exec_driver_sql("UPDATE idempotency_key SET status_code = NULL, response = NULL")
    result = post(world, token, SIGNALS, body, **{"Idempotency-Key": "k1"}).json()
    assert (result["new"], result["known"]) == (0, 1)


def test_two_at_once_with_one_key_get_the_same_answer(world: World, token: str) -> None:
    caller = tokens.authenticate(world.ctx, token, NOW)
    assert caller is not None
    keyed_request = idempotency.KeyedRequest(caller.token_id, SIGNALS, "k1", b"{}")

    def slowly() -> KeyedResponse:
        idempotency.respond_once(world.ctx, keyed_request, NOW, lambda: KeyedResponse(202, "the first"))
        return KeyedResponse(202, "the second")

    assert idempotency.respond_once(world.ctx, keyed_request, NOW, slowly) == (202, "the first", True)


def test_stored_answers_are_deleted_by_any_run_after_two_days(world: World, token: str) -> None:
    kept = "SELECT count(*) FROM idempotency_key"
    for key in ("k1", "k2"):
        post(world, token, SIGNALS, {"signals": [visit()]}, **{"Idempotency-Key": key})
    run_at(world.ctx, advance_clock(world, hours=47))
    assert world.value(kept) == 2
    run_at(world.ctx, advance_clock(world, hours=2))
    assert world.value(kept) == 0


def test_many_programs_at_once_are_all_answered_and_everything_counts_once(world: World, token: str) -> None:
    batches = [{"signals": [visit(link=f"/{n}/{m % 5}") for m in range(10)]} for n in range(6)] * 2
    app = create_app(world.ctx, world.clock)
    with serve_in_thread(app, "127.0.0.1", 0) as port, httpx.Client(timeout=60) as client:

        def send(batch: Any) -> int:
            key = sha256(str(batch).encode()).hexdigest()
            all_headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
            return client.post(f"http://127.0.0.1:{port}{SIGNALS}", json=batch, headers=all_headers).status_code

        with ThreadPoolExecutor(len(batches)) as pool:
            assert set(pool.map(send, batches)) == {202}
    assert signals(world) == 30


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b'{"signals": ["\\ud800"]}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"", {}, 400),
        (b"[]", {}, 422),
        (b"{}", {}, 422),
        (b'{"signals": []}', {}, 422),
        (b'{"signals": {}}', {}, 422),
        (b'{"signals": [1], "leads": [1]}', {}, 422),
        (b'{"signals": [%s1]}' % (b"1," * 1_000), {}, 422),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Encoding": "gzip"}, 415),
        (b"{}", {"Idempotency-Key": "x" * 256}, 400),
        (b"{}", {"Idempotency-Key": ""}, 400),
        (b" " * (MAX_BATCH_BYTES + 1), {}, 413),
    ],
)
def test_an_invalid_batch_is_refused_with_a_remedy(
    sqlite_world: World, sqlite_token: str, body: bytes, headers: Mapping[str, str], status: int
) -> None:
    before = sqlite_world.all_rows()
    answer = post(sqlite_world, sqlite_token, SIGNALS, body, **headers)
    result = answer.json()
    assert (answer.status_code, result["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert result["title"]
    assert result["detail"]
    assert result["remedy"]
    assert {**sqlite_world.all_rows(), "api_token": []} == {**before, "api_token": []}


def test_the_limit_of_items_is_named(sqlite_world: World, sqlite_token: str) -> None:
    for path, name in ((SIGNALS, "signals"), (LEADS, "leads")):
        result = post(sqlite_world, sqlite_token, path, {name: [{}] * 1_001}).json()
        assert "1,001" in result["detail"]
        assert "1,000" in result["detail"]
        assert post(sqlite_world, sqlite_token, path, {name: [{}] * 1_000}).status_code == 202


def test_a_large_body_that_does_not_announce_itself_is_refused_while_it_streams(
    sqlite_world: World, sqlite_token: str
) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b" " * 1024 * 1024

    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {sqlite_token}"}
    answer = sqlite_world.client.post(SIGNALS, content=endless(), headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (413, 413)
    assert answer.headers["connection"] == "close"


def test_a_caller_without_a_good_token_is_refused_before_its_body_is_read(world: World) -> None:
    leads_only = tokens.create_token(world.ctx, "crm", [TokenScope.LEADS], NOW)
    revoked = tokens.create_token(world.ctx, "old", list(TokenScope), NOW)
    tokens.revoke_token(world.ctx, "old", NOW)
    before = world.all_rows()
    for all_headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic bmlnaHQ6aGF0Y2g="}, 401),
        ({"Authorization": leads_only}, 401),
        ({"Authorization": "Bearer nrt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, 401),
        ({"Authorization": f"Bearer {leads_only}A"}, 401),
        ({"Authorization": f"Bearer {leads_only.swapcase()}"}, 401),
        ({"Authorization": f"Bearer nrt_{'x' * 10_000}"}, 401),
        ({"Authorization": f"Bearer {revoked}"}, 401),
        ({"Authorization": f"Bearer {world.token('mia', 'unsubscribe')}"}, 401),
        ({"Authorization": f"Bearer {leads_only}"}, 403),
    ):
        answer = world.client.post(SIGNALS, content=b"{", headers=all_headers)
        result = answer.json()
        assert (answer.status_code, result["status"]) == (status, status), all_headers
        assert "nurture admin tokens create" in result["remedy"]
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "nrt_" not in answer.text
    changed = {name: rows for name, rows in world.all_rows().items() if rows != before[name]}
    assert set(changed) <= {"api_token"}  # the day of use


def test_programs_get_problem_documents_where_people_see_pages(sqlite_world: World) -> None:
    client = sqlite_world.client
    for answer, status in (
        (client.get("/api/"), 404),
        (client.get("/api/users"), 404),
        (client.get(SIGNALS), 405),
        (client.put(LEADS), 405),
        (client.post("/api/users", content=b"x" * 100_000), 413),
    ):
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", [SIGNALS, LEADS])
def test_a_batch_costs_the_same_statements_for_10_items_and_for_1000(world: World, token: str, path: str) -> None:
    def batch(size: int, mark: str) -> dict[str, Any]:
        if path == LEADS:
            leads = [{"email": f"{mark}{n}@firm.example", "demo_requested": True} for n in range(size)]
            return {"leads": leads}
        people = ({"email": "mia@people.example"}, {"id": world.ids["noor"]})
        return {"signals": [visit(lead=people[n % 2], link=f"/{mark}/{n}", email="01-hello") for n in range(size)]}

    post(world, token, path, batch(10, "warm"))
    spent = []
    for size, mark in ((10, "a"), (1_000, "b")):
        with recorded_statements(world.ctx.database) as seen:
            result = post(world, token, path, batch(size, mark), **{"Idempotency-Key": mark})
        assert result.json()["new"] == size
        spent.append(len(seen))
    assert spent[0] == spent[1] < 60
