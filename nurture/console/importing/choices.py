"""What a user chose about an uploaded file, kept as the mapping file that `nurture leads import` reads, too."""

from typing import Any, Final

import orjson
from ruamel.yaml import YAML

from nurture.console.importing.uploads import Upload
from nurture.domain.fields import Fields
from nurture.errors import FileUnreadable, InvalidState
from nurture.files import write_private
from nurture.formats.column_mapping import load_mapping

SAVED_FOLDER: Final = "mappings"
"""The folder, among the uploads, of the mappings of files that were imported; they hold names of columns only."""

RECOGNIZED: Final = "as recognized"
"""The choice that takes back another one."""


def choose(upload: Upload, section: str, name: str, value: str, declared: Fields) -> None:
    """Write one choice to the mapping file; `RECOGNIZED` removes it. Raises InvalidState, and then changes nothing.

    *section* is ``columns`` or ``constants``; "" sets *name* itself.
    """
    before = upload.mapping.read_text("utf-8") if upload.mapping.exists() else ""
    content: dict[str, Any] = YAML(typ="safe").load(before) or {}
    place = content.setdefault(section, {}) if section else content
    if value == RECOGNIZED:
        place.pop(name, None)
    else:
        place[name] = value
    _write(upload, content)
    try:
        load_mapping(upload.mapping, declared)
    except FileUnreadable as error:
        _restore(upload, before)
        raise InvalidState(str(error).replace(str(upload.mapping), "The mapping")) from error


def _restore(upload: Upload, before: str) -> None:
    if before:
        write_private(upload.mapping, before)
    else:
        upload.mapping.unlink()


def _write(upload: Upload, content: dict[str, Any]) -> None:
    lines = ["# Columns of the file and what they become. Use it with `nurture leads import FILE --mapping`, too."]
    for key, value in content.items():
        if isinstance(value, dict):
            lines += [f"{key}:", *(f"  {_quote(name)}: {_quote(target)}" for name, target in value.items())]
        else:
            lines.append(f"{key}: {_quote(value)}")
    write_private(upload.mapping, "\n".join(lines) + "\n")


def _quote(value: Any) -> str:
    """Return a value as JSON, which is also YAML."""
    return orjson.dumps(value).decode()
