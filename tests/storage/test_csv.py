"""Tables as CSV: what Python's own reader gives back."""

import csv
import io

from stfer.storage.tables import csv_bytes, csv_text


def test_any_cell_comes_back():
    rows = [("comma,", 'quo"te'), ("line\nbreak", ""), ("Zoë", "1.5")]
    text = csv_text(("a", "b"), rows)
    assert text.splitlines()[0] == "a,b"
    assert "\r" not in text
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["a", "b"], *map(list, rows)]
    assert csv_text(("n", "none"), [(0.1, None)]) == "n,none\n0.1,\n"


def test_a_name_that_is_no_text_becomes_an_escape():
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert csv_bytes(["name"], [[name]]) == b"name\ncaf\\udce9\n"
