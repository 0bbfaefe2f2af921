"""Training of a detector as a fairseq2 recipe; one process or ``torchrun``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from fairseq2.composition import register_model_family
from fairseq2.data.data_pipeline import DataPipeline
from fairseq2.datasets import DataPipelineReader
from fairseq2.gang import Gangs
from fairseq2.metrics import Mean, MetricBag
from fairseq2.recipe.base import Recipe, RecipeContext
from fairseq2.recipe.run import run as run_recipe
from fairseq2.recipe.task import Task
from fairseq2.recipe.trainer import TrainUnit
from fairseq2.runtime.dependency import DependencyContainer
from torch import Tensor, nn

from ...avsr.training.fairseq import (
    BatchNormTypes,
    RecipeConfig,
    ResumableReader,
    Schedule,
    batch_norm_types,
    sections,
    unsynchronise_batch_norms,
    wait_for_folder,
)
from ...media.files import atomic_write
from ...settings import build_settings
from ..model import DualLabelDetector
from .batches import TrainBatch, make_train_batch
from .build import build_model
from .config import TrainConfig
from .losses import DetectorWithLosses, loss_names
from .pair_sampler import PASSES, PairSampler
from .samples import Sample

FAMILY = "avwitness_detector"  # name of the model family at fairseq2
PREFETCH = 3  # batches made ahead


@dataclass
class Architecture:
    """The configuration of a run, in plain types that fairseq2 can write beside a checkpoint."""

    training: str = "{}"  # JSON, values of TrainConfig


def run_training(config: TrainConfig, samples: Sequence[Sample], folder: Path, finished: Path) -> None:
    """Train from the last checkpoint, if there is one, to the last step, and save the detector to ``finished``."""
    recipe = DetectorRecipe(config, samples)
    run_recipe(recipe, recipe.sections(), folder)
    if int(os.environ.get("RANK", "0")) == 0:
        assert recipe.model is not None
        with atomic_write(finished) as partial:
            recipe.model.detector.save_pretrained(partial)
    else:
        wait_for_folder(finished)


class DetectorRecipe(Recipe):
    """Builds the detector, its data and its trainer from a run's configuration."""

    def __init__(self, config: TrainConfig, samples: Sequence[Sample]) -> None:
        self.config, self.samples = config, samples
        self.model: DetectorWithLosses | None = None
        self.norms: BatchNormTypes = {}

    @property
    def config_kls(self) -> type[object]:
        return RecipeConfig

    def has_static_autograd_graph(self, context: RecipeContext) -> bool:
        return False  # a pass of audio alone does not use the video encoder

    def sections(self) -> RecipeConfig:
        """The run as sections of a fairseq2 configuration."""
        config, optim, steps = self.config, self.config.optim, self.config.schedule
        pretrained = config.model.backbone and not config.model.trainable
        rates = {r".*detector\.backbone\..*": optim.backbone_rate} if pretrained else {}
        schedule = Schedule(steps.steps, optim.learning_rate, steps.warm_up, optim.weight_decay, steps.checkpoint_every, rates)
        architecture = {"training": json.dumps(asdict(config))}
        return sections(FAMILY, architecture, schedule, validate=False, threads=config.threads, seed=config.seed)

    def register(self, container: DependencyContainer) -> None:
        register_model_family(container, FAMILY, kls=DetectorWithLosses, config_kls=Architecture, factory=_create, supports_meta=False)

    def setup_model(self, context: RecipeContext, model: nn.Module, newly_initialized: bool) -> nn.Module:
        assert isinstance(model, DetectorWithLosses)
        self.model, self.norms = model, batch_norm_types(model)
        model.freeze()  # fairseq2 turns gradients on for every parameter of a new model
        return model

    def create_task(self, context: RecipeContext) -> Task:
        model = context.get_data_parallel_model()
        assert self.model is not None
        if context.device.type == "cpu":
            unsynchronise_batch_norms(self.model, self.norms)
        sampler = PairSampler(self.samples, self.config.data.exclude_methods, self.config.data.rare_methods)
        names = metric_names(sampler, self.config, self.model.detector)
        return context.create_trainer(DetectorTrainUnit(model, names), train_batches(sampler, self.config, self.model, context.gangs))


def _create(config: Architecture) -> DetectorWithLosses:
    training = build_settings(TrainConfig, json.loads(config.training))
    torch.manual_seed(training.seed)
    model = training.model
    return DetectorWithLosses(build_model(model), model.frozen, training.loss, bool(model.face_branch_from), model.trainable)


def metric_names(sampler: PairSampler, config: TrainConfig, model: DualLabelDetector) -> list[str]:
    """Names of all losses of a run; a run can only resume from a checkpoint with the same names."""
    artefacts, binary = model.face_branch is not None, model.joint_head is not None
    passes = [name for name in PASSES if config.data.pairs.get(name) and sampler.kinds(name)]
    names = [f"{name}_{key}" for name in passes for key in loss_names(name, artefacts, binary)]
    return [*names, "faces"] if artefacts and config.data.pairs.get("faces") and sampler.faces else names


def train_batches(sampler: PairSampler, config: TrainConfig, model: DetectorWithLosses, gangs: Gangs) -> ResumableReader[TrainBatch]:
    """Endless batches; the n-th of a seed is always the same."""
    data = config.data
    if not (data.pairs.get("faces") and sampler.faces) and not any(sampler.kinds(name) for name in PASSES if data.pairs.get(name)):
        raise ValueError("no fake of the training set has a paired real clip; forge with --genuine-per-clip 1")
    backbone = type(model.detector.backbone)

    def build(item: int) -> TrainBatch:
        rng = np.random.default_rng((config.seed, gangs.dp.rank, int(item)))
        return make_train_batch(sampler, backbone, data.pairs, data.frames, config.augment, rng, data.forged_face_share)

    def make(skip: int) -> DataPipelineReader[TrainBatch]:
        return DataPipelineReader(DataPipeline.count(skip).map(build).prefetch(PREFETCH).and_return(), gangs, sync=False)

    return ResumableReader(make)


class DetectorTrainUnit(TrainUnit[TrainBatch]):
    """Losses of one training step."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.module, self.names = model, names

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        for name in ("loss", *self.names):
            metric_bag.add(name, Mean())

    def process_batch(self, batch: TrainBatch, metric_bag: MetricBag) -> tuple[Tensor, None]:
        losses = self.module(batch)
        for name, loss in losses.items():
            metric_bag.get(name, Mean).update(loss.detach())
        total = torch.stack(list(losses.values())).sum()
        metric_bag.get("loss", Mean).update(total.detach())
        return total, None
