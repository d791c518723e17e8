"""The files of deploy/ agree with the product, and a package of it works in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from nurture.settings import Settings
from nurture.settings_model import variable_name
from nurture.web import routes

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.name != "requirements.lock")
KNOWN = {variable_name(name) for name in Settings.model_fields}
UNITS = {"k": 1024, "kib": 1024, "m": 1024**2, "mib": 1024**2}


@pytest.mark.parametrize("path", [*FILES, ROOT / "docs/deployment.md"], ids=lambda path: path.name)
def test_every_setting_exists(path: Path) -> None:
    named = set(re.findall(r"NURTURE_[A-Z_]+", path.read_text("utf-8")))
    secrets = {f"{variable_name(name)}_FILE" for name in Settings.model_fields if Settings.is_secret(name)}
    assert named <= KNOWN | secrets


@pytest.mark.parametrize("path", sorted((DEPLOY / "proxy").iterdir()), ids=lambda path: path.name)
def test_a_proxy_lets_the_largest_body_of_each_route_pass(path: Path) -> None:
    found = re.findall(r"(?:client_max_body_size|max_size) (\d+)([A-Za-z]+)", path.read_text("utf-8"))
    sizes = sorted(int(number) * UNITS[unit.lower()] for number, unit in found)
    assert sizes == sorted({policy.max_bytes for policy in routes.ACCESS.values()})


def test_the_image_installs_what_is_locked() -> None:
    locked, image = (_read_lock(ROOT / name) for name in ("requirements.lock", "deploy/requirements.lock"))
    assert image.items() <= locked.items()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    named = {re.split(r"[^\w.-]", one)[0].replace(".", "-") for one in wanted}
    assert named <= {name.partition("==")[0] for name in image}
    assert not {"pytest", "mypy", "ruff"} & {name.partition("==")[0] for name in image}


def _read_lock(path: Path) -> dict[str, str]:
    """Return the hashes of each requirement."""
    blocks = re.split(r"\n(?=\S)", path.read_text("utf-8"))
    return {block.partition(" ")[0]: block for block in map(str.strip, blocks) if "==" in block.partition(" ")[0]}


def test_services_of_compose_depend_only_on_each_other() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    assert {name for one in services.values() for name in one.get("depends_on", {})} <= services.keys()
    published = [port for one in services.values() for port in one.get("ports", [])]
    assert published == ["127.0.0.1:8025:8025"]


def test_a_package_works_in_an_empty_folder(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "dist"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = (tmp_path / "dist").iterdir()
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel],
        check=True,
        capture_output=True,
    )
    folder = tmp_path / "larkfield"
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NURTURE_", "PREFECT_"))}
    environment = {**kept, "PYTHONPATH": str(site), "HOME": str(tmp_path)}

    def run(*command: str) -> str:
        start = "import sys; from nurture.cli import main; sys.exit(main())"
        finished = subprocess.run(
            [sys.executable, "-c", start, *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    found = [sys.executable, "-c", "import nurture, flows.up; print(nurture.__file__, flows.up.__file__)"]
    places = subprocess.run(found, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    assert places.count(str(site)) == 2
    run("init")
    run("publish")
    (folder / "leads.csv").write_text("Email,Country,Lead Source,Consent\nana@example.com,Brazil,Fair,Yes\n")
    run("import", "leads.csv")
    run("run")
    assert [(one["custodian"], one["ref"]) for one in json.loads(run("leads", "list", "--json"))] == [
        ("track", "keep-warm")
    ]
    assert (site / "nurture/prefect.yaml").read_bytes() == (ROOT / "prefect.yaml").read_bytes()
