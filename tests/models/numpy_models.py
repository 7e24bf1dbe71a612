"""The six architectures once more, in NumPy float64 with Python loops over frames: the paper's IV read literally."""

import numpy as np

EPSILON = 1e-3


def relu(x):
    return np.maximum(x, 0)


def convolve(x, params, stride=1):
    """Convolve x [batch, height, width, in], kernel [rows, columns, in, out]."""
    kernel, bias = np.float64(params["kernel"]), np.float64(params["bias"])
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
    windows = windows[:, ::stride, ::stride]  # [batch, y, x, in, rows, columns]
    return relu(np.einsum("byxcij,ijcd->byxd", windows, kernel, optimize=True) + bias)


def pool(x):
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    x = x[:, :height, :width]
    return np.max([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)


def normalise(towers, params, stats, train):
    """Towers [tower][batch, height, width, channel]: one mean and variance for all of them."""
    if train:
        values = np.concatenate([tower.reshape(-1, tower.shape[-1]) for tower in towers])
        mean, var = values.mean(0), values.var(0)
    else:
        mean, var = np.float64(stats["mean"]), np.float64(stats["var"])
    scale, bias = np.float64(params["scale"]), np.float64(params["bias"])
    return [(tower - mean) / np.sqrt(var + EPSILON) * scale + bias for tower in towers]


def block(towers, params, stats, stride, train):
    towers = [convolve(tower, params["conv"], stride) for tower in towers]
    return [pool(tower) for tower in normalise(towers, params["bn"], stats["bn"], train)]


def block3(x, params):
    for name in ("conv1", "conv2", "conv3"):
        x = convolve(x, params[name])
    return pool(x).reshape(len(x), -1)


def blocks(towers, params, stats, train):
    towers = block(towers, params["block1"], stats["block1"], 3, train)
    towers = block(towers, params["block2"], stats["block2"], 1, train)
    return [block3(tower, params["block3"]) for tower in towers]


def dense(x, params):
    return x @ np.float64(params["kernel"]) + np.float64(params["bias"])


def head(x, params):
    return dense(relu(dense(relu(dense(x, params["dense1"])), params["dense2"])), params["logits"])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(inputs, params, activation=sigmoid):
    """Inputs [time][batch, in]; the last state [batch, units]. Gates in the order update, reset, candidate."""
    kernels = np.split(np.float64(params["input"]["kernel"]), 3, axis=1)
    biases = np.split(np.float64(params["input"]["bias"]), 3)
    recurrent = np.split(np.float64(params["step"]["recurrent_kernel"]), 3, axis=1)
    state = np.zeros((len(inputs[0]), len(biases[0])))
    for x in inputs:
        update = activation(x @ kernels[0] + state @ recurrent[0] + biases[0])
        reset = activation(x @ kernels[1] + state @ recurrent[1] + biases[1])
        candidate = np.tanh(x @ kernels[2] + (reset * state) @ recurrent[2] + biases[2])
        state = update * state + (1 - update) * candidate
    return state


def time_stacked(params):
    """A [time, rows, columns, in, out] kernel as one over frames stacked on the channels."""
    kernel = np.asarray(params["conv"]["kernel"])
    time, rows, columns, channels, features = kernel.shape
    kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(rows, columns, time * channels, features)
    return {"conv": {"kernel": kernel, "bias": params["conv"]["bias"]}, "bn": params["bn"]}


def logits(name, clips, params, stats, train):
    """Logits [batch, classes] of architecture `name` for clips [batch, time, height, width, channel]."""
    frames = list(np.moveaxis(np.float64(clips), 1, 0))
    if name in ("single_frame", "early_fusion"):
        stacked = np.concatenate(frames, axis=-1)
        return head(blocks([stacked], params["tower"], stats["tower"], train)[0], params["head"])
    if name == "late_fusion":
        towers = blocks(frames, params["tower"], stats["tower"], train)
        return head(np.concatenate(towers, axis=-1), params["head"])
    if name == "rnn":
        towers = blocks(frames, params["tower"], stats["tower"], train)
        return dense(gru(towers, params["gru"]), params["logits"])
    if name == "slow_fusion":
        first = [np.concatenate(frames[i : i + 4], axis=-1) for i in (0, 2, 4, 6)]
        first = block(first, params["block1"], stats["block1"], 3, train)
        second = [np.concatenate(first[i : i + 2], axis=-1) for i in (0, 2)]
        second = block(second, params["block2"], stats["block2"], 1, train)
    elif name == "conv3d":
        first = [np.concatenate(frames[i : i + 3], axis=-1) for i in (0, 1, 2)]
        first = block(first, time_stacked(params["block1"]), stats["block1"], 3, train)
        second = [np.concatenate(first, axis=-1)]
        second = block(second, time_stacked(params["block2"]), stats["block2"], 1, train)
    else:
        raise NotImplementedError(f"no reference for {name}")
    return head(block3(np.concatenate(second, axis=-1), params["block3"]), params["head"])
