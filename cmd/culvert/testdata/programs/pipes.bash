# Pipelines, process substitution, here-documents, coprocesses and FIFOs.
yes | head -n 3; echo "${PIPESTATUS[@]}"
seq 1 3000 | sort -rn | awk '{ s += $1 } END { print NR, s }'
set -o pipefail; false | cat; echo $?; (exit 5) | (exit 6) | true; echo $? "${PIPESTATUS[*]}"; set +o pipefail
diff <(seq 5) <(seq 2 6); comm -12 <(seq -w 1 2 20) <(seq -w 1 3 20)
seq 100 | tee >(wc -l > n) >(tail -n 1 > last) > /dev/null; while [ ! -s n ] || [ ! -s last ]; do sleep 0.05; done; cat n last
cat <<-EOT | tr a-z A-Z
	here $((6 * 7))
EOT
cat <<< "$(head -c 200000 /dev/zero | tr '\0' x)" | wc -c
coproc bc_like { while read -r a b; do echo $((a + b)); done; }
echo 20 22 >&"${bc_like[1]}"; read -r sum <&"${bc_like[0]}"; echo "$sum"; pid=$bc_like_PID; eval "exec ${bc_like[1]}>&-"; wait "$pid"; echo $?
mkfifo f; (for i in 1 2 3; do echo "line $i"; done > f) & while read -r l; do echo "got $l"; done < f; wait
exec 7<> f; echo kept >&7; read -r k <&7; echo "$k"; exec 7>&-
mapfile -t lines < <(seq 1000); echo "${#lines[@]} ${lines[999]}"
exec 7<> f; read -r -t 0.1 nothing <&7; echo "read: $(($? > 128))"; exec 7>&-
{ echo out; echo err >&2; } 2>&1 | sort; { echo 1; echo 2 >&2; } 2>/dev/null
head -c 1000000 /dev/zero | cat | cat | cat | cat | cat | cat | cat | cat | md5sum
echo hi | cat /dev/stdin - /dev/fd/0 | head -n 1
for i in 1 2 3 4 5; do echo $i; done | while read -r x; do (echo $((x * x))) & wait; done
printf '%s\n' c a b | xargs -n 1 -P 3 sh -c 'echo "$0" > "out.$0"'; cat out.a out.b out.c
( ulimit -n 20; exec 19< /dev/null; exec 30< /dev/null ) 2> /dev/null; echo "limit $?"
exit 42
