"""What `experiments.benchmark --what=gpu` measured of a card, as one table.

The figures are a JSON object with `parts`: from a part's name (`networks:ARCHITECTURE`, `subject:ARCHITECTURE`, ...)
to its `result` or its `error`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stfer.reporting.paper import PAPER, PAPER_HARDWARE
from stfer.reporting.runs import display_name
from stfer.reporting.tables import Column, Table
from stfer.storage.files import read_json

FILE = "gpu.json"
_PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
_FOLDS = ("2", "4", "8")
_EPOCHS = 200
_SETTINGS = ("batch_size", "size", "epochs", "tiny")
_COLUMNS = (
    Column("Architecture"),
    Column("Precision"),
    Column("Step, ms", "seconds"),
    Column("step, PyTorch eager", "seconds"),
    Column("step, PyTorch compiled", "seconds"),
    Column("Forward, ms", "seconds"),
    Column("forward, PyTorch eager", "seconds"),
    Column("forward, PyTorch compiled", "seconds"),
    Column("Share of the limit", "share"),
    Column("Peak GB", "seconds"),
    Column("Subject, s", "seconds"),
    *(Column(f"{count} folds a device", "seconds") for count in _FOLDS),
    Column("Paper, s", "seconds"),
)


def read(file: str | Path) -> dict[str, Any]:
    """Read the figures.

    Raises:
        ValueError: The file holds something else.
    """
    found = read_json(file)
    lacking = "it has no parts"
    if isinstance(found, dict) and isinstance(found.get("parts"), dict):
        absent = [name for name in _SETTINGS if name not in found.get("settings", {})]
        if not absent:
            return found
        lacking = f"its settings lack {', '.join(absent)}"
    raise ValueError(f"{file} is no result of experiments.benchmark --what=gpu: {lacking}")


def find(folder: str | Path) -> dict[str, Any] | None:
    """The figures that lie in a folder of runs as `gpu.json`, or None."""
    file = Path(folder) / FILE
    return read(file) if file.is_file() else None


def table(figures: Mapping[str, Any]) -> Table:
    """The figures of every architecture and precision; "-" for what was not measured."""
    parts = figures["parts"]
    results = {name: part["result"] for name, part in parts.items() if "result" in part}
    known = {name.partition(":")[2] for name in results} - {""}
    architectures = [name for name in PAPER if name in known] + sorted(known - set(PAPER))
    rows = [
        _row(results, architecture, precision)
        for architecture in architectures
        for precision in _PRECISIONS
    ]
    card = results.get("device", {}).get("device", "a device without a name")
    title = f"Speed on {card}: a batch of {figures['settings']['batch_size']} clips"
    return Table("speed", title, _COLUMNS, tuple(rows), tuple(_notes(figures, results)))


def _row(results: Mapping[str, Any], architecture: str, precision: str) -> tuple[Any, ...]:
    network = results.get(f"networks:{architecture}", {})
    measured = network.get("precisions", {}).get(precision, {})
    contenders = measured.get("contenders", {})

    def milliseconds(what: str) -> list[float | None]:
        found = [contenders.get(name) for name in ("ours", "torch_eager", "torch_compiled")]
        return [one and 1000 * one[what]["median_seconds"] for one in found]

    ours, rate = contenders.get("ours"), measured.get("matrix_product_rate")
    limit = peak = None
    if ours:
        memory = ours["memory"]["device"]
        peak = memory and memory / 1e9
        if rate:
            limit = network["operations"]["training"] / (rate * ours["loop"]["median_seconds"])
    alone = results.get(f"subject:{architecture}", {}).get(precision, {})
    beside = results.get(f"folds:{architecture}", {}) if precision == "float32" else {}
    paper = PAPER.get(architecture)
    return (
        display_name(architecture),
        precision,
        *milliseconds("step"),
        *milliseconds("forward"),
        limit,
        peak,
        alone.get("seconds_a_subject"),
        *(beside.get(count, {}).get("seconds_a_subject") for count in _FOLDS),
        paper.seconds[0] if paper else None,
    )


def _notes(figures: Mapping[str, Any], results: Mapping[str, Any]) -> list[str]:
    """What the columns mean, and what is not in them."""
    settings, parts = figures["settings"], figures["parts"]
    notes = [
        f"Subject: training at CK+'s size, 198 sequences, {_EPOCHS} epochs; {settings['epochs']} epochs were "
        "measured and scaled. Folds a device: float32, seconds a subject where so many folds train side by side. "
        f"Paper: its Table VIII, CK+, on one {PAPER_HARDWARE}. Limit: the rate of a large matrix product, counting the "
        "plain formula's operations. Steps and forward passes: medians, clips on the device.",
    ]
    if settings["tiny"]:
        notes.append(
            "The networks were tiny ones: this tries the measurement and says nothing of speed."
        )
    if tests := results.get("tests"):
        counted = ", ".join(f"{count} {word}" for word, count in tests["counts"].items())
        failed = f": {'; '.join(tests['failed'])}" if tests["failed"] else ""
        notes.append(f"Tests on the device: {counted}{failed}.")
    if found := results.get("accuracy"):
        notes.append(
            f"{display_name(found['architecture'])}, {found['folds']} folds, {found['sequences']} sequences: accuracy "
            f"{found['float32']:.3f} in float32 and {found['bfloat16']:.3f} in bfloat16; {found['same_class']:.1%} of "
            f"the sequences get the same class, and probabilities differ by at most {found['largest_difference']:.2g}."
        )
    notes += _absent(results)
    notes += [
        f"Not measured: {name}: {part['error']}" for name, part in parts.items() if "error" in part
    ]
    return notes


def _absent(results: Mapping[str, Any]) -> list[str]:
    """Each reason why a contender or a training is missing, once, with where."""
    where: dict[str, list[str]] = {}
    for name, result in results.items():
        if name.startswith("networks:"):
            for precision, measured in result["precisions"].items():
                for contender, reason in measured["absent"].items():
                    sentence = f"Absent: {contender}: {reason}"
                    where.setdefault(sentence, []).append(f"{name} {precision}")
        elif name.startswith(("subject:", "folds:")):
            for which, measured in result.items():
                for kind, word in (("absent", "Absent"), ("not_measured", "Not measured")):
                    if kind in measured:
                        sentence = f"{word}: {measured[kind]}"
                        where.setdefault(sentence, []).append(f"{name} {which}")
    return [
        f"{sentence} ({places[0]}{f' and {len(places) - 1} others' if places[1:] else ''})"
        for sentence, places in where.items()
    ]
