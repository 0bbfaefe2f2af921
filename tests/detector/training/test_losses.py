from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from avwitness.detector.model import DetectorOutput
from avwitness.detector.model import StreamOutput as Said
from avwitness.detector.training.batches import LEAST_FAKE, Batch
from avwitness.detector.training.losses import LossConfig, clip_labels, face_loss, loss_names, pass_losses
from witness import inputs, tiny

CLIPS, FRAMES = 3, 10
EACH = ("", "_frames", "_speech", "_artefacts")


def said(seed: int, artefacts: bool = True) -> Said:
    generator = torch.Generator().manual_seed(seed)
    speech, traces = torch.randn(2, CLIPS, generator=generator)
    frames = torch.randn(CLIPS, FRAMES, generator=generator)
    return Said(speech + traces if artefacts else speech, frames, speech, traces if artefacts else None)


def batch() -> Batch:
    """Three clips of both streams: genuine, fake in the sound, fake in both."""
    audio, video = torch.zeros(2, CLIPS, FRAMES)
    audio[1:, 2:7] = 1.0
    video[2, 4:] = 1.0
    full = torch.ones(CLIPS, FRAMES, dtype=torch.bool)
    return Batch(audio_mask=full.clone(), video_mask=full.clone(), audio_labels=audio, video_labels=video)


@pytest.fixture
def evidence() -> DetectorOutput:
    return DetectorOutput(said(1), said(2), torch.randn(CLIPS, 3, generator=torch.Generator().manual_seed(3)), None)


def total(losses: dict[str, torch.Tensor]) -> float:
    return float(sum(losses.values()))


def test_a_clip_is_fake_from_two_frames_on_and_masked_frames_do_not_count() -> None:
    labels, mask = torch.zeros(4, 6), torch.ones(4, 6, dtype=torch.bool)
    labels[0, : LEAST_FAKE - 1] = labels[1, :LEAST_FAKE] = labels[2, :] = 1.0
    mask[2, LEAST_FAKE - 1 :] = False
    mask[3] = False
    fake, there = clip_labels(labels, mask)
    assert fake.tolist() == [0, 1, 0, 0]
    assert there.tolist() == [True, True, True, False]


def test_every_part_has_its_loss(evidence: DetectorOutput) -> None:
    losses = pass_losses(evidence, batch(), LossConfig())
    assert set(losses) == {f"{stream}{part}" for stream in ("audio", "video") for part in EACH} | {"count"}
    assert set(losses) == set(loss_names("both", True, False))
    assert evidence.audio is not None
    truth = torch.tensor([0.0, 1.0, 1.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(evidence.audio.clip, truth)
    assert torch.allclose(losses["audio"], expected)
    halved = pass_losses(evidence, batch(), LossConfig(frames=0.25, parts=0.25, count=0.1))
    assert all(torch.allclose(halved[name], 0.5 * losses[name]) for name in losses if name not in ("audio", "video"))
    plain = pass_losses(replace(evidence, audio=said(1, False), video=said(2, False)), batch(), LossConfig())
    assert set(plain) == {"audio", "audio_frames", "video", "video_frames", "count"} == set(loss_names("both", False, False))
    heard = replace(batch(), video_mask=None, video_labels=None)
    assert set(pass_losses(replace(evidence, video=None), heard, LossConfig())) == set(loss_names("audio", True, False))


def test_the_count_is_that_of_the_fake_streams() -> None:
    sure = torch.full((CLIPS, 3), -20.0)
    sure[[0, 1, 2], [0, 1, 2]] = 20.0
    right = pass_losses(DetectorOutput(said(1), said(2), sure, None), batch(), LossConfig())
    wrong = pass_losses(DetectorOutput(said(1), said(2), sure.flip(1), None), batch(), LossConfig())
    assert right["count"] < 1e-6 < 1.0 < wrong["count"]
    masked = batch()
    masked.video_mask = torch.zeros(CLIPS, FRAMES, dtype=torch.bool)
    heard = torch.full((CLIPS, 3), -20.0)
    heard[[0, 1, 2], [0, 1, 1]] = 20.0  # a fake that nobody can see is not counted
    assert pass_losses(DetectorOutput(said(1), said(2), heard, None), masked, LossConfig())["count"] < 1e-6


def test_a_stream_that_is_masked_or_absent_contributes_nothing(evidence: DetectorOutput) -> None:
    masked = batch()
    masked.video_mask = torch.zeros(CLIPS, FRAMES, dtype=torch.bool)
    found = pass_losses(evidence, masked, LossConfig())
    absent = pass_losses(replace(evidence, video=None), masked, LossConfig())
    assert set(found) == set(absent) == {f"audio{part}" for part in EACH} | {"count"}
    assert all(torch.equal(found[name], absent[name]) for name in found)
    # One clip masked: its logits and labels may be anything.
    part = batch()
    assert part.audio_mask is not None and part.audio_labels is not None and evidence.audio is not None
    part.audio_mask[0] = False
    before = pass_losses(evidence, part, LossConfig())
    part.audio_labels[0] = 1.0
    other = Said(*(torch.cat([x[:1] + 50.0, x[1:]]) for x in vars(evidence.audio).values()))
    after = pass_losses(replace(evidence, audio=other), part, LossConfig())
    assert total(before) == pytest.approx(total(after), abs=1e-6)
    # One frame masked.
    part = batch()
    assert part.audio_mask is not None
    part.audio_mask[:, 3] = False
    shaken = replace(evidence.audio, frames=evidence.audio.frames.index_fill(1, torch.tensor([3]), 99.0))
    pair = [pass_losses(e, part, LossConfig()) for e in (evidence, replace(evidence, audio=shaken))]
    assert torch.equal(pair[0]["audio_frames"], pair[1]["audio_frames"])


def test_the_binary_model_is_told_whether_anything_is_fake() -> None:
    one = said(1, False)
    found = pass_losses(DetectorOutput(one, one, torch.zeros(CLIPS, 3), None), batch(), LossConfig(), binary=True)
    assert set(found) == {"clip", "count"} == set(loss_names("both", False, True))
    truth = torch.tensor([0.0, 1.0, 1.0])
    assert torch.allclose(found["clip"], torch.nn.functional.binary_cross_entropy_with_logits(one.clip, truth))
    silent = batch()
    silent.audio_mask = silent.audio_labels = None
    seen = pass_losses(DetectorOutput(one, None, torch.zeros(CLIPS, 3), None), silent, LossConfig(), binary=True)
    truth = torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose(seen["clip"], torch.nn.functional.binary_cross_entropy_with_logits(one.clip, truth))


def test_single_faces_teach_the_face_branch_alone() -> None:
    model = tiny()
    loss = face_loss(model, inputs(4, 5)["faces"], torch.tensor([1.0, 0.0, 1.0, 0.0]), LossConfig())
    assert torch.allclose(face_loss(model, inputs(4, 5)["faces"], torch.tensor([1.0, 0.0, 1.0, 0.0]), LossConfig(faces=1.0)), 2.0 * loss)
    loss.backward()
    assert model.face_branch is not None
    taught = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert taught == {"face_branch"}


def test_each_stream_teaches_its_own_head() -> None:
    model, given_ = tiny(), inputs(CLIPS, FRAMES)
    losses = pass_losses(model(**given_), batch(), LossConfig())
    torch.stack([loss for name, loss in losses.items() if name.startswith("audio")]).sum().backward()
    taught = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert taught == {"audio_head", "sound_branch", "backbone"}
    untouched = [p for name, p in model.named_parameters() if "video" in name or "joint" in name]
    assert untouched and not any(p.grad is not None and p.grad.any() for p in untouched)
