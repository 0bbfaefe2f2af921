"""Training of a sync network as a fairseq2 recipe; resumes from its last checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ....avsr.sync_network import SyncNetwork, SyncNetworkConfig
from ....avsr.training.fairseq import (
    BatchNormTypes,
    RecipeConfig,
    ResumableReader,
    Schedule,
    batch_norm_types,
    sections,
    unsynchronise_batch_norms,
    wait_for_folder,
)
from ....media.files import atomic_write
from ....settings import build_settings
from .batches import SyncBatch, make_batch, sampling_weights
from .config import SyncTrainConfig
from .loss import ContrastiveLoss
from .recordings import Recording
from .validation import estimated_lags

FAMILY = "avwitness_sync"  # name of the model family at fairseq2
PREFETCH = 3  # batches made ahead
WEIGHTS = "model.safetensors"


@dataclass
class Architecture:
    """The configuration of a run, in plain types that fairseq2 can write beside a checkpoint."""

    training: str = "{}"  # JSON, values of SyncTrainConfig


def train_sync_network(config: SyncTrainConfig, recordings: Sequence[Recording], run: str | os.PathLike[str]) -> SyncNetwork:
    """Train every round that is not finished yet; each resumes from its last checkpoint.

    Footage from the web is not in sync to the frame. Before each round but the first, the network of the round before estimates
    the lag of every recording, which is then trained on with that lag; weights begin anew.

    Parameters
    ----------
    recordings : sequence of Recording
    run : path-like
        Folder of checkpoints, metrics and finished rounds.
    """
    network: SyncNetwork | None = None
    for number in range(config.rounds):
        folder = Path(run) / f"round{number}"
        finished = folder / "finished"
        if network is not None:
            recordings = [replace(r, lag=lag) for r, lag in zip(recordings, estimated_lags(network, recordings), strict=True)]
        if not finished.exists():
            recipe = SyncRecipe(config, recordings)
            run_recipe(recipe, recipe.sections(), folder)
            if int(os.environ.get("RANK", "0")) == 0:
                assert recipe.model is not None
                with atomic_write(finished) as partial:
                    partial.mkdir()
                    save_file(recipe.model.network.state_dict(), partial / WEIGHTS)
            else:
                wait_for_folder(finished)
        network = SyncNetwork(SyncNetworkConfig(**config.network))
        network.load_state_dict(load_file(finished / WEIGHTS))
        network.eval()
    if network is None:
        raise ValueError("the configuration has no rounds")
    return network


class SyncRecipe(Recipe):
    """Builds the network, its data and its trainer from a run's configuration."""

    def __init__(self, config: SyncTrainConfig, recordings: Sequence[Recording]) -> None:
        self.config, self.recordings = config, recordings
        self.model: ContrastiveLoss | None = None
        self.norms: BatchNormTypes = {}

    @property
    def config_kls(self) -> type[object]:
        return RecipeConfig

    def sections(self) -> RecipeConfig:
        """The run as sections of a fairseq2 configuration."""
        config = self.config
        schedule = Schedule(config.steps, config.learning_rate, config.warm_up, config.weight_decay, config.checkpoint_every)
        architecture = {"training": json.dumps(asdict(config))}
        return sections(FAMILY, architecture, schedule, validate=False, threads=config.threads, seed=config.seed)

    def register(self, container: DependencyContainer) -> None:
        register_model_family(container, FAMILY, kls=ContrastiveLoss, config_kls=Architecture, factory=_create, supports_meta=False)

    def setup_model(self, context: RecipeContext, model: nn.Module, newly_initialized: bool) -> nn.Module:
        assert isinstance(model, ContrastiveLoss)
        self.model, self.norms = model, batch_norm_types(model)
        return model

    def create_task(self, context: RecipeContext) -> Task:
        model = context.get_data_parallel_model()
        assert self.model is not None
        if context.device.type == "cpu":
            unsynchronise_batch_norms(self.model, self.norms)
        return context.create_trainer(SyncTrainUnit(model), sync_batches(self.recordings, self.config, context.gangs))


def _create(config: Architecture) -> ContrastiveLoss:
    training = build_settings(SyncTrainConfig, json.loads(config.training))
    torch.manual_seed(training.seed)
    network = SyncNetwork(SyncNetworkConfig(**training.network))
    return ContrastiveLoss(network, training.temperature, training.parts, training.tolerance, training.bf16)


def sync_batches(recordings: Sequence[Recording], config: SyncTrainConfig, gangs: Gangs) -> ResumableReader[SyncBatch]:
    """Endless batches; the n-th of a seed is always the same."""
    weights = sampling_weights(recordings, config.page_balance)

    def build(item: int) -> SyncBatch:
        rng = np.random.default_rng((config.seed, gangs.dp.rank, int(item)))
        return make_batch(recordings, weights, config, int(item), rng)

    def make(skip: int) -> DataPipelineReader[SyncBatch]:
        return DataPipelineReader(DataPipeline.count(skip).map(build).prefetch(PREFETCH).and_return(), gangs, sync=False)

    return ResumableReader(make)


class SyncTrainUnit(TrainUnit[SyncBatch]):
    """Loss of one training step."""

    def __init__(self, model: nn.Module) -> None:
        self.module = model

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        for name in ("loss", "accuracy"):
            metric_bag.add(name, Mean())

    def process_batch(self, batch: SyncBatch, metric_bag: MetricBag) -> tuple[Tensor, None]:
        loss, accuracy = self.module(batch)
        metric_bag.get("loss", Mean).update(loss.detach())
        metric_bag.get("accuracy", Mean).update(accuracy)
        return loss, None
