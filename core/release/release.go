// Package release is the version of what is built: one for the library and the programs beside it.
package release

import (
	"strconv"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// version is the default. make VERSION=1.2.3 sets another: -ldflags "-X github.com/coffer-hsm/coffer/core/release.version=1.2.3".
var version = "0.1-devel"

// Name is the whole version, for people.
func Name() string { return version }

// Number is what a CK_VERSION can say of it: the first two numbers. PKCS#11 v3.2, CK_VERSION.
func Number() pkcs11.Version { return number(version) }

// number is 0.0 for a version that does not begin with two numbers of a byte each.
func number(name string) pkcs11.Version {
	first, rest, _ := strings.Cut(name, ".")
	second := rest
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		second = rest[:end]
	}
	major, err := strconv.ParseUint(first, 10, 8)
	if err != nil {
		return pkcs11.Version{}
	}
	minor, err := strconv.ParseUint(second, 10, 8)
	if err != nil {
		return pkcs11.Version{}
	}
	return pkcs11.Version{Major: byte(major), Minor: byte(minor)}
}
