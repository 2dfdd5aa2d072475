#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds both libraries into build/, installing what the build needs where it may.
set -eu
cd "$(dirname "$0")"
make system
exec make all
