"""Whoever invented a method is cited, and users are told of it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from insight_ext.curators import CURATORS
from insight_ext.selectors import SELECTORS

ROOT = Path(__file__).parent.parent


def arxiv_ids(*paths: Path) -> set[str]:
    return {name for p in paths for name in re.findall(r"\b2\d{3}\.\d{5}\b", p.read_text())}


def test_every_paper_that_the_code_or_the_guide_names_is_cited():
    code = [path for name in ("insight_ext", "csrc") for path in (ROOT / name).rglob("*.[pch]*")]
    texts = [path for path in code if path.suffix in {".py", ".h", ".cpp"}]
    named = arxiv_ids(ROOT / "docs/strategies.md", *texts)
    assert len(named) > 10
    assert named <= arxiv_ids(ROOT / "CITATION.cff")


def test_a_reference_has_type_title_and_named_authors():
    yaml = pytest.importorskip("yaml")
    for reference in yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        for author in reference["authors"]:
            assert set(author) in ({"family-names", "given-names"}, {"name"})


def test_the_changelog_names_every_strategy():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert not {name for name in (*SELECTORS, *CURATORS) if f"`{name}`" not in text}


def test_the_site_says_which_version_it_describes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"insight_ext {project['version']}," in (ROOT / "mkdocs.yml").read_text()


def test_every_name_of_the_package_in_a_document_is_one():
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    dotted = re.compile(r"\b(?:insight_ext|lightning_integration)(?:\.\w+)+")
    names = {name for path in texts for name in dotted.findall(path.read_text())}
    assert len(names) > 30
    assert {name for name in names if not is_there(name)} == {"insight_ext.pt"}  # a file


def is_there(name: str) -> bool:
    """Whether a dotted name is a module or something in one."""
    parent, _, own = name.rpartition(".")
    try:
        return hasattr(import_module(parent), own) or find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(r"^(?:Cost|Determinism|Source): .*\n +\S", id="sentence as title and box"),
        pytest.param(r"(?<![`\w.])__\w+__(?![`\w])", id="name in bold"),
    ],
)
def test_a_docstring_reads_on_the_site_as_in_the_source(broken):
    found = []
    for path in [
        p for name in ("insight_ext", "lightning_integration") for p in ROOT.glob(f"{name}/**/*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                prose = re.sub(
                    r"^ *(?:>>>|\.\.\.) .*$", "", ast.get_docstring(node) or "", flags=re.M
                )
                if re.search(broken, prose, re.M):
                    found.append((path.name, getattr(node, "name", "")))
    assert found == []


@pytest.mark.parametrize("words", [r"\ban own\b", r"\bthe referee\b", r"\bthe own\b"])
def test_the_documents_are_plain_english(words):
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "configs").iterdir()]
    assert [path.name for path in texts if re.search(words, path.read_text(), re.I)] == []


@pytest.mark.parametrize("page", ["docs/index.md", "docs/trainers.md"])
def test_a_program_in_the_guide_runs(page, tmp_path):
    programs = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    # What needs a trainer of its own is run beside that trainer's tests.
    plain = [program for program in programs if "insight_ext.adapters" not in program]
    assert plain
    for program in plain:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


# Which test runs a snippet of the page on trainers, by the section that shows it.
SHOWN = {
    "Any loop, in plain Python": ["test_documents.py::test_a_program_in_the_guide_runs"],
    "TRL": ["trl/test_trl_documents.py::test_the_lines_for_trl_run"],
    "verl": ["verl/test_verl_selection.py::test_the_settings_in_the_guide_work"],
    "slime": 2
    * ["insight_ext/adapters/test_slime.py::test_the_flags_and_the_settings_in_the_guide"],
    "Trinity-RFT": ["trinity/test_trinity_scheduler.py::test_a_resumed_run_makes_the_choices_of"],
    "prime-rl": ["insight_ext/adapters/test_prime_rl.py::test_the_program_in_the_guide"],
}


def test_each_snippet_of_the_page_on_trainers_is_run_by_a_test():
    page = (ROOT / "docs/trainers.md").read_text()
    sections = [part.split("\n", 1) for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]]
    fences = {title: text.count("```") // 2 for title, text in sections if "```" in text}
    assert fences == {title: len(tests) for title, tests in SHOWN.items()}
    for path, _, name in (test.partition("::") for tests in SHOWN.values() for test in tests):
        assert f"def {name}" in (ROOT / "tests" / path).read_text()
