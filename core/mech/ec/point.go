package ec

import (
	"encoding/asn1"
	"errors"

	"github.com/coffer-hsm/coffer/pkcs11"
)

var errNoPoint = errors.New("neither a bare point of the curve nor one in a DER OCTET STRING or BIT STRING")

// emitPoint is the form in which CKA_EC_POINT is given out, for all three key types.
func emitPoint(point []byte) []byte { return mustDER(point) }

// barePoint brings a point in any of the accepted forms to the bare, uncompressed one, of c.pointLen bytes. It does not
// say whether that is on the curve. The bare forms are told from DER by their length.
func (c *curve) barePoint(given []byte) ([]byte, error) {
	if p := c.uncompressed(given); p != nil {
		return p, nil
	}
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(given, &v)
	if err != nil || len(rest) > 0 || v.Class != asn1.ClassUniversal || v.IsCompound {
		return nil, errNoPoint
	}
	content := v.Bytes
	switch v.Tag {
	case asn1.TagOctetString:
	case asn1.TagBitString:
		if len(content) == 0 || content[0] != 0 { // bits unused
			return nil, errNoPoint
		}
		content = content[1:]
	default:
		return nil, errNoPoint
	}
	if p := c.uncompressed(content); p != nil {
		return p, nil
	}
	return nil, errNoPoint
}

// uncompressed returns a bare point without compression, or nil. SEC 1, 2.3.4.
func (c *curve) uncompressed(p []byte) []byte {
	switch {
	case len(p) == 0:
		return nil
	case c.keyType != pkcs11.CKK_EC:
		if len(p) == c.pointLen {
			return p
		}
	case p[0] == 4:
		if len(p) == c.pointLen {
			return p
		}
	case p[0] == 2 || p[0] == 3:
		if len(p) != 1+c.pointLen/2 {
			return nil
		}
		return c.arith.decompress(c, p)
	}
	return nil
}
