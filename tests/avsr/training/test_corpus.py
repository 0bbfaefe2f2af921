from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speech import SILENCE, toy_corpus

from avwitness.avsr.text import decode
from avwitness.avsr.training.augment import AugmentConfig, babble, mix, resample_nearest, span_mask
from avwitness.avsr.training.clusters import acoustic_features, assign_clusters, fit_clusters
from avwitness.avsr.training.corpus import MASKED_GREY, augmented_sample, collate, load_utterances, plain_sample, speech_span


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    cache = tmp_path_factory.mktemp("cache")
    rows = toy_corpus(cache, clips=8)
    rows.attrs["cache"] = cache
    return rows


@given(st.floats(-10.0, 30.0), st.integers(0, 9))
def test_noise_is_added_at_the_given_ratio(snr: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    speech, noise = rng.standard_normal(4000).astype(np.float32), 7.0 * rng.standard_normal(900).astype(np.float32)
    added = mix(speech, noise, snr) - speech
    assert 10.0 * np.log10(np.mean(speech**2) / np.mean(added**2)) == pytest.approx(snr, abs=0.05)


def test_silence_stays_silence() -> None:
    silence = np.zeros(1000, dtype=np.float32)
    assert (mix(silence, np.ones(10, np.float32), 0.0) == 0).all()
    assert np.isfinite(babble([silence], 500, np.random.default_rng(0))).all()


@given(st.integers(1, 200), st.floats(0.0, 0.6), st.integers(0, 20))
def test_spans_mask_about_the_given_share(frames: int, share: float, seed: int) -> None:
    masked = np.mean([span_mask(frames, share, 8, np.random.default_rng((seed, i))).mean() for i in range(60)])
    assert masked <= share + 0.12
    assert resample_nearest(np.arange(frames), 2 * frames).shape == (2 * frames,)
    assert (np.diff(resample_nearest(np.arange(frames), 50)) >= 0).all()


def test_both_streams_of_an_utterance_are_equally_long(table: pd.DataFrame) -> None:
    for utterance in load_utterances(table, table.attrs["cache"]):
        assert utterance.views.mouth is not None
        assert utterance.views.waveform is not None
        assert len(utterance.views.mouth) * 640 == len(utterance.views.waveform)
        first, last = speech_span(utterance.views.waveform)
        assert first == SILENCE
        assert last == utterance.frames - SILENCE
    with pytest.raises(FileNotFoundError, match="avwitness prepare"):
        load_utterances(table, Path(table.attrs["cache"]) / "nowhere")
    with pytest.raises(ValueError, match="transcript"):
        load_utterances(table.drop(columns="transcript"), table.attrs["cache"])


@pytest.mark.slow
def test_samples_are_masked_as_stated_and_determined_by_the_seed(table: pd.DataFrame) -> None:
    utterances = load_utterances(table, table.attrs["cache"])
    config = AugmentConfig(audio_spans=0.5, video_spans=0.5)
    kept = []
    for seed in range(30):
        one, other = (augmented_sample(utterances[0], utterances, config, np.random.default_rng(seed), 40) for _ in range(2))
        assert np.array_equal(one.audio, other.audio)
        assert np.array_equal(one.video, other.video)
        assert len(one.audio) == len(one.video) == len(one.usable) <= 40
        assert (one.audio[one.masked[0]] == 0).all()
        assert (one.video[one.masked[1]] == MASKED_GREY).all()
        assert one.keep.any()  # at least one stream is kept
        kept.append(tuple(one.keep))
        assert decode(one.characters) == utterances[0].text
    assert set(kept) == {(True, True), (True, False), (False, True)}
    plain = plain_sample(utterances[0])
    assert not plain.masked.any()
    assert plain.video.shape[1:] == (88, 88)


def test_batches_pad_and_mask(table: pd.DataFrame) -> None:
    utterances = load_utterances(table, table.attrs["cache"])
    batch = collate([plain_sample(u) for u in utterances])
    longest = max(u.frames for u in utterances)
    assert batch.audio.shape == (8, longest, 320)
    assert batch.audio_mask.sum(dim=1).tolist() == [u.frames for u in utterances]
    assert batch.character_counts.tolist() == [len(u.text) for u in utterances]
    assert (batch.clusters == -100).all()


def test_tones_fall_into_different_clusters(table: pd.DataFrame) -> None:
    utterances = load_utterances(table, table.attrs["cache"])
    centres = fit_clusters(utterances, acoustic_features, 8, seed=0)
    assert np.array_equal(centres, fit_clusters(utterances, acoustic_features, 8, seed=0))
    by_character: dict[str, list[int]] = {}
    for utterance in assign_clusters(utterances, acoustic_features, centres):
        assert utterance.clusters is not None
        assert len(utterance.clusters) == utterance.frames
        for position, character in enumerate(utterance.text):
            by_character.setdefault(character, []).append(int(utterance.clusters[SILENCE + 4 * position + 2]))
    common = {character: max(set(found), key=found.count) for character, found in by_character.items() if character != " "}
    assert len(set(common.values())) == len(common)
