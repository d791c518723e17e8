from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.lock import LOCK_FILE, hold_lock, read_urls, write_owner
from nurture.errors import AlreadyRunning

HOLD = """
import sys, time
from pathlib import Path
from flows.lock import hold_lock, write_owner
with hold_lock(Path(sys.argv[1])) as lock:
    write_owner(lock, {"Pages": "http://127.0.0.1:8025"})
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_start_names_the_running_one_and_its_address(tmp_path: Path) -> None:
    with hold_lock(tmp_path) as lock:
        write_owner(lock, {"Pages": "http://127.0.0.1:8025", "Prefect": "http://127.0.0.1:4200"})
        with pytest.raises(AlreadyRunning) as refused, hold_lock(tmp_path):
            pass
    assert f"process {os.getpid()}" in str(refused.value)
    assert "http://127.0.0.1:8025" in str(refused.value)
    assert "http://127.0.0.1:4200" in str(refused.value)


def test_a_second_start_is_refused_while_the_first_one_is_starting(tmp_path: Path) -> None:
    with hold_lock(tmp_path), pytest.raises(AlreadyRunning, match="it is starting"), hold_lock(tmp_path):
        pass


def test_the_addresses_are_those_of_a_running_process_only(tmp_path: Path) -> None:
    urls = {"Pages": "http://127.0.0.1:8025", "Prefect": "http://127.0.0.1:4201"}
    assert read_urls(tmp_path) == {}
    with hold_lock(tmp_path) as lock:
        assert read_urls(tmp_path) == {}
        write_owner(lock, urls)
        assert read_urls(tmp_path) == urls
        left = (tmp_path / LOCK_FILE).read_text("utf-8")
    (tmp_path / LOCK_FILE).write_text(left, "utf-8")
    assert read_urls(tmp_path) == {}


def test_the_lock_is_free_after_a_clean_end(tmp_path: Path) -> None:
    with hold_lock(tmp_path):
        pass
    with hold_lock(tmp_path):
        pass


def test_the_lock_of_a_killed_owner_is_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning, match=f"process {owner.pid}"), hold_lock(tmp_path):
            pass
        owner.send_signal(signal.SIGKILL)
        owner.wait(5)
    assert str(owner.pid) in (tmp_path / LOCK_FILE).read_text("utf-8")
    with hold_lock(tmp_path):
        pass
