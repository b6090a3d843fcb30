#!/bin/sh
# The newcomer's view: a private key is made inside Coffer, nginx serves TLS with it, and a page is fetched. Everything
# lives in .demo and is thrown away at the next run. MODULE and PORT may be set from outside.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
module=${MODULE:-$root/build/libcoffer_pkcs11.so}
port=${PORT:-8443}
coffer=$root/build/coffer
dir=$root/.demo

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# stop ends the nginx of an earlier run that was interrupted, and ours.
stop() {
	if [ -s "$dir/nginx.pid" ]; then
		kill -QUIT "$(cat "$dir/nginx.pid")" 2>/dev/null || true
		for _ in 1 2 3 4 5 6 7 8 9 10; do [ -e "$dir/nginx.pid" ] || break; sleep 0.2; done
	fi
}
stop
rm -rf "$dir"
mkdir -p "$dir/www"
trap stop EXIT
trap 'exit 1' INT TERM

export COFFER_CONF="$dir/coffer.toml" COFFER_PIN=demo-user-pin COFFER_SO_PIN=demo-officer-pin
cat >"$COFFER_CONF" <<EOF
[[slot]]
id = 0
path = "$dir/token.db"
EOF

say "1. A token, and a key that is made inside it and cannot leave"
"$coffer" token init --label demo
"$coffer" key generate --type ec:p256 --label web --id 01

say "2. A certificate, signed with that key by OpenSSL"
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
[req]
distinguished_name = dn
x509_extensions = ext
prompt = no
[dn]
CN = localhost
[ext]
subjectAltName = DNS:localhost,IP:127.0.0.1
basicConstraints = critical,CA:TRUE
EOF
export OPENSSL_CONF="$dir/openssl.cnf"
key="pkcs11:token=demo;object=web;type=private;pin-value=$COFFER_PIN"
openssl req -new -x509 -days 2 -engine pkcs11 -keyform engine -key "$key" -out "$dir/cert.pem" 2>"$dir/openssl.log" ||
	{ cat "$dir/openssl.log" >&2; exit 1; }
openssl x509 -in "$dir/cert.pem" -noout -subject -dates

say "3. nginx, with two worker processes, loads the key from Coffer"
echo "Served with a private key that lives in Coffer." >"$dir/www/index.html"
cat >"$dir/nginx.conf" <<EOF
worker_processes 2;
daemon on;
pid $dir/nginx.pid;
error_log $dir/error.log;
ssl_engine pkcs11;
env COFFER_CONF;
env OPENSSL_CONF;
events {}
http {
	access_log off;
	client_body_temp_path $dir/t1; proxy_temp_path $dir/t2; fastcgi_temp_path $dir/t3;
	uwsgi_temp_path $dir/t4; scgi_temp_path $dir/t5;
	server {
		listen 127.0.0.1:$port ssl;
		ssl_certificate $dir/cert.pem;
		ssl_certificate_key "engine:pkcs11:$key";
		ssl_session_tickets off;
		root $dir/www;
	}
}
EOF
[ "$(id -u)" = 0 ] && sed -i '1i user root;' "$dir/nginx.conf"
PATH=$PATH:/usr/sbin nginx -c "$dir/nginx.conf" -e "$dir/error.log" || { cat "$dir/error.log" >&2; exit 1; }
unset OPENSSL_CONF

say "4. Twenty fresh TLS connections"
for i in $(seq 20); do
	out=$(curl -sS --max-time 20 --cacert "$dir/cert.pem" "https://127.0.0.1:$port/") || { cat "$dir/error.log" >&2; exit 1; }
done
echo "$out"
curl -sSv --max-time 20 --cacert "$dir/cert.pem" "https://127.0.0.1:$port/" 2>&1 >/dev/null | grep -E 'SSL connection|SSL certificate verify' || true

say "Done. The key is in $dir/token.db, sealed; nginx has never had a file with it."
