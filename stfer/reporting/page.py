"""The report as one HTML page that needs no network and no script: `page.html` and `page.css`, filled in."""

import base64
import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stfer.data.folds import describe_protocol
from stfer.evaluation.significance import Pair
from stfer.pages import fill
from stfer.reporting import summary
from stfer.reporting.comparisons import Comparison
from stfer.reporting.figures import VOTE_NAMES
from stfer.reporting.paper import FINAL_MODEL
from stfer.reporting.tables import Table
from stfer.reporting.voting_example import worked_example
from stfer.runs import repeat

_FRAMES_SHOWN = 4
_FRAME_PIXELS = 112
_PAIRS_SHOWN = 3

# Returns uint8 [time, height, width, 3] RGB frames of a sequence, or None if they are not at hand.
FrameSource = Callable[[Comparison, str], NDArray[np.uint8] | None]


@dataclass(frozen=True)
class Section:
    """What the report says of one comparison.

    Attributes:
        comparison: the runs.
        key: short and unique in the report; names files and anchors.
        pairs: paired differences by the report's vote.
        tables: summary by both votes, pairs, and seeds where there are several.
        figures: title to the figure's SVG file.
    """

    comparison: Comparison
    key: str
    pairs: Sequence[Pair]
    tables: Sequence[Table]
    figures: Mapping[str, Path]


@dataclass(frozen=True)
class AblationSection:
    """What the report says of one ablation.

    Attributes:
        key: short and unique in the report; names files and anchors.
        title: one line.
        sentence: which differences hold.
        table: what each change adds.
        figure: the SVG file of the same.
    """

    key: str
    title: str
    sentence: str
    table: Table
    figure: Path


def render(
    sections: Sequence[Section],
    *,
    paper: Sequence[Table],
    literature: Table,
    distribution: Path,
    vote: str,
    frames: FrameSource | None,
    unfinished: Sequence[tuple[Path, int]],
    ablations: Sequence[AblationSection] = (),
    speed: Table | None = None,
) -> str:
    """Fill in the page.

    Args:
        sections: one for each comparison.
        paper: Tables I to VIII.
        literature: published accuracies.
        distribution: the SVG file of the class distribution.
        vote: whose accuracy is compared.
        frames: where pictures come from; None for a page without any.
        unfinished: runs without a result and their finished folds.
        ablations: what each change of a study adds.
        speed: what was measured of a GPU.

    Returns:
        The page's HTML, with every figure and picture inside it.
    """
    return fill(
        "stfer.reporting",
        "page.html",
        title="Facial expressions over time: a comparison of architectures",
        sections=[_section(section, vote, frames) for section in sections],
        paper=paper,
        literature=literature,
        final_model=FINAL_MODEL,
        distribution=_svg(distribution),
        vote=VOTE_NAMES[vote],
        example=worked_example(),
        pictures=frames is not None,
        unfinished=[(str(folder), done) for folder, done in unfinished],
        speed=speed,
        ablations=[(part, _svg(part.figure)) for part in ablations],
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _section(section: Section, vote: str, frames: FrameSource | None) -> dict[str, Any]:
    comparison = section.comparison
    holding, open_ = summary.differences(comparison, section.pairs)
    confused = summary.confused_pairs(comparison, vote)
    figures = [(title, _svg(path)) for title, path in section.figures.items()]
    return {
        "key": section.key,
        "title": comparison.title,
        "headline": summary.headline(comparison, vote, section.pairs),
        "partial": summary.partial_notes(comparison),
        "holding": holding,
        "open": open_,
        "tables": section.tables,
        # Figures of several architectures have no colon; those of one run are folded away by run.
        "figures": [item for item in figures if ":" not in item[0]],
        "run_figures": [item for item in figures if ":" in item[0]],
        "hardest": summary.hardest_subjects(comparison, vote).reset_index().to_dict("records"),
        "confused": confused,
        "mistakes": _mistakes(comparison, vote, confused[:_PAIRS_SHOWN], frames),
        "settings": _settings(comparison),
        "commands": [repeat.command(run.config) for run in comparison.runs],
    }


def _mistakes(
    comparison: Comparison,
    vote: str,
    pairs: Sequence[summary.Confused],
    frames: FrameSource | None,
) -> list[dict[str, Any]]:
    """Some misclassified sequences of each of the most confused pairs, with pictures where there are any."""
    found = []
    for pair in pairs:
        for row in summary.misclassified(comparison, vote, pair).itertuples():
            pictures = frames(comparison, row.Index) if frames else None
            found.append(
                {
                    "sequence": row.Index,
                    "subject": row.subject,
                    "pair": pair,
                    "runs": row.runs,
                    "share": row.share,
                    "frames": _film_strip(pictures) if pictures is not None else [],
                }
            )
    return found


def _film_strip(frames: NDArray[np.uint8]) -> list[str]:
    """A few frames from the first to the apex, as JPEG data addresses.

    Args:
        frames: uint8 [time, height, width, 3], RGB.
    """
    places = np.linspace(0, len(frames) - 1, min(_FRAMES_SHOWN, len(frames))).round().astype(int)
    strip = []
    for place in places:
        small = cv2.resize(
            frames[place], (_FRAME_PIXELS, _FRAME_PIXELS), interpolation=cv2.INTER_AREA
        )
        _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        strip.append("data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode())
    return strip


def _svg(path: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def _settings(comparison: Comparison) -> list[tuple[str, str]]:
    """Data, settings, versions and hardware, each once where all the runs agree."""
    data = comparison.runs[0].config["data"]
    rows = [
        ("data", f"{comparison.data}, checksum {comparison.checksum[:16]}"),
        ("sequences, subjects", f"{data.get('sequences', '?')}, {comparison.subjects}"),
        ("classes", ", ".join(comparison.runs[0].classes)),
        ("face crop", _pairs(data.get("crop") or {})),
        ("protocol", describe_protocol(comparison.protocol)),
        *((name.replace("_", " "), str(value)) for name, value in comparison.settings.items()),
    ]
    for title, texts in (
        ("versions", [_pairs(run.config.get("versions", {})) for run in comparison.runs]),
        ("hardware", [run.hardware for run in comparison.runs]),
    ):
        rows += [(title, text) for text in dict.fromkeys(texts)]
    return rows


def _pairs(mapping: Any) -> str:
    if not isinstance(mapping, dict):
        return str(mapping)
    return ", ".join(f"{name} {value}" for name, value in mapping.items()) or "not recorded"
