"""Configuration files that would take for ever, or everything."""

from __future__ import annotations

import pytest

from insight_ext import ArgumentError
from insight_ext.data.yaml_file import check_yaml
from lightning_integration.cli import main

LAUGHS = "a: &a [1]\n" + "".join(f"b{i}: &b{i} [*a, *a, *a]\n" for i in range(30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, r"own.yaml:2: expected no aliases, got \*a"),
        ("a: &a\n  b: *a\n", r"own.yaml:2: expected no aliases"),
        ("[" * 100_000, "own.yaml:1: expected at most 64 levels"),
        ("a: [\n", "own.yaml: expected a YAML file, got"),
        ("\x00", "own.yaml: expected a YAML file, got"),
        (None, "own.yaml: expected a YAML file, got"),
    ],
)
def test_a_file_that_cannot_be_built_is_refused_before_it_is(tmp_path, text, message, capsys):
    if text is not None:
        (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ArgumentError, match=message):
        check_yaml(tmp_path / "own.yaml")
    for given in (["--config", str(tmp_path / "own.yaml")], [f"--config={tmp_path / 'own.yaml'}"]):
        assert main(["fit", *given]) == 2
        assert "own.yaml" in capsys.readouterr().err


def test_ordinary_files_pass(tmp_path):
    (tmp_path / "own.yaml").write_text("a: {b: [1, 2]}\nc: text\n")
    check_yaml(tmp_path / "own.yaml")
