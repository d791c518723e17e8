"""A lead of a source with `confirm: yes` is asked once by email, and its consent counts from its answer."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from nurture.clock import VirtualClock
from nurture.db.engine import Database
from nurture.formats.lead_row import LeadRow
from nurture.formats.status_mapping import ConsentBasis
from nurture.journey.consent import statements, suppression
from nurture.journey.erasure import erase
from nurture.journey.handoff.waiting.checks import check_queue_batch
from nurture.journey.intake.import_file import import_file, import_rows
from nurture.reporting import explain
from nurture.runtime.context import AppContext
from nurture.web.app import create_app
from tests.journey.builders import START, make_context, run_at, sample_rules
from tests.journey.intake.lead_files import row, write_file
from tests.journey.observe import all_rows, custody, messages, one, rows, worker_context
from tests.web.world import BASE, TestClient

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = {**sample_rules(), "sending.yaml": "sources: {Website: {confirm: yes}, crm: {confirm: no}}\n"}
WAITING = ("queue", "no-consent-basis")


@pytest.fixture
def ctx(db: Database, tmp_path: Path) -> AppContext:
    ctx = make_context(db, tmp_path, rules=RULES)
    ctx.base_url = BASE
    return ctx


def import_lead(ctx: AppContext, folder: Path, now: datetime = START, source: str = "website", **cells: str) -> Any:
    found = row("mia@people.example", **{"Job_Title": "Head of planning", **cells})
    return import_file(ctx, write_file(folder, [found]), now, source=source)


def mails(folder: Path) -> list[Any]:
    """Return the mails to leads; owners of queues get lists too."""
    files = sorted((folder / "maildir").glob("new/*"))
    found = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    return [mail for mail in found if mail["To"].addresses[0].domain in ("people.example", "new.example")]


def confirmations(folder: Path) -> list[Any]:
    return [mail for mail in mails(folder) if "confirm" in str(mail["Subject"])]


def link(folder: Path) -> str:
    (mail,) = confirmations(folder)
    found = re.search(rf"{BASE}(/y/[\w-]+)", mail.get_body(("plain",)).get_content())
    assert found is not None
    return found[1]


def client_of(ctx: AppContext, now: datetime) -> Any:
    return TestClient(create_app(ctx, VirtualClock(now)), base_url=BASE, raise_server_exceptions=False)


def history(ctx: AppContext) -> list[tuple[Any, ...]]:
    return rows(ctx, "SELECT basis, granted, source, evidence FROM consent_statement ORDER BY id")


def test_a_lead_is_asked_once_and_enrolled_when_it_confirms(ctx: AppContext, tmp_path: Path) -> None:
    assert import_lead(ctx, tmp_path).consent["requested"] == 1
    assert import_lead(ctx, tmp_path).consent["requested"] == 0
    lead = one(ctx, "SELECT id FROM lead")
    assert custody(ctx, lead) == WAITING
    run_at(ctx, START, START, START + HOUR)  # at once: the send window opens an hour later
    assert [state for _, _, state, _ in messages(ctx, "confirmation")] == ["accepted"]
    assert (
        "waits for the confirmation of its consent (website, requested on" in explain.explain(ctx, lead, START).consent
    )
    assert "confirmation" in explain.explain(ctx, lead, START).hold.reason

    client, path, before = client_of(ctx, START + HOUR), link(tmp_path), all_rows(ctx)
    for method in ("GET", "HEAD"):
        assert client.request(method, path).status_code == 200
    assert "Yes, I agree" in client.get(path).text
    assert all_rows(ctx) == before

    for _ in range(2):
        assert "Thank you" in client.post(path).text
    (message,) = rows(ctx, "SELECT id FROM message WHERE recipient = 'lead'")
    assert [tuple(one_row) for one_row in history(ctx)][1:] == [
        ("consent", True, "website", f"confirmed by the link in message {message[0]}")
    ]
    run_at(ctx, START + 2 * HOUR, START + 3 * HOUR)
    assert custody(ctx, lead) == ("track", "welcome")
    assert [str(mail["Subject"]) for mail in mails(tmp_path) if mail not in confirmations(tmp_path)]
    import_lead(ctx, tmp_path, START + DAY)
    run_at(ctx, START + DAY)
    assert len(confirmations(tmp_path)) == 1
    assert len(history(ctx)) == 2


def test_the_email_has_one_link_of_its_own_and_nothing_that_tracks(ctx: AppContext, tmp_path: Path) -> None:
    ctx.track_clicks = True
    import_lead(ctx, tmp_path)
    run_at(ctx, START)
    (mail,) = mails(tmp_path)
    html = mail.get_body(("html",)).get_content()
    assert rows(ctx, "SELECT purpose FROM link_token WHERE purpose IN ('click', 'open')") == []
    paths = {found.split("/")[3] for found in re.findall(r'href="(https?://[^"]+)"', html) if found.startswith(BASE)}
    assert paths <= {"y", "u", "p"}
    assert ".gif" not in html
    assert mail["List-Unsubscribe"]


def test_other_bases_and_other_sources_need_no_confirmation(ctx: AppContext, tmp_path: Path) -> None:
    import_lead(ctx, tmp_path, source="crm")
    import_rows(
        ctx,
        [
            LeadRow(1, custom={}, source="website", email="kim@people.example", consent_basis=ConsentBasis.CONTRACT),
            LeadRow(2, custom={}, source="WEBSITE", email="noor@people.example", consent_basis=ConsentBasis.CONSENT),
            LeadRow(
                3,
                custom={},
                source="hub",
                consent_source="website",
                email="li@people.example",
                consent_basis=ConsentBasis.CONSENT,
            ),
        ],
        "API batch",
        START,
    )
    assert [granted for _, granted, *_ in history(ctx)] == [True, True, False, False]


def test_who_withdrew_or_opted_out_is_not_asked(ctx: AppContext, tmp_path: Path) -> None:
    import_lead(ctx, tmp_path)
    statements.withdraw_consent(ctx, one(ctx, "SELECT id FROM lead"), START + HOUR)
    run_at(ctx, START + HOUR, START + 2 * HOUR)
    assert mails(tmp_path) == []


@pytest.mark.parametrize("refuse", ["withdrawn", "suppressed"])
def test_a_no_after_the_email_wins_over_its_link(ctx: AppContext, tmp_path: Path, refuse: str) -> None:
    import_lead(ctx, tmp_path)
    run_at(ctx, START)
    if refuse == "withdrawn":
        import_lead(ctx, tmp_path, START + HOUR, Opted_Out="yes")
    else:
        suppression.suppress(ctx, ["mia@people.example"], START + HOUR)
    client, path = client_of(ctx, START + 2 * HOUR), link(tmp_path)
    before = all_rows(ctx)
    for answer in (client.get(path), client.post(path)):
        assert "Nothing was confirmed" in answer.text
        assert "<button" not in answer.text
    assert all_rows(ctx) == before


def test_the_link_of_an_erased_lead_is_not_known(ctx: AppContext, tmp_path: Path) -> None:
    import_lead(ctx, tmp_path, Consent="yes")
    run_at(ctx, START)
    path = link(tmp_path)
    erase.erase_person(ctx, "mia@people.example", START + HOUR)
    before = all_rows(ctx)
    assert client_of(ctx, START + 2 * HOUR).post(path).status_code == 404
    assert all_rows(ctx) == before


def test_without_pages_leads_wait_and_are_asked_once_there_are_some(ctx: AppContext, tmp_path: Path) -> None:
    ctx.base_url = ""
    import_lead(ctx, tmp_path)
    run_at(ctx, START, START + DAY)
    assert (messages(ctx, "confirmation"), custody(ctx, one(ctx, "SELECT id FROM lead"))) == ([], WAITING)
    ctx.base_url = BASE
    run_at(ctx, START + 8 * DAY, START + 15 * DAY)
    assert len(confirmations(tmp_path)) == 1


def test_a_worker_that_starts_anew_sends_what_was_planned_once(ctx: AppContext, tmp_path: Path) -> None:
    import_lead(ctx, tmp_path)
    check_queue_batch(ctx, START, 100)
    restarted = worker_context(ctx)
    run_at(restarted, START + HOUR, START + 2 * HOUR)
    restarted.database.close()
    assert len(confirmations(tmp_path)) == 1


def test_a_known_lead_without_basis_is_asked_when_the_source_reports_its_yes(ctx: AppContext, tmp_path: Path) -> None:
    import_lead(ctx, tmp_path, Consent="")
    run_at(ctx, START)
    import_lead(ctx, tmp_path, START + DAY)
    run_at(ctx, START + DAY)
    assert len(confirmations(tmp_path)) == 1


def test_only_a_much_later_yes_is_asked_about_again(ctx: AppContext, tmp_path: Path) -> None:
    for days in (0, 2, 40):
        now = START + days * DAY
        import_lead(ctx, tmp_path, now, Consent_Date=f"{now:%Y-%m-%d}")
        run_at(ctx, now)
    assert len(confirmations(tmp_path)) == 2


def test_a_new_address_has_to_confirm_for_itself(ctx: AppContext, tmp_path: Path) -> None:
    import_lead(ctx, tmp_path, Lead_ID="w1", First_Name="Mia")
    run_at(ctx, START)
    path = link(tmp_path)
    other = row("mia@new.example", Lead_ID="w1", First_Name="Mia", Job_Title="Head of planning")
    import_file(ctx, write_file(tmp_path, [other]), START + HOUR, source="website")
    client_of(ctx, START + HOUR).post(path)
    assert custody(ctx, one(ctx, "SELECT id FROM lead")) == WAITING
    assert one(ctx, "SELECT email FROM lead JOIN address a ON a.id = address_id") == "mia@new.example"
