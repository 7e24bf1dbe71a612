"""Finished folds tested again, their votes over other pairs of frames; nothing is trained."""

import dataclasses
from collections.abc import Callable, Sequence

import jax.numpy as jnp

from stfer.data.clips import PAIRS
from stfer.evaluation.records import Prediction
from stfer.runs import folds as one_group
from stfer.runs.plan import Plan, check_lengths
from stfer.storage.identity import differences
from stfer.storage.weights import ForeignCheckpointError, load_weights
from stfer.training.fit import Fitted, Progress
from stfer.training.step import TrainState


def vote_again(
    plan: Plan,
    names: Sequence[str],
    pairs: Sequence[str] = PAIRS,
    distance: int | None = None,
    apex: int | None = None,
    on_fold: Callable[[str], object] = lambda name: None,
) -> dict[str, list[Prediction]]:
    """Classify the held-out sequences of finished folds, once for each rule of pairs.

    Args:
        plan: A cross-validation of an architecture of two frames.
        names: Its folds to test; those that are not finished are left out.
        pairs: Rules, see `stfer.data.clips.ClipRule`.
        distance: As there; None for the settings' `pair_distance`.
        apex: As there; None for the settings' `apex_frames`.
        on_fold: Told of each fold that has been tested by all rules.

    Returns:
        From rule to the predictions of all these folds.

    Raises:
        ValueError: The architecture takes no pairs, or a rule is unknown.
        FileNotFoundError: No fold is finished.
        ForeignCheckpointError: A fold's weights belong to other settings.
    """
    done = [name for name in names if plan.folder.is_finished(name)]
    if not done:
        raise FileNotFoundError(
            f"no fold in {plan.folder.path} is finished; experiments.loso with the same flags trains them"
        )
    given = {"pair_distance": distance, "apex_frames": apex}
    changed = {name: value for name, value in given.items() if value is not None}
    plans = {
        rule: dataclasses.replace(plan, config=plan.config.replace(pairs=rule, **changed))
        for rule in pairs
    }
    for other in plans.values():
        check_lengths(other)
    engines = {rule: other.engine(other.stages[-1]) for rule, other in plans.items()}
    found: dict[str, list[Prediction]] = {rule: [] for rule in pairs}
    for name in done:
        fitted = _fitted(plan, name)
        for rule, other in plans.items():
            found[rule] += one_group.evaluate(other, engines[rule], fitted).predictions
        on_fold(name)
    return found


def _fitted(plan: Plan, name: str) -> Fitted:
    """A finished fold with the weights that it kept."""
    checkpoints = plan.checkpoints(plan.fold(name))
    variables, kept = load_weights(checkpoints.weights)
    if lines := differences(kept, checkpoints.identity):
        raise ForeignCheckpointError(
            f"{checkpoints.weights} belongs to other settings: {'; '.join(lines)}"
        )
    state = TrainState(
        jnp.zeros((), jnp.int32), variables["params"], variables.get("batch_stats", {}), ()
    )
    return Fitted(plan.fold(name), state, Progress())
