"""The default provider: writes emails into a Maildir, to be read with any mail program or browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import get_ident

from nurture.errors import Misconfigured
from nurture.files import make_folder, open_private, sync_folder
from nurture.mail.providers.base import Accepted, NotSent, Receipt, Rejected
from nurture.mail.rendering.mime import file_name, message_id, mime_bytes
from nurture.mail.rendering.render import ComposedEmail


class Mailbox:
    """A Maildir at *root*. The same ref is written once, also after a mail program has filed it under cur/.

    *html_copies* writes the HTML part to html/ as well; *durable* flushes each file to disk before it counts.
    """

    name = "mailbox"
    at_once = 200

    def __init__(self, root: Path, *, html_copies: bool = False, durable: bool = False) -> None:
        self._root = root
        self._html_copies = html_copies
        self._durable = durable
        self._filed: set[str] = set()
        self._filed_at = -1
        for folder in ("", "tmp", "new", "cur", *(["html"] if html_copies else [])):
            make_folder(root / folder, ours=durable)  # the doctor only looks
        if durable:
            sync_folder(root)
            with suppress(PermissionError):  # a folder above may be passed through, not read
                sync_folder(root.absolute().parent)

    def send(self, batch: Sequence[ComposedEmail], now: datetime) -> list[Receipt]:
        """Write each email of *batch*, dated *now*; one receipt each, in order."""
        if now.tzinfo is None:
            raise ValueError(f"a mailbox dates emails with an aware time, not {now!r}")
        self._look_into_cur()
        receipts = [self._write(email, now) for email in batch]
        if self._durable:
            try:
                for folder in ("new", *(["html"] if self._html_copies else [])):
                    sync_folder(self._root / folder)
            except OSError as error:
                reason = f"{self._root} cannot be flushed to disk: {error.strerror or error}"
                return [NotSent(reason) if isinstance(one, Accepted) else one for one in receipts]
        return receipts

    def check(self, email: ComposedEmail, now: datetime) -> None:
        """Prove that *email* could be written here. Raises Misconfigured."""
        draft = self._root / "tmp" / f"check.{os.getpid()}.{get_ident()}"
        try:
            with open_private(draft, "wb") as file:
                file.write(mime_bytes(email, now))
            draft.unlink()
        except (OSError, ValueError, LookupError) as error:
            raise Misconfigured(
                f"the mailbox {self._root} cannot be written: {error}. Check NURTURE_MAILBOX."
            ) from error

    def close(self) -> None:
        """Nothing is held open."""

    def _write(self, email: ComposedEmail, now: datetime) -> Receipt:
        name = file_name(email.ref)
        try:
            if f"{name}.eml" not in self._filed:
                self._place("new", f"{name}.eml", mime_bytes(email, now))
            if self._html_copies:
                self._place("html", f"{name}.html", email.html.encode())
        except (ValueError, LookupError) as error:
            return Rejected(f"{email.ref} cannot be written as an email: {error}")
        except OSError as error:
            return NotSent(f"{self._root} cannot be written: {error.strerror or error}")
        return Accepted(message_id(email))

    def _place(self, folder: str, name: str, content: bytes) -> None:
        """Write under tmp/, then link: whole or not at all, and never over a file that is there."""
        draft = self._root / "tmp" / f"{name}.{os.getpid()}.{get_ident()}"
        try:
            with open_private(draft, "wb") as file:
                file.write(content)
                if self._durable:
                    file.flush()
                    os.fsync(file.fileno())
            with suppress(FileExistsError):
                (self._root / folder / name).hardlink_to(draft)
        finally:
            draft.unlink(missing_ok=True)

    def _look_into_cur(self) -> None:
        """Learn what mail programs have moved from new/ to cur/, if that folder changed."""
        filed = self._root / "cur"
        changed = filed.stat().st_mtime_ns
        if changed != self._filed_at:
            self._filed |= {entry.name.partition(":")[0] for entry in os.scandir(filed)}
            self._filed_at = changed
