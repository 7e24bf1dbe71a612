"""Tables as CSV text, whole or row by row."""

import csv
import io
from collections.abc import Callable, Iterable
from typing import TextIO


def csv_text(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file's text: a line of column names, then the rows, each ended by a newline alone."""
    text = io.StringIO(newline="")
    write = csv_rows(text, columns)
    for row in rows:
        write(row)
    return text.getvalue()


def csv_rows(stream: TextIO, columns: Iterable[object]) -> Callable[[Iterable[object]], object]:
    """Write the line of column names to a stream opened with `newline=""`; returns what writes a row."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    return writer.writerow


def csv_bytes(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> bytes:
    r"""`csv_text` in UTF-8; half of a surrogate pair, which a file's name can hold, becomes `\udcNN`."""
    return csv_text(columns, rows).encode("utf-8", "backslashreplace")
