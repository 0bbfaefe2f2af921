from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from avwitness.detector.model import DualLabelDetector
from avwitness.detector.training.predict import CASES, learn_sync, plain_example, predict
from avwitness.detector.training.samples import Sample
from avwitness.detector.training.visual_features import look
from avwitness.media.face.mouth import centre
from witness import clip, fake, tiny


@pytest.fixture(scope="module")
def clips() -> list[Sample]:
    """Both streams, sound alone, picture alone, sound longer than picture, a fake, and a clip whose face is never usable."""
    short = clip(3, 40)
    assert short.mouth is not None and short.usable is not None and short.face is not None
    longer = replace(short, mouth=short.mouth[:33], usable=short.usable[:33], face=short.face[:7])
    hidden = replace(clip(5), usable=np.zeros(40, dtype=bool))
    return [clip(0), clip(1, streams=("audio",)), clip(2, streams=("video",)), longer, fake(clip(4), "audio", "lpc", 3, 9), hidden]


@pytest.fixture(scope="module")
def model(clips: list[Sample]) -> DualLabelDetector:
    found = tiny()
    assert learn_sync(found, clips[:1] + clips[3:]) > 60
    return found


@pytest.fixture(scope="module")
def tables(model: DualLabelDetector, clips: list[Sample]) -> dict[str, pd.DataFrame]:
    return {case: predict(model, clips, case, keep_frames=True) for case in CASES}


def test_rows_say_who_and_what_every_clip_is(tables: dict[str, pd.DataFrame], clips: list[Sample]) -> None:
    for table in tables.values():
        assert list(table.path) == [s.path for s in clips] and list(table.identity) == [s.identity for s in clips]
        assert table.audio_label.tolist()[:2] == [0, 0] and table.audio_label[4] == 1 and math.isnan(table.audio_label[2])
        assert math.isnan(table.video_label[1]) and table.video_label[4] == 0
        assert table.audio_method[4] == "lpc" and table.video_method[4] == "genuine"


def test_what_is_not_there_is_not_judged(tables: dict[str, pd.DataFrame]) -> None:
    both = tables["both"]
    assert both.audio.notna().tolist() == [True, True, False, True, True, True]
    assert both.video.notna().tolist() == [True, False, True, True, True, False]
    assert both.sync.notna().tolist() == both.offset.notna().tolist() == [True, False, False, True, True, False]
    assert tables["audio"].video.isna().all() and tables["audio"].sync.isna().all() and tables["video"].audio.isna().all()


def test_each_stream_is_judged_alike_with_and_without_the_other(tables: dict[str, pd.DataFrame]) -> None:
    for stream in ("audio", "video"):
        for name in (stream, f"{stream}_speech", f"{stream}_artefacts"):
            rows = [0, 1, 2, 4]  # where both streams are equally long
            assert np.allclose(tables["both"][name][rows], tables[stream][name][rows], atol=1e-4, equal_nan=True)
    table = tables["both"]
    assert np.allclose(table.audio, table.audio_speech + table.audio_artefacts, atol=1e-5, equal_nan=True)
    assert table.audio.nunique() == 5  # not one answer for all


def test_frames_are_kept_when_asked_for(tables: dict[str, pd.DataFrame], model: DualLabelDetector, clips: list[Sample]) -> None:
    assert [len(x) for x in tables["both"].audio_frames[[0, 1, 3]]] == [40, 40, 40]
    assert "audio_frames" not in predict(model, clips[:1])


def test_what_a_frozen_front_end_saw_before_is_judged_alike(model: DualLabelDetector, clips: list[Sample]) -> None:
    sample = clips[0]
    assert sample.mouth is not None and sample.usable is not None
    looks = look(model.backbone, centre(sample.mouth)[None], sample.usable)
    known = replace(sample, looks=looks)
    assert plain_example(known, type(model.backbone))["video"].shape == (40, looks.shape[2])
    first, second = predict(model, [sample]), predict(model, [known])
    for name in ("video", "video_speech", "sync", "offset"):
        assert first[name][0] == pytest.approx(second[name][0], abs=1e-3)


def test_the_comparison_is_learned_from_genuine_clips_alone(clips: list[Sample]) -> None:
    late = replace(clips[0], mismatch=True)
    with pytest.raises(ValueError, match="no clip"):
        learn_sync(tiny(), [late, fake(clips[0], "audio", "lpc"), clips[1], clips[2]])
    model = tiny()
    before = model.sync_head.hear.weight.clone()
    one = learn_sync(model, [clips[0]])
    assert not np.allclose(before, model.sync_head.hear.weight)
    assert learn_sync(model, [clips[0], late]) == one
    assert learn_sync(model, [replace(clips[0], lag=4)]) == one - 4
