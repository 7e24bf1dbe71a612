"""Milliseconds a frame of decoding a video to RGB: this package's way (PyAV) and OpenCV's, one after the other.

    python -m experiments.benchmark.decoding

Both decode the same H.264 videos of moving noise, made here, at two sizes; the least of several rounds counts.
"""

import tempfile
import time
from pathlib import Path

from absl import flags

from experiments import command

FLAGS = flags.FLAGS
SIZES = ((640, 360), (1920, 1080))


def define_flags() -> None:
    """Define this command's flags."""
    flags.DEFINE_integer("frames", 100, "Frames of each video.", lower_bound=2)
    flags.DEFINE_integer("rounds", 5, "Rounds, of which the fastest counts.", lower_bound=1)
    flags.DEFINE_integer("threads", None, "Threads of both decoders (default: all cores).", 1)


def main(argv: list[str]) -> None:
    """Run the command."""
    del argv
    import cv2

    if FLAGS.threads:
        cv2.setNumThreads(FLAGS.threads)
    print(f"{'size':<12}{'':<8}{'wall ms':>9}{'processor ms':>14}")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / "video.mp4"
            _write(path, size, FLAGS.frames)
            best: dict[str, tuple[float, float]] = {}
            for _ in range(FLAGS.rounds):
                for name, decode in (("OpenCV", _by_opencv), ("PyAV", _by_ours)):
                    wall, processor = time.perf_counter(), time.process_time()
                    count = decode(path)
                    spent = (time.perf_counter() - wall, time.process_time() - processor)
                    spent = tuple(1000 * seconds / count for seconds in spent)
                    best[name] = min(best.get(name, spent), spent, key=lambda pair: pair[1])
            for name, (wall, processor) in best.items():
                print(f"{size[0]}x{size[1]:<8}{name:<8}{wall:>9.2f}{processor:>14.2f}")
            share = best["PyAV"][1] / best["OpenCV"][1]
            print(f"{'':<12}PyAV takes {share:.2f} times the processor time of OpenCV")


def _write(path: Path, size: tuple[int, int], frames: int) -> None:
    """Noise that drifts over a gradient, as hard to decode as a video of a face."""
    import av
    import numpy as np

    random = np.random.default_rng(0)
    width, height = size
    texture = random.normal(128, 30, (height // 8 + 1, 2 * width // 8, 3))
    texture = np.kron(texture, np.ones((8, 8, 1)))[:height].clip(0, 255).astype(np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            shift = 3 * number % (texture.shape[1] - width)
            pixels = np.ascontiguousarray(texture[:, shift : shift + width])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))


def _by_opencv(path: Path) -> int:
    import cv2

    video, count = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), 0
    while True:
        there, frame = video.read()
        if not there:
            return count
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        count += 1


def _by_ours(path: Path) -> int:
    from stfer.data.video import Video

    with Video(str(path)) as video:
        return sum(1 for _ in video)


if __name__ == "__main__":
    command.run(main, define_flags)
