"""Test reading broadcasts: what is reported of a broken one, and what a whole one is compiled to."""

from datetime import datetime

import pytest

from nurture.definitions.read_all import load
from nurture.domain.planning.calendar import Schedule
from tests.definitions.build import EMAIL, bundle, problems

FOLDER = "broadcasts/spring/"
YAML = """\
name: spring
audience: everybody
when: 2027-03-02 10:00
not_after: 2027-03-03 17:00
"""


def sources(yaml: str = YAML, *emails: str) -> dict[str, str]:
    return bundle() | {f"{FOLDER}broadcast.yaml": yaml} | {f"{FOLDER}{one}.md": EMAIL for one in emails or ("news",)}


def test_a_broadcast_is_a_program_of_one_email_with_a_schedule() -> None:
    one = load(sources(f"{YAML}zone: Europe/Berlin\nspread: 2 hours\ntopic: News\n")).broadcasts["broadcasts/spring"]
    program = one.program(3)
    when, not_after = datetime(2027, 3, 2, 10), datetime(2027, 3, 3, 17)
    assert program.schedule == Schedule(when, not_after, "Europe/Berlin")
    assert (program.track, program.name, program.version) == ("broadcasts/spring", "spring", 3)
    assert [cap.touches for cap in program.caps] == [2]


def test_a_published_broadcast_consists_of_what_it_needs() -> None:
    loaded = load(sources())
    alone = loaded.sources_of("broadcasts/spring")
    assert sorted(alone) == [f"{FOLDER}broadcast.yaml", f"{FOLDER}news.md", "defaults.yaml", "layouts/plain.mjml"]
    again = load(alone, complete=False)
    assert again.broadcasts["broadcasts/spring"].digest == loaded.broadcasts["broadcasts/spring"].digest


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("2027-03-02 10:00", "2027-03-02", "has no time of day"),
        ("2027-03-02 10:00", "soon", "`soon` is not a time"),
        ("2027-03-02 10:00", "2027-03-02T10:00+01:00", "has an offset"),
        ("2027-03-03 17:00", "2027-03-02 09:00", "`not_after` is before `when`"),
        ("not_after: 2027-03-03 17:00", "not_after: 2027-03-02 11:00\nspread: 2 hours", "the spread ends after"),
        ("2027-03-02 10:00", "2027-03-02 18:00", "outside the send window, so emails go only later: on Wednesday"),
        ("2027-03-02 10:00\nnot_after: 2027-03-03", "2027-03-06 10:00\nnot_after: 2027-03-06", "which is after"),
        ("name: spring", "name: summer", "the broadcast is named `summer`, but its folder `spring`"),
        ("audience: everybody", "audience: everybody\nzone: Europe/Berlln", "Did you mean `Europe/Berlin`"),
        ("audience: everybody", "audience: everybody\nemail: newz", "there is no email file `newz.md`"),
        ("audience: everybody", "audience: everybody\nuntil: always", "`until` is always met"),
        ("audience: everybody", "audience: everybody\nuntil: {did: clicked, email: news}", "without an email"),
        ("audience: everybody", "audience: everybody\nsteps: []", "steps"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_remedy(old: str, new: str, expected: str) -> None:
    found = problems(sources(YAML.replace(old, new)))
    assert found
    assert any(expected in one and one.startswith(FOLDER) for one in found), found


def test_a_folder_with_several_emails_says_which_one_is_sent() -> None:
    assert any("there are 2 emails" in one for one in problems(sources(YAML, "news", "more")))
    named = problems(sources(f"{YAML}email: news\n", "news", "more"))
    assert any("more.md:1: broadcast.yaml names another email" in one for one in named)
    assert load(sources(YAML, "news", "news.de")).broadcasts["broadcasts/spring"].unversioned.languages == {
        "news": ("de",)
    }
