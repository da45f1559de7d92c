#!/bin/bash
# bash process substitution, here-documents and named pipes via /dev/fd
# Reported in: rehosting/penguin#339 (/proc/self/fd/N of a pipe), google/gvisor#12504; related: microsoft/WSL#3962 (mkfifo EPERM on a DrvFs mount)
# Linux: <(...) and >(...) work, /dev/stdin re-readable, mkfifo rendezvous between background jobs works
set -u; t=$(mktemp -d); trap 'rm -rf $t' EXIT
[ "$(cat <(echo one) <(echo two) | tr '\n' ,)" = "one,two," ] || { echo FAIL psub; exit 1; }
echo data | tee >(cat > $t/copy) >/dev/null; for i in $(seq 100); do [ -s $t/copy ] && break; sleep 0.05; done; [ "$(cat $t/copy)" = data ] || { echo FAIL tee; exit 1; }
[ "$(echo hi | cat /dev/stdin)" = hi ] || { echo FAIL stdin; exit 1; }
[ "$(echo hi | cat /proc/self/fd/0)" = hi ] || { echo FAIL procfd; exit 1; }
[ "$(cat <<E
here $((1+1))
E
)" = "here 2" ] || { echo FAIL heredoc; exit 1; }
[ "$(cat <<< "$(head -c 100000 /dev/zero | tr '\0' x)" | wc -c)" = 100001 ] || { echo FAIL bighere; exit 1; }
mkfifo $t/f || exit 1; (echo through > $t/f) & [ "$(cat $t/f)" = through ] || { echo FAIL fifo; exit 1; }; wait
diff <(seq 5) <(seq 5) || exit 1
exit 0
