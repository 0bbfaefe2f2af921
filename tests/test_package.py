from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import time
import typing
import zipfile
from pathlib import Path

import pytest

import avwitness

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "detector" / "weights"
MAX_WEIGHTS_BYTES = 60 * 1024 * 1024  # of the bundled detectors
MAX_WHEEL_BYTES = 95 * 1000 * 1000


def python(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)


def test_import_is_quick_and_light() -> None:
    begun = time.monotonic()
    done = python("import sys, avwitness; print([m for m in ('torch', 'transformers', 'mediapipe', 'pandas') if m in sys.modules])", "-P")
    assert done.stdout.strip() == "[]"
    bare = time.monotonic()
    python("pass", "-P")
    assert (bare - begun) - (time.monotonic() - bare) < 1.0  # seconds beyond the interpreter's own start


def test_the_public_api_is_small() -> None:
    assert sorted(avwitness.__all__) == ["Detector", "Verdict", "__version__", "load"]
    for name in avwitness.__all__:
        assert getattr(avwitness, name) is not None


def test_type_hints_of_the_public_api_resolve() -> None:
    assert typing.get_type_hints(avwitness.load)["return"] is avwitness.Detector
    assert typing.get_type_hints(avwitness.Detector.score)["return"] is avwitness.Verdict


def test_scoring_imports_nothing_from_the_extras() -> None:
    code = """
import sys
for name in ("fairseq2", "ray", "pyworld", "skimage", "c2pa"):
    sys.modules[name] = None
import avwitness
print(avwitness.load(device="cpu").info.name)
"""
    done = python(code, "-P")
    assert done.stdout.strip() == "small", done.stderr


def test_our_datasets_folder_never_shadows_the_library() -> None:
    code = "import importlib.util; spec = importlib.util.find_spec('datasets'); print(spec.origin if spec else None)"
    found = python(code, "-P").stdout.strip()
    assert str(ROOT / "datasets") not in found
    # Without safe path the trap is real: this is what the Makefile and CI guard against.
    assert str(ROOT / "datasets") in python(code).stdout
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text()
    assert "export PYTHONSAFEPATH := 1" in makefile
    assert "export PYTHONSAFEPATH=1" in ci


def test_every_package_is_listed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = [
        folder
        for folder in ROOT.iterdir()
        if folder.is_dir() and folder.name not in ("tests", "build", "distributions") and folder.name[0] != "."
    ]
    files = [ROOT / "__init__.py", *(file for folder in folders for file in folder.rglob("__init__.py"))]
    assert listed == {".".join(("avwitness", *file.parent.relative_to(ROOT).parts)) for file in files}


def test_the_core_needs_no_training_library() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    core = config["options"]["install_requires"]
    assert not any(name in core for name in ("fairseq2", "ray", "pyworld", "scikit-image", "pytest"))


def test_shipped_weights_have_cards_and_fit_the_budget() -> None:
    folders = sorted(p.parent for p in BUNDLED.glob("*/config.json"))
    assert [f.name for f in folders] == ["large", "small"]
    assert sum(file.stat().st_size for file in (BUNDLED / "small").iterdir()) < MAX_WEIGHTS_BYTES
    assert all(file.stat().st_size < MAX_WHEEL_BYTES for file in (BUNDLED / "large").iterdir())
    for folder in folders:
        card = json.loads((folder / "card.json").read_text())
        assert {"name", "version", "parameters", "data", "seed", "command", "training", "calibration"} <= set(card)
        assert card["name"] == folder.name and card["training"]["steps"] >= 500
        assert "MIT" in (folder / "NOTICE").read_text()


def test_the_wheel_contains_code_data_and_weights(tmp_path: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "notebooks/", "samples/", "examples/", "distributions/")):
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / "source" / name)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], cwd=tmp_path / "source", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("avwitness-*.whl")
    assert wheel.name == f"avwitness-{avwitness.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    found = {name.removeprefix("avwitness/") for name in zipfile.ZipFile(wheel).namelist()}
    data = {"py.typed", "detector/verdict.schema.json", "media/face/mean_face.npy"}
    weights = {str(p.relative_to(ROOT)) for p in ROOT.glob("*/weights/*/*") if p.suffix in (".json", ".safetensors")}
    weights = {name for name in weights if not name.startswith("detector/weights/large/")}  # in a distribution of its own
    weights |= {f"media/face/weights/{name}" for name in ("face_landmarker.task", "card.json", "NOTICE", "LICENSE")}
    code_files = {
        name
        for name in listed.stdout.split("\0")
        if name.endswith(".py") and not name.startswith(("tests/", "examples/", "distributions/")) and (ROOT / name).is_file()
    }
    assert data | weights | code_files <= found
    assert len(weights) > 20
    assert not any(
        name.startswith(("tests/", "docs/", "samples/", "build/", "distributions/", "detector/weights/large/")) for name in found
    )


def test_versions_that_are_written_twice_agree() -> None:
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert f"rev: v{constraints['ruff']}" in (ROOT / ".pre-commit-config.yaml").read_text()
    assert f"version: {avwitness.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"version = {avwitness.__version__}\n" in (ROOT / "distributions" / "large" / "setup.cfg").read_text()
    assert f"## [{avwitness.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
