# SPDX-License-Identifier: MIT
"""plait: a sampling profiler that braids the Python and native frames of a thread into one stack.

`plait run script.py` profiles a whole program; `plait.Profiler` a part of this one. Imported into profiled
programs, so: standard library only, and nothing is loaded before it is used.
"""

from ._library import ProfilerError
from .profiler import Profiler

__version__ = "0.1.0"
__all__ = ["Profiler", "ProfilerError", "__version__"]
