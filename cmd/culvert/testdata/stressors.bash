# Runs each stressor of stress-ng that is named for a second, and prints its name and exit status.
cd "$(mktemp -d)" || exit
for s in "$@"; do
	timeout -k 5 300 stress-ng "--$s" 1 --verify -t 1 > stressor.out 2>&1 < /dev/null
	status=$?
	echo "$s $status"
	[ $status = 0 ] || tail -n 5 stressor.out >&2
done
