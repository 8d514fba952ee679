from __future__ import annotations

import os
import subprocess
import sys

import pytest

from insight_ext import ArgumentError
from lightning_integration import PromptSelectionCallback
from lightning_integration.trainer import PACKAGE, choose, refuse_forged

OLD, NEW = "pytorch_lightning", "lightning.pytorch"


@pytest.mark.parametrize(
    ("imported", "installed", "expected"),
    [
        ({OLD}, {OLD, NEW}, OLD),
        ({NEW}, {OLD, NEW}, NEW),
        ({OLD, NEW}, {OLD, NEW}, OLD),
        (set(), {OLD, NEW}, OLD),
        (set(), {NEW}, NEW),
    ],
)
def test_the_package_already_imported_is_taken(imported, installed, expected):
    assert choose(imported, installed) == expected


def test_without_lightning_the_way_to_install_it_is_told():
    with pytest.raises(ModuleNotFoundError, match=r"pip install insight-ext\[lightning\]"):
        choose(set(), set())


@pytest.mark.parametrize("name", ["lightning", "pytorch-lightning"])
@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_a_forged_release_is_refused_before_it_is_imported(name, version, tmp_path, monkeypatch):
    about = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=f"{name}: expected another release .* got {version}"):
        refuse_forged(name)


def test_other_releases_and_none_pass():
    refuse_forged("pytorch-lightning")
    refuse_forged("no-such-distribution")


def test_a_trainer_of_the_other_package_is_told_apart():
    with pytest.raises(ArgumentError, match=f"expected the Trainer of {PACKAGE}.* got that of "):
        PromptSelectionCallback().setup(object(), None, "fit")


@pytest.mark.parametrize("first", ["lightning_integration", "the other"])
def test_where_both_packages_are_imported_a_warning_names_the_order(first, tmp_path):
    (other,) = {OLD, NEW} - {PACKAGE}
    folder = tmp_path.joinpath(*other.split("."))
    folder.mkdir(parents=True)
    for package in (tmp_path / other.partition(".")[0], folder):
        (package / "__init__.py").touch()
    imports = [f"import {PACKAGE}, lightning_integration.trainer", f"import {other}"]
    program = "; ".join(imports if first == "lightning_integration" else reversed(imports))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    warned = [line for line in done.stderr.splitlines() if "expected one Lightning" in line]
    assert len(warned) == 1
    assert f"the Trainer of {PACKAGE}, and that of {other} refuses" in warned[0]
    assert "import one of the two packages alone, and before lightning_integration" in warned[0]
