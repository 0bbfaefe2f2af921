from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avwitness.datasets.deepfake.fakeavceleb import FakeAVCeleb

HEADER = "source,target1,target2,method,category,type,race,gender,path,"
REAL, FAKE_AUDIO, FAKE_VIDEO, FAKE = "RealVideo-RealAudio", "RealVideo-FakeAudio", "FakeVideo-RealAudio", "FakeVideo-FakeAudio"


def line(method: str, letter: str, kind: str, file: str, targets: str = "-,-", person: str = "African,men,id00076") -> str:
    race, gender, source = person.split(",")
    return f"{source},{targets},{method},{letter},{kind},{race},{gender},{file},FakeAVCeleb/{kind}/{race}/{gender}/{source}"


LINES = [
    line("real", "A", REAL, "00109.mp4"),
    line("rtvc", "B", FAKE_AUDIO, "00109_fake.mp4", "fake.mp4,-"),
    line("wav2lip", "C", FAKE_VIDEO, "00109_id00166_wavtolip.mp4", "id00166,-"),
    line("faceswap", "C", FAKE_VIDEO, "00109_id00476_Qh1.mp4", "id00476,-"),
    line("fsgan", "C", FAKE_VIDEO, "00109_1_id00476.mp4", "1,id00476"),
    line("wav2lip", "D", FAKE, "00109_2_id00166_wavtolip.mp4", "id00166,2"),
    line("faceswap-wav2lip", "D", FAKE, "00109_id00476_Qh1_wavtolip.mp4", "id00476,-"),
    line("fsgan-wav2lip", "D", FAKE, "00028_id01_wavtolip.mp4", "id01,3", "Caucasian (American),women,id00025"),
]


def write_tree(root: Path, lines: list[str], below: str = "", header: str = HEADER) -> Path:
    """A miniature of the published layout, with every file that the lines name but for those called ``gone``."""
    root.mkdir(parents=True, exist_ok=True)
    for text in lines:
        *_, name, folder = text.split(",")
        file = root / below / folder.removeprefix("FakeAVCeleb/") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not name.startswith("gone"):
            file.write_bytes(b"mp4")
    (root / "meta_data.csv").write_text("\n".join((header, *lines)) + "\n")
    return root


def problems(root: Path, *more: str) -> list[str]:
    table = FakeAVCeleb().read(write_tree(root, [*LINES, *more]))
    assert len(table) == len(LINES) + len(more), "no row is dropped"
    return table.problem.tolist()


def test_good_rows(tmp_path: Path) -> None:
    table = FakeAVCeleb().read(write_tree(tmp_path, LINES))
    assert table.problem.tolist() == [""] * 8
    assert table.video_label.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert table.audio_label.tolist() == [0, 1, 0, 0, 0, 1, 1, 1]
    assert table.category.tolist() == ["RVRA", "RVFA", "FVRA-WL", "FVRA-FS", "FVRA-GAN", "FVFA-WL", "FVFA-FS", "FVFA-GAN"]
    assert table.method.tolist() == ["real", "rtvc", "wav2lip", "faceswap", "fsgan", "wav2lip", "faceswap-wav2lip", "fsgan-wav2lip"]
    assert table.identity.tolist() == ["id00076"] * 7 + ["id00025"]
    assert table.ethnicity.tolist() == ["African"] * 7 + ["Caucasian (American)"]
    assert table.gender.tolist() == ["men"] * 7 + ["women"]
    assert set(table.split) == set(table.language) == set(table.age) == {""}
    assert set(table.video_intervals) == set(table.audio_intervals) == {""}
    assert set(table.corpus) == {"fakeavceleb"}
    assert table.path[5] == "FakeVideo-FakeAudio/African/men/id00076/00109_2_id00166_wavtolip.mp4"
    assert table.file[5] == tmp_path / table.path[5]


def test_a_fake_names_the_genuine_clip_it_was_made_from_where_that_is_listed(tmp_path: Path) -> None:
    table = FakeAVCeleb().read(write_tree(tmp_path, LINES))
    assert table.source_clip.tolist()[:7] == ["RealVideo-RealAudio/African/men/id00076/00109.mp4"] * 7
    assert table.source_clip[7] == table.path[7]  # nobody lists 00028.mp4 of id00025


@pytest.mark.parametrize(("inside", "below"), [("", "FakeAVCeleb"), ("FakeAVCeleb_v1.2", ""), ("FakeAVCeleb_v1.2", "FakeAVCeleb")])
def test_the_folders_may_lie_deeper(tmp_path: Path, inside: str, below: str) -> None:
    write_tree(tmp_path / inside, LINES, below)
    assert FakeAVCeleb().recognises(tmp_path)
    table = FakeAVCeleb().read(tmp_path)
    assert not table.problem.any()
    assert table.path[0] == Path(inside, below, "RealVideo-RealAudio/African/men/id00076/00109.mp4").as_posix()
    assert table.source_clip[1] == table.path[0]


@pytest.mark.filterwarnings("ignore::pandas.errors.ParserWarning")
def test_a_header_without_its_trailing_comma_is_read_all_the_same(tmp_path: Path) -> None:
    table = FakeAVCeleb().read(write_tree(tmp_path, LINES, header=HEADER.rstrip(",")))
    assert not table.problem.any()
    assert table.identity[0] == "id00076"


def test_missing_and_unlisted_files_are_told(tmp_path: Path) -> None:
    write_tree(tmp_path, [*LINES, line("wav2lip", "D", FAKE, "gone.mp4")])
    stray = tmp_path / FAKE / "African" / "men" / "id00076" / "stray.mp4"
    stray.write_bytes(b"mp4")
    table = FakeAVCeleb().read(tmp_path)
    assert table.problem.tolist() == [""] * 8 + ["the file is missing", "the file is in no table"]
    last = table.iloc[-1]
    assert last.path == "FakeVideo-FakeAudio/African/men/id00076/stray.mp4"
    assert pd.isna(last.video_label) and pd.isna(last.audio_label)


def test_a_repeated_line_keeps_its_first(tmp_path: Path) -> None:
    assert problems(tmp_path, LINES[2]) == [""] * 8 + ["the file is listed before"]


def test_a_file_with_two_methods_is_suspect_in_both_rows(tmp_path: Path) -> None:
    found = problems(tmp_path, line("fsgan-wav2lip", "D", FAKE, "00109_2_id00166_wavtolip.mp4"))
    expected = "the file is listed with the methods wav2lip and fsgan-wav2lip"
    assert found == [""] * 5 + [expected, "", "", f"{expected}; the file is listed before"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line("faceswap", "D", FAKE, "a.mp4"), "the method 'faceswap' does not make a FakeVideo-FakeAudio"),
        (line("real", "B", REAL, "a.mp4"), "the category 'B' is not that of RealVideo-RealAudio"),
        (line("real", "A", "Real", "a.mp4"), "the type 'Real' is none of RealVideo-RealAudio, "),
        (
            line("real", "A", REAL, "a.mp4").replace("FakeAVCeleb/RealVideo-RealAudio", "FakeAVCeleb/FakeVideo-RealAudio"),
            "the directory FakeVideo-RealAudio/African/men/id00076 is not that of id00076 in RealVideo-RealAudio",
        ),
    ],
)
def test_a_contradictory_row_has_a_problem(tmp_path: Path, text: str, expected: str) -> None:
    *others, found = problems(tmp_path, text)
    assert others == [""] * 8
    assert found.startswith(expected)


def test_an_unknown_type_gives_no_labels(tmp_path: Path) -> None:
    last = FakeAVCeleb().read(write_tree(tmp_path, [line("real", "A", "Real", "a.mp4")])).iloc[-1]
    assert pd.isna(last.video_label) and pd.isna(last.audio_label)
    assert last.category == ""


def test_recognises(tmp_path: Path) -> None:
    assert not FakeAVCeleb().recognises(tmp_path)
    (tmp_path / "meta_data.csv").write_text(HEADER)  # a common name, which says nothing without the folders
    assert not FakeAVCeleb().recognises(tmp_path)
    assert FakeAVCeleb().recognises(write_tree(tmp_path, LINES))


def test_errors_name_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/meta_data.csv: no such table; name the folder FakeAVCeleb_v1.2"):
        FakeAVCeleb().read(tmp_path / "nowhere")
    (tmp_path / "meta_data.csv").write_text("source,method,path,\na,b,c,d\n")
    with pytest.raises(ValueError, match=r"meta_data.csv: the columns target1, target2, category, type, race, gender are missing"):
        FakeAVCeleb().read(tmp_path)
    (tmp_path / "meta_data.csv").write_text("")
    with pytest.raises(ValueError, match=r"meta_data.csv: cannot be read as a table"):
        FakeAVCeleb().read(tmp_path)
