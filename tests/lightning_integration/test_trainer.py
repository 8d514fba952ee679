from __future__ import annotations

import sys
import warnings
from types import ModuleType

import pytest

from insight_ext import ArgumentError
from lightning_integration import PromptSelectionCallback
from lightning_integration.trainer import PACKAGE, choose, refuse_forged, warn_of_both

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


def test_where_both_packages_are_imported_a_module_says_for_which_it_is(monkeypatch):
    (other,) = {OLD, NEW} - {PACKAGE}
    monkeypatch.setitem(sys.modules, other, ModuleType(other))
    with pytest.warns(UserWarning, match=f"Trainer of {PACKAGE}.* of {other} refuses .* before"):
        warn_of_both("GRPOModule")
    monkeypatch.delitem(sys.modules, other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_both("GRPOModule")
