package chacha

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func rowOf(t *testing.T, typ pkcs11.MechanismType) *mech.Mechanism {
	t.Helper()
	for i := range Family.Mechanisms {
		if Family.Mechanisms[i].Type == typ {
			return &Family.Mechanisms[i]
		}
	}
	t.Fatalf("no row for %v", typ)
	return nil
}

func testKey(kt pkcs11.KeyType) mech.Key {
	return mechtest.Secret(kt, []byte("a key of exactly thirty-two byte"))
}

var generated = mechtest.Case{Templates: []pkcs11.Template{{}, {pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, keySize)}}}

// cases says what every row takes; TestFamily fails for a row that is missing here.
var cases = map[pkcs11.MechanismType]mechtest.Case{
	pkcs11.CKM_CHACHA20_KEY_GEN: generated,
	pkcs11.CKM_SALSA20_KEY_GEN:  generated,
	pkcs11.CKM_POLY1305_KEY_GEN: generated,
	pkcs11.CKM_CHACHA20: {Params: []any{
		&pkcs11.ChaCha20Params{BlockCounter: make([]byte, 4), Nonce: []byte("twelve bytes")},
		&pkcs11.ChaCha20Params{BlockCounter: []byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0}, Nonce: []byte("8 bytes!")},
		&pkcs11.ChaCha20Params{BlockCounter: make([]byte, 8), Nonce: []byte("a nonce of XChaCha20's 24")[:24]},
	}},
	pkcs11.CKM_SALSA20: {Params: []any{
		&pkcs11.Salsa20Params{BlockCounter: make([]byte, 8), Nonce: []byte("8 bytes!")},
		&pkcs11.Salsa20Params{BlockCounter: []byte{9, 8, 7, 6, 5, 4, 3, 2}, Nonce: []byte("a nonce of XSalsa20's 24")},
	}},
	pkcs11.CKM_CHACHA20_POLY1305: {Authentic: true, Params: []any{
		&pkcs11.Poly1305Params{Nonce: []byte("twelve bytes"), AAD: []byte("header")},
		&pkcs11.Poly1305Params{Nonce: []byte("a nonce of XChaCha20's 24")[:24]},
	}},
	pkcs11.CKM_POLY1305: {FixedSize: true},
}

func TestFamily(t *testing.T) {
	for i := range Family.Mechanisms {
		row := &Family.Mechanisms[i]
		c, ok := cases[row.Type]
		if !ok {
			t.Errorf("%v has no case", row.Type)
			continue
		}
		c.Row = row
		if row.Generate == nil {
			c.Key = testKey(row.KeyTypes[0])
		}
		mechtest.Run(t, c)
	}
}

func run(t *testing.T, create modes.Constructor, k mech.Key, param any, in []byte) []byte {
	t.Helper()
	op, err := create(k, param)
	require.NoError(t, err)
	defer op.Close()
	out, err := op.Finish(nil, in)
	require.NoError(t, err)
	return out
}

func TestChaCha20Vectors(t *testing.T) {
	row := rowOf(t, pkcs11.CKM_CHACHA20)
	for _, file := range []string{"testdata/chacha20.txt", "testdata/openssl.txt"} {
		for _, v := range mechtest.Vectors(t, file, 5) {
			p := &pkcs11.ChaCha20Params{BlockCounter: v.Hex(t, 0), Nonce: v.Hex(t, 1)}
			k, plain, sealed := mechtest.Secret(pkcs11.CKK_CHACHA20, v.Hex(t, 2)), v.Hex(t, 3), v.Hex(t, 4)
			require.Equal(t, sealed, run(t, row.Encrypt, k, p, plain))
			require.Equal(t, plain, run(t, row.Decrypt, k, p, sealed))
		}
	}
}

func TestSalsa20Vectors(t *testing.T) {
	row := rowOf(t, pkcs11.CKM_SALSA20)
	const size = 131072
	for _, v := range mechtest.Vectors(t, "testdata/salsa20.txt", 3) {
		k := mechtest.Secret(pkcs11.CKK_SALSA20, v.Hex(t, 0))
		param := func(block byte) any {
			return &pkcs11.Salsa20Params{BlockCounter: []byte{0, block, 0, 0, 0, 0, 0, 0}, Nonce: v.Hex(t, 1)}
		}
		stream, digest := run(t, row.Encrypt, k, param(0), make([]byte, size)), make([]byte, blockSize)
		for i := 0; i < size; i += blockSize {
			subtle.XORBytes(digest, digest, stream[i:i+blockSize])
		}
		require.Equal(t, v.Hex(t, 2), digest)
		require.Equal(t, stream[256*blockSize:], run(t, row.Decrypt, k, param(1), make([]byte, size-256*blockSize)), "the counter finds the block")
	}
	// XSalsa20: NaCl, tests/stream3 ("Cryptography in NaCl", 10).
	text := func(s string) []byte {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	k := mechtest.Secret(pkcs11.CKK_SALSA20, text("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389"))
	p := &pkcs11.Salsa20Params{BlockCounter: make([]byte, 8), Nonce: text("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")}
	require.Equal(t, text("eea6a7251c1e72916d11c2cb214d3c252539121d8e234e652d651fa4c8cff880"), run(t, row.Encrypt, k, p, make([]byte, 32)))
}

func TestAEADVectors(t *testing.T) {
	row := rowOf(t, pkcs11.CKM_CHACHA20_POLY1305)
	for _, v := range mechtest.Vectors(t, "testdata/aead.txt", 5) {
		k, p := mechtest.Secret(pkcs11.CKK_CHACHA20, v.Hex(t, 0)), &pkcs11.Poly1305Params{Nonce: v.Hex(t, 1), AAD: v.Hex(t, 2)}
		require.Equal(t, v.Hex(t, 4), run(t, row.Encrypt, k, p, v.Hex(t, 3)))
		require.Equal(t, v.Hex(t, 3), run(t, row.Decrypt, k, p, v.Hex(t, 4)))
	}
}

func TestPoly1305Vectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/poly1305.txt", 3) {
		k := mechtest.Secret(pkcs11.CKK_POLY1305, v.Hex(t, 0))
		s, err := rowOf(t, pkcs11.CKM_POLY1305).Sign(k, nil)
		require.NoError(t, err)
		tag, err := s.Finish(nil, v.Hex(t, 1))
		require.NoError(t, err)
		require.Equal(t, v.Hex(t, 2), tag)
	}
}

// TestCounters: which widths of nonce and counter go together, and where a counter ends.
func TestCounters(t *testing.T) {
	chacha, salsa := rowOf(t, pkcs11.CKM_CHACHA20), rowOf(t, pkcs11.CKM_SALSA20)
	for nonce := range 30 {
		for counter := range 12 {
			_, err := chacha.Encrypt(testKey(pkcs11.CKK_CHACHA20), &pkcs11.ChaCha20Params{BlockCounter: make([]byte, counter), Nonce: make([]byte, nonce)})
			good := nonce == 12 && counter == 4 || (nonce == 8 || nonce == 24) && (counter == 4 || counter == 8)
			require.Equal(t, good, err == nil, "ChaCha20: %d bytes of nonce, %d of counter: %v", nonce, counter, err)
			_, err = salsa.Encrypt(testKey(pkcs11.CKK_SALSA20), &pkcs11.Salsa20Params{BlockCounter: make([]byte, counter), Nonce: make([]byte, nonce)})
			good = (nonce == 8 || nonce == 24) && counter == 8
			require.Equal(t, good, err == nil, "Salsa20: %d bytes of nonce, %d of counter: %v", nonce, counter, err)
		}
	}
	full := bytes.Repeat([]byte{0xff}, 8)
	for _, c := range []struct {
		row   *mech.Mechanism
		param any
	}{
		{chacha, &pkcs11.ChaCha20Params{BlockCounter: full[:4], Nonce: make([]byte, 12)}},
		{chacha, &pkcs11.ChaCha20Params{BlockCounter: full, Nonce: make([]byte, 8)}},
		{salsa, &pkcs11.Salsa20Params{BlockCounter: full, Nonce: make([]byte, 8)}},
	} {
		op, err := c.row.Encrypt(testKey(c.row.KeyTypes[0]), c.param)
		require.NoError(t, err)
		_, err = op.Update(nil, make([]byte, blockSize+1))
		require.Equal(t, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.RVOf(err))
		_, err = op.Update(nil, make([]byte, blockSize-1))
		require.NoError(t, err)
		_, err = op.Update(nil, make([]byte, 1))
		require.NoError(t, err)
		_, err = op.Update(nil, make([]byte, 1))
		require.Equal(t, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.RVOf(err))
		moved, err := c.row.Encrypt(testKey(c.row.KeyTypes[0]), c.param)
		require.NoError(t, err)
		state, err := op.(mech.Resumable).State()
		require.NoError(t, err)
		require.NoError(t, moved.(mech.Resumable).Resume(state))
		_, err = moved.Update(nil, make([]byte, 1))
		require.Equal(t, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.RVOf(err), "moved")
	}
	require.EqualValues(t, uint64(math.MaxUint64), newStream(0, new([keySize]byte), 0, 64).left)
	require.EqualValues(t, uint64(1<<32*blockSize), newStream(0, new([keySize]byte), 0, 32).left)
}

func TestKeys(t *testing.T) {
	for _, kt := range Family.KeyTypes {
		for n := range 40 {
			value := make([]byte, n)
			_, err := kt.Check(pkcs11.CKO_SECRET_KEY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, value)})
			require.Equal(t, n == keySize, err == nil)
		}
		require.EqualValues(t, keySize, kt.Length)
		require.Equal(t, generic.CheckValue([]byte("x")), kt.CheckValue([]byte("x")))
	}
}

func TestCloseWipes(t *testing.T) {
	op, err := rowOf(t, pkcs11.CKM_CHACHA20).Encrypt(testKey(pkcs11.CKK_CHACHA20), cases[pkcs11.CKM_CHACHA20].Params[0])
	require.NoError(t, err)
	op.Close()
	require.Zero(t, op.(*stream).key)

	row := rowOf(t, pkcs11.CKM_POLY1305)
	signer, err := row.Sign(testKey(pkcs11.CKK_POLY1305), nil)
	require.NoError(t, err)
	require.NoError(t, signer.Update([]byte("some of a message")))
	require.NotZero(t, *signer.(*mac).state)
	signer.Close()
	require.Zero(t, *signer.(*mac).state)
}
