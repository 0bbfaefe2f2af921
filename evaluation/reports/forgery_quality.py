"""Quality of forged audio and faces against their sources: intelligibility, spectral distance, PSNR and SSIM."""

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
from .recognition import Errors, error_rate, format_rate


def intelligibility_table(clips: Sequence[Source], seed: int) -> list[str]:
    """A table: character error rate of the bundled AVSR model on genuine and forged speech, and distance of log-mel spectra.

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
                except ValueError:  # the transcript does not fit the clip
                    continue
                distances.append(_mel_distance(made, clip.waveform))
            scores = transcriber.scores(transcriber.model.backbone.extract_audio_features(made), None)
            pairs.append((normalise(clip.transcript), greedy(scores)))
        rate = format_rate(error_rate(Errors.count(pairs).characters, seed))
        rows.append((name, len(pairs), rate, f"{np.mean(distances):.2f}" if distances else "-"))
    return markdown_table(("voice", "clips", "CER (greedy)", "mean distance of log-mel (nepers)"), rows)


def _mel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two natural-log mel spectrograms, both at the same level."""
    mels = [mel_spectrogram(torch.from_numpy(x / (np.sqrt(np.mean(np.square(x))) + 1e-6) * 0.05)[None]) for x in (a, b)]
    return float((mels[0] - mels[1]).abs().mean())


def face_similarity_table(clips: Iterable[Source]) -> list[str]:
    """A table: PSNR and SSIM of generated faces against the genuine aligned faces."""
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
        for name, (generated, top) in made.items():
            for index in range(0, len(faces), 10):
                real, fake = faces[index][top:], np.clip(generated[index][top:], 0, 255).round().astype(np.uint8)
                ssim = float(structural_similarity(real, fake, channel_axis=2))
                found[name].append((peak_signal_noise_ratio(real, fake), ssim))
    rows = [(f"`{name}`", len(v), *(f"{x:.2f}" for x in np.mean(v, axis=0))) for name, v in found.items() if v]
    return markdown_table(("network", "faces", "PSNR (dB)", "SSIM"), rows)
