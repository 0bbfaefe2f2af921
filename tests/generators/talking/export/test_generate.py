"""From the command to a marked file: consent, options, seeds, marks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from makers import Talk
from typer.testing import CliRunner

from avwitness.cli import app
from avwitness.generators.demo import second_portrait
from avwitness.generators.talking.export.generate import SAMPLE, GenerationRequest, check_request, generate
from avwitness.generators.talking.export.marking import GENERATION, read_marks
from avwitness.generators.talking.export.samples import write_samples
from avwitness.generators.talking.models.base import Attitude
from avwitness.generators.talking.models.registry import HEADS
from avwitness.media.clip import MediaError
from avwitness.media.encode import write_media
from avwitness.media.windows import read_clip


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVWITNESS_KEYS", str(tmp_path / "keys"))


@pytest.fixture(scope="module")
def voice(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_media(tmp_path_factory.mktemp("voice") / "voice.wav", None, talk.waveform[: 16_000 * 6 // 5], audio_codec="pcm_s16le")


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("face") / "face.png"
    cv2.imwrite(str(file), cv2.cvtColor(second_portrait(), cv2.COLOR_RGB2BGR))
    return file


def order(name: str, voice: Path, talk_file: Path, out: Path, **given: object) -> GenerationRequest:
    needs = HEADS[name].needs
    extra = {need: str(talk_file) for need in needs}
    return GenerationRequest(name, **({"source": SAMPLE, "audio": str(voice), "out": str(out)} | extra | given))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_makes_a_marked_file(name: str, voice: Path, talk_file: Path, tmp_path: Path) -> None:
    (made,) = generate(order(name, voice, talk_file, tmp_path / "fake.mp4"))
    clip = read_clip(made.path)
    assert clip.frames is not None and clip.waveform is not None
    assert abs(len(clip.frames) - 30) <= 1
    assert clip.frames.std(axis=0).max() > 2.0  # something moves
    notes = json.loads(made.sidecar.read_text())
    assert notes["synthetic"] is True and notes["generator"] == name and "public domain" in notes["consent"]
    assert set(notes["inputs"]) == {"audio", *HEADS[name].needs}
    marks = read_marks(made.path)
    assert marks["validation_state"] in ("Valid", "Trusted")
    assert any(a["label"] == GENERATION and a["data"]["generator"] == name for a in marks["assertions"])


@pytest.mark.slow
def test_several_seeds_give_several_motions(voice: Path, talk_file: Path, tmp_path: Path) -> None:
    made = list(generate(order("font", voice, talk_file, tmp_path / "fake.mp4", seeds=(1, 2))))
    assert [m.path.name for m in made] == ["fake-1.mp4", "fake-2.mp4"]
    one, two = (read_clip(m.path).frames for m in made)
    assert one is not None and two is not None
    assert np.abs(one[-1].astype(int) - two[-1]).mean() > 0.2
    assert [json.loads(m.sidecar.read_text())["seed"] for m in made] == [1, 2]


@pytest.mark.slow
def test_an_image_of_a_person_needs_consent(face: Path, voice: Path, talk_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--consent"):
        check_request(order("font", voice, talk_file, tmp_path / "fake.mp4", source=str(face)))
    with pytest.raises(ValueError, match="--consent"):
        check_request(order("font", voice, talk_file, tmp_path / "fake.mp4", source=str(face), consent="  "))
    consent = "G. H., by letter of 2 May"
    (made,) = generate(order("font", voice, talk_file, tmp_path / "fake.mp4", source=str(face), consent=consent))
    notes = json.loads(made.sidecar.read_text())
    assert notes["consent"] == consent
    assert notes["inputs"]["source"]["name"] == "face.png" and len(notes["inputs"]["source"]["sha256"]) == 64
    assert str(face.parent) not in made.sidecar.read_text()


@pytest.mark.slow
def test_a_clip_can_be_the_source(voice: Path, talk_file: Path, tmp_path: Path) -> None:
    (made,) = generate(order("osm-net", voice, talk_file, tmp_path / "fake.mp4", source=str(talk_file), consent="ours"))
    clip, genuine = read_clip(made.path), read_clip(talk_file)
    assert clip.frames is not None and genuine.frames is not None
    assert clip.frames.shape[1:] == genuine.frames.shape[1:]


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("opt", {"pose": None}, "--pose"),
        ("mfr-net", {"speaker": None}, "--speaker"),
        ("font", {"audio": None}, "--audio"),
        ("font", {"pose": "clip.mp4"}, "--pose"),
        ("osm-net", {"speaker": "clip.mp4"}, "--speaker"),
        ("opt", {"attitude": Attitude.positive}, "--attitude"),
    ],
)
def test_options_that_do_not_fit_are_named(
    name: str, given: dict[str, object], told: str, voice: Path, talk_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=told):
        check_request(order(name, voice, talk_file, tmp_path / "fake.mp4", **given))


def test_files_that_do_not_fit_are_named(voice: Path, talk_file: Path, talk: Talk, tmp_path: Path) -> None:
    silent = write_media(tmp_path / "silent.mp4", talk.frames[:10])
    empty = tmp_path / "grey.png"
    cv2.imwrite(str(empty), np.full((200, 200, 3), 128, np.uint8))
    for given, told in (
        ({"audio": str(silent)}, "no sound"),
        ({"source": str(empty), "consent": "ours"}, "no face"),
        ({"source": str(tmp_path / "none.png"), "consent": "ours"}, "no such file"),
    ):
        with pytest.raises(MediaError, match=told):
            list(generate(order("font", voice, talk_file, tmp_path / "fake.mp4", **given)))
    assert not (tmp_path / "fake.mp4").exists()


@pytest.mark.slow
def test_the_speakers_audio_is_the_default_of_a_listener(talk_file: Path, voice: Path, tmp_path: Path) -> None:
    (made,) = generate(order("mfr-net", voice, talk_file, tmp_path / "fake.mp4", audio=None, attitude=Attitude.negative))
    clip, speaker = read_clip(made.path), read_clip(talk_file)
    assert clip.waveform is not None and speaker.waveform is not None
    assert abs(len(clip.waveform) - len(speaker.waveform)) < 3000
    assert json.loads(made.sidecar.read_text())["attitude"] == "negative"


@pytest.mark.slow
def test_the_command(voice: Path, tmp_path: Path) -> None:
    out = tmp_path / "fake.mp4"
    run = CliRunner().invoke(app, ["generate", "font", "--source", "sample", "--audio", str(voice), "--seed", "3", "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert out.exists() and out.with_suffix(".json").exists()
    for words, status in (
        (["generate", "font", "--source", "me.jpg", "--audio", str(voice), "--out", str(out)], 2),
        (["generate", "opt", "--source", "sample", "--audio", str(voice), "--out", str(out)], 2),
        (["generate", "font", "--source", "sample", "--audio", str(tmp_path / "none.wav"), "--out", str(out)], 1),
        (["generate", "nobody", "--source", "sample", "--audio", str(voice), "--out", str(out)], 2),
    ):
        assert CliRunner().invoke(app, words).exit_code == status, words


@pytest.mark.slow
def test_the_samples_are_one_of_every_head(tmp_path: Path) -> None:
    made = [m.path.name for m in write_samples(tmp_path / "samples")]
    assert sorted(made) == sorted(f"{name}.mp4" for name in HEADS)
    assert sorted(p.suffix for p in (tmp_path / "samples").iterdir()) == [".json"] * 4 + [".mp4"] * 4
