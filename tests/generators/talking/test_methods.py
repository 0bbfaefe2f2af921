"""Talking-head methods of the forge: the head is generated, its surroundings are unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avwitness.generators.forge.registry import METHODS, combinable
from avwitness.generators.methods.base import CannotForge, Window
from avwitness.generators.methods.source import Source
from avwitness.generators.talking.methods import TALKING_METHODS, TalkingHeadMethod, head_patch
from avwitness.generators.talking.rendering.head_crops import Box, head_box

WINDOW = Window(4, 40)


@pytest.fixture(scope="module")
def wide(followed: dict[str, Source]) -> Source:
    """A clip whose frame extends beyond the head's square."""
    source = followed["collins-1"]
    assert source.frames is not None and source.landmarks is not None
    room = 120
    frames = np.pad(source.frames, ((0, 0), (room, room), (room, room), (0, 0)), mode="reflect")
    return replace(source, frames=frames, landmarks=source.landmarks + room)


@pytest.mark.slow
@pytest.mark.parametrize("method", [decoder() for decoder in TALKING_METHODS], ids=lambda method: method.name)
def test_nothing_changes_outside_the_square(method: TalkingHeadMethod, wide: Source, followed: dict[str, Source]) -> None:
    if why := method.missing_reason():
        pytest.skip(why)
    made = method.forge(wide, followed["hopper-1"], WINDOW, np.random.default_rng(1))
    part = wide.cut(WINDOW.begin, WINDOW.frames)
    assert made.frames is not None and part.frames is not None and part.landmarks is not None
    box = head_box(part.landmarks)
    changed = np.abs(made.frames.astype(int) - part.frames).max(axis=(0, 3)) > 0
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert rows[0] >= np.floor(box.top) and rows[-1] <= np.ceil(box.top + box.side)
    assert columns[0] >= np.floor(box.left) and columns[-1] <= np.ceil(box.left + box.side)
    assert not changed.all()
    assert made.video_intervals == ((0.0, WINDOW.frames / 25),) and made.audio_intervals == ()


def test_talking_heads_combine_with_voice_methods_and_listeners_do_not() -> None:
    assert combinable("font", "griffin_lim") and combinable("opt", "lpc") and combinable("osm_net", "world_copy")
    assert not combinable("mfr_net", "griffin_lim")


@pytest.mark.slow
def test_a_listener_is_labelled_out_of_sync(followed: dict[str, Source]) -> None:
    method = METHODS["mfr_net"]
    if why := method.missing_reason():
        pytest.skip(why)
    made = method.forge(followed["collins-1"], followed["hopper-1"], WINDOW, np.random.default_rng(0))
    assert made.mismatch is True
    assert made.waveform is not None and not np.array_equal(made.waveform, followed["collins-1"].cut(4, 40).waveform)


def test_heads_that_are_too_small_or_outside_are_refused(followed: dict[str, Source]) -> None:
    source = followed["collins-1"]
    assert source.landmarks is not None
    tiny = replace(source, landmarks=source.landmarks * 0.1)
    with pytest.raises(CannotForge, match="smaller than"):
        METHODS["font"].forge(tiny, None, WINDOW, np.random.default_rng(0))
    with pytest.raises(CannotForge, match="outside"):
        head_patch(source, Box(1e4, 0.0, 100.0))


def test_a_square_that_reaches_beyond_the_frame_is_cut(followed: dict[str, Source]) -> None:
    source = followed["collins-1"]
    assert source.frames is not None
    area, inside = head_patch(source, Box(-20.0, 30.0, 200.0))
    assert (area.left, area.top) == (0, 30)
    assert area.images.shape[1:3] == (200, 180)
    assert (inside.left, inside.top, inside.side) == (-20.0, 0.0, 200.0)
