"""Layers in torch.nn that several networks of section III share."""

import itertools

import torch
from torch import nn
from torch.nn import functional


class SameConv(nn.Conv2d):
    """A convolution with ceil(size / stride) outputs a side, the odd pixel of padding at the end; ReLU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [batch, in, height, width] to [batch, out, rows, columns]."""
        padding = []
        for side, taps, stride in zip(
            x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            more = max((-(-side // stride) - 1) * stride + taps - side, 0)
            padding += [more // 2, more - more // 2]
        return functional.relu(super().forward(functional.pad(x, padding)))


def conv(
    channels: int, features: int, size: int | tuple, stride: int = 1, valid: bool = False
) -> nn.Module:
    """A convolution and its ReLU."""
    if valid:
        return nn.Sequential(nn.Conv2d(channels, features, size, stride), nn.ReLU())
    return SameConv(channels, features, size, stride)


def dense(*widths: int) -> nn.Sequential:
    """Dense layers with ReLU after all but the last."""
    layers = []
    for inward, outward in itertools.pairwise(widths):
        layers += [nn.Linear(inward, outward), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class RunningMoments(nn.Module):
    """Mean and variance of each entry over all training rows so far."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("squares", torch.ones(shape))

    def forward(self, rows: torch.Tensor, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Take rows [batch, ...] in if `train`; mean and variance."""
        if train:
            with torch.no_grad():
                batch, total = len(rows), self.count + len(rows)
                variance, mean = torch.var_mean(rows, 0, correction=0)
                off = mean - self.mean
                share = batch / total
                self.squares = (1 - share) * self.squares + share * (
                    variance + (1 - share) * off**2
                )
                self.mean, self.count = self.mean + share * off, total
        return self.mean, self.squares
