"""Parts of EmoNets that need no sound: Kahou et al., J. Multimodal User Interfaces 10, 2016 (the paper's [2]).

Bag of mouths: the mouth of a 96x96 face (rows 55-85, columns 30-70) in 4x4 sections. Per section, 8x8x3 patches are
normalised, PCA-whitened to 90 % of the variance and compared with 400 k-means words by the triangle activation of
Coates, Lee and Ng (2011), max(0, mean distance - distance), averaged over the section. 16 x 400 values a frame go to a
logistic regression (38,406 parameters at 6 classes); its probabilities are averaged over the frames.

Ten bins: a network's probabilities a frame, averaged in ten bins of the clip, go to a support vector machine.

All numbers are the authors' code's (sebastien-j/emotiw, useSVM4.m). Our choice: a patch belongs to the section of its
upper left corner; at most 20,000 patches a section are clustered; k-means is scikit-learn's mini-batch one; the
machine's kernel is RBF with scikit-learn's own constants. Their third part, the weighted combination, is
`stfer.evaluation.combination`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

FACE = 96
ROWS, COLUMNS = slice(55, 85), slice(30, 70)
SECTIONS, PATCH, BINS = 4, 8, 10


def mouth_patches(face: np.ndarray) -> list[np.ndarray]:
    """The normalised patches of each section of one face's mouth.

    Args:
        face: uint8 [height, width, 3]; resized to 96x96.

    Returns:
        For each of the 4x4 sections, row by row, float32 [patches, 8 * 8 * 3], each of mean 0 and deviation 1.
    """
    face = cv2.resize(face, (FACE, FACE), interpolation=cv2.INTER_AREA)
    mouth = face[ROWS, COLUMNS].astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(mouth, (PATCH, PATCH), axis=(0, 1))
    windows = np.moveaxis(windows, 2, -1)  # [row, column, patch row, patch column, channel]
    patches = windows.reshape(*windows.shape[:2], -1)
    patches = patches - patches.mean(-1, keepdims=True)
    patches = patches / (patches.std(-1, keepdims=True) + 1.0)
    return [
        part.reshape(-1, patches.shape[-1])
        for band in np.array_split(patches, SECTIONS, axis=0)
        for part in np.array_split(band, SECTIONS, axis=1)
    ]


def triangle(distances: np.ndarray) -> np.ndarray:
    """Activations max(0, mean - d) of distances [patches, words] to k-means words (Coates, Lee and Ng 2011)."""
    return np.maximum(0, distances.mean(1, keepdims=True) - distances)


@dataclass
class BagOfMouths:
    """The bag of mouths as a classifier of clips.

    Attributes:
        words: k-means words a section.
        variance: share of the variance that whitening keeps.
        strength: of the regression's squared L2 penalty, beside the mean loss.
        most_patches: of a section that are clustered.
        seed: of sampling and k-means.
    """

    words: int = 400
    variance: float = 0.9
    strength: float = 1e-3
    most_patches: int = 20_000
    seed: int = 0
    sections: list[tuple[PCA, MiniBatchKMeans]] = field(default_factory=list, init=False)
    regression: LogisticRegression | None = field(default=None, init=False)

    def fit(self, clips: Sequence[np.ndarray], labels: np.ndarray) -> "BagOfMouths":
        """Learn words and regression from clips uint8 [frames, height, width, 3] and their labels [clips].

        Raises:
            ValueError: fewer patches than words.
        """
        frames = [mouth_patches(face) for clip in clips for face in clip]
        random = np.random.default_rng(self.seed)
        self.sections = []
        for section in range(SECTIONS**2):
            patches = np.concatenate([frame[section] for frame in frames])
            if len(patches) < self.words:
                raise ValueError(f"{len(patches)} patches cannot make {self.words} words")
            if len(patches) > self.most_patches:
                patches = patches[random.choice(len(patches), self.most_patches, replace=False)]
            whiten = PCA(self.variance, whiten=True, svd_solver="full").fit(patches)
            words = MiniBatchKMeans(self.words, n_init=1, random_state=self.seed)
            self.sections.append((whiten, words.fit(whiten.transform(patches))))
        features = np.stack([self._encode(frame) for frame in frames])
        owners = np.repeat(np.asarray(labels), [len(clip) for clip in clips])
        # scikit-learn's penalty is 1/2 beside C times the summed loss.
        self.regression = LogisticRegression(
            C=1 / (2 * self.strength * len(features)), max_iter=500
        )
        self.regression.fit(features, owners)
        return self

    def features(self, face: np.ndarray) -> np.ndarray:
        """A face's mean activations, float [16 * words]."""
        return self._encode(mouth_patches(face))

    def predict_proba(self, clip: np.ndarray) -> np.ndarray:
        """Probabilities of the classes seen in `fit`, in the order of their labels: float [classes]."""
        assert self.regression is not None, "fit first"
        features = np.stack([self.features(face) for face in clip])
        return self.regression.predict_proba(features).mean(0)

    def _encode(self, patches: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(
            [
                triangle(words.transform(whiten.transform(part))).mean(0)
                for part, (whiten, words) in zip(patches, self.sections, strict=True)
            ]
        )


def ten_bins(probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """A clip's probabilities a frame averaged in bins: [frames, classes] to [bins * classes].

    Bins take the frames in order and differ by one frame at most, the first ones being the larger; a clip shorter
    than the number of bins repeats frames.
    """
    frames = np.asarray(probabilities)
    if len(frames) < bins:
        frames = frames[np.arange(bins) * len(frames) // bins]
    return np.concatenate([part.mean(0) for part in np.array_split(frames, bins)])


def bin_classifier(seed: int = 0) -> Pipeline:
    """The support vector machine on ten bins, with calibrated probabilities (Platt 2000)."""
    machine = CalibratedClassifierCV(SVC(random_state=seed), ensemble=False, cv=3)
    return make_pipeline(StandardScaler(), machine)
