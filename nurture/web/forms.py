"""The fields of a posted form, urlencoded or multipart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

MOST_FIELDS: Final = 20


async def fields_of(request: Request) -> Mapping[str, str]:
    """Return the text fields; of a repeated one the last. Raises 400 for a body that is no form."""
    try:
        async with request.form(max_files=0, max_fields=MOST_FIELDS, max_part_size=4096) as form:
            return {name: value.strip() for name, value in form.items() if isinstance(value, str)}
    except (ValueError, LookupError) as error:  # a broken boundary, a charset that does not exist
        raise HTTPException(400) from error


Fields = Annotated[Mapping[str, str], Depends(fields_of)]
