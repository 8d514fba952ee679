"""What a run says about where it began."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from insight_ext.runs.facts import run_facts, write_facts


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_commit_is_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "commit" not in run_facts()
    git("init", "-q")
    Path("file").write_text("1")
    git("add", "file")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")[:12]
    assert run_facts()["commit"] == commit
    Path("file").write_text("2")
    assert run_facts()["commit"] == f"{commit}-dirty"


def test_a_resumed_run_keeps_the_facts_of_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"started": "long ago"}')
    write_facts(tmp_path, resumed=True)
    assert json.loads(path.read_text()) == {"started": "long ago"}
    write_facts(tmp_path)
    assert json.loads(path.read_text())["started"] != "long ago"
