# ruff: noqa: E501  (a problem is on one line, as printed)
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.definitions.read_all import check
from nurture.domain.problems import faults
from tests.definitions.build import (
    DEFAULTS,
    EMAIL,
    POLICY,
    SHIPPED,
    TRACK,
    TRACK_FILE,
    bundle,
    problems,
    step_problems,
    steps,
)

ENDLESS = "- repeat: {every: 30 days, steps: [{email: 01-one}]}\n"


def test_the_small_bundle_has_no_problem() -> None:
    assert problems(bundle()) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- emial: 01-one", "5: `emial` is not a kind of step. Did you mean `email`?"),
        ("- email: 01-one\n  aftr: 3 days", "6: unknown key `aftr` in the step `email`. Did you mean `after`?"),
        ("- email: 01-one\n  after: soon", "6: `after`: `soon` is not a delay. Write for example `4 hours`, `3 days`, `2 business days`, `on tuesday` or `1 week on tuesday at 10:00`"),
        ("- email: 01-one\n  hand_off: x", "5: one step has `email` and `hand_off`. Begin each step with its own `- `"),
        ("- email: 01-one\n- email: 01-one", "6: the step id `01-one` is used twice, first on line 5. Give this step an `id:` of its own"),
        ("- email: 01-one\n- set: {a: 1}\n  id: 01-one", "6: the step id `01-one` is used twice, first on line 5. Give this step an `id:` of its own"),
        ("- email: 01-one\n  id: finally", "5: `finally` is the id of the end of the track. Give this step another `id:`"),
        ("- email: 01-one.md", "5: `email`: `01-one.md` cannot be a name. Write `01-one`, without `.md`"),
        ("- email: 01-one\n  id: A step", "6: `id`: `A step` cannot be a name. Use lower-case letters, digits and hyphens, at most 80 of them"),
        ("- email: 01-one\n- email: 02-two", "6: there is no email file `02-two.md` in tracks/hello/. Write the file"),
        ("- email: 01-one\n- hand_off: ", "6: `hand_off` is empty in the step `hand_off`. Write for example `hand_off: clicked the price list twice`"),
        ("- email: 01-one\n- set: {a: 1, b: 2}", "6: `set` has too many entries: 1 are needed. Write for example `set: {interest: pricing}`"),
        ("- email: 01-one\n- set: {a: [1]}", "6: `set: a`: this is not one value. Write a word, a number, yes or no"),
        ("- email: 01-one\n- end: {close: unreachabel}", "6: a lead cannot be closed as `unreachabel`. Did you mean `unreachable`?"),
        ("- email: 01-one\n- end: {close: lost, queue: q}", "6: a destination names `queue` and `close`. Name exactly one"),
        ("- email: 01-one\n- end: helo", "6: there is no track `helo`. Did you mean `hello`?"),
        ("- email: 01-one\n- end: hello", "6: this step ends the track and starts it again. Use `repeat:`, or name another track"),
        ("- email: 01-one\n- end: false", "6: a destination is expected here: `False` is not a destination. Write `end: true` to go where `finally` says, a track's name, `previous`, `{queue: a-queue}` or `{close: unreachable}`"),
        ("- email: 01-one\n- end: true\n- set: {a: 1}\n- set: {b: 1}", "7: the step `set-after-end-after-01-one` is never reached: the steps before it end or repeat forever. Move it up, or give the repeat before it `times:`"),
        (ENDLESS + "- set: {a: 1}", "6: the step `set-after-repeat-first` is never reached: the steps before it end or repeat forever. Move it up, or give the repeat before it `times:`"),
        ("- email: 01-one\n- wait_for: {did: replied}\n  up_to: 401 days\n  then: continue", "7: `up_to`: `401 days` is over 400 days. Write at most 400 days"),
        ("- email: 01-one\n- wait_for: {did: replied}\n  then: continue", "6: `up_to` is missing in the step `wait_for`. Write for example `up_to: 14 days`"),
        ("- email: 01-one\n- wait_for: {did: replied}\n  up_to: 3 days", "6: `then` has no steps. Write steps below it, or `then: continue`"),
        ("- email: 01-one\n- wait_for: {did: replied}\n  up_to: 3 days\n  then:", "8: `then` has no steps. Write steps below it, or `then: continue`"),
        ("- email: 01-one\n- wait_for: {did: replied}\n  up_to: 3 days\n  then: []", "8: `then` has no steps. Write steps below it, or `then: continue`"),
        ("- email: 01-one\n- wait_for: {did: replied}\n  up_to: 3 days\n  then: keep-warm", "8: `then: keep-warm` is not a list of steps. Write `then: continue`, or steps below it; to move to a track: `- end: keep-warm`"),
        ("- email: 01-one\n- wait_for: {did: replied}\n  up_to: 3 days\n  then: continu", "8: `then: continu` is not a list of steps. Did you mean `continue`?"),
        ("- email: 01-one\n- wait_for: {did: replied}\n  up_to: 3 days\n  then: continue\n  otherwise:", "9: `otherwise` has no steps. Write steps below it, or `otherwise: continue`"),
        ("- email: 01-one\n- branch:\n    - when: {did: replied}", "7: `then` has no steps. Write steps below it, or `then: continue`"),
        ("- email: 01-one\n- branch:\n    - {then: continue}", "7: `when` is missing in a case of the branch. Write for example `when: {did: clicked, email: 01-thanks}`"),
        ("- email: 01-one\n- branch: {did: replied}", "6: `branch`: this is not a list. Write for example `branch: [{when: {did: clicked}, then: continue}]`"),
        ("- split:\n    - {arm: a, weight: 0, steps: [{email: 01-one}]}\n    - {arm: b, weight: 1, steps: continue}", "6: `weight`: `0` is not greater than 0. Write for example `weight: 50`"),
        ("- split:\n    - {arm: a, weight: 1, steps: [{email: 01-one}]}", "5: `split` has too few entries: 2 are needed. Write for example `split: [{arm: a, weight: 50, steps: continue}, ...]`"),
        ("- split:\n    - {arm: a, weight: 1, steps: [{email: 01-one}]}\n    - {arm: a, weight: 1, steps: continue}", "5: two arms of the split are called `a`. Give each arm its own name"),
        ("- email: [01-one, 02-two]", "5: `01-one` has several emails outside a repeat: only the first would ever be sent. Put the step into a `repeat:`, or write one step for each email"),
        ("- repeat: {every: 30 days, growth: 1.2, steps: [{email: 01-one}]}", "5: the pauses of an endless repeat grow without limit. Write for example `at_most: 55 days`"),
        ("- repeat: {every: 30 days, growth: 9, times: 9, steps: [{email: 01-one}]}", "5: its pauses grow to over 400 days. Write `at_most:`, at most 400 days"),
        ("- repeat: {every: 30 days, at_most: 10 days, steps: [{email: 01-one}]}", "5: `at_most` is shorter than `every`. Make it longer, or remove it"),
        ("- repeat: {every: 0 days, steps: [{email: 01-one}]}", "5: `every`: `0 days` is zero. Write for example `4 hours`, `3 days`, `2 weeks` or `1 month` (30 days)"),
        ("- repeat: {every: 30 days, growth: 0.5, steps: [{email: 01-one}]}", "5: `growth`: `0.5` is not greater than or equal to 1. Write for example `growth: 1.3`"),
        ("- repeat: {every: 30 days, steps: [{repeat: {every: 2 days, times: 2, steps: [{email: 01-one}]}}]}", "5: a repeat is inside a repeat. Write out the inner steps, or move them to their own track"),
        ("- email: 01-one\n- repeat: {every: 30 days, steps: [{set: {a: 1}}]}", "6: a round of `repeat-after-01-one` can end without an email. Add an email on each path through it"),
        ("- repeat:\n    every: 30 days\n    steps:\n      - branch: [{when: {did: replied}, then: [{email: 01-one}]}]", "5: a round of `repeat-first` can end without an email. Add an email on each path through it"),
        ("nothing", "4: steps are a list. Write each step on a line that begins with `- `"),
        ("- nothing", "5: `nothing` is not a step. Begin a step with one of `email:`, `wait_for:`, `branch:`, `split:`, `repeat:`, `hand_off:`, `set:`, `end:`"),
    ],
)  # fmt: skip
def test_an_invalid_step_says_line_problem_and_remedy(text: str, problem: str) -> None:
    follow = ("no step of track.yaml sends", "there is no email file `02-two.md`")
    every = step_problems(text, "01-one")
    assert [each for each in every if each == problem or not any(other in each for other in follow)] == [problem]


@pytest.mark.parametrize(
    ("moved", "problem"),
    [
        ("{old: other}", "7: `moved_to` moves to `other`, which is not a step. Known: 01-one, finally"),
        ("{01-one: finally}", "7: `moved_to` moves `01-one`, which is still a step. Remove the line, or rename the step"),
        ("{a: b, b: a}", "7: `moved_to` moves `a` in a cycle. Name a step of this track"),
        ("{old: [01-one]}", "7: `moved_to: old` does not name a step. Write `old: the-new-step`"),
    ],
)  # fmt: skip
def test_a_move_goes_from_a_removed_step_to_an_existing_one(moved: str, problem: str) -> None:
    assert problem in step_problems("- email: 01-one", "01-one", tail=f"moved_to: {moved}\n")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name: hello", "name: helo", "1: the track is named `helo`, but its folder `hello`. Write `name: hello`"),
        ("name: hello", "nmae: hello", "1: unknown key `nmae` in the track. Did you mean `name`?"),
        ("goal: Say hello", "goal: 7", "2: `goal`: `7` is not a text. Write for example `goal: Bring attendees to a first talk with sales`"),
        ("goal: Say hello\n", "", "1: `goal` is missing in the track. Write for example `goal: Bring attendees to a first talk with sales`"),
        ("audience: everybody\n", "", "1: `audience` is missing in the track. Write for example `audience: {field: attended, is: yes}`"),
        ("goal: Say", "priority: high\ngoal: Say", "2: `priority`: `high` is not a whole number. Write for example `priority: 10`"),
        ("goal: Say", "re_entry: 90 days\ngoal: Say", "2: `re_entry`: `90 days` is not a re-entry rule. Write `never` or for example `after 90 days`"),
        ("goal: Say", "send: {zone_fallback: Europe/Berlim}\ngoal: Say", "2: `zone_fallback`: there is no time zone `Europe/Berlim`. Did you mean `Europe/Berlin`?"),
        ("goal: Say", "send: {days: []}\ngoal: Say", "2: `days`: the send window never opens: it has no days. Write for example `days: [mon, tue, wed, thu, fri]`"),
        ("goal: Say", "send: {days: [mon, tuseday]}\ngoal: Say", "2: `days`: `tuseday` is not a day of the week. Did you mean `tuesday`?"),
        ("goal: Say", "send: {between: 9-5}\ngoal: Say", "2: `between`: `9-5` is not a range of times. Write for example `between: 09:00-17:00`"),
        ("goal: Say", "sender: {email: nora}\ngoal: Say", "2: `email`: `nora` is not an email address. Write for example `nora@example.com`"),
        ("finally: {close: unreachable}\n", "", "1: `finally` is missing in the track. Write for example `finally: keep-warm`"),
        ("finally: {close: unreachable}", "finally: hello", "6: `finally` leads back to this track. Use `repeat:`, or name another track"),
        ("finally: {close: unreachable}", "finally: elsewhere", "6: there is no track `elsewhere`. Known: hello"),
        ("finally: {close: unreachable}", "finally:", "6: a destination is expected here: it is empty. Write a track's name, `previous`, `{queue: a-queue}` or `{close: unreachable}`"),
        ("  - email: 01-one", "  []", "4: the track has no steps. Write at least one, for example `- email: 01-hello`"),
        ("steps:\n", "steps:\n\t- email: 01-one\n", "5: a tab is used to indent. Indent with spaces: YAML allows no tabs"),
        ("goal: Say hello", "goal: Say hello\ngoal: Again", "3: the key `goal` occurs twice. Keep one of the two"),
        ("goal: Say hello", "goal: 'Say hello", "6: this is not YAML: found unexpected end of stream. Check the indentation, the colons and the quotes here and on the line above"),
        (TRACK, "", "1: the file is empty. Copy a file of this kind from another folder and change it"),
        (TRACK, "- a\n- b\n", "1: the file is not a list of `key: value` lines. Copy a file of this kind from another folder and change it"),
        (TRACK, "a: &a [*a]\nb: 1\n", "1: this is not YAML: it nests more than 40 levels. Close the brackets, and indent by two spaces"),
    ],
)  # fmt: skip
def test_an_invalid_track_says_line_problem_and_remedy(old: str, new: str, problem: str) -> None:
    assert f"{TRACK_FILE}:{problem}" in problems(bundle(TRACK.replace(old, new) if old in TRACK else new))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("  postal_address: 1 Example Street, Exampletown\n", "", "1: `postal_address` is missing in the sender. Write for example `postal_address: Larkfield Ltd, 1 Example Street, Exampletown`"),
        ("postal_address: 1 Example Street, Exampletown", 'postal_address: " "', "4: `postal_address`: it is empty. Write a text"),
        ("  name: Nora", "  name: |\n    Nora\n    Lind", "2: `name`: it has more than one line. Write it on one line"),
        ("touches: 2", "touches: 0", "6: `touches`: `0` is not greater than or equal to 1. Write for example `touches: 2`"),
        ("touches: 2, ", "", "6: `touches` is missing in `cap`. Write for example `touches: 2`"),
        ("cap:", "caps:", "6: unknown key `caps` in the defaults. Did you mean `cap`?"),
        (DEFAULTS, "", "1: the file is empty. Copy a file of this kind from another folder and change it"),
        ("cap:", "layout: plian\ncap:", None),
    ],
)  # fmt: skip
def test_invalid_defaults_say_line_problem_and_remedy(old: str, new: str, problem: str | None) -> None:
    found = problems(bundle(defaults=DEFAULTS.replace(old, new)))
    assert (
        f"defaults.yaml:{problem}"
        if problem
        else f"{TRACK_FILE[:-10]}01-one.md:1: there is no layout `plian` in layouts/. Did you mean `plain`?"
    ) in found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("  - {id: mara, name: Mara, email: mara@example.com, capacity: 5}", "  []", "7: the policy has no reps: no lead could be handed off. Write `- {id: mara, name: Mara Lindqvist, email: mara@example.com, capacity: 5}`"),
        ("capacity: 5", "capacity: 0", "8: `capacity`: `0` is not greater than or equal to 1. Write for example `capacity: 5`"),
        ("capacity: 5}", "capacity: 5}\n  - {id: mara, name: M, email: m@example.com, capacity: 1}", "9: the id `mara` is used twice. Give each a name of its own"),
        ("clicked: 10", "clikced: 10", "2: `clikced`: `clikced` is not a kind of signal. Did you mean `clicked`?"),
        ("clicked: 10", "clicked: many", "2: `clicked`: `many` is not a number of points. Write for example `clicked: 10`"),
        ("clicked: 10", "clicked: .nan", "2: `clicked`: `.nan` is not a number of points. Write for example `clicked: 10`"),
        ("half_life: 30 days", "half_life: 0 days", "2: `half_life`: `0 days` is zero. Write for example `4 hours`, `3 days`, `2 weeks` or `1 month` (30 days)"),
        ("then: enroll", "then: enrol", "4: `then: enrol` is not a destination. Write `hand_off`, `enroll`, `{track: a-track}`, `{discard: the reason}` or `{queue: a-queue}`"),
        ("then: enroll", "then: {track: helo}", "4: there is no track `helo`. Did you mean `hello`?"),
        ("then: enroll", "then: {discard: too small, and far}", "4: `and far` is not a key. If it belongs to the text before it, quote the whole text: it contains a comma"),
        ("when: always", "when: {did: replied}", "4: a lead that matches no readiness rule has no destination. End the list with `- {name: the-rest, when: always, then: enroll}`"),
        ("then: enroll}", "then: enroll}\n  - {name: late, when: {did: replied}, then: enroll}", "5: the rules after this one, which matches every lead, never apply. Move it to the end"),
        ("then: enroll}", "then: enroll}\n  - {name: the-rest, when: always, then: enroll}", "5: the name `the-rest` is used twice. Give each a name of its own"),
        ("when: {did: replied}}", "when: always}", "6: this criterion hands off every lead at once. Add a condition on what a lead did or stated"),
        ("when: {did: replied}}", "when: {did: clicked, email: 01-noe}}", "6: email `01-noe` is not sent by any step. Did you mean `01-one`?"),
        ("on: 2026-01-15", "on: yesterday", "1: `on`: `yesterday` is not a date. Write year-month-day, for example `2026-01-15`"),
        ("accept_within: 1 day\n", "", "1: `accept_within` is missing in the policy. Write for example `accept_within: 1 day`"),
        ("accept_within: 1 day", "accept_within: 2 business days", "9: `accept_within`: `2 business days` is not a duration. Write for example `4 hours`, `3 days`, `2 weeks` or `1 month` (30 days)"),
        ("then: resume, cool", "then: resum, cool", "13: `then: resum` is not a destination. Write `resume`, `{track: a-track}`, `{close: lost}`, `{close: discarded}` or `{queue: a-queue}`"),
        ("then: resume, cool", "then: {close: won}, cool", "13: a rejected lead cannot be closed as `won`. Write `resume`, `{track: a-track}`, `{close: lost}`, `{close: discarded}` or `{queue: a-queue}`"),
        ("label: Not now, ", "", "13: `label` is missing in the reason `not-now`. Write for example `label: Interested, but not now`"),
        ("on_expiry: {then: resume}", "on_expiry: {}", "14: `then` is missing in `on_expiry`. Write for example `then: resume`"),
        ("on_expiry: {then: resume}", "on_expiry: resume", "14: `on_expiry` needs keys and values below it. Write `label:`, `then:`, `cool_off:` ... on indented lines"),
    ],
)  # fmt: skip
def test_an_invalid_policy_says_line_problem_and_remedy(old: str, new: str, problem: str) -> None:
    assert f"sales/policy.yaml:{problem}" in problems(bundle(policy=POLICY.replace(old, new)))


@pytest.mark.parametrize(
    ("email", "problem"),
    [
        ("Hello.", "1: the email has no front matter. Begin the file with a line `---`, then `subject:` and `preheader:`, then a line `---`"),
        ("---\npreheader: x\n---\nHello.", "2: the email has no subject. Add `subject: ...` to the front matter"),
        ('---\npreheader: x\nsubject: ""\n---\nHello.', "3: the subject is empty. Write it after `subject:`"),
        ("---\nsubject: x\nlayout: plian\n---\nHello.", "3: there is no layout `plian` in layouts/. Did you mean `plain`?"),
    ],
)  # fmt: skip
def test_an_email_needs_a_subject_and_a_layout_that_exists(email: str, problem: str) -> None:
    assert problems({**bundle(), "tracks/hello/01-one.md": email}) == [f"tracks/hello/01-one.md:{problem}"]
    assert problems(bundle(brief=email)) == [f"handoff/brief.md:{problem}"]


def test_an_email_that_no_step_sends_is_a_problem() -> None:
    assert problems(bundle(emails=("01-one", "02-two"))) == [
        "tracks/hello/02-two.md:1: no step of track.yaml sends this email. Add a step `- email: 02-two`, or remove the file"
    ]


@pytest.mark.parametrize("path", ["defaults.yaml", "sales/policy.yaml", "handoff/brief.md", TRACK_FILE])
def test_a_file_that_is_missing_is_a_problem(path: str) -> None:
    rest = {name: text for name, text in bundle().items() if name != path}
    assert [problem for problem in problems(rest) if f"{path}:1: this file is missing." in problem]


def test_all_problems_of_all_files_come_at_once_in_order() -> None:
    track = TRACK.replace("goal:", "gaol:").replace("01-one", "01-oen")
    policy = POLICY.replace("capacity: 5", "capacity: five").replace("approved:", "aproved:")
    found = check({**bundle(track, policy=policy), "defaults.yaml": "sender: {}\n", "tracks/hello/03-x.md": "x"})
    assert found == sorted(found)
    assert {problem.file for problem in found} == {
        "defaults.yaml", TRACK_FILE, "tracks/hello/01-one.md", "tracks/hello/03-x.md", "sales/policy.yaml",
    }  # fmt: skip
    assert len(found) == 10


def test_two_tracks_that_form_a_cycle_without_an_email_are_a_problem() -> None:
    text = "name: {}\ngoal: x\naudience: nobody\nsteps:\n  - wait_for: {{did: replied}}\n    up_to: 3 days\n    then: continue\n{}finally: {}\n"
    mail = "  - email: 01-one\n"
    one, two = text.format("one", "", "two"), text.format("two", "", "one")
    both = {**bundle(), "tracks/one/track.yaml": one, "tracks/two/track.yaml": two}
    assert problems(both) == [
        "tracks/one/track.yaml:8: leads move in a cycle from `one` to `two` to `one` without an email. Add an email to one of them, or end elsewhere"
    ]
    both |= {"tracks/two/track.yaml": text.format("two", mail, "one") + "loops: yes\n", "tracks/two/01-one.md": EMAIL}
    assert faults(check(both)) == []


RICH = {
    path: (SHIPPED / path).read_text(encoding="utf-8")
    for path in (
        "defaults.yaml",
        "fields.yaml",
        "sales/policy.yaml",
        "tracks/webinar-attended/track.yaml",
        "tracks/keep-warm/track.yaml",
    )
}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(RICH)),
    st.integers(0, 10_000),
    st.integers(0, 12),
    st.one_of(st.sampled_from(["", "- ", ": ", "[", "{", "}", "~", "null", "&a ", "*a", "!!set ", "? ", "|", "yes", "1e999", "\t", "\n"]), st.text(max_size=6)),
)  # fmt: skip
def test_a_typo_anywhere_is_read_or_reported_and_never_a_crash(path: str, at: int, cut: int, put: str) -> None:
    text = RICH[path]
    at %= len(text)
    slipped = text[:at] + put + text[at + cut :]
    for problem in check({**bundle(), path: slipped}):
        assert 1 <= problem.line <= slipped.count("\n") + 1 or problem.file != path
        assert problem.message
        assert problem.suggestion


def test_a_step_that_is_wrong_hides_no_problem_below_it() -> None:
    text = "- wait_for: {did: nod}\n  up_to: soon\n  then:\n    - email: 01-one\n      aftr: 1 day\n  otherwise:\n    - end: nowhere"
    lines = [int(problem.split(":")[0]) for problem in step_problems(text, "01-one")]
    assert set(lines) >= {5, 6, 9, 11}


def test_steps_can_be_indented_as_the_writer_likes() -> None:
    assert problems(bundle(steps("- email: 01-one").replace("  - email", "- email"))) == []


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (TRACK_FILE, "steps:", "stpes:"),
        (TRACK_FILE, "- email:", "- emial:"),
        (TRACK_FILE, "finally:", "finaly:"),
        (TRACK_FILE, "audience:", "audiance:"),
        ("defaults.yaml", "sender:", "sendr:"),
        ("defaults.yaml", "postal_address:", "postal_adress:"),
        ("defaults.yaml", "touches:", "touchs:"),
        ("sales/policy.yaml", "accept_within:", "acept_within:"),
        ("sales/policy.yaml", "capacity:", "capcity:"),
    ],
)
def test_one_misspelled_key_is_one_problem(path: str, old: str, new: str) -> None:
    rules = bundle()
    assert old in rules[path]
    (problem,) = problems({**rules, path: rules[path].replace(old, new, 1)})
    assert f"Did you mean `{old.strip('- :')}`?" in problem
