package member

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
)

// TestRemovalRevokesFormerCertificatesToo: a node's certificate is good for months after it was renewed, and its key is
// the same, so the store's peers must not take it either when the node was removed.
func TestRemovalRevokesFormerCertificatesToo(t *testing.T) {
	ctx := within(t)
	records, err := newRecords(mem.New(), secret.New(32), "c", func(err error) { t.Error(err) })
	require.NoError(t, err)
	m := &Member{records: records}
	r := Record{ID: "0123456789abcdef", Vote: Standby, PeerSerial: "0a"}
	op, err := records.put(kindMember, r.ID, r)
	require.NoError(t, err)
	require.NoError(t, m.withRoster(ctx, nil, []store.Op{op}))
	renew := func(used, next string) {
		require.NoError(t, records.change(ctx, r.ID, func(r *Record) bool { r.renewPeer(used, next); return true }))
	}
	renew("0a", "0b") // but the file could not be written
	renew("0a", "0c")
	renew("0c", "0d")

	require.NoError(t, m.strike(ctx, r))
	list, err := every[revocation](ctx, records, kindRevoked)
	require.NoError(t, err)
	var serials []string
	for _, v := range list {
		serials = append(serials, v.Serial)
	}
	require.ElementsMatch(t, []string{"0d", "0c", "0a"}, serials)
	require.Equal(t, "0d", list[r.ID].Serial)
}

func TestFormerSerialsAreFew(t *testing.T) {
	var r Record
	for _, n := range strings.Split("0123456789", "") {
		r.renewPeer(r.PeerSerial+n, n)
	}
	require.Len(t, strings.Fields(r.FormerSerials), maxFormerSerials)
}
