package engine

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var hssSign = pkcs11.Mechanism{Type: pkcs11.CKM_HSS}

// LMS_SHA256_M32_H5 and H10, here always with LMOTS_SHA256_N32_W1.
const lmsH5, lmsH10 = 5, 6

// hssPair makes a token key with trees of these types.
func hssPair(t testing.TB, e *Engine, cred hsm.Credential, lms ...uint) (pub, priv hsm.Object) {
	t.Helper()
	pub, priv, err := e.GenerateKeyPair(bg, cred, pkcs11.Mechanism{Type: pkcs11.CKM_HSS_KEY_PAIR_GEN}, pkcs11.Template{onToken}, hssTemplate(lms...))
	require.NoError(t, err)
	return pub, priv
}

func hssTemplate(lms ...uint) pkcs11.Template {
	return pkcs11.Template{onToken, pkcs11.AttrUlong(pkcs11.CKA_HSS_LEVELS, uint(len(lms))),
		pkcs11.Attr(pkcs11.CKA_HSS_LMS_TYPES, lms), pkcs11.Attr(pkcs11.CKA_HSS_LMOTS_TYPES, []uint{1, 1}[:len(lms)])}
}

// upperLen is what comes before the last LMS signature of a key of lmsH5 over lmsH10: the count, the signature of the lower
// tree and its public key (RFC 8554, 6.2).
const upperLen = 4 + (8 + 4 + 32 + 265*32 + 5*32) + 56

// signIndex signs and returns the index that the signature shows.
func signIndex(e *Engine, cred hsm.Credential, key hsm.Object, message []byte) (index uint32, sig []byte, err error) {
	op, err := e.Begin(bg, cred, hsm.OpSign, hssSign, key)
	if err != nil {
		return 0, nil, err
	}
	defer op.Close()
	sig, err = op.Finish(bg, nil, message)
	if err != nil {
		return 0, nil, err
	}
	index = binary.BigEndian.Uint32(sig[4:])
	if binary.BigEndian.Uint32(sig) == 1 {
		index = index<<10 | binary.BigEndian.Uint32(sig[upperLen:])
	}
	return index, sig, nil
}

func verifies(e *Engine, cred hsm.Credential, key hsm.Object, message, sig []byte) error {
	op, err := e.Begin(bg, cred, hsm.OpVerify, hssSign, key)
	if err != nil {
		return err
	}
	defer op.Close()
	return op.Verify(bg, message, sig)
}

// indices collects what was used, and says if something was used twice.
type indices struct {
	mu   sync.Mutex
	used map[uint32]string
}

func (s *indices) use(t testing.TB, index uint32, by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used == nil {
		s.used = map[uint32]string{}
	}
	if before, there := s.used[index]; there {
		t.Errorf("index %d was used by %s and by %s", index, before, by)
	}
	s.used[index] = by
}

func remaining(t testing.TB, e *Engine, cred hsm.Credential, key hsm.Object) uint {
	t.Helper()
	v, err := e.Attributes(bg, cred, key, []pkcs11.AttributeType{pkcs11.CKA_HSS_KEYS_REMAINING})
	require.NoError(t, err)
	require.NoError(t, v[0].Err)
	return v[0].Value.(uint)
}

// TestNoIndexIsUsedTwiceByNodes: two nodes and several callers use a key up, to the last signature.
func TestNoIndexIsUsedTwiceByNodes(t *testing.T) {
	g := newGroup(t)
	a, b, _, user := g.ready()
	pub, priv := hssPair(t, a, user, lmsH10)
	require.EqualValues(t, 1024, remaining(t, b, carry(t, a, b, user), b.TokenObject(priv.ID(), true)))
	var used indices
	var group sync.WaitGroup
	for i, e := range []*Engine{a, b, a, b} {
		cred := user
		if e == b {
			cred = carry(t, a, b, user)
		}
		key := e.TokenObject(priv.ID(), true)
		group.Go(func() {
			for n := 0; ; n++ {
				message := fmt.Appendf(nil, "%d %d", i, n)
				index, sig, err := signIndex(e, cred, key, message)
				if pkcs11.RVOf(err) == pkcs11.CKR_KEY_EXHAUSTED {
					return
				}
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				used.use(t, index, fmt.Sprint("caller ", i))
				if n%50 == 0 {
					if err := verifies(e, cred, e.TokenObject(pub.ID(), false), message, sig); err != nil {
						t.Errorf("index %d: %v", index, err)
					}
				}
			}
		})
	}
	group.Wait()
	require.Len(t, used.used, 1024, "every index was used once")
	require.Zero(t, remaining(t, a, user, priv))
	_, _, err := signIndex(a, user, priv, nil)
	wantRV(t, pkcs11.CKR_KEY_EXHAUSTED, err)
}

// TestNoIndexIsUsedTwiceAfterLostAnswers: what nobody can say to be done counts as used.
func TestNoIndexIsUsedTwiceAfterLostAnswers(t *testing.T) {
	g := newGroup(t)
	s := &lossy{Store: g.store}
	g.store = s
	a, b, _, user := g.ready()
	_, priv := hssPair(t, a, user, lmsH5, lmsH10) // 32768 signatures, blocks of 32
	var used indices
	lost := 0
	for i := range 200 {
		if i%7 == 0 {
			s.lose = 1
		}
		e, cred := a, user
		if i%3 == 0 {
			e, cred = b, carry(t, a, b, user)
		}
		index, _, err := signIndex(e, cred, e.TokenObject(priv.ID(), true), []byte("message"))
		if err != nil {
			lost++
			continue
		}
		used.use(t, index, fmt.Sprint("signature ", i))
	}
	require.NotZero(t, lost, "no answer was lost")
	require.NotEmpty(t, used.used)
	require.LessOrEqual(t, remaining(t, a, user, priv), uint(32768-len(used.used)))
}

// TestAKeyWithStateStaysWhereItIs: everything that would make a second state is refused.
func TestAKeyWithStateStaysWhereItIs(t *testing.T) {
	g := newGroup(t)
	a, _, _, user := g.ready()
	_, priv := hssPair(t, a, user, lmsH5)
	gen := pkcs11.Mechanism{Type: pkcs11.CKM_HSS_KEY_PAIR_GEN}
	for name, bad := range map[string]pkcs11.Template{
		"a session object": hssTemplate(lmsH5)[1:], "not sensitive": append(hssTemplate(lmsH5), pkcs11.Attr(pkcs11.CKA_SENSITIVE, false)),
		"extractable": append(hssTemplate(lmsH5), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, true)),
		"copyable":    append(hssTemplate(lmsH5), pkcs11.Attr(pkcs11.CKA_COPYABLE, true)),
	} {
		_, _, err := a.GenerateKeyPair(bg, user, gen, nil, bad)
		require.Equal(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, pkcs11.RVOf(err), name)
	}
	_, err := a.Copy(bg, user, priv, nil)
	wantRV(t, pkcs11.CKR_ACTION_PROHIBITED, err)
	v, err := a.Attributes(bg, user, priv, []pkcs11.AttributeType{pkcs11.CKA_VALUE})
	require.NoError(t, err)
	wantRV(t, pkcs11.CKR_ATTRIBUTE_SENSITIVE, v[0].Err)
	kek := newKey(t, a, bg, user, onToken, pkcs11.Attr(pkcs11.CKA_WRAP, true), pkcs11.Attr(pkcs11.CKA_UNWRAP, true))
	kwp := pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_WRAP_KWP}
	_, err = a.WrapKey(bg, user, kwp, kek, priv)
	wantRV(t, pkcs11.CKR_KEY_UNEXTRACTABLE, err)
	err = a.SetAttributes(bg, user, priv, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_HSS_KEYS_REMAINING, uint(32))})
	require.Error(t, err)
	kind := pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_HSS)}
	_, err = a.Create(bg, user, append(append(hssTemplate(lmsH5), kind...), pkcs11.Attr(pkcs11.CKA_VALUE, []byte{1})))
	wantRV(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
	require.EqualValues(t, 32, remaining(t, a, user, priv), "nothing of that has used the key")
	require.NoError(t, a.SetAttributes(bg, user, priv, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "renamed")}))
	for want := range 3 {
		index, _, err := signIndex(a, user, priv, []byte("message"))
		require.NoError(t, err)
		require.EqualValues(t, want, index)
	}
	require.NoError(t, a.Destroy(bg, user, priv))
	_, _, err = signIndex(a, user, priv, nil)
	wantRV(t, pkcs11.CKR_KEY_HANDLE_INVALID, err)
}

// TestNoIndexIsUsedTwiceByKilledProcesses: processes that share a file and are killed while they sign.
func TestNoIndexIsUsedTwiceByKilledProcesses(t *testing.T) {
	if path := os.Getenv("COFFER_TEST_SIGNER"); path != "" {
		signForEver(t, path, os.Getenv("COFFER_TEST_KEY"))
	}
	path := filepath.Join(t.TempDir(), "token.db")
	e := inFile(t, path)
	require.NoError(t, e.InitToken(bg, officerPIN, "test"))
	so, err := e.Login(bg, pkcs11.CKU_SO, "", officerPIN)
	require.NoError(t, err)
	require.NoError(t, e.InitPIN(bg, so, pin))
	require.NoError(t, e.Logout(bg, so))
	user, err := e.Login(bg, pkcs11.CKU_USER, "", pin)
	require.NoError(t, err)
	_, priv := hssPair(t, e, user, lmsH5, lmsH10)
	var used indices
	for round := range 3 {
		var children []*exec.Cmd
		var group sync.WaitGroup
		for child := range 2 {
			cmd := exec.Command(os.Args[0], "-test.run=^TestNoIndexIsUsedTwiceByKilledProcesses$")
			cmd.Env = append(os.Environ(), "COFFER_TEST_SIGNER="+path, "COFFER_TEST_KEY="+priv.ID())
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			children = append(children, cmd)
			group.Go(func() {
				var index uint32
				for n := 0; n < 50; n++ { // not a multiple of the block: some of it is lost
					if _, err := fmt.Fscanln(out, &index); err != nil {
						t.Errorf("round %d, child %d ended by itself: %v", round, child, err)
						return
					}
					used.use(t, index, fmt.Sprintf("round %d, child %d", round, child))
				}
				cmd.Process.Kill() //nolint:errcheck // it runs for ever
				for {
					if _, err := fmt.Fscanln(out, &index); err != nil {
						return
					}
					used.use(t, index, fmt.Sprintf("round %d, child %d, the end", round, child))
				}
			})
		}
		group.Wait()
		for _, cmd := range children {
			cmd.Wait() //nolint:errcheck // killed
		}
		for range 5 {
			index, _, err := signIndex(e, user, priv, []byte("message"))
			require.NoError(t, err)
			used.use(t, index, "the parent")
		}
	}
	require.GreaterOrEqual(t, len(used.used), 300)
}

// signForEver is the child: it writes each index as soon as its signature is there.
func signForEver(t *testing.T, path, id string) {
	e := inFile(t, path)
	user, err := e.Login(bg, pkcs11.CKU_USER, "", pin)
	require.NoError(t, err)
	for {
		index, _, err := signIndex(e, user, e.TokenObject(id, true), []byte("message"))
		if err != nil {
			fmt.Fprintln(os.Stderr, strings.TrimSpace(err.Error()))
			os.Exit(1)
		}
		fmt.Println(index)
	}
}

func inFile(t *testing.T, path string) *Engine {
	t.Helper()
	registry, err := all.Registry()
	require.NoError(t, err)
	e, err := New(Options{
		OpenStore:  func(create bool) (store.Store, error) { return sqlite.Open(path, sqlite.Options{Create: create}) },
		Mechanisms: registry,
		KDF:        vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1},
	})
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}
