"""The fields of a posted form, urlencoded or multipart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from nurture.web.auth import Admitted, admit

MOST_FIELDS: Final = 20
_NAMELESS: Final = frozenset({"", "text/plain"})


async def fields_of(request: Request, _admitted: Annotated[Admitted, Depends(admit)]) -> Mapping[str, str]:
    """Return the text fields, of a repeated one the last; only of who was let in. Raises 400 for no form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind in _NAMELESS:  # a click to unsubscribe counts, whatever its mail program calls it
            sent = (await request.body()).decode("latin-1")
            return {name: value.strip() for name, value in parse_qsl(sent, max_num_fields=MOST_FIELDS)}
        async with request.form(max_files=0, max_fields=MOST_FIELDS, max_part_size=4096) as form:
            return {name: value.strip() for name, value in form.items() if isinstance(value, str)}
    except (ValueError, LookupError) as error:  # a broken boundary, a charset that does not exist
        raise HTTPException(400) from error


Fields = Annotated[Mapping[str, str], Depends(fields_of)]
