package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/cluster/member"
	"github.com/coffer-hsm/coffer/core/config"
)

func (a *app) nodeCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "node",
		Short: "Look after the node on this machine",
	}, a.nodeResealCommand(), a.nodeZeroizeCommand())
}

func (a *app) nodeResealCommand() *cobra.Command {
	var file, to string
	cmd := &cobra.Command{
		Use:   "reseal",
		Short: "Put this node's root key under another method of unsealing",
		Long: `Opens the root key by the [unseal] of the node's configuration and seals it by that of another file, such as a changed copy.
cofferd must not be running; afterwards put the other file in the place of the first.`,
		Example: "  coffer node reseal --to cofferd.new.toml && mv cofferd.new.toml /etc/coffer/cofferd.toml",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to == "" {
				return usage("the new method is missing", "add --to FILE, a configuration with another [unseal]")
			}
			n, err := config.LoadNode(file)
			if err != nil {
				return err
			}
			next, err := config.LoadNode(to)
			if err != nil {
				return err
			}
			if err := asOwner(n.StateDir); err != nil {
				return err
			}
			old, err := member.MethodOf(n.Unseal, a.people())
			if err != nil {
				return err
			}
			method, err := member.MethodOf(next.Unseal, a.people())
			if err != nil {
				return err
			}
			if err := member.Reseal(cmd.Context(), n.StateDir, old, method); err != nil {
				return failed("%v", "the root key is sealed as it was", err)
			}
			return a.emit(map[string]any{"resealed": n.StateDir, "method": next.Unseal.Method}, func(w io.Writer) {
				fmt.Fprintf(w, "The root key in %s is sealed by the method %q.\nStart the node with %s from now on.\n", n.StateDir, next.Unseal.Method, next.Source)
			})
		},
	}
	addNodeConfig(cmd, &file)
	cmd.Flags().StringVar(&to, "to", "", "`FILE` whose [unseal] says the new method")
	return cmd
}

func (a *app) nodeZeroizeCommand() *cobra.Command {
	var file string
	var yes bool
	cmd := &cobra.Command{
		Use:   "zeroize",
		Short: "Destroy all that makes this machine a node",
		Long: `Overwrites and deletes the sealed root key, the node's keys and its copy of the store. cofferd must not be running. The
other nodes keep their copies; take this one out of the cluster with "coffer cluster remove". On media that write elsewhere
(SSDs) overwriting is no more than tidiness: there the sealing of the root key is what protects it.`,
		Example: "  coffer node zeroize --node-config /etc/coffer/cofferd.toml",
		Args:    arguments(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			n, err := config.LoadNode(file)
			if err != nil {
				return err
			}
			if err := a.confirm(yes, "Destroy the node in "+n.StateDir+" for ever?"); err != nil {
				return err
			}
			if err := asOwner(n.StateDir); err != nil {
				return err
			}
			if err := member.Zeroize(n.StateDir); err != nil {
				return err
			}
			return a.emit(map[string]any{"zeroized": n.StateDir}, func(w io.Writer) { fmt.Fprintf(w, "Destroyed the node in %s.\n", n.StateDir) })
		},
	}
	addNodeConfig(cmd, &file)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func addNodeConfig(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "node-config", "", "`FILE` that configures the node (default: "+config.NodeFile+")")
}
