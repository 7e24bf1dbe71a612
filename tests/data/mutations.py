"""Valid files of many formats, damaged at random, and what the readers make of them; used by test_fuzzing.py."""

import io
import json
import random
import shutil
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stfer.data.pictures import read_image
from stfer.data.readers import manifest
from stfer.data.sequence import EMOTIONS_7, UnreadableFrameError
from stfer.data.shards import load_shards, write_shards
from stfer.data.video import Video
from stfer.data.video_index import index_video
from stfer.inference.sources import open_source
from videos import flat, levels, write_video

PICTURES = {
    "png": ("PNG", {}),
    "jpg": ("JPEG", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "webp": ("WEBP", {}),
    "pgm": ("PPM", {}),
    "gif": ("GIF", {}),
    "avif": ("AVIF", {}),
}
VIDEOS = {
    "mp4": "libx264", "webm": "libvpx", "avi": "mpeg4", "ts": "libx264", "flv": "flv", "wmv": "wmv2",
    "ogv": "libvpx", "mxf": "mpeg2video",
}  # fmt: skip
TABLES = ("csv", "txt")
SHARDS = ("header.json", "sequences.csv", "frames-00000.npy")
MANIFEST = "path,subject,emotion,start,end,sequence\nframes,A,happy,0,2,one\nclip.mp4,B,sad,,,\n"


def make_valid(folder: Path) -> None:
    """Write a valid file of every format, and what tables name."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    for suffix, (kind, options) in PICTURES.items():
        picture = Image.fromarray(noise[..., 0] if suffix == "pgm" else noise)
        picture.save(folder / f"valid.{suffix}", kind, **options)
    for suffix, codec in VIDEOS.items():
        write_video(folder / f"valid.{suffix}", [flat(level) for level in levels(10)], codec=codec)
    (folder / "valid.csv").write_text(MANIFEST, "utf-8-sig")
    (folder / "valid.txt").write_text("frames/0.png\nframes/1.png\n", "utf-16")
    (folder / "frames").mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"frames/{number}.png"), noise)
    shutil.copy(folder / "valid.mp4", folder / "clip.mp4")
    frames = np.repeat(noise[None, :16, :16], 5, 0)
    write_shards(folder / "shards", [("s1", "A", "fear", frames), ("s2", "B", "anger", frames)])


def damaged(data: bytes, seed: int) -> bytes:
    """Bytes with one to four random damages: changed, cut, doubled, emptied, shortened, numbers overwritten."""
    random_ = random.Random(seed)
    made = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 4))):
        if not made:
            break
        place = random_.randrange(len(made))
        if random_.random() < 0.5:
            place = min(
                place, random_.randrange(256)
            )  # Headers are short, and the worst to damage.
        length = min(len(made) - place, 1 << random_.randrange(9))
        kind = random_.randrange(7)
        if kind == 0:
            made[place] ^= 1 << random_.randrange(8)
        elif kind == 1:
            made[place : place + length] = random_.randbytes(length)
        elif kind == 2:
            del made[place:]
        elif kind == 3:
            made[place:place] = made[place : place + length]
        elif kind == 4:
            made[place : place + length] = bytes(length)
        elif kind == 5:
            del made[place : place + length]
        else:
            number = random_.choice((0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000))
            made[place : place + 4] = number.to_bytes(4, random_.choice(("big", "little")))
    return bytes(made)


def try_many(items: list[tuple[str, str, int]]) -> list[tuple[str, float]]:
    """For each (folder of valid files, format, seed) what the damaged file came to, and processor seconds."""
    return [_try(Path(folder), kind, seed) for folder, kind, seed in items]


def _try(folder: Path, kind: str, seed: int) -> tuple[str, float]:
    with tempfile.TemporaryDirectory() as place:
        start = time.process_time()
        try:
            outcome = _read(folder, Path(place), kind, seed)
        except (UnreadableFrameError, ValueError, OSError) as error:
            outcome = _judge(error)
        return outcome, time.process_time() - start


def _judge(error: Exception) -> str:
    text = str(error)
    # One sentence with a name in it; a library's own words or a traceback's are none.
    if not text or "Traceback" in text or "<class" in text or text.startswith("["):
        return f"no sentence: {type(error).__name__}: {text[:300]}"
    return "sentence"


def _read(folder: Path, place: Path, kind: str, seed: int) -> str:
    if kind in SHARDS:
        return _shards(folder, place, kind, seed)
    data = damaged((folder / f"valid.{kind}").read_bytes(), seed)
    if kind in PICTURES:
        (place / f"a.{kind}").write_bytes(data)
        return _is_whole(read_image(str(place / f"a.{kind}")))
    if kind in VIDEOS:
        (place / f"a.{kind}").write_bytes(data)
        with Video(str(place / f"a.{kind}")) as video:
            shown = [(_is_whole(frame.pixels), frame.seconds) for frame in video]
        index_video(str(place / f"a.{kind}"))
        times = [seconds for _, seconds in shown]
        if times != sorted(times) or (times and not np.isfinite(times).all()):
            return f"a clock that runs back: {times}"
        return next((o for o, _ in shown if o != "whole"), "whole")
    for name in ("frames", "clip.mp4"):
        (place / name).symlink_to(folder / name)
    (place / f"a.{kind}").write_bytes(data)
    if kind == "txt":
        source = open_source(str(place / "a.txt"))
        frames = list(source)
        return "whole" if len(frames) == source.length else "frames are missing"
    sequences, dropped = manifest.read(place / "a.csv")
    whole = all(s.frames and s.label in EMOTIONS_7 for s in sequences) and len(sequences + dropped)
    return "whole" if whole else "a manifest without a sequence"


def _is_whole(pixels: np.ndarray) -> str:
    fits = pixels.dtype == np.uint8 and pixels.ndim in (2, 3) and pixels.size > 0
    return "whole" if fits else f"no picture: {pixels.dtype} {pixels.shape}"


def _shards(folder: Path, place: Path, name: str, seed: int) -> str:
    shutil.copytree(folder / "shards", place / "shards")
    whole = (folder / "shards" / name).read_bytes()
    data = damaged(whole, seed)
    (place / "shards" / name).write_bytes(data)
    try:
        shards = load_shards(place / "shards")
    except (ValueError, FileNotFoundError):
        return "sentence"
    if data == whole or (name == "header.json" and _same_meaning(data, whole)):
        return "whole"
    seen = [shards.frames(row).shape for row in range(len(shards))]
    # Whatever of the header no checksum covers is for people to read.
    return "whole" if name == "header.json" and seen else "a changed file was loaded"


def _same_meaning(data: bytes, whole: bytes) -> bool:
    return json.load(io.BytesIO(data)) == json.load(io.BytesIO(whole))
