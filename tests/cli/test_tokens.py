"""Tokens for programs: created, listed, revoked; and the example of the API in docs/operators.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson

from nurture.app import open_app
from nurture.web.app import create_app
from tests.cli.conftest import CliSession
from tests.doc_examples import read_section, shell_blocks
from tests.web.serving import serve_in_thread


def test_a_token_is_shown_once_and_not_kept(cli: CliSession) -> None:
    result = cli.ok("admin", "tokens", "create", "website", "--scope", "signals:write")
    token = result.out.strip()
    assert re.fullmatch(r"nrt_[\w-]{32}", token)
    assert token.encode() not in Path(os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///")).read_bytes()
    payload = cli.ok(
        "admin", "tokens", "create", "crm", "--scope", "leads:write", "--scope", "signals:write", "--json"
    ).json
    assert payload["scopes"] == ["leads:write", "signals:write"]
    listed = cli.ok("admin", "tokens", "list").out
    assert "website" in listed
    assert token not in listed
    assert token not in cli.ok("admin", "tokens", "list", "--json").out


def test_a_revoked_token_stays_in_the_list_and_its_name_is_free_again(cli: CliSession) -> None:
    cli.ok("admin", "tokens", "create", "website", "--scope", "signals:write")
    assert cli.ok("admin", "tokens", "revoke", "website", "--json").json == {"revoked": "website"}
    cli.ok("admin", "tokens", "create", "website", "--scope", "leads:write")
    found = cli.ok("admin", "tokens", "list", "--json").json
    assert [(one["name"], one["revoked_at"] is None) for one in found] == [("website", False), ("website", True)]


def test_mistakes_are_reported_with_a_remedy(cli: CliSession) -> None:
    cli.ok("admin", "tokens", "create", "website", "--scope", "signals:write")
    assert "signals:write, leads:write" in cli.fails("admin", "tokens", "create", "x", "--scope", "all").err
    assert "tokens revoke website" in cli.fails("admin", "tokens", "create", "website", "--scope", "leads:write").err
    assert "not a valid token name" in cli.fails("admin", "tokens", "create", "\u20ac", "--scope", "leads:write").err
    assert "Did you mean `website`?" in cli.fails("admin", "tokens", "revoke", "web-site").err
    cli.fails("admin", "tokens", "create", "website")


def test_the_api_example_of_the_docs_works(cli: CliSession) -> None:
    (script,) = shell_blocks(read_section("docs/operators.md", "API"))
    programs = cli.folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "nurture").symlink_to(Path(sys.executable).with_name("nurture"))
    with open_app(live=True) as app, serve_in_thread(create_app(app.ctx, app.clock), "127.0.0.1", 0) as port:
        done = subprocess.run(
            ["bash", "-e"],
            input=script.replace("127.0.0.1:8025", f"127.0.0.1:{port}"),
            cwd=cli.folder,
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
