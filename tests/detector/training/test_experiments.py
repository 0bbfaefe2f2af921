from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_detector import TINY

from avwitness.detector.training import experiments
from avwitness.detector.training.experiments import ExperimentConfig, Run, run_experiments, runs_of, train_and_predict
from avwitness.detector.training.samples import Sample
from avwitness.generators.forge.registry import METHODS
from avwitness.settings import read_settings

ROOT = Path(__file__).parents[3]
BASE: dict[str, Any] = {
    "data": {"frames": 20, "visual_variants": 0, "calibration_identities": {"people": 1}},
    "model": {"backbone": "", "frozen": [], "detector": {"backbone_options": TINY, "artefacts": False}},
    "schedule": {"steps": 2, "checkpoint_every": 2},
}


def small() -> ExperimentConfig:
    return ExperimentConfig(
        base=BASE,
        seeds=(0, 1),
        variants={"both streams": {"data": {"pairs": {"both": 1}}}, "audio": {"data": {"pairs": {"audio": 1}}}},
        excluded_methods={"codecs": ["lpc", "griffin_lim"]},
        excluded_base={"data": {"pairs": {"audio": 1, "both": 1}}},
    )


def test_runs_differ_in_the_settings_of_their_variant() -> None:
    found = runs_of(small())
    assert [(v.name, v.seed) for v in found] == [
        ("both streams", 0),
        ("audio", 0),
        ("both streams", 1),
        ("audio", 1),
        ("without codecs", 0),
    ]
    assert all(v.config.seed == v.seed and v.config.schedule.steps == 2 for v in found)
    assert found[1].config.data.pairs == {"audio": 1}  # replaced, not merged with the default
    assert found[1].config.data.frames == 20  # other settings of the group are those of the base
    assert found[-1].config.data.exclude_methods == ("lpc", "griffin_lim") and found[0].config.data.exclude_methods == ()


def test_the_shipped_experiments_leave_out_methods_that_exist() -> None:
    config = read_settings(ROOT / "configs" / "experiments.yaml", ExperimentConfig)
    found = runs_of(config)
    assert len(found) == len(config.seeds) * len(config.variants) + len(config.excluded_methods)
    assert len({(v.name, v.seed) for v in found}) == len(found)
    left_out = [method for methods in config.excluded_methods.values() for method in methods]
    assert set(left_out) <= set(METHODS) and len(left_out) == len(set(left_out))


@pytest.mark.parametrize(
    ("pairs", "cases"),
    [
        ({"both": 2}, ["both", "audio", "video"]),
        ({"audio": 1, "video": 1}, ["both", "audio", "video"]),
        ({"audio": 2, "video": 0}, ["audio"]),
        ({"video": 2, "faces": 3}, ["video"]),
    ],
)
def test_a_model_is_evaluated_on_the_streams_it_was_trained_on(pairs: dict[str, int], cases: list[str]) -> None:
    config = runs_of(ExperimentConfig(base=BASE, seeds=(0,), variants={"one": {"data": {"pairs": pairs}}}))[0].config
    assert [case for case in experiments.CASES if experiments._is_trained_on(config, case)] == cases


@pytest.mark.slow
def test_a_run_is_trained_and_evaluated_once(
    samples: list[Sample], forged_set: Path, views_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small()
    train_and_predict(runs_of(config)[1], [forged_set], forged_set, views_cache, tmp_path / "audio-0", 1)

    def refuse(*_: object) -> None:
        raise AssertionError("something is trained again")

    monkeypatch.setattr(experiments.multiprocessing, "get_context", refuse)
    one = ExperimentConfig(base=BASE, seeds=(0,), variants=config.variants)
    table = run_experiments(one, [forged_set], forged_set, views_cache, tmp_path, 1, only=["audio"])
    assert set(table.variant) == {"audio"} and set(table.seed) == {0} and set(table.case) == {"audio"}
    assert sorted(table.path) == sorted(s.path for s in samples)  # on the whole dev set, without a calibration split
    assert table.audio.notna().sum() == sum(s.waveform is not None for s in samples) and table.video.isna().all()
    with pytest.raises(AssertionError, match="trained again"):
        run_experiments(one, [forged_set], forged_set, views_cache, tmp_path, 1)


def test_a_failed_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        exitcode = 3

        def start(self) -> None: ...
        def join(self) -> None: ...

    class Context:
        def Process(self, target: object, args: tuple[Run, ...]) -> Failed:
            return Failed()

    monkeypatch.setattr(experiments.multiprocessing, "get_context", lambda _: Context())
    with pytest.raises(RuntimeError, match=r"both streams, seed 0.*exit code 3"):
        run_experiments(small(), [tmp_path], tmp_path, tmp_path, tmp_path, 1)
