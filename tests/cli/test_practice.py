"""`nurture practice`: a world from one's own templates. Nothing leaves it, and nothing real is touched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.conftest import CliSession
from tests.simulation.worlds import make_world

AT = ("--at", "2026-03-02T09:00")
_WITHOUT_NETWORK = """
import socket, sys

def forbid(event, args):
    assert not event.startswith(("socket.connect", "socket.getaddrinfo", "socket.sendto")), (event, args)

sys.addaudithook(forbid)
from nurture.cli import main
main(sys.argv[1:])
"""


def _start(cli: CliSession, *options: object) -> None:
    cli.ok("practice", "start", "--count", 20, *AT, *options)


def test_months_pass_without_a_connection_and_without_the_real_database(cli: CliSession) -> None:
    cli.environment.setenv("NURTURE_DATABASE_URL", f"sqlite:///{cli.folder}/real.db")
    cli.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    cli.environment.setenv("NURTURE_SENDGRID_KEY", "SG.secret")
    cli.environment.setenv("NURTURE_CRM", "hubspot")
    started = cli.ok("practice", "start", "--count", 20, *AT).out
    assert "NURTURE_CRM, NURTURE_DATABASE_URL, NURTURE_PROVIDER, NURTURE_SENDGRID_KEY" in " ".join(started.split())
    assert "SG.secret" not in started
    command = [sys.executable, "-c", _WITHOUT_NETWORK, "practice", "run", "60", "days", "--json"]
    done = subprocess.run(command, cwd=cli.folder, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = cli.ok("practice", "show", "--json").json
    assert shown["at"].startswith("2026-05-01T09:00")
    assert sum(one["sent"] for one in shown["steps"]) > 40
    assert shown["mails"] > 40
    assert not (cli.folder / "real.db").exists()
    assert {path.name for path in cli.folder.iterdir()} == {"rules", "practice"}


def test_a_file_of_leads_goes_through_the_intake_and_rejected_rows_are_kept(cli: CliSession) -> None:
    cli.write("mine.csv", "Email,Title,Consent\nhead@a.example,Head of Sales,Yes\nnobody,Clerk,Yes\n")
    started = cli.ok("practice", "start", "--leads", "mine.csv", *AT).out
    assert "1 new" in started
    assert "nobody" in (cli.folder / "practice" / "rejected-rows.csv").read_text("utf-8")
    cli.ok("practice", "run", "2", "days", "--rates", "none", "--sales", "ignores")
    assert "welcome" in cli.ok("practice", "do", "explain", "head@a.example").out


def test_a_file_that_cannot_be_read_leaves_no_world(cli: CliSession) -> None:
    cli.write("mine.csv", "Name\nAna\n")
    cli.fails("practice", "start", "--leads", "mine.csv", *AT)
    assert "no practice world" in cli.fails("practice", "show").err
    _start(cli)


def test_any_command_runs_in_the_world(cli: CliSession) -> None:
    _start(cli)
    cli.ok("practice", "run", "1", "day", "--rates", "none")
    assert cli.ok("practice", "do", "--json", "explain", "1").json
    cli.environment.setenv("NURTURE_DATABASE_URL", "sqlite:///other.db")
    assert "nowhere" in cli.fails("practice", "do", "simulate", "nowhere").err


def test_leads_do_what_they_are_scripted(cli: CliSession) -> None:
    _start(cli)
    cli.ok("practice", "run", "3", "days", "--rates", "none", "--sales", "ignores")
    script = ("--rates", "none", "--clicks", "01-hello", "--lead", "1", "--lead", "2", "--replies", "01-hello:Not now")
    cli.ok("practice", "run", "1", "day", *script)
    steps = cli.ok("practice", "show", "--json").json["steps"]
    hello = next(one for one in steps if one["step"] == "01-hello")
    assert 0 < hello["clicked"] <= 2
    assert hello["clicked"] < hello["sent"]


def test_leads_react_to_a_broadcast_and_it_is_shown_beside_the_tracks(cli: CliSession) -> None:
    cli.write(
        "rules/broadcasts/news/broadcast.yaml",
        "name: news\ngoal: Tell\naudience: everybody\ntopic: News\nemail: news\n"
        "when: 2026-03-04 10:00\nnot_after: 2026-03-05 17:00\n",
    )
    cli.write(
        "rules/broadcasts/news/news.md", "---\nsubject: New\npreheader: Today\n---\n[Read](https://x.example/a)\n"
    )
    _start(cli)
    cli.ok("practice", "do", "broadcasts", "send", "news")
    cli.ok("practice", "run", "5", "days", "--rates", "click=100%")
    (news,) = cli.ok("practice", "show", "--json").json["broadcasts"]
    assert 0 < news["clicked"] <= news["sent"]
    assert "broadcast" in cli.ok("practice", "show").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("5", "donkeys"), "3 days"),
        ((), "run 30 days"),
        (("--until", "2020-01-01"), "not after"),
        (("1", "day", "--until", "2027-01-01"), "not both"),
        (("1", "day", "--rates", "clicks=5%"), "click=10%"),
        (("1", "day", "--rates", "click=500%"), "click=10%"),
        (("1", "day", "--clicks", "01-helo"), "01-hello"),
        (("1", "day", "--replies", "01-hello"), "EMAIL:TEXT"),
        (("1", "day", "--sales", "sleeps"), "ignores"),
        (("1", "day", "--lead", "nobody@x.example"), "nobody@x.example"),
    ],
)
def test_a_wrong_run_says_what_to_write_and_moves_nothing(
    cli: CliSession, started_world: Path, options: tuple[str, ...], said: str
) -> None:
    assert said in cli.fails("practice", "run", "--folder", started_world, *options).err
    at = cli.ok("practice", "show", "--folder", started_world, "--json").json["at"]
    assert at.startswith("2026-03-02T09:00")


@pytest.fixture(scope="module")
def started_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("practice") / "world"
    make_world(folder, 5)
    return folder


def test_a_world_is_deleted_with_its_folder_but_not_with_what_others_put_there(cli: CliSession) -> None:
    _start(cli)
    assert "--replace" in cli.fails("practice", "start", *AT).err
    cli.write("practice/notes.txt", "mine")
    assert "notes.txt" in cli.fails("practice", "delete").err
    (cli.folder / "practice" / "notes.txt").unlink()
    cli.ok("practice", "delete")
    assert not (cli.folder / "practice").exists()
    assert "no practice world" in cli.fails("practice", "run", "1", "day").err


def test_pages_are_served_on_virtual_time_and_mails_link_to_them(cli: CliSession) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _start(cli, "--port", port)
    command = [sys.executable, "-c", "from nurture.cli import main; main()", "practice", "serve"]
    with subprocess.Popen(command, cwd=cli.folder, env=dict(os.environ), stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            printed = []
            for line in serving.stdout:
                printed.append(line)
                if "Listening" in line:
                    break
            link = next(word for line in printed for word in line.split() if "/i/" in word)
            assert link.startswith(f"http://127.0.0.1:{port}/i/")
            assert "Monday 2 March 2026, 09:00 UTC" in urlopen(link, timeout=60).read().decode()
            cli.ok("practice", "run", "2", "days")
            assert "Wednesday 4 March 2026, 09:00 UTC" in urlopen(link, timeout=60).read().decode()
            assert "in use" in cli.fails("practice", "delete").err
            brief = next((cli.folder / "practice" / "mail" / "html").glob("brief*")).read_text("utf-8")
            assert f"http://127.0.0.1:{port}/a/" in brief
        finally:
            serving.send_signal(signal.SIGINT)
