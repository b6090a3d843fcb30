package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/store/sqlite"
)

func (a *app) tokenBackupCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Copy a token that is in a file, while programs use it",
		Long: `Writes the token as it is at this moment to a new file: all keys, sealed as in the token, and the PINs of now, which open it.
No PIN is needed. To put it back, end all programs that use the token, remove the token's file and those whose names begin
with it and -wal, -shm and -sync, and copy the backup to its place.

What was deleted or changed after the backup is back then, and HSS keys must not be used from it: they would sign a second
time with one-time keys that are used up.`,
		Example: "  coffer token backup --out demo.backup\n  coffer token backup --slot 2 --out /srv/backup/web.$(date +%F)",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" || out == "-" {
				return usage("the file is missing", "add --out FILE")
			}
			slot, err := a.chosenSlot()
			if err != nil {
				return err
			}
			if slot.Remote() {
				return usage("slot %d holds no token in a file", "a node's state directory is copied while its cofferd is stopped", slot.ID)
			}
			if empty(slot) {
				return notFound("slot %d has no token yet: there is no %s", "make one: coffer token init --label NAME", slot.ID, slot.Path)
			}
			s, err := sqlite.Open(slot.Path, sqlite.Options{ReadOnly: true})
			if err != nil {
				return failed("%v", "coffer doctor says more", err)
			}
			err = errors.Join(s.Copy(cmd.Context(), out), s.Close())
			if errors.Is(err, fs.ErrExist) {
				return failed("%s is there already", "a backup replaces nothing: choose another name", out)
			}
			if err != nil {
				return err
			}
			return a.emit(map[string]any{"slot": slot.ID, "file": out}, func(w io.Writer) {
				fmt.Fprintf(w, "Wrote the token of slot %d to %s. The PINs of now open it.\n", slot.ID, printable(out))
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write, which must not be there yet")
	return cmd
}
