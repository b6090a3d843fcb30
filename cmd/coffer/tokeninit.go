package main

import (
	"context"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

const maxLabel = 32 // CK_TOKEN_INFO.label

func (a *app) tokenInitCommand() *cobra.Command {
	var (
		label      string
		erase, yes bool
	)
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a token and set both PINs",
		Long: `Makes a token in the slot and sets the security officer's PIN and the user PIN in one go.

The security officer's PIN comes from --so-pin-fd, --so-pin-file, COFFER_SO_PIN or a prompt. The user PIN comes from
--new-pin-fd, --new-pin-file, COFFER_NEW_PIN, then from --pin-fd, --pin-file, COFFER_PIN, or a prompt.

A token that is there already is left alone, unless --erase is given together with its security officer's PIN.`,
		Example: `  coffer token init --label demo
  coffer token init --label web --slot 2 --so-pin-file so.pin --new-pin-file user.pin
  printf '%s\n' 'so secret' 'user secret' | coffer token init --label ci --so-pin-fd 0 --new-pin-fd 0`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case label == "":
				return usage("the token needs a label", "add --label NAME")
			case len(label) > maxLabel || !utf8.ValidString(label):
				return usage("a token's label has at most %d bytes of UTF-8 text", "choose a shorter --label", maxLabel)
			}
			return a.initToken(cmd.Context(), label, erase, yes)
		},
	}
	cmd.Flags().StringVar(&label, "label", "", "`NAME` of the token, at most 32 bytes")
	cmd.Flags().BoolVar(&erase, "erase", false, "erase the token that is there, with all its keys")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask before erasing")
	a.addPINFlags(cmd.Flags(), pinSO, pinNew)
	return cmd
}

func (a *app) initToken(ctx context.Context, label string, erase, yes bool) error {
	slot, err := a.chosenSlot()
	if err != nil {
		return err
	}
	t, err := a.openSlot(slot)
	if err != nil {
		return err
	}
	defer t.close()
	info, err := t.Info(ctx)
	if err != nil {
		return err
	}
	exists := info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0
	if exists && !erase {
		return failed("slot %d has a token already, labelled %q", "to erase it with all its keys, add --erase; to change a PIN: coffer pin set",
			slot.ID, printable(info.Label))
	}
	if exists {
		if err := a.confirm(yes, fmt.Sprintf("Erase the token %q in slot %d with all its keys for ever?", printable(info.Label), slot.ID)); err != nil {
			return err
		}
	}

	so, err := a.pin(pinSO, !exists)
	if err != nil {
		return err
	}
	user, err := a.firstUserPIN()
	if err != nil {
		return err
	}
	// Judged before anything is made: a token with one PIN only is no use to a newcomer.
	for _, p := range []*secret.Bytes{so, user} {
		if err := pinFits(p, info); err != nil {
			return err
		}
	}
	if err := t.InitToken(ctx, so.Expose(), label); err != nil {
		return &loginError{pkcs11.CKU_SO, err}
	}
	if err := t.login(ctx, pkcs11.CKU_SO); err != nil {
		return err
	}
	if err := t.InitPIN(ctx, t.cred, user.Expose()); err != nil {
		return err
	}
	t.Logout(ctx, t.cred)
	t.cred = nil
	return a.emit(a.tokenState(ctx, slot), func(w io.Writer) {
		fmt.Fprintf(w, "Made the token %q in slot %d.\nIt is kept in %s\nA first key: coffer key generate --type ec:p256 --label NAME\n",
			label, slot.ID, slot.Place())
	})
}

// firstUserPIN takes the user PIN from where a new PIN comes from, or else from where the user's login will find it.
func (a *app) firstUserPIN() (*secret.Bytes, error) {
	if !a.pinGiven(pinNew) && (a.pinGiven(pinUser) || a.interactive()) {
		return a.pin(pinUser, true)
	}
	return a.pin(pinNew, true)
}

// pinFits checks a PIN that is to be set against the token's bounds.
func pinFits(pin *secret.Bytes, info pkcs11.TokenInfo) error {
	n := uint(pin.Len())
	if n < info.MinPinLen || info.MaxPinLen > 0 && n > info.MaxPinLen {
		return noPIN("a PIN has %d to %d bytes, this one has %d", "choose another PIN", info.MinPinLen, info.MaxPinLen, n)
	}
	return nil
}
