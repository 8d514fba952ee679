"""Builds insight_ext._C with CMake; everything else is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def program(name: str) -> str | None:
    """Finds a build tool beside the interpreter (a package from PyPI) or on PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


class CMakeBuild(build_ext):
    """Configures, compiles, and puts the finished library in place in one step."""

    def build_extension(self, ext: Extension) -> None:
        cmake, ninja = program("cmake"), program("ninja")
        if cmake is None:
            raise RuntimeError("expected cmake on PATH or from PyPI, found none: pip install cmake")
        folder = Path(self.build_temp).resolve() / "cmake"
        folder.mkdir(parents=True, exist_ok=True)
        configure = [
            cmake,
            "-S",
            str(ROOT),
            "-B",
            str(folder),
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            "-DINSIGHT_PYTHON=ON",
            f"-DINSIGHT_CUDA={os.environ.get('INSIGHT_CUDA', 'AUTO')}",
            f"-DINSIGHT_WERROR={os.environ.get('INSIGHT_WERROR', 'OFF')}",
        ]
        if ninja is not None:
            configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        subprocess.run(configure, check=True)
        subprocess.run([cmake, "--build", str(folder), "--target", "_C", "--parallel"], check=True)
        built = next(folder.glob("_C.*so"))
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        # A new inode: processes that have the old library mapped keep it.
        shutil.copy2(built, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)


setup(
    ext_modules=[Extension("insight_ext._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
