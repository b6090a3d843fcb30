package main

import (
	"context"
	"fmt"
	"io"

	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

func (a *app) pinCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "pin",
		Short: "Change, reset and unlock PINs",
		Long: `The user logs in with the user PIN, the security officer (SO) with his own. After too many wrong user PINs in a row
the PIN is locked until the security officer gives a new one.`,
	}, a.pinSetCommand(), a.pinResetCommand(), a.pinUnlockCommand())
}

func (a *app) pinSetCommand() *cobra.Command {
	var so bool
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Change one's own PIN",
		Long: `The user changes the user PIN, or with --so the security officer his own. The old PIN comes from --pin-... and COFFER_PIN
(with --so: --so-pin-... and COFFER_SO_PIN), the new one from --new-pin-... and COFFER_NEW_PIN. Every login that used the
old PIN ends.`,
		Example: "  coffer pin set\n  coffer pin set --so\n  coffer pin set --pin-file old.pin --new-pin-file new.pin",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			user, kind := pkcs11.CKU_USER, pinUser
			if so {
				user, kind = pkcs11.CKU_SO, pinSO
			}
			return a.withToken(cmd.Context(), true, func(t *token) error {
				old, err := a.pin(kind, false)
				if err != nil {
					return err
				}
				fresh, err := a.pin(pinNew, true)
				if err != nil {
					return err
				}
				cred, err := t.SetPIN(cmd.Context(), user, a.nameOf(user), old.Expose(), fresh.Expose())
				if err != nil {
					return &loginError{user, err}
				}
				t.cred = cred
				return a.pinDone(t, user, "Changed")
			})
		},
	}
	cmd.Flags().BoolVar(&so, "so", false, "the security officer's own PIN")
	a.addPINFlags(cmd.Flags(), pinSO, pinNew)
	return cmd
}

func (a *app) pinResetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "reset",
		Short:   "The security officer gives the user a new PIN",
		Example: "  coffer pin reset\n  coffer pin reset --so-pin-file so.pin --new-pin-file user.pin",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSO(cmd.Context(), func(t *token) error { return a.newUserPIN(cmd.Context(), t, "Reset") })
		},
	}
	a.addPINFlags(cmd.Flags(), pinSO, pinNew)
	return cmd
}

func (a *app) pinUnlockCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "The security officer unlocks the user PIN by giving a new one",
		Long: `After too many wrong PINs in a row the user is locked out. The security officer lets him in again by giving him a new
PIN, which may be the old one if he knows it.`,
		Example: "  coffer pin unlock\n  coffer pin unlock --so-pin-file so.pin --new-pin-file user.pin",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSO(cmd.Context(), func(t *token) error {
				info, err := t.Info(cmd.Context())
				if err != nil {
					return err
				}
				if info.Flags&pkcs11.CKF_USER_PIN_LOCKED == 0 {
					return failed("the user PIN is not locked", "to give the user a new PIN all the same: coffer pin reset")
				}
				return a.newUserPIN(cmd.Context(), t, "Unlocked")
			})
		},
	}
	a.addPINFlags(cmd.Flags(), pinSO, pinNew)
	return cmd
}

// newUserPIN sets the user's PIN; the security officer is logged in.
func (a *app) newUserPIN(ctx context.Context, t *token, verb string) error {
	fresh, err := a.pin(pinNew, true)
	if err != nil {
		return err
	}
	if err := t.InitPIN(ctx, t.cred, fresh.Expose()); err != nil {
		return err
	}
	return a.pinDone(t, pkcs11.CKU_USER, verb)
}

func (a *app) pinDone(t *token, user pkcs11.UserType, verb string) error {
	name, whose := "user", "the user PIN"
	if user == pkcs11.CKU_SO {
		name, whose = "so", "the security officer's PIN"
	}
	return a.emit(map[string]any{"slot": t.slot.ID, "pin": name, "done": true}, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s of slot %d.\n", verb, whose, t.slot.ID)
	})
}
