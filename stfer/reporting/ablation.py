"""What each change of an ablation adds: its table, its figure and its sentence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from stfer.data.folds import describe_protocol
from stfer.evaluation.paired import Gain, gain
from stfer.evaluation.significance import ALPHA, holm, smallest_corrected_p
from stfer.reporting.comparisons import counted
from stfer.reporting.figures import COLOURS, VOTE_NAMES, canvas, put_title
from stfer.reporting.runs import Run, display_name, read_runs
from stfer.reporting.scores import outcomes
from stfer.reporting.tables import Column, Table
from stfer.runs.ablation import BASE, RECORD
from stfer.storage.files import read_json


@dataclass(frozen=True)
class Step:
    """A step's finished runs, one a seed; the first step of a study is the base."""

    name: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Study:
    """An ablation as it lies on disk.

    Attributes:
        folder: where.
        steps: those that have a result, the base first.
        missing: names of those that have none yet.
        protocol: a name in `stfer.data.folds.PROTOCOLS`.
        seeds: how many every step is run with.
    """

    folder: Path
    steps: tuple[Step, ...]
    missing: tuple[str, ...]
    protocol: str
    seeds: int

    @property
    def ends(self) -> list[Run]:
        """The runs of the base and of the last step, which is all changes together once it has been made."""
        return [*self.steps[0].runs, *self.steps[-1].runs]

    @property
    def title(self) -> str:
        """Architecture, data and protocol in one line."""
        run = self.steps[0].runs[0]
        name = display_name(run.result["architecture"])
        return f"What each change adds: {name}, {run.data}, {describe_protocol(self.protocol)}"


@dataclass(frozen=True)
class Effect:
    """One step against the base.

    Attributes:
        name: of the step.
        gain: accuracy, difference, interval and raw p-value.
        p: corrected after Holm over all steps, or None with a single subject.
        seeds: how many the figures stand on.
        folds: such as "10 of 10".
    """

    name: str
    gain: Gain
    p: float | None
    seeds: int
    folds: str

    @property
    def holds(self) -> bool:
        """Whether the corrected permutation test finds the difference at the 5 % level."""
        return self.p is not None and self.p < ALPHA


def find_studies(workdir: str | Path) -> list[Study]:
    """The ablations under a folder whose base and at least one step have a result."""
    found = [read_study(file.parent) for file in sorted(Path(workdir).rglob(RECORD))]
    return [study for study in found if study is not None]


def read_study(folder: Path) -> Study | None:
    """One ablation; None while its base or all its steps are without a result."""
    record = read_json(folder / RECORD)
    steps, missing = [], []
    for step in record["steps"]:
        runs = read_runs([folder / run for run in step["runs"]])
        if runs:
            steps.append(Step(step["name"], tuple(runs)))
        else:
            missing.append(step["name"])
    if len(steps) < 2 or steps[0].name != BASE:
        return None
    return Study(folder, tuple(steps), tuple(missing), record["protocol"], len(record["seeds"]))


def effects(study: Study, vote: str) -> list[Effect]:
    """Every step against the base on the sequences that both were tested on; p-values corrected over the steps."""
    base = outcomes(study.steps[0].runs, vote)
    found = []
    for step in study.steps[1:]:
        table = outcomes(step.runs, vote)
        shared = base.index.intersection(table.index).sort_values()
        if shared.empty:
            continue
        ours, theirs = table.loc[shared], base.loc[shared]
        compared = gain(ours["right"], theirs["right"], theirs["subject"].tolist())
        used = counted(step.runs)
        found.append(Effect(step.name, compared, compared.p, len(used), used[0].folds))
    known = [i for i, effect in enumerate(found) if effect.p is not None]
    corrected = holm([p for effect in found if (p := effect.p) is not None])
    for i, p in zip(known, corrected, strict=True):
        found[i] = replace(found[i], p=p)
    return found


def effect_table(study: Study, found: Sequence[Effect], vote: str, name: str) -> Table:
    """The base, then every step with what it adds."""
    base = outcomes(study.steps[0].runs, vote)
    used = counted(study.steps[0].runs)
    accuracy = float(base["right"].mean())
    rows: list[tuple] = [
        (BASE, used[0].folds, len(used), len(base), accuracy, None, None, None, None)
    ]
    rows += [
        (
            effect.name,
            effect.folds,
            effect.seeds,
            effect.gain.sequences,
            effect.gain.accuracy,
            effect.gain.difference,
            effect.gain.interval,
            effect.p,
            "yes" if effect.holds else "no",
        )
        for effect in found
    ]
    return Table(
        name,
        f"{study.title}; vote by {VOTE_NAMES[vote]}",
        (
            Column("Change"),
            Column("Folds"),
            Column("Seeds", "count"),
            Column("Sequences", "count"),
            Column("Accuracy", "share"),
            Column("Against the base", "difference"),
            Column("95 % interval", "interval"),
            Column("p, permutation", "p"),
            Column("Holds at 5 %"),
        ),
        tuple(rows),
        tuple(_notes(study, found)),
    )


def _notes(study: Study, found: Sequence[Effect]) -> list[str]:
    notes = [
        "Each change alone on top of the base, then all of them. Interval: bootstrap over subjects, of this step "
        "alone; p: permutation test over subjects, corrected after Holm for all steps.",
        sentence(found),
    ]
    if study.seeds > 1:
        notes.append(
            "Several seeds: a sequence counts by the share of the seeds that get it right."
        )
    if study.missing:
        notes.append(f"Without a result yet: {', '.join(study.missing)}.")
    return notes


def sentence(found: Sequence[Effect]) -> str:
    """Which differences hold, or why none can."""
    subjects = max(effect.gain.subjects for effect in found)
    smallest = smallest_corrected_p(subjects, len(found))
    if smallest >= ALPHA:
        return (
            f"With {subjects} subjects and {len(found)} steps no difference can be established, however large (the "
            f"smallest p-value possible is {smallest:.3f}): more subjects are needed."
        )
    held = [
        f"{effect.name} ({100 * effect.gain.difference:+.1f} points)"
        for effect in sorted(found, key=lambda effect: -effect.gain.difference)
        if effect.holds
    ]
    if not held:
        return f"Of {len(found)} differences none holds at the 5 % level after correction."
    verb = "holds" if len(held) == 1 else "hold"
    return f"Of {len(found)} differences {len(held)} {verb} at the 5 % level after correction: {'; '.join(held)}."


def effect_figure(study: Study, found: Sequence[Effect], vote: str) -> Figure:
    """Every step's difference from the base with its interval, in the table's order; filled where it holds."""
    with canvas(6.8, 1.4 + 0.34 * len(found)) as (figure, axes):
        plot = axes[0, 0]
        places = np.arange(len(found))[::-1]
        for place, effect in zip(places, found, strict=True):
            low, high = effect.gain.interval or [effect.gain.difference] * 2
            colour = COLOURS[0] if effect.holds else COLOURS[1]
            plot.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.5)
            face = colour if effect.holds else "white"
            plot.plot(100 * effect.gain.difference, place, "o", color=colour, markerfacecolor=face)
        plot.axvline(0, color="grey", linewidth=0.8)
        plot.set_yticks(places, [effect.name for effect in found])
        plot.set_xlabel(
            "points of accuracy above the base, 95 % interval over subjects; filled: holds"
        )
        put_title(figure, f"{study.title}; vote by {VOTE_NAMES[vote]}")
    return figure
