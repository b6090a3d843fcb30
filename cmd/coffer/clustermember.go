package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/pki"
)

// onMember is a command about one member, by an administrator.
func (a *app) onMember(use, short, long, example string, run func(ctx context.Context, t *token, c *client.Client, m memberState) (done string, err error)) *cobra.Command {
	return a.onMemberWith(use, short, long, example, func(ctx context.Context, t *token, c *client.Client, m memberState) (string, map[string]any, error) {
		done, err := run(ctx, t, c, m)
		return done, nil, err
	})
}

// onMemberWith is onMember for a command that has more to tell programs than that it is done.
func (a *app) onMemberWith(use, short, long, example string, run func(ctx context.Context, t *token, c *client.Client, m memberState) (done string, more map[string]any, err error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: use + " NODE", Short: short, Long: long, Example: example,
		Args: arguments(1, 1, "a NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asAdministrator(cmd.Context(), func(t *token, c *client.Client) error {
				m, err := memberNamed(cmd.Context(), t, c, args[0])
				if err != nil {
					return err
				}
				done, more, err := run(cmd.Context(), t, c, m)
				if err != nil {
					return err
				}
				answer := map[string]any{"node": m.Name, "id": m.ID, "done": true}
				maps.Copy(answer, more)
				return a.emit(answer, func(w io.Writer) { fmt.Fprintln(w, done) })
			})
		},
	}
	a.addPINFlags(cmd.Flags(), pinSO)
	return cmd
}

func (a *app) clusterDrainCommand() *cobra.Command {
	var undo bool
	cmd := a.onMember("drain", "Send clients away from a node, before maintenance",
		"The node answers what it has begun and sends new requests elsewhere; clients notice by themselves. It stays a member and\ngoes on voting.",
		"  coffer cluster drain b\n  coffer cluster drain b --undo",
		func(ctx context.Context, t *token, c *client.Client, m memberState) (string, error) {
			if err := c.DrainMember(ctx, t.cred, m.ID, !undo); err != nil {
				return "", err
			}
			if undo {
				return fmt.Sprintf("Node %s takes requests again.", printable(m.Name)), nil
			}
			return fmt.Sprintf("Node %s takes no new requests. Undo with: coffer cluster drain %s --undo", printable(m.Name), printable(m.Name)), nil
		})
	cmd.Flags().BoolVar(&undo, "undo", false, "let clients come again")
	return cmd
}

func (a *app) clusterRemoveCommand() *cobra.Command {
	var yes bool
	cmd := a.onMember("remove", "Take a node out of the cluster",
		"Its certificates are refused from then on. A node that still runs is to be stopped and destroyed: coffer node zeroize.",
		"  coffer cluster remove b\n  coffer cluster remove b --yes",
		func(ctx context.Context, t *token, c *client.Client, m memberState) (string, error) {
			if err := a.confirm(yes, fmt.Sprintf("Take the node %q (%s) out of the cluster?", printable(m.Name), m.State)); err != nil {
				return "", err
			}
			if err := c.RemoveMember(ctx, t.cred, m.ID); err != nil {
				return "", err
			}
			return fmt.Sprintf("Node %s is no member any more. On its machine: coffer node zeroize", printable(m.Name)), nil
		})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) clusterReplaceCommand() *cobra.Command {
	var yes bool
	cmd := a.onMemberWith("replace", "Take a dead node out and invite another in its place",
		"Removes the node and prints a token for the machine that takes its place. The new node may have the old one's name.",
		"  coffer cluster replace b --yes",
		func(ctx context.Context, t *token, c *client.Client, m memberState) (string, map[string]any, error) {
			if err := a.confirm(yes, fmt.Sprintf("Take the node %q (%s) out of the cluster, and invite another?", printable(m.Name), m.State)); err != nil {
				return "", nil, err
			}
			if err := c.RemoveMember(ctx, t.cred, m.ID); err != nil {
				return "", nil, err
			}
			i, err := c.Invite(ctx, t.cred, time.Hour)
			if err != nil {
				return "", nil, err
			}
			until := time.Unix(i.GetExpires(), 0)
			return fmt.Sprintf("Node %s is no member any more.\n%s\nGood for one machine until %s. On it: coffer cluster join",
				printable(m.Name), i.GetToken(), until.Format(time.DateTime)), map[string]any{"token": i.GetToken(), "expires": until.UTC()}, nil
		})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) clusterCertifyCommand() *cobra.Command {
	var out string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "certify NAME",
		Short: "Make a client's certificate, for programs on other machines",
		Long: `Makes a key here and has the cluster's authority sign its certificate. The files NAME.key, NAME.crt and ca.pem are what a
slot with nodes needs. Logins are bound to NAME: programs that fail over between machines may share it.`,
		Example: "  coffer cluster certify web --out /etc/coffer",
		Args:    arguments(1, 1, "a NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.asAdministrator(cmd.Context(), func(t *token, c *client.Client) error {
				return a.certify(cmd.Context(), t, c, args[0], out, lifetime)
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", ".", "`DIRECTORY` for the files")
	cmd.Flags().DurationVar(&lifetime, "lifetime", pki.LeafLifetime, "`TIME` that the certificate is good for")
	a.addPINFlags(cmd.Flags(), pinSO)
	return cmd
}

func (a *app) certify(ctx context.Context, t *token, c *client.Client, name, dir string, lifetime time.Duration) error {
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	s, err := c.Status(ctx, t.cred)
	if err != nil {
		return err
	}
	request, err := pki.NewRequest(key, pki.Identity{Kind: pki.Client, Cluster: s.GetCluster(), Name: name}, nil)
	if err != nil {
		return usage("%v", "choose another NAME", err)
	}
	m, err := c.Certify(ctx, t.cred, request, name, lifetime)
	if err != nil {
		return err
	}
	private, err := pki.KeyPEM(key)
	if err != nil {
		return err
	}
	defer clear(private)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range []struct {
		name    string
		content []byte
		mode    os.FileMode
	}{
		{name + ".key", private, 0o600},
		{name + ".crt", pki.CertificatesPEM(m.GetCertificate()...), 0o644},
		{"ca.pem", pki.CertificatesPEM(m.GetAuthority()...), 0o644},
	} {
		out, err := a.newSink(filepath.Join(dir, f.name), false, f.mode)
		if err != nil {
			return err
		}
		if _, err = out.Write(f.content); err == nil {
			err = out.done()
		}
		if err != nil {
			out.undone()
			return err
		}
	}
	return a.emit(map[string]any{"name": name, "directory": dir}, func(w io.Writer) {
		fmt.Fprintf(w, "Wrote %s.key, %s.crt and ca.pem to %s.\nA slot with them: nodes = [\"HOST:2223\"], ca, certificate and key\n", name, name, dir)
	})
}
