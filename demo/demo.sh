#!/bin/sh
# SPDX-License-Identifier: MIT
# demo.sh PYTHON FOLDER: profiles demo/digest.py, shows the report, names the files written.
set -eu
python=$1
folder=$2
mkdir -p "$folder"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
echo '$ plait run demo/digest.py'
"$python" -m plait run --quiet --force -o "$folder/demo.plait" demo/digest.py
"$python" -m plait report "$folder/demo.plait"
"$python" -m plait report "$folder/demo.plait" -o "$folder/demo.json" 2>/dev/null
"$python" -m plait report "$folder/demo.plait" -o "$folder/demo.txt" 2>/dev/null
"$python" -m plait report "$folder/demo.plait" -o "$folder/demo.folded" 2>/dev/null
echo
echo "Files written:"
echo "  $folder/demo.plait   the recording: plait report reads it"
echo "  $folder/demo.json    every stack, for programs (docs/interface.md)"
echo "  $folder/demo.txt     the text summary"
echo "  $folder/demo.folded  folded stacks, for flamegraph.pl or speedscope"
