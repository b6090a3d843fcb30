package member

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// certificate is what a cluster remembers of a client's certificate: one that its authority has signed, or one of the
// customer's that was revoked. It is forgotten when the certificate has expired. Times are Unix seconds.
type certificate struct {
	Serial  string `json:"serial"` // lower-case hex, without leading zeros
	Name    string `json:"name,omitempty"`
	SHA256  []byte `json:"sha256,omitempty"`
	Issued  int64  `json:"issued,omitempty"`
	Expires int64  `json:"expires"`
	Revoked int64  `json:"revoked,omitempty"` // 0: it is good
}

// revokedFor is how long a certificate stays revoked of which nobody knows when it expires: as long as an authority lasts.
const revokedFor = 10 * 365 * 24 * time.Hour

// maxSerial is the longest serial number in hex digits (RFC 5280, 4.1.2.2: 20 octets).
const maxSerial = 40

func serialNumber(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }

// remembered is what is kept of a certificate that was just signed.
func remembered(der []byte, name string, now time.Time) (certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return certificate{}, err
	}
	sum := sha256.Sum256(der)
	return certificate{Serial: serialNumber(cert), Name: name, SHA256: sum[:], Issued: now.Unix(), Expires: cert.NotAfter.Unix()}, nil
}

// revoke returns c revoked; changed is false if it was already. A certificate that is not known has no serial number yet.
func (c certificate) revoke(serial string, expires int64, now time.Time) (_ certificate, changed bool, err error) {
	if serial == "" || len(serial) > maxSerial || strings.Trim(serial, "0123456789abcdef") != "" || serial[0] == '0' {
		return c, false, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "a serial number is 1 to %d hex digits in lower case, without leading zeros", maxSerial)
	}
	if expires != 0 && expires <= now.Unix() {
		return c, false, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "the certificate has expired, so that it is refused in any case")
	}
	if c.Serial == "" {
		if expires == 0 {
			expires = now.Add(revokedFor).Unix()
		}
		c = certificate{Serial: serial, Expires: expires}
	}
	if c.Revoked != 0 && expires <= c.Expires {
		return c, false, nil
	}
	if c.Revoked == 0 {
		c.Revoked = now.Unix()
	}
	c.Expires = max(c.Expires, expires) // another certificate may have the number by now, and live longer
	return c, true, nil
}

// keptFor is how long a certificate is kept in mind after its end: the clocks of some nodes may be ahead.
const keptFor = 7 * 24 * time.Hour

// past tells whether nothing needs to be known of a certificate any more.
func (c certificate) past(now int64) bool { return now > c.Expires+int64(keptFor/time.Second) }

var errRevoked = errors.New("the certificate was revoked")

// certificateList is the list as it is sent, the eldest first.
func certificateList(list []certificate) *wire.CertificateList {
	slices.SortFunc(list, func(a, b certificate) int {
		return cmp.Or(cmp.Compare(a.Issued, b.Issued), strings.Compare(a.Serial, b.Serial))
	})
	out := &wire.CertificateList{}
	for _, c := range list {
		out.Certificates = append(out.Certificates, &wire.ClientCertificate{Serial: c.Serial, Name: c.Name, Sha256: c.SHA256,
			Issued: c.Issued, Expires: c.Expires, Revoked: c.Revoked})
	}
	return out
}

// revokedClients are the serial numbers that are refused, as of a generation of the store.
type revokedClients struct {
	generation uint64
	serials    map[string]bool
}

// admits answers whether a client's certificate is not revoked, as far as this node knows. It costs a comparison while
// nothing has changed and nothing is revoked.
func (m *Member) admits(cert *x509.Certificate) error {
	generation := m.cluster.Changed()
	known := m.refused.Load()
	if known == nil || known.generation != generation {
		list, err := every[certificate](context.Background(), m.records, kindCertificate)
		if err != nil {
			return fmt.Errorf("what was revoked cannot be read: %w", err)
		}
		known = &revokedClients{generation, map[string]bool{}}
		for _, c := range list {
			if c.Revoked != 0 {
				known.serials[c.Serial] = true
			}
		}
		m.refused.Store(known)
	}
	if len(known.serials) > 0 && known.serials[serialNumber(cert)] {
		return errRevoked
	}
	return nil
}

// remember writes down a certificate that was signed, before anybody has it.
func (m *Member) remember(ctx context.Context, c certificate) error {
	op, err := m.records.put(kindCertificate, c.Serial, c)
	if err == nil {
		_, err = m.records.store.Commit(ctx, nil, []store.Op{op})
	}
	return unavailable(err)
}

// Certificates implements node.Cluster. Without a quorum it lists what this node has heard of.
func (m *Member) Certificates(ctx context.Context) (*wire.CertificateList, error) {
	within, cancel := context.WithTimeout(ctx, catchUpWithin)
	defer cancel()
	if err := m.catchUp(within); err != nil {
		m.log.Debug("the list of certificates may lack the newest", "reason", err)
	}
	list, err := every[certificate](ctx, m.records, kindCertificate)
	if err != nil {
		return nil, unavailable(err)
	}
	return certificateList(slices.Collect(maps.Values(list))), nil
}

// Revoke implements node.Cluster. That it was revoked already is no error: then too every node knows it on return.
func (m *Member) Revoke(ctx context.Context, serial string, expires int64) error {
	revision, err := m.revoke(ctx, serial, expires)
	for errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
		revision, err = m.revoke(ctx, serial, expires)
	}
	if err != nil {
		return unavailable(err)
	}
	everybody := &settled{Store: m.cluster, alive: m.alive, await: m.awaitCluster, linearize: m.cluster.Linearize, log: m.log}
	if err := everybody.settle(ctx, revision); err != nil {
		return unavailable(err)
	}
	m.log.Info("a client's certificate was revoked", "serial", serial)
	return nil
}

func (m *Member) revoke(ctx context.Context, serial string, expires int64) (int64, error) {
	if err := m.catchUp(ctx); err != nil {
		return 0, err
	}
	var have certificate
	at, err := m.records.get(ctx, kindCertificate, serial, &have)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrInvalid) {
		return 0, err
	}
	next, changed, err := have.revoke(serial, expires, m.opts.Now())
	if err != nil || !changed {
		return m.cluster.Applied(), err
	}
	op, err := m.records.put(kindCertificate, serial, next)
	if err != nil {
		return 0, err
	}
	return m.records.store.Commit(ctx, []store.Compare{{Key: op.Key, Modified: at}}, []store.Op{op})
}

// awaitCluster asks another member to take a revision in, of what the cluster keeps of itself too.
func (m *Member) awaitCluster(ctx context.Context, id string, revision int64) error {
	return m.askToAwait(ctx, id, &wire.Request{MinRevision: revision, Body: &wire.Request_Await{Await: &wire.Await{Cluster: true}}})
}

// Await implements node.Cluster.
func (m *Member) Await(ctx context.Context, revision int64) error {
	return unavailable(m.cluster.Await(ctx, revision))
}
