#!/bin/bash
# bash pipelines: early exit, PIPESTATUS, pipefail, big data
# Reported in: google/gvisor#5974, google/gvisor#2105, microsoft/WSL#1973, microsoft/WSL#1214
# Linux: `yes | head -1`: PIPESTATUS 141 0; 3-stage copies keep all bytes; 60 short pipelines in a row finish; command substitution sees EOF
set -u
yes | head -n 1 >/dev/null; s="${PIPESTATUS[*]}"; [ "$s" = "141 0" ] || { echo "FAIL pipestatus: $s"; exit 1; }
n=$(head -c 3000000 /dev/zero | cat | cat | wc -c); [ "$n" -eq 3000000 ] || { echo "FAIL bytes $n"; exit 1; }
for i in $(seq 60); do x=$(printf '%s\n' a b c | tail -n 1); [ "$x" = c ] || { echo "FAIL iter $i: $x"; exit 1; }; done
set -o pipefail; false | true && { echo "FAIL pipefail"; exit 1; }
x=$( (sleep 0.3; echo late) | cat ); [ "$x" = late ] || { echo "FAIL late"; exit 1; }
x=$(cat /dev/urandom | fold -w 32 | head -n 1 | wc -l); [ "$x" -eq 1 ] || exit 1
(exit 7) | cat; [ "${PIPESTATUS[0]}" = 7 ] || { echo "FAIL status"; exit 1; }
exit 0
