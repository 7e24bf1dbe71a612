"""A trained model in use: its folder, prediction on arrays and streams, tracking, drawing, export."""

from stfer.inference.folder import describe
from stfer.inference.model import SequencePrediction, TrainedModel, load_model

__all__ = ["SequencePrediction", "TrainedModel", "describe", "load_model"]
