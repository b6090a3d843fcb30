#!/bin/sh
# opencryptoki.sh COMMAND...: runs `coffer bench` with opencryptoki's software token as one more module, where it can be
# had. Its daemon and its token live in namespaces and in a directory that are gone afterwards: what the machine has of its
# own is not touched. Without root, or without the package, the command is run as it is.
set -eu
lib=$(ls /usr/lib/*/pkcs11/libopencryptoki.so 2>/dev/null | head -n 1)
without() {
	echo "without opencryptoki: $1" >&2
	shift
	exec "$@"
}
if [ "${COFFER_OCK_DIR:-}" = "" ]; then
	case " $* " in *" --token "*) without "a token of another module is named" "$@" ;; esac
	[ -n "$lib" ] && [ -x /usr/sbin/pkcsslotd ] || without "the package is not installed" "$@"
	[ "$(id -u)" = 0 ] || without "its daemon wants root" "$@"
	unshare --mount --ipc --pid --fork true 2>/dev/null || without "namespaces cannot be made" "$@"
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	COFFER_OCK_DIR=$dir unshare --mount --ipc --pid --fork --kill-child --mount-proc sh "$0" "$@"
	exit
fi

# In the namespaces. The token is on the disk that temporary files are on, as those of the other modules are; the daemon's
# socket and locks are in memory.
mkdir "$COFFER_OCK_DIR/lock" "$COFFER_OCK_DIR/token"
[ ! -d /run/lock/opencryptoki ] || cp -a /run/lock/opencryptoki/. "$COFFER_OCK_DIR/lock"
cp -a /var/lib/opencryptoki/. "$COFFER_OCK_DIR/token"
find "$COFFER_OCK_DIR/token" -type f -exec rm {} +
mount --bind "$COFFER_OCK_DIR/token" /var/lib/opencryptoki
mount -t tmpfs tmpfs /run
mkdir -p /run/lock/opencryptoki
mount --bind "$COFFER_OCK_DIR/lock" /run/lock/opencryptoki
{
	/usr/sbin/pkcsslotd
	slot=3 user=23456789 so=12345678 first=87654321
	for i in 1 2 3 4 5 6 7 8 9 10; do pkcsconf -c $slot -t && break || sleep 0.5; done
	echo ockbench | pkcsconf -c $slot -I -S $first
	pkcsconf -c $slot -P -S $first -n $so
	pkcsconf -c $slot -u -S $so -n $user
} >"$COFFER_OCK_DIR/log" 2>&1 || { cat "$COFFER_OCK_DIR/log" >&2; without "its token could not be made" "$@"; }
COFFER_PIN=$user exec "$@" --vs "$lib" --token ockbench
