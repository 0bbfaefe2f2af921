"""Training of every network that the generators need, by name: settings, data, and the card beside the exported weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..media.clip import SAMPLE_RATE, STREAMS
from ..media.windows import read_clip
from .faces.network_training import LowerFaceTraining, ResynthesisTraining, train_resynthesis
from .forge.plan import origins
from .talking.models.base import Attitude, TalkingHead
from .talking.models.dyads import RecordedDyads
from .talking.models.font import Font
from .talking.models.mfr_net import MfrNet
from .talking.models.opt import Opt
from .talking.models.osm_net import OsmNet
from .talking.models.registry import IDENTITY, RENDERER
from .talking.rendering.head_clips import HeadClip, audio_features
from .talking.rendering.identity import IdentityNetwork, IdentityTraining, train_identity
from .talking.rendering.renderer import Renderer
from .talking.training.motion_training import HeadTraining, ListenerTraining, train_head
from .talking.training.renderer_training import RendererTraining, train_renderer
from .training import CURVES
from .training_data import TrainingData
from .voices.codec import Codec
from .voices.noise_vocoder import NoiseVocoder
from .voices.vocoder import HifiGan, SpeechGenerator, Vocoder
from .voices.vocoder_training import VocoderTraining, train_vocoder
from .weights import load_network, save_network, weights_missing_reason

SIMULATED = "simulated by a rule (talking/models/dyads.py), not recorded: the model learns that rule"
Settings = VocoderTraining | ResynthesisTraining | RendererTraining | IdentityTraining | HeadTraining


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Parameters
    ----------
    settings : type
        Dataclass of the run.
    train : callable
        Takes the settings, a :class:`TrainingData` and the folder of the run; returns the trained network.
    about : str
        Description for the card.
    streams : tuple of str
        What the network is trained on: a clip must be genuine in one of these streams, and fake in none of them. Faces are
        tracked if the video is among them.
    """

    settings: type[Settings]
    train: Callable[[Any, TrainingData, Path], nn.Module]
    about: str
    streams: tuple[str, ...] = STREAMS


def train_generator(kind: type[TalkingHead], settings: HeadTraining, data: TrainingData, run: Path) -> TalkingHead:
    """Train one of the four talking-head models with the bundled renderer.

    Raises
    ------
    ValueError
        If the weights of the renderer (for MFR-Net, of the identity network too) are missing, or no clip can be used.
    """
    reason = weights_missing_reason(RENDERER) or (weights_missing_reason(IDENTITY) if kind is MfrNet else None)
    if reason:
        raise ValueError(f"{kind.name} needs a network that is missing: {reason}")
    torch.manual_seed(settings.seed)
    renderer, clips = load_network(Renderer, RENDERER), data.heads()
    model = kind(kind.config_type(**settings.model))  # type: ignore[call-arg]
    if not isinstance(model, MfrNet):
        return train_head(model, settings, clips, renderer, run)
    dyads = None if data.dyads is None else RecordedDyads(_pairs(data.dyads, clips), renderer.space)
    return train_head(model, settings, clips, renderer, run, dyads, load_network(IdentityNetwork, IDENTITY))


def _pairs(table: pd.DataFrame, clips: Sequence[HeadClip]) -> list[tuple[HeadClip, HeadClip, Attitude]]:
    """Clips of listener and speaker of every row in which both show a face; the speaker's audio is in a separate file."""
    known = {clip.path: clip for clip in clips}
    out = []
    for row in table.itertuples():
        listener, speaker = known.get(str(row.listener_path)), known.get(str(row.speaker_path))
        waveform = read_clip(str(row.audio_path), video=False).waveform
        if listener is not None and speaker is not None and waveform is not None:
            out.append((listener, replace(speaker, audio=audio_features(waveform, len(speaker))), Attitude(str(row.attitude))))
    return out


def _generator(kind: type[TalkingHead], settings: type[HeadTraining], about: str) -> Recipe:
    return Recipe(settings, lambda given, data, run: train_generator(kind, given, data, run), about)


def _speech(kind: type[SpeechGenerator], about: str) -> Recipe:
    return Recipe(VocoderTraining, lambda given, data, run: train_vocoder(kind, given, data.speech(), run), about, ("audio",))


RECIPES: dict[str, Recipe] = {
    "vocoder": _speech(Vocoder, "mel spectrogram to waveform at 16 kHz, for fakes with the artefacts of a neural vocoder"),
    "vocoder_hifigan": _speech(HifiGan, "mel spectrogram to waveform at 16 kHz by upsampling alone, without an inverse-STFT head"),
    "vocoder_noise": _speech(NoiseVocoder, "mel spectrogram to the filters of a pulse train and of noise, at 16 kHz"),
    "codec": _speech(Codec, "speech at 16 kHz to 50 frames per second of up to eight codes, and back"),
    "lower_face": Recipe(
        LowerFaceTraining,
        lambda settings, data, run: train_resynthesis("lower_face", settings, data.faces(), run),
        "generates the lower half of a face from its upper half, a reference image and the audio, for fakes like those of Wav2Lip",
    ),
    "face_autoencoder": Recipe(
        ResynthesisTraining,
        lambda settings, data, run: train_resynthesis("face_autoencoder", settings, data.faces(), run),
        "encodes a face into 8 channels for every 4x4 pixels and decodes it, for fakes in which a network generated every pixel",
    ),
    RENDERER: Recipe(
        RendererTraining,
        lambda settings, data, run: train_renderer(settings, data.heads(), run),
        "moves the head of an image by keypoints, dense motion and an image decoder; shared by the four talking-head models",
    ),
    IDENTITY: Recipe(
        IdentityTraining,
        lambda settings, data, run: train_identity(settings, data.heads(), run),
        "face embedding for the similarity of two head images; trained on a few dozen people, not a face recogniser",
    ),
    Font.name: _generator(Font, HeadTraining, "audio and a source face to sampled head poses and to keypoints (FONT)"),
    Opt.name: _generator(Opt, HeadTraining, "speech content without the speaker to the mouth; head pose from a reference video (OPT)"),
    OsmNet.name: _generator(
        OsmNet, HeadTraining, "audio to a point of a space of head motions, around which motions are sampled (OSM-Net)"
    ),
    MfrNet.name: _generator(
        MfrNet, ListenerTraining, "motion of a listener's head by diffusion, given its speaker and an attitude (MFR-Net)"
    ),
}


def train_network(
    name: str,
    settings: Settings,
    table: pd.DataFrame,
    cache: str | os.PathLike[str],
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    workers: int,
    dyads: pd.DataFrame | None = None,
) -> Path:
    """Track the faces of the training clips, or decode their speech alone; train, and export the weights with their card.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows to train on, as :func:`.training_data.read_genuine` reads them.
    dyads : pandas.DataFrame, optional
        For MFR-Net: pairs among those rows, as :func:`avwitness.datasets.genuine.vico.read_vico` reads them.

    Returns
    -------
    Path
        The folder with weights and card.
    """
    recipe = RECIPES[name]
    data = TrainingData(origins(table), Path(cache), workers, dyads)
    with_faces = "video" in recipe.streams
    failures = data.track() if with_faces else data.decode_speech()
    network = recipe.train(settings, data, Path(run))
    speech = data.tracked_speech() if with_faces else data.speech()
    seconds = sum(len(waveform) for waveform in speech) / SAMPLE_RATE
    card = {
        "about": recipe.about,
        "training": asdict(settings),
        "data": {
            "clips": {corpus: int(count) for corpus, count in table.corpus.value_counts().items()},
            "identities": int(table.identity.nunique()),
            "minutes_of_sound": round(seconds / 60.0, 1),
            "left_out": len(failures),
        },
        "command": f"avwitness train generator {name}",
        **({"dyads": SIMULATED if dyads is None else f"recorded: {len(dyads)} of ViCo"} if isinstance(network, MfrNet) else {}),
        "limits": "A tool to make training data for detectors, of a modest quality. Not for deceiving anyone.",
        "licence": "Apache-2.0; the training footage stays with its owners and is not part of this",
    }
    folder = save_network(network, out, card)
    if (Path(run) / CURVES).exists():  # runs of less than 50 steps have none
        shutil.copyfile(Path(run) / CURVES, folder / CURVES)
    return folder
