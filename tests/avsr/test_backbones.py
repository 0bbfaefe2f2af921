"""The contract that every registered backbone keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from avwitness.avsr.backbones import BACKBONES, Backbone, build_backbone
from avwitness.avsr.backbones.hubert import attend, hubert_encoder
from avwitness.avsr.backbones.visual import VisualFrontEnd

SMALL: dict[str, dict[str, Any]] = {
    "two_stream": {"width": 64, "heads": 2, "feed_forward": 96, "visual_widths": (8, 8, 16, 16), "dropout": 0.0},
    "av_hubert": {"size": "tiny", "dropout": 0.0},
}


@pytest.fixture(params=sorted(BACKBONES))
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    built = build_backbone(request.param, SMALL[request.param]).eval()
    # Statistics of images, or batch norm would be the identity.
    for module in built.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return built


def streams(backbone: Backbone, batch: int = 3, time: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    audio = torch.randn(batch, time, backbone.audio_features, generator=generator)
    video = torch.randint(0, 256, (batch, time, backbone.crop, backbone.crop), generator=generator, dtype=torch.uint8)
    return audio, video


@pytest.mark.slow
@torch.no_grad()
def test_shapes_and_missing_streams(backbone: Backbone) -> None:
    audio, video = streams(backbone)
    both, audio_only, video_only = backbone.encode(audio, video), backbone.encode(audio, None), backbone.encode(None, video)
    for encoded in (both.audio, both.video, both.joint, audio_only.audio, video_only.video, audio_only.joint, video_only.joint):
        assert encoded is not None
        assert encoded.shape == (3, 12, backbone.width)
        assert torch.isfinite(encoded).all()
    assert audio_only.video is None
    assert video_only.audio is None
    assert not torch.allclose(audio_only.joint, both.joint)
    with pytest.raises(ValueError, match="missing"):
        backbone.encode(None, None)
    with pytest.raises(ValueError, match="length"):
        backbone.encode(audio, video[:, :5])


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("which", ["both", "audio", "video"])
def test_padding_changes_nothing(backbone: Backbone, which: str) -> None:
    audio, video = streams(backbone)
    mask = torch.ones(3, 17, dtype=torch.bool)
    mask[:, 12:] = False
    rubbish_audio = torch.cat([audio, torch.full((3, 5, audio.shape[2]), 7.0)], dim=1)
    rubbish_video = torch.cat([video, torch.full((3, 5, *video.shape[2:]), 200, dtype=torch.uint8)], dim=1)
    a, v = which != "video", which != "audio"
    plain = backbone.encode(audio if a else None, video if v else None)
    padded = backbone.encode(rubbish_audio if a else None, rubbish_video if v else None, mask if a else None, mask if v else None)
    for one, other in ((plain.audio, padded.audio), (plain.video, padded.video), (plain.joint, padded.joint)):
        if one is not None and other is not None:
            assert torch.allclose(one, other[:, :12], atol=1e-4)


@torch.no_grad()
def test_a_batch_of_many_equals_many_of_one(backbone: Backbone) -> None:
    audio, video = streams(backbone)
    together = backbone.encode(audio, video).joint
    alone = torch.cat([backbone.encode(audio[i : i + 1], video[i : i + 1]).joint for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-4)


@torch.no_grad()
def test_a_gap_in_the_middle_does_not_reach_the_other_stream(backbone: Backbone) -> None:
    audio, video = streams(backbone)
    mask = torch.ones(3, 12, dtype=torch.bool)
    mask[:, 4:8] = False
    one = backbone.encode(audio, video, None, mask)
    other = backbone.encode(audio, torch.where(mask[:, :, None, None], video, torch.tensor(0, dtype=torch.uint8)), None, mask)
    assert one.audio is not None
    assert other.audio is not None
    assert torch.equal(one.audio, other.audio)
    assert torch.allclose(one.joint, other.joint, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("which", ["both", "audio", "video"])
def test_half_precision_gives_nearly_the_same(backbone: Backbone, which: str) -> None:
    audio, video = streams(backbone)
    a, v = audio if which != "video" else None, video if which != "audio" else None
    plain = backbone.encode(a, v).joint
    backbone.bfloat16()
    half = backbone.encode(None if a is None else a.bfloat16(), v).joint
    assert half.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(plain, half.float(), dim=-1).min() > 0.99


@pytest.mark.slow
@torch.no_grad()
def test_modality_dropout_equals_a_missing_stream(backbone: Backbone) -> None:
    audio, video = streams(backbone)
    keep = torch.tensor([[True, True], [True, False], [False, True]])
    mixed = backbone.encode(audio, video, keep=keep).joint
    for item, (a, v) in enumerate(((audio, video), (audio, None), (None, video))):
        alone = backbone.encode(None if a is None else a[item : item + 1], None if v is None else v[item : item + 1]).joint
        assert torch.allclose(mixed[item : item + 1], alone, atol=1e-4)


class Scoring(torch.nn.Module):
    """The scoring path: both streams in, the joint representation out."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, audio: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
        return self.backbone.encode(audio, video).joint


@pytest.mark.slow
@torch.no_grad()
def test_it_compiles(backbone: Backbone) -> None:
    audio, video = streams(backbone, batch=1)
    model = Scoring(backbone)
    assert torch.allclose(torch.compile(model, fullgraph=True)(audio, video), model(audio, video), atol=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_it_exports_to_onnx(backbone: Backbone, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    audio, video = streams(backbone, batch=1)
    model, file = Scoring(backbone), tmp_path / "backbone.onnx"
    torch.onnx.export(model, (audio, video), file, input_names=["audio", "video"], dynamo=True, external_data=False)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"audio": audio.numpy(), "video": video.numpy()})
    assert abs(output - model(audio, video).numpy()).max() < 1e-3


def test_audio_features_have_the_stated_width(backbone: Backbone) -> None:
    waveform = 0.1 * torch.randn(12 * 640, generator=torch.Generator().manual_seed(0))
    features = backbone.extract_audio_features(waveform.numpy())
    assert features.shape == (12, backbone.audio_features)
    assert features.dtype == "float32"


@pytest.mark.slow
def test_gradients_reach_every_weight(backbone: Backbone) -> None:
    backbone.train()
    audio, video = streams(backbone)
    encoded = backbone.encode(audio, video)
    assert encoded.audio is not None
    assert encoded.video is not None
    (encoded.joint.square().sum() + encoded.audio.square().sum() + encoded.video.square().sum()).backward()
    silent = [name for name, weight in backbone.named_parameters() if weight.grad is None and "masked_spec_embed" not in name]
    assert silent == []


def test_an_unknown_backbone_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="two_stream"):
        build_backbone("three_stream", {})


def front(half_size: bool, parametric: bool) -> VisualFrontEnd:
    torch.manual_seed(0)
    made = VisualFrontEnd((8, 8, 16, 16), 1, half_size, parametric).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return made


@torch.no_grad()
@pytest.mark.parametrize("half_size", [False, True])
@pytest.mark.parametrize("parametric", [False, True])
def test_a_still_image_equals_a_video_of_that_image(half_size: bool, parametric: bool) -> None:
    front_end, images = front(half_size, parametric), torch.randn(3, 88, 88)
    maps = front_end.forward_still(images)
    assert maps.shape[:2] == (3, front_end.width) and maps.shape[2] == maps.shape[3] > 1
    video = front_end.forward_normalised(images[:, None].expand(-1, 9, -1, -1).contiguous())
    # Far enough from both ends, beyond which the video is dark.
    assert torch.allclose(maps.mean(dim=(2, 3)), video[:, 4], atol=1e-4)
    assert not torch.allclose(maps.mean(dim=(2, 3)), video[:, 0], atol=1e-4)
    assert torch.allclose(maps[1:2], front_end.forward_still(images[1:2]), atol=1e-5)


def test_gradients_reach_a_still_image() -> None:
    image = torch.randn(1, 88, 88, requires_grad=True)
    front(True, False).requires_grad_(False).forward_still(image).square().sum().backward()
    assert image.grad is not None and (image.grad != 0.0).float().mean() > 0.9


def test_an_inner_layer_keeps_the_batch() -> None:
    encoder = hubert_encoder(16, 2, 2, 32, 7, 1, 0.0).eval()
    x, mask = torch.randn(3, 10, 16), torch.ones(3, 10, dtype=torch.bool)
    with torch.no_grad():
        inner, last, whole = attend(encoder, x, mask, 1), attend(encoder, x, mask, 2), attend(encoder, x, mask)
    assert inner.shape == last.shape == whole.shape
    assert torch.allclose(encoder.layer_norm(last), whole, atol=1e-5)  # type: ignore[operator]
