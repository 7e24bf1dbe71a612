"""Training: settings, tasks, steps, engines, checkpoints; those of the systems of section III are registered here."""

from stfer.training import related as related
