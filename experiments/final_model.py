"""What the commands that end in a model folder do alike: train, stop or fail in one sentence, write, report."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import command
from experiments import flags as shared

if TYPE_CHECKING:
    from stfer.inference import TrainedModel
    from stfer.runs.final import FinalTraining
    from stfer.training.config import TrainConfig
    from stfer.training.fit import Fitted


def folders(out: str | Path, configs: "Sequence[TrainConfig]") -> "dict[Path, TrainConfig]":
    """The model folders to make and their settings: OUT, or with several seeds OUT_seed=N.

    Raises:
        FileExistsError: Something is in OUT's place, or what is no model folder in that of a seed; whether a model
            there is the one that is wanted, `missing` says once the data is read.
    """
    from stfer.inference.folder import CARD
    from stfer.storage.files import check_new

    whole = Path(os.path.abspath(out))
    if len(configs) == 1:
        check_new(whole)
        return {whole: configs[0]}
    found = {Path(f"{whole}_seed={config.seed}"): config for config in configs}
    for folder in found:
        if not (folder / CARD).is_file():
            check_new(folder)
    return found


def missing(trainings: "Sequence[FinalTraining]") -> "list[FinalTraining]":
    """The trainings whose models are not made; says which are.

    Raises:
        FileExistsError: A model of other settings, data, people or code is in a folder's place.
    """
    from stfer.storage.files import check_new

    left = []
    for training in trainings:
        if training.is_made():
            print(f"{training.out}: made already")
        else:
            check_new(training.out)
            left.append(training)
    return left


def make(training: "FinalTraining", write: "Callable[[Fitted], tuple[Path, TrainedModel]]") -> int:
    """Train from where it stands and write the model folder; returns the exit code.

    Args:
        training: What is trained. Its states go once the folder is written.
        write: Tests the trained model and writes its folder.
    """
    import shutil

    from stfer.errors import keep_traceback
    from stfer.reporting import console
    from stfer.runs.stop import stop_requests
    from stfer.training.fit import NonFiniteLossError, Stopped

    with stop_requests() as should_stop, training.plan.folder.lock():
        try:
            with console.epoch_bar(training.plan) as on_epoch:
                fitted = training.train(shared.launch(), should_stop, on_epoch)
        except Stopped as stop:
            print(f"\n{stop} in {training.states}; the same command goes on where it was")
            return should_stop.exit_code
        except NonFiniteLossError as error:
            raise command.UserError(f"{error}; try a smaller --learning_rate") from error
        except Exception as error:
            keep_traceback(error, training.states)
            raise
        written, model = write(fitted)
    print(console.training_text(model, fitted))
    shutil.rmtree(training.states)
    command.print_paths([written])
    return 0
