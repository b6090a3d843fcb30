package store

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckKey(t *testing.T) {
	for _, good := range []string{"token", "user/so", "object/00ff", "!", "~", strings.Repeat("k", MaxKey)} {
		require.NoError(t, CheckKey(good), good)
	}
	for _, bad := range []string{"", " ", "a b", "a\x00", "a\x7f", "\xff", "é", strings.Repeat("k", MaxKey+1)} {
		require.ErrorIs(t, CheckKey(bad), ErrInvalid, "%q", bad)
	}
	require.NoError(t, CheckPrefix(""))
}

func TestCheckRefusesWhatNotEveryStoreCanDo(t *testing.T) {
	many := make([]Op, MaxOps+1)
	for i := range many {
		many[i].Key = strconv.Itoa(i)
	}
	require.NoError(t, Check(nil, many[:MaxOps]))
	for name, c := range map[string]struct {
		compares []Compare
		ops      []Op
	}{
		"too many":        {nil, many},
		"too many in all": {[]Compare{{Key: "k"}}, many[:MaxOps]},
		"op twice":        {nil, []Op{{Key: "k"}, {Key: "k", Delete: true}}},
		"compare twice":   {[]Compare{{Key: "k"}, {Key: "k"}}, nil},
		"bad key":         {nil, []Op{{Key: "a b"}}},
		"bad compare":     {[]Compare{{}}, nil},
		"negative":        {[]Compare{{Key: "k", Modified: -1}}, nil},
		"too large":       {nil, []Op{{Key: "k", Value: make([]byte, MaxValue+1)}}},
		"deletes a value": {nil, []Op{{Key: "k", Value: []byte("v"), Delete: true}}},
	} {
		require.ErrorIs(t, Check(c.compares, c.ops), ErrInvalid, name)
	}
	require.NoError(t, Check([]Compare{{Key: "k", Modified: 3}}, []Op{{Key: "k"}}), "a key may be compared and changed")
}
