"""Which runs may stand in one table.

Runs are comparable only if all is equal but the architecture and the seed: the data, the protocol, and every setting
but those that belong to the architecture or are for the record; `comparisons` groups them so. A setting that this file
has never heard of counts too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stfer.data.folds import describe_protocol
from stfer.reporting.runs import Run, as_text, order
from stfer.training.config import identity

# Said of every comparison; other settings where they are not at their defaults.
_ALWAYS_SAID = (
    "epochs",
    "batch_size",
    "learning_rate",
    "adam_epsilon",
    "precision",
    "recompute_statistics",
)


@dataclass(frozen=True)
class Comparison:
    """Runs that may stand in one table: same data, protocol and training settings.

    Attributes:
        runs: by architecture in the paper's order, then by seed.
        distinction: what tells it from another comparison on a set of the same name under the same protocol.
    """

    runs: tuple[Run, ...]
    distinction: str = ""

    @property
    def data(self) -> str:
        """The data set's name."""
        return self.runs[0].data

    @property
    def checksum(self) -> str:
        """The data set's checksum."""
        return self.runs[0].checksum

    @property
    def protocol(self) -> str:
        """The protocol's name."""
        return self.runs[0].protocol

    @property
    def protocol_text(self) -> str:
        """The protocol in words."""
        return describe_protocol(self.protocol)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that all the runs share, without those at their defaults that few readers ask for."""
        settings, defaults = self.runs[0].settings, identity({})
        return {
            name: value
            for name, value in settings.items()
            if name in _ALWAYS_SAID or name not in defaults or value != defaults[name]
        }

    @property
    def label(self) -> str:
        """The data set's name, with the distinction where it needs one."""
        return f"{self.data} ({self.distinction})" if self.distinction else self.data

    @property
    def title(self) -> str:
        """Data and protocol in one line."""
        return f"{self.label}, {self.protocol_text}"

    @property
    def subjects(self) -> int:
        """How many people the data set shows."""
        return int(self.runs[0].config["data"]["subjects"])

    @property
    def counted(self) -> list[Run]:
        """The runs that figures stand on, see `counted`."""
        return [run for runs in self.by_architecture.values() for run in counted(runs)]

    @property
    def chance(self) -> float:
        """Accuracy of always naming the class that is commonest among the tested sequences, in the fullest run."""
        run = max(self.runs, key=lambda run: run.result["sequences"])
        return run.result["votes"]["summed"]["chance"]

    @property
    def by_architecture(self) -> dict[str, list[Run]]:
        """Architecture name to its runs, one a seed, in the paper's order."""
        grouped: dict[str, list[Run]] = {}
        for run in self.runs:
            grouped.setdefault(run.architecture, []).append(run)
        return grouped


def counted(runs: Sequence[Run]) -> list[Run]:
    """The runs of one architecture that its figures stand on: that with most folds, and those of the same sequences."""
    fullest = max(runs, key=lambda run: run.result["folds_done"])
    tested = set(fullest.predictions["sequence"])
    return [run for run in runs if set(run.predictions["sequence"]) == tested]


def comparisons(runs: Iterable[Run]) -> list[Comparison]:
    """Group runs by data, protocol and every setting that is not the architecture's own, the seed or for the record.

    Raises:
        ValueError: if two runs of one group are of the same architecture and seed.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in sorted(runs, key=order):
        equal = as_text({"settings": run.settings, "data": run.config["data"]})
        groups.setdefault((run.data, run.protocol, run.checksum, equal), []).append(run)
    for group in groups.values():
        seen: dict[tuple[str, int], Run] = {}
        for run in group:
            twin = seen.setdefault((run.architecture, run.seed), run)
            if twin is not run:
                raise ValueError(
                    f"{twin.folder} and {run.folder} are the same architecture, data, settings and seed; "
                    "move one of them out of the folder"
                )
    return _told_apart([Comparison(tuple(group)) for _, group in sorted(groups.items())])


def _told_apart(found: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons with what tells them from others: settings for those of one title, data for those of one name."""
    told = []
    for comparison in found:
        twins = [other for other in found if other.title == comparison.title]
        named = [other for other in found if other.data == comparison.data]
        ours, theirs = comparison.runs[0].settings, [twin.runs[0].settings for twin in twins]
        differing = [
            f"{name.replace('_', ' ')} {as_text(ours.get(name))}"
            for name in dict.fromkeys(name for settings in theirs for name in settings)
            if len({as_text(settings.get(name)) for settings in theirs}) > 1
        ]
        if len({other.checksum for other in named}) > 1:
            differing.append(f"{comparison.subjects} subjects, data {comparison.checksum[:8]}")
        told.append(replace(comparison, distinction=", ".join(differing)))
    return told
