#!/usr/bin/env bash
# Usage: hack/fuzz.sh SECONDS PACKAGE...
# Divides SECONDS among all fuzz tests of the packages; each gets at least one second.
set -euo pipefail

total=$1
shift

# fuzz runs one fuzz test. It returns 1 if the time ran out in the middle of an input, which go test reports as a failure
# although no input failed; the caller retries. A failing input ends the script.
fuzz() {
	local log
	log=$(mktemp)
	# Without a limit, minimizing one input can take all of the time.
	if go test -run='^$' -fuzz="^$2\$" -fuzztime="$3" -fuzzminimizetime=10x "$1" | tee "$log"; then
		rm -f "$log"
		return 0
	fi
	if grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; then
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
	exit 1
}

targets=()
for package in "$@"; do
	listed=$(go test -list='^Fuzz' "$package")
	while read -r name; do
		if [[ $name == Fuzz* ]]; then
			targets+=("$package $name")
		fi
	done <<<"$listed"
done
if ((${#targets[@]} == 0)); then
	echo "fuzz: no fuzz tests in $*"
	exit 0
fi

each=$(((total + ${#targets[@]} - 1) / ${#targets[@]}))
for target in "${targets[@]}"; do
	read -r package name <<<"$target"
	echo "fuzz: $name of $package for ${each}s"
	fuzz "$package" "$name" "${each}s" || fuzz "$package" "$name" "${each}s"
done
