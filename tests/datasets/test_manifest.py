from __future__ import annotations

from pathlib import Path

import pytest

from avwitness.datasets.manifest import read_labels, read_manifest

HEADER = "path,corpus,split,speaker,video_label,audio_label,method\n"


def test_labels_may_be_unknown_and_paths_are_found(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(HEADER + "a/b.mp4,x,train,s1,0,1,real\nc.mp4,x,dev,,,0,fake\n")
    table = read_manifest(tmp_path)
    assert table.file.tolist() == [tmp_path / "a/b.mp4", tmp_path / "c.mp4"]
    assert table.video_label.isna().tolist() == [False, True]
    assert table.audio_label.tolist() == [1, 0]
    assert table.speaker.tolist() == ["s1", ""]


def test_contradictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="AVWITNESS_DATA"):
        read_manifest(tmp_path)
    file = tmp_path / "manifest.csv"
    file.write_text(HEADER + "a.mp4,x,train,s1,2,1,real\n")
    with pytest.raises(ValueError, match="video_label"):
        read_manifest(file)
    file.write_text("path,corpus\na.mp4,x\n")
    with pytest.raises(ValueError, match="audio_label"):
        read_manifest(file)


def test_labels_come_from_any_manifest(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    file.write_text("path,audio_label,speaker,method,source_clip\na.wav,1,s1,tts,x.wav\nb.wav,,,,\n")
    table = read_labels(file)
    assert table.file.tolist() == [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert table.identity.tolist() == ["s1", ""]
    assert table.method.tolist() == table.audio_method.tolist() == ["tts", ""]
    assert table.source.tolist() == ["x.wav", "b.wav"]
    assert table.audio_label.isna().tolist() == [False, True]
    assert table.video_label.isna().all()


def test_family_columns_of_older_manifests_are_read_as_methods(tmp_path: Path) -> None:
    file = tmp_path / "manifest.csv"
    file.write_text(
        "path,video_label,audio_label,family,video_family,audio_family\na.mp4,1,1,face_swap+lpc,face_swap,lpc\nb.mp4,0,0,genuine,,\n"
    )
    table = read_labels(file)
    assert table.method.tolist() == ["face_swap+lpc", "genuine"]
    assert table.video_method.tolist() == ["face_swap", "genuine"]
    assert table.audio_method.tolist() == ["lpc", "genuine"]


@pytest.mark.footage
def test_the_development_manifest(footage: Path) -> None:
    table = read_manifest(footage)
    assert {"train", "dev", "wild"} == set(table.split)
    assert all(file.is_file() for file in table.file)
    # Speakers who are tested on were not trained on.
    arabic = table[table.corpus == "lrc_ar"]
    assert not set(arabic[arabic.split == "train"].speaker) & set(arabic[arabic.split == "dev"].speaker)
