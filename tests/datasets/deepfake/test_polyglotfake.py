from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from avwitness.datasets.deepfake.polyglotfake import PolyGlotFake

GENUINE = [
    {"filename": "es_1.mp4", "duration": "00:00:07", "source": "news", "characters": [{"age": 40, "sex": "female"}], "lang": "es"},
    {
        "filename": "en_7.mp4",
        "duration": "00:00:12",
        "source": "talk",
        "characters": [{"age": 35, "sex": "female"}, {"age": 60, "sex": "male"}],
        "lang": "en",
    },
]


def fake(filename: str, source: str = "es_1.mp4", raw: str = "es", target: str = "ru", tts: str = "Xtts") -> dict[str, str]:
    return {
        "filename": filename,
        "raw_video_name": source,
        "duration": "9.14",
        "tts_technique": tts,
        "raw_lang": raw,
        "target_lang": target,
        "sync_tech": "video_retalking",
    }


FAKES = [fake("es_1_to_ru_Xtts.mp4"), fake("es_1_to_ru_Bark.mp4", tts="Bark"), fake("en_7_to_zh_Xtts.mp4", "en_7.mp4", "en", "zh")]
CLIPS = ("real/es/es_1.mp4", "real/en/en_7.mp4", "fake/to_ru/es_1_to_ru_Xtts.mp4", "fake/to_ru/es_1_to_ru_Bark.mp4", "fake/to_ru/stray.mp4")


def write_tree(root: Path, fakes: Any = FAKES, base: str = "") -> Path:
    """A miniature of the published layout; one fake (en_7_to_zh_Xtts) is missing, and one clip is in no list."""
    for clip in CLIPS:
        file = root / base / clip
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"mp4")
    for name, document in (("real_json_file/all_real_video", {"videos": GENUINE}), ("fake_Json_file/all_fake_video", {"video": fakes})):
        file = root / "json_file" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
    return root


def read(root: Path, fakes: Any = FAKES, base: str = "") -> pd.DataFrame:
    return PolyGlotFake().read(write_tree(root, fakes, base))


def test_good_rows(tmp_path: Path) -> None:
    table = read(tmp_path).set_index("path")
    real = table.loc["real/es/es_1.mp4"]
    assert (real.video_label, real.audio_label, real.language, real.gender, real.age) == (0, 0, "es", "female", "40")
    assert (real.method, real.category, real.source_clip, real.problem) == ("", "", "real/es/es_1.mp4", "")
    two = table.loc["real/en/en_7.mp4"]
    assert (two.gender, two.age) == ("female,male", "35,60")
    dubbed = table.loc["fake/to_ru/es_1_to_ru_Bark.mp4"]
    assert (dubbed.video_label, dubbed.audio_label, dubbed.language, dubbed.gender, dubbed.age) == (1, 1, "ru", "female", "40")
    assert (dubbed.method, dubbed.category, dubbed.source_clip) == ("Bark+video_retalking", "es to ru", "real/es/es_1.mp4")
    assert (dubbed.identity, dubbed.split, dubbed.problem) == ("", "", "")
    assert table.has_audio.all()


def test_missing_and_unlisted(tmp_path: Path) -> None:
    table = read(tmp_path)
    assert len(table) == 2 + 3 + 1
    assert table[table.problem != ""].set_index("path").problem.to_dict() == {
        "fake/to_zh/en_7_to_zh_Xtts.mp4": "the file is missing",
        "fake/to_ru/stray.mp4": "the file is in no table",
    }


def test_the_makers_own_folder(tmp_path: Path) -> None:
    table = read(tmp_path, base="raw_dataset").set_index("path")
    assert table.problem["raw_dataset/real/es/es_1.mp4"] == ""
    assert table.source_clip["raw_dataset/fake/to_ru/es_1_to_ru_Xtts.mp4"] == "raw_dataset/real/es/es_1.mp4"
    assert table.problem["raw_dataset/fake/to_ru/stray.mp4"] == "the file is in no table"


def test_listed_twice(tmp_path: Path) -> None:
    table = read(tmp_path, [*FAKES, FAKES[0]])
    assert table[table.path == "fake/to_ru/es_1_to_ru_Xtts.mp4"].problem.tolist() == ["", "the file is listed before"]


def test_contradictions(tmp_path: Path) -> None:
    fakes = [
        fake("es_1_to_ru_Xtts.mp4", source="es_99.mp4"),
        fake("es_1_to_ru_Bark.mp4", raw="fr"),
        fake("es_1_to_ru_Vall.mp4", tts=""),
    ]
    table = read(tmp_path, fakes).set_index("path")
    assert table.problem["fake/to_ru/es_1_to_ru_Xtts.mp4"] == (
        "its original es_99.mp4 is in no list; its name does not say that it is es_99.mp4 in ru"
    )
    assert table.problem["fake/to_ru/es_1_to_ru_Bark.mp4"] == "its original es_1.mp4 is in es, not in fr"
    assert table.problem["fake/to_ru/es_1_to_ru_Vall.mp4"] == "the list names no tts_technique; the file is missing"
    assert table.method["fake/to_ru/es_1_to_ru_Vall.mp4"] == "video_retalking"


def test_recognises(tmp_path: Path) -> None:
    assert PolyGlotFake().recognises(write_tree(tmp_path / "full"))
    (tmp_path / "empty").mkdir()
    assert not PolyGlotFake().recognises(tmp_path / "empty")


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"all_real_video.json: no such list; put the folder json_file"):
        PolyGlotFake().read(tmp_path)
    with pytest.raises(ValueError, match=r"all_fake_video.json: has no list 'video' of clips with filename, raw_video_name"):
        read(tmp_path, [{"filename": "es_1_to_ru_Xtts.mp4"}])
    (tmp_path / "json_file" / "real_json_file" / "all_real_video.json").write_text("{")
    with pytest.raises(ValueError, match=r"all_real_video.json: is no JSON"):
        PolyGlotFake().read(tmp_path)
