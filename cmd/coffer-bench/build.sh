#!/bin/sh
# Builds the measuring host: sh build.sh OUTPUT
set -eu
out=$1
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n 's/^#define \(CKR_[A-Z0-9_]*\) .*/{\1, "\1"},/p' "$here/../../include/pkcs11.h" >"$work/return-values.inc"
mkdir -p "$(dirname "$out")"
${CC:-gcc} -std=gnu11 -O2 -Wall -Wextra -I"$here/../../include" -I"$work" -o "$out" "$here"/*.c -lpthread -ldl
