from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from mailbox import Maildir
from pathlib import Path

import pytest

from nurture.domain.delivery.receipts import Accepted, NotSent
from nurture.mail.providers.maildir.provider import MaildirProvider
from tests.mail.build import PLAIN, composed

NOW = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
EMAIL = composed("Hi", layout=PLAIN)


def test_the_standard_library_reads_the_maildir(tmp_path: Path) -> None:
    MaildirProvider(tmp_path / "sent").send([EMAIL, replace(EMAIL, ref="touch:18:intro:1")], NOW)
    assert len(Maildir(tmp_path / "sent", create=False)) == 2
    assert list((tmp_path / "sent" / "tmp").iterdir()) == []


def test_an_email_moved_by_a_mail_program_is_not_written_again(tmp_path: Path) -> None:
    provider = MaildirProvider(tmp_path)
    first = provider.send([EMAIL], NOW)
    (written,) = (tmp_path / "new").iterdir()
    written.rename(tmp_path / "cur" / f"{written.name}:2,S")
    assert provider.send([EMAIL], NOW + timedelta(days=1)) == first
    assert MaildirProvider(tmp_path).send([EMAIL], NOW + timedelta(days=2)) == first
    assert list((tmp_path / "new").iterdir()) == []


def test_a_temporary_file_left_by_a_crash_does_not_block_the_next_send(tmp_path: Path) -> None:
    provider = MaildirProvider(tmp_path, durable=True)
    (tmp_path / "tmp" / "touch.17.intro.1.eml.1").write_text("half")
    assert isinstance(provider.send([EMAIL], NOW)[0], Accepted)


def test_html_copies_can_be_opened_in_a_browser(tmp_path: Path) -> None:
    MaildirProvider(tmp_path, html_copies=True).send([EMAIL, EMAIL], NOW)
    (copy,) = (tmp_path / "html").iterdir()
    assert copy.suffix == ".html"
    assert copy.read_text() == EMAIL.html


def test_a_missing_folder_is_not_sent(tmp_path: Path) -> None:
    provider = MaildirProvider(tmp_path)
    (tmp_path / "tmp").rmdir()
    (receipt,) = provider.send([EMAIL], NOW)
    assert isinstance(receipt, NotSent)
    assert "cannot be written" in receipt.reason


def test_a_naive_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="aware"):
        MaildirProvider(tmp_path).send([EMAIL], NOW.replace(tzinfo=None))


FLUSHES = """
import sys
from dataclasses import replace
from pathlib import Path
from nurture.mail.providers.maildir.provider import MaildirProvider
from tests.mail.providers.maildir.test_provider import EMAIL, NOW
seen = []
sys.addaudithook(lambda event, args: event in ("os.link", "open") and seen.append((event, str(args[0]))))
root = Path(sys.argv[1])
provider = MaildirProvider(root, html_copies=True, durable=True)
provider.send([EMAIL, replace(EMAIL, ref="touch:18:intro:1")], NOW)
links = [place for place, (event, _) in enumerate(seen) if event == "os.link"]
assert len(links) == 4, seen
after = [path for _, path in seen[links[-1] :]]
assert {str(root / "new"), str(root / "html")} <= set(after), after
"""


def test_folders_are_flushed_before_an_email_is_accepted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FLUSHES, str(tmp_path / "sent")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
