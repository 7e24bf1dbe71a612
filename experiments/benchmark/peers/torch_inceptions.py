"""The paper's section III's Inception networks in torch.nn; inputs and outputs as in `torch_systems`."""

import torch
from torch import nn
from torch.nn import functional
from torch_layers import RunningMoments, conv, dense


class Inception(nn.Module):
    """Registration to the mean face, two convolutions, three Inception modules, three dense layers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.shape = RunningMoments(49, 2)
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.trunk = nn.Sequential(
            *(conv(1, 64, 7, 2), pool, conv(64, 192, 3), pool),
            *(
                InceptionModule(192, 64, 96, 128, 16, 32, 32),
                InceptionModule(256, 128, 128, 192, 32, 96, 64),
                pool,
            ),
            *(InceptionModule(480, 192, 96, 208, 16, 48, 64), pool, nn.Flatten()),
        )
        self.head = dense(512, 4096, 1024, classes)

    def forward(self, frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Logits."""
        with torch.no_grad():
            faces = self._registered(frames[:, -1].permute(0, 3, 1, 2), landmarks[:, -1])
        return self.head(self.trunk(faces))

    def _registered(
        self, frames: torch.Tensor, points: torch.Tensor, size: int = 48
    ) -> torch.Tensor:
        shapes = points - points.mean(1, keepdim=True)
        shapes = shapes * shapes.square().sum(-1).mean(-1).clamp_min(1e-12).rsqrt()[:, None, None]
        reference = torch.where(self.shape.count > 0, self.shape.mean, shapes[0])
        (x, y), (u, v) = shapes.unbind(-1), reference.unbind(-1)
        along, across = (x * u + y * v).sum(-1), (x * v - y * u).sum(-1)
        length = torch.hypot(along, across).clamp_min(1e-12)
        cosine, sine = (along / length)[:, None], (across / length)[:, None]
        turned = torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)
        mean, _ = self.shape(turned, self.training)
        low, high = mean.amin(0), mean.amax(0)
        target = (mean - (low + high) / 2) * (0.8 / (high - low).max()) + 0.5
        # The affine map back, from places in the result to places in the frame, by least squares.
        middle, aim = points.mean(1), target.mean(0)
        x, y = points - middle[:, None], target - aim
        matrix = (y.T @ x) @ inverse(x.transpose(1, 2) @ x)
        # Before any training there is no mean face, and frames are only resized.
        known = torch.isfinite(target).all()
        matrix = torch.where(known, matrix, torch.eye(2, device=frames.device))
        steps = (torch.arange(2 * size, device=frames.device) + 0.5) / (2 * size)
        places = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
        shift = torch.where(known, aim - (matrix @ middle[..., None])[..., 0], 0.0)
        places = (places - shift[:, None, None]) @ inverse(matrix).transpose(1, 2)[:, None]
        found = functional.grid_sample(
            frames, 2 * places - 1, padding_mode="border", align_corners=False
        )
        return functional.avg_pool2d(found, 2)


def inverse(matrices: torch.Tensor) -> torch.Tensor:
    """Inverses of 2 x 2 matrices [..., 2, 2]."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrices.unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / (a * d - b * c)[..., None, None]


class InceptionModule(nn.Module):
    """Four branches side by side."""

    def __init__(self, channels, one, three_in, three, five_in, five, pool) -> None:
        super().__init__()
        self.one = conv(channels, one, 1)
        self.three = nn.Sequential(conv(channels, three_in, 1), conv(three_in, three, 3))
        self.five = nn.Sequential(conv(channels, five_in, 1), conv(five_in, five, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(channels, pool, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All branches' features."""
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class Branches(nn.Module):
    """Rows of convolutions (features, kernel, stride, valid) side by side; with `pool`, a max pool first."""

    def __init__(self, channels: int, *rows: tuple, pool: bool = False) -> None:
        super().__init__()
        self.pool, self.rows = pool, nn.ModuleList()
        self.features = channels * pool
        for row in rows:
            layers, inward = [], channels
            for features, *rest in row:
                layers.append(conv(inward, features, *rest))
                inward = features
            self.rows.append(nn.Sequential(*layers))
            self.features += inward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All rows' features."""
        ends = [functional.max_pool2d(x, 3, 2)] if self.pool else []
        return torch.cat(ends + [row(x) for row in self.rows], 1)


class Residual(nn.Module):
    """Branches and a linear 1x1 convolution, added to the input; ReLU."""

    def __init__(self, channels: int, *rows: tuple) -> None:
        super().__init__()
        self.branches = Branches(channels, *rows)
        self.linear = nn.Conv2d(self.branches.features, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A map of the input's shape."""
        return functional.relu(x + self.linear(self.branches(x)))


class InceptionResNet(nn.Module):
    """The trunk and the flat head; logits of every frame, of the classes and neutral."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        one, down = (1,), (3, 2, True)
        long = ((64, 1), (64, (7, 1)), (64, (1, 7)), (96, 3, 1, True))
        self.trunk = nn.Sequential(
            Branches(3, ((32, *down), (32, 3, 1, True), (64, 3))),
            Branches(64, ((96, *down),), pool=True),
            Branches(160, ((64, *one), (96, 3, 1, True)), long),
            Branches(192, ((192, *down),), pool=True),
            nn.ReLU(),
            Residual(384, ((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3))),
            Branches(384, ((384, *down),), ((256, 1), (256, 3), (384, *down)), pool=True),
            Residual(1152, ((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1)))),
            Branches(
                1152,
                *(((256, 1), (384, *down)), ((256, 1), (288, *down))),
                ((256, 1), (288, 3), (320, *down)),
                pool=True,
            ),
            Residual(2144, ((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1)))),
        )
        self.drop, self.dense1 = nn.Dropout(0.2), nn.Linear(8 * 8 * 2144, 1000)
        self.logits = nn.Linear(1000, classes + 1)
        # The chain's, which this stage does not train.
        labels = classes + 1
        self.chain = nn.Parameter(torch.zeros(2 * labels**2 + 3 * labels))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Logits [batch, time, classes + 1]."""
        batch, time = frames.shape[:2]
        x = frames.flatten(0, 1).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        x = functional.pad(self.trunk(x), (3, 4, 3, 4))
        inside = functional.pad(x.new_ones(1, 1, 8, 8), (3, 4, 3, 4))
        x = functional.avg_pool2d(x, 8, 1) / functional.avg_pool2d(inside, 8, 1)
        x = functional.relu(self.dense1(self.drop(x).flatten(1)))
        return self.logits(x).unflatten(0, (batch, time))
