"""Tables I to VIII: the paper's numbers, ours beside them, and the difference."""

from collections.abc import Mapping, Sequence
from typing import Any

from stfer.reporting.comparisons import Comparison, counted
from stfer.reporting.paper import (
    PAPER,
    PAPER_CLASSES,
    PAPER_HARDWARE,
    PAPER_PROTOCOL,
    PAPER_SETS,
    PAPER_TRAINING,
    TABLE_VI_NOTE,
    paper_set,
)
from stfer.reporting.runs import display_name
from stfer.reporting.scores import Score, score
from stfer.reporting.tables import Column, Table


def paper_tables(
    comparisons: Sequence[Comparison], parameters: Mapping[str, int] | None = None
) -> list[Table]:
    """Tables I to VIII.

    Args:
        comparisons: finished runs; an architecture that has none shows the paper's numbers alone.
        parameters: architecture to the trainable parameters of the model with as many classes as the paper's
            count, taken from the models themselves; None leaves the column empty.
    """
    accuracy = [accuracy_table(architecture, comparisons) for architecture in PAPER]
    return [parameter_table(parameters or {}), *accuracy, time_table(comparisons)]


def parameter_table(parameters: Mapping[str, int]) -> Table:
    """Table I."""
    rows = []
    for name, paper in PAPER.items():
        ours = parameters.get(name)
        difference = None if ours is None else ours - paper.parameters
        rows.append((display_name(name), paper.classes, ours, paper.parameters, difference))
    return Table(
        "table_1",
        "Table I: trainable parameters of each architecture",
        (
            Column("Architecture"),
            Column("Classes", "count"),
            Column("Ours", "count"),
            Column("Paper", "count"),
            Column("Difference", "signed_count"),
        ),
        tuple(rows),
        ("Counted with the number of classes that the paper's own counts fit.",),
    )


def accuracy_table(architecture: str, comparisons: Sequence[Comparison]) -> Table:
    """One of Tables II to VII: an architecture's accuracies, a row for each vote and data set."""
    paper = PAPER[architecture]
    rows: list[tuple[Any, ...]] = []
    notes: list[str] = []
    for vote, published in paper.votes.items():
        found = [c for c in comparisons if architecture in c.by_architecture]
        if not found:
            rows.append(
                (
                    _row_name(architecture, vote),
                    "not run",
                    *(None,) * 4,
                    *_beside(None, published, None),
                )
            )
        for comparison in found:
            ours = score(comparison.by_architecture[architecture], vote)
            rows.append(
                (
                    _row_name(architecture, vote),
                    comparison.label,
                    comparison.protocol.upper(),
                    ours.folds,
                    ours.accuracy,
                    ours.interval,
                    *_beside(_comparable(comparison, ours), published, papers_own(comparison)),
                )
            )
    notes += protocol_notes(comparisons)
    if architecture == "conv3d":
        notes.append(TABLE_VI_NOTE)
    number = {"II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7}[paper.table]
    return Table(
        f"table_{number}",
        f"Table {paper.table}: accuracy of {display_name(architecture)} (paper: {PAPER_PROTOCOL})",
        (
            Column("Architecture and vote"),
            Column("Our data"),
            Column("Protocol"),
            Column("Folds"),
            Column("Ours", "share"),
            Column("95 % interval", "interval"),
            *(
                column
                for name in PAPER_SETS
                for column in (Column(f"Paper {name}", "share"), Column("Difference", "difference"))
            ),
        ),
        tuple(rows),
        tuple(notes),
    )


def time_table(comparisons: Sequence[Comparison]) -> Table:
    """Table VIII: training seconds a subject, with the machine named."""
    rows: list[tuple[Any, ...]] = []
    machines: dict[str, str] = {}
    for architecture, paper in PAPER.items():
        found = [c for c in comparisons if architecture in c.by_architecture]
        if not found:
            rows.append((display_name(architecture), "not run", *(None,) * 4, *paper.seconds, None))
        for comparison in found:
            runs = counted(comparison.by_architecture[architecture])
            ours = score(runs, "summed")
            for run in runs:
                machines.setdefault(run.hardware, chr(ord("A") + len(machines)))
            which = " ".join(sorted({machines[run.hardware] for run in runs}))
            of_sets: dict[str | None, float] = dict(zip(PAPER_SETS, paper.seconds, strict=True))
            published = of_sets.get(papers_own(comparison))
            trained = (comparison.settings.get("epochs"), comparison.settings.get("batch_size"))
            difference = None
            if (
                published is not None
                and ours.seconds is not None
                and _comparable(comparison, ours) is not None
                and trained == PAPER_TRAINING
            ):
                difference = ours.seconds - published
            rows.append(
                (
                    display_name(architecture),
                    comparison.label,
                    comparison.protocol.upper(),
                    ours.folds,
                    which,
                    ours.seconds,
                    *paper.seconds,
                    difference,
                )
            )
    named = [f"Machine {letter}: {hardware}." for hardware, letter in machines.items()]
    return Table(
        "table_8",
        f"Table VIII: training seconds a subject (paper: LOSO, {PAPER_HARDWARE})",
        (
            Column("Architecture"),
            Column("Our data"),
            Column("Protocol"),
            Column("Folds"),
            Column("Machine"),
            Column("Ours, s", "seconds"),
            *(Column(f"Paper {name}, s", "seconds") for name in PAPER_SETS),
            Column("Difference, s", "signed_seconds"),
        ),
        tuple(rows),
        (
            *named,
            *protocol_notes(comparisons),
            "Under k-fold the seconds are of one fold, not of one subject. There is a difference for the paper's data, "
            "protocol, epochs and batch size alone.",
        ),
    )


def protocol_notes(comparisons: Sequence[Comparison]) -> list[str]:
    """What each set's numbers stand on, and whether they can be set against the paper's."""
    notes = []
    for comparison in comparisons:
        settings = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in comparison.settings.items())
        note = f"{comparison.label}: {comparison.protocol_text}; {settings}."
        if papers_own(comparison) is None:
            note += " Other data than the paper's: a difference to the paper says nothing about reproducing it."
        if comparison.protocol != "loso":
            note += " Another protocol than the paper's, so no difference is shown."
        if not all(run.complete for run in comparison.runs):
            note += " No difference is shown where folds are lacking."
        notes.append(note)
    return list(dict.fromkeys(notes))


def papers_own(comparison: Comparison) -> str | None:
    """Which of the paper's two sets a comparison is on, or None: by name, six classes, and strong visible light."""
    run, name = comparison.runs[0], paper_set(comparison.data)
    if len(run.classes) != PAPER_CLASSES:
        return None
    strong = run.of_vote("summed").index.str.endswith("_VL_Strong")
    return None if name == "Oulu-CASIA" and not strong.all() else name


def _comparable(comparison: Comparison, ours: Score) -> float | None:
    """The accuracy, where it may be set against the paper's: every fold, leave one subject out."""
    return ours.accuracy if ours.complete and comparison.protocol == "loso" else None


def _row_name(architecture: str, vote: str) -> str:
    several = len(PAPER[architecture].votes) > 1
    return f"{display_name(architecture)}, {vote}" if several else display_name(architecture)


def _beside(
    ours: float | None, published: tuple[float, float], same: str | None
) -> list[float | None]:
    """The paper's accuracy and the difference to it, for each of its sets.

    Data that is one of the paper's sets is set against that one alone; other data against both, which a note
    under the table puts into its place.
    """
    cells: list[float | None] = []
    for name, accuracy in zip(PAPER_SETS, published, strict=True):
        shown = None if ours is None or same not in (None, name) else ours - accuracy
        cells += [accuracy, shown]
    return cells
