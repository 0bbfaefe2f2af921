from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avwitness.detector.efficientnet import STAGES, ConvNorm, EfficientNetConfig, EfficientNetLite, SamePadConv2d, from_published


def published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of an encoder under the names of EfficientNet-PyTorch, with a head that is not used."""
    renamed, block, starts = {}, 0, []
    for blocks, *_ in STAGES:
        starts.append(block)
        block += blocks
    parts = {
        2: ("_depthwise_conv", "_bn1", "_project_conv", "_bn2"),
        3: ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"),
    }
    for name, value in state.items():
        if name in ("mean", "deviation"):
            continue
        if name.startswith("stem."):
            _, layer, part = name.split(".")
            renamed[f"{('_conv_stem', '_bn0')[int(layer)]}.{part}"] = value
            continue
        _, stage, position, _, number, layer, part = name.split(".")
        names = parts[3 if int(stage) else 2]
        renamed[f"_blocks.{starts[int(stage)] + int(position)}.{names[2 * int(number) + int(layer)]}.{part}"] = value
    return renamed | {"_conv_head.weight": torch.zeros(1280, 320, 1, 1), "_fc.bias": torch.zeros(1000)}


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLite:
    torch.manual_seed(0)
    made = EfficientNetLite()
    for name, buffer in made.named_buffers():
        if "running" in name:
            buffer.add_(0.1 * torch.rand_like(buffer))
    return made.eval()


@torch.inference_mode()
def test_a_published_checkpoint_gives_the_same_outputs(encoder: EfficientNetLite) -> None:
    images = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    state = published(encoder.state_dict())
    other = EfficientNetLite()
    other.load_state_dict(from_published(state))
    mine, theirs = encoder(images), other.eval()(images)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert [x.shape[2] for x in mine] == list(EfficientNetConfig().widths) and [x.shape[1] for x in mine] == [
        48**2,
        24**2,
        12**2,
        36,
        36,
        9,
        9,
    ]
    del state["_blocks.7._bn1.bias"]
    with pytest.raises(KeyError, match=r"_blocks\.7\._bn1\.bias"):
        from_published(state)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(7, 3, 2), (8, 3, 2), (8, 5, 2), (9, 5, 1)])
@torch.inference_mode()
def test_the_output_has_as_many_pixels_as_strides(size: int, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer, x = SamePadConv2d(2, 3, kernel, stride), torch.randn(1, 2, size, size)
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    before, after = total // 2, total - total // 2
    expected = F.conv2d(F.pad(x, (before, after, before, after)), layer.weight, stride=stride)
    assert torch.equal(layer(x), expected) and layer(x).shape[2:] == (-(-size // stride),) * 2


def test_it_has_less_than_four_million_parameters(encoder: EfficientNetLite) -> None:
    assert 2.9e6 < sum(p.numel() for p in encoder.parameters()) < 4e6
    assert isinstance(encoder.stem, ConvNorm) and isinstance(encoder.stem[2], torch.nn.ReLU6)


@torch.inference_mode()
def test_a_norm_taken_into_the_convolution_gives_the_same_output() -> None:
    torch.manual_seed(0)
    for kernel, stride, linear in ((1, 1, True), (3, 2, False), (5, 1, False)):
        layer = ConvNorm(4, 8, kernel, stride, linear=linear).eval()
        layer[1].running_mean.normal_()  # type: ignore[operator, union-attr]
        layer[1].running_var.uniform_(0.5, 2.0)  # type: ignore[operator, union-attr]
        layer[1].weight.uniform_(0.5, 2.0)  # type: ignore[operator, union-attr]
        layer[1].bias.normal_()  # type: ignore[operator, union-attr]
        for side in (9, 10):
            x = torch.randn(2, 4, side, side)
            assert torch.allclose(layer(x), layer[2](layer[1](layer[0](x))), atol=1e-5)
