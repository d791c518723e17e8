"""Tests of `nurture leads consent`, `opt-in` without a basis, and what an import says about consent."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.conftest import CliSession

EVIDENCE = "asked for our news on the phone on January 5"


def plain(text: str) -> str:
    return re.sub(r"[\s│|]+", " ", text)


def write_leads(cli: CliSession, *rows: str, name: str = "more.csv") -> Path:
    path = cli.folder / name
    path.write_text("\n".join(("Email,First Name,Consent,Consent Date", *rows)) + "\n", "utf-8")
    return path


def test_an_import_without_consent_says_what_to_do_and_promises_no_track(seeded_cli: CliSession) -> None:
    file = write_leads(seeded_cli, "ana@people.example,Ana,,", "bo@people.example,Bo,,")
    shown = plain(seeded_cli.ok("import", file).out)
    assert "not mailed: no consent or other basis" in shown
    assert "nurture leads consent LEAD --grant BASIS --evidence TEXT" in shown
    assert "starts their tracks" not in shown
    file = write_leads(seeded_cli, "ana@people.example,Ana,Yes,2026-01-04", "bo@people.example,Bo,No,")
    shown = plain(seeded_cli.ok("import", file).out)
    assert "1 lead known before may be mailed now." in shown
    assert "Next: `nurture run` classifies 1 lead and starts their tracks." in shown
    file = write_leads(seeded_cli, "ana@people.example,Ana,No,", "bo@people.example,Bo,Yes,")
    shown = plain(seeded_cli.ok("import", file).out)
    assert "1 lead known before may not be mailed any more." in shown
    assert "1 lead with a yes in this file and a no, in it or from before: not mailed" in shown


def test_a_person_records_why_a_lead_may_be_mailed_and_that_it_refuses(seeded_cli: CliSession) -> None:
    seeded_cli.ok("import", write_leads(seeded_cli, "ana@people.example,Ana,,"))
    lead = ("leads", "consent", "ana@people.example")
    assert "no consent or other legal basis is recorded" in plain(seeded_cli.ok(*lead).out)
    assert "leads consent" in seeded_cli.fails("leads", "enroll", "ana@people.example", "keep").err
    shown = seeded_cli.ok(*lead, "--grant", "consent", "--evidence", EVIDENCE, "--stated-at", "2026-01-04").out
    assert "may be mailed: consent given (admin, on 2026-01-04)" in plain(shown)
    assert "may be mailed: consent given" in plain(seeded_cli.ok("explain", "ana@people.example").out)
    seeded_cli.ok("run", "--at", "2026-01-05T10:00")
    history = seeded_cli.ok(*lead, "--json").json
    assert (history["may_be_mailed"], [one["evidence"] for one in history["statements"]]) == (True, [EVIDENCE])
    assert seeded_cli.ok("leads", "list", "--track", "keep", "--json").json[-1]["name"] == "Ana"
    shown = plain(seeded_cli.ok(*lead, "--withdraw").out)
    assert "is not mailed: suppressed: consent withdrawn (admin" in shown
    assert "--grant BASIS" in shown
    seeded_cli.ok("run", "--at", "2026-01-05T11:00")
    assert seeded_cli.ok("leads", "list", "--queue", "suppressed", "--json").json[0]["name"] == "Ana"


def test_an_opt_in_records_consent_for_an_address_without_basis(seeded_cli: CliSession) -> None:
    seeded_cli.ok("import", write_leads(seeded_cli, "ana@people.example,Ana,,", "bo@people.example,Bo,No,"))
    for email in ("ana@people.example", "bo@people.example"):
        opt_in = ("leads", "opt-in", email, "--scope", "global", "--evidence", EVIDENCE)
        seeded_cli.ok("run", "--at", "2026-01-05T12:00")
        assert "Recorded: consent given (opt-in, on 2026-01-05)" in plain(seeded_cli.ok(*opt_in).out)
        assert "This address is not suppressed." in seeded_cli.ok(*opt_in).out
    seeded_cli.ok("run", "--at", "2026-01-05T13:00")
    names = {one["name"] for one in seeded_cli.ok("leads", "list", "--track", "keep", "--json").json}
    assert {"Ana", "Bo"} <= names


def test_consent_options_that_make_no_sense_are_refused(seeded_cli: CliSession) -> None:
    lead = ("leads", "consent", "head@people.example")
    assert "not both" in seeded_cli.fails(*lead, "--grant", "consent", "--withdraw").err
    assert "legitimate_interest" in seeded_cli.fails(*lead, "--grant", "hope", "--evidence", EVIDENCE).err
    assert "evidence" in seeded_cli.fails(*lead, "--grant", "contract").err
    assert "--grant" in seeded_cli.fails(*lead, "--evidence", EVIDENCE).err
    future = ("--grant", "contract", "--evidence", EVIDENCE, "--stated-at", "2030-01-01")
    assert "future" in seeded_cli.fails(*lead, *future).err


def test_an_import_says_who_has_to_confirm_and_the_history_shows_what_was_requested(seeded_cli: CliSession) -> None:
    seeded_cli.write("rules/sending.yaml", "sources: {website: {confirm: yes}}\n")
    seeded_cli.ok("publish")
    file = write_leads(seeded_cli, "ana@people.example,Ana,Yes,2026-01-04")
    shown = plain(seeded_cli.ok("import", file, "--source", "website").out)
    assert "1 lead to be asked by one email to confirm the consent" in shown
    assert "not mailed: no consent or other basis, or none confirmed" in shown
    shown = plain(seeded_cli.ok("leads", "consent", "ana@people.example").out)
    assert "consent to be confirmed (website," in shown
    assert "is not mailed: waits for the confirmation of its consent (website, requested on" in shown
