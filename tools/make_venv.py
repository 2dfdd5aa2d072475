# SPDX-License-Identifier: MIT
"""Makes the virtual environment and puts packages in it: make_venv.py FOLDER PACKAGE...

Where ensurepip is missing (Debian without python3-venv) pip itself comes from the package index, as a wheel,
which Python runs as it is. Does nothing when the folder already holds these packages.
"""

import html
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import venv
from typing import List


def main(folder: str, packages: List[str]) -> int:
    if sys.version_info < (3, 8):
        print("plait: Python 3.8 or newer is needed, this is %s" % sys.version.split()[0], file=sys.stderr)
        return 1
    stamp = os.path.join(folder, "packages.txt")
    python = os.path.join(folder, "bin", "python")
    wanted = "\n".join(packages) + "\n"
    if os.path.exists(python) and os.path.exists(stamp):
        with open(stamp) as file:
            if file.read() == wanted:
                return 0
    with_pip = importlib.util.find_spec("ensurepip") is not None
    try:
        venv.create(folder, symlinks=True, with_pip=with_pip)
        pip = [python, "-m", "pip"] if with_pip else [python, fetch_pip(folder)]
    except (subprocess.CalledProcessError, OSError) as error:
        print("plait: can't make %s: %s" % (folder, error), file=sys.stderr)
        return 1
    command = pip + ["install", "--quiet", "--disable-pip-version-check"] + packages
    if subprocess.call(command) != 0:
        print("plait: pip could not install: %s" % " ".join(packages), file=sys.stderr)
        return 1
    with open(stamp, "w") as file:
        file.write(wanted)
    return 0


def fetch_pip(folder: str) -> str:
    """pip's newest wheel for this Python; returns the path that runs it."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    with urllib.request.urlopen(index, timeout=60) as page:
        text = page.read().decode("utf-8", "replace")
    links = re.findall(r'<a[^>]*href="([^"]+)"[^>]*?(?:data-requires-python="([^"]*)")?[^>]*>', text)
    found = []
    for link, requires in links:
        name = re.search(r"/pip-(\d+(?:\.\d+)*)-py3-none-any\.whl", link)
        least = re.search(r">=\s*3\.(\d+)", html.unescape(requires))
        if name and (not least or sys.version_info >= (3, int(least.group(1)))):
            found.append((tuple(map(int, name.group(1).split("."))), link))
    if not found:
        raise SystemExit("plait: no pip at %s: install python3-venv" % index)
    url = urllib.parse.urljoin(index, html.unescape(max(found)[1]))
    wheel = os.path.join(tempfile.mkdtemp(dir=folder), os.path.basename(url.split("#")[0]))
    urllib.request.urlretrieve(url.split("#")[0], wheel)
    return wheel + "/pip"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
