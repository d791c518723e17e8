"""What pages send and get as files: uploads of leads, bad rows and mappings."""

from functools import partial
from pathlib import Path
from typing import Final

import anyio
from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, PlainTextResponse, Response

from nurture.console import actions
from nurture.console.access.guard import USER
from nurture.console.access.sessions import User
from nurture.console.access.sign_in import SiteDep
from nurture.console.actions import Refused, SignedOut
from nurture.console.importing import uploads
from nurture.console.importing.import_actions import UPLOAD_FILE
from nurture.console.importing.uploads import Upload
from nurture.console.lead_actions import MARKETING
from nurture.console.site import Site
from nurture.errors import InvalidState, NotFound
from nurture.files import open_private

MAX_AT_ONCE: Final = 2
"""Uploads that are received at once."""

_UPLOAD_TIMEOUT: Final = 900.0  # seconds
_WRITE_BYTES: Final = 1 << 20
_RESERVED_BYTES: Final = 10**9
"""Bytes of the disk that uploads leave free."""

_TYPES: Final = {
    uploads.BAD_ROWS: "text/csv; charset=utf-8",
    uploads.MAPPING: "application/yaml",
    uploads.LEAK_PAGE: "text/html; charset=utf-8",
}
router: Final = APIRouter()


class Receiving:
    """Counts the uploads that are received now. Used on the event loop only."""

    def __init__(self) -> None:
        self.count = 0


def _require_importer(request: Request) -> None:
    """Raise 403 for roles that do not import."""
    user: User = request.scope[USER]
    if user.role not in MARKETING:
        raise HTTPException(403)


@router.post("/import/files")
async def receive_file(request: Request, site: SiteDep, name: str = "") -> Response:
    """Keep an uploaded file, the body of the request, begin to read it, and answer with its address.

    What is checked before the file arrives is checked again by the action, when it has arrived.
    """
    receiving: Receiving = request.app.state.receiving
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > uploads.MAX_BYTES:
        return _refuse(413, _too_large())
    if receiving.count >= MAX_AT_ONCE:
        return _refuse(503, "Other files are being uploaded. Try again in a minute.")
    receiving.count += 1
    try:
        upload = await _keep(request, site, request.scope[USER], name)
    except HTTPException as error:
        return _refuse(error.status_code, error.detail)
    except (Refused, SignedOut) as error:
        return _refuse(403, str(error))
    except InvalidState as error:
        return _refuse(409, str(error))
    finally:
        receiving.count -= 1
    return PlainTextResponse(f"/import/{upload.id}")


async def _keep(request: Request, site: Site, user: User, name: str) -> Upload:
    """Write the body to a file while it arrives. Raises HTTPException, Refused, SignedOut and InvalidState."""
    spool = site.ctx.spool

    def begin() -> Upload:
        upload_id = uploads.make_id(name)
        actions.require_allowed(site.ctx, UPLOAD_FILE, user.session, upload_id, site.real_now())
        if uploads.free_bytes(spool) < _RESERVED_BYTES + uploads.MAX_BYTES:
            raise HTTPException(507, "The disk is nearly full. Tell the operator.")
        return uploads.begin(spool, upload_id, name, user.login, site.real_now())

    def finish() -> None:
        times = site.clock.now(), site.real_now()
        actions.perform(site.ctx, UPLOAD_FILE, user.session, upload.id, {}, *times)

    upload = await site.in_thread(begin)
    try:
        with anyio.fail_after(_UPLOAD_TIMEOUT):
            await _write_body(request, site, upload)
        await site.in_thread(finish)
    except BaseException as error:
        uploads.remove(upload)
        if isinstance(error, TimeoutError | ClientDisconnect):
            raise HTTPException(408, "The file did not arrive. Upload it again.") from None
        raise
    return upload


async def _write_body(request: Request, site: Site, upload: Upload) -> None:
    size, pending = 0, bytearray()

    def write(part: bytes) -> None:
        with open_private(upload.file, "ab") as file:
            file.write(part)

    async for chunk in request.stream():
        size += len(chunk)
        if size > uploads.MAX_BYTES:
            raise HTTPException(413, _too_large())
        pending += chunk
        if len(pending) >= _WRITE_BYTES:
            await site.in_thread(partial(write, bytes(pending)))
            pending.clear()
    if not size:
        raise HTTPException(409, "The file is empty. Choose another.")
    await site.in_thread(partial(write, bytes(pending)))


def _too_large() -> str:
    return f"A file has at most {uploads.MAX_BYTES // 10**6} MB. Split it, or ask the operator to import it."


def _refuse(status: int, reason: str) -> Response:
    return PlainTextResponse(reason, status)


@router.get("/import/{upload_id}/{kind}", dependencies=[Depends(_require_importer)])
async def send_file(site: SiteDep, upload_id: str, kind: str) -> Response:
    """Answer with the rows that were rejected, the mapping file or the leak report of an upload, to be saved."""
    if kind not in _TYPES:
        raise HTTPException(404)
    try:
        upload = await site.in_thread(lambda: uploads.find(site.ctx.spool, upload_id))
    except NotFound:
        raise HTTPException(404) from None
    path = upload.folder / kind
    if not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, media_type=_TYPES[kind], filename=f"{Path(upload.name).stem}.{kind}")
