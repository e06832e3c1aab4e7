#!/usr/bin/env bash
# Usage: hack/fuzz.sh SECONDS PACKAGE...
# Fuzzes each of the laws for SECONDS, and each other fuzz test of the packages for a tenth of that, two at a time: with one
# worker each they get more out of two cores than one test with two.
set -euo pipefail

laws=(FuzzNewHopNeverWidensAuthority FuzzUnknownNeverAllows FuzzPlansSettle FuzzResolveChainEnds)
seconds=$1
shift
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
workers=$(($(getconf _NPROCESSORS_ONLN) / 2))

# fuzz runs one fuzz test. It runs it again if the time ran out in the middle of an input, which go test reports as a failure
# although no input failed.
fuzz() {
	local package=$1 name=$2 time=$3 log=$logs/$2
	for _ in 1 2; do
		# Without a limit, minimizing one input can take all of the time.
		if go test -run='^$' -fuzz="^$name\$" -fuzztime="${time}s" -fuzzminimizetime=10x -parallel=$((workers > 0 ? workers : 1)) \
			"$package" >"$log" 2>&1; then
			echo "fuzz: $name of $package held: $(grep '^fuzz: elapsed' "$log" | tail -n 1)"
			return 0
		fi
		if ! grep -q 'context deadline exceeded' "$log" || grep -q 'Failing input' "$log"; then
			break
		fi
	done
	cat "$log"
	return 1
}

# wait_one waits for one of the tests that run.
wait_one() {
	wait -n || failed=1
	running=$((running - 1))
}

first=() others=()
for package in "$@"; do
	listed=$(go test -list='^Fuzz' "$package")
	while read -r name; do
		if [[ " ${laws[*]} " == *" $name "* ]]; then
			first+=("$package $name $seconds")
		elif [[ $name == Fuzz* ]]; then
			others+=("$package $name $(((seconds + 9) / 10))")
		fi
	done <<<"$listed"
done
if ((${#first[@]} != ${#laws[@]})); then
	echo "fuzz: of the laws ${laws[*]} only ${#first[@]} are in $*" >&2
	exit 1
fi

running=0 failed=0
for target in "${first[@]}" "${others[@]}"; do
	if ((running == 2)); then
		wait_one
	fi
	read -r package name time <<<"$target"
	echo "fuzz: $name of $package for ${time}s"
	fuzz "$package" "$name" "$time" &
	running=$((running + 1))
done
while ((running > 0)); do
	wait_one
done
exit "$failed"
