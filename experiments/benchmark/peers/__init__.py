"""The contenders of `experiments.benchmark`, each a script of its own that may run in another interpreter."""
