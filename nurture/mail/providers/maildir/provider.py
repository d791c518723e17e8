"""The default provider: writes emails to a Maildir, readable with any mail program or browser."""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import get_ident

from nurture.domain.delivery.receipts import Accepted, NotSent, Receipt, Rejected
from nurture.errors import Misconfigured
from nurture.files import make_folder, open_private, sync_folder
from nurture.mail.rendering.mime import build_message_id, build_mime, safe_file_name
from nurture.mail.rendering.render import ComposedEmail


class MaildirProvider:
    """A Maildir at *root*. Each ref is written once, even after a mail program has moved it to cur/.

    *html_copies* also writes the HTML part to html/; *durable* flushes each file to disk before accepting it.
    """

    name = "maildir"
    max_concurrency = 200

    def __init__(self, root: Path, *, html_copies: bool = False, durable: bool = False) -> None:
        self._root = root
        self._html_copies = html_copies
        self._durable = durable
        self._filed_names: set[str] = set()
        self._cur_mtime_ns = -1
        for folder in ("", "tmp", "new", "cur", *(["html"] if html_copies else [])):
            make_folder(root / folder, owned=durable)  # `nurture doctor` does not take ownership
        if durable:
            sync_folder(root)
            with suppress(PermissionError):  # the parent folder may be executable but not readable
                sync_folder(root.absolute().parent)

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Write each email of *batch*, dated *now*; return one receipt per email, in order."""
        if now.tzinfo is None:
            raise ValueError(f"*now* must be timezone-aware, not {now!r}")
        self._scan_cur()
        receipts = [self._write(email, now) for email in batch]
        if self._durable:
            try:
                for folder in ("new", *(["html"] if self._html_copies else [])):
                    sync_folder(self._root / folder)
            except OSError as error:
                reason = f"{self._root} cannot be flushed to disk: {error.strerror or error}"
                return [NotSent(reason) if isinstance(receipt, Accepted) else receipt for receipt in receipts]
        return receipts

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Verify that *email* could be written here. Raises Misconfigured."""
        temp_path = self._root / "tmp" / f"check.{os.getpid()}.{get_ident()}"
        try:
            with open_private(temp_path, "wb") as file:
                file.write(build_mime(email, now))
            temp_path.unlink()
        except (OSError, ValueError, LookupError) as error:
            raise Misconfigured(
                f"the mailbox {self._root} cannot be written: {error}. Check NURTURE_MAILDIR."
            ) from error

    def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    def _write(self, email: ComposedEmail, now: datetime) -> Receipt:
        name = safe_file_name(email.ref)
        try:
            if f"{name}.eml" not in self._filed_names:
                self._write_once("new", f"{name}.eml", build_mime(email, now))
            if self._html_copies:
                self._write_once("html", f"{name}.html", email.html.encode())
        except (ValueError, LookupError) as error:
            return Rejected(f"{email.ref} cannot be written as an email: {error}")
        except OSError as error:
            return NotSent(f"{self._root} cannot be written: {error.strerror or error}")
        return Accepted(build_message_id(email))

    def _write_once(self, folder: str, name: str, content: bytes) -> None:
        """Write to tmp/, then hard-link: the file appears complete or not at all, and replaces no other."""
        temp_path = self._root / "tmp" / f"{name}.{os.getpid()}.{get_ident()}"
        try:
            with open_private(temp_path, "wb") as file:
                file.write(content)
                if self._durable:
                    file.flush()
                    os.fsync(file.fileno())
            with suppress(FileExistsError):
                (self._root / folder / name).hardlink_to(temp_path)
        finally:
            temp_path.unlink(missing_ok=True)

    def _scan_cur(self) -> None:
        """Read which emails mail programs have moved from new/ to cur/, if that folder changed."""
        cur = self._root / "cur"
        mtime_ns = cur.stat().st_mtime_ns
        if mtime_ns != self._cur_mtime_ns:
            self._filed_names |= {entry.name.partition(":")[0] for entry in os.scandir(cur)}
            self._cur_mtime_ns = mtime_ns
