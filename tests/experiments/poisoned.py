"""The tiny architecture, with no finite logits in training where the apex begins with the colour 7, 77, 177."""

import jax.numpy as jnp

import tiny
from stfer import models


class Poisoned(tiny.Tiny):
    """See the module's head."""

    def __call__(self, clips, *, train=False, mask=None):
        """As `Tiny`."""
        logits, out = super().__call__(clips, train=train, mask=mask)
        mark = jnp.array([7, 77, 177]) / 255.0
        bad = (abs(clips[:, -1, 0, 0] - mark[None]) < 1e-4).all(-1)
        return jnp.where(train & bad[:, None], jnp.nan, logits), out


models.register("poisoned")(Poisoned)
