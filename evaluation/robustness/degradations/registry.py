"""The degradations of the robustness suite, five severities each."""

from __future__ import annotations

from . import audio, coding, timing, video
from .base import Degradation

# Of video, of audio, of both; within each, degradations by platforms come before those by cameras, rooms and players.
_ALL = (
    # 23 is the default of x264, 28 that of x265 for about the same quality; each step of 5 about halves the bits.
    Degradation("h264", "H.264", "video", "CRF", (23, 28, 33, 38, 43), coding=coding.h264),
    Degradation("hevc", "HEVC", "video", "CRF", (28, 33, 38, 43, 48), coding=coding.hevc),
    # 33 is what Google recommends for 640 x 480 (Recommended Settings for VOD, VP9); the scale ends at 63.
    Degradation("vp9", "VP9", "video", "CRF", (33, 40, 47, 54, 61), coding=coding.vp9),
    # 720, 480, 360, 240 and 144 lines of 1080, the resolutions in which platforms deliver.
    Degradation("resize", "downscaling", "video", "share of sides left", (0.67, 0.44, 0.33, 0.22, 0.13), video=video.resize),
    # Blur and noise as in DeeperForensics-1.0 (Jiang et al., CVPR 2020): kernels of 7 to 21 pixels, six standard deviations wide;
    # variances of 0.001 to 0.05 of full scale.
    Degradation("blur", "blur", "video", "px", (1.2, 1.5, 2.2, 2.8, 3.5), video=video.blur),
    Degradation("grain", "video noise", "video", "levels", (8, 11, 18, 25, 57), video=video.grain),
    # A square crop of 16:9 cuts 0.44 of the width.
    Degradation("crop", "crop", "video", "share of sides cut", (0.1, 0.2, 0.3, 0.4, 0.5), video=video.crop),
    Degradation("frame_drop", "dropped frames", "video", "share", (0.05, 0.1, 0.2, 0.4, 0.6), video=video.frame_drop),
    # Mono at 16 kHz. 48 kbit/s of AAC or 64 of MP3 are good quality for that; Opus is specified for such speech at 16 to 20, for
    # narrow-band speech at 8 to 12 (RFC 7587, 3.1.1), and goes down to 6.
    Degradation("aac", "AAC", "audio", "kbit/s", (48, 32, 24, 16, 12), coding=coding.aac),
    Degradation("opus", "Opus", "audio", "kbit/s", (24, 16, 12, 8, 6), coding=coding.opus),
    Degradation("mp3", "MP3", "audio", "kbit/s", (64, 48, 32, 24, 16), coding=coding.mp3),
    Degradation("noise", "audio noise", "audio", "dB SNR", (30, 20, 15, 10, 5), audio=audio.noise),
    # X-vectors (Snyder et al., ICASSP 2018) were trained in babble of 13 to 20 dB; AV-HuBERT (Shi et al., 2022) was tested down to -10.
    Degradation("babble", "babble", "audio", "dB SNR", (20, 15, 10, 5, 0), audio=audio.babble, needs_voices=True),
    # 0.25, 0.5 and 0.7 s are the three rooms of the REVERB challenge (Kinoshita et al., 2013); then a classroom and a hall.
    Degradation("reverb", "reverberation", "audio", "s T60", (0.25, 0.5, 0.7, 1.0, 1.5), audio=audio.reverb),
    # 7 kHz is wide-band telephony (ITU-T G.722), 3.4 kHz narrow-band (G.712).
    Degradation("band_limit", "band limit", "audio", "Hz", (7000, 5500, 4500, 3400, 2500), audio=audio.band_limit),
    Degradation("silence_trim", "silence trimming", "audio", "s left", (1.0, 0.5, 0.2, 0.1, 0.0), trim=timing.trim_silence),
    # Whole frames at 25 Hz, so that no reader rounds them. Audio delay is noticed from 125 ms and not acceptable above 185 (ITU-R BT.1359).
    Degradation("av_shift", "audio delay", "both", "ms", (40, 80, 120, 200, 400), video=timing.cut_video_start, audio=timing.cut_audio_end),
)

DEGRADATIONS: dict[str, Degradation] = {degradation.name: degradation for degradation in _ALL}
