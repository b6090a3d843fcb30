package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

func (a *app) keyCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "key",
		Short: "Make, list, move and remove keys and certificates",
		Long: `Keys live in the token and are used there. A key pair is two objects, private and public, with the same label and the
same id; a certificate with that id belongs to them.

A key is named by ` + selectorHelp + `.`,
	}, a.keyGenerateCommand(), a.keyListCommand(), a.keyShowCommand(), a.keyImportCommand(), a.keyExportCommand(), a.keyDeleteCommand())
}

// keySummary is what is told about an object everywhere.
type keySummary struct {
	Class       string   `json:"class"`
	Type        string   `json:"type,omitempty"`
	Label       string   `json:"label"`
	ID          string   `json:"id"`
	UniqueID    string   `json:"unique_id"`
	Usage       []string `json:"usage"`
	Private     bool     `json:"private"`
	Sensitive   bool     `json:"sensitive"`
	Extractable bool     `json:"extractable"`
	Coverage    string   `json:"coverage,omitempty"` // of the nodes of a cluster, how many hold it: "3/3"
}

func summary(o object) keySummary {
	s := keySummary{
		Class: className(o.class()), Label: o.label(), ID: o.id(), UniqueID: o.ref.ID(), Usage: o.usage(),
		Private: o.flag(pkcs11.CKA_PRIVATE), Sensitive: o.flag(pkcs11.CKA_SENSITIVE), Extractable: o.flag(pkcs11.CKA_EXTRACTABLE),
	}
	if o.class() == pkcs11.CKO_CERTIFICATE {
		s.Type = "x509"
	} else {
		s.Type = o.typeName()
	}
	// A public key has neither attribute: its value is there for everybody.
	if o.class() == pkcs11.CKO_PUBLIC_KEY || o.class() == pkcs11.CKO_CERTIFICATE {
		s.Extractable = true
	}
	return s
}

func summaries(list []object) []keySummary {
	out := []keySummary{}
	for _, o := range list {
		out = append(out, summary(o))
	}
	return out
}

func keyTable(w io.Writer, list []keySummary) {
	header := []string{"CLASS", "TYPE", "LABEL", "ID", "USAGE", "UNIQUE ID"}
	covered := slices.ContainsFunc(list, func(s keySummary) bool { return s.Coverage != "" })
	if covered {
		header = append(header, "COVERAGE")
	}
	var rows [][]string
	for _, s := range list {
		row := []string{s.Class, s.Type, s.Label, s.ID, strings.Join(s.Usage, ","), s.UniqueID}
		if covered {
			row = append(row, s.Coverage)
		}
		rows = append(rows, row)
	}
	table(w, header, rows)
}

// cover tells for each object in how many nodes it is. A list without that is still a list: where it cannot be had, for
// example without a quorum, a warning says so.
func (t *token) cover(ctx context.Context, list []object, sums []keySummary) {
	c, ok := t.HSM.(*client.Client)
	if !ok || len(list) == 0 {
		return
	}
	refs := make([]hsm.Object, len(list))
	for i, o := range list {
		refs[i] = o.ref
	}
	nodes, members, err := c.Coverage(ctx, t.cred, refs)
	if err != nil {
		fmt.Fprintln(t.app.errOut, "coffer: how many nodes hold each key is not known: "+explain(err).text)
		return
	}
	for i, n := range nodes {
		sums[i].Coverage = fmt.Sprintf("%d/%d", n, members)
	}
}

// afresh reads the summaries of new objects.
func (t *token) afresh(ctx context.Context, list []object) ([]keySummary, error) {
	out := []keySummary{}
	for _, o := range list {
		o, err := t.read(ctx, o.ref, summaryTypes)
		if err != nil {
			return nil, err
		}
		out = append(out, summary(o))
	}
	return out, nil
}

func (a *app) keyListCommand() *cobra.Command {
	var class string
	var public bool
	cmd := &cobra.Command{
		Use:   "list [NAME]",
		Short: "List keys and certificates",
		Long: "Lists the keys and certificates in the token; with a NAME, those that it stands for. In a cluster, COVERAGE is how many of\n" +
			"the nodes hold each.",
		Example: `  coffer key list
  coffer key list --public
  coffer key list --class certificate --output json`,
		Args: arguments(0, 1, "a NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted, err := parseClass(class)
			if err != nil {
				return err
			}
			return a.withToken(cmd.Context(), public, func(t *token) error {
				var list []object
				if len(args) == 1 {
					list, err = t.named(cmd.Context(), args[0], wanted)
				} else {
					list, err = t.search(cmd.Context(), nil, wanted)
				}
				if err != nil {
					return err
				}
				slices.SortStableFunc(list, func(x, y object) int {
					return cmp.Or(cmp.Compare(x.label(), y.label()), cmp.Compare(x.id(), y.id()))
				})
				sums := summaries(list)
				t.cover(cmd.Context(), list, sums)
				return a.emit(map[string]any{"keys": sums}, func(w io.Writer) {
					if len(sums) == 0 {
						fmt.Fprintln(w, "No keys.")
						return
					}
					keyTable(w, sums)
				})
			})
		},
	}
	cmd.Flags().StringVar(&class, "class", "", "only `CLASS`: "+classNames())
	cmd.Flags().BoolVar(&public, "public", false, "only what is seen without a PIN")
	return cmd
}

func (a *app) keyShowCommand() *cobra.Command {
	var class string
	var public bool
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show all properties of a key or certificate",
		Long:    "Shows every attribute that the token gives. Secret values are never among them.\n\nNAME is " + selectorHelp + ".",
		Example: "  coffer key show web\n  coffer key show web --class public --public\n  coffer key show id:0a1b --output json",
		Args:    arguments(1, 1, "the NAME of a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted, err := parseClass(class)
			if err != nil {
				return err
			}
			return a.withToken(cmd.Context(), public, func(t *token) error {
				list, err := t.named(cmd.Context(), args[0], wanted)
				if err != nil {
					return err
				}
				if len(list) == 0 {
					return t.noSuchKey(args[0], wanted)
				}
				return a.showKeys(cmd.Context(), t, list)
			})
		},
	}
	cmd.Flags().StringVar(&class, "class", "", "only `CLASS`: "+classNames())
	cmd.Flags().BoolVar(&public, "public", false, "only what is seen without a PIN")
	return cmd
}

// keyDetails is a summary with all attributes.
type keyDetails struct {
	keySummary
	Attributes map[string]any `json:"attributes"`
}

func (a *app) showKeys(ctx context.Context, t *token, list []object) error {
	details := []keyDetails{}
	for _, o := range list {
		full, err := t.read(ctx, o.ref, shownTypes)
		if err != nil {
			return err
		}
		d := keyDetails{summary(o), map[string]any{}}
		for _, attr := range full.attrs {
			d.Attributes[attr.Type.String()] = jsonValue(attr)
		}
		details = append(details, d)
	}
	return a.emit(map[string]any{"keys": details}, func(w io.Writer) {
		for i, d := range details {
			if i > 0 {
				fmt.Fprintln(w)
			}
			rows := [][2]string{{"class", d.Class}, {"type", d.Type}, {"unique id", d.UniqueID}}
			for _, t := range shownTypes {
				if v, ok := d.Attributes[t.String()]; ok && v != "" {
					rows = append(rows, [2]string{t.String(), textValue(v)})
				}
			}
			fields(w, rows)
		}
	})
}
