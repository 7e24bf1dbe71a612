"""The paper's section III's networks in torch.nn, layer for layer those of `stfer.models.related`.

Inputs are theirs too: frames [batch, time, height, width, channel], landmarks [batch, time, 49, 2]. Inside, channels
come first. Outputs are logits [batch, ..., classes], or a pair of them and a penalty [].
"""

import torch
from systems import SYSTEMS
from torch import nn
from torch.nn import functional
from torch_inceptions import Inception, InceptionResNet
from torch_layers import RunningMoments, conv

NOSE_TIP = 13


class DTAN(nn.Module):
    """Frames as channels, two convolutions with response normalisation, two dense layers with dropout."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(3, 64, 5, valid=True), conv(64, 64, 5, valid=True)
        self.dense1, self.dense2 = nn.Linear(64 * 13 * 13, 500), nn.Linear(500, 500)
        self.logits, self.drop = nn.Linear(500, classes), nn.Dropout(0.5)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = frames[..., 0].contiguous(memory_format=torch.contiguous_format)
        for layer, size in ((self.conv1, 5), (self.conv2, 3)):
            # Torch divides alpha by the size of the neighbourhood.
            x = functional.local_response_norm(layer(x), size, alpha=1e-4 * size, beta=0.75, k=2.0)
            x = functional.max_pool2d(x, 2)
        x = x.flatten(1)
        for layer in (self.dense1, self.dense2):
            x = self.drop(functional.relu(layer(x)))
        return self.logits(x)


class DTGN(nn.Module):
    """Landmarks about the nose with noise, two dense layers with dropout before each."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dense1, self.dense2 = nn.Linear(12 * 49 * 2, 100), nn.Linear(100, 600)
        self.logits, self.drop = nn.Linear(600, classes), nn.Dropout(0.1)

    def forward(self, landmarks: torch.Tensor) -> torch.Tensor:
        """Logits."""
        if self.training:
            landmarks = landmarks + 0.01 * torch.randn_like(landmarks)
        spread = landmarks.var(-2, correction=0, keepdim=True).clamp_min(1e-12).sqrt()
        x = ((landmarks - landmarks[..., NOSE_TIP : NOSE_TIP + 1, :]) / spread).flatten(1)
        for layer in (self.dense1, self.dense2):
            x = functional.relu(layer(self.drop(x)))
        return self.logits(x)


class DTAGN(nn.Module):
    """Both, and the sum of their logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.dtan, self.dtgn = DTAN(classes), DTGN(classes)

    def forward(self, frames: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Logits [batch, 3, classes]."""
        appearance, geometry = self.dtan(frames), self.dtgn(landmarks)
        return torch.stack([appearance, geometry, appearance + geometry], 1)


class CnnIrnn(nn.Module):
    """The convolutional network a frame, the recurrent one with identity start, and their fusion, one stage each."""

    def __init__(self, classes: int, part: str) -> None:
        super().__init__()
        self.part, self.pixels = part, RunningMoments(48, 48)
        widths = (1, 32, 32, 64)
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], size, padding="same")
            for i, size in enumerate((9, 5, 5))
        )
        self.frame_logits = nn.Linear(64 * 5 * 5, classes)
        if part != "cnn":
            self.input = nn.Linear(32 * 11 * 11, 200, bias=False)
            self.recurrent = nn.Linear(200, 200, bias=False)
            self.last = nn.Linear(200, classes)
        if part == "fusion":
            self.branches = nn.ModuleList([nn.Linear(10 * classes, 100), nn.Linear(200, 50)])
            self.joint, self.fused = nn.Linear(150, 70), nn.Linear(70, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor | tuple:
        """Logits of the stage."""
        train = self.training and self.part == "cnn"
        with torch.set_grad_enabled(train):
            logits, maps = self._frames(frames[..., 0], train)
        if self.part == "cnn":
            return logits
        frozen = self.part == "fusion"
        with torch.set_grad_enabled(self.training and not frozen):
            state = maps.new_zeros(len(maps), 200)
            for inputs in self.input(maps).unbind(1):
                state = functional.relu(inputs + self.recurrent(state))
        if not frozen:
            return self.last(state)
        first, second = (
            functional.relu(layer(x))
            for layer, x in zip(self.branches, (logits.softmax(-1).flatten(1), state), strict=True)
        )
        x = functional.relu(self.joint(torch.cat([first, second], 1)))
        x = functional.dropout(x, 0.3, self.training)
        return self.fused(x), self._penalty()

    def _frames(self, x: torch.Tensor, train: bool) -> tuple[torch.Tensor | None, torch.Tensor]:
        batch, time = x.shape[:2]
        mean, variance = self.pixels(x.flatten(0, 1), train)
        x = (x - mean) * (variance + 1e-4).rsqrt()
        x = self._cropped(x, train).flatten(0, 1).unsqueeze(1)
        first, second, third = self.convs

        def after(x: torch.Tensor) -> torch.Tensor:
            return functional.dropout(functional.relu(x), 0.25, train)

        maps = functional.max_pool2d(second(after(functional.max_pool2d(first(x), 2))), 2)
        logits = None
        if self.part != "irnn":
            x = after(functional.max_pool2d(third(after(maps)), 2))
            logits = self.frame_logits(x.flatten(1)).unflatten(0, (batch, time))
        return logits, maps.flatten(1).unflatten(0, (batch, time))

    @staticmethod
    def _cropped(x: torch.Tensor, train: bool) -> torch.Tensor:
        if not train:
            return x[:, :, 2:46, 2:46]
        count, device = len(x), x.device
        inside = torch.arange(44, device=device)
        rows, columns = (torch.randint(0, 5, (count, 1), device=device) + inside for _ in range(2))
        flips = torch.randint(0, 2, (count, 1), device=device, dtype=torch.bool)
        columns = torch.where(flips, columns.flip(-1), columns)
        clips = torch.arange(count, device=device)[:, None, None]
        return x.movedim(1, -1)[clips, rows[:, :, None], columns[:, None]].movedim(-1, 1)

    def _penalty(self) -> torch.Tensor:
        branches = [layer.weight for layer in self.branches]
        squares = sum(w.square().sum() for w in (*branches, self.joint.weight, self.fused.weight))
        l1 = sum(w.abs().sum() for w in branches)
        rows = sum((w.square().sum(0) + 1e-12).sqrt().sum() for w in branches)
        return 3e-5 * (squares + l1 + rows)


class DAP3D(nn.Module):
    """A convolution over space and time, filters of 13 parts with a cost of moving, votes of the parts."""

    def __init__(self, classes: int, parts: int = 13, filters: int = 3) -> None:
        super().__init__()
        self.parts, self.features = parts, filters * classes
        self.c1 = nn.Conv3d(1, 64, (3, 9, 9))
        self.c3 = nn.Conv3d(64, parts * self.features, (3, 9, 9))
        self.d5 = nn.Parameter(
            torch.tensor([0.0] * 3 + [-0.01] * 3).repeat(parts, self.features, 1)
        )
        self.p6 = nn.Parameter(
            nn.init.xavier_uniform_(torch.empty(parts, 500 * self.features, classes))
        )
        self.p6_bias = nn.Parameter(torch.zeros(parts, classes))
        self.f7 = nn.Linear(parts * classes, classes)
        anchors = torch.rand(parts, 2)
        t = (torch.arange(5) - 2) / 2.5
        place = (torch.arange(10) + 0.5) / 10
        dx, dy = (2 * (place - anchors[:, i : i + 1]) for i in (0, 1))
        whole = (parts, 5, 10, 10)
        first = [
            dx[:, None, None].expand(whole),
            dy[:, None, :, None].expand(whole),
            t[:, None, None].expand(whole),
        ]
        self.register_buffer("phi", torch.stack(first + [d**2 for d in first], -1))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = frames.permute(0, 4, 1, 2, 3)
        for layer in (self.c1, self.c3):
            x = functional.avg_pool3d(functional.relu(layer(x)), (1, 2, 2))
        x = x.unflatten(1, (self.parts, self.features))
        x = x + torch.einsum("ptrci,pfi->pftrc", self.phi, self.d5)
        x = torch.einsum("bpi,pic->bpc", x.flatten(2), self.p6) + self.p6_bias
        return self.f7(x.flatten(1))


class STRNN(nn.Module):
    """Four recurrent passes over cells, two over frames, each with a projection."""

    def __init__(self, classes: int, hidden: int = 30) -> None:
        super().__init__()
        self.hidden = hidden
        self.inputs = nn.ModuleList(nn.Linear(64, hidden) for _ in range(4))
        self.recurrent = nn.ParameterList(torch.empty(hidden, hidden) for _ in range(4))
        self.mix = nn.ParameterList(torch.randn(8, 8, 10) / 8 for _ in range(4))
        self.merge = nn.ModuleList(nn.Linear(10 * hidden, hidden, bias=False) for _ in range(4))
        self.time_inputs = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))
        self.time_recurrent = nn.ParameterList(torch.empty(hidden, hidden) for _ in range(2))
        self.time_mix = nn.ParameterList(torch.randn(9, 5) / 3 for _ in range(2))
        self.ends = nn.ModuleList(nn.Linear(5 * hidden, classes, bias=False) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(classes))
        for weights, gain in ((self.recurrent, 1 / 3), (self.time_recurrent, 1.0)):
            for weight in weights:
                nn.init.orthogonal_(weight, gain)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and penalty."""
        batch, time = frames.shape[:2]
        x = frames[..., 0].unflatten(3, (8, 8)).unflatten(2, (8, 8))  # [b, t, row, y, column, x]
        x = x.permute(2, 4, 0, 1, 3, 5).reshape(8, 8, batch * time, 64)
        merged = 0.0
        for number, flips in enumerate(((), (1,), (0,), (0, 1))):
            h = self._scan(self.inputs[number](x).flip(flips), self.recurrent[number]).flip(flips)
            s = torch.einsum("rcp,rcbh->bph", self.mix[number], h).flatten(1)
            merged = merged + self.merge[number](s)
        m = merged.unflatten(0, (batch, time))
        logits = self.bias
        for number in range(2):
            inputs = self.time_inputs[number](m).unbind(1)
            state, states = m.new_zeros(batch, self.hidden), []
            for row in inputs[::-1] if number else inputs:
                state = functional.relu(row + state @ self.time_recurrent[number])
                states.append(state)
            states = torch.stack(states[::-1] if number else states)
            q = torch.einsum("tl,tbh->blh", self.time_mix[number], states).flatten(1)
            logits = logits + self.ends[number](q)
        penalty = 1e-3 * sum(w.abs().sum() for w in (*self.mix, *self.time_mix))
        return logits, penalty

    @staticmethod
    def _scan(inputs: torch.Tensor, recurrent: torch.Tensor) -> torch.Tensor:
        nothing = torch.zeros_like(inputs[0, 0])
        above = [nothing] * 8
        rows = []
        for row in inputs.unbind(0):
            beside, diagonal, now = nothing, nothing, []
            for here, over in zip(row.unbind(0), above, strict=True):
                beside = functional.relu(here + (beside + over + diagonal) @ recurrent)
                diagonal = over
                now.append(beside)
            rows.append(torch.stack(now))
            above = now
        return torch.stack(rows)


def system(name: str, classes: int) -> nn.Module:
    """The network of an entry of `SYSTEMS`."""
    if name.startswith("cnn_irnn"):
        return CnnIrnn(classes, SYSTEMS[name].fields["part"])
    if name.startswith("inception_resnet_crf"):
        return InceptionResNet(classes)
    known = {
        "dtan": DTAN,
        "dtgn": DTGN,
        "dtagn": DTAGN,
        "inception": Inception,
        "dap3d": DAP3D,
        "strnn": STRNN,
    }
    return known[name](classes)
