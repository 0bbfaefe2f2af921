"""Every network of the package: its buffers are saved, so that ``from_pretrained`` restores all that it computes with."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_clip import SIZES
from tiny_detector import TINY, tiny
from torch import nn

from avwitness.avsr.backbones import BACKBONES, build_backbone
from avwitness.avsr.backbones.visual import VisualFrontEnd
from avwitness.avsr.model import AVSRConfig, AVSRModel, EncoderConfig, SpeechEncoder
from avwitness.avsr.seq2seq import Seq2SeqConfig, Seq2SeqModel
from avwitness.avsr.sync_network import SyncNetwork, SyncNetworkConfig
from avwitness.avsr.whisper.encoder import WhisperEncoderConfig
from avwitness.detector.audio_classifier import AudioClassifierConfig
from avwitness.detector.efficientnet import EfficientNetConfig
from avwitness.detector.model import DetectorConfig, DualLabelDetector
from avwitness.detector.training.losses import DetectorWithLosses, LossConfig
from avwitness.detector.training.synchronisation.loss import ContrastiveLoss
from avwitness.detector.video_classifier import VideoClassifierConfig
from avwitness.generators.faces.image_losses import PatchDiscriminator
from avwitness.generators.faces.networks import FaceAutoencoder, LowerFace
from avwitness.generators.talking.models.registry import HEADS
from avwitness.generators.talking.rendering.identity import IdentityNetwork
from avwitness.generators.talking.rendering.lips import LipReadingLoss
from avwitness.generators.talking.rendering.renderer import Renderer
from avwitness.generators.voices.codec import Codec
from avwitness.generators.voices.discriminators import Discriminators
from avwitness.generators.voices.noise_vocoder import NoiseVocoder
from avwitness.generators.voices.vocoder import HifiGan, Vocoder

ROOT = Path(__file__).parents[1]
OPTIONS: dict[str, dict[str, Any]] = {"two_stream": TINY, "av_hubert": {"size": "tiny"}}
WHISPER = WhisperEncoderConfig(width=32, heads=2, feed_forward=48, layers=1)
BUILDERS: dict[str, Callable[[], nn.Module]] = {
    **{f"backbone {name}": lambda name=name: build_backbone(name, OPTIONS[name]) for name in BACKBONES},
    "encoder": lambda: SpeechEncoder(EncoderConfig(backbone_options=TINY)),
    "avsr": lambda: AVSRModel(AVSRConfig(backbone_options=TINY, clusters=5)),
    "seq2seq": lambda: Seq2SeqModel(Seq2SeqConfig(backbone_options={"size": "tiny"}, decoder_layers=1, decoder_feed_forward=64)),
    "detector": lambda: DualLabelDetector(DetectorConfig(backbone_options=TINY)),
    "detector with an audio classifier": lambda: DualLabelDetector(
        DetectorConfig(backbone_options=TINY, audio_classifier=AudioClassifierConfig(WHISPER, (1,)).to_dict())
    ),
    "detector with a video classifier": lambda: DualLabelDetector(
        DetectorConfig(backbone_options=TINY, video_classifier=VideoClassifierConfig(SIZES, (1,), (2,)).to_dict())
    ),
    "detector with a small video classifier": lambda: DualLabelDetector(
        DetectorConfig(backbone_options=TINY, video_classifier=VideoClassifierConfig(EfficientNetConfig(), (5, 7), ()).to_dict())
    ),
    "detector with a sync network": lambda: DualLabelDetector(
        DetectorConfig(
            backbone_options=TINY,
            audio_classifier=AudioClassifierConfig(WHISPER, (1,)).to_dict(),
            sync_network={"layer": 1, "audio_width": 32, "hidden": 16, "width": 8},
        )
    ),
    "contrastive loss": lambda: ContrastiveLoss(SyncNetwork(SyncNetworkConfig(audio_width=8, hidden=16, width=8))),
    "binary detector": lambda: DualLabelDetector(DetectorConfig(backbone_options=TINY, labels="binary")),
    "detector with losses": lambda: DetectorWithLosses(tiny(), (), LossConfig()),
    **{f"generator {name}": kind for name, kind in HEADS.items()},
    "renderer": Renderer,
    "identity": IdentityNetwork,
    "lip reading loss": lambda: LipReadingLoss(VisualFrontEnd((8, 8, 16, 16))),
    "lower face": LowerFace,
    "face autoencoder": FaceAutoencoder,
    "patch discriminator": PatchDiscriminator,
    "vocoder": Vocoder,
    "vocoder without a head": HifiGan,
    "vocoder of shaped noise": NoiseVocoder,
    "codec": Codec,
    "vocoder discriminators": Discriminators,
}
ABSTRACT = {"Backbone", "SpeechGenerator", "TalkingHead"}  # built as their subclasses
STATELESS = {"_Encoder"}  # built while a sequence is generated


@pytest.mark.parametrize("name", BUILDERS)
def test_every_buffer_is_in_the_state_dict(name: str) -> None:
    model = BUILDERS[name]()
    assert set(dict(model.named_buffers())) <= set(model.state_dict())
    for module in model.modules():  # nor may a constant be kept outside of both
        kept = {key for key, value in vars(module).items() if isinstance(value, torch.Tensor)}
        assert not kept, f"{type(module).__name__} keeps tensors that are neither parameters nor buffers: {kept}"


def test_every_network_of_the_package_is_built_here() -> None:
    """Classes that derive, by name, from ``nn.Module`` or from each other."""
    bases: dict[str, set[str]] = {}
    for file in ROOT.rglob("*.py"):
        if file.relative_to(ROOT).parts[0] in ("avsr", "detector", "generators", "media", "evaluation", "datasets"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef):
                    bases.setdefault(node.name, set()).update(ast.unparse(base).rpartition(".")[2] for base in node.bases)
    networks = {"Module", "ModuleList", "PreTrainedModel", "GenerationMixin"}
    while new := {name for name, parents in bases.items() if parents & networks} - networks:
        networks |= new
    built = {type(module).__name__ for build in BUILDERS.values() for module in build().modules()}
    assert networks & set(bases) - ABSTRACT - STATELESS - built == set()


@pytest.mark.parametrize("name", ["encoder", "avsr", "seq2seq", "detector", "binary detector"])
def test_what_is_saved_is_all_that_a_model_computes_with(name: str) -> None:
    """As ``from_pretrained`` of transformers 5 does it: built without data, filled (here with NaN), then loaded."""
    torch.manual_seed(0)
    source = BUILDERS[name]().eval()
    with torch.device("meta"):
        model = type(source)(source.config)  # type: ignore[arg-type]
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(math.nan) if tensor.is_floating_point() else tensor.zero_()
    model.load_state_dict(source.state_dict())
    assert_same_output(name, source, model.eval())


def test_a_loaded_model_has_no_number_that_is_not_finite(tmp_path: Path) -> None:
    source = tiny()
    source.save_pretrained(tmp_path)
    model = DualLabelDetector.from_pretrained(tmp_path).eval()
    saved = model.state_dict()
    for key, buffer in model.named_buffers():
        if key not in saved:
            buffer.fill_(math.nan)
    for tensor in (*model.parameters(), *model.buffers()):
        assert torch.isfinite(tensor).all()
    assert_same_output("detector", source, model)


def assert_same_output(name: str, source: nn.Module, model: nn.Module) -> None:
    """Both networks output the same finite numbers."""
    generator = torch.Generator().manual_seed(0)
    inputs: dict[str, torch.Tensor] = {
        "audio": torch.randn(1, 10, 104 if name == "seq2seq" else 320, generator=generator),
        "video": torch.randint(0, 256, (1, 10, 88, 88), generator=generator, dtype=torch.uint8),
    }
    if "detector" in name:
        inputs["spectrum"] = torch.randn(1, 10, 1024, generator=generator)
        inputs["faces"] = torch.randint(0, 256, (1, 2, 128, 128, 3), generator=generator, dtype=torch.uint8)
    if name == "seq2seq":
        inputs["decoder_input_ids"] = torch.tensor([[2, 3, 3]])
    with torch.inference_mode():
        expected, found = flat(source(**inputs)), flat(model(**inputs))
    assert len(expected) == len(found) > 0
    for one, other in zip(expected, found, strict=True):
        assert torch.isfinite(other).all()
        assert torch.allclose(one, other, atol=1e-5)


def flat(output: Any) -> list[torch.Tensor]:
    """Every tensor of a nested output."""
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    elif hasattr(output, "__dataclass_fields__"):
        output = [getattr(output, name) for name in output.__dataclass_fields__]
    return [tensor for part in output for tensor in flat(part)] if isinstance(output, list | tuple) else []
