"""sales/crm.yaml: each status has one meaning, and a problem names its line."""

from __future__ import annotations

from nurture.definitions.crm_status import read_crm_statuses
from nurture.definitions.yaml_reader import ParseContext
from nurture.domain.policy.crm_status import CrmStatusMap, MappedStatus, SalesStatus


def read(text: str, *reasons: str) -> tuple[CrmStatusMap, list[str]]:
    context = ParseContext()
    words = read_crm_statuses({"sales/crm.yaml": text}, reasons, context)
    return words, [f"{problem.line}: {problem.message}" for problem in context.problems]


def test_a_status_is_known_whatever_its_case_and_spaces() -> None:
    words, problems = read("statuses:\n  Open - Not  Contacted: open\n  Sold: won\n")
    assert problems == []
    assert words.map_status(" open - not contacted ") == MappedStatus(SalesStatus.OPEN)
    assert words.map_status("SOLD") == MappedStatus(SalesStatus.WON)
    assert words.map_status("Sold out") is None


def test_a_recycled_status_names_a_reject_reason_of_the_policy() -> None:
    words, problems = read("statuses:\n  Later: {recycled: not-now}\n", "not-now")
    assert (words.map_status("later"), problems) == (MappedStatus(SalesStatus.RECYCLED, "not-now"), [])
    assert read("statuses:\n  Later: {recycled: never}\n", "not-now")[1] == [
        "2: the policy has no reject reason `never`"
    ]


def test_an_invalid_status_is_reported_with_its_line() -> None:
    text = "statuses:\n  A: open\n  a: won\n  B: sold\n  C: recycled\nstates: {}\n"
    assert sorted(read(text)[1]) == [
        "3: the status `a` is listed twice",
        "4: `sold` is not a status meaning",
        "5: `recycled` needs a reject reason",
        "6: `states` is not a key of this file",
    ]
    assert read("statuses: [open]\n")[1] == ["1: `statuses` is not a list of `status: meaning` lines"]


def test_without_the_file_no_status_means_anything() -> None:
    context = ParseContext()
    assert read_crm_statuses({}, (), context).map_status("open") is None
    assert context.problems == []
