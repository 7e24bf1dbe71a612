"""A table, and the four ways of writing it: text for the terminal, CSV, Markdown and LaTeX (booktabs)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stfer.storage.tables import csv_text

ENDINGS = {"text": "txt", "csv": "csv", "markdown": "md", "latex": "tex"}
_MISSING = "-"
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: its header.
        kind: "text", "count" (thousands separated), "share" (0 to 1), "difference" (a share with its sign),
            "interval" (a pair of shares), "p" (a p-value), "seconds", "signed_seconds", "factor" or "signed_count".
    """

    title: str
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    """A table with its title and the notes that belong under it.

    Attributes:
        name: of its files.
        title: one line, with the protocol where there is one.
        columns: their headers and kinds.
        rows: values as they are, unrounded; None where there is nothing.
        notes: sentences to print under it.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a row that does not fit the columns, before it is printed shifted."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.name}: a row has {len(row)} cells for {len(self.columns)} columns"
                )

    @property
    def cells(self) -> list[list[str]]:
        """Every value as a reader sees it."""
        return [
            [
                format_value(value, column.kind)
                for value, column in zip(row, self.columns, strict=True)
            ]
            for row in self.rows
        ]

    @property
    def headers(self) -> list[str]:
        """The column titles."""
        return [column.title for column in self.columns]


def format_value(value: Any, kind: str) -> str:
    """One value as a reader sees it; "-" for None."""
    if value is None:
        return _MISSING
    if kind == "interval":
        return f"{value[0]:.3f} to {value[1]:.3f}"
    if kind == "p":
        if 0.0495 <= value < 0.05:
            return "< 0.050"  # rounded, it would stand on the other side of the level
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if kind == "signed_count" and value == 0:
        return "0"
    formats = {
        "count": "{:,}",
        "signed_count": "{:+,}",
        "share": "{:.3f}",
        "difference": "{:+.3f}",
        "seconds": "{:,.2f}",
        "signed_seconds": "{:+,.2f}",
        "factor": "{:.1f} x",
        "text": "{}",
    }
    return formats[kind].format(value)


def to_text(table: Table) -> str:
    """For the terminal: aligned columns, numbers to the right."""
    lines = [table.headers, *table.cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]

    def align(cells: Sequence[str]) -> str:
        parts = [
            cell.ljust(width) if column.kind == "text" else cell.rjust(width)
            for cell, width, column in zip(cells, widths, table.columns, strict=True)
        ]
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * width for width in widths)
    body = [align(table.headers), rule, *map(align, table.cells)]
    return "\n".join([table.title, "", *body, *_spaced(table.notes)]) + "\n"


def to_csv(table: Table) -> str:
    """For a program: values unrounded, an interval as two columns, nothing where there is nothing."""
    header: list[str] = []
    for column in table.columns:
        ends = (" low", " high") if column.kind == "interval" else ("",)
        header += [column.title + end for end in ends]
    rows = []
    for row in table.rows:
        cells: list[Any] = []
        for value, column in zip(row, table.columns, strict=True):
            cells += (value or (None, None)) if column.kind == "interval" else [value]
        rows.append(["" if cell is None else cell for cell in cells])
    return csv_text(header, rows)


def to_markdown(table: Table) -> str:
    """For a README: a pipe table."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---" if column.kind == "text" else "---:" for column in table.columns]
    body = [line(table.headers), line(rule), *map(line, table.cells)]
    return "\n".join([f"**{table.title}**", "", *body, *_spaced(table.notes)]) + "\n"


def to_latex(table: Table) -> str:
    """For a paper: a table environment with booktabs rules; the title is the caption."""

    def line(cells: Sequence[str]) -> str:
        return "    " + " & ".join(map(_escape, cells)) + r" \\"

    places = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    notes = [rf"  \par\footnotesize {_escape(note)}" for note in table.notes]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_escape(table.title)}}}",
            rf"  \label{{tab:{table.name}}}",
            rf"  \begin{{tabular}}{{{places}}}",
            r"    \toprule",
            line(table.headers),
            r"    \midrule",
            *map(line, table.cells),
            r"    \bottomrule",
            r"  \end{tabular}",
            *notes,
            r"\end{table}",
            "",
        ]
    )


def write(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write each table in all four forms and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    writers = {"text": to_text, "csv": to_csv, "markdown": to_markdown, "latex": to_latex}
    written = []
    for table in tables:
        for form, writer in writers.items():
            path = folder / f"{table.name}.{ENDINGS[form]}"
            path.write_text(writer(table), encoding="utf-8")
            written.append(path)
    return written


def _spaced(notes: Sequence[str]) -> list[str]:
    return [line for note in notes for line in ("", note)]


def _escape(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(character, character) for character in text)
