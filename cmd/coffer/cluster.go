package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func (a *app) clusterCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "cluster",
		Short: "Make a cluster of nodes, and look after it",
		Long: `A cluster is up to 28 nodes that hold the same keys. On the first machine:

  coffer cluster create --label NAME      makes the node's keys and its state directory
  cofferd                                 runs the node
  coffer cluster activate                 the administrator sets a password

For each further machine:

  coffer cluster invite                   prints a token, good for one machine
  coffer cluster join --token-file FILE   on the new machine; then cofferd there

The commands that speak to a running cluster take the slot of the configuration, or the socket that --socket names.`,
	}, a.clusterCreateCommand(), a.clusterActivateCommand(), a.clusterInviteCommand(), a.clusterJoinCommand(),
		a.clusterStatusCommand(), a.clusterListCommand(), a.clusterVerifyCommand(), a.clusterDrainCommand(), a.clusterRemoveCommand(),
		a.clusterReplaceCommand(), a.clusterCertifyCommand(), a.clusterCertificatesCommand(), a.clusterRevokeCommand(),
		a.clusterRecoverCommand())
}

// atCluster runs f on the cluster that the command is about.
func (a *app) atCluster(f func(*token, *client.Client) error) error {
	if err := a.nodeOfThisMachine(); err != nil {
		return err
	}
	slot, err := a.chosenSlot()
	if err != nil {
		return err
	}
	if !slot.Remote() {
		return usage("slot %d holds a token in a file, not a cluster", "name a slot with nodes, or --socket "+config.DefaultSocket, slot.ID)
	}
	t, err := a.openSlot(slot)
	if err != nil {
		return err
	}
	defer t.close()
	c, ok := t.HSM.(*client.Client)
	if !ok {
		return failed("slot %d is not reached as a cluster", "", slot.ID)
	}
	return f(t, c)
}

// nodeOfThisMachine has the command go to the node that runs here, where there is no configuration of slots and nothing
// else is said.
func (a *app) nodeOfThisMachine() error {
	if a.socket != "" || a.slotGiven {
		return nil
	}
	c, err := a.settings()
	if err != nil || c.Source != "" {
		return err
	}
	if _, err := os.Stat(config.DefaultSocket); errors.Is(err, fs.ErrNotExist) {
		return notFound("there is no configuration of slots, and no node that runs on this machine: no %s",
			"start cofferd, or say which node or cluster it is by --socket or a configuration", config.DefaultSocket)
	}
	a.socket = config.DefaultSocket
	return nil
}

// asAdministrator is atCluster with the administrator logged in.
func (a *app) asAdministrator(ctx context.Context, f func(*token, *client.Client) error) error {
	return a.atCluster(func(t *token, c *client.Client) error {
		if err := t.login(ctx, pkcs11.CKU_SO); err != nil {
			return err
		}
		return f(t, c)
	})
}

func (a *app) clusterActivateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "activate",
		Short: "Set the first administrator's password, with the activation code",
		Long: `A new cluster has a temporary administrator who may do nothing but set a password, and becomes the administrator by that.
The code that "coffer cluster create" printed comes from --so-pin-..., COFFER_SO_PIN or a prompt, the new password from
--new-pin-..., COFFER_NEW_PIN or a prompt.`,
		Example: "  coffer cluster activate\n  coffer cluster activate --so-pin-file code --new-pin-file admin.pin",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atCluster(func(t *token, c *client.Client) error {
				info, err := t.Info(cmd.Context())
				if err != nil {
					return err
				}
				if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 {
					return failed("the cluster is active already", "to change the administrator's password: coffer pin set --so")
				}
				code, err := a.pin(pinSO, false)
				if err != nil {
					return err
				}
				fresh, err := a.pin(pinNew, true)
				if err != nil {
					return err
				}
				if t.cred, err = t.SetPIN(cmd.Context(), pkcs11.CKU_SO, "", code.Expose(), fresh.Expose()); err != nil {
					return &loginError{pkcs11.CKU_SO, err}
				}
				return a.emit(map[string]any{"activated": true}, func(w io.Writer) {
					fmt.Fprint(w, "The cluster is active, and you are its administrator.\nNext, the crypto user's PIN: coffer pin reset\n"+
						"Further users: coffer user create NAME. Further nodes: coffer cluster invite\n")
				})
			})
		},
	}
	a.addPINFlags(cmd.Flags(), pinSO, pinNew)
	return cmd
}

func (a *app) clusterInviteCommand() *cobra.Command {
	var lifetime time.Duration
	var out string
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Make a token with which one machine can join",
		Long: `The token is as secret as the keys of the cluster until it is used or expires: who has it gets the root key. Carry it to
the new machine over a way that you trust.`,
		Example: "  coffer cluster invite\n  coffer cluster invite --lifetime 10m --out b.token",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lifetime < time.Minute || lifetime > 24*time.Hour {
				return usage("--lifetime %s is not between 1m and 24h", "an hour is usual", lifetime)
			}
			return a.asAdministrator(cmd.Context(), func(t *token, c *client.Client) error {
				i, err := c.Invite(cmd.Context(), t.cred, lifetime)
				if err != nil {
					return err
				}
				until := time.Unix(i.GetExpires(), 0)
				if out != "" {
					return a.writeToken(out, i.GetToken(), until)
				}
				return a.emit(map[string]any{"token": i.GetToken(), "expires": until.UTC()}, func(w io.Writer) {
					fmt.Fprintf(w, "%s\nGood for one machine until %s. On it: coffer cluster join\n", i.GetToken(), until.Format(time.DateTime))
				})
			})
		},
	}
	cmd.Flags().DurationVar(&lifetime, "lifetime", time.Hour, "`TIME` until the token expires")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write the token to, readable by its owner alone")
	a.addPINFlags(cmd.Flags(), pinSO)
	return cmd
}

func (a *app) writeToken(path, text string, until time.Time) error {
	s, err := a.newSink(path, false, 0o600)
	if err != nil {
		return err
	}
	defer s.undone()
	if _, err := io.WriteString(s, text+"\n"); err != nil {
		return err
	}
	if err := s.done(); err != nil {
		return err
	}
	return a.emit(map[string]any{"file": path, "expires": until.UTC()}, func(w io.Writer) {
		fmt.Fprintf(w, "Wrote the token to %s, good for one machine until %s.\nOn it: coffer cluster join --token-file %s\n",
			path, until.Format(time.DateTime), filepath.Base(path))
	})
}

// memberState is what is told about a member.
type memberState struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Address  string `json:"address"`
	Zone     string `json:"zone"`
	State    string `json:"state"`
	Votes    bool   `json:"votes"`
	Leader   bool   `json:"leader"`
	Revision int64  `json:"revision"`
	Lag      int64  `json:"lag"`
	Version  string `json:"version"`
	Policy   string `json:"policy,omitempty"` // digest
}

func memberStates(s *wire.StatusReply) []memberState {
	list := []memberState{}
	for _, m := range s.GetMembers() {
		x := m.GetMember()
		state := memberState{ID: x.GetId(), Name: x.GetName(), Address: x.GetAddress(), Zone: x.GetZone(), State: m.GetState(),
			Votes: x.GetVotes(), Leader: m.GetLeader(), Revision: m.GetRevision(), Version: x.GetVersion(), Policy: m.GetPolicy()}
		if state.Revision >= 0 {
			state.Lag = max(s.GetRevision()-state.Revision, 0)
		}
		list = append(list, state)
	}
	return list
}

func memberTable(w io.Writer, list []memberState) {
	var rows [][]string
	for _, m := range list {
		vote := yesNo(m.Votes)
		if m.Leader {
			vote = "leads"
		}
		lag := "-"
		if m.Revision >= 0 {
			lag = fmt.Sprint(m.Lag)
		}
		rows = append(rows, []string{m.Name, m.State, vote, lag, m.Zone, m.Address, m.Version, m.Policy[:min(8, len(m.Policy))], m.ID})
	}
	table(w, []string{"NAME", "STATE", "VOTES", "LAG", "ZONE", "ADDRESS", "VERSION", "POLICY", "ID"}, rows)
}

// samePolicy reports whether all members that tell their policy were started with the same.
func samePolicy(list []memberState) bool {
	told := map[string]bool{}
	for _, m := range list {
		if m.Policy != "" {
			told[m.Policy] = true
		}
	}
	return len(told) <= 1
}

func (a *app) clusterStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell how the cluster and each of its nodes are",
		Long: `LAG is how many changes a node is behind, POLICY a digest of the policy that it was started with: nodes of one cluster should
have the same. The exit code is 1 without a quorum.`,
		Example: "  coffer cluster status\n  coffer cluster status --output json",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atCluster(func(t *token, c *client.Client) error {
				s, err := c.Status(cmd.Context(), t.cred)
				if err != nil {
					return err
				}
				list := memberStates(s)
				err = a.emit(map[string]any{"cluster": s.GetCluster(), "label": s.GetLabel(), "quorum": s.GetQuorum(), "activated": s.GetActivated(),
					"voters": s.GetVoters(), "revision": s.GetRevision(), "same_policy": samePolicy(list),
					"members": list}, func(w io.Writer) {
					fields(w, [][2]string{{"cluster", s.GetCluster()}, {"label", s.GetLabel()}, {"active", yesNo(s.GetActivated())},
						{"quorum", yesNo(s.GetQuorum())}, {"voters", fmt.Sprint(s.GetVoters())}, {"revision", fmt.Sprint(s.GetRevision())}})
					fmt.Fprintln(w)
					memberTable(w, list)
				})
				if err == nil && !samePolicy(list) {
					fmt.Fprintln(a.errOut, "coffer: the nodes do not have the same policy: what one allows another refuses\n"+
						"hint: compare [policy] in their configurations; a change counts from a node's next start")
				}
				if err == nil && !s.GetQuorum() {
					err = failed("the cluster has no quorum: keys can be used, and nothing can be changed",
						"start the nodes that are down; if they are lost for good: coffer cluster recover --help")
				}
				return err
			})
		},
	}
}

func (a *app) clusterListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the nodes",
		Example: "  coffer cluster list",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.atCluster(func(t *token, c *client.Client) error {
				s, err := c.Status(cmd.Context(), t.cred)
				if err != nil {
					return err
				}
				list := memberStates(s)
				return a.emit(map[string]any{"members": list}, func(w io.Writer) { memberTable(w, list) })
			})
		},
	}
}

// named finds a member by its name or identity.
func memberNamed(ctx context.Context, t *token, c *client.Client, name string) (memberState, error) {
	s, err := c.Status(ctx, t.cred)
	if err != nil {
		return memberState{}, err
	}
	var names []string
	for _, m := range memberStates(s) {
		if m.Name == name || m.ID == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return memberState{}, notFound("the cluster has no node %q", "it has: "+strings.Join(names, ", "), name)
}
