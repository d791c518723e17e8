"""Read the reply mailbox by IMAP, read-only: no flag is set and no mail deleted."""

import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from imaplib import IMAP4, IMAP4_SSL
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from nurture.errors import NurtureError
from nurture.mail.inbound.mime_parts import MAX_BYTES
from nurture.mail.inbound.raw_mail import RawMail
from nurture.mail.oauth import AccessTokens

TIMEOUT: Final = 20.0
"""Seconds for the connection and for each response."""

_UID: Final = re.compile(rb"\bUID (\d{1,20})")
_IMAP_ERRORS: Final = (IMAP4.error, OSError, ValueError)  # ssl's errors are OSErrors, Unicode's ValueErrors


class InboxUnavailable(NurtureError):
    """The reply mailbox cannot be read. Check NURTURE_IMAP_URL and that the server is reachable."""


class Inbox:
    """The folder at *url*: imaps://user:password@host:993/FOLDER; the default folder is INBOX.

    With the file *oauth* it signs in by OAuth 2.0, and *url* has no password. *context* verifies certificates, by
    default with the system's. The scheme imap: (no TLS) is for local servers.
    """

    def __init__(
        self,
        url: SecretStr,
        oauth: Path | None = None,
        *,
        context: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        parts = urlsplit(url.get_secret_value().strip())
        self._plain = parts.scheme == "imap"
        self._host = parts.hostname or ""
        self._port = parts.port or (143 if self._plain else 993)
        self._user = unquote(parts.username or "")
        self._password = SecretStr(unquote(parts.password or ""))
        self._folder = unquote(parts.path.strip("/")) or "INBOX"
        self._tokens = AccessTokens(oauth) if oauth is not None else None
        self._context = context
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"Inbox({self._host!r}, {self._port})"

    @property
    def name(self) -> str:
        """Return a hash that identifies the mailbox without naming its owner."""
        identity = "\n".join((self._host, str(self._port), self._user, self._folder))
        return sha256(identity.encode()).hexdigest()[:32]

    @contextmanager
    def open_folder(self) -> "Iterator[ImapFolder]":
        """Open the folder read-only. Raises InboxUnavailable."""
        try:
            client = self._connect()
        except _IMAP_ERRORS as error:
            raise self._unavailable("cannot be reached", error) from error
        try:
            try:
                self._log_in(client)
                folder = ImapFolder(client, _select_read_only(client, self._folder))
            except _IMAP_ERRORS as error:
                raise self._unavailable("refused the login or the folder", error) from error
            yield folder
        finally:
            _log_out(client)

    def _connect(self) -> IMAP4:
        if self._plain:
            return IMAP4(self._host, self._port, timeout=self._timeout)
        context = self._context or ssl.create_default_context()
        return IMAP4_SSL(self._host, self._port, ssl_context=context, timeout=self._timeout)

    def _log_in(self, client: IMAP4) -> None:
        if self._tokens is not None:
            self._log_in_by_token(client, self._tokens)
            return
        password = self._password.get_secret_value()
        if (self._user + password).isascii():
            client.login(self._user, password)
        else:
            client.authenticate("PLAIN", lambda _: f"\0{self._user}\0{password}".encode())

    def _log_in_by_token(self, client: IMAP4, tokens: AccessTokens) -> None:
        try:
            response = tokens.response(self._user)
        except NurtureError as error:
            raise InboxUnavailable(f"The reply mailbox at {self._host}: {error.reason}", error.remedy) from None
        answers = iter([response])  # a server that refuses it sends the reason, and waits for an empty line
        try:
            client.authenticate("XOAUTH2", lambda _: next(answers, b""))
        except IMAP4.error:
            tokens.forget()
            raise

    def _unavailable(self, problem: str, error: Exception) -> InboxUnavailable:
        # The server's own text may contain the user's name.
        return InboxUnavailable(
            f"The reply mailbox at {self._host}, port {self._port}, {problem} ({type(error).__name__}).",
            "Check NURTURE_IMAP_URL." if self._tokens is None else "Check NURTURE_IMAP_URL and NURTURE_IMAP_OAUTH.",
        )


class ImapFolder:
    """An open folder. *uid_validity* changes when the server renumbers its mails."""

    def __init__(self, client: IMAP4, uid_validity: int) -> None:
        self._client = client
        self.uid_validity = uid_validity

    def list_uids_after(self, uid: int) -> list[int]:
        """Return the UIDs greater than *uid*, ascending. Raises InboxUnavailable."""
        lines = self._run_command("SEARCH", f"UID {uid + 1}:*")  # for an empty range, IMAP returns the last mail
        numbers = {int(one) for line in lines if isinstance(line, bytes) for one in line.split() if one.isdigit()}
        return sorted(one for one in numbers if one > uid)

    def fetch(self, uids: Sequence[int]) -> list[tuple[int, RawMail]]:
        """Return the mails with *uids* that still exist, with their UIDs. Raises InboxUnavailable."""
        if not uids:
            return []
        mails: dict[int, RawMail] = {}
        response = self._run_command("FETCH", ",".join(map(str, uids)), f"(UID BODY.PEEK[]<0.{MAX_BYTES}>)")
        for index, item in enumerate(response):
            if not isinstance(item, tuple):
                continue
            after = response[index + 1] if index + 1 < len(response) else b""
            uid_match = _UID.search(item[0]) or _UID.search(after if isinstance(after, bytes) else b"")
            if uid_match is not None and int(uid_match[1]) in uids:
                mails[int(uid_match[1])] = RawMail({"email": item[1]})
        return sorted(mails.items())

    def _run_command(self, command: str, *args: str) -> list[Any]:
        try:
            status, response = self._client.uid(command, *args)
        except _IMAP_ERRORS as error:
            raise InboxUnavailable(
                f"The reply mailbox stopped responding ({type(error).__name__}).", "It is read again in the next run."
            ) from error
        if status != "OK":
            raise InboxUnavailable(f"The reply mailbox answers {command} with {status}.", "Check its server.")
        return response


def _select_read_only(client: IMAP4, folder: str) -> int:
    quoted = '"' + _encode_utf7(folder).replace("\\", "\\\\").replace('"', '\\"') + '"'
    status, _ = client.select(quoted, readonly=True)
    uid_validity = client.response("UIDVALIDITY")[1]
    if status != "OK" or not uid_validity or not uid_validity[0]:
        raise IMAP4.error("no such folder")
    return int(uid_validity[0])


def _encode_utf7(name: str) -> str:
    """Encode a folder name in IMAP's modified UTF-7."""
    encoded = ""
    for run in re.findall(r"[\x20-\x7e]+|[^\x20-\x7e]+", name):
        if run.isascii() and run.isprintable():
            encoded += run.replace("&", "&-")
        else:
            shifted = run.encode("utf-7").decode().removeprefix("+").removesuffix("-")
            encoded += f"&{shifted.replace('/', ',')}-"
    return encoded


def _log_out(client: IMAP4) -> None:
    try:
        client.logout()
    except _IMAP_ERRORS:
        client.shutdown()
