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
    """The model folders to make and their settings: OUT, or with several seeds OUT_seed=N but for those that are there.

    Raises:
        FileExistsError: Something else is in a folder's place.
    """
    from stfer.runs.final import is_model_of
    from stfer.storage.files import check_new

    whole = Path(os.path.abspath(out))
    if len(configs) == 1:
        check_new(whole)
        return {whole: configs[0]}
    missing = {}
    for config in configs:
        folder = Path(f"{whole}_seed={config.seed}")
        if is_model_of(folder, config):
            print(f"{folder}: made already")
        else:
            check_new(folder)
            missing[folder] = config
    return missing


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
