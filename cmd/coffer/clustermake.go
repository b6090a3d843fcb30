package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/cluster/member"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/release"
	"github.com/coffer-hsm/coffer/core/secret"
)

// The ceremonies on a machine that runs no daemon yet.

// nodeFlags are those of commands that make a node. Where the configuration is missing, it is written from them.
type nodeFlags struct {
	file, name, zone, listen, advertise, stateDir, store string
	csr                                                  bool
	certificate, authority                               string
}

func (f *nodeFlags) add(cmd *cobra.Command) {
	addNodeConfig(cmd, &f.file)
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "`NAME` of the node, for a configuration that is yet to be written (default: the machine's)")
	flags.StringVar(&f.zone, "zone", "", "`ZONE` of the node, likewise")
	flags.StringVar(&f.listen, "listen", "", "`HOST:PORT` for clients, likewise (the two ports after it are the store's)")
	flags.StringVar(&f.advertise, "advertise", "", "`HOST:PORT` by which others reach the node, likewise")
	flags.StringVar(&f.stateDir, "state-dir", "", "`DIRECTORY` of the node's keys and data, likewise")
	flags.BoolVar(&f.csr, "csr", false, "have your own authority sign the node's certificate: write a request and stop")
	flags.StringVar(&f.certificate, "certificate", "", "`FILE` with what your authority has signed, in PEM")
}

// node reads the configuration, and writes it first where there is none. A file that says what the flags say is as good: a
// ceremony that failed may be begun again with the same command.
func (a *app) node(f *nodeFlags) (*config.Node, error) {
	path := f.file
	if path == "" {
		path = config.NodeFile
	}
	text, err := f.configuration()
	if err != nil {
		return nil, err
	}
	there, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
		fmt.Fprintln(a.errOut, "Wrote "+path)
	case err == nil && text != "" && text != string(there):
		return nil, usage("%s is there already and says something else than --name, --zone, --listen, --advertise, --state-dir and --store",
			"change the file, or leave them out", path)
	}
	return config.LoadNode(path)
}

// configuration is what the flags say, as a file; empty where none is given.
func (f *nodeFlags) configuration() (string, error) {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s = %q\n", key, value)
		}
	}
	abs, err := filepath.Abs(f.stateDir)
	if err != nil {
		return "", err
	}
	if f.stateDir == "" {
		abs = ""
	}
	line("name", f.name)
	line("zone", f.zone)
	line("state_dir", abs)
	line("listen", f.listen)
	line("advertise", f.advertise)
	line("store", f.store)
	if abs != "" {
		line("socket", filepath.Join(filepath.Dir(abs), "cofferd.sock"))
	}
	if f.listen != "" && f.store == "" {
		peer, store, err := nextPorts(f.listen)
		if err != nil {
			return "", err
		}
		line("peer_listen", peer)
		line("store_listen", store)
	}
	return b.String(), nil
}

// people asks for what opens the root key.
func (a *app) people() member.Prompts {
	if !a.interactive() {
		return member.Prompts{}
	}
	return member.Prompts{
		Passphrase: func(_ context.Context, fresh bool) (*secret.Bytes, error) {
			p, err := a.askSecret("passphrase of this node")
			if err != nil || !fresh {
				return p, err
			}
			again, err := a.askSecret("the same again")
			if err != nil {
				return nil, err
			}
			defer again.Zero()
			if !p.Equal(again) {
				p.Zero()
				return nil, noPIN("the two are not the same", "try again")
			}
			return p, nil
		},
		GiveShares: func(_ context.Context, shares []string) error {
			fmt.Fprintln(a.out, "The shares of this node's root key. Give each to another person; they are shown once.")
			for i, s := range shares {
				fmt.Fprintf(a.out, "%2d  %s\n", i+1, s)
			}
			return nil
		},
		TakeShare: func(_ context.Context, have, need int) (string, error) {
			s, err := a.askSecret(fmt.Sprintf("share %d of %d", have+1, need))
			if err != nil {
				return "", err
			}
			defer s.Zero()
			return string(s.Expose()), nil
		},
	}
}

// nextPorts are where the store listens beside a node: the two ports after the node's own.
func nextPorts(listen string) (peer, store string, err error) {
	host, text, err := net.SplitHostPort(listen)
	port, bad := strconv.ParseUint(text, 10, 16)
	if err != nil || bad != nil || port == 0 || port > 65533 {
		return "", "", usage("--listen %q is no address", "give HOST:PORT", listen)
	}
	at := func(p uint64) string { return net.JoinHostPort(host, strconv.FormatUint(p, 10)) }
	return at(port + 1), at(port + 2), nil
}

// ceremonyLog shows what a ceremony warns of.
func (a *app) ceremonyLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.errOut, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func readIfNamed(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	return os.ReadFile(path)
}

func (a *app) clusterCreateCommand() *cobra.Command {
	var f nodeFlags
	var label, activation string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make the first node of a cluster, on this machine",
		Long: `Makes the root key, the node's keys, the authorities and a temporary administrator. The node's configuration is read from
--node-config; where that file is missing it is written from --name, --listen and the like.

With --csr your own authority signs the nodes' certificates: the first call writes a request and stops, the second brings
--certificate and --ca.`,
		Example: `  coffer cluster create --label prod
  coffer cluster create --label test --node-config a.toml --name a --listen 127.0.0.1:2223 --state-dir a/state`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case label == "" || len(label) > maxLabel:
				return usage("the cluster needs a label of 1 to %d bytes", "add --label NAME", maxLabel)
			case activation != "code" && activation != "open":
				return usage("--activation %q is not known", "use code, or open for a test", activation)
			}
			return a.createCluster(cmd.Context(), &f, label, activation == "open")
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&label, "label", "", "`NAME` of the cluster's token, at most 32 bytes")
	cmd.Flags().StringVar(&activation, "activation", "code", "`HOW` the first administrator is made: with a code, or open to whoever calls C_InitToken first")
	cmd.Flags().StringVar(&f.authority, "ca", "", "`FILE` with your authority's certificate, in PEM")
	cmd.Flags().StringVar(&f.store, "store", "", "`KIND` of store for a configuration that is yet to be written: etcd, external or file")
	return cmd
}

func (a *app) createCluster(ctx context.Context, f *nodeFlags, label string, open bool) error {
	n, err := a.node(f)
	if err != nil {
		return err
	}
	options := member.CreateOptions{Node: n, Version: release.Name(), Label: label, Open: open, CSR: f.csr || f.certificate != "", Log: a.ceremonyLog()}
	if options.Certificate, err = readIfNamed(f.certificate); err != nil {
		return err
	}
	if options.Authority, err = readIfNamed(f.authority); err != nil {
		return err
	}
	if err := asOwner(n.StateDir); err != nil {
		return err
	}
	if options.Method, err = member.MethodOf(n.Unseal, a.people()); err != nil {
		return err
	}
	made, err := member.Create(ctx, options)
	if err != nil {
		return failed("%v", "coffer node zeroize makes room for another node", err)
	}
	if made.Activation != nil {
		defer made.Activation.Zero()
	}
	code := ""
	if made.Activation != nil {
		code = string(made.Activation.Expose())
	}
	return a.emit(map[string]any{"cluster": made.Cluster, "member": made.Member, "serial": made.Serial, "request": made.Request,
		"authority": made.Authority, "fingerprint": made.Fingerprint, "activation_code": code, "socket": n.Socket}, func(w io.Writer) {
		if made.Request != "" {
			fmt.Fprintf(w, "Wrote the certificate request %s.\nHave your authority sign it, then: coffer cluster create --label %q --certificate FILE --ca FILE\n", made.Request, label)
			return
		}
		fmt.Fprintf(w, "Made the cluster %q with node %s.\n", label, n.Name)
		fields(w, [][2]string{{"cluster", made.Cluster}, {"serial", made.Serial}, {"authority", made.Authority}, {"its SHA-256", made.Fingerprint}})
		fmt.Fprintf(w, "\nNext, start the node:  cofferd --config %s\n", n.Source)
		if code != "" {
			fmt.Fprintf(w, "then activate it:      coffer cluster activate --socket %s\nwith this code, which is shown once and stands nowhere else:\n\n  %s\n", n.Socket, code)
		}
	})
}

func (a *app) clusterJoinCommand() *cobra.Command {
	var f nodeFlags
	var tokenFile string
	var addresses []string
	cmd := &cobra.Command{
		Use:   "join",
		Short: "Make this machine a node of a cluster, with an invitation",
		Long: `The token of "coffer cluster invite" comes from --token-file ("-" is standard input), or from COFFER_JOIN_TOKEN. The node's
configuration is read or written as by "coffer cluster create".`,
		Example: "  coffer cluster join --token-file b.token\n  coffer cluster join --token-file b.token --node-config b.toml --name b --listen 127.0.0.1:2233 --state-dir b/state",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := a.joinToken(tokenFile)
			if err != nil {
				return err
			}
			return a.joinCluster(cmd.Context(), &f, text, addresses)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "`FILE` with the invitation")
	cmd.Flags().StringSliceVar(&addresses, "address", nil, "`HOST:PORT` of nodes to ask, besides those in the token")
	return cmd
}

func (a *app) joinCluster(ctx context.Context, f *nodeFlags, text string, addresses []string) error {
	n, err := a.node(f)
	if err != nil {
		return err
	}
	options := member.JoinOptions{Node: n, Version: release.Name(), Token: text, Addresses: addresses, CSR: f.csr || f.certificate != "", Log: a.ceremonyLog()}
	if options.Certificate, err = readIfNamed(f.certificate); err != nil {
		return err
	}
	if err := asOwner(n.StateDir); err != nil {
		return err
	}
	if options.Method, err = member.MethodOf(n.Unseal, a.people()); err != nil {
		return err
	}
	joined, err := member.Join(ctx, options)
	if err != nil {
		return failed("%v", "a token is good once, and a new one comes from: coffer cluster invite", err)
	}
	return a.emit(map[string]any{"cluster": joined.Cluster, "member": joined.Member, "request": joined.Request, "socket": n.Socket}, func(w io.Writer) {
		if joined.Request != "" {
			fmt.Fprintf(w, "Wrote the certificate request %s.\nHave your authority sign it, then call this again with --certificate FILE.\n", joined.Request)
			return
		}
		fmt.Fprintf(w, "This machine is node %s of cluster %s.\nNext, start it: cofferd --config %s\n", n.Name, joined.Cluster, n.Source)
	})
}

const maxTokenFile = 8 << 10

func (a *app) joinToken(path string) (string, error) {
	if path == "" {
		if text := a.env("COFFER_JOIN_TOKEN"); text != "" {
			return text, nil
		}
		return "", usage("the invitation is missing", "give it with --token-file FILE or in COFFER_JOIN_TOKEN")
	}
	in, err := a.input(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxTokenFile))
	return strings.TrimSpace(string(b)), err
}
