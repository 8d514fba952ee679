from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny():
    """The module tiny_run.py."""
    spec = importlib.util.spec_from_file_location(
        "tiny_run", Path(__file__).with_name("tiny_run.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
