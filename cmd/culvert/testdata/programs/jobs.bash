# Traps, background jobs, signals and exit codes. Nothing depends on how fast it runs: who has to be first is waited for.
trap 'echo exit trap $?' EXIT
trap 'echo usr1' USR1; kill -USR1 $$; trap - USR1
# A child that is ended before its exec would still run the trap.
sleep 1000 & until [ "$(< /proc/$!/comm)" = sleep ]; do :; done; kill %1; wait %1; echo "killed $?"
mkfifo turn; exec 8<> turn; (exit 3) & (read -r <&8; exit 4) & wait -n; echo "first $?"; echo go >&8; wait -n; echo "second $?"; wait; echo "all $?"
for i in 1 2 3 4 5 6 7 8; do (sleep "0.0$i"; exit "$i") & pids+=($!); done; s=0; for p in "${pids[@]}"; do wait "$p"; s=$((s + $?)); done; echo "sum $s"
bash -c 'trap "echo term; exit 9" TERM; kill -TERM $$; echo never'; echo $?
bash -c 'kill -SEGV $$' 2> /dev/null; echo $?
timeout 0.1 sleep 1000; echo "timeout $?"; timeout -s USR1 -k 900 0.1 sleep 1000; echo $?
timeout -s CONT -k 0.1 0.1 sleep 1000; echo "hard $?"
set -m; for i in 1 2 3; do /bin/true & wait %%; echo "job $?"; done; set +m
f() { local x=1; trap 'echo return' RETURN; return 7; }; f; echo $?
bash -c 'sleep 0.1 & disown; exit 0'; echo $?
sh -c 'sleep 1000 & echo started; kill $!; wait $! 2> /dev/null; echo $?'
set -m; sleep 1000 & kill -STOP %%; until [ -n "$(jobs -s)" ]; do sleep 0.02; done; jobs | sed 's/ \+/ /g'; kill -CONT %%; kill -KILL %%; wait %%; echo $?; set +m
nohup sh -c 'echo nohup' 2> /dev/null; /no/such/program 2> /dev/null; echo $?; /etc/passwd 2> /dev/null; echo $?
x=$(trap 'echo in subst' EXIT; echo body); echo "$x"
ulimit -c; umask 027; touch m; stat -c %a m
exec 2>&1; set -e; (false); echo never
