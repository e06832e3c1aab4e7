#!/usr/bin/env bash
# Usage: hack/fuzz.sh SECONDS PACKAGE...
# Shares SECONDS among all fuzz tests of the packages, with one second each at the least.
set -euo pipefail

total=$1
shift

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
	# Minimising an interesting input may otherwise take up all of the time.
	go test -run='^$' -fuzz="^$name\$" -fuzztime="${each}s" -fuzzminimizetime=10x "$package"
done
