package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestValuesSurviveInOrder(t *testing.T) {
	types := []pkcs11.AttributeType{pkcs11.CKA_VALUE, pkcs11.CKA_LABEL, 0x7777, pkcs11.CKA_ID, pkcs11.CKA_ALLOWED_MECHANISMS}
	in := []hsm.Value{
		{Err: pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_SENSITIVE, "no")},
		{Value: []byte("label")},
		{Err: pkcs11.CKR_ATTRIBUTE_TYPE_INVALID},
		{Value: []byte{}},
		{Value: []pkcs11.MechanismType{}},
	}
	asked, err := ToTypes(sent(t, &GetAttributes{Types: FromTypes(types)}).Types)
	require.NoError(t, err)
	require.Equal(t, types, asked)
	out, err := ToValues(types, sent(t, FromValues(types, in)))
	require.NoError(t, err)
	in[0].Err = pkcs11.CKR_ATTRIBUTE_SENSITIVE // of an error only the return value is sent
	assert.Equal(t, in, out)
}

func TestAnswersThatDoNotFitAreRefused(t *testing.T) {
	types := []pkcs11.AttributeType{pkcs11.CKA_LABEL}
	of := func(v ...*Value) *Values { return &Values{Values: v} }
	label := &Attribute{Type: uint64(pkcs11.CKA_LABEL), Value: &Attribute_Bytes{[]byte("x")}}
	for name, m := range map[string]*Values{
		"nothing":           nil,
		"too few":           of(),
		"too many":          of(&Value{Attribute: label}, &Value{Attribute: label}),
		"another attribute": of(&Value{Attribute: &Attribute{Type: uint64(pkcs11.CKA_ID), Value: label.Value}}),
		"no attribute":      of(nil),
	} {
		_, err := ToValues(types, m)
		assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(err), name)
	}
	for want, m := range map[pkcs11.RV]*Value{
		pkcs11.CKR_DEVICE_ERROR:            {Attribute: &Attribute{Type: uint64(pkcs11.CKA_LABEL)}},
		pkcs11.CKR_ATTRIBUTE_VALUE_INVALID: {Attribute: &Attribute{Type: uint64(pkcs11.CKA_LABEL), Value: &Attribute_Bool{true}}},
	} {
		out, err := ToValues(types, of(m))
		require.NoError(t, err)
		assert.Equal(t, want, pkcs11.RVOf(out[0].Err))
		assert.Nil(t, out[0].Value)
	}
	_, err := ToTypes(make([]uint64, MaxAttributes+1))
	assert.Equal(t, pkcs11.CKR_ARGUMENTS_BAD, pkcs11.RVOf(err))
}

func TestInfoSurvives(t *testing.T) {
	in := pkcs11.TokenInfo{
		HardwareVersion: pkcs11.Version{Major: 7, Minor: 255}, FirmwareVersion: pkcs11.Version{Major: 7, Minor: 255},
		Label: "label", Manufacturer: "maker", Model: "model", Serial: "0123456789abcdef",
		Flags: pkcs11.CKF_RNG | pkcs11.CKF_TOKEN_INITIALIZED, MinPinLen: 4, MaxPinLen: 255,
		TotalPublicMemory: pkcs11.CK_UNAVAILABLE_INFORMATION, FreePublicMemory: pkcs11.CK_UNAVAILABLE_INFORMATION,
		TotalPrivateMemory: pkcs11.CK_UNAVAILABLE_INFORMATION, FreePrivateMemory: pkcs11.CK_UNAVAILABLE_INFORMATION,
	}
	assert.Equal(t, in, ToInfo(sent(t, FromInfo(in))))

	typ, info := ToMechanismInfo(sent(t, FromMechanismInfo(pkcs11.CKM_AES_GCM, pkcs11.MechanismInfo{MinKeySize: 16, MaxKeySize: 32, Flags: pkcs11.CKF_ENCRYPT})))
	assert.Equal(t, pkcs11.CKM_AES_GCM, typ)
	assert.Equal(t, pkcs11.MechanismInfo{MinKeySize: 16, MaxKeySize: 32, Flags: pkcs11.CKF_ENCRYPT}, info)

	user := hsm.User{Type: pkcs11.CKU_USER, Name: "alice", Role: "CU", Failures: 3, Locked: true}
	assert.Equal(t, user, ToUser(sent(t, FromUser(user))))
}

// TestTextIsAlwaysSent: a message with a string that is not UTF-8 cannot be encoded.
func TestTextIsAlwaysSent(t *testing.T) {
	for _, m := range []proto.Message{
		FromInfo(pkcs11.TokenInfo{Label: "a\xff\xfeb"}),
		FromUser(hsm.User{Name: "\xff"}),
		FailureOf(errors.New("bad \xff")),
	} {
		_, err := proto.Marshal(m)
		assert.NoError(t, err)
	}
}

func TestDescriptionsSurvive(t *testing.T) {
	for _, in := range []hsm.Description{
		{},
		{Shape: hsm.Shape{Block: 16, Hold: true, Add: -16, Align: 16, Post: -1, Exact: true}, Hash: "SHA-256"},
		{Shape: hsm.Shape{Post: 49856, Exact: true}, Parts: true, Resumable: true, MustAuthenticate: true},
	} {
		out, err := ToDescription(sent(t, FromDescription(in)))
		require.NoError(t, err)
		assert.Equal(t, in, out)
	}
	for _, s := range []*Shape{{Block: 1 << 31}, {Add: -1 << 31}, {Align: -1}, {Post: 1<<31 - 1}} {
		_, err := ToDescription(&Begun{Shape: s})
		assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf(err), "%v", s)
	}
}

func TestFailures(t *testing.T) {
	busy := pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node is draining: %w", ErrElsewhere)
	for name, c := range map[string]struct {
		err              error
		rv               pkcs11.RV
		text             string
		elsewhere, maybe bool
	}{
		"a bare value":     {pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT", false, false},
		"with a text":      {pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "%d bits", 7), pkcs11.CKR_KEY_SIZE_RANGE, "CKR_KEY_SIZE_RANGE: 7 bits", false, false},
		"elsewhere":        {busy, pkcs11.CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR: the node is draining: another node may do it", true, false},
		"a bare sentinel":  {ErrUnknown, pkcs11.CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR: the outcome is unknown", false, true},
		"both, so unknown": {errors.Join(busy, ErrUnknown), pkcs11.CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR: the node is draining: another node may do it the outcome is unknown", false, true},
		"wrapped":          {fmt.Errorf("commit: %w", pkcs11.CKR_DEVICE_ERROR), pkcs11.CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR: commit: CKR_DEVICE_ERROR", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := sent(t, FailureOf(c.err)).Err()
			assert.Equal(t, c.rv, pkcs11.RVOf(err))
			assert.EqualError(t, err, c.text)
			assert.Equal(t, c.elsewhere, errors.Is(err, ErrElsewhere))
			assert.Equal(t, c.maybe, errors.Is(err, ErrUnknown))
		})
	}
	assert.Nil(t, FailureOf(nil))
	assert.NoError(t, (*Failure)(nil).Err())
}

// TestHostileFailures: a node that lies can neither claim success nor write lines into the client's log.
func TestHostileFailures(t *testing.T) {
	assert.Equal(t, pkcs11.CKR_DEVICE_ERROR, pkcs11.RVOf((&Failure{}).Err()))
	err := (&Failure{Rv: uint64(pkcs11.CKR_PIN_LOCKED), Text: "a\nlevel=info msg=\"\x1b[2J", Retry: 77}).Err()
	assert.NotContains(t, err.Error(), "\n")
	assert.NotContains(t, err.Error(), "\x1b")
	assert.False(t, errors.Is(err, ErrElsewhere) || errors.Is(err, ErrUnknown))

	for _, long := range []string{strings.Repeat("é", 400), "x" + strings.Repeat("é", 400), strings.Repeat("\xff", 400)} {
		text := FailureOf(errors.New(long)).Text
		assert.LessOrEqual(t, len(text), MaxText)
		assert.True(t, utf8.ValidString(text))
	}
}
