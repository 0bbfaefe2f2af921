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
QUICK = 6.0  # frames: slower motion than this is not copied, else a head would leave its place
SIGMA_OF_EDGES = 2.0  # pixels around the source's details in which grain that stands still lies
MOST_STRENGTH = 4.0  # of the average by which that grain's variance is raised there at most, lest eyes glitter
SIGMA_OF_MOTION = 1.6  # pixels: finer differences are grain and sharpness
MOST_SHAKE = 2.5  # times the motion of the source's head that a forged one is moved by at most
REACH_OF_SHAKE = 0.04  # of the side by which a forgery is moved at most
ROUNDS_OF_MOTION = 5  # of halving the interval in which the motion lies
FFT, HOP = 512, 128  # samples of the analysis of sound
BANDS = 32
ROUNDS = 3  # of matching the spectrum
REACH = (-40.0, 25.0)  # dB by which a band of sound is lowered and raised at most, against the middle one


def _bands(image: np.ndarray) -> list[np.ndarray]:
    """A picture float32 [H, W, C] as band-pass pictures from fine to coarse, the rest last."""
    out, rest = [], image
    for sigma in SIGMAS:
        soft = cv2.GaussianBlur(image, (0, 0), sigma)
        out.append(rest - soft)
        rest = soft
    return [*out, rest]


def _energy(band: np.ndarray, weight: np.ndarray) -> float:
    return _mean(np.square(band.mean(axis=-1)), weight)


def _mean(values: np.ndarray, weight: np.ndarray) -> float:
    return float((values * weight).sum() / max(float(weight.sum()), 1e-6))


def match_detail(
    forged: np.ndarray, genuine: np.ndarray, weight: np.ndarray, rng: np.random.Generator, span: float | None = None
) -> np.ndarray:
    """Give the forged part of pictures the sharpness and grain that the genuine part had there.

    Parameters
    ----------
    forged, genuine : uint8 [T, H, W, 3]
    weight : float32 [T, H, W]
        1 where the forgery is, 0 where both are the same.
    span : float, optional
        Pixels (standard deviation of a Gaussian) over which sharpness is measured around every pixel, for forgeries of
        more than a face: on average a soft face beside sharp hair passes. Their grain stands still and has the spectrum of
        the source: codecs drop what is new in every frame. Measured over all of the forgery at once, with fresh white grain,
        otherwise.

    Returns
    -------
    uint8 [T, H, W, 3]
        One gain for every band (and place) over the whole clip: gains that follow every frame would flicker.
    """
    solid = (weight > 0.5).astype(np.float32)
    if not solid.any():
        return forged
    sample = np.unique(np.linspace(0, len(forged) - 1, SAMPLES).round().astype(int))
    made = [_bands(forged[i].astype(np.float32)) for i in sample]
    real = [_bands(genuine[i].astype(np.float32)) for i in sample]
    parts = solid[sample]
    gains, grains = [np.ones(1)] * len(SIGMAS), [np.zeros(1)] * len(SIGMAS)  # each [1] or [H, W]
    for band in range(len(SIGMAS)):
        have = _masked_mean([np.square(m[band].mean(axis=-1)) for m in made], parts, span) + 1e-6
        want = _masked_mean([np.square(r[band].mean(axis=-1)) for r in real], parts, span)
        gains[band] = np.clip(np.sqrt(want / have), *GAINS)
        grains[band] = np.sqrt(np.maximum(want - have * gains[band] ** 2, 0.0))
    sharp = _masked_mean([_sharpness(genuine[i].astype(np.float32)) for i in sample], parts, span)
    fields = None if span is None else [_like([r[band].mean(axis=-1) for r in real], parts, span, rng) for band in range(len(SIGMAS))]
    of_grain = LAPLACIAN_OF_GRAIN if fields is None else float(np.square(cv2.Laplacian(fields[0], cv2.CV_32F)).mean())
    for _ in range(ROUNDS_OF_DETAIL):
        # The finest band is wide: as much energy can lie at its lower end. What counts is the Laplacian, so it is measured.
        tried = [_adjust_bands(forged[i], bands, weight[i], gains, grains, rng, fields) for i, bands in zip(sample, made, strict=True)]
        have = _masked_mean([_sharpness(image) for image in tried], parts, span) + 1e-6
        factor = np.sqrt(sharp / have)
        before = gains[0]
        gains[0] = np.clip(before * factor, *GAINS)
        calmed = grains[0] * np.minimum(factor, 1.0)
        # More gain would ring: the rest is grain.
        rest = np.maximum(sharp - have * (gains[0] / before) ** 2, 0.0) / of_grain
        grains[0] = np.where((factor > 1.0) & (gains[0] < before * factor), np.sqrt(calmed**2 + rest), calmed)
    out = forged.copy()
    for index, (image, part) in enumerate(zip(forged, weight, strict=True)):
        bands = _bands(image.astype(np.float32))
        out[index] = _adjust_bands(image, bands, part, gains, grains, rng, fields).round().astype(np.uint8)
    return out


def _masked_mean(values: list[np.ndarray], parts: np.ndarray, span: float | None) -> np.ndarray:
    """Pictures [H, W] of some energy, averaged over their ``parts`` and time: [1], or [H, W] around every pixel."""
    if span is None:
        return np.array([np.median([_mean(value, part) for value, part in zip(values, parts, strict=True)])])
    total = np.mean([value * part for value, part in zip(values, parts, strict=True)], axis=0)
    # What lies outside the forgery has no say, and a little of the average over all of it holds where there is nothing near.
    little, overall = 1e-3, _mean(total, parts.mean(axis=0))
    near, count = (cv2.GaussianBlur(x, (0, 0), span, borderType=cv2.BORDER_CONSTANT) for x in (total, parts.mean(axis=0)))
    return np.asarray((near + little * overall) / (count + little), dtype=np.float64)


def _like(images: list[np.ndarray], parts: np.ndarray, span: float, rng: np.random.Generator) -> np.ndarray:
    """Noise float32 [H, W] of variance 1 around every pixel, with the spectrum of pictures [H, W] and strong where they are."""
    inside = parts.mean(axis=0)
    power = np.mean([np.square(np.abs(np.fft.rfft2(image * inside))) for image in images], axis=0)
    phases = np.angle(np.fft.rfft2(rng.standard_normal(inside.shape)))
    noise = np.fft.irfft2(np.sqrt(power) * np.exp(1j * phases), s=inside.shape)
    # Lashes and hair hide what would be a rash on a cheek.
    energies = [np.square(image) for image in images]
    strength = _masked_mean(energies, parts, SIGMA_OF_EDGES) / (_masked_mean(energies, parts, span) + 1e-6)
    return np.asarray(noise / max(float(noise.std()), 1e-6) * np.sqrt(np.minimum(strength, MOST_STRENGTH)), dtype=np.float32)


def _sharpness(image: np.ndarray) -> np.ndarray:
    """Square of the Laplacian of a picture's grey values [H, W]."""
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
    """A picture uint8 [H, W, 3] with gains on its bands and grain (fresh, or ``fields`` of it) added where ``weight`` is: float32."""
    *fine, rest = bands
    changed = rest + sum(gain.astype(np.float32)[..., None] * band for gain, band in zip(gains, fine, strict=True))
    for level, grain in enumerate(grains):
        if grain.max() > 0.2:  # levels
            if fields is None:
                noise = _bands(rng.standard_normal((*image.shape[:2], 1), dtype=np.float32).repeat(3, axis=2))[level]
                grain = grain / max(float(noise.std()), 1e-6)
            else:
                noise = fields[level][..., None]
            changed = changed + noise * grain.astype(np.float32)[..., None]
    share = weight[..., None]
    return share * np.clip(changed, 0.0, 255.0) + (1.0 - share) * image


def match_motion(forged: np.ndarray, genuine: np.ndarray, weight: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Let a forgery that moves less than its source did shake as the source shook.

    A network's head rests where a living one is never still. What a clip's frames differ by is motion far more than grain,
    and codecs keep the motion alone, so grain could not make up for it.

    Parameters
    ----------
    forged, genuine : uint8 [T, H, W, 3]
    weight : float32 [T, H, W]
        How much of the motion every pixel makes: 1 where the forgery is, 0 where both are the same.
    path : float [T, 2]
        Where the genuine head was, in pixels.

    Returns
    -------
    uint8 [T, H, W, 3]
        Moved by the quick part of the path, as far as makes neighbouring frames differ as much as the genuine ones, within
        limits; a forgery that moves enough is returned as it is.
    """
    shake = path - cv2.GaussianBlur(path.astype(np.float32), (1, 0), sigmaX=1.0, sigmaY=QUICK, borderType=cv2.BORDER_REPLICATE)
    want = _frame_difference(genuine, weight)
    if not shake.any() or _frame_difference(forged, weight) >= want:
        return forged
    # More than that would fold the margin over which the motion fades.
    low, high = 0.0, min(MOST_SHAKE, REACH_OF_SHAKE * float(np.sqrt(weight[0].sum())) / float(np.abs(shake).max()))
    for _ in range(ROUNDS_OF_MOTION):
        middle = (low + high) / 2.0
        enough = _frame_difference(_moved(forged, weight, middle * shake), weight) >= want
        low, high = (low, middle) if enough else (middle, high)
    return _moved(forged, weight, (low + high) / 2.0 * shake)


def _frame_difference(images: np.ndarray, weight: np.ndarray) -> float:
    """Mean over time of the root mean square by which neighbouring pictures differ where ``weight`` is, in levels."""
    grey = [cv2.GaussianBlur(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), SIGMA_OF_MOTION) for p in images]
    pairs = zip(itertools.pairwise(grey), weight[1:], strict=True)
    return float(np.mean([np.sqrt(_mean(np.square(b - a), w)) for (a, b), w in pairs])) if len(grey) > 1 else 0.0


def _moved(images: np.ndarray, weight: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Pictures with every pixel moved by its frame's shift [T, 2], in pixels, times its weight."""
    rows, columns = np.mgrid[: images.shape[1], : images.shape[2]].astype(np.float32)
    out = np.empty_like(images)
    for index, (image, part, (x, y)) in enumerate(zip(images, weight, shifts.astype(np.float32), strict=True)):
        moved = cv2.remap(image, columns - part * x, rows - part * y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        out[index] = moved
    return out


def _edges() -> np.ndarray:
    """Bins of the spectrum at which the bands end, even on the mel scale and at least one bin wide."""
    mel = np.linspace(0.0, 2595.0 * np.log10(1.0 + 8000.0 / 700.0), BANDS + 1)
    bins = np.round(700.0 * (10.0 ** (mel / 2595.0) - 1.0) / 8000.0 * (FFT // 2)).astype(int)
    return np.unique(np.append(bins, FFT // 2 + 1))


def _stft(waveform: np.ndarray) -> np.ndarray:
    from scipy.signal import stft

    return stft(waveform, nperseg=FFT, noverlap=FFT - HOP)[2]


def match_spectrum(forged: np.ndarray, genuine: np.ndarray) -> np.ndarray:
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
