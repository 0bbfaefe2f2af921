"""How like the genuine head a generated one is: its pixels, the landmarks that are found in it again, who it seems to be, how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ....generators.talking.rendering.identity import IdentityNetwork, face_maps
from ....media.face.geometry import mean_face, similarity
from ....media.face.landmarks import LIPS, RIGID
from ....media.face.mouth import mouth_crops
from ....media.face.tracking import FaceTrack, FaceTracker
from ...metrics.bootstrap import Interval, bootstrap
from ...metrics.ranking import auc

ENLARGED = 256  # pixels, side of the head in which landmarks are sought; at 96 the landmarker sees little
STRIDE = 2  # frames from one that is measured to the next
EYE_CORNERS = (33, 263)  # outer ones; their distance is the unit of landmark distances
PSNR_LIMIT = 60.0  # dB; frames that are the same to the bit would count without limit


@dataclass(frozen=True)
class Filmed:
    """Heads, and what the landmarker finds in them.

    Parameters
    ----------
    heads : uint8 [T, 96, 96, 3]
    landmarks : float32 [T, 478, 3]
        Pixels of the head enlarged to 256; between frames that were looked at they are interpolated.
    seen : bool [T]
        Frames that were looked at (every second one) and showed a face.
    mouths : uint8 [T, 96, 96]
        As :func:`avwitness.media.face.mouth.mouth_crops` cuts them; black where no face was found.
    """

    heads: np.ndarray
    landmarks: np.ndarray
    seen: np.ndarray
    mouths: np.ndarray


@dataclass(frozen=True)
class Likeness:
    """What one generated clip has in common with the genuine one; NaN where there was nothing to compare.

    Parameters
    ----------
    psnr : float
        Decibels.
    ssim : float
    mouth, pose : float
        Landmark distances, see :func:`mouth_distance` and :func:`pose_distance`.
    identity : float
        Cosine of our own embeddings of both heads at the same moment.
    missed, looked : int
        Frames in which no face was found, and in which one was sought.
    """

    psnr: float
    ssim: float
    mouth: float
    pose: float
    identity: float
    missed: int
    looked: int


def enlarge(heads: np.ndarray) -> np.ndarray:
    """Heads uint8 [T, S, S, 3] to [T, 256, 256, 3]."""
    return np.stack([cv2.resize(head, (ENLARGED, ENLARGED), interpolation=cv2.INTER_CUBIC) for head in heads])


def film(heads: np.ndarray) -> Filmed:
    """Find the face in heads uint8 [T, 96, 96, 3]; genuine and generated ones are treated alike."""
    large, looked = enlarge(heads), _looked(len(heads))
    with FaceTracker(max_faces=1, stride=STRIDE) as tracker:
        tracks = tracker.track(large)
    if not tracks:
        nothing = np.zeros((len(heads), *mean_face().shape), np.float32)
        return Filmed(heads, nothing, np.zeros(len(heads), bool), np.zeros(heads.shape[:3], np.uint8))
    track = max(tracks, key=lambda track: int(track.valid.sum()))
    return Filmed(heads, track.landmarks, track.valid & looked, mouth_crops(large, track)[0])


def known_mouths(heads: np.ndarray, points: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Mouth crops uint8 [T, 96, 96] of enlarged heads whose landmarks float32 [T, 478, 3] in units of the crop are known."""
    landmarks = points * np.float32(ENLARGED / 2)
    landmarks[..., :2] += ENLARGED / 2
    return mouth_crops(enlarge(heads), FaceTrack("face-1", landmarks, usable, usable))[0]


def _looked(length: int) -> np.ndarray:
    return np.arange(length) % STRIDE == 0


def psnr(real: np.ndarray, made: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio in dB of pictures uint8 [T, H, W, 3], each counted up to 60."""
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        return float(np.mean([min(peak_signal_noise_ratio(a, b), PSNR_LIMIT) for a, b in zip(real, made, strict=True)]))


def ssim(real: np.ndarray, made: np.ndarray) -> float:
    """Mean structural similarity of pictures uint8 [T, H, W, 3]."""
    from skimage.metrics import structural_similarity

    return float(np.mean([structural_similarity(a, b, channel_axis=2) for a, b in zip(real, made, strict=True)]))


def frontal(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks float [T, 478, 3] without pose: their rigid points brought to those of the mean face, outer eye corners about 1 apart."""
    rigid, model = list(RIGID), mean_face().astype(np.float64)[list(RIGID)]
    out = np.empty(landmarks.shape)
    for index, face in enumerate(np.asarray(landmarks, np.float64)):
        scale, rotation, shift = similarity(face[rigid], model)
        out[index] = scale * face @ rotation.T + shift
    return out


def mouth_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Mean distance of the lips of landmarks float [T, 478, 3] once pose is removed from both, in percent of the outer eyes' distance."""
    a, b = (frontal(x)[:, list(LIPS), :2] for x in (real, made))
    return 100.0 * float(np.linalg.norm(a - b, axis=-1).mean())


def pose_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Mean distance in the picture of the rigid points of landmarks float [T, 478, 3], in percent of the genuine outer eyes' distance."""
    left, right = EYE_CORNERS
    unit = np.linalg.norm(real[:, left] - real[:, right], axis=-1)
    away = np.linalg.norm(real[:, list(RIGID), :2] - made[:, list(RIGID), :2], axis=-1).mean(axis=1)
    return 100.0 * float((away / unit).mean())


@torch.inference_mode()
def embed(heads: np.ndarray, points: np.ndarray, network: IdentityNetwork) -> np.ndarray:
    """Unit vectors float32 [T, D] of heads uint8 [T, 96, 96, 3] with landmarks float32 [T, 478, 3] in units of the crop."""
    pictures = torch.from_numpy(np.ascontiguousarray(heads)).permute(0, 3, 1, 2).float() / 255.0
    return network(pictures, torch.from_numpy(face_maps(points))).numpy()


def compare(real: Filmed, made: Filmed, network: IdentityNetwork) -> Likeness:
    """Measure one generated clip against the genuine one, frame by frame; the first frame, which is the source, is left out."""
    looked = _looked(len(real.heads))
    looked[0] = False
    both = looked & real.seen & made.seen
    mouth = pose = same = float("nan")
    if both.any():
        mouth, pose = (measure(real.landmarks[both], made.landmarks[both]) for measure in (mouth_distance, pose_distance))
        a, b = (embed(x.heads[both], _units(x.landmarks[both]), network) for x in (real, made))
        same = float((a * b).sum(axis=1).mean())
    missed = int((looked & ~made.seen).sum())
    pixels = (real.heads[looked], made.heads[looked])
    return Likeness(psnr(*pixels), ssim(*pixels), mouth, pose, same, missed, int(looked.sum()))


def _units(landmarks: np.ndarray) -> np.ndarray:
    """Pixels of an enlarged head to units of the crop."""
    out = landmarks / np.float32(ENLARGED / 2)
    out[..., :2] -= 1.0
    return out


def verification(vectors: np.ndarray, who: Sequence[str]) -> float:
    """AUC of the cosine on all pairs of clips [N, D] for being of one person."""
    names = np.array(who)
    first, second = np.triu_indices(len(names), 1)
    cosine = (vectors @ vectors.T)[first, second]
    return auc(cosine, (names[first] == names[second]).astype(int))


def diversity(poses: np.ndarray) -> float:
    """Deviation over draws of one motion float [draws, T, D], averaged over frames and numbers."""
    return float(np.std(poses, axis=0, ddof=1).mean())


def liveliness(pose: np.ndarray) -> float:
    """Deviation over time of a motion float [T, D], averaged over its numbers."""
    return float(np.std(pose, axis=0).mean())


def jitter(pose: np.ndarray) -> float:
    """Mean size of the second difference over time of a motion float [T, D]: a tremor shows here, a slow turn does not."""
    return float(np.abs(np.diff(pose, 2, axis=0)).mean())


def nearest(draws: np.ndarray, genuine: np.ndarray) -> tuple[float, float]:
    """Mean absolute distance of draws float [draws, T, D] from the genuine motion [T, D]: of one on average, and of the nearest."""
    away = np.abs(draws - genuine).mean(axis=(1, 2))
    return float(away.mean()), float(away.min())


def mean_interval(values: Sequence[float], seed: int) -> Interval:
    """Mean over clips with its 95 % bootstrap interval; NaN values are left out."""
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return Interval()
    return bootstrap(lambda rows: float(known[rows].mean()), np.arange(len(known)), seed)


def shown(interval: Interval, decimals: int) -> str:
    """An interval as a cell of a table."""
    if np.isnan(interval.value):
        return "-"
    value = f"{interval.value:.{decimals}f}"
    return value if np.isnan(interval.low) else f"{value} [{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]"
