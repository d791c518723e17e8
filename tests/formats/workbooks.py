"""Write small workbooks for tests."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

Rows = Sequence[Sequence[object]]

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_PARTS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_STYLES = (
    f'<styleSheet {_MAIN}><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22" applyNumberFormat="1"/></cellXfs>'
    "</styleSheet>"
)

OLD_WORKBOOK = zlib.decompress(
    base64.b64decode(
        "eNrtWE9IVEEY/83bXfcP7vrW1kADWYTUVALp0kXfGpgXk61LIUE93XcQ11XWDtWhLNtjEHQyugheumx1SaMOdQsKjDoEQbBbx06B"
        "QQfd1zffvifrn4MLKirze8xvvvfNNzPfvvlmZmc+L0cL8y+bitiEXnhQsoOoqdAJSkH3RQeV27YU3TxAyVY4VAgGaCBrfHgT/uSX"
        "YyjHuwgNL7zviYGflK5iCkOTGSu+jzjHPphC+tBDLPCUNBE0slf1zKPMx5ifs+Vb5gRrHjL3kG1BDGPZGOo460TxFa2FyyKQ7S5y"
        "ne+s6UYDPsgovvtIlG196MuOmemDWdDsrcUCaNwGrIyVNdMFxGgAF/DXjgMr7kx9F1f6/dULkP7fRr1/G/1jzQvMwL7OAZ5DGB89"
        "ssSHQctMTa+iDfLdwyr0T5hjaZKTg8MRwMyYidHu09ZNc2IqbYXk0sxTWd8wlcMc4rXEKdSxHOVA12mxXn3258uFkaRxjTUzvHyX"
        "F/mT0i/YuCdrUOUIl2jr3MHcyXyfWz3BchNzjJylvDXZ4AjnZ9nmAZe2Uj9nGF+Ntgq5neTc74tLzblfximS8wPF27H8N2MeLbTp"
        "pKi+fGbRJbrEkzmJ14abC2dB+MHcuGVxCGi647vt7GR1WEOIxShz+U1+HeHYi23sBdvLFu9oIfYnijw13avV4xV/nkTFdhmCgoKC"
        "goKCgoKCwgGDcP7SyzOGt3zO4IOD37nXWaNUUtckRxaXMEnPDTqY9iNDeRa3qoqf4/AJty2xwzrufaHEZeo9i3GMsB/jVccvHfxE"
        "5e/ZcUV996ZQtf2XqvFzj/v/D+O3xCc="
    )
)
"""An Excel 97 workbook: Email, PLZ; ana@c1.example, 1067."""


def write_workbook(path: Path, sheets: Mapping[str, Rows] | Rows, hidden: Sequence[str] = ()) -> Path:
    """Write an Excel workbook. A cell that begins with < is XML, one that begins with @date: is a serial date."""
    named = sheets if isinstance(sheets, Mapping) else {"Sheet1": sheets}
    state = {True: 'state="hidden"', False: ""}
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{at}" r:id="rId{at}" {state[name in hidden]}/>'
        for at, name in enumerate(named, 1)
    )
    relations = "".join(
        f'<Relationship Id="rId{at}" Type="{_PARTS}/worksheet" Target="worksheets/sheet{at}.xml"/>'
        for at in range(1, len(named) + 1)
    )
    styles = f'<Relationship Id="rId0" Type="{_PARTS}/styles" Target="styles.xml"/>'
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{_PACKAGE}/content-types"/>')
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
            f'Type="{_PARTS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml", f'<workbook {_MAIN} xmlns:r="{_PARTS}"><sheets>{listed}</sheets></workbook>'
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships">{relations}{styles}</Relationships>',
        )
        archive.writestr("xl/styles.xml", _STYLES)
        for at, rows in enumerate(named.values(), 1):
            lines = "".join(
                f'<row r="{number}">{"".join(map(_cell, row))}</row>' for number, row in enumerate(rows, 1) if row
            )
            archive.writestr(
                f"xl/worksheets/sheet{at}.xml", f"<worksheet {_MAIN}><sheetData>{lines}</sheetData></worksheet>"
            )
    return path


def _cell(value: object) -> str:
    match value:
        case bool():
            return f'<c t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f"<c><v>{value}</v></c>"
        case str() if value.startswith("@date:"):
            return f'<c s="1"><v>{value.removeprefix("@date:")}</v></c>'
        case str() if value.startswith("<"):
            return value
        case _:
            return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(str(value))}</t></is></c>'


def write_open_document(path: Path, rows: Rows) -> Path:
    """Write an OpenDocument spreadsheet of texts."""
    names = "urn:oasis:names:tc:opendocument:xmlns"
    lines = "".join(
        "<table:table-row>"
        + "".join(
            f'<table:table-cell office:value-type="string"><text:p>{escape(str(cell))}</text:p></table:table-cell>'
            for cell in row
        )
        + "</table:table-row>"
        for row in rows
    )
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", f'<manifest:manifest xmlns:manifest="{names}:manifest:1.0"/>')
        archive.writestr(
            "content.xml",
            f'<office:document-content xmlns:office="{names}:office:1.0" xmlns:table="{names}:table:1.0" '
            f'xmlns:text="{names}:text:1.0"><office:body><office:spreadsheet><table:table table:name="A">{lines}'
            "</table:table></office:spreadsheet></office:body></office:document-content>",
        )
    return path
