# Traps, background jobs, signals and exit codes.
trap 'echo exit trap $?' EXIT
trap 'echo usr1' USR1; kill -USR1 $$; trap - USR1
sleep 30 & kill %1; wait %1; echo "killed $?"
(exit 3) & (sleep 0.2; exit 4) & wait -n; echo "first $?"; wait -n; echo "second $?"; wait; echo "all $?"
for i in 1 2 3 4 5 6 7 8; do (sleep "0.0$i"; exit "$i") & pids+=($!); done; s=0; for p in "${pids[@]}"; do wait "$p"; s=$((s + $?)); done; echo "sum $s"
bash -c 'trap "echo term; exit 9" TERM; kill -TERM $$; echo never'; echo $?
bash -c 'kill -SEGV $$' 2> /dev/null; echo $?
timeout 0.2 sleep 10; echo "timeout $?"; timeout -s INT -k 1 0.2 sleep 10; echo $?
(trap '' TERM; timeout -k 0.2 0.2 sh -c 'trap "" TERM; while :; do sleep 0.05; done'); echo "hard $?"
trap 'n=$((n + 1))' CHLD; set -m; for i in 1 2 3; do /bin/true & wait; done; set +m; trap - CHLD; echo "children $((n >= 3))"
f() { local x=1; trap 'echo return' RETURN; return 7; }; f; echo $?
bash -c 'sleep 0.3 & disown; exit 0'; echo $?
sh -c 'sleep 10 & echo started; kill $!; wait $! 2> /dev/null; echo $?'
set -m; sleep 5 & kill -STOP %%; sleep 0.1; jobs | sed 's/ \+/ /g'; kill -CONT %%; kill -KILL %%; wait %%; echo $?; set +m
nohup sh -c 'echo nohup' 2> /dev/null; /no/such/program 2> /dev/null; echo $?; /etc/passwd 2> /dev/null; echo $?
x=$(trap 'echo in subst' EXIT; echo body); echo "$x"
ulimit -c; umask 027; touch m; stat -c %a m
exec 2>&1; set -e; (false); echo never
