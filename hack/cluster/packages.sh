#!/usr/bin/env bash
# Installs the Debian packages that a node of the local cluster needs, and the
# commands of the tutorials. Prints nothing if they are installed.
set -euo pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Look for programs, not packages: containerd may be part of Docker.
missing=()
need() {
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || missing+=("$package")
}
cni() { [[ -x /usr/lib/cni/bridge || -x /opt/cni/bin/bridge ]]; }
need containerd command -v containerd
need runc command -v runc
need containernetworking-plugins cni
need nftables command -v nft
need iproute2 command -v ip
need mount command -v mount
need jq command -v jq
need curl command -v curl
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $EUID -ne 0 ]]; then
	echo "run as root: apt-get install ${missing[*]}" >&2
	exit 1
fi

# The cluster runs its own containerd, so keep apt from starting the system's.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
install() { apt-get install --yes --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
# The usual reason for a failure is a missing or old package list.
if ! install && ! { apt-get update >>"$log" 2>&1 && install; }; then
	cat "$log" >&2
	exit 1
fi
rm -f "$log"
