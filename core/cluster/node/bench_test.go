package node

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	far "github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// BenchmarkSign compares P-256 signatures of a digest in this process, over a unix socket and over TLS, from one caller
// and from 64 at once.
func BenchmarkSign(b *testing.B) {
	e := newEngine(b)
	_, path := onSocket(b, Options{HSM: e, Cluster: newGroup("n1")})
	a := newOffice(b)
	_, address := onTLS(b, a, Options{HSM: e, Cluster: newGroup("n1")})
	cert := a.issue(b, person("bench"), time.Hour)
	conf := pki.ClientTLS(cert, a.pool, "cluster")
	conf.Certificates = []tls.Certificate{cert}
	for _, way := range []struct {
		name string
		hsm  func() hsm.HSM
	}{
		{"embedded", func() hsm.HSM { return e }},
		{"unix", func() hsm.HSM { return newClient(b, far.Options{Socket: path}) }},
		{"tls", func() hsm.HSM { return newClient(b, far.Options{Nodes: []string{address}, TLS: conf}) }},
	} {
		h := way.hsm()
		key := signingKey(b, h)
		for name, callers := range map[string]int{"1": 1, "64": 64} {
			b.Run(way.name+"/"+name, func(b *testing.B) {
				b.SetParallelism(max(1, callers/2))
				run := func() {
					op, err := h.Begin(context.Background(), nil, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}, key)
					if err == nil {
						_, err = op.Finish(context.Background(), nil, make([]byte, 32))
						op.Close()
					}
					if err != nil {
						b.Error(err)
					}
				}
				if callers == 1 {
					for b.Loop() {
						run()
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						run()
					}
				})
			})
		}
	}
}

func newClient(b *testing.B, opts far.Options) hsm.HSM {
	b.Helper()
	c, err := far.New(opts)
	require.NoError(b, err)
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// signingKey makes a public session key pair, so that no login is needed, on a token that is made if need be.
func signingKey(b *testing.B, h hsm.HSM) hsm.Object {
	b.Helper()
	ctx := context.Background()
	require.NoError(b, h.InitToken(ctx, []byte(officer), "bench"))
	cred, err := h.Login(ctx, pkcs11.CKU_SO, "", []byte(officer))
	require.NoError(b, err)
	require.NoError(b, h.InitPIN(ctx, cred, []byte("user's PIN")))
	_, private, err := h.GenerateKeyPair(ctx, nil, pkcs11.Mechanism{Type: pkcs11.CKM_EC_KEY_PAIR_GEN},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}), pkcs11.Attr(pkcs11.CKA_VERIFY, true)},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SIGN, true), pkcs11.Attr(pkcs11.CKA_PRIVATE, false)})
	require.NoError(b, err)
	return private
}
