"""A detector's training as a fairseq2 recipe; one process or ``torchrun``."""

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

from ...avsr.training.fairseq import Norms, NumberedReader, RecipeConfig, Schedule, normalise_alone, norms_of, sections, wait_for
from ...media.files import atomic_write
from ..model import DualLabelDetector
from .batches import PASSES, PairSampler, TrainBatch, make_train_batch
from .build import build_model
from .config import TrainConfig
from .losses import DetectorWithLosses, loss_names
from .samples import Sample

FAMILY = "avwitness_detector"
PREFETCH = 3  # steps made ahead


@dataclass
class Architecture:
    """A run's configuration, in the plain types that fairseq2 can write beside a checkpoint."""

    training: str = "{}"  # JSON, arguments of TrainConfig


def run_training(config: TrainConfig, samples: Sequence[Sample], folder: Path, finished: Path) -> None:
    """Train from the last checkpoint, if there is one, to the last step, and save the detector to ``finished``."""
    recipe = DetectorRecipe(config, samples)
    run_recipe(recipe, recipe.sections(), folder)
    if int(os.environ.get("RANK", "0")) == 0:
        assert recipe.lesson is not None
        with atomic_write(finished) as partial:
            recipe.lesson.detector.save_pretrained(partial)
    else:
        wait_for(finished)


class DetectorRecipe(Recipe):
    """Builds the detector, its data and its trainer from one run's configuration."""

    def __init__(self, config: TrainConfig, samples: Sequence[Sample]) -> None:
        self.config, self.samples = config, samples
        self.lesson: DetectorWithLosses | None = None
        self.norms: Norms = {}

    @property
    def config_kls(self) -> type[object]:
        return RecipeConfig

    def has_static_autograd_graph(self, context: RecipeContext) -> bool:
        return False  # a pass that only listens leaves the video encoder alone

    def sections(self) -> RecipeConfig:
        """The run in fairseq2's own terms."""
        config = self.config
        known = {r".*detector\.backbone\..*": config.backbone_rate} if config.backbone and not config.trainable else {}
        schedule = Schedule(config.steps, config.learning_rate, config.warm_up, config.weight_decay, config.checkpoint_every, known)
        architecture = {"training": json.dumps(asdict(config))}
        return sections(FAMILY, architecture, schedule, validate=False, threads=config.threads, seed=config.seed)

    def register(self, container: DependencyContainer) -> None:
        register_model_family(container, FAMILY, kls=DetectorWithLosses, config_kls=Architecture, factory=_create, supports_meta=False)

    def setup_model(self, context: RecipeContext, model: nn.Module, newly_initialized: bool) -> nn.Module:
        assert isinstance(model, DetectorWithLosses)
        self.lesson, self.norms = model, norms_of(model)
        model.freeze()  # fairseq2 lets every parameter of a new model ask for gradients
        return model

    def create_task(self, context: RecipeContext) -> Task:
        model = context.get_data_parallel_model()
        assert self.lesson is not None
        if context.device.type == "cpu":
            normalise_alone(self.lesson, self.norms)
        draw = PairSampler(self.samples, self.config.exclude_methods, self.config.rare_methods)
        names = metric_names(draw, self.config, self.lesson.detector)
        return context.create_trainer(DetectorTrainUnit(model, names), steps(draw, self.config, self.lesson, context.gangs))


def _create(config: Architecture) -> DetectorWithLosses:
    values = json.loads(config.training)
    training = TrainConfig(**values)
    torch.manual_seed(training.seed)
    return DetectorWithLosses(build_model(training), training.frozen, training.loss_config, bool(training.faces), training.trainable)


def metric_names(draw: PairSampler, config: TrainConfig, model: DualLabelDetector) -> list[str]:
    """Names of all losses of a run; a checkpoint can only be gone on from by a run that has the same."""
    artefacts, binary = model.face_branch is not None, model.joint_head is not None
    passes = [name for name in PASSES if config.pairs.get(name) and draw.kinds(name)]
    names = [f"{name}_{key}" for name in passes for key in loss_names(name, artefacts, binary)]
    return [*names, "faces"] if artefacts and config.pairs.get("faces") and draw.faces else names


def steps(draw: PairSampler, config: TrainConfig, lesson: DetectorWithLosses, gangs: Gangs) -> NumberedReader[TrainBatch]:
    """Endless steps; the n-th of a seed is always the same."""
    if not (config.pairs.get("faces") and draw.faces) and not any(draw.kinds(name) for name in PASSES if config.pairs.get(name)):
        raise ValueError("no fake in the training clips has a genuine clip to be set beside; forge with --genuine-per-clip 1")
    backbone, augment = type(lesson.detector.backbone), config.augment_config

    def build(item: int) -> TrainBatch:
        rng = np.random.default_rng((config.seed, gangs.dp.rank, int(item)))
        return make_train_batch(draw, backbone, config.pairs, config.frames, augment, rng, config.forged_faces)

    def make(skip: int) -> DataPipelineReader[TrainBatch]:
        return DataPipelineReader(DataPipeline.count(skip).map(build).prefetch(PREFETCH).and_return(), gangs, sync=False)

    return NumberedReader(make)


class DetectorTrainUnit(TrainUnit[TrainBatch]):
    """Losses of one step."""

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
