"""Read the fields of a posted form, urlencoded or multipart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from nurture.web.auth import Principal, authorize

MAX_FIELDS: Final = 20
_UNDECLARED_TYPES: Final = frozenset({"", "text/plain"})


async def read_fields(request: Request, _principal: Annotated[Principal, Depends(authorize)]) -> Mapping[str, str]:
    """Return the text fields of an authorized request; the last value of a repeated field. Raises 400 if invalid."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type in _UNDECLARED_TYPES:  # mail programs post one-click unsubscribes with any type
            text = (await request.body()).decode("latin-1")
            return {name: value.strip() for name, value in parse_qsl(text, max_num_fields=MAX_FIELDS)}
        async with request.form(max_files=0, max_fields=MAX_FIELDS, max_part_size=4096) as form:
            return {name: value.strip() for name, value in form.items() if isinstance(value, str)}
    except (ValueError, LookupError) as error:  # a broken boundary, an unknown charset
        raise HTTPException(400) from error


FormFields = Annotated[Mapping[str, str], Depends(read_fields)]
