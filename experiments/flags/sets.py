"""Flags that name sets, modules, models and reports."""

from pathlib import Path

from absl import flags

from stfer import registries
from stfer.data import sources  # light: it imports no JAX

FLAGS = flags.FLAGS


def define_data(default: str | list[str] = sources.SYNTHETIC) -> None:
    """Define the flags that name a set; with a list as default, several sets that are not joined."""
    kind = flags.DEFINE_list if isinstance(default, list) else flags.DEFINE_string
    kind("data", default, "The set: 'synthetic' (made on first use), a shard folder that experiments.preprocess wrote, "
        "or several separated by commas.")  # fmt: skip
    flags.DEFINE_string("cache_dir", None, "Folder for generated sets, and for compiled programs unless "
        "$JAX_COMPILATION_CACHE_DIR names one.")  # fmt: skip
    flags.DEFINE_integer(
        "synthetic_subjects", 24, "Subjects of the synthetic set.", lower_bound=2, upper_bound=999
    )
    flags.DEFINE_integer("synthetic_seed", 0, "Seed of the synthetic set.", lower_bound=0)
    flags.DEFINE_integer("synthetic_size", sources.SYNTHETIC_SIZE, "Height and width of its face crops; the paper's "
        "are 170.", 8, 1024)  # fmt: skip
    flags.DEFINE_float("synthetic_margin", sources.SYNTHETIC_MARGIN, "Shown around a face, as preprocess's --margin.",
        -0.4, 2)  # fmt: skip
    flags.DEFINE_integer("workers", None, "Processes for making the synthetic set (all cores).")
    flags.DEFINE_bool(
        "neutral",
        False,
        "Add the class neutral: each sequence's calm beginning is a clip of its own.",
    )
    define_modules()


def define_modules() -> None:
    """Define the flag that imports the user's modules."""
    flags.DEFINE_list(
        "modules", [], "Python modules to import first, which register architectures, tasks, ..."
    )


def import_modules() -> None:
    """Import the user's modules; raises as `stfer.registries.import_modules`."""
    registries.import_modules(FLAGS.modules)


def define_model() -> None:
    """Define the flag that names a trained model."""
    flags.DEFINE_string("model", None, "The model folder; default: the model that ships.")


def model_folder() -> str | Path:
    """The folder of the model that the flag names, or of the one that ships."""
    from stfer.pretrained import shipped_model

    return FLAGS.model or shipped_model()


def sets() -> list[sources.Source]:
    """The sets that a list of `--data` names, each once."""
    return [data(name) for name in dict.fromkeys(FLAGS.data)]


def data(name: str | None = None) -> sources.Source:
    """What the flags say of the set, or of one of several."""
    made = ("synthetic_subjects", "synthetic_seed", "synthetic_size", "synthetic_margin")
    flagged = {name: FLAGS[name].value for name in (*made, "workers", "cache_dir", "neutral")}
    return sources.Source(name or FLAGS.data, **flagged)


def define_report() -> None:
    """Define the flags of a command that ends in a report."""
    flags.DEFINE_string("out", None, "Folder for the report (default: WORKDIR/report).")
    flags.DEFINE_enum("vote", "summed", ["summed", "maximum"], "The vote that is compared.")
    flags.DEFINE_bool("pictures", True, "Show frames of misclassified sequences. Turn off for sets whose licence "
        "restricts showing faces.")  # fmt: skip


def report_folder() -> Path:
    """Where the report goes."""
    return Path(FLAGS.out) if FLAGS.out else Path(FLAGS.workdir) / "report"
