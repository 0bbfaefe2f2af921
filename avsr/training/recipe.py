"""One pretraining stage as a fairseq2 recipe: data pipeline, train unit, curves, checkpoints; one process or ``torchrun``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from ..model import AVSRConfig, AVSRModel
from ..text import decode
from .config import PretrainConfig, StageConfig
from .corpus import MARGIN, AudioFeatureExtractor, Batch, Utterance, augmented_example, collate, plain_example, speech_span
from .fairseq import Norms, NumberedReader, RecipeConfig, Schedule, normalise_alone, norms_of, sections, wait_for
from .losses import cluster_losses, letter_losses

FAMILY = "avwitness_reader"
SHORTEST = 4  # frames


@dataclass
class Architecture:
    """A reader's configuration, in the plain types that fairseq2 can write beside a checkpoint."""

    reader: str = "{}"  # JSON, arguments of AVSRConfig


def run_stage(
    stage: StageConfig,
    config: PretrainConfig,
    before: AVSRModel | None,
    train: Sequence[Utterance],
    held: Sequence[Utterance],
    folder: Path,
    finished: Path,
) -> None:
    """Train one stage from its last checkpoint, if there is one, to its last step, and save the reader to ``finished``."""
    recipe = StageRecipe(stage, config, before, train, held)
    run(recipe, recipe.sections(), folder)
    if int(os.environ.get("RANK", "0")) == 0:
        assert recipe.reader is not None
        with atomic_write(finished) as partial:
            recipe.reader.save_pretrained(partial)
    else:
        wait_for(finished)


class StageRecipe(Recipe):
    """Builds the reader, its data and its trainer from one stage's configuration."""

    def __init__(
        self, stage: StageConfig, config: PretrainConfig, before: AVSRModel | None, train: Sequence[Utterance], held: Sequence[Utterance]
    ) -> None:
        self.stage, self.config, self.before, self.train, self.held = stage, config, before, train, held
        self.reader: AVSRModel | None = None
        self.norms: Norms = {}

    @property
    def config_kls(self) -> type[object]:
        return RecipeConfig

    def has_static_autograd_graph(self, context: RecipeContext) -> bool:
        return False  # a stage that only listens leaves the video encoder alone

    def sections(self) -> RecipeConfig:
        """The stage in fairseq2's own terms."""
        stage, config = self.stage, self.config
        clusters = stage.count if stage.clusters else 0
        return sections(
            FAMILY,
            {"reader": json.dumps({**config.model, "clusters": clusters})},
            Schedule(stage.steps, stage.learning_rate, stage.warm_up, config.weight_decay, stage.checkpoint_every),
            validate=bool(self.held),
            threads=config.threads,
            seed=config.seed,
        )

    def register(self, container: DependencyContainer) -> None:
        register_model_family(container, FAMILY, kls=AVSRModel, config_kls=Architecture, factory=_create, supports_meta=False)

    def setup_model(self, context: RecipeContext, model: nn.Module, newly_initialized: bool) -> nn.Module:
        assert isinstance(model, AVSRModel)
        if newly_initialized and self.before is not None:
            known = model.state_dict()
            # Sound classes of another stage mean something else: their heads start afresh.
            taken = {k: v for k, v in self.before.state_dict().items() if not k.startswith("cluster_heads") and k in known}
            model.load_state_dict(taken, strict=False)
        self.reader = model
        self.norms = norms_of(model)
        return model

    def create_task(self, context: RecipeContext) -> Task:
        model = context.get_data_parallel_model()
        if context.device.type == "cpu" and self.reader is not None:
            normalise_alone(self.reader, self.norms)
        train = batches(self.train, self.stage, self.config, context.gangs)
        if not self.held:
            return context.create_trainer(AVSRTrainUnit(model, self.stage, self.config), train)
        curve = held_batches(self.held, self.config, context.gangs)
        return context.create_trainer(AVSRTrainUnit(model, self.stage, self.config), train, [CurveUnit(model, self.stage)], [curve])


def _create(config: Architecture) -> AVSRModel:
    return AVSRModel(AVSRConfig(**json.loads(config.reader)))


def batches(utterances: Sequence[Utterance], stage: StageConfig, config: PretrainConfig, gangs: Gangs) -> NumberedReader[Batch]:
    """Endless augmented batches of similar length; the n-th batch of a seed is always the same."""
    order = [i for i, u in enumerate(utterances) for _ in range(config.repeats.get(u.corpus, 1))]
    augment = replace(config.augment, **stage.augment)
    spoken = [max(SHORTEST, min(_spoken(u), config.longest)) for u in utterances]
    lengths = [{"index": i, "length": spoken[i]} for i in order]
    hear = audio_feature_extractor(config)
    whole = max(1, round(stage.frames / config.longest)) * config.longest  # fairseq2 wants a multiple
    sizes = create_bucket_sizes(min_seq_len=SHORTEST, max_seq_len=config.longest, max_num_elements=whole)

    def build(item: dict[str, Any]) -> Batch:
        rng = np.random.default_rng((config.seed, gangs.dp.rank, int(item["number"])))
        chosen = [utterances[int(clip["index"])] for clip in item["clips"]]
        return collate([augmented_example(u, utterances, augment, rng, config.longest, hear) for u in chosen])

    def make(skip: int) -> DataPipelineReader[Batch]:
        groups = read_sequence(lengths).shuffle(0, seed=config.seed).repeat().shard(gangs.dp.rank, gangs.dp.size)
        groups = groups.bucket_by_length(sizes, selector="length").skip(skip)
        numbered = DataPipeline.zip([groups.and_return(), DataPipeline.count(skip).and_return()], names=["clips", "number"])
        return DataPipelineReader(numbered.map(build).prefetch(4).and_return(), gangs, sync=False)

    return NumberedReader(make)


def _spoken(utterance: Utterance) -> int:
    """Frames of an utterance when it is cut to its speech, more or less."""
    assert utterance.views.waveform is not None
    first, last = speech_span(utterance.views.waveform)
    return min(last - first + MARGIN, utterance.frames)


def audio_feature_extractor(config: PretrainConfig) -> AudioFeatureExtractor:
    """How the backbone of a run hears."""
    return BACKBONES[config.model.get("backbone", "two_stream")][0].extract_audio_features


def held_batches(utterances: Sequence[Utterance], config: PretrainConfig, gangs: Gangs) -> DataPipelineReader[Batch]:
    """The clips kept back, once, as they are."""
    order = sorted(range(len(utterances)), key=lambda i: utterances[i].frames)
    builder = read_sequence(order).shard(gangs.dp.rank, gangs.dp.size, allow_uneven=True).bucket(8)
    pipeline = builder.map(
        lambda group: collate([plain_example(utterances[int(i)], audio_feature_extractor(config)) for i in group])
    ).and_return()
    return DataPipelineReader(pipeline, gangs, sync=False)


def _read(model: nn.Module, batch: Batch, streams: Sequence[str]) -> Any:
    audio = batch.audio if "audio" in streams else None
    video = batch.video if "video" in streams else None
    keep = batch.keep if audio is not None and video is not None else None
    return model(audio, video, batch.audio_mask, batch.video_mask, keep)


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
        return [kind for kind in ("letters", "clusters") if getattr(self.stage, kind)]

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> tuple[Tensor, None]:
        reading = _read(self.module, batch, self.stage.streams)
        losses: dict[str, dict[str, Tensor]] = {}
        if self.stage.letters:
            losses["letters"] = letter_losses(reading, batch)
        if self.stage.clusters:
            losses["clusters"] = cluster_losses(reading, batch, self.stage.visible)
        total = torch.zeros(())
        for kind, each in losses.items():
            for stream, loss in each.items():
                total = total + getattr(self.stage, kind) * self.config.weights[stream] * loss
                metric_bag.get(f"{kind}_{stream}", Mean).update(loss.detach())
        metric_bag.get("loss", Mean).update(total.detach())
        return total, None


class CurveUnit(EvalUnit[Batch]):
    """Character error rate of greedy decoding on the clips kept back, for every head."""

    def __init__(self, model: nn.Module, stage: StageConfig) -> None:
        self.module, self.stage = model, stage

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        for stream in (*self.stage.streams, "joint"):
            metric_bag.add(f"cer_{stream}", Mean())

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> None:
        from torchaudio.functional import edit_distance

        reading = _read(self.module, batch, self.stage.streams)
        lengths = batch.audio_mask.sum(dim=1)
        for stream, scores in reading.letters.items():
            rate = scores.shape[1] // batch.audio_mask.shape[1]
            for row, frames, letters, count in zip(scores, lengths, batch.letters, batch.letter_counts, strict=True):
                said = decode(letters[: int(count)].tolist())
                wrong = edit_distance(greedy(row[: int(frames) * rate]), said)
                metric_bag.get(f"cer_{stream}", Mean).update(wrong / max(len(said), 1), weight=float(len(said)))
