"""The badge, the signed manifest and the sidecar of an exported fake."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import noise_frames

from avwitness.generators.talking.export import marking
from avwitness.generators.talking.export.marking import GENERATION, SOURCE_TYPE, MarkedFile, badge, read_marks, write_marked
from avwitness.media.windows import read_clip

FRAMES = noise_frames(12)
VOICE = (0.1 * np.sin(2 * np.pi * 220.0 * np.arange(12 * 640) / 16_000.0)).astype(np.float32)
ABOUT: dict[str, Any] = {
    "model": "small",
    "seed": 7,
    "share": 0.25,
    "portrait": None,
    "words": ["bin", "blüe"],
    "drive": {"voice": "lpc", "on": True},
}


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the keys, which do not exist yet."""
    monkeypatch.setenv("AVWITNESS_KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys"


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarkedFile]:
    folder = tmp_path_factory.mktemp("marked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVWITNESS_KEYS", str(folder / "keys"))
        yield write_marked(folder / "fake.mp4", FRAMES, VOICE, ABOUT)


def complaints(marks: dict[str, Any]) -> set[str]:
    return {status["code"] for status in marks["validation_status"]}


def assertion(marks: dict[str, Any], label: str) -> Any:
    return next(item["data"] for item in marks["assertions"] if item["label"] == label)


def box(height: int, width: int, text: str = "SYNTHETIC") -> tuple[slice, slice]:
    """Rows and columns that a badge changes."""
    changed = badge(np.full((1, height, width, 3), 200, np.uint8), text)[0, ..., 0] != 200
    rows, columns = np.nonzero(changed)
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


@settings(max_examples=60)
@given(st.integers(96, 420), st.integers(96, 420), st.integers(0, 2**32 - 1))
def test_a_badge_lies_in_the_lower_left_corner(height: int, width: int, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    before = frames.copy()
    out = badge(frames)
    assert out.shape == frames.shape and out.dtype == np.uint8
    assert np.array_equal(frames, before)
    rows, columns = box(height, width)
    assert rows.start >= height // 2 and rows.stop <= height - 2  # an odd last row is cut when the file is encoded
    assert 2 <= columns.start < width // 16 and columns.stop <= width - 2
    outside = np.ones((height, width), dtype=bool)
    outside[rows, columns] = False
    assert np.array_equal(out[:, outside], frames[:, outside])
    assert not np.array_equal(out[:, rows, columns], frames[:, rows, columns])


@pytest.mark.parametrize(("height", "width", "letter"), [(96, 96, 8), (97, 131, 8), (240, 321, 11), (720, 1280, 32), (1280, 720, 32)])
def test_a_badge_scales_with_the_frame(height: int, width: int, letter: int) -> None:
    rows, columns = box(height, width)
    assert rows.stop - rows.start == letter + 2 * (letter // 2)
    assert 5 * letter < columns.stop - columns.start < 12 * letter
    frames = np.zeros((1, height, width, 3), np.uint8)
    frames[:, : height // 2] = 77
    assert (badge(frames)[:, : height // 2] == 77).all()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_letters_are_white_on_a_dark_box(level: int) -> None:
    rows, columns = box(96, 96)
    inside = badge(np.full((1, 96, 96, 3), level, np.uint8))[0, rows, columns]
    assert inside.max() == 255
    assert inside.min() == round(0.4 * level)  # the box is transparent
    assert 0.1 < np.mean(inside[..., 0] > 180) < 0.5


def test_longer_texts_get_smaller_letters() -> None:
    short, long = box(360, 360), box(360, 360, "SYNTHETIC, MADE WITH AVWITNESS")
    assert long[0].stop - long[0].start < short[0].stop - short[0].start
    assert long[1].stop <= 358


@pytest.mark.parametrize("shape", [(1, 40, 40, 3), (1, 400, 60, 3), (1, 20, 400, 3)])
def test_frames_too_small_for_a_badge_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{shape[2]}x{shape[1]} pixels are too small .* 96 pixels"):
        badge(np.zeros(shape, np.uint8))


def test_what_cannot_carry_a_badge_is_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[T, H, W, 3\], not float64"):
        badge(np.zeros((1, 96, 96, 3)))
    with pytest.raises(ValueError, match=r"not uint8 \[96, 96, 3\]"):
        badge(np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(ValueError, match="is blank"):
        badge(FRAMES, " ")


def test_a_marked_file_plays_and_shows_its_badge(marked: MarkedFile) -> None:
    clip = read_clip(marked.path)
    assert clip.frames is not None and clip.waveform is not None
    assert clip.frames.shape == FRAMES.shape and len(clip.waveform) >= len(VOICE)
    error = np.abs(clip.frames.astype(int) - badge(FRAMES)).mean(axis=(0, 3))
    rows, columns = box(*FRAMES.shape[1:3])
    assert error.mean() < 8.0 and error[rows, columns].mean() < 20.0  # but for what the codec does
    assert np.abs(clip.frames.astype(int) - FRAMES).mean(axis=(0, 3))[rows, columns].mean() > 40.0


def test_a_marked_file_holds_a_valid_manifest(marked: MarkedFile) -> None:
    marks = read_marks(marked.path)
    assert marks["validation_state"] == "Valid"
    assert complaints(marks) == {"signingCredential.untrusted"}
    assert marks["title"] == "fake.mp4"
    assert marks["signature_info"]["alg"] == "Es256"
    (generator,) = marks["claim_generator_info"]
    assert (generator["name"], generator["version"]) == ("avwitness", version("avwitness"))
    (action,) = assertion(marks, "c2pa.actions.v2")["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"] == SOURCE_TYPE and SOURCE_TYPE.endswith("/trainedAlgorithmicMedia")
    assert action["softwareAgent"] == {"name": "avwitness", "version": version("avwitness")}
    assert assertion(marks, GENERATION) == ABOUT
    assert all(item["created"] for item in marks["assertions"])  # the signer vouches for each


def test_sidecar_and_manifest_agree(marked: MarkedFile) -> None:
    assert marked == MarkedFile(marked.path, marked.path.with_name("fake.json"))
    said = json.loads(marked.sidecar.read_text(encoding="utf-8"))
    assert {name: said.pop(name) for name in ABOUT} == ABOUT
    age = datetime.now(UTC) - datetime.fromisoformat(said.pop("created"))
    assert timedelta(0) <= age < timedelta(hours=1)
    assert said == {
        "synthetic": True,
        "tool": "avwitness",
        "tool_version": version("avwitness"),
        "file": "fake.mp4",
        "sha256": hashlib.sha256(marked.path.read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize("place", [0.05, 0.5, 0.95])
def test_an_altered_file_is_invalid(place: float, marked: MarkedFile, tmp_path: Path) -> None:
    data = bytearray(marked.path.read_bytes())
    begin = data.index(b"mdat") + 4
    size = int.from_bytes(data[begin - 8 : begin - 4], "big") - 8
    data[begin + int(place * size)] ^= 1
    altered = tmp_path / "altered.mp4"
    altered.write_bytes(data)
    marks = read_marks(altered)
    assert marks["validation_state"] == "Invalid"
    assert "assertion.bmffHash.mismatch" in complaints(marks)


def test_an_altered_manifest_is_invalid(marked: MarkedFile, tmp_path: Path) -> None:
    data = marked.path.read_bytes()
    assert data.count(b"trainedAlgorithmicMedia") == 1
    altered = tmp_path / "altered.mp4"
    altered.write_bytes(data.replace(b"trainedAlgorithmicMedia", b"digitalCaptureOfReality"))
    marks = read_marks(altered)
    assert marks["validation_state"] == "Invalid"
    assert "assertion.hashedURI.mismatch" in complaints(marks)


def test_a_remux_strips_the_manifest(marked: MarkedFile, tmp_path: Path) -> None:
    remuxed = tmp_path / "remuxed.mp4"
    with av.open(str(marked.path)) as source, av.open(str(remuxed), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    assert read_clip(remuxed).frames is not None
    with pytest.raises(ValueError, match=r"remuxed\.mp4: no C2PA manifest .* strips"):
        read_marks(remuxed)


@pytest.mark.parametrize("content", [None, b"", b"this is no film\n" * 200])
def test_what_holds_no_manifest_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "odd.mp4").write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.mp4: no C2PA manifest"):
        read_marks(tmp_path / "odd.mp4")


def test_a_silent_and_odd_sided_clip_is_marked_too(tmp_path: Path) -> None:
    done = write_marked(tmp_path / "silent.mp4", FRAMES[:3, :97, :101], None, {})
    clip = read_clip(done.path)
    assert clip.waveform is None and clip.frames is not None and clip.frames.shape[1:3] == (96, 100)
    assert assertion(read_marks(done.path), GENERATION) == {}


def test_keys_are_made_once_and_kept_for_their_owner(keys: Path, tmp_path: Path) -> None:
    first = write_marked(tmp_path / "a.mp4", FRAMES[:2], None, ABOUT)
    (file,) = keys.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    made = file.read_bytes()
    second = write_marked(tmp_path / "b.mp4", FRAMES[:2], None, ABOUT)
    assert [f.read_bytes() for f in keys.iterdir()] == [made]
    serials = {read_marks(done.path)["signature_info"]["cert_serial_number"] for done in (first, second)}
    assert len(serials) == 1


def test_every_user_has_other_keys(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_marked(tmp_path / "a.mp4", FRAMES[:2], None, {})
    monkeypatch.setenv("AVWITNESS_KEYS", str(tmp_path / "others"))
    write_marked(tmp_path / "b.mp4", FRAMES[:2], None, {})
    assert (keys / marking.KEY_FILE).read_bytes() != (tmp_path / "others" / marking.KEY_FILE).read_bytes()


def test_keys_lie_where_configuration_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVWITNESS_KEYS")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    marking._signing_keys()
    assert (tmp_path / "home" / ".config" / "avwitness" / "keys" / marking.KEY_FILE).is_file()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    marking._signing_keys()
    assert (tmp_path / "config" / "avwitness" / "keys" / marking.KEY_FILE).is_file()


@pytest.mark.parametrize("left", [timedelta(0), timedelta(days=30)])
def test_keys_that_expire_are_made_anew(left: timedelta, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(marking, "VALIDITY", left)
        old = marking._signing_keys()
    done = write_marked(tmp_path / "a.mp4", FRAMES[:2], None, {})
    new = marking._signing_keys()
    assert new != old
    assert new == marking._signing_keys()
    assert b"".join(new) == (keys / marking.KEY_FILE).read_bytes()
    assert read_marks(done.path)["validation_state"] == "Valid"


@pytest.mark.parametrize("kind", ["garbage", "no certificate", "no key", "strangers", "folder", "encrypted"])
def test_keys_that_cannot_be_read_are_named(kind: str, keys: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

    key, certificates = marking._signing_keys()
    file = keys / marking.KEY_FILE
    if kind == "folder":
        file.unlink()
        file.mkdir()
    else:
        locked = load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
        texts = {
            "garbage": b"\x00no keys\n",
            "no certificate": key,
            "no key": certificates,
            "strangers": key + marking._issue_certificates()[1],
            "encrypted": locked + certificates,
        }
        file.write_bytes(texts[kind])
    with pytest.raises(ValueError, match=rf"{marking.KEY_FILE}: .*move it away to create new ones"):
        write_marked(tmp_path / "a.mp4", FRAMES[:2], None, {})
    assert not list(tmp_path.glob("*a.*"))


def test_keys_that_cannot_be_kept_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("AVWITNESS_KEYS", str(tmp_path / "file" / "keys"))
    with pytest.raises(ValueError, match="AVWITNESS_KEYS"):
        write_marked(tmp_path / "a.mp4", FRAMES[:2], None, {})


@pytest.mark.parametrize(
    ("name", "frames", "about", "says"),
    [
        ("a.mov", FRAMES, {}, r"end its name in \.mp4"),
        ("no/a.mp4", FRAMES, {}, r"make the folder .*no first"),
        ("folder.mp4", FRAMES, {}, "is a folder"),
        ("a.mp4", FRAMES[:0], {}, "no frame"),
        ("a.mp4", FRAMES[:, :40, :40], {}, "too small"),
        ("a.mp4", FRAMES, {"loss": float("nan")}, r"a\.mp4: .*JSON values"),
        ("a.mp4", FRAMES, {"loss": np.float32(1.0)}, "JSON values"),
        ("a.mp4", FRAMES, {"synthetic": False, "sha256": "0"}, "reserves the fields sha256, synthetic"),
        ("a.mp4", FRAMES[:2], {"seed": 2**63}, r"a\.mp4: could not be signed"),
    ],
)
def test_a_failure_leaves_nothing(name: str, frames: np.ndarray, about: dict[str, Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match=says):
        write_marked(tmp_path / name, frames, VOICE, about)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"folder.mp4", "keys"}


def test_a_failure_while_writing_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = write_marked(tmp_path / "a.mp4", FRAMES[:2], VOICE[:1280], ABOUT)
    before = done.path.read_bytes(), done.sidecar.read_bytes()
    names = sorted(entry.name for entry in tmp_path.iterdir())
    # A certificate that is not valid yet: c2pa refuses to sign with it.
    monkeypatch.setattr(marking, "CLOCK_SKEW", timedelta(days=-10))
    monkeypatch.setenv("AVWITNESS_KEYS", str(tmp_path / "keys" / "early"))
    with pytest.raises(ValueError, match="could not be signed with"):
        write_marked(done.path, FRAMES[:2], VOICE[:1280], {})
    assert (done.path.read_bytes(), done.sidecar.read_bytes()) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == names


def test_without_c2pa_the_error_names_the_extra(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["c2pa"] = None
import numpy as np
from avwitness.generators.talking.export.marking import badge, read_marks, write_marked
frames = badge(np.zeros((2, 96, 96, 3), np.uint8))
for go in (lambda: write_marked({str(tmp_path / "a.mp4")!r}, frames, None, {{}}), lambda: read_marks("a.mp4")):
    try:
        go()
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("c2pa" in line and "pip install avwitness[generate]" in line and "a.mp4: " in line for line in lines)


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    code = "import sys, avwitness.generators.talking.export.marking; print([m for m in ('c2pa', 'cryptography') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
