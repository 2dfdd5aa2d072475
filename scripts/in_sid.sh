#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a command in the Debian sid of make_sid.sh: in_sid.sh COMMAND... . It sees this tree at its own path, the
# machine's /tmp, /proc, /dev and /sys, and starts in the tree. As root only. The mounts are in a mount namespace
# of their own: they end with the command, however that ends.
set -eu
tree=$(cd "$(dirname "$0")/.." && pwd -P)
if [ "${PLAIT_SID_INSIDE:-}" != "$$" ]; then
    PLAIT_SID_INSIDE=$$ exec unshare --mount --propagation private "$0" "$@"
fi
unset PLAIT_SID_INSIDE
sid=$("$tree/scripts/make_sid.sh" --path)
mount -t proc proc "$sid/proc"
mount --rbind /dev "$sid/dev"
mount --rbind /sys "$sid/sys"
mount --rbind /tmp "$sid/tmp"
[ -e "$sid$tree/scripts/in_sid.sh" ] || { mkdir -p "$sid$tree" && mount --bind "$tree" "$sid$tree"; }
exec chroot "$sid" /usr/bin/env PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    sh -c 'cd "$1" && shift && exec "$@"' - "$tree" "$@"
