package policy

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// digestDomain keeps the digest apart from those of other versions: a rule that is added is a policy that is another.
const digestDomain = "coffer/policy/2"

// Digest is a SHA-256 by which policies can be compared: the same for all that say the same, in whatever order.
func (p *Policy) Digest() [sha256.Size]byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s legacy=%t dates=%t wrap_and_decrypt=%t public_certificates=%t fips=%t", digestDomain,
		p.Legacy, p.Dates, p.WrapAndDecrypt, p.PublicCertificates, p.FIPS)
	// That all are allowed is not the same as that none is.
	fmt.Fprintf(&b, " allow=%t%x deny=%x", p.Allow != nil, set(p.Allow), set(p.Deny))
	for _, t := range slices.Sorted(maps.Keys(p.MinBits)) {
		if n := p.MinBits[t]; n > 0 {
			fmt.Fprintf(&b, " %x>=%d", uint(t), n)
		}
	}
	return sha256.Sum256([]byte(b.String()))
}

// set is a list of mechanisms in ascending order, each once.
func set(list []pkcs11.MechanismType) []uint {
	out := make([]uint, len(list))
	for i, t := range list {
		out[i] = uint(t)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
