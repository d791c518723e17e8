"""A real server in a separate process, and a client that posts events to it."""

from __future__ import annotations

import asyncio
import io
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

PATH: Final = "/webhooks/sendgrid/events"
START_TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class ServerProcess:
    """A running server. *process* may be killed at any time."""

    process: subprocess.Popen[bytes]
    url: str

    @property
    def memory(self) -> float:
        """Return the peak memory of the server in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak is not None
        return int(peak[1]) / 1024

    @property
    def cpu(self) -> float:
        """Return the CPU seconds that the server has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def run_server(database_url: str, folder: Path, keys: Sequence[str]) -> Iterator[ServerProcess]:
    """Run `nurture admin serve` on a free port until the block ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NURTURE_")}
    environment |= {
        "NURTURE_DATABASE_URL": database_url,
        "NURTURE_SENDGRID_WEBHOOK_KEY": ",".join(keys),
        "NURTURE_MAILDIR": str(folder / "maildir"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "from nurture.cli import main; main()", "admin", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        env=environment,
        cwd=folder,
    )
    try:
        yield ServerProcess(process, _read_port(process))
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read_port(process: subprocess.Popen[bytes]) -> str:
    """Return the URL that the server prints."""
    assert process.stdout is not None
    output = b""
    while select.select([process.stdout], [], [], START_TIMEOUT)[0]:
        part = os.read(process.stdout.fileno(), 4096)
        output += part
        found = re.search(rb"http://[\d.]+:\d+", output)
        if found is not None:
            return found[0].decode()
        if not part:
            break
    raise RuntimeError(f"the server did not start: {output.decode('utf-8', 'replace')}")


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the endpoint, identified by *name*."""

    name: str
    body: bytes
    headers: Sequence[tuple[str, str]]
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; *status* 0 is a connection that ended without one."""

    request: Request
    status: int


def post_all(
    url: str, requests: Sequence[Request], connections: int = 4, *, keep_going: bool = False, path: str = PATH
) -> list[Answer]:
    """Post all requests in order on *connections*; *keep_going* continues after errors."""
    return asyncio.run(_post_all(url + path, requests, connections, keep_going=keep_going))


async def _post_all(url: str, requests: Sequence[Request], connections: int, *, keep_going: bool) -> list[Answer]:
    left = iter(requests)
    answers: list[Answer] = []
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def run_connection() -> None:
            for request in left:
                status = await _post(session, url, request)
                answers.append(Answer(request, status))
                if status == 0 and not keep_going:
                    return

        await asyncio.gather(*(run_connection() for _ in range(connections)))
    return answers


async def _post(session: aiohttp.ClientSession, url: str, request: Request) -> int:
    async def parts() -> object:
        for start in range(0, len(request.body), 65_536):
            yield request.body[start : start + 65_536]
            await asyncio.sleep(0)

    body = parts() if request.streamed else io.BytesIO(request.body)
    try:
        async with session.post(url, data=body, headers=list(request.headers)) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, ConnectionError):
        return 0


def signed(name: str, body: bytes, headers: Mapping[str, str]) -> Request:
    """Return a request with these headers."""
    return Request(name, body, list(headers.items()))
