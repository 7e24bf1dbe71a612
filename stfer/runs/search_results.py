"""What a search leaves beside its study: every trial as a table, the importances, and the best settings."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from stfer.inference.evaluation import training_record
from stfer.runs.inner_folds import STEPS_A_FOLD, Search
from stfer.runs.plan import canonical
from stfer.runs.search import Trial, best, open_study
from stfer.runs.search_space import chosen
from stfer.storage.files import write_atomically
from stfer.storage.tables import csv_text
from stfer.training import settings_file
from stfer.training.config import TrainConfig

TRIALS, IMPORTANCES, BEST = "search.csv", "importances.csv", "best.json"
COLUMNS = ("trial", "state", "accuracy", "last_fold", "last_epoch", "last_accuracy", "seconds")


def write(search: Search, trials: Sequence[Trial]) -> list[Path]:
    """Write all that a search leaves; returns what was written."""
    importances = write_importances(search)
    return [*write_trials(search, trials), *([importances] if importances else [])]


def write_trials(search: Search, trials: Sequence[Trial]) -> list[Path]:
    """Write `search.csv`, and `best.json` once a trial is complete; returns what was written.

    Columns of the table: `accuracy` is the trial's value; `last_...` are the inner fold and epoch that it came to and
    the mean accuracy that it had there, by which the median rule judged; the rest are the space's values.
    """
    names = [dimension.name for dimension in search.space]
    rows = []
    for trial in trials:
        step, accuracy = trial.reported or (None, None)
        place = (None, None) if step is None else divmod(step, STEPS_A_FOLD)
        cells = (trial.number, trial.state, trial.value, *place, accuracy, trial.seconds)
        values = [trial.values.get(name) for name in names]
        rows.append(["" if cell is None else cell for cell in (*cells, *values, trial.reason)])
    write_atomically(search.folder / TRIALS, csv_text((*COLUMNS, *names, "reason"), rows))
    written = [search.folder / TRIALS]
    if any(trial.state == "complete" for trial in trials):
        written.append(_write_best(search, trials))
    return written


def best_settings(search: Search, trials: Sequence[Trial]) -> TrainConfig:
    """The settings of the best trial, with the base's seed; raises as `stfer.runs.search.best`."""
    return canonical(chosen(search.base, best(trials).values))


def _write_best(search: Search, trials: Sequence[Trial]) -> Path:
    winner = best(trials)
    file = search.folder / BEST
    people = training_record(search.shards, range(len(search.shards)))
    found = settings_file.Found(best_settings(search, trials), search.shards.name, people)
    settings_file.write(
        file,
        found,
        chosen=winner.values,
        accuracy=winner.value,
        trial=winner.number,
        trials=sum(trial.counts for trial in trials),
        inner_folds=search.inner_folds,
        seeds=list(search.seeds),
    )
    return file


def write_importances(search: Search) -> Path | None:
    """Write each dimension's share of what the trials' values vary by, largest first; None where nothing can be said.

    Reference: Hutter, Hoos & Leyton-Brown 2014, "An efficient approach for assessing hyperparameter importance", ICML
    (functional ANOVA on a random forest), as Optuna has it.
    """
    from optuna import importance

    study = open_study(search)
    values = {t.value for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"}
    if len(values) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of dimensions that took one value only.
        evaluator = importance.FanovaImportanceEvaluator(seed=0)
        shares = importance.get_param_importances(study, evaluator=evaluator)
    if not shares:
        return None
    file = search.folder / IMPORTANCES
    write_atomically(file, csv_text(("name", "importance"), shares.items()))
    return file
