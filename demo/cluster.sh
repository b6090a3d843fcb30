#!/bin/sh
# Three nodes on loopback, made and activated as an operator would; a key is made in them, and OpenSSL signs with it through
# the library while a node is killed, replaced by another, and all goes on. Everything lives in .demo-cluster and is thrown
# away at the next run. The exit code is 0 only if no signature has failed.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
module=${MODULE:-$root/build/libcoffer_pkcs11.so}
base=${PORT:-22230}
coffer=$root/build/coffer
cofferd=$root/build/cofferd
dir=$root/.demo-cluster

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
stop() {
	for f in "$dir"/*.pid; do
		[ -s "$f" ] && kill "$(cat "$f")" 2>/dev/null || true
	done
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		alive=0
		for f in "$dir"/*.pid; do [ -s "$f" ] && kill -0 "$(cat "$f")" 2>/dev/null && alive=1; done
		[ $alive = 0 ] && break
		sleep 0.5
	done
	rm -f "$dir"/*.pid
}
stop
rm -rf "$dir"
mkdir -p "$dir"
trap stop EXIT
trap 'exit 1' INT TERM

export COFFER_CONF="$dir/coffer.toml" COFFER_PIN=demo-user-pin COFFER_SO_PIN=demo-admin-pin
printf '%s\n' "$COFFER_PIN" >"$dir/user.pin"
printf '%s\n' "$COFFER_SO_PIN" >"$dir/admin.pin"
port() { case $1 in a) echo $base ;; b) echo $((base + 10)) ;; c) echo $((base + 20)) ;; d) echo $((base + 30)) ;; esac; }
place() { echo "--node-config $dir/$1.toml --name $1 --listen 127.0.0.1:$(port "$1") --state-dir $dir/$1/state"; }
start() {
	"$cofferd" --config "$dir/$1.toml" >"$dir/$1.log" 2>&1 &
	echo $! >"$dir/$1.pid"
	for _ in $(seq 100); do
		"$coffer" cluster status --socket "$dir/$1/cofferd.sock" >/dev/null 2>&1 && return
		sleep 0.2
	done
	echo "node $1 does not come up:" >&2
	tail -20 "$dir/$1.log" >&2
	exit 1
}
joins() {
	"$coffer" cluster invite --socket "$dir/a/cofferd.sock" --out "$dir/$1.token"
	# shellcheck disable=SC2046
	"$coffer" cluster join --token-file "$dir/$1.token" $(place "$1")
	start "$1"
}
# waits until a node is ready and as many vote.
settled() {
	for _ in $(seq 150); do
		"$coffer" cluster status --socket "$dir/a/cofferd.sock" 2>/dev/null | grep -q "voters *$1\$" && return
		sleep 0.2
	done
	"$coffer" cluster status --socket "$dir/a/cofferd.sock" >&2
	exit 1
}

say "1. The first node: its keys, its authorities, and a code to activate it with"
# shellcheck disable=SC2046
"$coffer" cluster create --label demo $(place a) --output json >"$dir/created.json"
sed -n 's/.*"activation_code": "\(.*\)".*/\1/p' "$dir/created.json" >"$dir/code"
start a
"$coffer" cluster activate --socket "$dir/a/cofferd.sock" --so-pin-file "$dir/code" --new-pin-file "$dir/admin.pin"
"$coffer" pin reset --socket "$dir/a/cofferd.sock" --new-pin-file "$dir/user.pin"

say "2. Two more nodes join, each with a token that is good once"
joins b
joins c
settled 3
"$coffer" cluster status --socket "$dir/a/cofferd.sock"

say "3. A client's certificate, and a slot that knows two of the nodes"
"$coffer" cluster certify demo --out "$dir/client" --socket "$dir/a/cofferd.sock"
cat >"$COFFER_CONF" <<EOF
[[slot]]
id = 0
nodes = ["127.0.0.1:$(port a)", "127.0.0.1:$(port b)"]
ca = "$dir/client/ca.pem"
certificate = "$dir/client/demo.crt"
key = "$dir/client/demo.key"
EOF
"$coffer" key generate --type ec:p256 --label web --id 01
"$coffer" key export web --out "$dir/web.pem"

say "4. OpenSSL signs through the library; meanwhile node b is killed, replaced by node d, and d takes its vote"
cat >"$dir/openssl.cnf" <<EOF
openssl_conf = init
[init]
engines = engines
[engines]
pkcs11 = pkcs11
[pkcs11]
engine_id = pkcs11
MODULE_PATH = $module
init = 0
EOF
echo "a letter" >"$dir/letter"
key="pkcs11:token=demo;object=web;type=private;pin-value=$COFFER_PIN"
sign() {
	while [ ! -e "$dir/enough" ]; do
		if OPENSSL_CONF="$dir/openssl.cnf" openssl dgst -sha256 -engine pkcs11 -keyform engine -sign "$key" -out "$dir/$1.sig" "$dir/letter" 2>"$dir/$1.err" &&
			openssl dgst -sha256 -verify "$dir/web.pem" -signature "$dir/$1.sig" "$dir/letter" >/dev/null; then
			echo ok >>"$dir/$1.count"
		else
			echo failed >>"$dir/$1.count"
			cat "$dir/$1.err" >>"$dir/failures"
		fi
	done
}
sign one & one=$!
sleep 2
kill -9 "$(cat "$dir/b.pid")"
rm "$dir/b.pid"
echo "node b was killed"
sleep 2
"$coffer" cluster remove b --yes
joins d
settled 3
sleep 2
touch "$dir/enough"
wait $one
"$coffer" cluster status

say "5. All copies are the same"
"$coffer" cluster verify

good=$(grep -c ok "$dir/one.count" || true)
bad=$(grep -c failed "$dir/one.count" || true)
say "Done. $good signatures by OpenSSL, each in a process of its own and checked; $bad failed."
if [ "$bad" != 0 ]; then
	cat "$dir/failures" >&2
	exit 1
fi
[ "$good" -gt 0 ]
