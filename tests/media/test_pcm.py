"""16-bit PCM samples to float waveforms and back."""

from __future__ import annotations

import numpy as np

from avwitness.media.pcm import to_float32, to_int16


def test_every_int16_value_comes_back_within_one_step() -> None:
    values = np.arange(-32768, 32768, dtype=np.int16)
    waveform = to_float32(values)
    assert waveform.dtype == np.float32
    assert waveform.min() == -1.0 and waveform.max() == np.float32(32767 / 32768)
    again = to_int16(waveform)
    assert again.dtype == np.int16
    assert np.abs(again.astype(int) - values).max() <= 1


def test_values_beyond_full_scale_are_clipped_and_the_nearest_value_is_taken() -> None:
    assert to_int16(np.array([-2.0, -1.0, 0.0, 0.6 / 32767, 1.0, 1.5], dtype=np.float32)).tolist() == [-32767, -32767, 0, 1, 32767, 32767]
    assert to_int16(np.zeros(0, dtype=np.float32)).shape == (0,)
