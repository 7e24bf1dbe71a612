"""Pooling over windows of any size and stride, for the systems of the paper's section III.

The paper's own six pool over 2x2 windows alone, which have a faster form (`stfer.models.layers.pooling`).
"""

import flax.linen as nn
import jax


def max_pool_windows(x: jax.Array, window: int, stride: int, *, ceil: bool = False) -> jax.Array:
    """Maximum over square windows without padding.

    Args:
        x: [batch, height, width, channel].
        window: pixels a side.
        stride: pixels from window to window.
        ceil: whether a last window that hangs over the edge counts, as in Caffe: ceil((size - window) / stride) + 1
            outputs a side, else floor. The part beyond the edge never wins.
    """
    beyond = [0, 0]
    if ceil:
        for axis in (1, 2):
            steps = -(-(x.shape[axis] - window) // stride)
            beyond[axis - 1] = max(steps * stride + window - x.shape[axis], 0)
    padding = [(0, extra) for extra in beyond]
    return nn.max_pool(x, (window, window), (stride, stride), padding)


def mean_pool(x: jax.Array) -> jax.Array:
    """Mean of non-overlapping 2x2 windows; an odd last row or column is left out.

    Args:
        x: [..., height, width, channel].
    """
    height, width = (side // 2 for side in x.shape[-3:-1])
    x = x[..., : 2 * height, : 2 * width, :]
    return x.reshape(*x.shape[:-3], height, 2, width, 2, x.shape[-1]).mean((-4, -2))
