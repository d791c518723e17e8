"""Senders: an address that may send, and a real postal address."""

from __future__ import annotations

import pytest

from nurture.definitions.read_all import load
from tests.definitions.build import DEFAULTS, TRACK, TRACK_FILE, bundle, problems

POSTAL = "1 Example Street, Exampletown"


def said(old: str, new: str) -> list[str]:
    assert old in DEFAULTS
    return [problem.removeprefix("defaults.yaml:") for problem in problems(bundle(defaults=DEFAULTS.replace(old, new)))]


@pytest.mark.parametrize(
    "postal",
    [
        "TODO", "'todo: ask Ben'", "tbd", "xxx", "n/a", "'-'", "x", "Exampletown", "your address here",
        "Company address", "<postal address>", "'[address]'", "'{{ address }}'", "1 Street ...",
        "hello@example.com", "https://www.example.com", "Lorem ipsum dolor sit amet",
    ],
)  # fmt: skip
def test_an_invalid_postal_address_is_reported(postal: str) -> None:
    (problem,) = said(POSTAL, postal)
    assert problem.startswith("4: `postal_address`: `")
    assert problem.endswith(
        "is not a postal address. Write your postal address, for example `Larkfield Ltd, 1 Example Street, Exampletown`"
    )


@pytest.mark.parametrize(
    "postal",
    [
        "PO Box 12, Exampletown EX1 2MP",
        "Larkfield, Todos Santos, Baja California Sur",
        "東京都港区赤坂1-2-3",
        '"Straße des 17. Juni 1, 10623 Berlin"',
        "|\n    Larkfield Ltd\n    12 Harbour Lane\n    Exampleton",
    ],
)
def test_real_postal_addresses_of_all_kinds_pass(postal: str) -> None:
    assert said(POSTAL, postal) == []


@pytest.mark.parametrize(
    "address",
    ["n@gmail.com", "n@Googlemail.com", "n@yahoo.co.uk", "n@ymail.com", "n@hotmail.fr", "n@gmx.de",
     "n@qq.com", "n@outlook.com", "n@icloud.com", "n@web.de", "n@aol.com", "n@proton.me"],
)  # fmt: skip
def test_a_sender_at_a_free_mail_provider_is_rejected_but_a_reply_to_is_not(address: str) -> None:
    domain = address.lower().partition("@")[2]
    what = f"3: `email`: mail from `{address}` is refused: `{domain}` lets only its own servers send"
    instead = "Use an address at your own domain; this one may be the `reply_to`"
    assert said("nora@example.com", address) == [f"{what}. {instead}"]
    assert said("nora@example.com", f"nora@example.com\n  reply_to: {address}") == []


@pytest.mark.parametrize(
    "address", ["n@mygmail.com", "n@gmail.example.com", "n@yahoo-partners.example", "a.b+c@x.example"]
)
def test_addresses_at_own_domains_pass(address: str) -> None:
    assert said("nora@example.com", address) == []


@pytest.mark.parametrize(
    "address",
    ["nora@exa..mple.com", "nora@-example.com", ".nora@example.com", "no..ra@example.com", "nora@example.1",
     "nóra@example.com", '"nora(x)@example.com"', "'\"nora\"@example.com'", f"{'n' * 65}@example.com",
     f"nora@{'e' * 64}.com", f"nora@{'e.' * 130}com", "nora@exam_ple.com"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["email", "reply_to"])
def test_an_address_must_be_accepted_by_every_mail_server(key: str, address: str) -> None:
    new = address if key == "email" else f"nora@example.com\n  reply_to: {address}"
    (problem,) = said("nora@example.com", new)
    assert f"`{key}`: mail programs cannot reply to" in problem


def test_a_domain_with_accents_is_written_in_its_ascii_form() -> None:
    what = "3: `email`: not every mail server accepts the domain of `nora@bücher.example` in this form"
    instead = "Write its ASCII form: `nora@xn--bcher-kva.example`"
    assert said("nora@example.com", "nora@bücher.example") == [f"{what}. {instead}"]


def test_a_placeholder_is_not_a_name() -> None:
    assert said("name: Nora", "name: TODO") == ["2: `name`: `TODO` is not a name. Write who the mail is from"]


def test_a_tracks_own_sender_is_checked_in_its_file() -> None:
    track = TRACK.replace("steps:", "sender: {email: n@gmail.com, postal_address: TODO}\nsteps:")
    assert [problem.split(":")[:2] for problem in problems(bundle(track))] == [[TRACK_FILE, "4"], [TRACK_FILE, "4"]]


def test_what_was_published_once_still_loads() -> None:
    rules = load(bundle())
    old = dict(rules.sources_of("hello")) | {"defaults.yaml": DEFAULTS.replace("nora@example.com", "n@gmail.com")}
    assert load(old, complete=False).tracks["hello"].program(1).sender.email == "n@gmail.com"
