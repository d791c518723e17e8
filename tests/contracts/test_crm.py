"""The contract of every CRM. A new CRM adds one entry to BACKENDS."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from nurture.crm.base import Crm, CrmUnavailable, HandoffRecord, HandoffStatus, Person, RemoteRecord
from nurture.crm.csv.crm import CsvFolderCrm
from nurture.crm.hubspot.crm import HubSpotCrm
from nurture.crm.salesforce.crm import SalesforceCrm
from nurture.domain.delivery.receipts import Accepted, NotSent, Rejected, Unknown
from tests.doubles.api_server import Answer, ApiDouble, Fault
from tests.doubles.hubspot import TOKEN, HubSpotDouble
from tests.doubles.salesforce import CONSUMER_KEY, CONSUMER_SECRET, SalesforceDouble

pytestmark = pytest.mark.quick

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
MARA = "mara@house.example"
ANA = Person("ana@people.example", "Ana", 'O\'Neil \\ "x"', "Souza & Söhne", "Head of IT", "+49 30 1", "DE")
ONE = HandoffRecord("abc-lead-7", "abc-handoff-1", HandoffStatus.OFFERED, NOW, ANA, "", "Mara", "replied: yes")


@dataclass
class Backend:
    """A CRM, its double if it has one, and a function that counts its records with a key."""

    crm: Crm
    held: Callable[[str], int]
    double: ApiDouble | None = None
    rep_changes: Callable[[str, str, str], None] | None = None
    """Sets status and owner of the record with a key, as a rep does in the CRM."""


@contextmanager
def csv_folder(folder: Path) -> Iterator[Backend]:
    def held(key: str) -> int:
        keys = set()
        for path in (folder / "out").glob("*.csv"):
            with path.open(encoding="utf-8", newline="") as lines:
                keys |= {row["nurture_key"] for row in csv.DictReader(lines)}
        return int(key in keys)

    def rep_changes(key: str, status: str, owner: str) -> None:
        (folder / "in").mkdir(parents=True, exist_ok=True)
        number = len(list((folder / "in").rglob("*.csv")))
        text = f"lead,status,owner,changed_at\n{key},{status},{owner},2026-03-05\n"
        (folder / "in" / f"{number}.csv").write_text(text, "utf-8")

    yield Backend(CsvFolderCrm(folder), held, rep_changes=rep_changes)


@contextmanager
def salesforce(_folder: Path) -> Iterator[Backend]:
    with SalesforceDouble() as double:
        owner = double.add_user(MARA)

        def rep_changes(key: str, status: str, address: str) -> None:
            (lead,) = double.find_by_key(key)
            double.change(lead["Id"], Status=status, OwnerId=owner if address else None)

        crm = SalesforceCrm(double.url, CONSUMER_KEY, SecretStr(CONSUMER_SECRET), read_timeout=1.0)
        yield Backend(crm, lambda key: len(double.find_by_key(key)), double, rep_changes)


@contextmanager
def hubspot(_folder: Path) -> Iterator[Backend]:
    with HubSpotDouble() as double:
        owner = double.add_user(MARA)

        def rep_changes(key: str, status: str, address: str) -> None:
            (id_,) = [id_ for id_, one in double.contacts.items() if one.get("nurture_key") == key]
            double.change(id_, hs_lead_status=status, hubspot_owner_id=owner if address else "")

        crm = HubSpotCrm(SecretStr(TOKEN), url=double.url, read_timeout=1.0)
        yield Backend(crm, lambda key: len(double.find_by_key(key)), double, rep_changes)


BACKENDS: dict[str, Callable[[Path], AbstractContextManager[Backend]]] = {
    "csv": csv_folder,
    "salesforce": salesforce,
    "hubspot": hubspot,
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with BACKENDS[request.param](tmp_path / "crm") as backend:
        yield backend
        backend.crm.close()


@pytest.fixture(params=[name for name in BACKENDS if name != "csv"])
def remote_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """A CRM that is called over the network."""
    with BACKENDS[request.param](tmp_path / "crm") as backend:
        yield backend
        backend.crm.close()


def fetch_all_changes(crm: Crm, cursor: str = "", limit: int = 100) -> tuple[list[RemoteRecord], str]:
    """Return all changes since *cursor*."""
    seen: list[RemoteRecord] = []
    for _ in range(50):
        page = crm.fetch_changes(cursor, limit, NOW)
        seen += page.records
        cursor = page.cursor
        if not page.has_more:
            return seen, cursor
    raise AssertionError("the changes never end")


def test_an_empty_batch_has_no_receipts(backend: Backend) -> None:
    assert backend.crm.upsert([], NOW) == []


def test_a_record_is_created_once_however_often_it_is_written(backend: Backend) -> None:
    for _ in range(3):
        (receipt,) = backend.crm.upsert([ONE], NOW)
        assert isinstance(receipt, Accepted), receipt
    assert backend.held(ONE.key) == 1


def test_a_later_status_and_a_later_hand_off_change_the_same_record(backend: Backend) -> None:
    backend.crm.upsert([ONE], NOW)
    backend.crm.upsert([replace(ONE, handoff_status=HandoffStatus.REJECTED)], NOW)
    later = replace(ONE, handoff_key="abc-handoff-2", handoff_status=HandoffStatus.ACCEPTED, owner=MARA)
    backend.crm.upsert([later], NOW)
    assert backend.held(ONE.key) == 1
    seen = backend.crm.look_up([ONE.key])[ONE.key]
    assert (seen.handoff_key, seen.handoff_status) == ("abc-handoff-2", "accepted")


def test_a_lookup_returns_only_existing_records(backend: Backend) -> None:
    assert backend.crm.look_up([ONE.key]) == {}
    backend.crm.upsert([ONE], NOW)
    found = backend.crm.look_up([ONE.key, "abc-lead-8", "abc-lead-"])
    assert list(found) == [ONE.key]
    assert (found[ONE.key].handoff_key, found[ONE.key].handoff_status) == (ONE.handoff_key, "offered")


def test_each_record_has_its_receipt_in_order(backend: Backend) -> None:
    records = [replace(ONE, key=f"abc-lead-{n}", person=replace(ANA, email=f"p{n}@people.example")) for n in range(5)]
    assert all(isinstance(one, Accepted) for one in backend.crm.upsert(records, NOW))
    assert sorted(backend.crm.look_up([one.key for one in records])) == sorted(one.key for one in records)


def test_a_lead_with_few_fields_is_accepted(backend: Backend) -> None:
    bare = replace(ONE, person=Person())
    (receipt,) = backend.crm.upsert([bare], NOW)
    assert isinstance(receipt, Accepted), receipt
    assert backend.held(ONE.key) == 1


def test_changes_by_a_rep_are_read_from_the_cursor(backend: Backend) -> None:
    assert backend.rep_changes is not None
    backend.crm.upsert([ONE, replace(ONE, key="abc-lead-8", person=Person("b@people.example"))], NOW)
    _, cursor = fetch_all_changes(backend.crm)
    backend.rep_changes(ONE.key, "Working", MARA)
    seen, after = fetch_all_changes(backend.crm, cursor)
    (mine,) = [one for one in seen if one.key == ONE.key]
    assert (mine.crm_status, mine.owner) == ("Working", MARA)
    backend.rep_changes(ONE.key, "Done", "")
    later, _ = fetch_all_changes(backend.crm, after)
    (mine,) = [one for one in later if one.key == ONE.key]
    assert (mine.crm_status, mine.owner) == ("Done", "")


def test_many_changes_are_read_in_pages_without_gaps(backend: Backend) -> None:
    assert backend.rep_changes is not None
    keys = [f"abc-lead-{n}" for n in range(7)]
    people = [Person(f"p{n}@people.example") for n in range(7)]
    backend.crm.upsert([replace(ONE, key=key, person=person) for key, person in zip(keys, people, strict=True)], NOW)
    for key in keys:
        backend.rep_changes(key, "Working", MARA)
    seen, _ = fetch_all_changes(backend.crm, limit=3)
    assert {one.key for one in seen if one.crm_status == "Working"} == set(keys)


def test_a_setup_that_works_has_no_problems(backend: Backend) -> None:
    assert list(backend.crm.check(NOW)) == []


def test_the_owner_is_set_only_on_acceptance(remote_backend: Backend) -> None:
    remote_backend.crm.upsert([ONE], NOW)
    assert remote_backend.crm.look_up([ONE.key])[ONE.key].owner == ""
    remote_backend.crm.upsert([replace(ONE, handoff_status=HandoffStatus.ACCEPTED, owner=MARA)], NOW)
    assert remote_backend.crm.look_up([ONE.key])[ONE.key].owner == MARA


def test_a_rep_unknown_to_the_crm_is_noted_and_blocks_nothing(remote_backend: Backend) -> None:
    (receipt,) = remote_backend.crm.upsert(
        [replace(ONE, handoff_status=HandoffStatus.ACCEPTED, owner="gone@house.example")], NOW
    )
    assert isinstance(receipt, Accepted)
    assert "owner was not set" in receipt.note


def test_an_existing_record_is_linked_not_duplicated(remote_backend: Backend) -> None:
    match remote_backend.double:
        case SalesforceDouble() as org:
            owner = org.add_user("yuki@house.example")
            existing_id = org.add_lead(
                LastName="Neil", Company="Souza", Email=ANA.email, Status="Working", OwnerId=owner
            )
        case HubSpotDouble() as account:
            owner = account.add_user("yuki@house.example")
            existing_id = account.add_contact(email=ANA.email, hs_lead_status="Working", hubspot_owner_id=owner)
    (receipt,) = remote_backend.crm.upsert([ONE], NOW)
    assert receipt == Accepted(existing_id)
    assert receipt.found == ("Working", "yuki@house.example")
    assert remote_backend.held(ONE.key) == 1
    (again,) = remote_backend.crm.upsert([ONE], NOW)
    assert isinstance(again, Accepted)
    assert again.found is None


def test_a_record_is_linked_by_its_crm_id(remote_backend: Backend) -> None:
    match remote_backend.double:
        case SalesforceDouble() as org:
            existing_id = org.add_lead(LastName="Neil", Company="Souza")
        case HubSpotDouble() as account:
            existing_id = account.add_contact(firstname="Ana")
    (receipt,) = remote_backend.crm.upsert([replace(ONE, person=replace(ANA, crm_id=existing_id))], NOW)
    assert receipt == Accepted(existing_id)


def test_a_record_deleted_in_the_crm_harms_only_itself(remote_backend: Backend) -> None:
    gone = {"hubspot": "900000", "salesforce": "00Q000000900000AAA"}[remote_backend.crm.name]
    deleted = replace(ONE, key="abc-lead-8", person=replace(ANA, email="gone@people.example", crm_id=gone))
    receipts = remote_backend.crm.upsert([deleted, ONE], NOW)
    assert all(isinstance(one, Accepted) for one in receipts), receipts
    assert [remote_backend.held(key) for key in ("abc-lead-8", ONE.key)] == [1, 1]


def test_a_deleted_record_is_replaced_by_the_one_with_the_address(remote_backend: Backend) -> None:
    match remote_backend.double:
        case SalesforceDouble() as org:
            existing_id, gone = org.add_lead(LastName="Neil", Company="Souza", Email=ANA.email), "00Q000000900000AAA"
        case HubSpotDouble() as account:
            existing_id, gone = account.add_contact(email=ANA.email), "900000"
    (receipt,) = remote_backend.crm.upsert([replace(ONE, person=replace(ANA, crm_id=gone))], NOW)
    assert receipt == Accepted(existing_id)


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("after", [False, True])
def test_an_invalid_response_is_unknown_until_the_record_is_looked_up(
    remote_backend: Backend, status: int, after: bool
) -> None:
    assert remote_backend.double is not None
    remote_backend.double.add_fault(Fault(what="status", status=status, after=after, body="<html>no</html>"))
    (receipt,) = remote_backend.crm.upsert([ONE], NOW)
    assert isinstance(receipt, Unknown)
    assert bool(remote_backend.crm.look_up([ONE.key])) is after
    assert isinstance(remote_backend.crm.upsert([ONE], NOW)[0], Accepted)
    assert remote_backend.held(ONE.key) == 1


_ODD_BODIES = {"nothing": None, "a page": "<html>no</html>", "an object": {}, "a list": [], "text": "x", "null": "null"}


@pytest.mark.parametrize("body", _ODD_BODIES.values(), ids=_ODD_BODIES)
def test_a_proxy_that_answers_instead_makes_the_crm_unavailable_and_no_write_accepted(
    remote_backend: Backend, body: Any
) -> None:
    assert remote_backend.double is not None
    remote_backend.crm.look_up([ONE.key])  # signs in
    remote_backend.double.instead = Answer(200, body)
    for read in (
        lambda: remote_backend.crm.check(NOW),
        lambda: remote_backend.crm.look_up([ONE.key]),
        lambda: remote_backend.crm.fetch_changes("", 10, NOW),
    ):
        with pytest.raises(CrmUnavailable):
            read()
    assert not isinstance(remote_backend.crm.upsert([ONE], NOW)[0], Accepted)
    remote_backend.double.instead = None
    remote_backend.double.add_fault(Fault(what="status", status=200, body=body))
    assert isinstance(remote_backend.crm.upsert([ONE], NOW)[0], Unknown)
    assert isinstance(remote_backend.crm.upsert([ONE], NOW)[0], Accepted)
    assert remote_backend.held(ONE.key) == 1


@pytest.mark.parametrize("what", ["reset", "hang"])
@pytest.mark.parametrize("after", [False, True])
def test_a_missing_response_is_unknown(remote_backend: Backend, what: str, after: bool) -> None:
    assert remote_backend.double is not None
    remote_backend.crm.look_up([ONE.key])  # signs in, so that only the write waits for its response
    remote_backend.double.add_fault(Fault(what=what, after=after))
    (receipt,) = remote_backend.crm.upsert([ONE], NOW)
    assert isinstance(receipt, Unknown)
    assert isinstance(remote_backend.crm.upsert([ONE], NOW)[0], Accepted)
    assert remote_backend.held(ONE.key) == 1


def test_a_rate_limit_blocks_all_until_it_ends(remote_backend: Backend) -> None:
    assert remote_backend.double is not None
    body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
    remote_backend.double.add_fault(Fault(what="status", status=429, headers=(("Retry-After", "30"),), body=body))
    (receipt,) = remote_backend.crm.upsert([ONE], NOW)
    assert isinstance(receipt, NotSent)
    assert receipt.blocks_all
    assert receipt.retry_at is not None
    assert receipt.retry_at >= NOW + timedelta(seconds=30)
    assert remote_backend.held(ONE.key) == 0


def test_a_missing_custom_field_blocks_all_and_is_named(remote_backend: Backend) -> None:
    match remote_backend.double:
        case SalesforceDouble() as org:
            del org.fields["Nurture_Handoff_Status__c"]
        case HubSpotDouble() as account:
            account.properties.remove("nurture_handoff_status")
    (receipt,) = remote_backend.crm.upsert([ONE], NOW)
    assert isinstance(receipt, NotSent)
    assert receipt.blocks_all
    (problem,) = remote_backend.crm.check(NOW)
    assert "urture_" in problem
    assert "tatus" in problem


def test_a_key_that_is_not_unique_is_found_before_anything_is_duplicated(remote_backend: Backend) -> None:
    remote_backend.double.unique = False  # type: ignore[union-attr]
    (problem,) = remote_backend.crm.check(NOW)
    assert "unique" in problem


def test_a_permanent_error_is_rejected_with_a_remedy(remote_backend: Backend) -> None:
    match remote_backend.double:
        case SalesforceDouble() as org:
            org.duplicate_rule = True
            org.add_lead(LastName="N", Company="S", Email=ANA.email, IsConverted=True)
        case HubSpotDouble() as account:
            account.add_contact(email=ANA.email, nurture_key="abc-lead-1")
    (receipt,) = remote_backend.crm.upsert([ONE], NOW)
    assert isinstance(receipt, Rejected)
    assert "erge" in receipt.reason


def test_a_contact_merged_into_that_of_another_lead_is_rejected_with_the_lead_alone() -> None:
    with HubSpotDouble() as account:
        crm = HubSpotCrm(SecretStr(TOKEN), url=account.url)
        merged, kept = account.add_contact(firstname="Ana"), account.add_contact(nurture_key="abc-lead-1")
        account.merge(merged, into=kept)
        other = replace(ONE, key="abc-lead-8", person=Person("b@people.example"))
        rejected, accepted = crm.upsert([replace(ONE, person=replace(ANA, crm_id=merged)), other], NOW)
        assert isinstance(rejected, Rejected)
        assert ONE.key in rejected.reason
        assert "abc-lead-1" in rejected.reason
        assert isinstance(accepted, Accepted)
        crm.close()


def test_an_unreachable_crm_blocks_all() -> None:
    for crm in (
        SalesforceCrm("http://127.0.0.1:9", CONSUMER_KEY, SecretStr(CONSUMER_SECRET)),
        HubSpotCrm(SecretStr(TOKEN), url="http://127.0.0.1:9"),
    ):
        (receipt,) = crm.upsert([ONE], NOW)
        assert isinstance(receipt, NotSent)
        assert receipt.blocks_all
        with pytest.raises(CrmUnavailable, match="cannot be reached"):
            crm.fetch_changes("", 10, NOW)
        crm.close()


def test_logs_errors_and_names_contain_no_secret_and_no_lead(
    remote_backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    assert remote_backend.double is not None
    caplog.set_level(logging.DEBUG)
    remote_backend.double.add_fault(Fault(what="status", status=400, body={"message": ANA.email}), Fault(what="expire"))
    texts = [repr(remote_backend.crm), *map(repr, remote_backend.crm.upsert([ONE, ONE], NOW))]
    try:
        remote_backend.crm.look_up([ONE.key])
    except CrmUnavailable as down:
        texts.append(repr(down))
    for secret in (CONSUMER_SECRET, TOKEN, ANA.email, "Souza", ".token"):
        assert secret not in caplog.text
        assert secret not in "".join(texts)


def test_salesforces_token_is_renewed_when_it_expires_and_hubspots_must_be_replaced(remote_backend: Backend) -> None:
    remote_backend.crm.upsert([ONE], NOW)
    assert remote_backend.double is not None
    remote_backend.double.expire()
    (receipt,) = remote_backend.crm.upsert([replace(ONE, handoff_status=HandoffStatus.EXPIRED)], NOW)
    if isinstance(remote_backend.double, SalesforceDouble):
        assert isinstance(receipt, Accepted)
    else:
        assert isinstance(receipt, NotSent)
        assert receipt.blocks_all
        assert "NURTURE_HUBSPOT_TOKEN" in receipt.reason


def test_a_wrong_salesforce_secret_names_the_settings() -> None:
    with SalesforceDouble() as double:
        crm = SalesforceCrm(double.url, CONSUMER_KEY, SecretStr("wrong"))
        with pytest.raises(CrmUnavailable, match="NURTURE_SALESFORCE_SECRET") as raised:
            crm.check(NOW)
        crm.close()
    assert "wrong" not in str(raised.value)


def test_a_deal_won_after_conversion_is_read_with_its_amount() -> None:
    with SalesforceDouble() as org:
        crm = SalesforceCrm(org.url, CONSUMER_KEY, SecretStr(CONSUMER_SECRET))
        crm.upsert([ONE, replace(ONE, key="abc-lead-8", person=Person("b@people.example"))], NOW)
        _, cursor = fetch_all_changes(crm)
        org.convert(org.find_by_key(ONE.key)[0]["Id"], won=True, amount=12_000.0, closed_on="2026-03-09")
        org.complete_task(org.find_by_key("abc-lead-8")[0]["Id"], "2026-03-08T10:00:00.000+0000")
        seen, cursor = fetch_all_changes(crm, cursor)
        mine = {one.key: one for one in seen}
        assert (mine[ONE.key].closing, mine[ONE.key].amount) == ("won", 12_000.0)
        assert mine[ONE.key].closed_at == datetime(2026, 3, 9, tzinfo=UTC)
        assert mine["abc-lead-8"].touched_at == datetime(2026, 3, 8, 10, tzinfo=UTC)
        crm.close()


def test_a_hubspot_customer_is_read_as_won_with_its_amount() -> None:
    with HubSpotDouble() as account:
        crm = HubSpotCrm(SecretStr(TOKEN), url=account.url)
        crm.upsert([ONE], NOW)
        (id_,) = account.contacts
        closed = {"recent_deal_amount": "900.5", "recent_deal_close_date": "2026-03-09T00:00:00Z"}
        account.change(id_, lifecyclestage="customer", notes_last_contacted="2026-03-08T10:00:00Z", **closed)
        ((seen,), _) = fetch_all_changes(crm)
        assert (seen.closing, seen.amount, seen.closed_at) == ("won", 900.5, datetime(2026, 3, 9, tzinfo=UTC))
        assert seen.touched_at == datetime(2026, 3, 8, 10, tzinfo=UTC)
        crm.close()


def test_a_lagging_hubspot_search_causes_no_duplicates() -> None:
    with HubSpotDouble() as account:
        crm = HubSpotCrm(SecretStr(TOKEN), url=account.url)
        crm.upsert([ONE], NOW)
        account.behind = set(account.contacts)
        assert isinstance(crm.upsert([ONE], NOW)[0], Accepted)
        assert len(account.contacts) == 1
        crm.close()


def test_a_file_of_a_worker_that_died_is_published(tmp_path: Path) -> None:
    CsvFolderCrm(tmp_path).upsert([ONE], NOW)
    done = tmp_path / "out" / "handoffs-000001.csv"
    done.rename(tmp_path / "out" / ".000001.csv.part")
    assert CsvFolderCrm(tmp_path).look_up([ONE.key])[ONE.key].handoff_status == "offered"
    assert done.exists()


def test_a_file_without_a_list_is_not_sent(tmp_path: Path) -> None:
    CsvFolderCrm(tmp_path).upsert([ONE], NOW)
    (tmp_path / ".sent" / "000001.csv").rename(tmp_path / ".sent" / ".000001.csv.part")
    (tmp_path / "out" / "handoffs-000001.csv").rename(tmp_path / "out" / ".000001.csv.part")
    assert CsvFolderCrm(tmp_path).look_up([ONE.key]) == {}
    assert isinstance(CsvFolderCrm(tmp_path).upsert([ONE], NOW)[0], Accepted)
    assert [path.name for path in (tmp_path / "out").glob("*.csv")] == ["handoffs-000001.csv"]


def test_lines_that_cannot_be_read_are_reported_and_the_file_is_archived(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("lead,outcome,amount,date\n7,won,1.234,31.31.2026\n8,won,99.50,\n", "utf-8")
    crm = CsvFolderCrm(tmp_path)
    page = crm.fetch_changes("", 10, NOW)
    faulty, fine = page.records
    assert (fine.key, fine.amount, fine.problem) == ("8", 99.5, "")
    assert faulty.problem.startswith("a.csv, line 2: ")
    assert "'1.234' is not a clear amount; write it as 1234.50" in faulty.problem
    assert "31.31.2026" in faulty.problem
    assert crm.fetch_changes(page.cursor, 10, NOW).cursor == ""
    assert [path.name for path in (tmp_path / "in" / "processed").iterdir()] == ["a.csv"]


def test_lead_data_is_never_a_spreadsheet_formula(tmp_path: Path) -> None:
    CsvFolderCrm(tmp_path).upsert([replace(ONE, person=Person(company='=HYPERLINK("x")', phone="+49 30 1"))], NOW)
    with (tmp_path / "out" / "handoffs-000001.csv").open(encoding="utf-8", newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert (row["company"], row["phone"]) == ('\'=HYPERLINK("x")', "+49 30 1")


def test_a_recently_written_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "a.csv"
    file.write_text("lead,outcome\n7,won\n", "utf-8")
    written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    assert CsvFolderCrm(tmp_path).fetch_changes("", 10, written + timedelta(seconds=1)).records == ()
    assert len(CsvFolderCrm(tmp_path).fetch_changes("", 10, written + timedelta(seconds=6)).records) == 1
