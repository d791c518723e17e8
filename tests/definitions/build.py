"""Build a small valid set of definitions, to be changed in one place by each test."""

from __future__ import annotations

from pathlib import Path

from nurture.definitions.folder import Sources
from nurture.definitions.read_all import check, load
from nurture.domain.planning.program import Program

SHIPPED = Path(__file__).parents[2] / "templates"

DEFAULTS = """\
sender:
  name: Nora
  email: nora@example.com
  postal_address: 1 Example Street, Exampletown
send: {between: 09:00-17:00, zone_fallback: Europe/Berlin}
cap: {touches: 2, per: 7 days}
"""
HEAD = """\
name: hello
goal: Say hello
audience: everybody
"""
TRACK = f"""\
{HEAD}steps:
  - email: 01-one
finally: {{close: unreachable}}
"""
EMAIL = "---\nsubject: Hello\npreheader: Hi\n---\nHello.\n"
POLICY = """\
approved: {by: Mara, on: 2026-01-15}
points: {clicked: 10, replied: 40, half_life: 30 days}
readiness:
  - {name: the-rest, when: always, then: enroll}
hand_off_when:
  - {name: replied, when: {did: replied}}
reps:
  - {id: mara, name: Mara, email: mara@example.com, capacity: 5}
accept_within: 1 day
follow_up_within: 2 days
max_silence: 60 days
reject_reasons:
  not-now: {label: Not now, then: resume, cool_off: 60 days}
on_expiry: {then: resume}
"""
QUEUES = "queues: {others: {owner: mara, within: 5 business days}}\n"
TRACK_FILE = "tracks/hello/track.yaml"


def bundle(track: str = TRACK, emails: tuple[str, ...] = ("01-one",), **files: str) -> dict[str, str]:
    """Return sources with one track `hello`; *files* replace `defaults`, `policy`, `brief`."""
    return {
        "defaults.yaml": files.get("defaults", DEFAULTS),
        "layouts/plain.mjml": "<mjml></mjml>",
        TRACK_FILE: track,
        **{f"tracks/hello/{email}.md": EMAIL for email in emails},
        "sales/policy.yaml": files.get("policy", POLICY).removesuffix(QUEUES) + QUEUES,
        "handoff/brief.md": files.get("brief", EMAIL),
        "handoff/waiting.md": EMAIL,
    }


def steps(text: str, tail: str = "") -> str:
    """Return a track.yaml with these steps, indented as given."""
    body = "\n".join(f"  {line}" for line in text.strip("\n").split("\n"))
    return f"{HEAD}steps:\n{body}\nfinally: {{close: unreachable}}\n{tail}"


def program(text: str, *emails: str, tail: str = "") -> Program:
    """Compile a track of these steps."""
    return load(bundle(steps(text, tail), emails)).tracks["hello"].program(1)


def problems(sources: Sources) -> list[str]:
    """Return the problems as printed."""
    return [str(problem) for problem in check(sources)]


def step_problems(text: str, *emails: str, tail: str = "") -> list[str]:
    """Return the problems of a track with these steps, without the file's name."""
    prefix = f"{TRACK_FILE}:"
    return [problem.removeprefix(prefix) for problem in problems(bundle(steps(text, tail), emails))]
