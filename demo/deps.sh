#!/bin/sh
# Installs Debian packages, if any is missing: those that the demos use, and those that are named. Says nothing when all
# are there. No service is started for a package that is only a test peer. PACKAGE|FILE is not needed where FILE is there,
# whoever brought it.
set -eu
packages="nginx-light curl openssl libengine-pkcs11-openssl libc6-dev iproute2 iptables $*"
missing=""
for p in $packages; do
	case $p in
	*"|"*) [ -e "${p#*|}" ] && continue ;;
	esac
	p=${p%%"|"*}
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
log=$(mktemp)
# Debian starts a service when it is installed, unless a policy says no.
policy=/usr/sbin/policy-rc.d
ours=
if [ ! -e "$policy" ]; then
	ours=$policy
	printf '#!/bin/sh\nexit 101\n' | ${sudo:-} tee "$policy" >/dev/null
	${sudo:-} chmod 755 "$policy"
fi
trap '[ -z "$ours" ] || ${sudo:-} rm -f "$ours"; rm -f "$log"' EXIT
trap 'exit 1' INT TERM
# A mirror that does not answer is asked again, and another apt-get of the machine is waited for.
apt="${sudo:-} env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300"
if ! { $apt update && $apt install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	exit 1
fi
