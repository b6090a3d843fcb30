package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

func (a *app) keyDeleteCommand() *cobra.Command {
	var (
		class    string
		yes, all bool
	)
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove a key for ever",
		Long: `Removes a key; of a key pair both halves, unless --class says which. Certificates go only with --class certificate.
Where the NAME stands for more than one key, --all is needed.

NAME is ` + selectorHelp + `.`,
		Example: `  coffer key delete old
  coffer key delete id:0a1b --class certificate --yes`,
		Args: arguments(1, 1, "the NAME of a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted := []pkcs11.ObjectClass{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_SECRET_KEY}
			if class != "" {
				var err error
				if wanted, err = parseClass(class); err != nil {
					return err
				}
			}
			return a.withToken(cmd.Context(), false, func(t *token) error {
				list, err := t.named(cmd.Context(), args[0], wanted)
				switch {
				case err != nil:
					return err
				case len(list) == 0:
					return t.noSuchKey(args[0], wanted)
				case !all && !isOneKey(list):
					return usage("%q stands for %d objects that do not belong together", "name one of them, or add --all: "+uids(list), args[0], len(list))
				}
				var names []string
				for _, o := range list {
					names = append(names, o.String())
				}
				if err := a.confirm(yes, "Delete for ever: "+strings.Join(names, ", ")+"?"); err != nil {
					return err
				}
				for _, o := range list {
					if err := t.Destroy(cmd.Context(), t.cred, o.ref); err != nil {
						return err
					}
				}
				return a.emit(map[string]any{"deleted": summaries(list)}, func(w io.Writer) {
					fmt.Fprintf(w, "Deleted %s.\n", strings.Join(names, ", "))
				})
			})
		},
	}
	cmd.Flags().StringVar(&class, "class", "", "only `CLASS`: "+classNames())
	cmd.Flags().BoolVar(&all, "all", false, "everything that the name stands for")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// isOneKey reports whether the objects are one, or the two halves of one pair.
func isOneKey(list []object) bool {
	if len(list) == 1 {
		return true
	}
	return len(list) == 2 && list[0].class() != list[1].class() && list[0].id() == list[1].id() && list[0].id() != "" &&
		list[0].keyType() == list[1].keyType()
}
