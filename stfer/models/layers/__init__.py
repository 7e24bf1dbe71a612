"""Layers that the architectures are made of."""

__all__ = [
    "contrast",
    "convolution",
    "crf",
    "fourier",
    "normalization",
    "pooling",
    "registration",
    "response_norm",
    "running",
    "towers",
    "winograd",
]
