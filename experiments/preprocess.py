"""Raw frames or videos to shards: python -m experiments.preprocess --dataset=ck_plus --root=... --out=...

Data sets: ck_plus (the unpacked zips of CK+), oulu_casia (Oulu-CASIA NIR&VIS), manifest (--root is a CSV
file with path,subject,emotion[,start,end][,sequence]), and those that a module of --modules registers.
--check looks at the folders alone and compares their counts with the complete set's. The shard folder also
gets dropped.csv (every sequence left out, with its reason), faces.csv (every box), class_distribution.png
and, with --preview, sheets of crops. Killed, the same command goes on where it was.
"""

import os
from pathlib import Path

from absl import flags

from experiments import command

FLAGS = flags.FLAGS
LARGEST_IMAGE = 1 << 26  # pixels


def define_flags() -> None:
    from stfer.data.readers import READERS

    flags.DEFINE_string("dataset", None, f"Which layout --root has: {', '.join(READERS)}.")
    flags.DEFINE_list("modules", [], "Python modules to import first, which register readers.")
    flags.DEFINE_list("options", [], "Further options of a reader of --modules: NAME=VALUE,...")
    flags.DEFINE_string("root", None, "The unpacked set's folder, or the manifest file.")
    flags.DEFINE_string("out", None, "The shard folder to make.")
    flags.DEFINE_string("name", None, "The set's name; default: the name of --out's folder.")
    flags.DEFINE_list("light", ["strong"], "Oulu-CASIA: strong, weak, dark; several with commas.")
    flags.DEFINE_enum("modality", "vl", ["vl", "ni"], "Oulu-CASIA: visible light or near infrared.")
    flags.DEFINE_enum("classes", "6", ["6", "7"], "Emotions: 7 adds contempt.")
    flags.DEFINE_integer("min_frames", 15, "Shorter sequences are dropped.", lower_bound=1)
    flags.DEFINE_string("detector", "lbp", "The face detector: lbp, yunet, none.")
    flags.DEFINE_float("margin", None, "Added to each side of a face's box, as a fraction of it.")
    flags.DEFINE_integer("size", 170, "Height and width of the crops in pixels.")
    flags.DEFINE_enum(
        "missing_faces",
        "drop",
        ["drop", "interpolate"],
        "A frame without a face: drop its sequence?",
    )
    flags.DEFINE_enum("gaps", "drop", ["drop", "keep"], "Sequences whose frame numbers have gaps.")
    flags.DEFINE_string(
        "population",
        None,
        "Whose subjects these are, where the data set does not say it (default: the set's name). In sets of one "
        "population, used together, the same subject is one person.",
    )
    flags.DEFINE_string("synonyms", None, "manifest: a JSON file of further emotion names.")
    flags.DEFINE_string("yunet_model", None, "The file face_detection_yunet_2023mar.onnx.")
    flags.DEFINE_integer(
        "workers", os.cpu_count() or 1, "Processes.", lower_bound=1, upper_bound=256
    )
    flags.DEFINE_bool(
        "check", False, "Look at the folders only: no pixel is read, nothing is written."
    )
    flags.DEFINE_integer(
        "benchmark", 0, "Time this many frames on one core and write nothing.", lower_bound=0
    )
    flags.DEFINE_enum(
        "landmarks",
        None,
        ["mediapipe", "ck_plus"],
        "Also keep 49 facial points a frame: found by MediaPipe's face mesh, or CK+'s own.",
    )
    flags.DEFINE_bool("preview", False, "Also draw sheets of crops, the largest jump first.")


def main(argv: list[str]) -> None:
    # OpenCV reads this when it is imported; one huge image must not take a worker's memory.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(LARGEST_IMAGE))
    from stfer.runs import modules

    modules.import_modules(FLAGS.modules)
    reader = _require()
    from stfer.data.sequence import CLASSES, select

    command.print_settings("preprocess", _settings())
    settings = None if FLAGS.check else _crop_settings()
    options = _options(reader)
    if reader.name == "oulu_casia":
        _note_cropped(options)
    sequences, dropped = reader.read(FLAGS.root, **options)
    classes = CLASSES[int(FLAGS.classes)]
    kept, unfit = select(sequences, classes, FLAGS.min_frames, keep_gaps=FLAGS.gaps == "keep")
    _print_counts(reader.complete_counts(**options), sequences, dropped, kept)
    if FLAGS.check:
        _print_classes("Would be left before face detection", [s.label for s in kept], classes)
        _print_dropped([*dropped, *unfit], "would be dropped")
        return
    if FLAGS.benchmark:
        _benchmark(kept, settings)
        return
    result = _preprocess(reader, kept, [*dropped, *unfit], settings, classes)
    _print_classes("Left", [entry["label"] for entry in result.kept], classes)
    _print_dropped(result.dropped, f"dropped (all in {Path(FLAGS.out) / 'dropped.csv'})")
    command.print_paths([result.folder])


def _require():
    """Check the flags; returns the reader that `--dataset` names."""
    from stfer.data.readers import READERS

    if not FLAGS.dataset:
        raise command.UserError("--dataset is needed; --help lists the flags")
    if FLAGS.dataset not in READERS:
        raise command.UserError(
            f"--dataset={FLAGS.dataset} is unknown; it must be one of {', '.join(READERS)}, "
            "or come with a module of --modules"
        )
    reader = READERS[FLAGS.dataset]
    if not FLAGS.root:
        raise command.UserError("--root is needed; --help lists the flags")
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
    if FLAGS.population and reader.population:
        raise command.UserError(
            f"--population is for sets that do not say it, such as --dataset=manifest; the subjects of "
            f"{FLAGS.dataset} are one population already"
        )
    if FLAGS.yunet_model:
        os.environ["STFER_YUNET_MODEL"] = os.path.abspath(FLAGS.yunet_model)
    return reader


def _settings() -> dict[str, object]:
    names = ["dataset", "root", "out", "classes", "min_frames", "gaps"]
    names += ["options"] if FLAGS.options else []
    names += ["light", "modality"] if FLAGS.dataset == "oulu_casia" else []
    names += ["synonyms", "population"] if FLAGS.dataset == "manifest" else []
    names += [] if FLAGS.check else ["detector", "margin", "size", "missing_faces", "workers"]
    names += ["landmarks"] if FLAGS.landmarks else []
    shown = {name: getattr(FLAGS, name) for name in names}
    if "margin" in shown and FLAGS.margin is None:
        from stfer.data.faces import DETECTORS

        shown["margin"] = DETECTORS.find(FLAGS.detector).margin
    return {k: ",".join(v) if isinstance(v, list) else v for k, v in shown.items() if v is not None}


def _crop_settings():
    from stfer.data.faces import DETECTORS, CropSettings

    settings = CropSettings(FLAGS.detector, FLAGS.margin, FLAGS.size, FLAGS.missing_faces)
    DETECTORS[FLAGS.detector].check()
    return settings


def _options(reader) -> dict[str, object]:
    """What the reader is told beside the root: those of the flags that it takes, and `--options`."""
    lights = [light.strip().lower() for light in FLAGS.light if light.strip()]
    known = {"lights": lights, "modality": FLAGS.modality, "synonyms_file": FLAGS.synonyms}
    options = {name: value for name, value in known.items() if name in reader.options}
    for text in FLAGS.options:
        name, equals, value = text.partition("=")
        if not equals or name not in reader.options:
            takes = ", ".join(reader.options) or "none"
            raise command.UserError(
                f"--options={text}: {reader.name} takes NAME=VALUE of the options {takes}"
            )
        options[name] = value
    return options


def _note_cropped(options) -> None:
    from stfer.data.readers import oulu_casia

    layout = oulu_casia.find_layout(FLAGS.root, options["modality"])
    if layout.cropped and FLAGS.detector != "none":
        print(
            f"note: {layout.folder} is cut to the faces already; --detector=none takes it as it is"
        )


def _preprocess(reader, kept, dropped, settings, classes):
    from tqdm import tqdm

    from stfer.data import overview, preprocess

    name = FLAGS.name or Path(os.path.abspath(FLAGS.out)).name

    def figures(writer, entries, _) -> dict[str, bytes]:
        labels = [entry["label"] for entry in entries]
        files = {"class_distribution.png": overview.draw_class_distribution(labels, classes, name)}
        if FLAGS.preview:
            tracks = [(e["sequence"], _pictures(writer, e), e["note"]) for e in entries]
            files |= overview.contact_sheets(tracks)
        return files

    total = sum(map(len, kept))
    with tqdm(total=total, unit=" frames", smoothing=0.05, disable=None) as bar:
        return preprocess.preprocess(
            kept,
            FLAGS.out,
            settings,
            name=name,
            population=reader.population or FLAGS.population or name,
            classes=classes,
            dropped=dropped,
            min_frames=FLAGS.min_frames,
            workers=FLAGS.workers,
            landmarks=_landmarks(),
            progress=bar.update,
            extra_files=figures,
        )


def _landmarks():
    """Where landmarks come from, as `preprocess` takes it."""
    if FLAGS.landmarks != "ck_plus":
        return FLAGS.landmarks
    if FLAGS.dataset != "ck_plus":
        raise command.UserError(
            "--landmarks=ck_plus needs --dataset=ck_plus; mediapipe finds points in any set"
        )
    import functools

    from stfer.data.readers import ck_plus_landmarks

    folder = ck_plus_landmarks.find_landmark_folder(FLAGS.root)
    return functools.partial(ck_plus_landmarks.read_landmarks, folder)


def _pictures(writer, entry):
    """A kept sequence's crops for the preview, with their landmarks where there are any."""
    from stfer.data.faces.points import DrawnCrops

    crops = writer.frames(entry)
    return DrawnCrops(crops, writer.stream("landmarks", entry)) if FLAGS.landmarks else crops


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


def _print_counts(complete, sequences, dropped, kept) -> None:
    import numpy as np

    from stfer.data import overview

    rows = overview.complete_counts(complete, sequences, dropped, kept)
    print(f"\n{'':<28}{'found':>8}{'complete set':>14}")
    for what, found, whole in rows:
        mark = "" if whole in (None, found) else "  differs"
        print(f"{what:<28}{found:>8}{'' if whole is None else whole:>14}{mark}")
    if "the paper's" in complete:
        print(f"{'(the paper, after detection)':<28}{complete["the paper's"]:>8}")
    if kept:
        lengths = np.array([len(sequence) for sequence in kept])
        print(
            f"lengths: {lengths.min()} to {lengths.max()} frames, median {np.median(lengths):g}, "
            f"{lengths.sum()} frames in all"
        )
    if any(c not in (None, f) for _, f, c in rows):
        print("warning: counts differ from the complete set's; is the download whole?")


def _print_classes(title: str, labels: list[str], classes: tuple[str, ...]) -> None:
    print(f"\n{title}: {len(labels)} sequences")
    for name in classes:
        count = labels.count(name)
        print(f"  {name:<12}{count:>6}  {'#' * round(40 * count / max(len(labels), 1))}")


def _print_dropped(dropped, what: str) -> None:
    from stfer.data import overview

    print(f"\n{len(dropped)} {what}")
    for kind, count, example in overview.kinds_of_dropped(dropped):
        print(f"  {count:>5}  {kind:<20}  e.g. {example.sequence}: {example.reason}")


if __name__ == "__main__":
    command.run(main, define_flags)
