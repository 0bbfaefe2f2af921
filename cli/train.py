"""Commands that train the bundled models: ``prepare`` and ``train ...``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .console import progress_hook, progress_on
from .generate import Generator
from .options import CPU_COUNT, Split, Workers

if TYPE_CHECKING:
    from ..detector.clip_encoder import ClipEncoder
    from ..detector.efficientnet import EfficientNetLite


def prepare(
    data: Annotated[Path, typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv.")],
    cache: Annotated[Path, typer.Option(help="Folder for the prepared clips, outside the repository.")],
    workers: Workers = CPU_COUNT,
) -> None:
    """Decode and crop every training and dev clip of a manifest, once; resumable."""
    from ..datasets.manifest import read_manifest
    from ..media.views import fill_views

    table = read_manifest(data)
    table = table[table.split != "wild"]
    failures = fill_views(table.file, table.path, cache, workers)
    for failure in failures:
        typer.echo(failure, err=True)


def train_detector(
    config: Annotated[Path, typer.Option(help="YAML, such as configs/detector_small.yaml.")],
    forged: Annotated[list[Path], typer.Option(help="Set that `avwitness forge` wrote, or another manifest with labels; may be repeated.")],
    cache: Annotated[Path, typer.Option(help="Folder for prepared clips, filled on first use.")],
    run: Annotated[Path, typer.Option(help="Folder for checkpoints and curves; an interrupted run found there is resumed.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights.")],
    split: Split = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that crop clips.")] = CPU_COUNT,
) -> None:
    """Train, calibrate and export a detector; alone, or in several processes under `torchrun --no-python`."""
    from ..detector.training.config import TrainConfig
    from ..detector.training.export import export
    from ..detector.training.train import load_sets, train
    from ..settings import read_settings

    try:
        settings = read_settings(config, TrainConfig)
        taught, held = load_sets(forged, cache, settings, workers, split)
        model = train(settings, taught, run)
        if int(os.environ.get("RANK", "0")) == 0:
            typer.echo(export(model, settings, taught, held, out, name=config.name))
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


def train_audio(
    field: Annotated[Path, typer.Option(help="Folder of the field set.")],
    whisper: Annotated[Path, typer.Option(help="Folder of a Whisper checkpoint: CTranslate2 or Hugging Face.")],
    cache: Annotated[Path, typer.Option(help="Folder for the statistics of clips, computed on first use; resumable.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights.")],
    config: Annotated[Path, typer.Option(help="YAML with the settings.")] = Path("configs/audio_small.yaml"),
    data: Annotated[
        Path | None, typer.Option(envvar="AVWITNESS_DATA", help="Folder with the manifest.csv of further genuine corpora.")
    ] = None,
    base: Annotated[str, typer.Option(help="Detector that gets the classifier: bundled name or folder.")] = "small",
    split: Annotated[str | None, typer.Option(help="Take the clips of this split of the field set only.")] = None,
) -> None:
    """Fit and calibrate the audio classifier on Whisper features, and export a detector with it."""
    from ..avsr.whisper.conversion import load_whisper_encoder
    from ..detector.audio_classifier import with_encoder
    from ..detector.training.classifiers.audio_data import load_audio_samples
    from ..detector.training.classifiers.audio_statistics import AudioTrainConfig
    from ..detector.training.classifiers.audio_validation import fit_audio_classifier, validate_audio_classifier
    from ..detector.training.classifiers.export import export_classifier
    from ..settings import read_settings

    try:
        settings = read_settings(config, AudioTrainConfig)
        encoder = load_whisper_encoder(whisper, layers=max(settings.layers))
        classifier = with_encoder(encoder, settings.layers, settings.statistics)
        with progress_on(Console(stderr=True)) as progress:
            hook = progress_hook(progress, "reading and encoding clips")
            clips = load_audio_samples(field, data, classifier, settings, cache, hook, split)
            fold_hook = progress_hook(progress, "cross-validation, a fold")
            logits = validate_audio_classifier(classifier, clips.samples, clips.waveforms, settings, cache, hook=fold_hook)
            hook = progress_hook(progress, "training on all clips")
            fitted = fit_audio_classifier(classifier, clips.samples, clips.waveforms, settings, hook)
        for failure in clips.failures:
            typer.echo(failure, err=True)
        options = f"--split {split} " * (split is not None) + "--field FIELD --data DATA --whisper WHISPER --cache CACHE"
        command = f"avwitness train audio --config configs/{config.name} {options} --out {out.name}"
        typer.echo(export_classifier(clips.table, clips.samples, fitted, logits, base, settings, out, command))
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


def train_video(
    field: Annotated[Path, typer.Option(help="Folder of the field set.")],
    cache: Annotated[Path, typer.Option(help="Folder for the statistics of clips, computed on first use; resumable.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights.")],
    clip: Annotated[Path | None, typer.Option(help="CLIP image tower: folder or file of Hugging Face, or a quantised ONNX file.")] = None,
    student: Annotated[Path | None, typer.Option(help="Instead of --clip: encoder that `avwitness train student` wrote.")] = None,
    config: Annotated[Path, typer.Option(help="YAML with the settings.")] = Path("configs/video_large.yaml"),
    data: Annotated[
        Path | None, typer.Option(envvar="AVWITNESS_DATA", help="Folder with the manifest.csv of further genuine corpora.")
    ] = None,
    base: Annotated[str, typer.Option(help="Detector that gets the classifier: bundled name or folder.")] = "small",
    forged: Annotated[
        list[Path] | None, typer.Option(help="Set that `avwitness forge` wrote, which is fitted to as well; may be repeated.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Take the clips of this split of the field set only.")] = None,
) -> None:
    """Fit and calibrate the video classifier on the features of an image encoder, and export a detector with it."""
    from ..detector.training.classifiers.clip_conversion import load_clip_encoder
    from ..detector.training.classifiers.distillation import load_efficientnet
    from ..detector.training.classifiers.export import export_classifier
    from ..detector.training.classifiers.linear import cross_validated_logits, fit_linear, set_linear
    from ..detector.training.classifiers.video_data import VideoTrainConfig, load_video_samples
    from ..detector.video_classifier import with_image_encoder
    from ..settings import read_settings

    if (clip is None) == (student is None):
        raise typer.BadParameter("give either --clip or --student, the image encoder to fit to")
    try:
        settings = read_settings(config, VideoTrainConfig)
        if student is not None:
            encoder: ClipEncoder | EfficientNetLite = load_efficientnet(student)
        else:
            assert clip is not None
            encoder = load_clip_encoder(clip, layers=max((*settings.patch_layers, *settings.token_layers)))
        classifier = with_image_encoder(encoder, settings.patch_layers, settings.token_layers, settings.views)
        with progress_on(Console(stderr=True)) as progress:
            hook = progress_hook(progress, "extracting features")
            table, samples, failures = load_video_samples(field, data, classifier, settings, cache, hook, forged or (), split=split)
        for failure in failures:
            typer.echo(failure, err=True)
        source = ("--clip CLIP" if student is None else "--student STUDENT") + f" --split {split}" * (split is not None)
        command = f"avwitness train video --config configs/{config.name} --field FIELD --data DATA {source} "
        command += "--forged FORGED " * len(forged or ()) + f"--cache CACHE --out {out.name}"
        logits = cross_validated_logits(samples, settings)
        set_linear(classifier, fit_linear(samples, settings))
        typer.echo(export_classifier(table, samples, classifier, logits, base, settings, out, command))
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


def train_student(
    field: Annotated[Path, typer.Option(help="Folder of the field set; clips of its training split are shown.")],
    start: Annotated[Path, typer.Option(help="Checkpoint of EfficientNet-Lite0 (.pth), trained on ImageNet, to begin with.")],
    cache: Annotated[Path, typer.Option(help="Folder for images and the teacher's statistics, computed on first use; resumable.")],
    out: Annotated[Path, typer.Option(help="Folder for the student and its training state; resumable.")],
    teacher: Annotated[str, typer.Option(help="Detector whose video classifier teaches: bundled name or folder.")] = "large",
    config: Annotated[Path, typer.Option(help="YAML with the settings.")] = Path("configs/student.yaml"),
    data: Annotated[
        Path | None, typer.Option(envvar="AVWITNESS_DATA", help="Folder with the manifest.csv of further genuine corpora.")
    ] = None,
) -> None:
    """Train a small image encoder to predict the features of a large one; labels are not used."""
    from ..detector.inference.detector import load
    from ..detector.training.classifiers.distillation import DistillationConfig, distil, load_efficientnet, save_encoder
    from ..detector.training.classifiers.distillation_data import teaching_files, teaching_images
    from ..settings import read_settings

    try:
        settings = read_settings(config, DistillationConfig)
        encoder, classifier = load_efficientnet(start), load(teacher, device="cpu").model.video_classifier
        if classifier is None:
            raise ValueError(f"{teacher}: has no video classifier that could teach; choose another --teacher")
        with progress_on(Console(stderr=True)) as progress:
            files, hook = teaching_files(field, data, settings), progress_hook(progress, "encoding portraits")
            shown = teaching_images(files, classifier, settings.portraits, settings.degraded, cache, settings.bf16, hook)
            images, statistics, failures = shown
            hook = progress_hook(progress, "training the student")
            encoder, error = distil(encoder, images, statistics, settings, out / "state.pt", hook)
        for failure in failures:
            typer.echo(failure, err=True)
        typer.echo(f"{save_encoder(encoder, out)}	{len(images)} images, mean squared error {error:.3f} of a variance of 1")
    except (FileNotFoundError, ValueError) as error_found:
        raise typer.BadParameter(str(error_found)) from error_found


def train_avsr(
    config: Annotated[Path, typer.Option(help="YAML, such as configs/avsr_small.yaml.")],
    data: Annotated[Path, typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv that has transcripts.")],
    cache: Annotated[Path, typer.Option(help="Folder that `avwitness prepare` filled.")],
    run: Annotated[Path, typer.Option(help="Folder for checkpoints and curves; an interrupted run found there is resumed.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights.")],
) -> None:
    """Train an AVSR model; alone, or in several processes under `torchrun --no-python`."""
    from ..avsr.training.config import load_config
    from ..avsr.training.export import export
    from ..avsr.training.pretrain import pretrain
    from ..datasets.manifest import read_manifest

    try:
        settings, table = load_config(config), read_manifest(data)
        table = table[table.split == "train"]
        reader = pretrain(settings, table, cache, run)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    if int(os.environ.get("RANK", "0")) == 0:
        export(reader, settings, table, run, out, name=config.name)


def train_generator(
    name: Annotated[
        str,
        typer.Argument(
            help="vocoder, vocoder_hifigan, vocoder_noise, codec, lower_face, face_autoencoder, renderer, identity, font, opt, "
            "osm-net or mfr-net."
        ),
    ],
    data: Annotated[list[Path], typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv; may be repeated.")],
    cache: Annotated[Path, typer.Option(help="Folder for face tracks and decoded speech; shared with the forge.")],
    run: Annotated[Path, typer.Option(help="Folder for the checkpoint and the curves; an interrupted run found there is resumed.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights.")],
    config: Annotated[Path | None, typer.Option(help="YAML with settings that differ from the defaults.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall clock minutes over all parts of the run; overrides the settings.")] = None,
    split: Annotated[str, typer.Option(help="Rows to train on.")] = "train",
    workers: Workers = CPU_COUNT,
) -> None:
    """Train a network of the generators within a time budget; resumable; writes sample images into the run.

    Vocoders and codec are trained on speech alone: every row whose audio is genuine. The four talking heads need `renderer`,
    mfr-net needs `identity` too. With a ViCo folder as --data, mfr-net is trained on its recorded pairs, else on simulated ones.
    """
    from ..datasets.genuine.vico import is_vico, read_vico, vico_clips
    from ..generators.recipes import RECIPES, train_network
    from ..generators.training_data import read_genuine
    from ..settings import read_settings

    if name not in RECIPES:
        raise typer.BadParameter(f"{name}: no such generator; there are {', '.join(RECIPES)}")
    kind, given = RECIPES[name].settings, {} if minutes is None else {"minutes": minutes}
    try:
        settings = read_settings(config, kind, **given)
        dyads = read_vico(data[0]) if name == Generator.mfr_net.value and is_vico(data[0]) else None
        if dyads is not None:
            for problem in dyads.problem[dyads.problem != ""]:
                typer.echo(f"avwitness: left out: {problem}", err=True)
            dyads = dyads[(dyads.problem == "") & (dyads.split == split)]
        table = read_genuine(data, split, RECIPES[name].streams) if dyads is None else vico_clips(dyads)
        typer.echo(train_network(name, settings, table, cache, run, out, workers, dyads))
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise typer.BadParameter(str(error)) from None


def train_mean_face(
    data: Annotated[Path, typer.Option(envvar="AVWITNESS_DATA", help="Folder with a manifest.csv.")],
    out: Annotated[Path, typer.Option(help="NPY file to write.")],
) -> None:
    """Derive the mean face to which mouths are aligned, from three training clips of every speaker."""
    import numpy as np

    from ..datasets.manifest import read_manifest
    from ..media.face.mean_face import derive_mean_face

    table = read_manifest(data)
    np.save(out, derive_mean_face(table[table.split == "train"]))


def train_sync(
    field: Annotated[Path, typer.Option(help="Folder of the field set.")],
    cache: Annotated[Path, typer.Option(help="Folder for landmarks and features of clips, computed on first use; resumable.")],
    run: Annotated[Path, typer.Option(help="Folder for checkpoints and curves; an interrupted run found there is resumed.")],
    out: Annotated[Path, typer.Option(help="Folder for the finished weights.")],
    config: Annotated[Path, typer.Option(help="YAML with the settings.")] = Path("configs/sync.yaml"),
    data: Annotated[
        Path | None, typer.Option(envvar="AVWITNESS_DATA", help="Folder with the manifest.csv of further genuine corpora.")
    ] = None,
    originals: Annotated[
        Path | None, typer.Option(help="Folder with full-length originals of clips of the field set, and an originals.csv that lists them.")
    ] = None,
    base: Annotated[
        str, typer.Option(help="Detector that gets the network: bundled name or folder; it needs an audio classifier.")
    ] = "small",
) -> None:
    """Train and calibrate the sync network, which compares audio and lips, and export a detector with it."""
    from ..detector.inference.detector import load
    from ..detector.training.synchronisation.config import SyncTrainConfig
    from ..detector.training.synchronisation.export import export_sync, load_data, train_and_validate
    from ..settings import read_settings

    try:
        settings = read_settings(config, SyncTrainConfig)
        classifier = load(base, device="cpu").model.audio_classifier
        if classifier is None:
            raise ValueError(f"{base}: has no audio classifier, whose encoder the sync network needs")
        with progress_on(Console(stderr=True)) as progress:
            hook = progress_hook(progress, "landmarks and features")
            clips = load_data(field, data, classifier.encoder, settings, cache, originals, hook)
            trained = train_and_validate(clips, settings, run, progress_hook(progress, "training and cross-validation"))
        for failure in clips.failures:
            typer.echo(failure, err=True)
        options = "--originals ORIGINALS " * (originals is not None) + "--field FIELD --data DATA --cache CACHE --run RUN"
        command = f"avwitness train sync --config configs/{config.name} {options} --out {out.name}"
        typer.echo(export_sync(trained, base, settings, out, command))
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
