"""Tokens for programs: made, listed, ended; and what the README tells a program to type."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson

from nurture.app import open_app
from nurture.web.app import create_app
from nurture.web.server import serving
from tests.cli.conftest import Place

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_a_token_is_shown_once_and_not_kept(place: Place) -> None:
    said = place.ok("admin", "tokens", "create", "website", "--scope", "signals:write")
    token = said.out.strip()
    assert re.fullmatch(r"nrt_[\w-]{32}", token)
    assert (
        token.encode() not in Path(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///")).read_bytes()
    )
    told = place.ok(
        "admin", "tokens", "create", "crm", "--scope", "leads:write", "--scope", "signals:write", "--json"
    ).json
    assert told["scopes"] == ["leads:write", "signals:write"]
    listed = place.ok("admin", "tokens", "list").out
    assert "website" in listed
    assert token not in listed
    assert token not in place.ok("admin", "tokens", "list", "--json").out


def test_a_revoked_token_stays_in_the_list_and_its_name_is_free_again(place: Place) -> None:
    place.ok("admin", "tokens", "create", "website", "--scope", "signals:write")
    assert place.ok("admin", "tokens", "revoke", "website", "--json").json == {"revoked": "website"}
    place.ok("admin", "tokens", "create", "website", "--scope", "leads:write")
    found = place.ok("admin", "tokens", "list", "--json").json
    assert [(one["name"], one["revoked_at"] is None) for one in found] == [
        ("website", False),
        ("website", True),
    ]


def test_mistakes_are_told_with_the_way_out(place: Place) -> None:
    place.ok("admin", "tokens", "create", "website", "--scope", "signals:write")
    assert "signals:write, leads:write" in place.fails("admin", "tokens", "create", "x", "--scope", "all").err
    assert (
        "tokens revoke website"
        in place.fails("admin", "tokens", "create", "website", "--scope", "leads:write").err
    )
    assert "no name" in place.fails("admin", "tokens", "create", "\u20ac", "--scope", "leads:write").err
    assert "Did you mean 'website'?" in place.fails("admin", "tokens", "revoke", "web-site").err
    place.fails("admin", "tokens", "create", "website")


def test_what_the_readme_tells_programs_to_send_works_as_it_is_typed(place: Place) -> None:
    section = README.partition("### From other programs")[2].partition("### Many machines")[0]
    (script,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    programs = place.folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "nurture").symlink_to(Path(sys.executable).with_name("nurture"))
    with open_app(live=True) as app, serving(create_app(app.house, app.clock), "127.0.0.1", 0) as port:
        done = subprocess.run(
            ["bash", "-e"],
            input=script.replace("127.0.0.1:8025", f"127.0.0.1:{port}"),
            cwd=place.folder,
            env=dict(os.environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    leads, signals, *listed = done.stdout.splitlines()
    assert orjson.loads(leads)["new"] == 1
    assert orjson.loads(signals)["new"] == 1
    assert "website" in "".join(listed)
