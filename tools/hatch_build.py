# SPDX-License-Identifier: MIT
"""hatchling's hook: makes the libraries and puts them into the wheel, which so belongs to one platform."""

import os
import platform
import subprocess
from typing import Any, Dict

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARIES = ("libprofiler.so", "libprofiler-symbols.so")


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg,misc]
    def initialize(self, version: str, build_data: Dict[str, Any]) -> None:
        subprocess.run(["make", "-C", self.root, "all"], check=True)
        for name in LIBRARIES:
            path = os.path.join(self.root, "build", name)
            if os.path.exists(path):  # the symbol library is left out where libdw is
                build_data["force_include"][path] = "plait/" + name
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-linux_%s" % platform.machine()
