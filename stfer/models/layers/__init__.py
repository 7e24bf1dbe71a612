"""Layers that the architectures are made of."""

__all__ = [
    "contrast",
    "convolution",
    "crf",
    "normalization",
    "pooling",
    "registration",
    "response_norm",
    "running",
    "towers",
    "winograd",
]
