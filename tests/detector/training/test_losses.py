from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_detector import inputs, tiny

from avwitness.detector.model import DetectorOutput, StreamOutput
from avwitness.detector.training.batches import MIN_FAKE_FRAMES, Batch
from avwitness.detector.training.losses import LossConfig, clip_labels, face_loss, loss_names, pass_losses

CLIPS, FRAMES = 3, 10
LOSSES = ("", "_frames", "_speech", "_artefacts")


def stream_output(seed: int, artefacts: bool = True) -> StreamOutput:
    generator = torch.Generator().manual_seed(seed)
    speech, artefact = torch.randn(2, CLIPS, generator=generator)
    frames = torch.randn(CLIPS, FRAMES, generator=generator)
    return StreamOutput(speech + artefact if artefacts else speech, frames, speech, artefact if artefacts else None)


def batch() -> Batch:
    """Three clips of both streams: genuine, fake audio, both fake."""
    audio, video = torch.zeros(2, CLIPS, FRAMES)
    audio[1:, 2:7] = 1.0
    video[2, 4:] = 1.0
    full = torch.ones(CLIPS, FRAMES, dtype=torch.bool)
    return Batch(audio_mask=full.clone(), video_mask=full.clone(), audio_labels=audio, video_labels=video)


@pytest.fixture
def output() -> DetectorOutput:
    return DetectorOutput(stream_output(1), stream_output(2), torch.randn(CLIPS, 3, generator=torch.Generator().manual_seed(3)), None)


def total(losses: dict[str, torch.Tensor]) -> float:
    return float(sum(losses.values()))


def test_a_clip_is_fake_from_two_frames_on_and_masked_frames_do_not_count() -> None:
    labels, mask = torch.zeros(4, 6), torch.ones(4, 6, dtype=torch.bool)
    labels[0, : MIN_FAKE_FRAMES - 1] = labels[1, :MIN_FAKE_FRAMES] = labels[2, :] = 1.0
    mask[2, MIN_FAKE_FRAMES - 1 :] = False
    mask[3] = False
    fake, present = clip_labels(labels, mask)
    assert fake.tolist() == [0, 1, 0, 0]
    assert present.tolist() == [True, True, True, False]


def test_every_output_has_a_loss(output: DetectorOutput) -> None:
    losses = pass_losses(output, batch(), LossConfig())
    assert set(losses) == {f"{stream}{part}" for stream in ("audio", "video") for part in LOSSES} | {"count"}
    assert set(losses) == set(loss_names("both", True, False))
    assert output.audio is not None
    truth = torch.tensor([0.0, 1.0, 1.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(output.audio.clip, truth)
    assert torch.allclose(losses["audio"], expected)
    halved = pass_losses(output, batch(), LossConfig(frames=0.25, branches=0.25, count=0.1))
    assert all(torch.allclose(halved[name], 0.5 * losses[name]) for name in losses if name not in ("audio", "video"))
    plain = pass_losses(replace(output, audio=stream_output(1, False), video=stream_output(2, False)), batch(), LossConfig())
    assert set(plain) == {"audio", "audio_frames", "video", "video_frames", "count"} == set(loss_names("both", False, False))
    audio_only = replace(batch(), video_mask=None, video_labels=None)
    assert set(pass_losses(replace(output, video=None), audio_only, LossConfig())) == set(loss_names("audio", True, False))


def test_the_count_is_that_of_the_fake_streams() -> None:
    sure = torch.full((CLIPS, 3), -20.0)
    sure[[0, 1, 2], [0, 1, 2]] = 20.0
    right = pass_losses(DetectorOutput(stream_output(1), stream_output(2), sure, None), batch(), LossConfig())
    wrong = pass_losses(DetectorOutput(stream_output(1), stream_output(2), sure.flip(1), None), batch(), LossConfig())
    assert right["count"] < 1e-6 < 1.0 < wrong["count"]
    masked = batch()
    masked.video_mask = torch.zeros(CLIPS, FRAMES, dtype=torch.bool)
    sure = torch.full((CLIPS, 3), -20.0)
    sure[[0, 1, 2], [0, 1, 1]] = 20.0  # a fake stream without a usable frame is not counted
    assert pass_losses(DetectorOutput(stream_output(1), stream_output(2), sure, None), masked, LossConfig())["count"] < 1e-6


@pytest.mark.slow
def test_a_stream_that_is_masked_or_absent_contributes_nothing(output: DetectorOutput) -> None:
    masked = batch()
    masked.video_mask = torch.zeros(CLIPS, FRAMES, dtype=torch.bool)
    found = pass_losses(output, masked, LossConfig())
    absent = pass_losses(replace(output, video=None), masked, LossConfig())
    assert set(found) == set(absent) == {f"audio{part}" for part in LOSSES} | {"count"}
    assert all(torch.equal(found[name], absent[name]) for name in found)
    # One clip masked: its logits and labels may be anything.
    part = batch()
    assert part.audio_mask is not None and part.audio_labels is not None and output.audio is not None
    part.audio_mask[0] = False
    before = pass_losses(output, part, LossConfig())
    part.audio_labels[0] = 1.0
    other = StreamOutput(*(torch.cat([x[:1] + 50.0, x[1:]]) for x in vars(output.audio).values()))
    after = pass_losses(replace(output, audio=other), part, LossConfig())
    assert total(before) == pytest.approx(total(after), abs=1e-6)
    # One frame masked.
    part = batch()
    assert part.audio_mask is not None
    part.audio_mask[:, 3] = False
    changed = replace(output.audio, frames=output.audio.frames.index_fill(1, torch.tensor([3]), 99.0))
    pair = [pass_losses(e, part, LossConfig()) for e in (output, replace(output, audio=changed))]
    assert torch.equal(pair[0]["audio_frames"], pair[1]["audio_frames"])


def test_the_binary_model_has_a_loss_on_whether_any_stream_is_fake() -> None:
    one = stream_output(1, False)
    found = pass_losses(DetectorOutput(one, one, torch.zeros(CLIPS, 3), None), batch(), LossConfig(), binary=True)
    assert set(found) == {"clip", "count"} == set(loss_names("both", False, True))
    truth = torch.tensor([0.0, 1.0, 1.0])
    assert torch.allclose(found["clip"], torch.nn.functional.binary_cross_entropy_with_logits(one.clip, truth))
    silent = batch()
    silent.audio_mask = silent.audio_labels = None
    video_only = pass_losses(DetectorOutput(one, None, torch.zeros(CLIPS, 3), None), silent, LossConfig(), binary=True)
    truth = torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose(video_only["clip"], torch.nn.functional.binary_cross_entropy_with_logits(one.clip, truth))


def test_single_faces_train_the_face_branch_alone() -> None:
    model = tiny()
    loss = face_loss(model, inputs(4, 5)["faces"], torch.tensor([1.0, 0.0, 1.0, 0.0]), LossConfig())
    assert torch.allclose(face_loss(model, inputs(4, 5)["faces"], torch.tensor([1.0, 0.0, 1.0, 0.0]), LossConfig(faces=1.0)), 2.0 * loss)
    loss.backward()
    assert model.face_branch is not None
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained == {"face_branch"}


@pytest.mark.slow
def test_each_stream_trains_its_own_head() -> None:
    model, given_ = tiny(), inputs(CLIPS, FRAMES)
    losses = pass_losses(model(**given_), batch(), LossConfig())
    torch.stack([loss for name, loss in losses.items() if name.startswith("audio")]).sum().backward()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert trained == {"audio_head", "sound_branch", "backbone"}
    untouched = [p for name, p in model.named_parameters() if "video" in name or "joint" in name]
    assert untouched and not any(p.grad is not None and p.grad.any() for p in untouched)
