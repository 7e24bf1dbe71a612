"""The PyTorch contenders, eager and compiled: the paper's section IV's six networks in torch.nn (channels first).

Those of section III are `torch_systems`.
"""

import sys

import systems
import torch
import torch_systems
import worker
from torch import nn
from worker import FRAMES


def block(channels: int, features: int, size: int, stride: int = 1, time: int = 0) -> nn.Sequential:
    """Convolution, ReLU, batch normalisation, pooling; over time as well if `time` is its kernel's length."""
    if time:
        return nn.Sequential(
            nn.Conv3d(channels, features, (time, size, size), (1, stride, stride)),
            nn.ReLU(),
            nn.BatchNorm3d(features, eps=1e-3, momentum=0.01),
            nn.MaxPool3d((1, 2, 2)),
        )
    return nn.Sequential(
        nn.Conv2d(channels, features, size, stride),
        nn.ReLU(),
        nn.BatchNorm2d(features, eps=1e-3, momentum=0.01),
        nn.MaxPool2d(2),
    )


def block3(channels: int) -> nn.Sequential:
    """Three 3x3 convolutions, pooling, flattened to 1024."""
    layers = []
    for features in (384, 384, 256):
        layers += [nn.Conv2d(channels, features, 3), nn.ReLU()]
        channels = features
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten())


def head(features: int, num_classes: int) -> nn.Sequential:
    """Two dense layers of 4096, logits."""
    return nn.Sequential(
        nn.Linear(features, 4096),
        nn.ReLU(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, num_classes),
    )


class GRU(nn.Module):
    """Cho et al.'s recurrence, reset before the recurrent product and one bias a gate (torch's differs in both)."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.input = nn.Linear(features, 3 * units)
        self.recurrent = nn.Parameter(torch.nn.init.orthogonal_(torch.empty(units, 3 * units)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Last state [batch, units] for x [batch, time, features]."""
        inputs, units = self.input(x), self.units
        state = inputs.new_zeros(x.shape[0], units)
        for gates in inputs.unbind(1):
            both = torch.sigmoid(
                gates[:, : 2 * units] + state @ self.recurrent[:, : 2 * units].to(state.dtype)
            )
            update, reset = both.chunk(2, dim=1)
            candidate = torch.tanh(
                gates[:, 2 * units :]
                + (reset * state) @ self.recurrent[:, 2 * units :].to(state.dtype)
            )
            state = update * state + (1 - update) * candidate
        return state


class Network(nn.Module):
    """One of the six; clips are [batch, time, channel, height, width]."""

    def __init__(self, arch: str, num_classes: int) -> None:
        super().__init__()
        self.arch = arch
        channels = {"early_fusion": 30, "slow_fusion": 12}.get(arch, 3)
        time = 3 if arch == "conv3d" else 0
        self.block1 = block(channels, 96, 11, 3, time)
        self.block2 = block(192 if arch == "slow_fusion" else 96, 256, 5, 1, time)
        self.block3 = block3(512 if arch == "slow_fusion" else 256)
        if arch == "rnn":
            self.head = nn.Sequential(GRU(1024, 5), nn.Linear(5, num_classes))
        else:
            self.head = head(2048 if arch == "late_fusion" else 1024, num_classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Logits [batch, classes]."""
        batch, time = clips.shape[:2]
        if self.arch == "conv3d":
            x = self.block2(self.block1(clips.transpose(1, 2)))[:, :, 0]
            return self.head(self.block3(x))
        if self.arch == "slow_fusion":
            stacks = torch.cat([clips[:, i : i + 4].flatten(1, 2) for i in (0, 2, 4, 6)])
            x = self.block1(stacks).chunk(4)
            x = self.block2(torch.cat([torch.cat(x[i : i + 2], 1) for i in (0, 2)]))
            return self.head(self.block3(torch.cat(x.chunk(2), 1)))
        if self.arch == "early_fusion":
            clips, time = clips.flatten(1, 2).unsqueeze(1), 1
        frames = clips.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        x = self.block3(self.block2(self.block1(frames)))
        x = x.unflatten(0, (batch, time))
        return self.head(x if self.arch == "rnn" else x.flatten(1))


class Torch:
    """The contender, compiled by `torch.compile` if asked."""

    def __init__(self, compiled: bool) -> None:
        self.compiled = compiled

    def about(self) -> str:
        """Library and device."""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        return f"torch {torch.__version__}, {name}"

    def build(self, settings: dict) -> int:
        """Initialise the network and random clips."""
        self.precision = settings["precision"]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tensor_cores = self.precision == "tensorfloat32"
        torch.set_float32_matmul_precision("high" if tensor_cores else "highest")
        torch.backends.cudnn.allow_tf32 = tensor_cores
        torch.backends.cudnn.benchmark = True
        arch, size, batch = settings["arch"], settings["size"], settings["batch_size"]
        classes = settings["num_classes"]
        if arch in systems.SYSTEMS:
            self.network = torch_systems.system(arch, classes).to(self.device)
            shapes = list(systems.shapes(arch, batch).values())
        else:
            self.network = Network(arch, classes).to(self.device)
            shapes = [(batch, FRAMES[arch], 3, size, size)]
        if arch not in ("conv3d", "dap3d"):
            self.network = self.network.to(memory_format=torch.channels_last)
        self.call = torch.compile(self.network) if self.compiled else self.network
        self.clips = [torch.rand(shape, device=self.device) for shape in shapes]
        self.labels = (torch.arange(batch) % classes).to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-5, eps=1e-7, fused=True)
        return sum(parameter.numel() for parameter in self.network.parameters())

    def _outputs(self) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Logits and penalty."""
        with torch.autocast(self.device.type, torch.bfloat16, self.precision == "bfloat16"):
            outputs = self.call(*self.clips)
        logits, penalty = outputs if isinstance(outputs, tuple) else (outputs, 0.0)
        return logits.float(), penalty

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def forward(self) -> None:
        """Logits of one batch."""
        self.network.eval()
        with torch.inference_mode():
            self._outputs()
        self._wait()

    def step(self) -> None:
        """One training step."""
        self.loop(1)

    def loop(self, steps: int) -> None:
        """Several training steps."""
        self.network.train()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            logits, penalty = self._outputs()
            rows = self.labels.reshape(-1, *(1,) * (logits.ndim - 2)).expand(logits.shape[:-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, -2), rows.flatten())
            (loss + penalty).backward()
            self.optimizer.step()
        self._wait()

    def matrix_product(self) -> float:
        """Rate of one large product."""
        size = 2048 if self.device.type == "cpu" else 8192
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        matrix = torch.ones(size, size, device=self.device, dtype=dtype)

        def multiply() -> None:
            matrix @ matrix
            self._wait()

        return worker.matrix_product_rate(multiply, size)

    def device_memory(self) -> int | None:
        """Peak bytes on an accelerator."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None


if __name__ == "__main__":
    worker.serve(Torch(compiled="--compiled" in sys.argv))
