"""Raw frames or videos to shards: python -m experiments.preprocess --dataset=ck_plus --root=... --out=...

Data sets: ck_plus (the unpacked zips of CK+), oulu_casia (Oulu-CASIA NIR&VIS), manifest (--root is a CSV
file with path,subject,emotion[,start,end][,sequence]). --check looks at the folders alone and compares
their counts with the complete set's. The shard folder also gets dropped.csv (every sequence left out,
with its reason), faces.csv (every box), class_distribution.png and, with --preview, sheets of crops.
Killed, the same command goes on where it was.
"""

import os
from pathlib import Path

from absl import flags

from experiments import command

FLAGS = flags.FLAGS
DATASETS = ["ck_plus", "oulu_casia", "manifest"]
LARGEST_IMAGE = 1 << 26  # pixels


def define_flags() -> None:
    flags.DEFINE_enum("dataset", None, DATASETS, "Which layout --root has.")
    flags.DEFINE_string("root", None, "The unpacked set's folder, or the manifest file.")
    flags.DEFINE_string("out", None, "The shard folder to make.")
    flags.DEFINE_string("name", None, "The set's name; default: the name of --out's folder.")
    flags.DEFINE_list("light", ["strong"], "Oulu-CASIA: strong, weak, dark; several with commas.")
    flags.DEFINE_enum("modality", "vl", ["vl", "ni"], "Oulu-CASIA: visible light or near infrared.")
    flags.DEFINE_enum("classes", "6", ["6", "7"], "Emotions: 7 adds contempt.")
    flags.DEFINE_integer("min_frames", 15, "Shorter sequences are dropped.", lower_bound=1)
    flags.DEFINE_enum("detector", "lbp", ["lbp", "yunet", "none"], "The face detector.")
    flags.DEFINE_float("margin", None, "Added to each side of a face's box, as a fraction of it.")
    flags.DEFINE_integer("size", 170, "Height and width of the crops in pixels.")
    flags.DEFINE_enum(
        "missing_faces",
        "drop",
        ["drop", "interpolate"],
        "A frame without a face: drop its sequence?",
    )
    flags.DEFINE_float(
        "missing_share",
        0.25,
        "Interpolation fills at most this share of a sequence's frames.",
        0.0,
        1.0,
    )
    flags.DEFINE_enum("gaps", "drop", ["drop", "keep"], "Sequences whose frame numbers have gaps.")
    flags.DEFINE_string(
        "population",
        None,
        "manifest: whose subjects these are (default: the set's name). In sets of one population, used together, the "
        "same subject is one person.",
    )
    flags.DEFINE_string("synonyms", None, "manifest: a JSON file of further emotion names.")
    flags.DEFINE_string("yunet_model", None, "The file face_detection_yunet_2023mar.onnx.")
    flags.DEFINE_enum(
        "rotate", "0", ["0", "90", "180", "270"], "Degrees clockwise to turn all frames by."
    )
    flags.DEFINE_float(
        "frame_rate",
        None,
        "manifest: frames a second to take from videos of another rate, by their time stamps (default: all frames); "
        "of pictures, how many a second there are.",
        lower_bound=0.01,
    )
    flags.DEFINE_integer(
        "workers",
        None,
        "Processes (default: one a core that this process may use).",
        lower_bound=1,
        upper_bound=256,
    )
    flags.DEFINE_bool(
        "check", False, "Look at the folders only: no pixel is read, nothing is written."
    )
    flags.DEFINE_integer(
        "benchmark", 0, "Time this many frames on one core and write nothing.", lower_bound=0
    )
    flags.DEFINE_bool("preview", False, "Also draw sheets of crops, the largest jump first.")


def main(argv: list[str]) -> None:
    # OpenCV reads this when it is imported; one huge image must not take a worker's memory.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(LARGEST_IMAGE))
    from stfer.data.sequence import CLASSES, alike_warning, select
    from stfer.data.workers import usable_cores

    for name in ("root", "out", "synonyms", "yunet_model"):
        if FLAGS[name].value:
            FLAGS[name].value = os.path.expanduser(FLAGS[name].value)
    _require()
    FLAGS.workers = FLAGS.workers or usable_cores()
    command.print_settings("preprocess", _settings())
    settings = None if FLAGS.check else _crop_settings()
    sequences, dropped = _read()
    classes = CLASSES[int(FLAGS.classes)]
    kept, unfit = select(sequences, classes, FLAGS.min_frames, keep_gaps=FLAGS.gaps == "keep")
    _print_counts(sequences, dropped, kept)
    if warning := alike_warning(s.subject for s in [*kept, *unfit]):
        print(f"warning: {warning}")
    if FLAGS.check:
        _print_classes("Would be left before face detection", [s.label for s in kept], classes)
        _print_dropped([*dropped, *unfit], "would be dropped")
        return
    if FLAGS.benchmark:
        _benchmark(kept, settings)
        return
    result = _preprocess(kept, [*dropped, *unfit], settings, classes)
    _print_classes("Left", [entry["label"] for entry in result.kept], classes)
    _print_notes(result.notes)
    _print_dropped(result.dropped, f"dropped (all in {Path(FLAGS.out) / 'dropped.csv'})")
    command.print_paths([result.folder])


def _require() -> None:
    for name in ("dataset", "root"):
        if not getattr(FLAGS, name):
            raise command.UserError(f"--{name} is needed; --help lists the flags")
    if not FLAGS.check and not FLAGS.benchmark and not FLAGS.out:
        raise command.UserError(
            "--out is needed: the shard folder to make (or --check, or --benchmark)"
        )
    if FLAGS.out and not FLAGS.check and os.path.lexists(FLAGS.out):
        out = Path(FLAGS.out)
        if not out.is_dir() or next(out.iterdir(), None) is not None:
            raise command.UserError(
                f"--out={out} exists already: name a new folder, or remove it first"
            )
    if FLAGS.population and FLAGS.dataset != "manifest":
        raise command.UserError(
            f"--population is for --dataset=manifest; the subjects of {FLAGS.dataset} are one population already"
        )
    if FLAGS.yunet_model:
        os.environ["STFER_YUNET_MODEL"] = os.path.abspath(FLAGS.yunet_model)


def _settings() -> dict[str, object]:
    names = ["dataset", "root", "out", "classes", "min_frames", "gaps"]
    names += ["light", "modality"] if FLAGS.dataset == "oulu_casia" else []
    names += ["synonyms", "population"] if FLAGS.dataset == "manifest" else []
    names += (
        []
        if FLAGS.check
        else [
            "detector",
            "margin",
            "size",
            "missing_faces",
            "missing_share",
            "rotate",
            "frame_rate",
            "workers",
        ]
    )
    shown = {name: getattr(FLAGS, name) for name in names}
    if "margin" in shown and FLAGS.margin is None:
        from stfer.data.faces import DEFAULT_MARGIN

        shown["margin"] = DEFAULT_MARGIN[FLAGS.detector]
    return {k: ",".join(v) if isinstance(v, list) else v for k, v in shown.items() if v is not None}


def _crop_settings():
    from stfer.data.faces import CropSettings

    settings = CropSettings(FLAGS.detector, FLAGS.margin, FLAGS.size, FLAGS.missing_faces)
    if FLAGS.detector == "yunet":
        from stfer.data.faces import yunet

        yunet.find_model()
    return settings


def _read():
    from stfer.data.readers import ck_plus, manifest, oulu_casia

    if FLAGS.dataset == "ck_plus":
        return ck_plus.read(FLAGS.root)
    if FLAGS.dataset == "manifest":
        return manifest.read(FLAGS.root, FLAGS.synonyms, FLAGS.frame_rate)
    lights = [light.strip().lower() for light in FLAGS.light if light.strip()]
    layout = oulu_casia.find_layout(FLAGS.root, FLAGS.modality)
    if layout.cropped and FLAGS.detector != "none":
        print(
            f"note: {layout.folder} is cut to the faces already; --detector=none takes it as it is"
        )
    return oulu_casia.read(FLAGS.root, lights, FLAGS.modality)


def _preprocess(kept, dropped, settings, classes):
    from tqdm import tqdm

    from stfer.data import overview, preprocess
    from stfer.data.readers.ck_plus import POPULATION as CK_PLUS
    from stfer.data.readers.oulu_casia import POPULATION as OULU_CASIA

    name = FLAGS.name or Path(os.path.abspath(FLAGS.out)).name
    known = {"ck_plus": CK_PLUS, "oulu_casia": OULU_CASIA}
    population = known.get(FLAGS.dataset, FLAGS.population or name)

    def figures(writer, entries, _) -> dict[str, bytes]:
        labels = [entry["label"] for entry in entries]
        files = {"class_distribution.png": overview.draw_class_distribution(labels, classes, name)}
        if FLAGS.preview:
            tracks = [(e["sequence"], writer.frames(e), e["note"]["faces"]) for e in entries]
            files |= overview.contact_sheets(tracks)
        return files

    total = sum(map(len, kept))
    with tqdm(total=total, unit=" frames", smoothing=0.05, disable=None) as bar:
        return preprocess.preprocess(
            kept,
            FLAGS.out,
            settings,
            name=name,
            population=population,
            classes=classes,
            dropped=dropped,
            min_frames=FLAGS.min_frames,
            frame_rate=FLAGS.frame_rate or overview.common_rate(kept),
            missing_share=FLAGS.missing_share,
            rotate=int(FLAGS.rotate),
            workers=FLAGS.workers,
            progress=bar.update,
            extra_files=figures,
        )


def _benchmark(sequences, settings) -> None:
    from stfer.data.timing import AGREE, measure

    timing = measure(sequences, settings, FLAGS.benchmark)
    print(f"\n{timing.frames} frames, the last of {timing.size[0]}x{timing.size[1]}, on one core")
    total = timing.read + timing.find + timing.crop
    print(
        f"  milliseconds a frame: read {timing.read:.2f}, find {timing.find:.2f}, "
        f"crop {timing.crop:.2f}, in all {total:.2f}"
    )
    print("  found: " + ", ".join(f"{how} {count}" for how, count in sorted(timing.found.items())))
    if timing.plain is not None and timing.agreement is not None:
        print(
            f"  a plain full search: {timing.plain:.2f} ms; its face is the same (overlap at least "
            f"{AGREE}) on {timing.agreement:.2%}; {timing.only_plain} faces only it found"
        )


def _print_counts(sequences, dropped, kept) -> None:
    import numpy as np

    from stfer.data import overview

    rows = overview.complete_counts(FLAGS.dataset, sequences, dropped, kept, len(FLAGS.light))
    print(f"\n{'':<28}{'found':>8}{'complete set':>14}")
    for what, found, complete in rows:
        mark = "" if complete in (None, found) else "  differs"
        print(f"{what:<28}{found:>8}{'' if complete is None else complete:>14}{mark}")
    if papers := overview.papers_count(FLAGS.dataset, FLAGS.light, FLAGS.modality):
        print(f"{'(the paper, after detection)':<28}{papers:>8}")
    if kept:
        lengths = np.array([len(sequence) for sequence in kept])
        print(
            f"lengths: {lengths.min()} to {lengths.max()} frames, median {np.median(lengths):g}, "
            f"{lengths.sum()} frames in all"
        )
    if FLAGS.dataset != "manifest" and any(c not in (None, f) for _, f, c in rows):
        print("warning: counts differ from the complete set's; is the download whole?")


def _print_classes(title: str, labels: list[str], classes: tuple[str, ...]) -> None:
    print(f"\n{title}: {len(labels)} sequences")
    for name in classes:
        count = labels.count(name)
        print(f"  {name:<12}{count:>6}  {'#' * round(40 * count / max(len(labels), 1))}")


def _print_notes(notes) -> None:
    from stfer.data import overview

    for text, count, example in overview.kinds_of_notes(notes):
        of = f"{example} and {count - 1} more" if count > 1 else example
        print(f"note: {of}: {text}")


def _print_dropped(dropped, what: str) -> None:
    from stfer.data import overview

    print(f"\n{len(dropped)} {what}")
    for kind, count, example in overview.kinds_of_dropped(dropped):
        print(f"  {count:>5}  {kind:<20}  e.g. {example.sequence}: {example.reason}")


if __name__ == "__main__":
    command.run(main, define_flags)
