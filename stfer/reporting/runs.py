"""Finished run folders: reading them and checking them.

A run is one architecture, one data set, one protocol and one seed; which may be compared says
`stfer.reporting.comparisons`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stfer.evaluation.records import HISTORY_COLUMNS
from stfer.evaluation.run_folder import FORMAT
from stfer.evaluation.voting import VOTES
from stfer.training.config import identity

# The paper's order (Table I); architectures from outside come after, by name.
PAPER_ORDER = ("single_frame", "early_fusion", "late_fusion", "slow_fusion", "conv3d", "rnn")
NAMES = {
    "single_frame": "Single frame",
    "early_fusion": "Early fusion",
    "late_fusion": "Late fusion",
    "slow_fusion": "Slow fusion",
    "conv3d": "3D convolution",
    "rnn": "RNN",
}
# Settings that may differ in one comparison: the architecture with its own fields and clips, and the seed. The protocol
# is told apart by its name.
_OWN_SETTINGS = ("architecture", "model", "clip_offsets", "slide", "seed", "protocol")
_WITH = " with "
# Records of what has runs of its own, which are reported together or not at all.
_STUDIES = ("ablation.json", "nested_search.json")
_RESULT_FIELDS = (
    "architecture",
    "data",
    "folds_done",
    "folds_total",
    "votes",
    "classes",
    "protocol",
    "hardware",
)


@dataclass(frozen=True)
class Run:
    """One finished run folder.

    Attributes:
        folder: where it lies.
        config: `config.json`.
        result: `result.json`.
    """

    folder: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def architecture(self) -> str:
        """The architecture's registered name; with its fields where they are not its own, which make it another."""
        fields = self.config["settings"].get("model") or {}
        changed = ", ".join(f"{name} {as_text(value)}" for name, value in sorted(fields.items()))
        return self.result["architecture"] + (f"{_WITH}{changed}" if changed else "")

    @property
    def data(self) -> str:
        """The data set's name."""
        return self.result["data"]

    @property
    def checksum(self) -> str:
        """The checksum over the whole data set."""
        return str(self.config["data"]["checksum"])

    @property
    def protocol(self) -> str:
        """A name in `stfer.data.folds.PROTOCOLS`."""
        return self.result["protocol"]

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.result["seed"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the confusion matrix."""
        return tuple(self.result["classes"])

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What must be equal for another run to be compared; a setting that the run's version lacked at its default."""
        found = identity(self.config["settings"])
        return {name: value for name, value in found.items() if name not in _OWN_SETTINGS}

    @property
    def code(self) -> dict[str, Any]:
        """Digests of what its architecture, task and augmentation were made of, and the package's version."""
        return dict(self.config.get("code") or {})

    @property
    def complete(self) -> bool:
        """Whether every fold of the protocol is in the figures."""
        return self.result["folds_done"] == self.result["folds_total"]

    @property
    def folds(self) -> str:
        """How many folds the figures stand on, such as "5 of 12"."""
        return f"{self.result['folds_done']} of {self.result['folds_total']}"

    @property
    def hardware(self) -> str:
        """The machines that its folds were trained on, in words."""
        return "; ".join(map(hardware_text, self.result["hardware"]))

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """`predictions.csv`: a row for each sequence and vote."""
        return _read_csv(
            self.folder / "predictions.csv", ("sequence", "subject", "label", "vote", "predicted")
        )

    @cached_property
    def history(self) -> pd.DataFrame:
        """`history.csv`: a row for each fold (in `subject`) and epoch."""
        return _read_csv(
            self.folder / "history.csv",
            ("subject", *HISTORY_COLUMNS),
        )

    def of_vote(self, vote: str) -> pd.DataFrame:
        """The predictions of one vote, indexed by sequence id, with a bool column `right`."""
        rows = self.predictions[self.predictions["vote"] == vote].set_index("sequence")
        if not rows.index.is_unique:
            raise ValueError(
                f"{self.folder / 'predictions.csv'} holds a sequence twice for the vote {vote!r}"
            )
        return rows.assign(right=rows["label"] == rows["predicted"])


def read_run(folder: str | Path) -> Run:
    """Read a finished run folder and check that its files belong together.

    Args:
        folder: one that holds config.json, result.json, predictions.csv and history.csv.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is not what a run writes, or predictions.csv does not give result.json's accuracy.
    """
    folder = Path(folder)
    config = _read_json(folder / "config.json", ("format", "settings", "data"))
    if config["format"] != FORMAT:
        raise ValueError(
            f"{folder / 'config.json'} is of format {config['format']}, not {FORMAT}: another version of this package "
            "wrote the run; move it out of the folder"
        )
    result = _read_json(folder / "result.json", _RESULT_FIELDS)
    for field in ("checksum", "subjects"):
        if field not in config["data"]:
            raise ValueError(
                f"{folder / 'config.json'} lacks data.{field}: it was not written by a run"
            )
    run = Run(folder, config, {"seed": config["settings"].get("seed", 0)} | result)
    for vote in VOTES:
        if vote not in result["votes"]:
            raise ValueError(f"{folder / 'result.json'} lacks the vote {vote!r}")
        rows, stated = run.of_vote(vote), result["votes"][vote]["accuracy"]
        if rows.empty or not np.isclose(rows["right"].mean(), stated, rtol=0, atol=1e-6):
            raise ValueError(
                f"{folder / 'predictions.csv'} does not give the {vote} accuracy {stated} of result.json: the files "
                "are of different runs; run the command again"
            )
    return run


def run_folders(workdir: str | Path) -> list[Path]:
    """Every run folder under a folder, finished or begun, but for those that are parts of an ablation or a search.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise FileNotFoundError(
            f"{workdir} is not a folder; --workdir names the folder of the runs"
        )
    # Another program's result.json or config.json has nothing of a run beside it.
    beside = {"result.json": ("config.json", "folds"), "config.json": ("folds",)}
    parts = {file.parent for name in _STUDIES for file in workdir.rglob(name)}
    return sorted(
        {
            path.parent
            for name, others in beside.items()
            for path in workdir.rglob(name)
            if any((path.parent / other).exists() for other in others)
            and not parts & set(path.parents)
        }
    )


def find_runs(workdir: str | Path) -> list[Run]:
    """Every run under a folder that has a result, in the paper's order.

    Raises:
        FileNotFoundError: if there is no such folder or no finished run in it.
    """
    runs = read_runs(run_folders(workdir))
    if not runs:
        raise FileNotFoundError(
            f"{workdir} holds no finished run (no result.json); experiments.loso makes one"
        )
    return runs


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """The runs among these folders that have a result, in the paper's order; raises as `read_run`."""
    return sorted((read_run(folder) for folder in folders if _has_result(folder)), key=order)


def unfinished(folders: Iterable[Path]) -> list[tuple[Path, int]]:
    """The runs among these folders that have no result yet, each with the number of folds that are done."""
    begun = [folder for folder in folders if not _has_result(folder)]
    return [(folder, len(list(folder.glob("folds/held_out=*/fold.json")))) for folder in begun]


def _has_result(folder: Path) -> bool:
    """Whether a run has at least one finished fold in its result."""
    path = folder / "result.json"
    return path.exists() and bool(_read_json(path, _RESULT_FIELDS)["folds_done"])


def display_name(architecture: str) -> str:
    """An architecture's name for a reader; one from outside keeps its own."""
    name, with_, fields = architecture.partition(_WITH)
    return f"{NAMES.get(name, name)}{with_}{fields}"


def file_name(run: Run) -> str:
    """A name for a run's files in a report."""
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in run.architecture)
    return f"{plain}_seed{run.seed}"


def in_sentence(name: str) -> str:
    """A display name inside a sentence: "Late fusion" becomes "late fusion"; "RNN", and a name from outside, stay."""
    ours = name.partition(_WITH)[0] in NAMES.values() and not name[1:2].isupper()
    return name[:1].lower() + name[1:] if ours else name


def hardware_text(hardware: Mapping[str, Any]) -> str:
    """The machine in one phrase, from what a run recorded of it."""
    rest = {name: value for name, value in hardware.items() if name not in ("device", "backend")}
    parts = [str(hardware[name]) for name in ("device", "backend") if name in hardware]
    return ", ".join([*parts, *(f"{name} {value}" for name, value in rest.items())])


def order(run: Run) -> tuple[str, str, int, str, int]:
    """A key that sorts runs: by data and protocol, then in the paper's order, then by seed."""
    name = run.result["architecture"]
    place = PAPER_ORDER.index(name) if name in PAPER_ORDER else len(PAPER_ORDER)
    return run.data, run.protocol, place, run.architecture, run.seed


def as_text(value: Any) -> str:
    """A JSON-like value as text that equal values share."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _read_json(path: Path, fields: Iterable[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); run the command again") from None
    missing = [field for field in fields if field not in content]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it was not written by a run")
    return content


def _read_csv(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    text = dict.fromkeys(("sequence", "subject", "label", "vote", "predicted"), str)
    table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=["", "nan", "NaN"])
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{path} lacks the column {', '.join(missing)}")
    return table
