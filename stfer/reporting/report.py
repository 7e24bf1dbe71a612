"""A report of finished runs: tables in four forms, figures, and one page, in one folder."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from stfer.reporting import (
    ablation,
    comparison_figures,
    figures,
    page,
    paper_tables,
    summary,
    tables,
)
from stfer.reporting.comparisons import Comparison
from stfer.reporting.page import FrameSource, Section
from stfer.reporting.runs import Run, file_name
from stfer.reporting.scores import compare
from stfer.reporting.tables import Table


def write_report(
    comparisons: Sequence[Comparison],
    out: Path,
    *,
    vote: str = "summed",
    parameters: Mapping[str, int] | None = None,
    frames: FrameSource | None = None,
    unfinished: Sequence[tuple[Path, int]] = (),
    studies: Sequence[ablation.Study] = (),
    speed: Table | None = None,
) -> tuple[list[Table], list[Path]]:
    """Write the whole report.

    Args:
        comparisons: finished runs, grouped by `stfer.reporting.comparisons.comparisons`.
        out: the folder to write into.
        vote: whose accuracy is compared, "summed" or "maximum".
        parameters: trainable parameters from the models themselves, see `paper_tables.parameter_table`.
        frames: where the page gets its pictures from; None for a page without pictures.
        unfinished: runs that were begun and have no result, with their finished folds.
        studies: ablations.
        speed: what was measured of a GPU, see `stfer.reporting.speed`.

    Returns:
        The tables in reading order, and the paths written: the page first, then tables and figures.
    """
    paper = paper_tables.paper_tables(comparisons, parameters)
    literature = summary.literature_table()
    sections = [
        _section(comparison, key, out, vote)
        for comparison, key in zip(comparisons, _keys(comparisons), strict=True)
    ]
    ablations = [
        _ablation(study, f"ablation_{number}", out, vote)
        for number, study in enumerate(studies, start=1)
    ]
    shown = [table for section in sections for table in section.tables]
    shown += [part.table for part in ablations] + paper + [literature]
    shown += [speed] if speed else []
    distribution = figures.save(
        comparison_figures.distribution_figure(comparisons), out / "figures" / "classes"
    )
    written = tables.write(shown, out / "tables")
    html = page.render(
        sections,
        paper=paper,
        literature=literature,
        distribution=next(path for path in distribution if path.suffix == ".svg"),
        vote=vote,
        frames=frames,
        unfinished=unfinished,
        ablations=ablations,
        speed=speed,
    )
    index = out / "index.html"
    index.write_text(html, encoding="utf-8")
    drawn = [path for section in sections for path in section.figures.values()]
    drawn += [part.figure for part in ablations]
    drawn = [path.with_suffix(f".{ending}") for path in drawn for ending in figures.FORMATS]
    return shown, [index, *written, *distribution, *drawn]


def _ablation(study: ablation.Study, key: str, out: Path, vote: str) -> page.AblationSection:
    """An ablation's table, and its figure, drawn."""
    found = ablation.effects(study, vote)
    table = ablation.effect_table(study, found, vote, key)
    written = figures.save(ablation.effect_figure(study, found, vote), out / "figures" / key)
    drawn = next(path for path in written if path.suffix == ".svg")
    return page.AblationSection(key, study.title, ablation.sentence(found), table, drawn)


def _section(comparison: Comparison, key: str, out: Path, vote: str) -> Section:
    pairs = compare(comparison, vote)
    other = "maximum" if vote == "summed" else "summed"
    found = [
        summary.summary_table(comparison, vote, f"summary_{key}_{vote}"),
        summary.summary_table(comparison, other, f"summary_{key}_{other}"),
        summary.pair_table(comparison, vote, pairs, f"pairs_{key}_{vote}") if pairs else None,
        summary.seed_table(comparison, vote, f"seeds_{key}_{vote}"),
    ]
    folder = out / "figures" / key
    written = comparison_figures.draw_comparison(comparison, folder, vote)
    titles = {
        "accuracy": "Accuracy of every architecture",
        "subjects": "Accuracy of each subject",
        "time": "Accuracy against training time",
    }
    drawn = {titles[path.stem]: path for path in written if path.suffix == ".svg"}
    for run in comparison.runs:
        drawn |= {
            f"{title}: {figures.caption(run)}, seed {run.seed}": path
            for title, path in _run_figures(run, folder / file_name(run)).items()
        }
    return Section(comparison, key, pairs, [table for table in found if table], drawn)


def _run_figures(run: Run, folder: Path) -> dict[str, Path]:
    """Copy a run's own figures into the report, so that it stands alone; draw them where the run has none."""
    titles = {
        f"confusion_{vote}": f"Confusion matrix, {name}"
        for vote, name in figures.VOTE_NAMES.items()
    }
    titles["training"] = "Training curves"
    own = [
        run.folder / "figures" / f"{stem}.{ending}" for stem in titles for ending in figures.FORMATS
    ]
    age = (run.folder / "result.json").stat().st_mtime
    if all(path.exists() and path.stat().st_mtime >= age for path in own):
        folder.mkdir(parents=True, exist_ok=True)
        drawn = [Path(shutil.copyfile(path, folder / path.name)) for path in own]
    else:
        drawn = figures.draw_run(run.folder, folder)
    return {titles[path.stem]: path for path in drawn if path.suffix == ".svg"}


def _keys(comparisons: Sequence[Comparison]) -> list[str]:
    """A file name for each comparison: data and protocol, numbered where that is not enough."""
    keys: list[str] = []
    for comparison in comparisons:
        plain = "".join(
            c if c.isalnum() else "_" for c in f"{comparison.data}_{comparison.protocol}".lower()
        )
        taken = sum(key == plain or key.startswith(f"{plain}_v") for key in keys)
        keys.append(f"{plain}_v{taken + 1}" if taken else plain)
    return keys
