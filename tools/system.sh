#!/bin/sh
# SPDX-License-Identifier: MIT
# Sees to the system packages plait wants: a compiler, libdw's headers, Python's venv. Installs what is missing
# through apt as root or by sudo without a password; else says what is missing and what then is left out.
# PLAIT_NO_APT=1 installs nothing.
set -u
python=${PYTHON:-python3}
cc=${CC:-cc}
missing=
have() { command -v "$1" >/dev/null 2>&1; }

have "$cc" && echo '#include <stdio.h>' | "$cc" -E - >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
if have "$cc"; then
    echo '#include <elfutils/libdwfl.h>' | "$cc" -E - >/dev/null 2>&1 || missing="$missing libdw-dev"
else
    missing="$missing libdw-dev"
fi
have "$python" || missing="$missing python3"
"$python" -c 'import ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
[ -z "$missing" ] && exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    as_root="sudo -n"
    sudo -n true >/dev/null 2>&1 || as_root=none
fi
if [ -z "${PLAIT_NO_APT:-}" ] && [ "$as_root" != none ] && have apt-get; then
    echo "plait: installing system packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
        $as_root apt-get update -qq &&
            $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
    } || echo "plait: apt could not install:$missing"
else
    echo "plait: these system packages are missing and can't be installed from here (no apt, root or sudo):"
    echo "plait:  $missing"
    case "$missing" in *libdw-dev*) echo "plait: without libdw-dev reports use ELF symbol tables alone" ;; esac
fi
have "$cc" || { echo "plait: a C compiler is needed: apt-get install gcc libc6-dev" >&2; exit 1; }
have "$python" || { echo "plait: Python 3.8 or newer is needed: apt-get install python3" >&2; exit 1; }
exit 0
