"""Turns raw frames or videos into shards.

    python -m experiments.preprocess --dataset=ck_plus --root=CK --check
    python -m experiments.preprocess --dataset=ck_plus --root=CK --out=shards/ck_plus

Data sets: ck_plus (the unpacked zips of CK+), oulu_casia (Oulu-CASIA NIR&VIS), manifest (--root is a CSV file with
path,subject,emotion[,start,end][,sequence]), and those of --modules. The shard folder also gets dropped.csv,
faces.csv, class_distribution.png and, with --preview, sheets of crops. Killed, the same command goes on.
"""

from absl import flags

from experiments import command

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    from stfer.data.readers import READERS

    flags.DEFINE_string("dataset", None, f"Which layout --root has: {', '.join(READERS)}.")
    flags.DEFINE_list("modules", [], "Python modules to import first: readers, detectors.")
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
    flags.DEFINE_enum("missing_faces", "drop", ["drop", "interpolate"], "Of a frame without face.")
    flags.DEFINE_float("missing_share", 0.25, "Interpolate at most this share of frames.", 0, 1)
    flags.DEFINE_enum("rotate", "0", ["0", "90", "180", "270"], "Degrees clockwise to turn frames.")
    rate = "manifest: frames a second to take from videos of another rate; of pictures, how many there are."
    flags.DEFINE_float("frame_rate", None, rate, 0.01)
    flags.DEFINE_enum("gaps", "drop", ["drop", "keep"], "Sequences whose frame numbers have gaps.")
    whose = "Whose subjects these are, where --dataset does not say it; a name is one person there."
    flags.DEFINE_string("population", None, whose)
    flags.DEFINE_string("synonyms", None, "manifest: a JSON file of further emotion names.")
    flags.DEFINE_string("yunet_model", None, "The file face_detection_yunet_2023mar.onnx.")
    flags.DEFINE_integer("workers", None, "Processes (default: all usable cores).", 1, 256)
    flags.DEFINE_bool("check", False, "Look at the folders only: read no pixel, write nothing.")
    flags.DEFINE_integer("benchmark", 0, "Time so many frames on one core, write nothing.", 0)
    several = (
        "Detectors to compare, lbp,yunet: OUT gets the frames on which they differ, and no shards."
    )
    flags.DEFINE_list("compare_detectors", None, several)
    points = "Also keep 49 facial points a frame: found by MediaPipe's face mesh, or CK+'s own."
    flags.DEFINE_enum("landmarks", None, ["mediapipe", "ck_plus"], points)
    flags.DEFINE_bool("preview", False, "Also draw sheets of crops, the largest jump first.")


def main(argv: list[str]) -> None:
    """Run the command."""
    del argv
    from stfer import registries
    from stfer.data.faces.working import working_settings
    from stfer.data.listing import list_set, make_shards
    from stfer.data.sequence import CLASSES
    from stfer.data.workers import usable_cores

    registries.import_modules(FLAGS.modules)
    _check_flags()
    FLAGS.workers = FLAGS.workers or usable_cores()
    crop = (FLAGS.detector, FLAGS.margin, FLAGS.size, FLAGS.missing_faces)
    settings = working_settings(*crop, yunet_model=FLAGS.yunet_model, try_it=not FLAGS.check)
    names = ("dataset", "root", "out", "options", "classes", "min_frames", "gaps", "workers")
    shown = {name: value for name in (*names, "landmarks") if (value := getattr(FLAGS, name))}
    command.print_settings("preprocess", shown | settings.to_dict())
    lights = [light.lower() for light in FLAGS.light]
    known = {"lights": lights, "modality": FLAGS.modality, "rate": FLAGS.frame_rate}
    known["synonyms_file"] = FLAGS.synonyms
    chosen = {"classes": CLASSES[int(FLAGS.classes)], "min_frames": FLAGS.min_frames}
    chosen |= {"keep_gaps": FLAGS.gaps == "keep", "population": FLAGS.population}
    listing = list_set(FLAGS.dataset, FLAGS.root, known=known, options=FLAGS.options, **chosen)
    if listing.note and settings.detector != "none":
        print(f"note: {listing.note}")
    print(listing.counts_text())
    if listing.warning:
        print(f"warning: {listing.warning}")
    if FLAGS.check:
        print(listing.check_text())
    elif FLAGS.benchmark:
        from stfer.data.timing import measure

        marked = FLAGS.landmarks == "mediapipe"
        print(f"\n{measure(listing.kept, settings, FLAGS.benchmark, landmarks=marked)}")
    elif FLAGS.compare_detectors:
        compared = listing.compare_detectors(FLAGS.compare_detectors, FLAGS.workers)
        print(compared.text())
        command.print_paths(compared.write(FLAGS.out))
    else:
        made = listing, FLAGS.out, settings, FLAGS.name, FLAGS.workers, FLAGS.preview
        share, rotate = FLAGS.missing_share, int(FLAGS.rotate)
        result = make_shards(*made, missing_share=share, rotate=rotate, landmarks=FLAGS.landmarks)
        print(listing.result_text(result))
        command.print_paths([result.folder])


def _check_flags() -> None:
    """Raise where flags are missing, or something is in the new folder's place."""
    from stfer.storage.files import check_new

    writes = ("out",) if not FLAGS.check and not FLAGS.benchmark else ()
    for name in ("dataset", "root", *writes):
        if not getattr(FLAGS, name):
            raise command.UserError(f"--{name} is needed; --help lists the flags")
    if writes:
        check_new(FLAGS.out)


if __name__ == "__main__":
    command.run(main, define_flags, ("dataset", "root", "out", "check", "preview"))
