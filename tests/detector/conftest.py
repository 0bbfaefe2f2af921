"""Samples of the forged set, and a tiny speech encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_detector import TINY

from avwitness.avsr.model import EncoderConfig, SpeechEncoder
from avwitness.detector.training.samples import Sample, load_set


@pytest.fixture(scope="session")
def views_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the views of that set; filled by the fixture ``samples``."""
    return tmp_path_factory.mktemp("views") / "cache"


@pytest.fixture(scope="session")
def samples(forged_set: Path, views_cache: Path) -> list[Sample]:
    """The clips of the forged set, see ``support/people.py``."""
    return load_set(forged_set, views_cache, workers=1)


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny speech encoder with random weights."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("encoder") / "tiny"
    SpeechEncoder(EncoderConfig(backbone="two_stream", backbone_options=TINY, notice="A notice.")).save_pretrained(folder)
    return folder
