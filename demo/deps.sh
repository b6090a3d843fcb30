#!/bin/sh
# Installs the Debian packages that the demo and the tests use, if any is missing. Says nothing when all are there.
set -eu
packages="nginx-light curl openssl opensc gnutls-bin p11-kit libp11-kit-dev libengine-pkcs11-openssl softhsm2 libnss3-dev libc6-dev g++ iproute2 iptables strace"
missing=""
for p in $packages; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
	if command -v sudo >/dev/null 2>&1; then sudo=sudo; else
		echo "Please install, as root:  apt-get install$missing" >&2
		exit 1
	fi
fi
echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive
# RUNLEVEL=1 keeps Debian from starting a service for a package that is only a test peer.
log=$(mktemp)
if ! { ${sudo:-} apt-get update && ${sudo:-} env RUNLEVEL=1 apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
