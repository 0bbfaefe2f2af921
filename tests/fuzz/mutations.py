"""Damage to files: flipped bits, truncation, splices, and edits of times, channels and sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

TIMES = (
    b"mvhd",
    b"mdhd",
    b"tkhd",
    b"stts",
    b"ctts",
    b"elst",
    b"tfdt",
    b"\x2a\xd7\xb1",
    b"\xe7",
    b"\x44\x89",
    b"fmt ",
)  # fields with times follow
SIZES = (b"moov", b"trak", b"stbl", b"stsz", b"stsc", b"stco", b"mdat", b"data", b"LIST", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75", b"OggS")
CHANNELS = (b"mp4a", b"fmt ", b"\x9f\x81", b"dOps", b"OpusHead", b"COMM", b"desc", b"esds", b"fLaC", b"avc1", b"mp4v")  # also pixels
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def flip_bits(data: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> None:
    """Flip up to 1 % of the bytes, in the whole file or in its first kilobyte."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 1024)
    for position in rng.integers(0, end, max(1, int(end * 10 ** rng.uniform(-4, -2)))):
        data[position] ^= 1 << int(rng.integers(8))


def truncate(data: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> None:
    """Cut the file off."""
    del data[int(rng.integers(1, len(data))) :]


def splice(data: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> None:
    """Insert or write a piece of this or another file somewhere."""
    source = data if rng.random() < 0.5 else others[int(rng.integers(len(others)))]
    begin = int(rng.integers(len(source)))
    piece = bytes(source[begin : begin + int(rng.integers(1, 4096))])
    at = int(rng.integers(len(data)))
    data[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece


def remove(data: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> None:
    """Cut a piece out."""
    begin = int(rng.integers(len(data)))
    del data[begin : begin + int(rng.integers(1, 2048))]


def edit_times(data: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> None:
    """Write extreme values where durations, time bases and timestamps are."""
    _edit_after(data, rng, TIMES)


def edit_sizes(data: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> None:
    """Write extreme values where sizes and counts are."""
    _edit_after(data, rng, SIZES)


def edit_channels(data: bytearray, rng: np.random.Generator, others: Sequence[bytes]) -> None:
    """Write extreme values where channels, rates and dimensions are."""
    _edit_after(data, rng, CHANNELS)


def _edit_after(data: bytearray, rng: np.random.Generator, marks: Sequence[bytes]) -> None:
    places = [at for mark in marks for at in _find(data, mark)]
    if not places:
        flip_bits(data, rng, ())
        return
    for _ in range(int(rng.integers(1, 4))):
        at = places[int(rng.integers(len(places)))] + int(rng.integers(-8, 40))
        size = int(rng.choice([1, 2, 4, 8]))
        value = EXTREMES[int(rng.integers(len(EXTREMES)))] if rng.random() < 0.7 else int(rng.integers(1 << 32))
        if 0 <= at < len(data) - size:
            data[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "big" if rng.random() < 0.7 else "little")


def _find(data: bytearray, mark: bytes) -> list[int]:
    places, at = [], data.find(mark)
    while at >= 0 and len(places) < 20:
        places.append(at)
        at = data.find(mark, at + 1)
    return places


MUTATIONS: tuple[Callable[[bytearray, np.random.Generator, Sequence[bytes]], None], ...] = (
    flip_bits,
    truncate,
    splice,
    remove,
    edit_times,
    edit_sizes,
    edit_channels,
)
