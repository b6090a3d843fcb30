package vault

import (
	"encoding/binary"
	"strconv"
)

// Label says what a blob is, and is bound into it: a blob opens only under the label that it was sealed with. It is not
// stored in the blob.
type Label struct {
	Kind    string // "object"
	ID      string // unique within the kind
	Version uint32 // of the plaintext's layout
}

// String returns kind/id@version, for messages.
func (l Label) String() string {
	return l.Kind + "/" + l.ID + "@" + strconv.FormatUint(uint64(l.Version), 10)
}

func (l Label) recordInfo(token string) string {
	return string(appendStrings(nil, recordDomain, token, l.Kind, l.ID))
}

func (l Label) recordAAD(token string) []byte {
	aad := appendStrings([]byte{sealFormat}, recordDomain, token, l.Kind, l.ID)
	return binary.BigEndian.AppendUint32(aad, l.Version)
}

func (l Label) rootAAD(header []byte) []byte {
	aad := appendStrings(append([]byte(nil), header...), rootDomain, l.Kind, l.ID)
	return binary.BigEndian.AppendUint32(aad, l.Version)
}

// appendStrings puts each length in front, so that no two lists of strings encode alike.
func appendStrings(b []byte, list ...string) []byte {
	for _, s := range list {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}
