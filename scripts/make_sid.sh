#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes a Debian sid with the newest interpreters, outside the tree, for the tests: PLAIT_SID, or plait/sid in the
# user's cache folder. Does nothing when it is already there; goes on where an earlier run was cut off; a second
# run waits for the first. What can't be done is said in one line, with status 3. Nothing stays mounted: all
# mounts are made in a mount namespace that ends with this script.
#   --full  also what building and debugging interpreters in it take: make, g++, gdb, their debug and test packages
#   --path  only prints the folder
set -u
sid=${PLAIT_SID:-${XDG_CACHE_HOME:-$HOME/.cache}/plait/sid}
mirror=${PLAIT_SID_MIRROR:-http://deb.debian.org/debian}
log=$sid.log
versions="3.13 3.14 3.15"
packages="gcc libc6-dev"
for version in $versions; do
    packages="$packages python$version libpython$version-dev"
done
stage=packages
full=

fail() {
    echo "plait: no Debian sid: $1" >&2
    exit 3
}

case "${1:-}" in
--path) echo "$sid" && exit 0 ;;
--full)
    full=1
    stage=full
    packages="$packages g++ make gdb"
    for version in $versions; do
        packages="$packages python$version-dev python$version-dbg libpython$version-testsuite"
    done
    ;;
"") ;;
*) echo "usage: make_sid.sh [--full | --path]" >&2 && exit 2 ;;
esac

done_with() { [ -e "$sid/var/lib/plait/$1" ]; }
done_with "$stage" || done_with full && exit 0

[ "$(id -u)" = 0 ] || fail "making it takes root"
if [ "${PLAIT_SID_UNSHARED:-}" != "$$" ]; then
    unshare --mount true 2>/dev/null || fail "no new mount namespace can be made here"
    PLAIT_SID_UNSHARED=$$ exec unshare --mount --propagation private "$0" "$@"
fi
mkdir -p "$sid.debs" || fail "$sid.debs can't be made"
exec 9>"$sid.lock"
flock 9
done_with "$stage" || done_with full && exit 0

export DEBIAN_FRONTEND=noninteractive LC_ALL=C
if ! command -v debootstrap >/dev/null 2>&1; then
    command -v apt-get >/dev/null 2>&1 || fail "debootstrap is missing, and there is no apt to install it"
    apt-get install -y -qq --no-install-recommends debootstrap >"$log" 2>&1 ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap; } >"$log" 2>&1 ||
        fail "apt can't install debootstrap ($log)"
fi

echo "plait: making Debian sid with python $versions in $sid${full:+, with compiler and debug packages}"
if ! done_with base; then
    rm -rf --one-file-system "$sid"
    debootstrap --variant=minbase --cache-dir="$(realpath "$sid.debs")" sid "$sid" "$mirror" >"$log" 2>&1 ||
        fail "debootstrap: $(grep '^[EW]:' "$log" | tail -n 1 | cut -c 1-200) ($log)"
    mkdir -p "$sid/var/lib/plait" && touch "$sid/var/lib/plait/base"
fi

# A snapshot's release file may be older than it allows itself to be.
cat >"$sid/etc/apt/apt.conf.d/99plait" <<END
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
Acquire::Languages "none";
APT::Install-Recommends "false";
END
cat >"$sid/etc/dpkg/dpkg.cfg.d/plait" <<END
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
END
cp /etc/resolv.conf "$sid/etc/resolv.conf" 2>/dev/null
mount -t proc proc "$sid/proc" && mount --rbind /dev "$sid/dev" || fail "/proc and /dev can't be mounted in it"
mount --bind "$sid.debs" "$sid/var/cache/apt/archives"
# shellcheck disable=SC2086
chroot "$sid" sh -c 'dpkg --configure -a && apt-get update -qq && apt-get install -y -qq "$@"' - $packages >>"$log" 2>&1 \
    || fail "apt: $(grep '^E:' "$log" | tail -n 1 | cut -c 1-200) ($log)"
touch "$sid/var/lib/plait/$stage"
rm -rf "$sid.debs"
