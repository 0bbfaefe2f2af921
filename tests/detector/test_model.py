from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_detector import TINY, inputs, tiny

from avwitness.avsr.sync_network import MAX_OFFSET
from avwitness.detector.model import CountToken, DetectorConfig, DualLabelDetector, pooled, soft_maximum
from avwitness.detector.model import StreamOutput as Said
from avwitness.detector.training.build import build_model
from avwitness.detector.training.config import TrainConfig
from avwitness.settings import read_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model() -> DualLabelDetector:
    return tiny()


def same(a: Said | None, b: Said | None, frames: int | None = None, atol: float = 1e-5) -> bool:
    assert a is not None and b is not None and a.artefacts is not None and b.artefacts is not None
    pairs = [(a.clip, b.clip), (a.speech, b.speech), (a.artefacts, b.artefacts), (a.frames[:, :frames], b.frames[:, :frames])]
    return all(torch.allclose(x, y, atol=atol) for x, y in pairs)


@pytest.mark.slow
@torch.no_grad()
def test_each_head_depends_on_its_own_stream_alone(model: DualLabelDetector) -> None:
    given_ = inputs()
    audio_alone = model(audio=given_["audio"], spectrum=given_["spectrum"])
    video_alone = model(video=given_["video"], faces=given_["faces"])
    both, other = model(**given_), inputs(seed=1)
    assert audio_alone.video is audio_alone.sync is video_alone.audio is video_alone.sync is None
    assert same(both.audio, audio_alone.audio) and same(both.video, video_alone.video)
    # Whatever the other stream shows.
    assert same(model(**{**given_, "video": other["video"], "faces": other["faces"]}).audio, audio_alone.audio)
    assert same(model(**{**given_, "audio": other["audio"], "spectrum": other["spectrum"]}).video, video_alone.video)
    assert not same(model(**other).audio, audio_alone.audio) and not same(model(**other).video, video_alone.video)
    assert both.count.shape == (2, 3)
    assert both.audio.frames.shape == both.video.frames.shape == (2, 20)
    assert both.sync.shape == (2, 2, 2 * MAX_OFFSET + 1)


@torch.no_grad()
def test_masked_frames_change_no_clip_logit(model: DualLabelDetector) -> None:
    given_ = inputs()
    mask = torch.ones(2, 20, dtype=torch.bool)
    mask[:, 15:] = False
    changed = {name: value.clone() for name, value in given_.items()}
    for name in ("audio", "spectrum"):
        changed[name][:, 15:] = 9.0
    changed["video"][:, 15:] = 3
    changed["faces"][:, 3:] = 3
    first, second = (model(**streams, audio_mask=mask, video_mask=mask) for streams in (given_, changed))
    assert same(first.audio, second.audio, 15) and same(first.video, second.video, 15)
    assert torch.allclose(first.count, second.count, atol=1e-5)
    assert torch.allclose(first.sync, second.sync, atol=1e-4)
    assert not same(model(**given_).audio, first.audio) and not same(model(**given_).video, first.video)


@torch.no_grad()
def test_padding_changes_neither_speech_nor_face_logits(model: DualLabelDetector) -> None:
    given_ = inputs()
    longer = {name: torch.nn.functional.pad(x, (*(0, 0) * (x.ndim - 2), 0, 10 if name != "faces" else 2)) for name, x in given_.items()}
    mask = (torch.arange(30) < 20).expand(2, -1)
    plain, padded = model(**given_), model(**longer, audio_mask=mask, video_mask=mask)
    assert torch.allclose(plain.audio.speech, padded.audio.speech, atol=1e-5)
    assert same(plain.video, padded.video, 20)
    assert torch.allclose(plain.count, padded.count, atol=1e-5)
    assert torch.allclose(plain.sync, padded.sync, atol=1e-4)


@torch.no_grad()
def test_a_clip_has_the_same_logits_in_any_batch(model: DualLabelDetector) -> None:
    given_ = inputs(3)
    together, alone = model(**given_), model(**{name: value[:1] for name, value in given_.items()})
    assert torch.allclose(together.audio.clip[:1], alone.audio.clip, atol=1e-5)
    assert torch.allclose(together.video.clip[:1], alone.video.clip, atol=1e-5)


@torch.no_grad()
def test_a_logit_is_the_sum_of_its_parts(model: DualLabelDetector) -> None:
    given_ = inputs()
    whole = model(**given_)
    plain = model(given_["audio"], given_["video"])  # nothing for the artefact branches
    for stream in ("audio", "video"):
        output, bare = getattr(whole, stream), getattr(plain, stream)
        assert torch.allclose(output.clip, output.speech + output.artefacts, atol=1e-6)
        assert bare.artefacts is None
        assert torch.equal(bare.clip, bare.speech)
        assert torch.allclose(bare.clip, output.speech, atol=1e-6)
    without = tiny(artefacts=False)(**given_)
    assert without.audio.artefacts is without.video.artefacts is None


@torch.no_grad()
def test_the_binary_model_outputs_one_logit() -> None:
    model, given_ = tiny(labels="binary"), inputs()
    both = model(**given_)
    assert both.audio is both.video
    assert both.sync is None
    assert model(audio=given_["audio"]).video is None
    assert not torch.allclose(model(audio=given_["audio"]).audio.clip, both.audio.clip, atol=1e-4)  # it leans on both
    with pytest.raises(ValueError, match="dual, binary"):
        DualLabelDetector(DetectorConfig(backbone_options=TINY, labels="triple"))


@given(st.lists(st.tuples(st.floats(-30.0, 30.0), st.booleans()), min_size=1, max_size=30))
def test_the_soft_maximum_lies_between_mean_and_maximum(frames: list[tuple[float, bool]]) -> None:
    values, mask = (torch.tensor([column]) for column in zip(*frames, strict=True))
    found = float(soft_maximum(values, mask)[0])
    known = values[mask]
    if len(known) == 0:
        assert found == 0.0
        return
    assert float(known.mean()) - 1e-3 <= found <= float(known.max()) + 1e-3
    assert found == pytest.approx(float(np.log(np.mean(np.exp(known.double().numpy())))), abs=1e-3)
    hidden = torch.where(mask, values, 1e4)
    assert float(soft_maximum(hidden, mask)[0]) == found


def test_pooling_is_mean_and_deviation_of_unmasked_frames() -> None:
    x = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True] * 9, [True] * 4 + [False] * 5])
    expected = torch.stack(
        [torch.cat([x[b, :n].mean(dim=0), (x[b, :n].var(dim=0, unbiased=False) + 1e-5).sqrt()]) for b, n in ((0, 9), (1, 4))]
    )
    assert torch.allclose(pooled(x, mask), expected, atol=1e-5)


@torch.no_grad()
def test_the_count_without_unmasked_frames_is_finite() -> None:
    token = CountToken(8).eval()
    x = torch.randn(2, 5, 8)
    mask = torch.tensor([[False] * 5, [True] * 5])
    output = token(x, mask)
    assert output.shape == (2, 3) and torch.isfinite(output).all()
    assert torch.allclose(output[1], token(x[1:], mask[1:])[0], atol=1e-6)


def test_saved_and_loaded_in_half_precision(tmp_path: Path) -> None:
    model, given_ = tiny(calibration={"audio": {"slope": 2.0}}, notice="Mind."), inputs()
    with torch.no_grad():
        before = model(**given_)
        model.half().save_pretrained(tmp_path)
        loaded = DualLabelDetector.from_pretrained(tmp_path, dtype=torch.float32, local_files_only=True).eval()
        after = loaded(**given_)
    assert same(before.audio, after.audio, atol=5e-2) and same(before.video, after.video, atol=5e-2)
    assert loaded.config.notice == "Mind." and loaded.config.calibration == {"audio": {"slope": 2.0}}


def test_weights_are_read_under_the_names_of_version_0_1(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    old = {"sync_head.audio_projection.weight": "sync_head.hear.weight", "sync_head.video_projection.weight": "sync_head.see.weight"}
    save_file({old.get(name, name): value for name, value in load_file(file).items()}, file, {"format": "pt"})
    loaded, found = DualLabelDetector.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_the_bundled_configuration_is_small_and_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("somebody asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    config = read_settings(ROOT / "configs" / "detector_small.yaml", TrainConfig)
    model = build_model(config.model)
    assert sum(p.numel() for p in model.parameters()) <= 25_000_000
    assert model.config.labels == "dual" and model.face_branch is not None and model.sound_branch is not None
