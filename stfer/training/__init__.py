"""Training: settings, tasks, steps, engines, checkpoints."""
