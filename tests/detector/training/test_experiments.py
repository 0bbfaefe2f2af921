from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from avwitness.detector.training import experiments
from avwitness.detector.training.experiments import ExperimentConfig, Variant, run_experiments, train_and_predict, variants
from avwitness.detector.training.samples import Sample
from avwitness.generators.forge.registry import METHODS
from avwitness.settings import read_settings
from witness import TINY

ROOT = Path(__file__).parents[3]
BASE: dict[str, Any] = {
    "backbone": "",
    "frozen": [],
    "looks": 0,
    "model": {"backbone_options": TINY, "artefacts": False},
    "steps": 2,
    "checkpoint_every": 2,
    "frames": 20,
    "held_out": {"people": 1},
}


def small() -> ExperimentConfig:
    return ExperimentConfig(
        base=BASE,
        seeds=(0, 1),
        arms={"two": {"pairs": {"both": 1}}, "ears": {"pairs": {"audio": 1}}},
        folds={"codes": ["lpc", "griffin_lim"]},
        fold_base={"pairs": {"audio": 1, "both": 1}},
    )


def test_variants_differ_in_what_they_say_they_do() -> None:
    found = variants(small())
    assert [(v.name, v.seed) for v in found] == [("two", 0), ("ears", 0), ("two", 1), ("ears", 1), ("without codes", 0)]
    assert all(v.config.seed == v.seed and v.config.steps == 2 for v in found)
    assert found[1].config.pairs == {"audio": 1}  # replaced, not mixed with the default
    assert found[-1].config.exclude_methods == ("lpc", "griffin_lim") and found[0].config.exclude_methods == ()


def test_the_shipped_experiments_leave_out_methods_that_exist() -> None:
    config = read_settings(ROOT / "configs" / "experiments.yaml", ExperimentConfig)
    found = variants(config)
    assert len(found) == len(config.seeds) * len(config.arms) + len(config.folds)
    assert len({(v.name, v.seed) for v in found}) == len(found)
    left_out = [method for methods in config.folds.values() for method in methods]
    assert set(left_out) <= set(METHODS) and len(left_out) == len(set(left_out))
    assert all(v.config.loss_config and v.config.augment_config for v in found)


@pytest.mark.parametrize(
    ("pairs", "cases"),
    [
        ({"both": 2}, ["both", "audio", "video"]),
        ({"audio": 1, "video": 1}, ["both", "audio", "video"]),
        ({"audio": 2, "video": 0}, ["audio"]),
        ({"video": 2, "faces": 3}, ["video"]),
    ],
)
def test_a_model_is_asked_for_what_it_was_taught(pairs: dict[str, int], cases: list[str]) -> None:
    config = variants(ExperimentConfig(base=BASE, seeds=(0,), arms={"one": {"pairs": pairs}}))[0].config
    assert [case for case in experiments.CASES if experiments._can(config, case)] == cases


def test_a_variant_is_trained_judged_and_not_done_again(
    samples: list[Sample], forged_set: Path, witness_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small()
    train_and_predict(variants(config)[1], [forged_set], forged_set, witness_cache, tmp_path / "ears-0", 1)

    def refuse(*_: object) -> None:
        raise AssertionError("something is trained again")

    monkeypatch.setattr(experiments.multiprocessing, "get_context", refuse)
    one = ExperimentConfig(base=BASE, seeds=(0,), arms=config.arms)
    table = run_experiments(one, [forged_set], forged_set, witness_cache, tmp_path, 1, only=["ears"])
    assert set(table.variant) == {"ears"} and set(table.seed) == {0} and set(table.case) == {"audio"}
    assert sorted(table.path) == sorted(s.path for s in samples)  # judged on all of the dev set, whoever was kept back
    assert table.audio.notna().sum() == sum(s.waveform is not None for s in samples) and table.video.isna().all()
    with pytest.raises(AssertionError, match="trained again"):
        run_experiments(one, [forged_set], forged_set, witness_cache, tmp_path, 1)


def test_a_training_that_fails_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        exitcode = 3

        def start(self) -> None: ...
        def join(self) -> None: ...

    class Context:
        def Process(self, target: object, args: tuple[Variant, ...]) -> Failed:
            return Failed()

    monkeypatch.setattr(experiments.multiprocessing, "get_context", lambda _: Context())
    with pytest.raises(RuntimeError, match=r"two, seed 0.*exit code 3"):
        run_experiments(small(), [tmp_path], tmp_path, tmp_path, tmp_path, 1)
