package engine

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// unfilled leaves out the zeros behind a PrivateKeyInfo, up to seven (mech.Mechanism.Filled).
func unfilled(plain []byte) []byte {
	rest := cryptobyte.String(plain)
	var info cryptobyte.String
	if !rest.ReadASN1Element(&info, asn1.SEQUENCE) || len(rest) > 7 || bytes.ContainsFunc(rest, func(r rune) bool { return r != 0 }) {
		return plain
	}
	return info
}
