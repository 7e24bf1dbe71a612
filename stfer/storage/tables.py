"""Tables as CSV text."""

import csv
import io
from collections.abc import Iterable


def csv_text(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file's text: a line of column names, then the rows, each ended by a newline alone."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def csv_bytes(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> bytes:
    """`csv_text` in UTF-8; half of a surrogate pair, which a file's name can hold, becomes `\\udcNN`."""
    return csv_text(columns, rows).encode("utf-8", "backslashreplace")
