"""Evaluation: votes, metrics, significance, records and the run folder. It knows arrays and tables, never a model."""

__all__ = [
    "combination",
    "metrics",
    "records",
    "run_folder",
    "significance",
    "voting",
]
