#!/bin/sh
# install.sh install|uninstall: puts what `make` has built where a system keeps such things, or takes it away again. The
# Makefile sets the directories. Nothing is built here, so that root needs no compiler; nothing outside of the list is touched.
set -eu
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
trap 'exit 1' INT TERM

# What there is: source, mode, place.
list() {
	cat <<END
$FROM/libcoffer_pkcs11.so 644 $LIBDIR/libcoffer_pkcs11.so
$FROM/coffer 755 $BINDIR/coffer
$FROM/cofferd 755 $BINDIR/cofferd
$FROM/coffer-bench 755 $BINDIR/coffer-bench
include/pkcs11.h 644 $PREFIX/include/coffer/pkcs11.h
include/coffer.h 644 $PREFIX/include/coffer/coffer.h
include/cloudhsm_pkcs11_vendor_defs.h 644 $PREFIX/include/coffer/cloudhsm_pkcs11_vendor_defs.h
$made/coffer.module 644 $DATADIR/p11-kit/modules/coffer.module
$made/cofferd.service 644 $PREFIX/lib/systemd/system/cofferd.service
dist/sysusers.conf 644 $PREFIX/lib/sysusers.d/coffer.conf
dist/tmpfiles.conf 644 $PREFIX/lib/tmpfiles.d/coffer.conf
$made/coffer.1 644 $DATADIR/man/man1/coffer.1
dist/cofferd.8 644 $DATADIR/man/man8/cofferd.8
dist/prometheus-alerts.yml 644 $DATADIR/coffer/prometheus-alerts.yml
$made/bash 644 $DATADIR/bash-completion/completions/coffer
$made/zsh 644 $DATADIR/zsh/site-functions/_coffer
$made/fish 644 $DATADIR/fish/vendor_completions.d/coffer.fish
END
}

# Where p11-kit, and the rules of AppArmor, look for modules.
link=$LIBDIR/pkcs11/libcoffer_pkcs11.so

case ${1:-} in
install)
	for f in libcoffer_pkcs11.so coffer cofferd; do
		[ -e "$FROM/$f" ] || { echo "there is no $FROM/$f: run make first, as yourself" >&2; exit 1; }
	done
	for f in coffer.module cofferd.service; do
		sed "s|@LIBDIR@|$LIBDIR|; s|@BINDIR@|$BINDIR|" dist/$f >"$made/$f"
	done
	"$FROM/coffer" manual >"$made/coffer.1"
	for shell in bash zsh fish; do "$FROM/coffer" completion $shell >"$made/$shell"; done
	list | while read -r from mode to; do
		[ -e "$from" ] || continue # build/fips has no coffer-bench
		install -D -m "$mode" "$from" "$DESTDIR$to" # a new file in the place of the old one, which programs may be using
		echo "$to"
	done
	mkdir -p "$DESTDIR${link%/*}"
	ln -sfn ../libcoffer_pkcs11.so "$DESTDIR$link"
	echo "$link"
	;;
uninstall)
	list | while read -r from mode to; do rm -f "$DESTDIR$to"; done
	rm -f "$DESTDIR$link"
	rmdir "$DESTDIR$PREFIX/include/coffer" "$DESTDIR$DATADIR/coffer" 2>/dev/null || :
	echo "Tokens, nodes and configurations are left: /var/lib/coffer, /etc/coffer, and ~/.local/share/coffer of each user."
	;;
*)
	echo "usage: install.sh install|uninstall" >&2
	exit 2
	;;
esac
