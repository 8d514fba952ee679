"""The CPU kernel for 64-bit Arm: compiled by clang, run by an emulator, the bits as here."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None,
    reason="ziglang is not installed: pip install ziglang",
)


def driver(mode: str, **environment: str) -> str:
    """What tests/csrc/driver.cpp says."""
    command = [ROOT / "tests" / "csrc" / "run.sh", "plain", mode]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def arm(mode: str, run: str) -> str:
    clang = f"{sys.executable} -m ziglang c++ -target aarch64-linux-musl -Werror"
    return driver(mode, CXX=clang, RUN=run)


def test_clang_compiles_it_for_arm_without_a_warning() -> None:
    arm("bits", "true")


@pytest.mark.skipif(EMULATOR is None, reason="no qemu-aarch64: apt-get install qemu-user-static")
def test_arm_gives_the_bits_of_this_machine_and_keeps_the_order() -> None:
    assert arm("bits", EMULATOR) == driver("bits")
    arm("brief", EMULATOR)
