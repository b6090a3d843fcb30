package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/cluster/member"
	"github.com/coffer-hsm/coffer/core/config"
)

func (a *app) clusterRecoverCommand() *cobra.Command {
	var file string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Go on with this node's copy after most voters are lost for good",
		Long: `Where more than half of the voters are lost, the others cannot agree on a change any more, and no key can be made. This
command, on a voter that is left and whose daemon is stopped, makes a cluster of that one node out of its copy. What had
been acknowledged while this node was down may be missing. The lost nodes must never run again: zeroize them. Nodes that are
left join anew, with an invitation.`,
		Example: "  systemctl stop cofferd\n  coffer cluster recover --node-config /etc/coffer/cofferd.toml\n  systemctl start cofferd",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := config.LoadNode(file)
			if err != nil {
				return err
			}
			if err := a.confirm(yes, "Are the other voters lost for good, and shall this node go on alone with its copy?"); err != nil {
				return err
			}
			if err := asOwner(n.StateDir); err != nil {
				return err
			}
			method, err := member.MethodOf(n.Unseal, a.people())
			if err != nil {
				return err
			}
			found, err := member.Recover(cmd.Context(), member.RecoverOptions{Node: n, Method: method, Log: a.ceremonyLog()})
			if err != nil {
				return failed("%v", "the daemon must be stopped, and this node must have been a voter", err)
			}
			return a.emit(map[string]any{"cluster": found.Cluster, "member": found.Member, "revision": found.Revision, "removed": found.Removed}, func(w io.Writer) {
				fmt.Fprintf(w, "This node is a cluster of its own, at revision %d.\n", found.Revision)
				if len(found.Removed) > 0 {
					fmt.Fprintf(w, "No members any more, and never to run again: %s\n", printable(strings.Join(found.Removed, ", ")))
				}
				fmt.Fprintf(w, "Next: cofferd --config %s, then coffer cluster invite for each further node\n", n.Source)
			})
		},
	}
	addNodeConfig(cmd, &file)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
