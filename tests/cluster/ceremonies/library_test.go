package ceremonies

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	ck "github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// module is the built library, loaded once: it cannot be unloaded.
var module *pkcs11.Ctx

// library initialises the built library in this process, with the cluster's slot.
func (c *cluster) library(t testing.TB) *pkcs11.Ctx {
	t.Helper()
	t.Setenv("COFFER_CONF", c.slotFile())
	t.Setenv("COFFER_LOG", c.libraryLog())
	if module == nil {
		module = pkcs11.New(harness.Module(t))
		require.NotNil(t, module)
	}
	require.NoError(t, module.Initialize())
	t.Cleanup(func() { module.Finalize() })
	return module
}

func (c *cluster) libraryLog() string { return filepath.Join(c.dir, "library.log") }

// session opens a read/write session at slot 0 and logs the crypto user in if nobody is.
func session(t testing.TB, p *pkcs11.Ctx) pkcs11.SessionHandle {
	t.Helper()
	s, err := p.OpenSession(0, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	err = p.Login(s, pkcs11.CKU_USER, harness.UserPIN)
	if err != pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		require.NoError(t, err)
	}
	return s
}

func attributes(class, kind uint, label string, value []byte, token bool) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, kind),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label), pkcs11.NewAttribute(pkcs11.CKA_VALUE, value),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, token), pkcs11.NewAttribute(pkcs11.CKA_SIGN, kind != pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, kind == pkcs11.CKK_AES),
	}
}

func hmacKey(label string, value []byte, token bool) []*pkcs11.Attribute {
	return attributes(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET, label, value, token)
}

var hmacSHA256 = []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_SHA256_HMAC, nil)}

// signs computes an HMAC and compares it.
func signs(p *pkcs11.Ctx, s pkcs11.SessionHandle, key pkcs11.ObjectHandle, value []byte, data string) error {
	if err := p.SignInit(s, hmacSHA256, key); err != nil {
		return fmt.Errorf("C_SignInit: %w", err)
	}
	sum, err := p.Sign(s, []byte(data))
	if err != nil {
		return fmt.Errorf("C_Sign: %w", err)
	}
	if string(sum) != string(hmacOf(value, data)) {
		return fmt.Errorf("the HMAC is wrong: %x", sum)
	}
	return nil
}

func lookFor(t testing.TB, p *pkcs11.Ctx, s pkcs11.SessionHandle, label string) []pkcs11.ObjectHandle {
	t.Helper()
	require.NoError(t, p.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)}))
	list, _, err := p.FindObjects(s, 10)
	require.NoError(t, err)
	require.NoError(t, p.FindObjectsFinal(s))
	return list
}

// TestExposedNodes: a slot may show its nodes too, each in a slot to read from.
func TestExposedNodes(t *testing.T) {
	c := shared(t)
	p := c.library(t)
	slots, err := p.GetSlotList(true)
	require.NoError(t, err)
	require.Equal(t, []uint{0, 1000, 1001, 1002}, slots)
	value := []byte("thirty-two bytes of a key, a key")
	s := session(t, p)
	key, err := p.CreateObject(s, hmacKey("exposed", value, true))
	require.NoError(t, err)
	id := func(s pkcs11.SessionHandle, o pkcs11.ObjectHandle) string {
		list, err := p.GetAttributeValue(s, o, []*pkcs11.Attribute{pkcs11.NewAttribute(uint(ck.CKA_UNIQUE_ID), nil)})
		require.NoError(t, err)
		return string(list[0].Value)
	}
	first, err := p.GetTokenInfo(0)
	require.NoError(t, err)
	require.Zero(t, first.Flags&pkcs11.CKF_WRITE_PROTECTED)
	for _, slot := range slots[1:] {
		info, err := p.GetTokenInfo(slot)
		require.NoError(t, err)
		require.Equal(t, first.SerialNumber, info.SerialNumber)
		require.Equal(t, first.Label, info.Label)
		require.NotZero(t, info.Flags&pkcs11.CKF_WRITE_PROTECTED)
		_, err = p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		require.Equal(t, pkcs11.Error(pkcs11.CKR_TOKEN_WRITE_PROTECTED), err)
		one, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
		require.NoError(t, err)
		require.NoError(t, p.Login(one, pkcs11.CKU_USER, harness.UserPIN))
		list := lookFor(t, p, one, "exposed")
		require.Len(t, list, 1)
		require.Equal(t, id(s, key), id(one, list[0]))
		require.NoError(t, signs(p, one, list[0], value, "through one node"))
		require.Equal(t, pkcs11.Error(pkcs11.CKR_TOKEN_WRITE_PROTECTED), p.DestroyObject(one, list[0]))
	}
	require.NoError(t, p.DestroyObject(s, key))
	for i, slot := range slots[1:] {
		one, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
		require.NoError(t, err)
		require.Empty(t, lookFor(t, p, one, "exposed"), "node %d", i)
	}
}

// TestSessionsSurvive: a process with a login, a session key, a token key and operations under way notices nothing while
// each node is killed in turn.
func TestSessionsSurvive(t *testing.T) {
	c := shared(t)
	p := c.library(t)
	value := []byte("thirty-two bytes of a key, a key")
	s := session(t, p)
	own, err := p.CreateObject(s, hmacKey("own", value, false))
	require.NoError(t, err)
	kept, err := p.CreateObject(s, hmacKey("kept", value, true))
	require.NoError(t, err)
	cbc, err := p.CreateObject(s, attributes(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES, "cbc", value, false))
	require.NoError(t, err)

	// Two operations in steps, which last as long as the test.
	long, enc := session(t, p), session(t, p)
	require.NoError(t, p.SignInit(long, hmacSHA256, kept))
	iv := make([]byte, aes.BlockSize)
	require.NoError(t, p.EncryptInit(enc, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_CBC, iv)}, cbc))
	var signed, plain, encrypted []byte
	step := func() {
		part := []byte(fmt.Sprintf("part %011d", len(signed)))
		require.NoError(t, p.SignUpdate(long, part))
		signed = append(signed, part...)
		out, err := p.EncryptUpdate(enc, part)
		require.NoError(t, err)
		plain, encrypted = append(plain, part...), append(encrypted, out...)
	}
	step()

	// And short ones without a pause, with both keys.
	var count atomic.Int64
	var failures []error
	stop := make(chan struct{})
	var work sync.WaitGroup
	busy := session(t, p)
	work.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := signs(p, busy, []pkcs11.ObjectHandle{own, kept}[i%2], value, fmt.Sprint(i)); err != nil {
				failures = append(failures, err)
				return
			}
			count.Add(1)
		}
	})
	for _, n := range c.nodes {
		n.kill()
		before := count.Load()
		step()
		time.Sleep(300 * time.Millisecond)
		step()
		within(t, patience, func() error {
			if count.Load() <= before {
				return fmt.Errorf("no signature since node %s was killed", n.name)
			}
			return nil
		})
		n.start(t)
		n.serves(t)
		c.settled(t, n, 3, 3)
		step()
	}
	close(stop)
	work.Wait()
	require.Empty(t, failures)
	t.Logf("%d signatures, none failed", count.Load())

	sum, err := p.SignFinal(long)
	require.NoError(t, err)
	require.Equal(t, hmacOf(value, string(signed)), sum)
	_, err = p.EncryptFinal(enc)
	require.NoError(t, err)
	block, err := aes.NewCipher(value)
	require.NoError(t, err)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(plain, plain)
	require.Equal(t, plain, encrypted)
	require.NoError(t, signs(p, s, own, value, "at last"))
	require.NoError(t, p.DestroyObject(s, kept))
}

// TestWithoutQuorum: with one of three nodes left, what is there is used and nothing is changed; the log says why.
func TestWithoutQuorum(t *testing.T) {
	c := shared(t)
	p := c.library(t)
	value := []byte("thirty-two bytes of a key, a key")
	s := session(t, p)
	key, err := p.CreateObject(s, hmacKey("quorum", value, true))
	require.NoError(t, err)
	for _, n := range c.nodes[1:] {
		n.kill()
	}
	os.Remove(c.libraryLog())
	for i := range 20 {
		require.NoError(t, signs(p, s, key, value, fmt.Sprint(i)))
	}
	began := time.Now()
	_, err = p.CreateObject(s, hmacKey("never", value, true))
	require.Equal(t, pkcs11.Error(pkcs11.CKR_DEVICE_ERROR), err)
	t.Logf("creating is refused after %v", time.Since(began))
	require.Less(t, time.Since(began), patience)
	log, err := os.ReadFile(c.libraryLog())
	require.NoError(t, err)
	require.Contains(t, string(log), "CreateObject CKR_DEVICE_ERROR")
	require.Contains(t, string(log), "quorum")
	require.NoError(t, signs(p, s, key, value, "still"))
	o := c.try(t, "cluster", "status", "--socket", c.nodes[0].sock)
	require.Equal(t, 1, o.code, o.out+o.err)
	require.Contains(t, o.err, "no quorum")

	c.nodes[1].start(t)
	within(t, patience, func() error {
		_, err := p.CreateObject(s, hmacKey("again", value, true))
		return err
	})
	require.Len(t, lookFor(t, p, s, "again"), 1)
	// A change that met no quorum may still be agreed on when there is one: the answer was an error, not a refusal. What
	// came of it is the same in each node.
	for _, o := range lookFor(t, p, s, "never") {
		require.NoError(t, signs(p, s, o, value, "late"))
		require.NoError(t, p.DestroyObject(s, o))
	}
	c.nodes[2].start(t)
	c.nodes[2].serves(t)
	c.settled(t, c.nodes[0], 3, 3)
	c.verified(t)
	for _, label := range []string{"again", "quorum"} {
		require.NoError(t, p.DestroyObject(s, lookFor(t, p, s, label)[0]))
	}
}

// TestAllKilled: nothing that was acknowledged is lost when all nodes lose their power at once.
func TestAllKilled(t *testing.T) {
	c := shared(t)
	value := []byte("thirty-two bytes of a key, a key")
	p := c.library(t)
	s := session(t, p)
	var labels []string
	for i := range 20 {
		label := fmt.Sprintf("kept-%d", i)
		_, err := p.CreateObject(s, hmacKey(label, value, true))
		require.NoError(t, err)
		labels = append(labels, label)
	}
	for _, n := range c.nodes {
		n.kill()
	}
	for _, n := range c.nodes {
		n.start(t)
	}
	for _, n := range c.nodes {
		n.serves(t)
	}
	c.settled(t, c.nodes[0], 3, 3)
	for _, label := range labels {
		list := lookFor(t, p, s, label)
		require.Len(t, list, 1)
		require.NoError(t, signs(p, s, list[0], value, label), "in the session from before")
		require.NoError(t, p.DestroyObject(s, list[0]))
	}
	c.verified(t)
	require.False(t, strings.Contains(c.nodes[0].tail(), "panic"))
}
