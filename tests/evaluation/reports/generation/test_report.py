"""Metrics of generated heads on synthetic values, and the section on generation."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import Talk

from avwitness.checkpoints import BUNDLED
from avwitness.evaluation.reports.generation import listening, networks, sheets, talking
from avwitness.evaluation.reports.generation import report as generation
from avwitness.evaluation.reports.generation.disentanglement import SpeakerClips, content_table, speaker_accuracy
from avwitness.evaluation.reports.generation.listening import ListenerSamples, listener_row, mean_smile, nods_to_shakes
from avwitness.evaluation.reports.generation.networks import Networks
from avwitness.evaluation.reports.generation.sheets import MAX_SHEET_BYTES, SHEET_COLUMNS, load_portrait, oscillating_pose, write_sheets
from avwitness.evaluation.reports.generation.similarity import (
    MAX_PSNR,
    STRIDE,
    compare,
    diversity,
    format_interval,
    frontal,
    jitter,
    liveliness,
    mean_interval,
    mouth_distance,
    mouths_of_landmarks,
    pose_distance,
    psnr,
    sample_distances,
    ssim,
    track_heads,
    verification_auc,
)
from avwitness.evaluation.reports.generation.talking import HeadResults, Scene, motion_generators, motion_table, similarity_table
from avwitness.generators.methods.source import Source
from avwitness.generators.talking.models.base import Attitude, Portrait, TalkingHead
from avwitness.generators.talking.models.font import Font, FontConfig
from avwitness.generators.talking.models.mfr_net import MfrNet, MfrNetConfig
from avwitness.generators.talking.models.opt import Opt, OptConfig
from avwitness.generators.talking.models.osm_net import OsmNet, OsmNetConfig
from avwitness.generators.talking.rendering.head_clips import HeadClip
from avwitness.generators.talking.rendering.head_crops import crop_heads, head_box
from avwitness.generators.talking.rendering.identity import IdentityConfig, IdentityNetwork
from avwitness.generators.talking.rendering.motion import EXPRESSION_SIZE, Motion
from avwitness.generators.talking.rendering.renderer import Renderer, RendererConfig
from avwitness.generators.weights import load_network, save_network
from avwitness.media.face.geometry import mean_face
from avwitness.media.face.landmarks import LIPS
from avwitness.media.face.mouth import CROP_SIZE

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = RendererConfig(keypoint_detector=8, flow=(8, 8, 8), decoder=(8, 8, 16), blocks=1)


def turned(points: np.ndarray, yaw: float, pitch: float, roll: float, scale: float, shift: float) -> np.ndarray:
    """Points [..., 3] moved as a rigid head."""
    (a, b, c), (d, e, f) = (np.cos((yaw, pitch, roll)), np.sin((yaw, pitch, roll)))
    about = (
        np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
        @ np.array([[1, 0, 0], [0, b, -e], [0, e, b]])
        @ np.array([[a, 0, d], [0, 1, 0], [-d, 0, a]])
    )
    return scale * points @ about.T + shift


def faces(count: int = 3) -> np.ndarray:
    """Mean faces [count, 478, 3] in pixels, outer eye corners 80 apart."""
    return np.repeat(mean_face()[None].astype(np.float64), count, axis=0) * 80.0 + 128.0


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 230, (count, 96, 96, 3), dtype=np.uint8)


def table(lines: list[str]) -> list[list[str]]:
    """Cells of a markdown table, the header first; all rows are equally long."""
    assert lines[-1] == "" and set(lines[1]) == {"|", "-"}
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:-1] if line is not lines[1]]
    assert len({len(row) for row in rows}) == 1
    return rows


def test_psnr_and_ssim_of_equal_images() -> None:
    pictures = noise(2)
    assert psnr(pictures, pictures) == MAX_PSNR
    assert ssim(pictures, pictures) == pytest.approx(1.0)


@pytest.mark.parametrize("off", [1, 5, 20])
def test_psnr_of_a_known_error(off: int) -> None:
    pictures = noise(2)
    assert psnr(pictures, pictures + np.uint8(off)) == pytest.approx(20.0 * np.log10(255.0 / off), abs=1e-6)
    assert ssim(pictures, noise(2, seed=1)) < 0.1


@settings(max_examples=20)
@given(st.floats(-0.5, 0.5), st.floats(-0.4, 0.4), st.floats(-0.5, 0.5), st.floats(0.5, 2.0), st.floats(-50.0, 50.0))
def test_lip_distance_does_not_depend_on_pose(yaw: float, pitch: float, roll: float, scale: float, shift: float) -> None:
    real, made = faces(), faces()
    made[:, list(LIPS), 0] += 1.6  # of 80
    moved = turned(made, yaw, pitch, roll, scale, shift)
    assert mouth_distance(real, real) == pytest.approx(0.0, abs=1e-4)
    assert mouth_distance(real, made) == pytest.approx(2.0, abs=1e-3)
    assert mouth_distance(real, moved) == pytest.approx(2.0, abs=1e-3)
    assert mouth_distance(moved, real) == pytest.approx(2.0, abs=1e-3)
    assert np.allclose(frontal(moved), frontal(made), atol=1e-5)


def test_pose_distance() -> None:
    real = faces()
    assert pose_distance(real, real) == 0.0
    moved = real + np.array([0.6, 0.8, 0.0]) * 4.0  # of 80
    assert pose_distance(real, moved) == pytest.approx(5.0, abs=1e-4)
    deeper = real + np.array([0.0, 0.0, 9.0])  # depth is not compared
    assert pose_distance(real, deeper) == 0.0
    spoken = real.copy()
    spoken[:, list(LIPS)] += 5.0
    assert pose_distance(real, spoken) == 0.0


def test_deviations_and_distances_by_hand() -> None:
    still = np.ones((4, 10, 6))
    assert diversity(still) == 0.0 and liveliness(still[0]) == 0.0 and jitter(still[0]) == 0.0
    apart = np.array([0.0, 2.0])[:, None, None] * np.ones((2, 10, 6))
    assert diversity(apart) == pytest.approx(2.0**0.5)
    slope = np.arange(10.0)[:, None] * np.ones((10, 6))
    assert liveliness(slope) == pytest.approx(np.arange(10).std()) and jitter(slope) == 0.0
    shaken = np.where(np.arange(10) % 2, 1.0, -1.0)[:, None] * np.ones((10, 6))
    assert liveliness(shaken) == 1.0 and jitter(shaken) == 4.0
    assert sample_distances(apart, np.full((10, 6), 0.5)) == (1.0, 0.5)


@settings(max_examples=15)
@given(st.lists(st.floats(-50.0, 50.0), min_size=5, max_size=30), st.integers(0, 100))
def test_mean_interval(values: list[float], seed: int) -> None:
    found = mean_interval([*values, float("nan")], seed)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9 or len(values) < 8
    assert found.value == pytest.approx(np.mean(values), abs=1e-9)
    assert found == mean_interval(values, seed)


def test_format_interval() -> None:
    assert format_interval(mean_interval([float("nan")], 0), 2) == "-"
    assert format_interval(mean_interval([1.0] * 5, 0), 1) == "1.0 [1.0, 1.0]"
    assert format_interval(mean_interval([1.0] * 4, 0), 1) == "1.0"


def test_verification_auc() -> None:
    vectors = np.repeat(np.eye(3), 4, axis=0)
    who = [name for name in "abc" for _ in range(4)]
    assert verification_auc(vectors, who) == 1.0
    assert verification_auc(np.ones((12, 3)), who) == 0.5
    assert np.isnan(verification_auc(np.eye(2), ["a", "a"]))


def test_similarity_of_heads_to_themselves(talk: Talk) -> None:
    from avwitness.media.face.tracking import FaceTracker

    with FaceTracker(stride=4) as tracker:
        found = tracker.track(talk.frames[:9])[0].landmarks
    box = head_box(found)
    heads = crop_heads(talk.frames[:9], box)
    real = track_heads(heads)
    assert np.array_equal(real.detected, np.arange(9) % STRIDE == 0)
    assert real.mouths.shape == (9, CROP_SIZE, CROP_SIZE) and real.mouths.any(axis=(1, 2)).all()
    # Landmarks of the whole frame give similar mouth crops; in a small head the detected lips differ slightly.
    known = mouths_of_landmarks(heads, box.to_unit(found), np.ones(9, bool))
    assert np.corrcoef(known.ravel(), real.mouths.ravel())[0, 1] > 0.9
    network = IdentityNetwork(IdentityConfig(widths=(8, 8, 8, 8), dimensions=8)).eval()
    same = compare(real, real, network)
    assert (same.psnr, same.mouth, same.pose, same.missed, same.n_frames) == (MAX_PSNR, 0.0, 0.0, 0, 4)
    assert same.ssim == pytest.approx(1.0) and same.identity == pytest.approx(1.0)
    blind = track_heads(noise(9))
    other = compare(real, blind, network)
    assert not blind.detected.any() and other.missed == other.n_frames == 4
    assert np.isnan(other.mouth) and np.isnan(other.pose) and np.isnan(other.identity) and other.psnr < 20.0
    rows = table(
        similarity_table({"genuine": HeadResults([], []), "self": HeadResults([same], []), "noise": HeadResults([other, same], [])}, 0)
    )
    assert [row[0] for row in rows[1:]] == ["self", "noise"]
    assert rows[1][-1] == "0 of 4" and rows[2][-1] == "4 of 8" and rows[1][3] == "0.0"


@pytest.fixture(scope="module")
def trained() -> Networks:
    """Networks with random weights."""
    torch.manual_seed(0)
    renderer = Renderer(TINY).eval()
    renderer.space.projection.normal_(0.0, 0.02)
    renderer.space.basis.normal_(0.0, 0.002)
    heads: dict[str, TalkingHead] = {
        "font": Font(FontConfig(width=16)),
        "opt": Opt(OptConfig(width=16)),
        "osm-net": OsmNet(OsmNetConfig(width=16)),
        "mfr-net": MfrNet(MfrNetConfig(width=32, renderer=TINY)),
    }
    ablated: dict[str, TalkingHead] = {"font": Font(FontConfig(width=16, sampling=False)), "osm-net": OsmNet(OsmNetConfig(16, space=False))}
    heads["osm-net"].bases.normal_()  # type: ignore[union-attr, operator]
    for head in (*heads.values(), *ablated.values()):
        head.eval().space.load_state_dict(renderer.space.state_dict())
    return Networks(renderer, heads, ablated, IdentityNetwork(IdentityConfig(widths=(8, 8, 8, 8), dimensions=8)).eval())


@pytest.fixture(scope="module")
def scene(trained: Networks) -> Scene:
    rng = np.random.default_rng(0)
    portrait = Portrait.from_crop(noise(1)[0], mean_face().astype(np.float32), trained.renderer.space)
    pose = portrait.motion.pose + np.cumsum(rng.normal(0.0, 0.02, (30, 6)), axis=0).astype(np.float32)
    motion = Motion(np.concatenate([portrait.motion.pose, pose[1:]]), np.zeros((30, EXPRESSION_SIZE), np.float32))
    return Scene(portrait, noise(30), motion, rng.normal(size=(30, 320)).astype(np.float32), np.zeros(30 * 640, np.float32))


def test_deterministic_heads_have_no_diversity(trained: Networks, scene: Scene) -> None:
    assert list(motion_generators(trained)) == ["FONT", "FONT without pose sampling", "OPT", "OSM-Net", "OSM-Net without motion space"]
    rows = {row[0]: row[1:] for row in table(motion_table([scene], trained, 0))[1:]}
    assert rows["FONT without pose sampling"][0] == rows["OSM-Net without motion space"][0] == rows["OPT"][0] == "0.00"
    assert float(rows["FONT"][0]) > 0.0 and float(rows["OSM-Net"][0]) > 0.0
    assert float(rows["OPT"][3]) == 0.0, "it follows the genuine pose"
    assert rows["OPT"][1:3] == rows["genuine heads"][1:3]
    assert float(rows["OSM-Net"][4]) <= float(rows["OSM-Net"][3])
    assert float(rows["still source"][1]) == 0.0 < float(rows["still source"][3])


def voices(people: Mapping[str, float], seed: int = 0) -> SpeakerClips:
    """Noise around the level of each speaker."""
    rng = np.random.default_rng(seed)
    who = [name for name in people for _ in range(8)]
    return SpeakerClips([rng.normal(people[name], 1.0, (20, 320)).astype(np.float32) for name in who], who)


def test_speaker_accuracy() -> None:
    loud, alike = voices({"a": -1.0, "b": 0.0, "c": 1.0}), voices({"a": 0.0, "b": 0.0, "c": 0.0})
    assert speaker_accuracy(loud.audio, loud.speakers, 0) == (1.0, 1.0)
    assert max(speaker_accuracy(alike.audio, alike.speakers, 0)) < 0.8


def test_normalised_log_mel_has_no_level(trained: Networks) -> None:
    rows = table(content_table(trained.heads["opt"], None, voices({"a": -1.0, "b": 0.0, "c": 1.0}), 0))
    assert [row[0].split(" ")[0] for row in rows[1:]] == ["content", "log-mel,", "log-mel", "chance,"]
    assert rows[3][1:] == ["100 %", "100 %"] and rows[4][1:] == ["33 %", "33 %"]
    assert int(rows[2][1].split()[0]) < 80


def test_smiles_and_nods_by_hand() -> None:
    smiling = np.zeros(EXPRESSION_SIZE, np.float32)
    smiling[3] = 2.0
    draws = np.zeros((2, 20, 6 + EXPRESSION_SIZE), np.float32)
    draws[0, :, 6 + 3], draws[1, :, 6 + 3] = 1.0, -2.0
    assert mean_smile(draws, smiling) == pytest.approx([0.5, -1.0])
    draws[..., 1], draws[..., 0] = 2.0 * np.sin(np.arange(20)), np.sin(np.arange(20))
    assert nods_to_shakes([ListenerSamples(Attitude.positive, draws[0], draws)]) == pytest.approx(4.0)
    positive, negative = ListenerSamples(Attitude.positive, draws[0], draws), ListenerSamples(Attitude.negative, draws[1], draws[1:])
    cells = listener_row([positive, negative], smiling)
    assert cells[6] == "67 %" and cells[7:] == ["4.00", "-", "4.00"]
    assert float(cells[1]) == 0.0 and float(cells[3]) == 0.0, "the best draw is the rule's own"


def test_sheets(trained: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "SHEET_SECONDS", 0.6)
    monkeypatch.setattr(sheets, "SHEET_ROWS", 1)
    files = list(write_sheets(trained, tmp_path, 0))
    assert [sheet.name for sheet in files] == [f"generated_{name}.jpg" for name in ("font", "opt", "osm-net", "mfr-net")]
    portrait = load_portrait("collins", trained.renderer.space)
    for sheet in files:
        assert sheet.stat().st_size < MAX_SHEET_BYTES
        picture = cv2.cvtColor(cv2.imread(str(sheet)), cv2.COLOR_BGR2RGB)
        assert picture.shape[0] == 2 * 96 + 18 and picture.shape[1] > (SHEET_COLUMNS + 1) * 96
        left = picture.shape[1] - (SHEET_COLUMNS + 1) * 96
        assert np.abs(picture[18 : 18 + 96, left : left + 96].astype(int) - portrait.head).mean() < 8.0
    swing = oscillating_pose(20, 2, trained.renderer.space)
    assert np.ptp(swing[:, 2]) > 1.0 and not swing[:, [0, 1, 3, 4, 5]].any() and not swing[0].any()


def test_ablations_take_the_settings_of_the_card(trained: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    points = np.repeat(mean_face()[None], 30, axis=0).astype(np.float32)
    arrays = (noise(30), points, np.zeros((30, 6), np.float32), np.ones(30, bool), rng.normal(size=(30, 320)).astype(np.float32))
    save_network(trained.heads["font"], tmp_path / "bundled" / "font", {"training": {"minutes": 0.005, "batch": 2, "model": {}, "gone": 1}})
    monkeypatch.setitem(BUNDLED, "generators", tmp_path / "bundled")
    networks.train_ablation("font", [HeadClip("a.mp4", "a", "demo", *arrays)], trained.renderer, trained.identity, tmp_path / "font")
    card = json.loads((tmp_path / "font" / "card.json").read_text())
    assert card["model"] == {"width": 16, "latent": 8, "sampling": False} == card["training"]["model"]
    assert (card["training"]["minutes"], card["training"]["batch"]) == (0.005, 2)
    made = load_network(Font, tmp_path / "font")
    assert torch.allclose(made.space.projection, trained.renderer.space.projection, atol=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("followed")
def test_the_section_is_written(
    people: Path, followed: dict[str, Source], trained: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pd.read_csv(people / "manifest.csv", keep_default_na=False)
    rows = rows[rows.path.str.contains(r"(?:collins|hopper)-\d")].copy()
    rows["path"] = [str(people / path) for path in rows.path]
    rows["split"] = ["dev" if path.endswith("-1.mp4") else "train" for path in rows.path]
    rows["corpus"] = ["grid" if "collins" in path else "lrc_ar" for path in rows.path]
    rows.to_csv(tmp_path / "manifest.csv", index=False)
    for module, name, value in (
        (generation, "N_CLIPS", {"grid": 1, "lrc_ar": 1}),
        (talking, "MAX_FRAMES", 16),
        (generation, "CALIBRATION_CLIPS", {"lrc_ar": (1, 0), "grid": (1, 0)}),
        (listening, "N_DYADS", 3),
        (listening, "N_SAMPLES", 2),
        (sheets, "SHEET_SECONDS", 0.6),
        (sheets, "SHEET_ROWS", 1),
    ):
        monkeypatch.setattr(module, name, value)
    out = tmp_path / "docs" / "RESULTS.md"
    out.parent.mkdir()
    out.write_text("# Results\n\n<!-- other: begin -->\nkept\n<!-- other: end -->\n")
    few = Networks(
        trained.renderer, {name: trained.heads[name] for name in ("font", "mfr-net")}, {"font": trained.ablated["font"]}, trained.identity
    )
    generation.write_generation(tmp_path, out, 1, 0, people / "tracks", None, few)
    text = out.read_text()
    assert "kept" in text and text.count("<!-- generation:") == 2 and "nan" not in text
    assert text.count("## ") == 4 and "The dyads are simulated" in text
    for title in ("FONT", "FONT without pose sampling", "genuine pose and expression (self-reenactment)"):
        assert len(re.findall(rf"^\| {re.escape(title)} \| [\d.]+ \| 0\.\d\d\d \| ", text, re.MULTILINE)) == 2
    assert re.search(r"^\| simulated listener \| 0.00 .* 100 % ", text, re.MULTILINE)
    for name in ("font", "mfr-net"):
        assert f"![generated_{name}.jpg](generated_{name}.jpg)" in text and (out.parent / f"generated_{name}.jpg").is_file()
