"""Training of the dual-label detector on pairs of genuine clips and simple forgeries; bounded by wall clock, resumable."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ..generators.faces import FACES
from .artefacts import STRIDE
from .examples import AudioExample, VideoExample, audio_example, offset_or_none, video_example
from .model import MAX_OFFSET, DetectorConfig, DualLabelDetector, Evidence
from .prepare import TRAINING_VOICES, Material, load_material

SYNC_TEMPERATURE = 0.07


@dataclass
class TrainConfig:
    """One training run."""

    seed: int = 0
    minutes: float = 60.0  # of wall clock, over all resumed parts
    frames: int = 30  # frames (1.2 s) of one example
    pairs_both: int = 5  # genuine/forged pairs a step that show both streams
    pairs_audio: int = 10  # pairs that are heard only
    pairs_video: int = 3  # pairs that are seen only
    pairs_seams: int = 16  # pairs of a few frames that only the seam branch sees: it wants many faces, not long ones
    seam_frames: int = 4  # frames of those, each of them looked at
    seam_minutes: float = 9.0  # of wall clock, before the rest is trained
    seam_rate: float = 2e-3  # learning rate of that time
    learning_rate: float = 6e-4
    weight_decay: float = 0.02
    warm_up: float = 0.03  # share of the time
    frame_weight: float = 0.5  # of the per-frame losses
    count_weight: float = 0.2  # of the count loss
    sync_weight: float = 0.3  # of the comparison of the streams
    seam_weight: float = 4.0  # of the seam map
    clean_steps: int = 900  # steps of the seam stage in which compression alone hides the seams
    ramp_steps: int = 1500  # steps from there until all augmentations strike at full strength; afterwards they always do
    checkpoint_every: float = 3.0  # minutes
    threads: int = 2
    corpora: dict[str, float] = field(default_factory=lambda: {"grid": 0.25, "lrc_ar": 0.5, "tv_panel": 0.15, "ted": 0.1})
    held_out: dict[str, int] = field(default_factory=lambda: {"lrc_ar": 4, "tv_panel": 3, "ted": 3})  # speakers kept for calibration
    voices: tuple[str, ...] = TRAINING_VOICES
    faces: tuple[str, ...] = tuple(FACES)
    model: dict[str, Any] = field(default_factory=dict)  # arguments of DetectorConfig


def calibration_rows(table: pd.DataFrame, config: TrainConfig) -> pd.Series:
    """Which training rows are kept back, by identity, to calibrate on: bool Series over the table."""
    keep = pd.Series(False, index=table.index)
    for corpus, count in config.held_out.items():
        rows = table[(table.corpus == corpus) & (table.split == "train")]
        speakers = sorted(rows.speaker.unique())
        # Evenly spaced through the sorted names: no look at who they are.
        chosen = {speakers[i] for i in np.linspace(0, len(speakers) - 1, count + 2).astype(int)[1:-1]}
        keep |= (table.corpus == corpus) & (table.split == "train") & table.speaker.isin(chosen)
    return keep


def load_corpora(table: pd.DataFrame, cache: str | os.PathLike[str]) -> dict[str, list[Material]]:
    """The prepared material of a table's rows by corpus; rows that could not be prepared are left out.

    Raises
    ------
    FileNotFoundError
        If nothing was prepared at all.
    """
    corpora: dict[str, list[Material]] = {}
    for corpus, path in zip(table.corpus, table.path, strict=True):
        material = load_material(cache, path)
        if material is not None:
            corpora.setdefault(corpus, []).append(material)
    if not corpora:
        raise FileNotFoundError(f"{cache}: no prepared clips; run `avwitness prepare` first")
    return corpora


class Steps(IterableDataset[dict[str, Any]]):
    """Endless training steps; the n-th step of a seed is always the same, so a resumed run goes on where it stood."""

    def __init__(self, corpora: dict[str, list[Material]], config: TrainConfig, first: int, stage: str = "joint") -> None:
        self.corpora, self.config, self.first, self.stage = corpora, config, first, stage
        names = [name for name in config.corpora if corpora.get(name)]
        weights = np.array([config.corpora[name] for name in names])
        self.names, self.weights = names, weights / weights.sum()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        step = self.first
        while True:
            yield self.step(step)
            step += 1

    def step(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.config.seed, number))
        config = self.config
        if self.stage == "seams":
            strength = float(np.clip((number - config.clean_steps) / max(config.ramp_steps, 1), 0.0, 1.0))
            return {"seams": self._group(config.pairs_seams, config.seam_frames, False, True, rng, strength)}
        return {
            "both": self._group(config.pairs_both, config.frames, True, True, rng),
            "audio": self._group(config.pairs_audio, config.frames, True, False, rng),
            "video": self._group(config.pairs_video, config.frames, False, True, rng),
            "seams": self._group(config.pairs_seams, config.seam_frames, False, True, rng),
        }

    def _draw(self, rng: np.random.Generator, corpus: str | None = None, video: bool = False, audio: bool = False) -> tuple[str, Material]:
        while True:
            name = corpus or self.names[rng.choice(len(self.names), p=self.weights)]
            material = self.corpora[name][rng.integers(len(self.corpora[name]))]
            if (material.mouth is not None or not video) and (material.speech is not None or not audio):
                return name, material

    def _group(
        self, pairs: int, frames: int, audio: bool, video: bool, rng: np.random.Generator, strength: float = 1.0
    ) -> dict[str, Tensor]:
        sounds: list[AudioExample] = []
        sights: list[VideoExample] = []
        offsets: list[int] = []
        foreign: list[bool] = []
        for _ in range(pairs):
            name, material = self._draw(rng, video=video, audio=audio)
            length = len(material.mouth) if video and material.mouth is not None else 0
            if audio and not video and material.speech is not None:
                length = material.speech.shape[2] // 640
            start = int(rng.integers(0, max(length - frames, 0) + 1))
            first_is_fake = rng.random(2) < 0.5  # of the pair, independently for each stream
            for member in (0, 1):
                fake_video, fake_audio = (bool(first_is_fake[k]) != bool(member) for k in (0, 1))
                offset = offset_or_none(rng) if video and audio else 0
                other = bool(video and audio and rng.random() < 0.15)
                if audio:
                    source = self._draw(rng, corpus=name, audio=True)[1] if other else material
                    voice = str(rng.choice(self.config.voices)) if fake_audio else None
                    babble = self._draw(rng, audio=True)[1].speech
                    assert babble is not None
                    sounds.append(audio_example(source, start + offset, frames, voice, rng, babble[0, 0]))
                if video:
                    family = str(rng.choice(self.config.faces)) if fake_video else None
                    donor = material if rng.random() < 0.4 else self._draw(rng, corpus=name, video=True)[1]
                    sights.append(video_example(material, donor, start, frames, family, rng, strength))
                offsets.append(offset)
                foreign.append(other)
        group: dict[str, Tensor] = {"offset": torch.tensor(offsets), "foreign": torch.tensor(foreign)}
        if audio:
            group |= {
                "audio": torch.from_numpy(np.stack([x.features for x in sounds])),
                "audio_mask": torch.from_numpy(np.stack([x.mask for x in sounds])),
                "audio_labels": torch.from_numpy(np.stack([x.labels for x in sounds])),
            }
        if video:
            group |= {
                "video": torch.from_numpy(np.stack([x.crops for x in sights])),
                "video_mask": torch.from_numpy(np.stack([x.mask for x in sights])),
                "video_labels": torch.from_numpy(np.stack([x.labels for x in sights])),
                "seams": torch.from_numpy(np.stack([x.seams for x in sights])),
            }
        return group


def group_loss(evidence: Evidence, group: dict[str, Tensor], config: TrainConfig) -> dict[str, Tensor]:
    """Losses of one group; an absent stream contributes nothing."""
    losses: dict[str, Tensor] = {}
    count = torch.zeros(len(group["offset"]), dtype=torch.long)
    for stream, clip, frames in (
        ("audio", evidence.audio, evidence.audio_frames),
        ("video", evidence.video, evidence.video_frames),
    ):
        if clip is None or frames is None:
            continue
        labels, mask = group[f"{stream}_labels"], group[f"{stream}_mask"]
        fake = (labels * mask).amax(dim=1)
        count = count + fake.long()
        losses[stream] = F.binary_cross_entropy_with_logits(clip, fake)
        losses[f"{stream}_frames"] = config.frame_weight * F.binary_cross_entropy_with_logits(frames[mask], labels[mask])
    losses["count"] = config.count_weight * F.cross_entropy(evidence.count, count)
    if evidence.seams is not None:
        losses["seams"] = seam_loss(evidence.seams, group, config)
    if evidence.similarity is not None:
        sync = sync_loss(evidence.similarity, group)
        if sync is not None:
            losses["sync"] = config.sync_weight * sync
    return losses


def seam_loss(seams: Tensor, group: dict[str, Tensor], config: TrainConfig, stride: int = STRIDE) -> Tensor:
    """Cross-entropy of the seam map in the frames that the branch looked at."""
    looked, wanted = group["video_mask"][:, ::stride], group["seams"][:, ::stride]
    return config.seam_weight * F.binary_cross_entropy_with_logits(seams[looked], wanted[looked])


def branch_loss(model: DualLabelDetector, group: dict[str, Tensor], config: TrainConfig) -> dict[str, Tensor]:
    """Losses of the group that only the seam branch sees."""
    seams, _, logits = model.seam_branch(group["video"], stride=1)
    mask, labels = group["video_mask"], group["video_labels"]
    return {"seams": seam_loss(seams, group, config, stride=1), "frames": F.binary_cross_entropy_with_logits(logits[mask], labels[mask])}


def sync_loss(similarity: Tensor, group: dict[str, Tensor]) -> Tensor | None:
    """Cross-entropy of finding, for every picture frame, the sound frame that belongs to it among those within +-15."""
    time = similarity.shape[1]
    index = torch.arange(time)
    # Sound was taken `offset` frames later, so the sound of picture t now stands at t - offset.
    target = index[None] - group["offset"][:, None]
    inside = (target >= 0) & (target < time)
    heard = torch.gather(group["audio_mask"], 1, target.clamp(0, time - 1))
    wanted = inside & heard & group["video_mask"] & ~group["foreign"][:, None]
    if not wanted.any():
        return None
    near = (index[:, None] - index[None, :]).abs() <= MAX_OFFSET  # sound, picture
    allowed = near[None] & group["audio_mask"][:, :, None]
    logits = (similarity / SYNC_TEMPERATURE).masked_fill(~allowed, -1e4).transpose(1, 2)  # picture, sound
    return F.cross_entropy(logits[wanted], target[wanted])


def train(config: TrainConfig, table: pd.DataFrame, cache: str | os.PathLike[str], run: str | os.PathLike[str]) -> DualLabelDetector:
    """Train the seam branch, then everything, until the configured minutes are spent; goes on from checkpoints in ``run``.

    Parameters
    ----------
    table : DataFrame
        A manifest, see :func:`avwitness.datasets.manifest.read_manifest`; only rows of split ``train`` are used, less
        the identities that :func:`calibration_rows` keeps back.
    cache : path-like
        Folder that :func:`avwitness.detector.prepare.prepare` filled.
    run : path-like
        Folder for checkpoints and logs, outside the repository.
    """
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    model = DualLabelDetector(DetectorConfig(**config.model)).train()
    corpora = load_corpora(table[(table.split == "train") & ~calibration_rows(table, config)], cache)
    for stage in (Stage("seams", config.seam_minutes, config.seam_rate), Stage("joint", config.minutes, config.learning_rate)):
        run_stage(stage, model, corpora, config, run)
    return model.eval()


@dataclass(frozen=True)
class Stage:
    """One part of a run: its name, minutes of wall clock, and learning rate."""

    name: str
    minutes: float
    learning_rate: float


def run_stage(stage: Stage, model: DualLabelDetector, corpora: dict[str, list[Material]], config: TrainConfig, run: Path) -> None:
    """Train one stage to the end of its minutes; ``run/STAGE.pt`` holds where it stands, ``run/STAGE.csv`` its losses."""
    from rich.progress import Progress

    optimizer = torch.optim.AdamW(model.parameters(), lr=stage.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98))
    checkpoint, budget = run / f"{stage.name}.pt", stage.minutes * 60.0
    step, spent = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    steps = DataLoader(Steps(corpora, config, step, stage.name), batch_size=None, num_workers=1, prefetch_factor=4)
    saved = time.monotonic()
    running: dict[str, float] = {}

    def save() -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": spent}
        torch.save(state, run / "partial")
        os.replace(run / "partial", checkpoint)

    with Progress() as progress:
        bar = progress.add_task(stage.name, total=budget)
        for groups in steps:
            if spent >= budget:
                break
            begun = time.monotonic()
            for parameters in optimizer.param_groups:
                parameters["lr"] = scheduled(stage.learning_rate, spent / budget, config.warm_up)
            optimizer.zero_grad(set_to_none=True)
            for name, group in groups.items():
                losses = branch_loss(model, group, config) if name == "seams" else group_loss(forward(model, group), group, config)
                torch.stack(list(losses.values())).sum().backward()
                for key, value in losses.items():
                    key = f"{name}.{key}"
                    running[key] = 0.98 * running.get(key, value.item()) + 0.02 * value.item()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            spent += time.monotonic() - begun
            progress.update(bar, completed=spent, description=f"{stage.name}: step {step}, loss {sum(running.values()):.2f}")
            if step % 50 == 0:
                row = {"step": step, "minutes": round(spent / 60, 2), **{k: round(v, 4) for k, v in running.items()}}
                write_log(run / f"{stage.name}.csv", row)
            if time.monotonic() - saved > config.checkpoint_every * 60.0:
                save()
                saved = time.monotonic()
    save()


def forward(model: DualLabelDetector, group: dict[str, Tensor]) -> Evidence:
    """The model's evidence on one group, whichever streams it has."""
    evidence: Evidence = model(group.get("audio"), group.get("video"), group.get("audio_mask"), group.get("video_mask"))
    return evidence


def scheduled(rate: float, done: float, warm_up: float) -> float:
    """Learning rate when a share ``done`` of the time is spent: a linear rise, then half a cosine to zero."""
    rise = min(1.0, done / warm_up) if warm_up else 1.0
    return max(rate * rise * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0))), 1e-6)


def write_log(path: Path, row: dict[str, float]) -> None:
    """Append one row to a CSV, with its header if the file is new."""
    new = not path.exists()
    with path.open("a") as file:
        if new:
            file.write(",".join(row) + "\n")
        file.write(",".join(str(value) for value in row.values()) + "\n")
