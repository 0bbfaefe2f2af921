"""The forged set as a detector learns from it, and a speech reader of its size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from avwitness.avsr.model import EncoderConfig, SpeechEncoder
from avwitness.detector.training.samples import Sample, load_set
from tiny_detector import TINY


@pytest.fixture(scope="session")
def views_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the views of that set, once somebody asked for its samples."""
    return tmp_path_factory.mktemp("witness") / "cache"


@pytest.fixture(scope="session")
def samples(forged_set: Path, views_cache: Path) -> list[Sample]:
    """The clips of the forged set, see ``support/people.py``."""
    return load_set(forged_set, views_cache, workers=1)


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny speech encoder that learned nothing."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("reader") / "tiny"
    SpeechEncoder(EncoderConfig(backbone="two_stream", backbone_options=TINY, notice="Read by nobody.")).save_pretrained(folder)
    return folder
