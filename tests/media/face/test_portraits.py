from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avwitness.media.face.portraits import MARGIN, PORTRAIT_SIZE, portrait_crops


def track(usable: np.ndarray, low: tuple[float, float], high: tuple[float, float]) -> Any:
    corners = np.array([[*low, 0.0], [*high, 0.0]], np.float32)
    return SimpleNamespace(usable=usable, landmarks=np.repeat(corners[None], len(usable), axis=0))


def test_portraits_are_spread_over_the_usable_frames() -> None:
    frames = np.arange(50, dtype=np.uint8)[:, None, None, None].repeat(40, 1).repeat(60, 2).repeat(3, 3)
    usable = np.zeros(50, dtype=bool)
    usable[10:42] = True
    portraits, numbers = portrait_crops(frames, track(usable, (20, 10), (40, 30)))
    assert portraits.shape == (4, PORTRAIT_SIZE, PORTRAIT_SIZE, 3) and portraits.dtype == np.uint8
    assert (portraits[:, 0, 0, 0] == numbers).all() and usable[numbers].all()
    assert numbers.tolist() == [14, 22, 29, 37]
    usable[:] = False
    usable[7] = True
    assert portrait_crops(frames, track(usable, (20, 10), (40, 30)))[1].tolist() == [7]
    usable[7] = False
    assert portrait_crops(frames, track(usable, (20, 10), (40, 30)))[0].shape == (0, PORTRAIT_SIZE, PORTRAIT_SIZE, 3)


@pytest.mark.parametrize(("low", "high"), [((20, 10), (40, 30)), ((-10, -10), (15, 15)), ((50, 30), (70, 60)), ((-90, -90), (-80, -80))])
def test_a_square_with_a_margin_that_may_leave_the_frame(low: tuple[float, float], high: tuple[float, float]) -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[..., 0] = np.arange(60)
    portraits, _ = portrait_crops(frame[None], track(np.ones(1, dtype=bool), low, high))
    side = MARGIN * max(high[0] - low[0], high[1] - low[1])
    left = (low[0] + high[0]) / 2 - side / 2
    expected = np.clip(left + (np.arange(PORTRAIT_SIZE) + 0.5) / PORTRAIT_SIZE * side - 0.5, 0, 59)
    if low[0] > -90:
        assert np.abs(portraits[0, 112, :, 0] - expected).max() <= 1.5
    else:
        assert not portraits.any()
