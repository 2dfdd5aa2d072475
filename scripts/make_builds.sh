#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the CPythons that nobody ships in the Debian sid of make_sid.sh, from Debian's source packages:
# free-threaded, with the tail-call interpreter (clang), and with assertions. They stay in its /opt/plait, and are
# used where they were built. As root only. Prints the paths of those that are there, one a line, as seen in the
# sid; says of each that is missing why. What is there is not built again.
#   make_builds.sh [MINOR]...    newest source that the mirror has, of 3.14 by default
set -u
tree=$(cd "$(dirname "$0")/.." && pwd -P)
if [ "${PLAIT_BUILDS_INSIDE:-}" = "" ]; then
    "$tree/scripts/make_sid.sh" --full >&2 || exit 3
    exec "$tree/scripts/in_sid.sh" /usr/bin/env PLAIT_BUILDS_INSIDE=1 "$tree/scripts/make_builds.sh" "$@"
fi

root=/opt/plait
mkdir -p "$root"
exec 9>"$root/lock"
flock 9
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

say() { echo "plait: $*" >&2; }

tools() {
    [ -e "$root/tools" ] && return 0
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/plait-source.list
    { apt-get update -qq && apt-get install -y -qq clang xz-utils libffi-dev zlib1g-dev libsqlite3-dev pkg-config; } \
        >"$root/tools.log" 2>&1 9>&- || { say "no builds: apt can't install what they take ($root/tools.log)"; return 1; }
    touch "$root/tools"
}

# The source of 3.$1 into $root/3.$1/source. The index may name versions that the mirror does not have.
source_of() {
    [ -e "$root/3.$1/source/configure" ] && return 0
    mkdir -p "$root/3.$1/source" && cd "$root/3.$1" || return 1
    for version in $(apt-cache showsrc --only-source "python3.$1" | sed -n 's/^Version: //p' | sort -rVu); do
        apt-get source -qq --download-only "python3.$1=$version" >source.log 2>&1 9>&- || continue
        tar xf "python3.$1"_*.orig.tar.* -C source --strip-components=1 && rm -f ./*.tar.* ./*.dsc && return 0
    done
    say "no builds of 3.$1: the mirror has none of the sources that it lists"
    return 1
}

# build MINOR NAME CONFIGURE-WORDS...
build() {
    folder=$root/3.$1/$2
    minor=$1 name=$2
    shift 2
    if [ ! -e "$folder/done" ]; then
        say "building $name 3.$minor in $folder"
        mkdir -p "$folder" && cd "$folder" || return 1
        { ../source/configure -q --prefix="$folder" --disable-test-modules --without-ensurepip "$@" &&
            make -s -j"$(nproc)" && ./python -c 'import ctypes, sqlite3, zlib'; } >build.log 2>&1 9>&- ||
            { say "$name 3.$minor: $(grep -iE '(^|[^-])error' build.log | tail -n 1 | cut -c 1-160) ($folder/build.log)" && return 1; }
        touch done
    fi
    echo "$folder/python"
}

tools || exit 3
for minor in "${@:-14}"; do
    source_of "$minor" || continue
    build "$minor" free-threaded --disable-gil
    build "$minor" debug --with-pydebug
    if [ "$minor" -ge 14 ]; then
        build "$minor" tail-call --with-tail-call-interp CC=clang
    fi
done
exit 0
