from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.deepfake.faceforensics import FaceForensics

PAIRS = {"train": [["071", "054"]], "val": [["720", "672"]], "test": [["000", "003"]]}
CLIPS = (
    *(f"original_sequences/youtube/c23/videos/{name}.mp4" for name in ("071", "054", "720", "672", "000", "003")),
    *(f"manipulated_sequences/Deepfakes/c23/videos/{name}.mp4" for name in ("071_054", "054_071", "720_672", "672_720", "000_003")),
    *(f"manipulated_sequences/NeuralTextures/c40/videos/{name}.mp4" for name in ("071_054", "054_071", "720_672", "672_720", "000_003")),
    "manipulated_sequences/NeuralTextures/c40/videos/003_000.mp4",
    "manipulated_sequences/Deepfakes/masks/videos/071_054.mp4",
    "manipulated_sequences/Deepfakes/c23/videos/999_998.mp4",
    "original_sequences/actors/raw/videos/01__kitchen_pan.mp4",
    "manipulated_sequences/DeepFakeDetection/raw/videos/01_02__kitchen_pan__YVGY8LOK.mp4",
    "manipulated_sequences/DeepFakeDetection/raw/videos/notes.mp4",
)


def write_tree(root: Path, pairs: dict[str, list[list[str]]] = PAIRS, clips: tuple[str, ...] = CLIPS) -> Path:
    """A miniature of the published layout; one fake (003_000) is missing, and two clips stand in no list."""
    for clip in clips:
        (root / clip).parent.mkdir(parents=True, exist_ok=True)
        (root / clip).write_bytes(b"mp4")
    (root / "splits").mkdir(parents=True)
    for split, listed in pairs.items():
        (root / "splits" / f"{split}.json").write_text(json.dumps(listed))
    return root


def by_path(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop_duplicates("path").set_index("path")


def test_good_rows(tmp_path: Path) -> None:
    table = by_path(FaceForensics().read(write_tree(tmp_path)))
    real = table.loc["original_sequences/youtube/c23/videos/071.mp4"]
    assert (real.video_label, real.method, real.category, real.identity, real.split) == (0, "", "c23", "071", "train")
    assert real.source_clip == "original_sequences/youtube/c23/videos/071.mp4"
    assert real.problem == ""
    fake = table.loc["manipulated_sequences/Deepfakes/c23/videos/672_720.mp4"]
    assert (fake.video_label, fake.method, fake.category, fake.identity, fake.split) == (1, "Deepfakes", "c23", "672", "val")
    assert fake.source_clip == "original_sequences/youtube/c23/videos/672.mp4"
    assert fake.problem == ""
    other = table.loc["manipulated_sequences/NeuralTextures/c40/videos/003_000.mp4"]
    assert (other.method, other.category, other.identity, other.split) == ("NeuralTextures", "c40", "003", "test")
    assert not table.has_audio.any()
    assert table.audio_label.isna().all()
    assert set(table.corpus) == {"faceforensics"}
    assert not table.index.str.contains("masks").any()


def test_actors(tmp_path: Path) -> None:
    table = by_path(FaceForensics().read(write_tree(tmp_path)))
    real = table.loc["original_sequences/actors/raw/videos/01__kitchen_pan.mp4"]
    assert (real.video_label, real.identity, real.category, real.split, real.problem) == (0, "actor 01", "raw", "", "")
    fake = table.loc["manipulated_sequences/DeepFakeDetection/raw/videos/01_02__kitchen_pan__YVGY8LOK.mp4"]
    assert (fake.video_label, fake.identity, fake.method, fake.problem) == (1, "actor 01", "DeepFakeDetection", "")
    assert fake.source_clip == "original_sequences/actors/raw/videos/01__kitchen_pan.mp4"


def test_missing_and_unlisted(tmp_path: Path) -> None:
    table = FaceForensics().read(write_tree(tmp_path))
    assert len(table) == 6 + 6 + 6 + 2 + 2
    problems = table[table.problem != ""].set_index("path").problem.to_dict()
    assert problems == {
        "manipulated_sequences/Deepfakes/c23/videos/003_000.mp4": "the file is missing",
        "manipulated_sequences/Deepfakes/c23/videos/999_998.mp4": "the file is in no table",
        "manipulated_sequences/DeepFakeDetection/raw/videos/notes.mp4": "the file is in no table",
    }
    assert table[table.path.str.contains("999")].video_label.isna().all()


def test_a_pair_listed_twice_keeps_its_first(tmp_path: Path) -> None:
    table = FaceForensics().read(write_tree(tmp_path, PAIRS | {"train": [["071", "054"], ["071", "054"]]}))
    rows = table[table.path == "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4"]
    assert rows.problem.tolist() == ["", "the file is listed before"]


def test_a_sequence_in_two_splits_is_suspect_in_both(tmp_path: Path) -> None:
    table = FaceForensics().read(write_tree(tmp_path, PAIRS | {"val": [["720", "071"]]}))
    rows = table[table.path == "original_sequences/youtube/c23/videos/071.mp4"]
    assert rows.split.tolist() == ["train", "val"]
    assert rows.problem.tolist() == ["the lists put sequence 071 into train and val; the file is listed in more than one split"] * 2
    fake = table[table.path == "manipulated_sequences/Deepfakes/c23/videos/054_071.mp4"]
    assert fake.problem.tolist() == ["the lists put sequence 071 into train and val"]


def test_lists_may_lie_beside_the_folders(tmp_path: Path) -> None:
    write_tree(tmp_path)
    for split in PAIRS:
        (tmp_path / "splits" / f"{split}.json").rename(tmp_path / f"{split}.json")
    table = by_path(FaceForensics().read(tmp_path))
    assert table.loc["original_sequences/youtube/c23/videos/000.mp4"].split == "test"


def test_recognises(tmp_path: Path) -> None:
    assert FaceForensics().recognises(write_tree(tmp_path / "full"))
    (tmp_path / "empty").mkdir()
    assert not FaceForensics().recognises(tmp_path / "empty")


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no .*name the folder"):
        FaceForensics().read(tmp_path / "nowhere")
    write_tree(tmp_path)
    (tmp_path / "splits" / "val.json").write_text('["071", "054"]')
    with pytest.raises(ValueError, match=r"val.json: is no list of pairs"):
        FaceForensics().read(tmp_path)
    (tmp_path / "splits" / "val.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"splits/val.json: no such list of pairs; put the three"):
        FaceForensics().read(tmp_path)
