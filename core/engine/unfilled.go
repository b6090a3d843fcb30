package engine

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// unfilled leaves out the zeros behind a PrivateKeyInfo, up to seven: SoftHSM2 2.6 fills a key to a multiple of eight bytes
// before it wraps it with CKM_AES_KEY_WRAP_PAD, which would have done so itself. DER says where it ends.
func unfilled(plain []byte) []byte {
	rest := cryptobyte.String(plain)
	var info cryptobyte.String
	if !rest.ReadASN1Element(&info, asn1.SEQUENCE) || len(rest) > 7 || bytes.ContainsFunc(rest, func(r rune) bool { return r != 0 }) {
		return plain
	}
	return info
}
