"""Similarity of generated and genuine heads: pixels, detected landmarks, identity embeddings, and statistics of motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ....generators.talking.rendering.identity import IdentityNetwork, face_maps
from ....media.face.geometry import mean_face
from ....media.face.geometry import similarity as similarity_transform
from ....media.face.landmarks import LIPS, RIGID
from ....media.face.mouth import mouth_crops
from ....media.face.tracking import FaceTrack, FaceTracker
from ...metrics.bootstrap import Interval, bootstrap_mean
from ...metrics.ranking import auc

ENLARGED_SIZE = 256  # pixels, side to which heads are enlarged for landmark detection, which is poor at 96
STRIDE = 2  # frames from one that is compared to the next
EYE_CORNERS = (33, 263)  # outer ones; their distance is the unit of landmark distances
MAX_PSNR = 60.0  # dB; that of identical frames would be infinite


@dataclass(frozen=True)
class TrackedHeads:
    """Heads with detected landmarks.

    Parameters
    ----------
    heads : uint8 [T, 96, 96, 3]
    landmarks : float32 [T, 478, 3]
        In pixels of the head enlarged to 256; interpolated between the frames with a detection.
    detected : bool [T]
        Every second frame, if a face was detected in it.
    mouths : uint8 [T, 96, 96]
        Of :func:`avwitness.media.face.mouth.mouth_crops`; black where no face was detected.
    """

    heads: np.ndarray
    landmarks: np.ndarray
    detected: np.ndarray
    mouths: np.ndarray


@dataclass(frozen=True)
class HeadSimilarity:
    """Similarity of one generated clip to the genuine one; NaN where no frame could be compared.

    Parameters
    ----------
    psnr : float
        Decibels.
    ssim : float
    mouth, pose : float
        Landmark distances, see :func:`mouth_distance` and :func:`pose_distance`.
    identity : float
        Mean cosine of the identity embeddings of both heads at the same time.
    missed, n_frames : int
        Frames without a detected face, and all compared frames.
    """

    psnr: float
    ssim: float
    mouth: float
    pose: float
    identity: float
    missed: int
    n_frames: int


def enlarge(heads: np.ndarray) -> np.ndarray:
    """Enlarge heads uint8 [T, S, S, 3] to [T, 256, 256, 3]."""
    return np.stack([cv2.resize(head, (ENLARGED_SIZE, ENLARGED_SIZE), interpolation=cv2.INTER_CUBIC) for head in heads])


def track_heads(heads: np.ndarray) -> TrackedHeads:
    """Detect landmarks in heads uint8 [T, 96, 96, 3], genuine or generated."""
    large, compared = enlarge(heads), _compared(len(heads))
    with FaceTracker(max_faces=1, stride=STRIDE) as tracker:
        tracks = tracker.track(large)
    if not tracks:
        no_landmarks = np.zeros((len(heads), *mean_face().shape), np.float32)
        return TrackedHeads(heads, no_landmarks, np.zeros(len(heads), bool), np.zeros(heads.shape[:3], np.uint8))
    track = max(tracks, key=lambda track: int(track.valid.sum()))
    return TrackedHeads(heads, track.landmarks, track.valid & compared, mouth_crops(large, track)[0])


def mouths_of_landmarks(heads: np.ndarray, points: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Mouth crops uint8 [T, 96, 96] of enlarged heads with known landmarks float32 [T, 478, 3] in units of the crop."""
    landmarks = points * np.float32(ENLARGED_SIZE / 2)
    landmarks[..., :2] += ENLARGED_SIZE / 2
    return mouth_crops(enlarge(heads), FaceTrack("face-1", landmarks, usable, usable))[0]


def _compared(length: int) -> np.ndarray:
    return np.arange(length) % STRIDE == 0


def psnr(real: np.ndarray, made: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio in dB of images uint8 [T, H, W, 3], each limited to :data:`MAX_PSNR`."""
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        return float(np.mean([min(peak_signal_noise_ratio(a, b), MAX_PSNR) for a, b in zip(real, made, strict=True)]))


def ssim(real: np.ndarray, made: np.ndarray) -> float:
    """Mean structural similarity of images uint8 [T, H, W, 3]."""
    from skimage.metrics import structural_similarity

    return float(np.mean([structural_similarity(a, b, channel_axis=2) for a, b in zip(real, made, strict=True)]))


def frontal(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks float [T, 478, 3] with pose removed: rigid points aligned to the mean face, whose outer eye corners are about 1 apart."""
    rigid, model = list(RIGID), mean_face().astype(np.float64)[list(RIGID)]
    out = np.empty(landmarks.shape)
    for index, face in enumerate(np.asarray(landmarks, np.float64)):
        scale, rotation, shift = similarity_transform(face[rigid], model)
        out[index] = scale * face @ rotation.T + shift
    return out


def mouth_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Mean distance of lip landmarks of float [T, 478, 3] with pose removed from both, in percent of the outer eye corners' distance."""
    a, b = (frontal(x)[:, list(LIPS), :2] for x in (real, made))
    return 100.0 * float(np.linalg.norm(a - b, axis=-1).mean())


def pose_distance(real: np.ndarray, made: np.ndarray) -> float:
    """Mean 2-D distance of rigid landmarks of float [T, 478, 3], in percent of the distance of the genuine outer eye corners."""
    left, right = EYE_CORNERS
    unit = np.linalg.norm(real[:, left] - real[:, right], axis=-1)
    distance = np.linalg.norm(real[:, list(RIGID), :2] - made[:, list(RIGID), :2], axis=-1).mean(axis=1)
    return 100.0 * float((distance / unit).mean())


@torch.inference_mode()
def embed(heads: np.ndarray, points: np.ndarray, network: IdentityNetwork) -> np.ndarray:
    """Unit vectors float32 [T, D] of heads uint8 [T, 96, 96, 3] with landmarks float32 [T, 478, 3] in units of the crop."""
    images = torch.from_numpy(np.ascontiguousarray(heads)).permute(0, 3, 1, 2).float() / 255.0
    return network(images, torch.from_numpy(face_maps(points))).numpy()


def compare(real: TrackedHeads, made: TrackedHeads, network: IdentityNetwork) -> HeadSimilarity:
    """Compare a generated clip with the genuine one, frame by frame, without the first frame, which is the source."""
    compared = _compared(len(real.heads))
    compared[0] = False
    both = compared & real.detected & made.detected
    mouth = pose = identity = float("nan")
    if both.any():
        mouth, pose = (measure(real.landmarks[both], made.landmarks[both]) for measure in (mouth_distance, pose_distance))
        a, b = (embed(x.heads[both], _units(x.landmarks[both]), network) for x in (real, made))
        identity = float((a * b).sum(axis=1).mean())
    missed = int((compared & ~made.detected).sum())
    pixels = (real.heads[compared], made.heads[compared])
    return HeadSimilarity(psnr(*pixels), ssim(*pixels), mouth, pose, identity, missed, int(compared.sum()))


def _units(landmarks: np.ndarray) -> np.ndarray:
    """Convert pixels of an enlarged head to units of the crop."""
    out = landmarks / np.float32(ENLARGED_SIZE / 2)
    out[..., :2] -= 1.0
    return out


def verification_auc(vectors: np.ndarray, identities: Sequence[str]) -> float:
    """AUC of the cosine of unit vectors [N, D] for whether a pair of clips has the same identity, over all pairs."""
    names = np.array(identities)
    first, second = np.triu_indices(len(names), 1)
    cosine = (vectors @ vectors.T)[first, second]
    return auc(cosine, (names[first] == names[second]).astype(int))


def diversity(samples: np.ndarray) -> float:
    """Standard deviation over samples of a motion float [S, T, D], averaged over frames and dimensions."""
    return float(np.std(samples, axis=0, ddof=1).mean())


def liveliness(pose: np.ndarray) -> float:
    """Standard deviation over time of a motion float [T, D], averaged over dimensions."""
    return float(np.std(pose, axis=0).mean())


def jitter(pose: np.ndarray) -> float:
    """Mean absolute second difference over time of a motion float [T, D], which is sensitive to tremor and not to slow movements."""
    return float(np.abs(np.diff(pose, 2, axis=0)).mean())


def sample_distances(samples: np.ndarray, genuine: np.ndarray) -> tuple[float, float]:
    """Mean absolute distance of samples float [S, T, D] from the genuine motion [T, D]: mean over samples, and smallest."""
    distances = np.abs(samples - genuine).mean(axis=(1, 2))
    return float(distances.mean()), float(distances.min())


def mean_interval(values: Sequence[float], seed: int) -> Interval:
    """Mean over clips with its 95 % bootstrap interval over clips; NaN values are left out."""
    known = np.array([value for value in values if not np.isnan(value)])
    return bootstrap_mean(known, np.arange(len(known)), seed)


def format_interval(interval: Interval, decimals: int) -> str:
    """An interval as text with that many decimals."""
    if np.isnan(interval.value):
        return "-"
    value = f"{interval.value:.{decimals}f}"
    return value if np.isnan(interval.low) else f"{value} [{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]"
