"""Degradations by encoding: one codec and one stream at a time.

Video encoders run at constant quality (CRF), audio encoders at a bit rate. Presets are fast ones, since hundreds of files are written,
and every encoder runs on one thread, so that its output is deterministic.
"""

from __future__ import annotations

from dataclasses import replace

from .base import Coding

#: Almost lossless video, lossless audio.
DEFAULT_CODING = Coding()


def h264(crf: float) -> Coding:
    """H.264 by x264."""
    # Without macroblock trees, with which x264 is not deterministic.
    options = {"crf": f"{crf:g}", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
    return replace(DEFAULT_CODING, video_codec="libx264", video_options=options)


def hevc(crf: float) -> Coding:
    """HEVC (H.265) by x265."""
    options = {"crf": f"{crf:g}", "preset": "superfast", "x265-params": "pools=none:frame-threads=1:log-level=none"}
    return replace(DEFAULT_CODING, video_codec="libx265", video_options=options)


def vp9(crf: float) -> Coding:
    """VP9 by libvpx, as live encoders run it."""
    options = {"crf": f"{crf:g}", "b": "0", "deadline": "realtime", "cpu-used": "8", "threads": "1"}
    return replace(DEFAULT_CODING, video_codec="libvpx-vp9", video_options=options)


def aac(kilobits: float) -> Coding:
    """AAC (low complexity) by FFmpeg."""
    return replace(DEFAULT_CODING, audio_codec="aac", audio_bit_rate=round(1000 * kilobits))


def opus(kilobits: float) -> Coding:
    """Opus by libopus."""
    return replace(DEFAULT_CODING, audio_codec="libopus", audio_bit_rate=round(1000 * kilobits))


def mp3(kilobits: float) -> Coding:
    """MP3 by LAME; at 16 kHz, that is MPEG-2 layer III."""
    return replace(DEFAULT_CODING, audio_codec="libmp3lame", audio_bit_rate=round(1000 * kilobits))
