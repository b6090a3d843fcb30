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

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

func (a *app) tokenCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "token",
		Short: "Make, list, back up and remove tokens",
		Long: `A token holds keys. It sits in a slot, has a label, a security officer (SO) who manages it and a user who works with
its keys. Which slots there are is said in the configuration; without one there is slot 0.`,
	}, a.tokenInitCommand(), a.tokenListCommand(), a.tokenShowCommand(), a.tokenBackupCommand(), a.tokenDeleteCommand())
}

// tokenState is what is told about a slot and its token.
type tokenState struct {
	Slot        uint   `json:"slot"`
	Description string `json:"description,omitempty"`
	Path        string `json:"path"`
	Present     bool   `json:"present"`
	Initialized bool   `json:"initialized"`
	Label       string `json:"label"`
	Serial      string `json:"serial"`
	Model       string `json:"model"`
	UserPIN     string `json:"user_pin"`
	SOPIN       string `json:"so_pin"`
	Writable    bool   `json:"writable"`
	Error       string `json:"error,omitempty"`
}

// pinState turns token flags into one word for a PIN; the first row that fits counts.
func pinState(flags, set, locked, final, low pkcs11.Flags) string {
	for _, r := range []struct {
		flag pkcs11.Flags
		word string
	}{
		{locked, "locked"},
		{final, "one try left"},
		{low, "few tries left"},
		{set, "set"},
	} {
		if flags&r.flag != 0 {
			return r.word
		}
	}
	return "not set"
}

// tokenState looks at a slot. A token that cannot be read is a state too.
func (a *app) tokenState(ctx context.Context, slot config.Slot) tokenState {
	s := tokenState{Slot: slot.ID, Description: slot.Description, Path: slot.Place()}
	if empty(slot) {
		return s
	}
	s.Present = true
	info, err := a.tokenInfo(ctx, slot)
	if err != nil {
		s.Error = explain(err).text
		return s
	}
	s.Initialized = info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0
	if !s.Initialized {
		return s
	}
	s.Label, s.Serial, s.Model = strings.TrimRight(info.Label, " "), info.Serial, info.Model
	s.UserPIN = pinState(info.Flags, pkcs11.CKF_USER_PIN_INITIALIZED, pkcs11.CKF_USER_PIN_LOCKED, pkcs11.CKF_USER_PIN_FINAL_TRY, pkcs11.CKF_USER_PIN_COUNT_LOW)
	s.SOPIN = pinState(info.Flags, pkcs11.CKF_TOKEN_INITIALIZED, pkcs11.CKF_SO_PIN_LOCKED, pkcs11.CKF_SO_PIN_FINAL_TRY, pkcs11.CKF_SO_PIN_COUNT_LOW)
	s.Writable = info.Flags&pkcs11.CKF_WRITE_PROTECTED == 0
	return s
}

func (a *app) tokenInfo(ctx context.Context, slot config.Slot) (pkcs11.TokenInfo, error) {
	t, err := a.openSlot(slot)
	if err != nil {
		return pkcs11.TokenInfo{}, err
	}
	defer t.close()
	return t.Info(ctx)
}

// word says in one word how the token is.
func (s tokenState) word() string {
	switch {
	case s.Error != "":
		return "unreadable"
	case !s.Present:
		return "empty"
	case !s.Initialized:
		return "not initialised"
	case !s.Writable:
		return "read-only"
	}
	return "ready"
}

func (a *app) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the slots and what is in them",
		Example: "  coffer token list\n  coffer token list --output json",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.settings()
			if err != nil {
				return err
			}
			slots := c.Slots
			if a.slotGiven {
				slot, err := a.chosenSlot()
				if err != nil {
					return err
				}
				slots = []config.Slot{slot}
			}
			list := []tokenState{}
			for _, slot := range slots {
				list = append(list, a.tokenState(cmd.Context(), slot))
			}
			return a.emit(map[string]any{"tokens": list}, func(w io.Writer) {
				var rows [][]string
				for _, s := range list {
					rows = append(rows, []string{fmt.Sprint(s.Slot), s.Label, s.word(), s.UserPIN, s.Serial, s.Path})
				}
				table(w, []string{"SLOT", "LABEL", "STATE", "USER PIN", "SERIAL", "PATH"}, rows)
			})
		},
	}
}

func (a *app) tokenShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Show one token",
		Example: "  coffer token show\n  coffer token show --slot 2 --output json",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			slot, err := a.chosenSlot()
			if err != nil {
				return err
			}
			s := a.tokenState(cmd.Context(), slot)
			err = a.emit(s, func(w io.Writer) {
				rows := [][2]string{{"slot", fmt.Sprint(s.Slot)}}
				for _, r := range [][2]string{{"description", s.Description}, {"path", s.Path}, {"state", s.word()}, {"reason", s.Error},
					{"label", s.Label}, {"serial", s.Serial}, {"model", s.Model}, {"user PIN", s.UserPIN}, {"SO PIN", s.SOPIN}} {
					if r[1] != "" {
						rows = append(rows, r)
					}
				}
				fields(w, rows)
			})
			switch {
			case err != nil:
				return err
			case s.Error != "":
				return failed("the token in slot %d cannot be read", "coffer doctor says more", slot.ID)
			case !s.Initialized:
				return notFound("slot %d has no initialised token", "coffer token init --label NAME", slot.ID)
			}
			return nil
		},
	}
}

func (a *app) tokenDeleteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Remove a token with all its keys",
		Long: `Removes the token's file and with it every key in it. The security officer's PIN is checked first. Nothing brings the
keys back but a copy of the file.`,
		Example: "  coffer token delete --slot 3\n  coffer token delete --slot 3 --yes --so-pin-file so.pin",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.openToken()
			if err != nil {
				return err
			}
			defer t.close()
			if t.slot.Remote() {
				return failed("the token in slot %d is a node's, not a file of this machine", "on the node itself: coffer node zeroize", t.slot.ID)
			}
			info, err := t.Info(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.confirm(yes, fmt.Sprintf("Delete the token %q in slot %d (%s) with all its keys for ever?",
				printable(info.Label), t.slot.ID, t.slot.Path)); err != nil {
				return err
			}
			if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 {
				if err := t.login(cmd.Context(), pkcs11.CKU_SO); err != nil {
					return err
				}
			}
			t.close()
			if err := removeToken(t.slot.Path); err != nil {
				return err
			}
			return a.emit(map[string]any{"deleted": t.slot.Path, "slot": t.slot.ID}, func(w io.Writer) {
				fmt.Fprintf(w, "Deleted the token in slot %d.\n", t.slot.ID)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	a.addPINFlags(cmd.Flags(), pinSO)
	return cmd
}

// removeToken removes the database and the files beside it that docs/storage-format.md lists, the database last: what is
// interrupted can be done again.
func removeToken(path string) error {
	// The files beside it stand beside what a symbolic link points to.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, suffix := range []string{"-wal", "-shm", "-sync", ""} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
