#!/bin/sh
# unpack.sh FOLDER PACKAGE...: puts the files of Debian packages under a folder, without installing them or what they depend on.
# Says nothing when all are there. It is root's business only where the machine has no lists of packages yet.
set -eu
folder=$1
shift
missing=""
for p; do [ -e "$folder/usr/share/doc/$p" ] || missing="$missing $p"; done
[ -z "$missing" ] && exit 0
echo "Unpacking$missing"
debs=$(mktemp -d)
trap 'rm -rf "$debs"' EXIT
trap 'exit 1' INT TERM
fetch() { (cd "$debs" && apt-get -o Acquire::Retries=5 download $missing); }
update() { if [ "$(id -u)" = 0 ]; then apt-get -o Acquire::Retries=5 update; else sudo apt-get -o Acquire::Retries=5 update; fi; }
if ! { fetch || { update && fetch; }; } >"$debs/log" 2>&1; then
	tail -n 20 "$debs/log" >&2
	exit 1
fi
mkdir -p "$folder"
for d in "$debs"/*.deb; do dpkg-deb -x "$d" "$folder"; done
