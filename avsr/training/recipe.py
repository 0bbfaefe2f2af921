"""One pretraining stage as a fairseq2 recipe: data pipeline, train unit, curves, checkpoints; one process or ``torchrun``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq2.composition import register_model_family
from fairseq2.data.data_pipeline import DataPipeline, create_bucket_sizes, read_sequence
from fairseq2.datasets import DataPipelineReader
from fairseq2.gang import Gangs
from fairseq2.metrics import Mean, MetricBag
from fairseq2.recipe.base import Recipe, RecipeContext
from fairseq2.recipe.evaluator import EvalUnit
from fairseq2.recipe.run import run
from fairseq2.recipe.task import Task
from fairseq2.recipe.trainer import TrainUnit
from fairseq2.runtime.dependency import DependencyContainer
from torch import Tensor, nn

from ...media.files import atomic_write
from ..backbones import BACKBONES
from ..decoding import greedy
from ..model import AVSRConfig, AVSRModel, AVSROutput
from ..text import decode
from .config import PretrainConfig, StageConfig
from .corpus import MAX_MARGIN, AudioFeatureExtractor, Batch, Utterance, augmented_sample, collate, plain_sample, speech_span
from .fairseq import (
    BatchNormTypes,
    RecipeConfig,
    ResumableReader,
    Schedule,
    batch_norm_types,
    sections,
    unsynchronise_batch_norms,
    wait_for_folder,
)
from .losses import ctc_losses, masked_prediction_losses

FAMILY = "avwitness_avsr"  # name of the model family at fairseq2
MIN_FRAMES = 4  # of a sample


@dataclass
class Architecture:
    """Configuration of an AVSR model, in plain types that fairseq2 can write beside a checkpoint."""

    model: str = "{}"  # JSON, arguments of AVSRConfig


def run_stage(
    stage: StageConfig,
    config: PretrainConfig,
    previous: AVSRModel | None,
    train: Sequence[Utterance],
    held: Sequence[Utterance],
    folder: Path,
    finished: Path,
) -> None:
    """Train one stage from its last checkpoint, if there is one, to its last step, and save the model to ``finished``."""
    recipe = StageRecipe(stage, config, previous, train, held)
    run(recipe, recipe.sections(), folder)
    if int(os.environ.get("RANK", "0")) == 0:
        assert recipe.model is not None
        with atomic_write(finished) as partial:
            recipe.model.save_pretrained(partial)
    else:
        wait_for_folder(finished)


class StageRecipe(Recipe):
    """Builds the model, its data and its trainer from a stage's configuration."""

    def __init__(
        self, stage: StageConfig, config: PretrainConfig, previous: AVSRModel | None, train: Sequence[Utterance], held: Sequence[Utterance]
    ) -> None:
        self.stage, self.config, self.previous, self.train, self.held = stage, config, previous, train, held
        self.model: AVSRModel | None = None
        self.norms: BatchNormTypes = {}

    @property
    def config_kls(self) -> type[object]:
        return RecipeConfig

    def has_static_autograd_graph(self, context: RecipeContext) -> bool:
        return False  # a stage of audio alone does not use the video encoder

    def sections(self) -> RecipeConfig:
        """The stage as sections of a fairseq2 configuration."""
        stage, config = self.stage, self.config
        clusters = stage.n_clusters if stage.masked_prediction else 0
        return sections(
            FAMILY,
            {"model": json.dumps({**config.model, "clusters": clusters})},
            Schedule(stage.steps, stage.learning_rate, stage.warm_up, config.weight_decay, stage.checkpoint_every),
            validate=bool(self.held),
            threads=config.threads,
            seed=config.seed,
        )

    def register(self, container: DependencyContainer) -> None:
        register_model_family(container, FAMILY, kls=AVSRModel, config_kls=Architecture, factory=_create, supports_meta=False)

    def setup_model(self, context: RecipeContext, model: nn.Module, newly_initialized: bool) -> nn.Module:
        assert isinstance(model, AVSRModel)
        if newly_initialized and self.previous is not None:
            names = model.state_dict()
            # Every stage has clusters of its own, so the masked prediction heads keep their initial values.
            weights = {k: v for k, v in self.previous.state_dict().items() if not k.startswith("cluster_heads") and k in names}
            model.load_state_dict(weights, strict=False)
        self.model = model
        self.norms = batch_norm_types(model)
        return model

    def create_task(self, context: RecipeContext) -> Task:
        model = context.get_data_parallel_model()
        if context.device.type == "cpu" and self.model is not None:
            unsynchronise_batch_norms(self.model, self.norms)
        train = train_batches(self.train, self.stage, self.config, context.gangs)
        if not self.held:
            return context.create_trainer(AVSRTrainUnit(model, self.stage, self.config), train)
        held = held_out_batches(self.held, self.config, context.gangs)
        return context.create_trainer(AVSRTrainUnit(model, self.stage, self.config), train, [ErrorRateUnit(model, self.stage)], [held])


def _create(config: Architecture) -> AVSRModel:
    return AVSRModel(AVSRConfig(**json.loads(config.model)))


def train_batches(utterances: Sequence[Utterance], stage: StageConfig, config: PretrainConfig, gangs: Gangs) -> ResumableReader[Batch]:
    """Endless augmented batches of similar length; the n-th batch of a seed is always the same."""
    order = [i for i, u in enumerate(utterances) for _ in range(config.corpus_repeats.get(u.corpus, 1))]
    augment = config.stage_augment(stage)
    speech = [max(MIN_FRAMES, min(_speech_frames(u), config.max_frames)) for u in utterances]
    lengths = [{"index": i, "length": speech[i]} for i in order]
    extract_features = audio_feature_extractor(config)
    whole = max(1, round(stage.frames / config.max_frames)) * config.max_frames  # fairseq2 requires a multiple
    sizes = create_bucket_sizes(min_seq_len=MIN_FRAMES, max_seq_len=config.max_frames, max_num_elements=whole)

    def build(item: dict[str, Any]) -> Batch:
        rng = np.random.default_rng((config.seed, gangs.dp.rank, int(item["number"])))
        chosen = [utterances[int(clip["index"])] for clip in item["clips"]]
        return collate([augmented_sample(u, utterances, augment, rng, config.max_frames, extract_features) for u in chosen])

    def make(skip: int) -> DataPipelineReader[Batch]:
        groups = read_sequence(lengths).shuffle(0, seed=config.seed).repeat().shard(gangs.dp.rank, gangs.dp.size)
        groups = groups.bucket_by_length(sizes, selector="length").skip(skip)
        numbered = DataPipeline.zip([groups.and_return(), DataPipeline.count(skip).and_return()], names=["clips", "number"])
        return DataPipelineReader(numbered.map(build).prefetch(4).and_return(), gangs, sync=False)

    return ResumableReader(make)


def _speech_frames(utterance: Utterance) -> int:
    """Approximate length of an utterance that is cut to its speech, in frames."""
    assert utterance.views.waveform is not None
    first, last = speech_span(utterance.views.waveform)
    return min(last - first + MAX_MARGIN, utterance.frames)


def audio_feature_extractor(config: PretrainConfig) -> AudioFeatureExtractor:
    """Audio features of the backbone of a run."""
    return BACKBONES[config.model.get("backbone", "two_stream")][0].extract_audio_features


def held_out_batches(utterances: Sequence[Utterance], config: PretrainConfig, gangs: Gangs) -> DataPipelineReader[Batch]:
    """The held-out utterances, once, without augmentation."""
    order = sorted(range(len(utterances)), key=lambda i: utterances[i].frames)
    builder = read_sequence(order).shard(gangs.dp.rank, gangs.dp.size, allow_uneven=True).bucket(8)
    pipeline = builder.map(
        lambda group: collate([plain_sample(utterances[int(i)], audio_feature_extractor(config)) for i in group])
    ).and_return()
    return DataPipelineReader(pipeline, gangs, sync=False)


def _forward(model: nn.Module, batch: Batch, streams: Sequence[str]) -> AVSROutput:
    audio = batch.audio if "audio" in streams else None
    video = batch.video if "video" in streams else None
    keep = batch.keep if audio is not None and video is not None else None
    output: AVSROutput = model(audio, video, batch.audio_mask, batch.video_mask, keep)
    return output


class AVSRTrainUnit(TrainUnit[Batch]):
    """Losses of one batch: CTC, masked prediction, or both."""

    def __init__(self, model: nn.Module, stage: StageConfig, config: PretrainConfig) -> None:
        self.module, self.stage, self.config = model, stage, config

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        metric_bag.add("loss", Mean())
        for kind in self._kinds():
            for stream in (*self.stage.streams, "joint"):
                metric_bag.add(f"{kind}_{stream}", Mean())

    def _kinds(self) -> list[str]:
        return [kind for kind in ("ctc", "masked_prediction") if getattr(self.stage, kind)]

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> tuple[Tensor, None]:
        output = _forward(self.module, batch, self.stage.streams)
        losses: dict[str, dict[str, Tensor]] = {}
        if self.stage.ctc:
            losses["ctc"] = ctc_losses(output, batch)
        if self.stage.masked_prediction:
            losses["masked_prediction"] = masked_prediction_losses(output, batch, self.stage.unmasked_weight)
        total = torch.zeros(())
        for kind, by_head in losses.items():
            for stream, loss in by_head.items():
                total = total + getattr(self.stage, kind) * self.config.head_weights[stream] * loss
                metric_bag.get(f"{kind}_{stream}", Mean).update(loss.detach())
        metric_bag.get("loss", Mean).update(total.detach())
        return total, None


class ErrorRateUnit(EvalUnit[Batch]):
    """Character error rate of greedy decoding on the held-out clips, by head."""

    def __init__(self, model: nn.Module, stage: StageConfig) -> None:
        self.module, self.stage = model, stage

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        for stream in (*self.stage.streams, "joint"):
            metric_bag.add(f"cer_{stream}", Mean())

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> None:
        from torchaudio.functional import edit_distance

        output = _forward(self.module, batch, self.stage.streams)
        lengths = batch.audio_mask.sum(dim=1)
        for stream, scores in output.characters.items():
            rate = scores.shape[1] // batch.audio_mask.shape[1]
            for row, frames, characters, count in zip(scores, lengths, batch.characters, batch.character_counts, strict=True):
                reference = decode(characters[: int(count)].tolist())
                errors = edit_distance(greedy(row[: int(frames) * rate]), reference)
                metric_bag.get(f"cer_{stream}", Mean).update(errors / max(len(reference), 1), weight=float(len(reference)))
