"""A trained model in use.

In three lines of a notebook:

    from stfer.inference import load_model
    model = load_model("models/late_fusion")
    model.predict(frames).probabilities

`load_model()` is the model that ships. `frames` is a uint8 array [frames, height, width, 3]; the face is found,
followed and cut as it was for training, the clips are those of the paper's section VI-B, and both votes come back
with class names.
"""

import functools
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from stfer.data import clips as clips_lib
from stfer.data.clips import ClipRule
from stfer.data.faces import CropSettings, Face, FaceFollower, crop_face
from stfer.data.faces.landmarks import find_landmarks
from stfer.data.faces.points import to_crop
from stfer.data.landmark_track import STREAM as LANDMARKS
from stfer.evaluation import voting
from stfer.inference import folder as folders
from stfer.inference.features import Network, joint_rule, network
from stfer.inference.reference import CalmTrack, neutral_class
from stfer.inference.windows import History, window
from stfer.models.registry import FRAMES
from stfer.pretrained import shipped_model


@dataclass(frozen=True)
class SequencePrediction:
    """What a model says of one sequence.

    Attributes:
        classes: Class names.
        votes: From vote name (`summed`, `maximum`) to the winning class's name.
        shares: From vote name to a number a class name: the mean clip probability (summed), or the share
            of clips that voted for the class (maximum).
        clip_frames: int64 [clips, time], the frames of each clip.
        clip_probabilities: float32 [clips, classes].
        faces: The face found in each frame, or None; empty where the frames were faces already.
    """

    classes: tuple[str, ...]
    votes: Mapping[str, str]
    shares: Mapping[str, Mapping[str, float]]
    clip_frames: np.ndarray
    clip_probabilities: np.ndarray
    faces: tuple[Face | None, ...] = ()

    @property
    def label(self) -> str:
        """The class that the summed vote gives."""
        return self.votes["summed"]

    @property
    def probabilities(self) -> dict[str, float]:
        """The mean clip probability of each class name."""
        return dict(self.shares["summed"])

    def __str__(self) -> str:
        ranked = sorted(self.probabilities.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {value:.2f}" for name, value in ranked)


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model; `load_model` reads one from its folder.

    Attributes:
        card: What `model.json` says.
        module: The network.
        variables: Its parameters and batch statistics.
    """

    card: Mapping[str, Any]
    module: nn.Module
    variables: Mapping[str, Any]

    @property
    def architecture(self) -> str:
        """The architecture's name."""
        return self.card["architecture"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return tuple(self.card["classes"])

    @functools.cached_property
    def inputs(self) -> dict[str, folders.Input]:
        """What the module is called with, in order."""
        return folders.inputs(self.card)

    @property
    def rules(self) -> dict[str, ClipRule]:
        """Which frames each of the inputs sees."""
        return {name: entry.rule for name, entry in self.inputs.items()}

    @property
    def rule(self) -> ClipRule:
        """Which frames a clip takes: those that any of the inputs sees."""
        return joint_rule(self.rules)

    @property
    def frame_rate(self) -> float | None:
        """Frames a second of the training, where it is known: clips are then taken by time."""
        return self.card.get("frame_rate")

    @property
    def reference(self) -> str:
        """What a pair model compares a video's frames with by default: `back`, `first` or `auto`."""
        return self.card.get("reference") or "back"

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the card and the weights: it tells models apart, wherever they lie."""
        found = hashlib.sha256(json.dumps(self.card, sort_keys=True, default=str).encode())
        for path, leaf in jax.tree_util.tree_leaves_with_path(dict(self.variables)):
            found.update(jax.tree_util.keystr(path).encode())
            found.update(np.ascontiguousarray(leaf).tobytes())
        return found.hexdigest()

    @property
    def sees_frames_alone(self) -> bool:
        """Whether frames are all that the model takes."""
        return list(self.inputs) == [FRAMES]

    def check_frames_alone(self) -> None:
        """Raise ValueError where clips of frames are not all that the model takes."""
        if not self.sees_frames_alone:
            raise ValueError(
                f"{self.architecture} takes {' and '.join(self.inputs)}, and clips hold frames alone: "
                "give whole frames to `predict`"
            )

    def check_seen_in_pictures(self) -> None:
        """Raise ValueError unless frames, and landmarks found in them, are all that the model takes."""
        if not set(self.inputs) <= {FRAMES, LANDMARKS}:
            raise ValueError(
                f"{self.architecture} takes {' and '.join(self.inputs)}, of which pictures give {FRAMES} and "
                f"{LANDMARKS} only: test it on a set that has them (experiments.evaluate)"
            )

    def look(self, frame: np.ndarray, face: Face) -> Any:
        """What the model takes of one face in a frame; None where it has no landmarks and they are needed.

        Args:
            frame: uint8 [height, width, 3] RGB or [height, width] grey.
            face: Where it is.

        Returns:
            The crop, uint8 [size, size, 3]; or of a model that takes landmarks a dict with them as float32 [49, 2] in
            crop coordinates.
        """
        crop = crop_face(frame, face, self.crop)
        if self.sees_frames_alone:
            return crop
        points = find_landmarks(frame, face)
        if points is None:
            return None
        return {FRAMES: crop, LANDMARKS: to_crop(points, face, self.crop)}

    def look_at_crop(self, crop: np.ndarray) -> Any:
        """As `look`, of a frame that is a face already, cut as `crop` says."""
        self._check_crops([crop])
        if self.sees_frames_alone:
            return crop
        points = find_landmarks(crop)
        return None if points is None else {FRAMES: crop, LANDMARKS: points / self.crop.size}

    @functools.cached_property
    def crop(self) -> CropSettings:
        """How faces were found and cut for training."""
        return CropSettings.from_dict(self.card["crop"])

    @functools.cached_property
    def network(self) -> Network:
        """The compiled network."""
        task = folders.build_task(self.card)
        precision = self.card["precision"]
        return network(self.module, self.variables, precision, self.rules, task)

    def predict_clips(self, clips: np.ndarray) -> np.ndarray:
        """Class probabilities of clips of faces, in the order of `classes`.

        Args:
            clips: uint8 [n, time, size, size, 3], RGB, cut as `crop` says.

        Returns:
            float32 [n, classes].

        Raises:
            ValueError: Another shape or type.
        """
        self.check_frames_alone()
        clips = np.asarray(clips)
        wanted = (self.rule.frames, self.crop.size, self.crop.size, 3)
        if clips.dtype != np.uint8 or clips.shape[1:] != wanted or not len(clips):
            raise ValueError(
                f"{self.architecture} takes uint8 clips [n, {', '.join(map(str, wanted))}], "
                f"not {clips.dtype} {list(clips.shape)}"
            )
        return self.network.probabilities(clips)

    def predict(
        self,
        frames: np.ndarray | Sequence[np.ndarray],
        find_faces: bool = True,
        seconds: Sequence[float] | None = None,
    ) -> SequencePrediction:
        """Classify one sequence of one person.

        Faces are followed as `experiments.predict` follows them in a video. Of several, the one that is in most clips
        is classified; of equals, the one that was there first and was the largest then.

        Args:
            frames: uint8 [frames, height, width, 3] RGB (or [frames, height, width] grey), neutral to
                apex as the model was trained.
            find_faces: False where every frame is a face of the model's crop size already.
            seconds: [frames], when each was, ascending: where the frame rate of the training is known, clips are
                taken by time. None counts frames.

        Raises:
            ValueError: Wrong shape or type, too few frames for a clip, or no face where a clip needs it.
        """
        self.check_seen_in_pictures()
        frames = checked_frames(frames)
        if self.reference == "auto":
            return self._predict_calm(frames, find_faces)
        name = f"the input to {self.architecture}"
        places = self._places(len(frames), seconds, name)
        looks, faces = self._looks(frames, places, find_faces)
        kept = np.array([all(place in looks for place in clip) for clip in places])
        if not kept.any():
            lacking = next(place for place in places[-1] if place not in looks)
            what = "no landmarks were" if faces and faces[lacking] else "no face was"
            raise ValueError(
                f"{what} found in frame {lacking} (counted from 0) of {len(frames)}, "
                f"which {self.architecture} needs"
            )
        places = places[kept]
        return self._voted(places, self._classify(places, looks), faces)

    def _looks(
        self, frames: Sequence[np.ndarray], places: np.ndarray, find_faces: bool
    ) -> tuple[dict[int, Any], tuple[Face | None, ...]]:
        """What the model takes of each frame that clips [clips, time] need, and the faces (none where not sought)."""
        if find_faces:
            faces = self._follow(frames, places)
            found = {n: face for n in np.unique(places) if (face := faces[n]) is not None}
            looks = {int(n): self.look(frames[n], face) for n, face in found.items()}
        else:
            faces = ()
            looks = {int(n): self.look_at_crop(frames[n]) for n in np.unique(places)}
        return {n: look for n, look in looks.items() if look is not None}, faces

    def _predict_calm(self, frames: Sequence[np.ndarray], find_faces: bool) -> SequencePrediction:
        """The last frame with a face, against one that the sequence shows as calm (`stfer.inference.reference`)."""
        looks, faces = self._looks(frames, np.arange(len(frames))[:, None], find_faces)
        if not looks:
            raise ValueError(f"no face was found in any of the {len(frames)} frames")
        items = self.network.encode(list(looks.values()))
        track = CalmTrack(self.network, neutral_class(self.classes))
        answer = track.classify(list(zip(looks, items, strict=True)))[-1]
        if answer.probabilities is None:
            raise ValueError(
                f"{self.architecture} compares a face with a calm frame of the same face and needs two frames "
                f"with a face at least, not {len(looks)} of {len(frames)}"
            )
        return self._voted(np.array([answer.frames]), answer.probabilities[None], faces)

    def judge(self, faces: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The clips that a set's sequence is judged by, and what is said of them.

        A model that finds its calm reference itself (`reference` is `auto`) has one clip a sequence, the last frame
        against the calm one; a sequence as short as a clip is one already.

        Args:
            faces: uint8 [frames, size, size, 3], cut as `crop` says.
            name: Of the sequence, for an error.

        Returns:
            The frames of each clip, int64 [clips, time], and float32 [clips, classes].

        Raises:
            ValueError: The sequence is too short for a clip.
        """
        if self.reference == "auto" and len(faces) > self.rule.frames:
            found = self.predict(faces, find_faces=False)
            return found.clip_frames, found.clip_probabilities
        places = clips_lib.evaluation_clips(self.rule, len(faces), name)
        return places, self._classify(places, faces)

    def _voted(
        self, places: np.ndarray, probabilities: np.ndarray, faces: tuple[Face | None, ...]
    ) -> SequencePrediction:
        tally = voting.count(probabilities)
        return SequencePrediction(
            self.classes,
            {vote: self.classes[winner] for vote, winner in tally.winners().items()},
            {
                vote: dict(zip(self.classes, map(float, share), strict=True))
                for vote, share in tally.shares().items()
            },
            places,
            probabilities,
            faces,
        )

    def _places(self, frames: int, seconds: Sequence[float] | None, name: str) -> np.ndarray:
        """The frames of each evaluation clip, int64 [clips, time], by time where it is known.

        Pairs that vote are counted in frames.
        """
        if seconds is None or self.frame_rate is None or self.rule.pairs != "last":
            return clips_lib.evaluation_clips(self.rule, frames, name)
        if len(seconds) != frames or any(b < a for a, b in itertools.pairwise(seconds)):
            raise ValueError(f"seconds must ascend, one for each of the {frames} frames")
        history: History[int] = History(window(self.rule, rate=self.frame_rate))
        found = (history.add(number, number, when)[1] for number, when in enumerate(seconds))
        clips = [[number for number, _ in clip] for clip in found if clip]
        if not clips:
            needed = (self.rule.shortest - 1) / self.frame_rate
            raise ValueError(
                f"{name} takes {seconds[-1] - seconds[0] if frames else 0:.3g} s, and a clip needs {needed:.3g} s"
            )
        return np.array(clips if self.rule.slide else clips[-1:])

    def _follow(self, frames: Sequence[np.ndarray], places: np.ndarray) -> tuple[Face | None, ...]:
        """The face of each frame whose track is in most of the clips [clips, time]."""
        follower = FaceFollower(self.crop)
        tracks: dict[int, list[Face | None]] = {}
        for number, frame in enumerate(frames):
            for track, found in follower(frame):
                faces = tracks.setdefault(track, [None] * len(frames))
                faces[number] = found.face if found else None

        def clips(faces: list[Face | None]) -> int:
            return np.array([face is not None for face in faces])[places].all(axis=1).sum()

        chosen: list[Face | None] = max(tracks.values(), key=clips, default=[None] * len(frames))
        return tuple(chosen)

    def _check_crops(self, crops: Iterable[np.ndarray]) -> None:
        size = self.crop.size
        for crop in crops:
            if crop.shape != (size, size, 3):
                raise ValueError(
                    f"faces for {self.architecture} are {size}x{size} RGB, not {crop.shape}"
                )

    def _classify(self, places: np.ndarray, looks: Mapping[int, Any] | np.ndarray) -> np.ndarray:
        used = np.unique(places)
        items = dict(zip(used, self.network.encode([looks[n] for n in used]), strict=True))
        return self.network.classify([[items[place] for place in clip] for clip in places])

    def save(self, folder: str | Path, files: Mapping[str, str] | None = None) -> Path:
        """Write the model's folder; raises as `folder.save_folder`."""
        return folders.save_folder(folder, self.card, self.variables, files)


def load_model(folder: str | os.PathLike[str] | None = None) -> TrainedModel:
    """Read a model folder; without one, that of the model that ships (`stfer.pretrained`).

    Raises:
        FileNotFoundError, ValueError: As `stfer.inference.folder.read_folder`.
    """
    return TrainedModel(*folders.read_folder(Path(shipped_model() if folder is None else folder)))


def checked_frames(frames: np.ndarray | Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """The frames one by one; raises ValueError unless they are uint8 [height, width, 3] or [height, width]."""
    if isinstance(frames, np.ndarray) and (
        frames.ndim == 2 or (frames.ndim == 3 and frames.shape[2] == 3)
    ):
        raise ValueError(
            f"frames must be uint8 [frames, height, width, 3], and {list(frames.shape)} is one frame: "
            "give frames[None] to a model of single frames, or more frames"
        )
    found = [np.asarray(frame) for frame in frames]
    for frame in found:
        if frame.dtype != np.uint8 or not (
            frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)
        ):
            raise ValueError(
                "frames must be uint8 [frames, height, width, 3] (RGB) or [frames, height, width] "
                f"(grey), but one is {frame.dtype} {list(frame.shape)}"
            )
    return found
