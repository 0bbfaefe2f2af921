"""Coarse traces taken off a forgery: what is left of it has the sharpness, noise, spectrum and level of its source.

A forgery that is softer, louder or duller than the clip it was made from teaches a detector to hear dullness and see
blur. Whatever a one-line statistic could find is brought back to the source here.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

SIGMAS = (0.8, 1.6, 3.2)  # pixels: the bands of a picture that are matched lie between these
GAINS = (0.2, 4.0)  # least and most by which a band is changed; what is still missing is made up by grain
SAMPLES = 10  # frames of a clip that are measured
ROUNDS_OF_DETAIL = 3  # of measuring the sharpness and correcting the finest band
LAPLACIAN_OF_GRAIN = 27.0  # variance of the Laplacian of grain of variance 1 in the finest band, as measured
FFT, HOP = 512, 128  # samples of the analysis of sound
BANDS = 32
ROUNDS = 3  # of matching the spectrum
REACH = (-40.0, 25.0)  # dB by which a band of sound is lowered and raised at most, against the middle one


def _bands(picture: np.ndarray) -> list[np.ndarray]:
    """A picture float32 [H, W, C] as band-pass pictures from fine to coarse, the rest last."""
    out, rest = [], picture
    for sigma in SIGMAS:
        soft = cv2.GaussianBlur(picture, (0, 0), sigma)
        out.append(rest - soft)
        rest = soft
    return [*out, rest]


def _energy(band: np.ndarray, weight: np.ndarray) -> float:
    grey = band.mean(axis=-1)
    return float((np.square(grey) * weight).sum() / max(float(weight.sum()), 1e-6))


def match_detail(forged: np.ndarray, genuine: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give the forged part of pictures the sharpness and grain that the genuine part had there.

    Parameters
    ----------
    forged, genuine : uint8 [T, H, W, 3]
    weight : float32 [T, H, W]
        1 where the forgery is, 0 where both are the same.

    Returns
    -------
    uint8 [T, H, W, 3]
        One gain for every band over the whole clip: gains that follow every frame would flicker.
    """
    solid = (weight > 0.5).astype(np.float32)
    if not solid.any():
        return forged
    sample = np.unique(np.linspace(0, len(forged) - 1, SAMPLES).round().astype(int))
    made = [_bands(forged[i].astype(np.float32)) for i in sample]
    real = [_bands(genuine[i].astype(np.float32)) for i in sample]
    gains, grains = np.ones(len(SIGMAS)), np.zeros(len(SIGMAS))
    for band in range(len(SIGMAS)):
        have = _middle([_energy(m[band], solid[i]) for m, i in zip(made, sample, strict=True)]) + 1e-6
        want = _middle([_energy(r[band], solid[i]) for r, i in zip(real, sample, strict=True)])
        gains[band] = np.clip(np.sqrt(want / have), *GAINS)
        grains[band] = np.sqrt(max(want - have * gains[band] ** 2, 0.0))
    sharp = _middle([_sharpness(genuine[i].astype(np.float32), solid[i]) for i in sample])
    for _ in range(ROUNDS_OF_DETAIL):
        # The finest band is wide: as much energy can lie at its lower end. What counts is the Laplacian, so it is measured.
        tried = [_retouched(forged[i], bands, weight[i], gains, grains, rng) for i, bands in zip(sample, made, strict=True)]
        have = _middle([_sharpness(picture, solid[i]) for picture, i in zip(tried, sample, strict=True)]) + 1e-6
        factor = np.sqrt(sharp / have)
        before = gains[0]
        gains[0] = np.clip(before * factor, *GAINS)
        grains[0] *= min(factor, 1.0)
        if factor > 1.0 and gains[0] < before * factor:
            # More gain would ring: the rest is grain.
            grains[0] = np.sqrt(grains[0] ** 2 + max(sharp - have * (gains[0] / before) ** 2, 0.0) / LAPLACIAN_OF_GRAIN)
    out = forged.copy()
    for index, (picture, part) in enumerate(zip(forged, weight, strict=True)):
        out[index] = _retouched(picture, _bands(picture.astype(np.float32)), part, gains, grains, rng).round().astype(np.uint8)
    return out


def _middle(values: list[float]) -> float:
    return float(np.median(values))


def _sharpness(picture: np.ndarray, solid: np.ndarray) -> float:
    """Mean square of the Laplacian of a grey picture's masked part."""
    return _energy(cv2.Laplacian(picture.mean(axis=-1), cv2.CV_32F)[..., None], solid)


def _retouched(
    picture: np.ndarray, bands: list[np.ndarray], weight: np.ndarray, gains: np.ndarray, grains: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A picture uint8 [H, W, 3] with gains on its bands and grain added to each where ``weight`` [H, W] is: float32."""
    *fine, rest = bands
    changed = rest + sum(np.float32(gain) * band for gain, band in zip(gains, fine, strict=True))
    for level, grain in enumerate(grains):
        if grain > 0.2:  # levels
            noise = _bands(rng.standard_normal((*picture.shape[:2], 1), dtype=np.float32).repeat(3, axis=2))[level]
            changed = changed + noise * np.float32(grain / max(float(noise.std()), 1e-6))
    share = weight[..., None]
    return share * np.clip(changed, 0.0, 255.0) + (1.0 - share) * picture


def _edges() -> np.ndarray:
    """Bins of the spectrum at which the bands end, even on the mel scale and at least one bin wide."""
    mel = np.linspace(0.0, 2595.0 * np.log10(1.0 + 8000.0 / 700.0), BANDS + 1)
    bins = np.round(700.0 * (10.0 ** (mel / 2595.0) - 1.0) / 8000.0 * (FFT // 2)).astype(int)
    return np.unique(np.append(bins, FFT // 2 + 1))


def _stft(waveform: np.ndarray) -> np.ndarray:
    from scipy.signal import stft

    return stft(waveform, nperseg=FFT, noverlap=FFT - HOP)[2]


def match_sound(forged: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """Give a forged voice the long-term spectrum and the level of the genuine one; float32 [S], as long as ``forged``.

    Nothing is matched where either is silent.
    """
    from scipy.signal import istft

    if len(forged) < FFT or len(genuine) < FFT:
        return forged
    made = _stft(forged)
    want = np.square(np.abs(_stft(genuine))).mean(axis=1)
    if np.square(np.abs(made)).sum() <= 1e-12 or want.sum() <= 1e-12:
        return forged
    edges = _edges()
    centres = (edges[:-1] + edges[1:] - 1) / 2
    total = np.zeros(FFT // 2 + 1)  # dB of gain
    for _ in range(ROUNDS):  # what is interpolated between the bands spoils their sums a little
        have = np.square(np.abs(made) * 10.0 ** (total / 20.0)[:, None]).mean(axis=1)
        ratio = [10.0 * np.log10((want[a:b].sum() + 1e-14) / (have[a:b].sum() + 1e-14)) for a, b in itertools.pairwise(edges)]
        total = total + np.interp(np.arange(FFT // 2 + 1), centres, ratio)
        middle = float(np.median(total))
        total = middle + np.clip(total - middle, *REACH)
    out = istft(made * 10.0 ** (total / 20.0)[:, None], nperseg=FFT, noverlap=FFT - HOP)[1]
    out = np.pad(out, (0, max(0, len(forged) - len(out))))[: len(forged)]
    level = np.sqrt(np.mean(np.square(genuine, dtype=np.float64)) / max(float(np.mean(np.square(out))), 1e-12))
    return (out * level).astype(np.float32)
