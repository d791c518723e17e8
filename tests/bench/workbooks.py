"""Memory and speed of reading an Excel workbook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from tests.bench.figures import Figure, Skipped
from tests.formats.workbooks import write_workbook

ROWS, COLUMNS = 100_000, 30
_BATCH = 1_000

_MEASURE = """
import resource, sys, time
from nurture.formats.csv_reader import open_rows
start, at = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
rows = sum(1 for _ in open_rows(sys.argv[1]))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start
print(rows, (grown + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024, time.perf_counter() - at)
"""


def measure(folder: Path) -> list[Figure | Skipped]:
    """Read a workbook in a process of its own; its child, which unpacks the sheet, is measured with it."""
    path = _write(folder / "leads.xlsx")
    done = subprocess.run([sys.executable, "-c", _MEASURE, path], capture_output=True, text=True, check=True)
    rows, megabytes, seconds = map(float, done.stdout.split())
    assert rows == ROWS
    note = f"{ROWS:,} rows of {COLUMNS} cells, most of them different texts; {path.stat().st_size / 1e6:.0f} MB packed"
    return [
        Figure("xlsx_memory_mb", megabytes, "MB", maximum=400, note=note),
        Figure("xlsx_rows_per_s", ROWS / seconds, "rows/s"),
    ]


def _write(path: Path) -> Path:
    """Write a sheet with shared strings, as Excel does, without holding it in memory."""
    small = write_workbook(path.with_name("small.xlsx"), [["Email", *(f"Column {at}" for at in range(1, COLUMNS))]])
    with ZipFile(small) as source, ZipFile(path, "w", ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name).decode()
            if name == "xl/_rels/workbook.xml.rels":
                part = '<Relationship Id="rId99" Type="{}/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
                namespace = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
                content = content.replace("</Relationships>", part.format(namespace))
            if name != "xl/worksheets/sheet1.xml":
                target.writestr(name, content)
                continue
            head, tail = content.split("</sheetData>")
            with target.open(name, "w") as file:
                file.write(head.encode())
                for start in range(0, ROWS, _BATCH):
                    file.write("".join(map(_row, range(start, start + _BATCH))).encode())
                file.write(f"</sheetData>{tail}".encode())
        with target.open("xl/sharedStrings.xml", "w") as file:
            file.write(b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">')
            for row in range(ROWS):
                texts = (f"ann.{row}@firm{row % 5000}.example", *(f"value {at} of {row}" for at in range(COLUMNS - 5)))
                file.write("".join(f"<si><t>{text}</t></si>" for text in texts).encode())
            file.write(b"</sst>")
    return path


def _row(number: int) -> str:
    texts = COLUMNS - 4
    cells = [f'<c t="s"><v>{number * texts + at}</v></c>' for at in range(texts)]
    cells += [f"<c><v>{number * at}</v></c>" for at in range(4)]
    return f'<row r="{number + 2}">{"".join(cells)}</row>'
