"""One of several processes that train one model together: `python two_processes.py RANK COUNT PORT OUT`."""

import sys

import jax
import numpy as np

import tiny
from stfer.data.folds import folds
from stfer.data.sequence import EMOTIONS_6
from stfer.training.batches import Shape, init_key
from stfer.training.config import TrainConfig
from stfer.training.fit import Progress, _calls
from stfer.training.parallel import BatchEngine


def train(resident: bool):
    """Two epochs over three subjects' clips with the batch over all devices of all processes."""
    rows = list(tiny.sequences(subjects=3))
    frames = np.stack([frames[[-15, -1]] for *_, frames in rows])
    labels = np.array([EMOTIONS_6.index(row[2]) for row in rows], np.int32)
    clips = tiny.examples(frames, labels)
    config = TrainConfig("tiny", epochs=2, batch_size=5, learning_rate=1e-2)
    split = folds("loso", [row[1] for row in rows])[:1]
    engine = BatchEngine(tiny.learner(config), clips, Shape.covering(split, 5), resident)
    state = engine.init([init_key(0, split[0].held_out)])
    losses = []
    for _, calls in _calls(engine, split, [Progress()], [False]):
        state, ((totals, _),) = engine.train(state, engine.stage(calls))
        losses.append(float(totals.loss.sum()))
    return losses, jax.device_get(engine.lane(state, 0).params)


if __name__ == "__main__":
    rank, count, port, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, rank)
        assert jax.device_count() == count * jax.local_device_count()
    losses, params = train(resident=True)
    leaves = {f"leaf{n}": leaf for n, leaf in enumerate(jax.tree.leaves(params))}
    np.savez(f"{out}-{rank}.npz", losses=losses, **leaves)
