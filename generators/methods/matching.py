"""Matching of a forgery to its source: sharpness, grain and motion of images, spectrum and level of audio.

A forgery that is softer, louder or duller than its source teaches a detector blur and loudness instead of artefacts.
These functions equalise what a one-line statistic could detect.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

BAND_SIGMAS = (0.8, 1.6, 3.2)  # pixels: Gaussians whose differences are the matched bands of an image
GAIN_RANGE = (0.2, 4.0)  # range of the gain of a band; missing energy beyond it is added as grain
N_FRAMES = 10  # frames of a clip in which energies are measured
N_SHARPNESS_ITERATIONS = 3  # measurements of the sharpness, each followed by a correction of the finest band
GRAIN_LAPLACIAN = 27.0  # measured variance of the Laplacian of grain of variance 1 in the finest band
MOTION_SIGMA = 6.0  # frames: slower motion is not copied, so that the head keeps its position
EDGE_SIGMA = 2.0  # pixels around the details of the source in which static grain is placed
MAX_GRAIN_STRENGTH = 4.0  # limit of the local variance of that grain, as a multiple of its mean, so that eyes do not flicker
DIFFERENCE_SIGMA = 1.6  # pixels of the blur before frames are compared: finer differences are grain and sharpness
MAX_SHAKE_GAIN = 2.5  # limit of the added motion, as a multiple of that of the source's head
MAX_SHAKE_SHIFT = 0.04  # limit of the added shift, as a share of the side of the forged region
N_BISECTIONS = 5  # steps of the bisection for the added motion
FFT, HOP = 512, 128  # samples of the short-time Fourier transform
N_BANDS = 32  # of the spectrum, equally wide on the mel scale
N_SPECTRUM_ITERATIONS = 3  # iterations of spectrum matching
GAIN_LIMITS = (-40.0, 25.0)  # dB, range of the gain of a band relative to the median gain


def _bands(image: np.ndarray) -> list[np.ndarray]:
    """Band-pass images of an image float32 [H, W, C] from fine to coarse, the low-pass residual last."""
    out, rest = [], image
    for sigma in BAND_SIGMAS:
        soft = cv2.GaussianBlur(image, (0, 0), sigma)
        out.append(rest - soft)
        rest = soft
    return [*out, rest]


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    return float((values * weight).sum() / max(float(weight.sum()), 1e-6))


def match_detail(
    forged: np.ndarray, genuine: np.ndarray, weight: np.ndarray, rng: np.random.Generator, span: float | None = None
) -> np.ndarray:
    """Match sharpness and grain of the forged region to those of the genuine images.

    Parameters
    ----------
    forged, genuine : uint8 [T, H, W, 3]
    weight : float32 [T, H, W]
        Alpha: 1 where the image is forged, 0 where both are the same.
    span : float, optional
        Pixels, standard deviation of the Gaussian over which sharpness is measured locally, for forgeries of more than a
        face, in which a soft face and sharp hair would average out. Their grain is static and has the spectrum of the
        source, since codecs drop grain that is new in every frame. By default, sharpness is measured over the whole
        forged region, and the grain is white and new in every frame.

    Returns
    -------
    uint8 [T, H, W, 3]
        Every band (and place) has one gain for the whole clip, since gains per frame would flicker.
    """
    solid = (weight > 0.5).astype(np.float32)
    if not solid.any():
        return forged
    sample = np.unique(np.linspace(0, len(forged) - 1, N_FRAMES).round().astype(int))
    forged_bands = [_bands(forged[i].astype(np.float32)) for i in sample]
    genuine_bands = [_bands(genuine[i].astype(np.float32)) for i in sample]
    masks = solid[sample]
    gains, grains = [np.ones(1)] * len(BAND_SIGMAS), [np.zeros(1)] * len(BAND_SIGMAS)  # each [1] or [H, W]
    for band in range(len(BAND_SIGMAS)):
        current = _masked_mean([np.square(m[band].mean(axis=-1)) for m in forged_bands], masks, span) + 1e-6
        target = _masked_mean([np.square(r[band].mean(axis=-1)) for r in genuine_bands], masks, span)
        gains[band] = np.clip(np.sqrt(target / current), *GAIN_RANGE)
        grains[band] = np.sqrt(np.maximum(target - current * gains[band] ** 2, 0.0))
    target_sharpness = _masked_mean([_sharpness(genuine[i].astype(np.float32)) for i in sample], masks, span)
    fields = (
        None
        if span is None
        else [_shaped_noise([r[band].mean(axis=-1) for r in genuine_bands], masks, span, rng) for band in range(len(BAND_SIGMAS))]
    )
    grain_laplacian = GRAIN_LAPLACIAN if fields is None else float(np.square(cv2.Laplacian(fields[0], cv2.CV_32F)).mean())
    for _ in range(N_SHARPNESS_ITERATIONS):
        # The finest band is wide, so equal energy does not mean equal sharpness: the Laplacian is measured.
        trials = [
            _adjust_bands(forged[i], bands, weight[i], gains, grains, rng, fields) for i, bands in zip(sample, forged_bands, strict=True)
        ]
        current = _masked_mean([_sharpness(image) for image in trials], masks, span) + 1e-6
        factor = np.sqrt(target_sharpness / current)
        before = gains[0]
        gains[0] = np.clip(before * factor, *GAIN_RANGE)
        damped = grains[0] * np.minimum(factor, 1.0)
        # More gain would cause ringing: the rest is added as grain.
        rest = np.maximum(target_sharpness - current * (gains[0] / before) ** 2, 0.0) / grain_laplacian
        grains[0] = np.where((factor > 1.0) & (gains[0] < before * factor), np.sqrt(damped**2 + rest), damped)
    out = forged.copy()
    for index, (image, mask) in enumerate(zip(forged, weight, strict=True)):
        bands = _bands(image.astype(np.float32))
        out[index] = _adjust_bands(image, bands, mask, gains, grains, rng, fields).round().astype(np.uint8)
    return out


def _masked_mean(values: list[np.ndarray], masks: np.ndarray, span: float | None) -> np.ndarray:
    """Energies [H, W] of the sampled frames averaged over masks and time: [1], or with ``span`` locally, [H, W]."""
    if span is None:
        return np.array([np.median([_mean(value, mask) for value, mask in zip(values, masks, strict=True)])])
    total = np.mean([value * mask for value, mask in zip(values, masks, strict=True)], axis=0)
    # Weighted by the mask; a small weight of the overall mean defines the value far from the forged region.
    little, overall = 1e-3, _mean(total, masks.mean(axis=0))
    near, count = (cv2.GaussianBlur(x, (0, 0), span, borderType=cv2.BORDER_CONSTANT) for x in (total, masks.mean(axis=0)))
    return np.asarray((near + little * overall) / (count + little), dtype=np.float64)


def _shaped_noise(images: list[np.ndarray], masks: np.ndarray, span: float, rng: np.random.Generator) -> np.ndarray:
    """Noise float32 [H, W] of local variance 1 with the spectrum of images [H, W], stronger where they have details."""
    inside = masks.mean(axis=0)
    power = np.mean([np.square(np.abs(np.fft.rfft2(image * inside))) for image in images], axis=0)
    phases = np.angle(np.fft.rfft2(rng.standard_normal(inside.shape)))
    noise = np.fft.irfft2(np.sqrt(power) * np.exp(1j * phases), s=inside.shape)
    # Eyelashes and hair mask grain that would be visible on a cheek.
    energies = [np.square(image) for image in images]
    strength = _masked_mean(energies, masks, EDGE_SIGMA) / (_masked_mean(energies, masks, span) + 1e-6)
    return np.asarray(noise / max(float(noise.std()), 1e-6) * np.sqrt(np.minimum(strength, MAX_GRAIN_STRENGTH)), dtype=np.float32)


def _sharpness(image: np.ndarray) -> np.ndarray:
    """Squared Laplacian [H, W] of the grey values of an image [H, W, 3]."""
    return np.square(cv2.Laplacian(image.mean(axis=-1), cv2.CV_32F))


def _adjust_bands(
    image: np.ndarray,
    bands: list[np.ndarray],
    weight: np.ndarray,
    gains: list[np.ndarray],
    grains: list[np.ndarray],
    rng: np.random.Generator,
    fields: list[np.ndarray] | None,
) -> np.ndarray:
    """Apply gains to the bands of an image uint8 [H, W, 3] and add grain (new, or static ``fields``), blended by ``weight``; float32."""
    *fine, rest = bands
    changed = rest + sum(gain.astype(np.float32)[..., None] * band for gain, band in zip(gains, fine, strict=True))
    for level, grain in enumerate(grains):
        if grain.max() > 0.2:  # grey levels
            if fields is None:
                noise = _bands(rng.standard_normal((*image.shape[:2], 1), dtype=np.float32).repeat(3, axis=2))[level]
                grain = grain / max(float(noise.std()), 1e-6)
            else:
                noise = fields[level][..., None]
            changed = changed + noise * grain.astype(np.float32)[..., None]
    alpha = weight[..., None]
    return alpha * np.clip(changed, 0.0, 255.0) + (1.0 - alpha) * image


def match_motion(forged: np.ndarray, genuine: np.ndarray, weight: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Add the fast head motion of the source to a forgery that moves less than its source.

    Generated heads are stiller than genuine ones. The difference of neighbouring frames comes from motion much more than
    from grain, and codecs keep only the motion, so grain cannot compensate for it.

    Parameters
    ----------
    forged, genuine : uint8 [T, H, W, 3]
    weight : float32 [T, H, W]
        Share of the shift that is applied to a pixel: 1 where the image is forged, 0 where both are the same.
    path : float [T, 2]
        Position of the genuine head, in pixels.

    Returns
    -------
    uint8 [T, H, W, 3]
        Shifted by the fast component of the path, scaled (within limits) so that neighbouring frames differ as much as
        the genuine ones; a forgery that moves enough is returned unchanged.
    """
    shake = path - cv2.GaussianBlur(path.astype(np.float32), (1, 0), sigmaX=1.0, sigmaY=MOTION_SIGMA, borderType=cv2.BORDER_REPLICATE)
    target = _frame_difference(genuine, weight)
    if not shake.any() or _frame_difference(forged, weight) >= target:
        return forged
    # A larger shift would fold the margin over which it fades.
    low, high = 0.0, min(MAX_SHAKE_GAIN, MAX_SHAKE_SHIFT * float(np.sqrt(weight[0].sum())) / float(np.abs(shake).max()))
    for _ in range(N_BISECTIONS):
        midpoint = (low + high) / 2.0
        reached = _frame_difference(_shifted(forged, weight, midpoint * shake), weight) >= target
        low, high = (low, midpoint) if reached else (midpoint, high)
    return _shifted(forged, weight, (low + high) / 2.0 * shake)


def _frame_difference(images: np.ndarray, weight: np.ndarray) -> float:
    """Mean over time of the weighted RMS difference of neighbouring images, in grey levels."""
    grey = [cv2.GaussianBlur(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), DIFFERENCE_SIGMA) for p in images]
    pairs = zip(itertools.pairwise(grey), weight[1:], strict=True)
    return float(np.mean([np.sqrt(_mean(np.square(b - a), w)) for (a, b), w in pairs])) if len(grey) > 1 else 0.0


def _shifted(images: np.ndarray, weight: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Images with every pixel shifted by the shift [T, 2] of its frame, in pixels, times its weight."""
    rows, columns = np.mgrid[: images.shape[1], : images.shape[2]].astype(np.float32)
    out = np.empty_like(images)
    for index, (image, mask, (x, y)) in enumerate(zip(images, weight, shifts.astype(np.float32), strict=True)):
        moved = cv2.remap(image, columns - mask * x, rows - mask * y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        out[index] = moved
    return out


def _edges() -> np.ndarray:
    """Edges of the bands in bins of the spectrum: equally spaced on the mel scale, at least one bin apart."""
    mel = np.linspace(0.0, 2595.0 * np.log10(1.0 + 8000.0 / 700.0), N_BANDS + 1)
    bins = np.round(700.0 * (10.0 ** (mel / 2595.0) - 1.0) / 8000.0 * (FFT // 2)).astype(int)
    return np.unique(np.append(bins, FFT // 2 + 1))


def _stft(waveform: np.ndarray) -> np.ndarray:
    from scipy.signal import stft

    return stft(waveform, nperseg=FFT, noverlap=FFT - HOP)[2]


def match_spectrum(forged: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """Match long-term spectrum and level of forged speech to the genuine speech; float32 [S], as long as ``forged``.

    Returned unchanged if either is silent or shorter than one analysis window.
    """
    from scipy.signal import istft

    if len(forged) < FFT or len(genuine) < FFT:
        return forged
    spectrum = _stft(forged)
    target = np.square(np.abs(_stft(genuine))).mean(axis=1)
    if np.square(np.abs(spectrum)).sum() <= 1e-12 or target.sum() <= 1e-12:
        return forged
    edges = _edges()
    centres = (edges[:-1] + edges[1:] - 1) / 2
    total = np.zeros(FFT // 2 + 1)  # gain in dB
    for _ in range(N_SPECTRUM_ITERATIONS):  # repeated, since interpolation between the bands changes their energies
        current = np.square(np.abs(spectrum) * 10.0 ** (total / 20.0)[:, None]).mean(axis=1)
        ratio = [10.0 * np.log10((target[a:b].sum() + 1e-14) / (current[a:b].sum() + 1e-14)) for a, b in itertools.pairwise(edges)]
        total = total + np.interp(np.arange(FFT // 2 + 1), centres, ratio)
        median = float(np.median(total))
        total = median + np.clip(total - median, *GAIN_LIMITS)
    out = istft(spectrum * 10.0 ** (total / 20.0)[:, None], nperseg=FFT, noverlap=FFT - HOP)[1]
    out = np.pad(out, (0, max(0, len(forged) - len(out))))[: len(forged)]
    level = np.sqrt(np.mean(np.square(genuine, dtype=np.float64)) / max(float(np.mean(np.square(out))), 1e-12))
    return (out * level).astype(np.float32)
