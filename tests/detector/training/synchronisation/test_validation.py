from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from torch import Tensor

from avwitness.avsr.sync_network import SyncNetwork, SyncNetworkConfig
from avwitness.detector.training.synchronisation.recordings import Recording
from avwitness.detector.training.synchronisation.validation import Span, compare, estimated_lags, middle, mismatch_table, offset_table

WIDTH = 8
ANSWER = np.linalg.pinv(np.random.default_rng(0).standard_normal((2, WIDTH)))


class Opening(SyncNetwork):
    """Reads the opening of the mouth out of both streams."""

    def embed_audio(self, features: Tensor) -> Tensor:
        opening = features[:, ::2].double().numpy() @ ANSWER
        return features.new_tensor(opening)

    def embed_lips(self, lips: Tensor) -> Tensor:
        noise = np.random.default_rng(1).standard_normal((40, 2))[0, 0]
        return (lips[:, :, 0, :1] - 48.0) / (8.0 * noise) * lips.new_tensor([[1.0, 0.5]])


@pytest.fixture
def network() -> Opening:
    return Opening(SyncNetworkConfig(audio_width=WIDTH))


def test_offsets_of_moved_sound_are_found(network: Opening, recordings: list[Recording]) -> None:
    table = offset_table(network, recordings, 50)
    assert len(table) == len(recordings) and table.still.notna().all()
    assert (table.offset - table.move).abs().max() < 0.8 and table.still.abs().max() < 0.8


def test_lags_are_estimated(network: Opening, synthetic_recording: Callable[..., Recording]) -> None:
    late = [synthetic_recording(f"late{lag}#0", "page", 150, lag + 20, lag) for lag in (-3, 0, 4)]
    assert estimated_lags(network, late) == [-3, 0, 4]
    silent = Recording("silent#0", "page", late[0].lips, late[0].usable, np.zeros_like(late[0].features), lag=2)
    assert estimated_lags(network, [silent]) == [2]


def test_mismatches_have_higher_statistics(network: Opening, recordings: list[Recording]) -> None:
    table = mismatch_table(network, recordings, 50)
    assert set(table.kind) == {"in sync", "moved", "foreign"}
    assert table[table.kind == "in sync"].statistic.max() < table[table.kind != "in sync"].statistic.min()
    assert (table[table.kind == "moved"].move.abs() >= 10).all()


def test_too_little_sound_is_not_compared(network: Opening, recordings: list[Recording]) -> None:
    assert compare(network, recordings[0], recordings[0], Span(0, 50), -40) is None
    assert compare(network, recordings[0], recordings[0], middle(recordings[0], 50), 10) is not None
