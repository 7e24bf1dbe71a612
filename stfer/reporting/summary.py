"""What a comparison says: its summary tables, its sentences, the hardest subjects and the most confused pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stfer.evaluation.significance import ALPHA, METHODS, Pair, smallest_corrected_p
from stfer.reporting.comparisons import Comparison, counted
from stfer.reporting.paper import LITERATURE
from stfer.reporting.runs import display_name, in_sentence
from stfer.reporting.scores import Score, outcomes, score
from stfer.reporting.tables import Column, Table, format_value


@dataclass(frozen=True)
class Confused:
    """Two classes that are taken for each other.

    Attributes:
        label: the true class.
        predicted: what it is taken for.
        count: how often, over all architectures and seeds.
        total: how many predictions there are for sequences of `label`.
    """

    label: str
    predicted: str
    count: int
    total: int


def summary_table(comparison: Comparison, vote: str, name: str) -> Table:
    """Every architecture's figures by one vote, on one set under one protocol."""
    rows = []
    for architecture, runs in comparison.by_architecture.items():
        ours = score(runs, vote)
        rows.append(
            (
                display_name(architecture),
                ours.folds,
                ours.sequences,
                ours.accuracy,
                ours.interval,
                ours.subject_mean,
                ours.recall,
                ours.macro_f1,
                ours.parameters,
                ours.seconds,
            )
        )
    notes = [
        "Interval: 95 %, bootstrap over subjects (2,000 resamples). Always naming the commonest class would give "
        f"{format_value(comparison.chance, 'share')}.",
        *partial_notes(comparison),
    ]
    return Table(
        name,
        f"{comparison.title}: all architectures, vote by {vote} probability",
        (
            Column("Architecture"),
            Column("Folds"),
            Column("Sequences", "count"),
            Column("Accuracy", "share"),
            Column("95 % interval", "interval"),
            Column("Mean over subjects", "share"),
            Column("Unweighted recall", "share"),
            Column("Macro F1", "share"),
            Column("Parameters", "count"),
            Column("Training, s a fold", "seconds"),
        ),
        tuple(rows),
        tuple(notes),
    )


def partial_notes(comparison: Comparison) -> list[str]:
    """A warning for each run that does not stand on every fold, and for seeds of unlike code."""
    notes = []
    for runs in comparison.by_architecture.values():
        used = counted(runs)
        for run in runs:
            if not run.complete:
                out = "" if run in used else "; fewer than another seed, so it is left out"
                name = display_name(run.architecture)
                notes.append(f"Partial: {name}, seed {run.seed}, stands on {run.folds} folds{out}.")
        if any(run.code != used[0].code for run in used):
            seeds = ", ".join(str(run.seed) for run in used)
            notes.append(
                f"Unlike code: {display_name(runs[0].architecture)}'s seeds {seeds} were trained by unlike versions "
                "of its code, so their spread is not that of the seeds alone."
            )
    return notes


def pair_table(comparison: Comparison, vote: str, pairs: Sequence[Pair], name: str) -> Table:
    """Every two architectures by one vote: the difference and whether it holds."""
    rows = [
        (
            pair.better,
            pair.worse,
            pair.sequences,
            f"{pair.subjects} of {comparison.subjects}",
            pair.difference,
            pair.interval,
            pair.permutation,
            pair.mcnemar,
            f"{pair.only_better} : {pair.only_worse}",
            "yes" if pair.holds else "no",
        )
        for pair in sorted(pairs, key=lambda pair: -pair.difference)
    ]
    notes = [f"{text[0].upper()}{text[1:]}." for text in METHODS.values()]
    notes.append("An interval is of its pair alone; the p-values are corrected for all pairs.")
    if len(comparison.counted) > len(comparison.by_architecture):
        notes.append(
            "Several seeds: a sequence counts by the share of seeds that get it right; McNemar takes the "
            "lowest of them alone."
        )
    return Table(
        name,
        f"{comparison.title}: paired differences in accuracy, vote by {vote} probability",
        (
            Column("Better"),
            Column("Worse"),
            Column("Sequences", "count"),
            Column("Subjects"),
            Column("Difference", "difference"),
            Column("95 % interval", "interval"),
            Column("p, permutation", "p"),
            Column("p, McNemar", "p"),
            Column("Only one right"),
            Column("Holds at 5 %"),
        ),
        tuple(rows),
        tuple(notes),
    )


def seed_table(comparison: Comparison, vote: str, name: str) -> Table | None:
    """Mean and spread over seeds, or None if no architecture has several."""
    rows = []
    for architecture, runs in comparison.by_architecture.items():
        ours = score(runs, vote)
        if ours.seeds > 1:
            seeds = ", ".join(str(run.seed) for run in counted(runs))
            row = (ours.accuracy, ours.deviation, ours.lowest, ours.highest)
            rows.append((display_name(architecture), seeds, ours.folds, *row))
    if not rows:
        return None
    return Table(
        name,
        f"{comparison.title}: accuracy over seeds, vote by {vote} probability",
        (
            Column("Architecture"),
            Column("Seeds"),
            Column("Folds"),
            Column("Mean", "share"),
            Column("Standard deviation", "share"),
            Column("Lowest", "share"),
            Column("Highest", "share"),
        ),
        tuple(rows),
    )


def literature_table() -> Table:
    """Published figures for context, apart from ours and each with its protocol."""
    rows = [
        (w.source, w.method, w.data, w.quoted, w.stated, w.protocol, w.known) for w in LITERATURE
    ]
    return Table(
        "literature",
        "Published figures, for context only: other protocols, other data cuts",
        (
            Column("Source"),
            Column("Method"),
            Column("Data"),
            Column("As our paper quotes it", "share"),
            Column("As the source states it", "share"),
            Column("Protocol"),
            Column("Known from"),
        ),
        tuple(rows),
        (
            "Accuracies, but for [8], whose score is a correlation. The paper quotes them in its section III; where it "
            "and the source differ, the source counts. They use other splits, often pretrained networks or landmarks, "
            "and must not be read in one column with leave-one-subject-out numbers.",
        ),
    )


def pair_sentence(pair: Pair, comparison: Comparison, pairs: int) -> str:
    """One difference of so many pairs in a sentence: by how many points, how sure, and whether it holds."""
    points = round(100 * pair.difference)
    apart = "1 point" if points == 1 else f"{points} points"
    if pair.interval is None:
        return (
            f"{pair.better} and {pair.worse}: {apart} apart on {pair.sequences} sequences of one subject, "
            "from which nothing follows."
        )
    low, high = (round(100 * end) for end in pair.interval)
    p = format_value(pair.permutation, "p")
    p = f"p {p}" if p.startswith("<") else f"p = {p}"
    corrected = f" after Holm's correction for {pairs} pairs" if pairs > 1 else ""
    measured = f"95 % interval of this pair {low} to {high}; {p}{corrected}"
    if pair.subjects < comparison.subjects:
        measured = f"{pair.subjects} of {comparison.subjects} subjects; {measured}"
    if pair.holds:
        return f"{pair.better} above {in_sentence(pair.worse)} by {apart} ({measured})."
    both = f"{pair.better} and {in_sentence(pair.worse)}"
    return f"{both}: {apart} apart, which is not established ({measured})."


def differences(comparison: Comparison, pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    """The pairs in sentences, largest difference first: those that hold, and those that are not established."""
    held: dict[bool, list[str]] = {True: [], False: []}
    for pair in sorted(pairs, key=lambda pair: -pair.difference):
        held[pair.holds].append(pair_sentence(pair, comparison, len(pairs)))
    return held[True], held[False]


def headline(comparison: Comparison, vote: str, pairs: Sequence[Pair]) -> list[str]:
    """The comparison in a few sentences for a person who reads nothing else."""
    scores = {name: score(runs, vote) for name, runs in comparison.by_architecture.items()}
    ranked = sorted(scores, key=lambda name: -scores[name].accuracy)
    best = scores[ranked[0]]
    interval = (
        best.interval
        and f" (95 % interval {100 * best.interval[0]:.0f} to {100 * best.interval[1]:.0f} %)"
    )
    on = f"{best.sequences} sequences, {best.folds} folds"
    sentences = [
        f"Highest: {in_sentence(display_name(ranked[0]))} with {100 * best.accuracy:.0f} % of sequences right"
        f"{interval or ''}, on {on}."
    ]
    if len(ranked) > 1:
        order = ", ".join(_ranked_name(name, scores[name]) for name in ranked)
        sentences.append(f"In order: {order}.")
        if len({frozenset(run.predictions["sequence"]) for run in comparison.counted}) > 1:
            sentences.append(
                "They were not all tested on the same sequences, so this order is provisional; the differences "
                "below are of the sequences that both were tested on."
            )
        sentences.append(_held_sentence(pairs))
    low = [
        f"{in_sentence(display_name(name))} ({100 * scores[name].chance:.0f} %)"
        for name in ranked
        if (ends := scores[name].interval) and ends[0] <= scores[name].chance
    ]
    if low:
        sentences.append(
            "Not clearly above always naming the commonest class (the interval reaches that share): "
            f"{', '.join(low)}."
        )
    return sentences


def _held_sentence(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return "No two of them were tested on the same sequences, so none can be compared."
    subjects = max(pair.subjects for pair in pairs)
    smallest = smallest_corrected_p(subjects, len(pairs))
    if smallest >= ALPHA:
        people = "1 subject" if subjects == 1 else f"{subjects} subjects"
        several = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
        return (
            f"With {people} and {several} no difference can be established, however large (the smallest p-value "
            f"possible is {smallest:.3f}): more subjects are needed."
        )
    held = sum(pair.holds for pair in pairs)
    level = "at the 5 % level after correction"
    if len(pairs) == 1:
        return f"The difference {'holds' if held else 'is not established'} {level}."
    verb = "hold" if held > 1 else "holds"
    return (
        f"Of {len(pairs)} differences between two architectures, {held or 'none'} {verb} {level}."
    )


def _ranked_name(architecture: str, ours: Score) -> str:
    partial = "" if ours.complete else f" ({ours.folds} folds)"
    return f"{in_sentence(display_name(architecture))} {100 * ours.accuracy:.0f} %{partial}"


def hardest_subjects(comparison: Comparison, vote: str, number: int = 8) -> pd.DataFrame:
    """The subjects with the lowest accuracy, averaged over architectures.

    Returns:
        Indexed by subject, hardest first: `accuracy` (0 to 1), `sequences`, `architectures` (how many tested it).
    """
    means = [
        outcomes(runs, vote).groupby("subject")["right"].agg(["mean", "size"])
        for runs in comparison.by_architecture.values()
    ]
    table = pd.concat(means)
    grouped = table.groupby(level=0)
    ranked = pd.DataFrame(
        {
            "accuracy": grouped["mean"].mean(),
            "sequences": grouped["size"].max(),
            "architectures": grouped.size(),
        }
    )
    return ranked.sort_values("accuracy", kind="stable").head(number)


def confused_pairs(comparison: Comparison, vote: str, number: int = 6) -> list[Confused]:
    """The classes most often taken for another, summed over all runs, by their share of the true class."""
    results = [run.result["votes"][vote] for run in comparison.counted]
    matrices = [np.array(figures["confusion_matrix"]) for figures in results]
    matrix = np.sum(matrices, axis=0)
    totals = matrix.sum(axis=1)
    classes = comparison.runs[0].classes
    pairs = [
        Confused(classes[row], classes[column], int(matrix[row, column]), int(totals[row]))
        for row, column in np.argwhere(matrix > 0)
        if row != column
    ]
    return sorted(pairs, key=lambda pair: (-pair.count / pair.total, pair.label))[:number]


def misclassified(
    comparison: Comparison, vote: str, pair: Confused, number: int = 2
) -> pd.DataFrame:
    """The sequences that most runs take for the pair's wrong class, surest first.

    Returns:
        Indexed by sequence id: `subject`, `runs` (how many runs are wrong in this way), `share` (mean over those
        of what the vote gave the wrong class).
    """
    found = []
    for run in comparison.counted:
        table = run.of_vote(vote)
        wrong = table[(table["label"] == pair.label) & (table["predicted"] == pair.predicted)]
        found.append(wrong.assign(share=wrong[pair.predicted].astype(float))[["subject", "share"]])
    grouped = pd.concat(found).groupby(level=0)
    table = grouped.agg(
        subject=("subject", "first"), runs=("share", "size"), share=("share", "mean")
    )
    return table.sort_values(["runs", "share"], ascending=False, kind="stable").head(number)
