from __future__ import annotations

import pytest

from lightning_integration.trainer import choose

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
