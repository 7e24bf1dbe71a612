"""Leave-one-subject-out training and evaluation of one architecture: the main job.

    python -m experiments.loso --arch=early_fusion

trains the paper's network once for every subject, each time without that subject, and tests it on
that subject's sequences (paper VI-A). Interrupted, the same command goes on where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from experiments import _app, _data, _launch, _modules, _settings

if TYPE_CHECKING:
    from experiments._crossval import CrossValidation
    from stfer.data.shards import Shards

FLAGS = flags.FLAGS
FAILED_FOLDS = 1


def define_flags() -> None:
    """Define this command's flags."""
    _data.define_flags()
    flags.DEFINE_string("arch", "early_fusion", "The architecture, such as early_fusion.")
    _settings.define_flags()
    flags.DEFINE_enum(
        "protocol", "loso", ["loso", "kfold"], "Which subjects are held out together."
    )
    flags.DEFINE_string("workdir", "runs", "Folder for results.")
    flags.DEFINE_list(
        "subjects", None, "Hold out only these subjects (default: every one in turn)."
    )
    flags.DEFINE_integer("max_folds", None, "Stop after this many folds.", lower_bound=1)
    _launch.define_flags()


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    _modules.check_architecture(FLAGS.arch, FLAGS.modules)
    print_settings()
    _app.set_up_jax(_data.cache_dir())
    plan = plan_from_flags()
    names = select_folds(plan)
    return run(plan, names)


def print_settings() -> None:
    """Print the resolved settings, before the set is made or read."""
    config = _settings.config(FLAGS.arch, FLAGS.data, FLAGS.seed)
    where = {"data": FLAGS.data, "protocol": FLAGS.protocol, "workdir": FLAGS.workdir}
    _app.print_settings("Settings", config.to_dict() | where)


def plan_from_flags() -> CrossValidation:
    """The cross-validation that the flags ask for."""
    return plan_for(FLAGS.data, FLAGS.arch, FLAGS.seed, _data.load(FLAGS.data))


def plan_for(data: str, architecture: str, seed: int | None, shards: Shards) -> CrossValidation:
    """The cross-validation of one architecture on one set (`data` is its flag), other settings from flags."""
    from experiments import _crossval

    config = _settings.config(architecture, data, seed)
    return _crossval.prepare(config, FLAGS.protocol, shards, FLAGS.workdir, FLAGS.modules)


def select_folds(plan: CrossValidation) -> list[str]:
    """The folds that `--subjects` and `--max_folds` leave, in order.

    Raises:
        UserError: A subject is not in the set.
    """
    names = plan.fold_names
    if FLAGS.subjects is not None:
        unknown = [name for name in FLAGS.subjects if name not in names]
        if unknown:
            some = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
            raise _app.UserError(
                f"--subjects names {', '.join(unknown)}, not held out by {plan.protocol}: {some}"
            )
        names = [name for name in names if name in FLAGS.subjects]
    return names[: FLAGS.max_folds]


def run(plan: CrossValidation, names: list[str]) -> int:
    """Train and test the named folds that are not finished, pool, draw, print."""
    from experiments import _crossval, _stop
    from stfer.training.fit import Stopped

    folder = plan.folder
    sharded = _launch.sharded()
    names = _launch.shard(names)
    if FLAGS.merge and not (folder.path / "config.json").is_file():
        raise _app.UserError(f"--merge found no run in {folder.path}; give the shards' own flags")
    with folder.lock(shared=sharded), _stop.stop_requests() as should_stop:
        folder.create(plan.record())
        pending = [name for name in names if not folder.is_finished(name)]
        print_plan(plan, names, pending)
        failures: list[str] = []
        if pending and not FLAGS.merge:
            try:
                failures = train_folds(plan, pending, should_stop)
            except Stopped as stopped:
                if not sharded:
                    _crossval.pool(plan)
                print(
                    f"\n{stopped}; the same command goes on where it was ({folder.path})",
                    flush=True,
                )
                return should_stop.exit_code
        if sharded:
            return end_shard(plan, names, failures)
        result = _crossval.pool(plan)
        figures = draw(plan)
    report(plan, result, failures)
    _app.print_paths([folder.path / "result.json", folder.path / "predictions.csv", *figures])
    missing = [name for name in names if not folder.is_finished(name)] if FLAGS.merge else []
    if missing:
        print(f"not finished: {', '.join(missing)}")
    return FAILED_FOLDS if failures or missing else 0


def train_folds(plan: CrossValidation, pending: list[str], should_stop) -> list[str]:
    """Train the pending folds where `--launcher` says; returns a sentence for each that failed."""
    if FLAGS.launcher == "ray":
        from experiments import _ray

        run = _ray.Run(plan, pending, _data.folders(FLAGS.data))
        return _ray.train_runs([run], _ray.options_from_flags(), should_stop)
    return _launch.train_folds(plan, pending, should_stop)


def end_shard(plan: CrossValidation, names: list[str], failures: list[str]) -> int:
    """Say what this shard leaves; the tables are `--merge`'s."""
    done = [name for name in names if plan.folder.is_finished(name)]
    print(
        f"\nshard {FLAGS.fold_index} of {FLAGS.num_shards}: {len(done)} of {len(names)} folds finished"
    )
    for sentence in failures:
        print(f"  failed: {sentence}")
    _app.print_paths(plan.folder.fold(name) for name in done)
    return FAILED_FOLDS if failures else 0


def print_plan(plan: CrossValidation, names: list[str], pending: list[str]) -> None:
    """Print what is going to happen."""
    from experiments import _crossval

    hardware = _crossval.hardware()
    shards = plan.shards
    _app.print_settings(
        "Run",
        {
            "data": f"{shards.name}: {len(shards)} sequences, {len(set(shards.subjects))} subjects, "
            f"{len(shards.classes)} classes",
            "folds": f"{len(names)} of {len(plan.folds)}, {len(names) - len(pending)} of them finished",
            "hardware": f"{hardware['device']} ({hardware['backend']}, {hardware['cores']} cores)",
            "run folder": plan.folder.path,
        },
    )


def draw(plan: CrossValidation) -> list:
    """Draw the run's figures; none without a finished fold."""
    if not any(plan.folder.is_finished(name) for name in plan.fold_names):
        return []
    from stfer.reporting import figures

    return figures.draw_run(plan.folder.path)


def report(plan: CrossValidation, result: dict, failures: list[str]) -> None:
    """Print the accuracy with its interval, the confusion matrix and what failed."""
    print(
        f"\n{plan.config.architecture} on {plan.shards.name}, {plan.protocol}: "
        f"{result['folds_done']} of {result['folds_total']} folds, {result['sequences']} sequences"
    )
    if result["votes"]:
        _app.print_votes(result["votes"], plan.shards.classes)
    if result["seconds_per_subject"] is not None:
        print(f"  {result['seconds_per_subject']:.1f} s of training a fold")
    for sentence in failures:
        print(f"  failed: {sentence}")


if __name__ == "__main__":
    _app.run(main, define_flags)
