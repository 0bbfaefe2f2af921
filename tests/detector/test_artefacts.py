from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_detector import inputs, tiny

from avwitness.detector.artefacts import FaceBranch, SoundBranch, repeat_to_frames

REACH = 10  # frames of 40 ms that the sound branch looks ahead, at most


@pytest.fixture(scope="module")
def face_branch() -> FaceBranch:
    branch = tiny().face_branch
    assert branch is not None
    return branch


@pytest.fixture(scope="module")
def sound_branch() -> SoundBranch:
    branch = tiny().sound_branch
    assert branch is not None
    return branch


@given(st.integers(1, 60))
def test_every_frame_gets_the_face_of_its_fifth(frames: int) -> None:
    faces = torch.arange(-(-frames // 5), dtype=torch.float32)[None]
    assert repeat_to_frames(faces, frames)[0].tolist() == [t // 5 for t in range(frames)]


@torch.no_grad()
def test_every_face_is_scored_by_itself(face_branch: FaceBranch) -> None:
    faces = inputs(2, 15)["faces"]
    together = face_branch(faces)
    assert together.shape == (2, 3)
    alone = torch.stack([face_branch(faces[b : b + 1, n : n + 1])[0, 0] for b in range(2) for n in range(3)])
    assert torch.allclose(together.flatten(), alone, atol=1e-5)
    assert together.std() > 1e-3


@torch.no_grad()
def test_lighting_changes_no_logit_and_a_blurred_chin_does(face_branch: FaceBranch) -> None:
    faces = inputs(1, 5)["faces"].float() * 0.5
    lit = faces + torch.tensor([40.0, 10.0, 25.0])
    unmoved = (face_branch(faces) - face_branch(lit)).abs().max()
    soft = faces.clone()
    soft[:, :, 80:] = soft[:, :, 80:].mean(dim=(2, 3), keepdim=True)
    assert (face_branch(faces) - face_branch(soft)).abs().min() > 100 * unmoved


@torch.no_grad()
def test_masked_audio_changes_no_logit(sound_branch: SoundBranch) -> None:
    spectrum = inputs(2, 30)["spectrum"]
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[0, 18:] = False
    changed = torch.where(mask[..., None], spectrum, 7.0)
    assert torch.equal(sound_branch(spectrum, mask), sound_branch(changed, mask))
    assert not torch.allclose(sound_branch(spectrum, torch.ones_like(mask))[0, :18], sound_branch(spectrum, mask)[0, :18], atol=1e-4)


@torch.no_grad()
def test_padding_reaches_no_further_than_the_receptive_field(sound_branch: SoundBranch) -> None:
    spectrum = inputs(1, 40)["spectrum"]
    mask = torch.ones(1, 40, dtype=torch.bool)
    plain = sound_branch(spectrum, mask)
    padded = sound_branch(torch.nn.functional.pad(spectrum, (0, 0, 0, 15)), torch.nn.functional.pad(mask, (0, 15)))
    assert padded.shape == (1, 55)
    assert torch.allclose(plain[:, : 40 - REACH], padded[:, : 40 - REACH], atol=1e-5)


@torch.no_grad()
def test_a_constant_filter_changes_no_logit(sound_branch: SoundBranch) -> None:
    spectrum = inputs(1, 30)["spectrum"]
    mask = torch.ones(1, 30, dtype=torch.bool)
    mask[:, 25:] = False
    colour = 3.0 * torch.randn(256, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(sound_branch(spectrum, mask), sound_branch(spectrum + colour.repeat(4), mask), atol=1e-4)
    moment = spectrum.clone()
    moment[:, 10] += 1.0  # one louder frame is change, and near it alone
    change = (sound_branch(moment, mask) - sound_branch(spectrum, mask)).abs()[0]
    assert change[10] > 10 * change[22:25].max()
