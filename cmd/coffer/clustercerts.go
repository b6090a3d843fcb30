package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
)

// clientCertificate is what is told about a client's certificate.
type clientCertificate struct {
	Name    string     `json:"name"`
	Serial  string     `json:"serial"`
	SHA256  string     `json:"sha256"`
	Issued  *time.Time `json:"issued,omitempty"`
	Expires time.Time  `json:"expires"`
	Revoked *time.Time `json:"revoked,omitempty"`
	State   string     `json:"state"` // "good", "revoked", "expired"
}

func clientCertificates(ctx context.Context, t *token, c *client.Client) ([]clientCertificate, error) {
	list, err := c.Certificates(ctx, t.cred)
	if err != nil {
		return nil, err
	}
	out := []clientCertificate{}
	for _, m := range list {
		out = append(out, clientCertificateOf(m, time.Now()))
	}
	return out, nil
}

func clientCertificateOf(m *wire.ClientCertificate, now time.Time) clientCertificate {
	at := func(seconds int64) *time.Time {
		if seconds == 0 {
			return nil
		}
		t := time.Unix(seconds, 0).UTC()
		return &t
	}
	x := clientCertificate{Name: m.GetName(), Serial: m.GetSerial(), SHA256: hex.EncodeToString(m.GetSha256()),
		Issued: at(m.GetIssued()), Expires: time.Unix(m.GetExpires(), 0).UTC(), Revoked: at(m.GetRevoked()), State: "good"}
	switch {
	case x.Revoked != nil:
		x.State = "revoked"
	case now.After(x.Expires):
		x.State = "expired"
	}
	return x
}

func (a *app) clusterCertificatesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certificates",
		Short: "List the certificates that were made for clients",
		Long: `Those that "coffer cluster certify" has made and that have not expired, and what was revoked besides. What an authority of
your own has signed is not known here.`,
		Example: "  coffer cluster certificates",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.asAdministrator(cmd.Context(), func(t *token, c *client.Client) error {
				list, err := clientCertificates(cmd.Context(), t, c)
				if err != nil {
					return err
				}
				return a.emit(map[string]any{"certificates": list}, func(w io.Writer) {
					var rows [][]string
					for _, x := range list {
						issued := "-"
						if x.Issued != nil {
							issued = x.Issued.Local().Format(time.DateTime)
						}
						rows = append(rows, []string{printable(x.Name), x.State, x.Serial, issued, x.Expires.Local().Format(time.DateTime)})
					}
					table(w, []string{"NAME", "STATE", "SERIAL", "ISSUED", "EXPIRES"}, rows)
				})
			})
		},
	}
	a.addPINFlags(cmd.Flags(), pinSO)
	return cmd
}

func (a *app) clusterRevokeCommand() *cobra.Command {
	var serial, file string
	var yes bool
	cmd := &cobra.Command{
		Use:   "revoke [NAME]",
		Short: "Have all nodes refuse a client's certificate",
		Long: `Revokes all certificates that were made for NAME until now, or the one that --serial or --certificate names. When the command
returns, every node that is alive refuses it, on connections that stand too. It cannot be undone; a certificate that is made
for NAME afterwards is good. Logins of the client stay good for who shows another certificate for NAME.`,
		Example: "  coffer cluster revoke web\n  coffer cluster revoke --serial 5f0c6a\n  coffer cluster revoke --certificate web.crt",
		Args:    arguments(0, 1, "a NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := 0
			for _, is := range []bool{len(args) > 0, serial != "", file != ""} {
				if is {
					given++
				}
			}
			if given != 1 {
				return usage("what is to be revoked is not clear", "give a NAME, --serial or --certificate, and one of them alone")
			}
			return a.asAdministrator(cmd.Context(), func(t *token, c *client.Client) error {
				list, err := clientCertificates(cmd.Context(), t, c)
				if err != nil {
					return err
				}
				var which []clientCertificate
				switch {
				case file != "":
					which, err = certificateIn(file)
				case serial != "":
					which, err = certificateOf(list, serial)
				default:
					which, err = certificatesFor(list, args[0])
				}
				if err != nil {
					return err
				}
				return a.revoke(cmd.Context(), t, c, which, yes)
			})
		},
	}
	cmd.Flags().StringVar(&serial, "serial", "", "the certificate with this serial `NUMBER` or SHA-256, in hex")
	cmd.Flags().StringVar(&file, "certificate", "", "the certificate in this `FILE`, also one of your own authority")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	a.addPINFlags(cmd.Flags(), pinSO)
	return cmd
}

// certificatesFor picks the certificates of a client that are good.
func certificatesFor(list []clientCertificate, name string) (which []clientCertificate, err error) {
	for _, x := range list {
		if x.Name == name && x.State == "good" {
			which = append(which, x)
		}
	}
	if len(which) == 0 {
		return nil, notFound("no certificate for %q is known that is good", "coffer cluster certificates lists those that are known; "+
			"revoke another by --certificate FILE or --serial", name)
	}
	return which, nil
}

// certificateOf picks a certificate by its number, or takes the number for that of one which is not known here.
func certificateOf(list []clientCertificate, number string) ([]clientCertificate, error) {
	number = strings.TrimLeft(strings.ToLower(strings.ReplaceAll(number, ":", "")), "0")
	for _, x := range list {
		if x.Serial == number || strings.TrimLeft(x.SHA256, "0") == number && number != "" {
			return []clientCertificate{x}, nil
		}
	}
	if number == "" || len(number) > 40 || strings.Trim(number, "0123456789abcdef") != "" {
		return nil, usage("%q is no serial number, and no certificate's SHA-256 that is known", "openssl x509 -noout -serial -in FILE tells it", number)
	}
	return []clientCertificate{{Serial: number}}, nil
}

func certificateIn(file string) ([]clientCertificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	chain, err := pki.ParseCertificates(b)
	if err != nil || len(chain) == 0 {
		return nil, usage("%s holds no certificate", "give the certificate in PEM format", file)
	}
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, usage("%s: %v", "give the certificate in PEM format", file, err)
	}
	id, err := pki.IdentityOf(cert)
	if err != nil || id.Kind != pki.Client {
		return nil, usage("%s holds no certificate of a client", "a node is taken out with coffer cluster remove", file)
	}
	return []clientCertificate{{Name: id.Name, Serial: cert.SerialNumber.Text(16), Expires: cert.NotAfter}}, nil
}

func (a *app) revoke(ctx context.Context, t *token, c *client.Client, which []clientCertificate, yes bool) error {
	serials := make([]string, len(which))
	for i, x := range which {
		serials[i] = x.Serial
	}
	numbers := strings.Join(serials, ", ")
	if err := a.confirm(yes, fmt.Sprintf("Revoke %d certificate(s) %s? It cannot be undone.", len(which), numbers)); err != nil {
		return err
	}
	for _, x := range which {
		if err := c.RevokeCertificate(ctx, t.cred, x.Serial, x.Expires); err != nil {
			return err
		}
	}
	return a.emit(map[string]any{"revoked": serials}, func(w io.Writer) {
		fmt.Fprintf(w, "Revoked, and refused by all nodes: %s\n", numbers)
	})
}
