from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from insight_ext import _C
from insight_ext.cli.main import main
from insight_ext.kernel.build_info import build_info


def test_build_info_tells_what_was_built_and_found():
    info = build_info()
    assert info["version"]
    assert re.match(r"(g|clang)\+\+ .*\d", info["compiler"])
    assert info["instruction_sets"][0] == "portable"
    assert info["cuda"] == ("cuda" in _C.back_ends)
    assert bool(info["cuda_architectures"]) == info["cuda"]


def test_the_command_prints_what_build_info_tells(capsys):
    assert main(["build-info"]) == 0
    assert json.loads(capsys.readouterr().out) == build_info()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads ELF symbols with nm")
def test_the_library_links_neither_torch_nor_a_cuda_runtime():
    linked = subprocess.run(["ldd", str(_C.__file__)], capture_output=True, text=True, check=True)
    assert "libc." in linked.stdout
    assert not re.search(r"torch|libc10|libcudart", linked.stdout)
    assert Path(str(_C.__file__)).suffix == ".so"
