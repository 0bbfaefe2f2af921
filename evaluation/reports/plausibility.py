"""How near forgeries come to what they were made from: letters that are still understood, faces that are still the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from ...avsr.decoding import greedy
from ...avsr.text import normalise
from ...avsr.transcriber import Transcriber
from ...generators.faces.methods import run_autoencoder, run_lower_face
from ...generators.faces.networks import MASK_TOP
from ...generators.forge.registry import GENUINE
from ...generators.methods.source import Source
from ...generators.voices.resynthesis import VOICES
from ...generators.voices.vocoder import mel_spectrogram
from ...generators.weights import weights_missing_reason
from ...media.clip import SAMPLES_PER_FRAME
from ...media.face.crops import crop_faces, face_transforms
from ..document import markdown_table
from .recognition import Errors, rate


def understood(clips: Sequence[Source], seed: int) -> list[str]:
    """A table: letters that the bundled reader gets wrong of genuine and of forged speech, and how far the mel is off.

    Parameters
    ----------
    clips : sequence of Source
        With transcripts.
    """
    transcriber = Transcriber.load("small", 1, "cpu")
    rows = []
    for name in (GENUINE, *(name for name, voice in VOICES.items() if voice.missing_reason() is None)):
        pairs, distances = [], []
        for number, clip in enumerate(clips):
            assert clip.waveform is not None
            made = clip.waveform
            if name != GENUINE:
                try:
                    made = VOICES[name](clip.waveform, np.random.default_rng((seed, number)), clip.transcript)
                except ValueError:  # a text that does not fit the clip is no clip
                    continue
                distances.append(_mel_distance(made, clip.waveform))
            scores = transcriber.scores(transcriber.model.backbone.extract_audio_features(made), None)
            pairs.append((normalise(clip.transcript), greedy(scores)))
        value, low, high = rate(Errors.of(pairs).letters, seed)
        rows.append((name, len(pairs), f"{value:.1f} % [{low:.1f}, {high:.1f}]", f"{np.mean(distances):.2f}" if distances else "-"))
    return markdown_table(("voice", "clips", "letters not understood (CER, greedy)", "mean distance of log-mel (nepers)"), rows)


def _mel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two natural-log mel spectrograms, both at the same level."""
    mels = [mel_spectrogram(torch.from_numpy(x / (np.sqrt(np.mean(np.square(x))) + 1e-6) * 0.05)[None]) for x in (a, b)]
    return float((mels[0] - mels[1]).abs().mean())


def alike(clips: Iterable[Source]) -> list[str]:
    """A table: PSNR and SSIM of faces that the networks painted, against the genuine aligned faces."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    found: Mapping[str, list[tuple[float, float]]] = {"lower_face": [], "face_autoencoder": []}
    for clip in clips:
        if clip.frames is None or clip.landmarks is None or not clip.has_face:
            continue
        faces = crop_faces(clip.frames, face_transforms(clip.landmarks))
        made = {}
        if weights_missing_reason("face_autoencoder") is None:
            made["face_autoencoder"] = (run_autoencoder(faces), 0)
        if weights_missing_reason("lower_face") is None and clip.waveform is not None and len(clip.waveform) >= SAMPLES_PER_FRAME:
            made["lower_face"] = (run_lower_face(faces, clip.waveform, 8), round(MASK_TOP * faces.shape[1]))
        for name, (painted, top) in made.items():
            for index in range(0, len(faces), 10):
                real, fake = faces[index][top:], np.clip(painted[index][top:], 0, 255).round().astype(np.uint8)
                similar = structural_similarity(real, fake, channel_axis=2)
                found[name].append((peak_signal_noise_ratio(real, fake), float(similar)))
    rows = [(f"`{name}`", len(v), *(f"{x:.2f}" for x in np.mean(v, axis=0))) for name, v in found.items() if v]
    return markdown_table(("network", "faces", "PSNR (dB)", "SSIM"), rows)
