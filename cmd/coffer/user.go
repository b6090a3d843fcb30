package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func (a *app) userCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "user",
		Short: "Make, list and remove the users of a token",
		Long: `A token has administrators (CO, the standard's security officers), who manage users and, in a cluster, nodes, and crypto
users (CU), who work with keys. Both have names. The first administrator, and the crypto user of "coffer pin reset", have
none: they are the token's own. All crypto users have the same keys.

An application logs in as a user with C_LoginUser, or with C_Login and the PIN "name:password".`,
	}, a.userListCommand(), a.userCreateCommand(), a.userDeleteCommand(), a.userResetCommand())
}

// userTypes are the words for the types of users.
var userTypes = []struct {
	word string
	user pkcs11.UserType
}{
	{"crypto", pkcs11.CKU_USER},
	{"admin", pkcs11.CKU_SO},
}

func parseUserType(word string) (pkcs11.UserType, error) {
	for _, t := range userTypes {
		if t.word == word {
			return t.user, nil
		}
	}
	return 0, usage("--type %q is not known", "use crypto or admin", word)
}

func userWord(user pkcs11.UserType) string {
	for _, t := range userTypes {
		if t.user == user {
			return t.word
		}
	}
	return user.String()
}

type userState struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	Role     string `json:"role"`
	Failures int    `json:"failures"`
	Locked   bool   `json:"locked"`
}

func (a *app) userListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the users",
		Example: "  coffer user list\n  coffer user list --output json",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSO(cmd.Context(), func(t *token) error {
				list, err := t.ListUsers(cmd.Context(), t.cred)
				if err != nil {
					return err
				}
				states := []userState{}
				for _, u := range list {
					states = append(states, userState{userWord(u.Type), u.Name, u.Role, u.Failures, u.Locked})
				}
				return a.emit(map[string]any{"users": states}, func(w io.Writer) {
					var rows [][]string
					for _, u := range states {
						name := u.Name
						if name == "" {
							name = "(the token's own)"
						}
						rows = append(rows, []string{u.Type, name, u.Role, strconv.Itoa(u.Failures), yesNo(u.Locked)})
					}
					table(w, []string{"TYPE", "NAME", "ROLE", "WRONG PINS", "LOCKED"}, rows)
				})
			})
		},
	}
	a.addPINFlags(cmd.Flags(), pinSO)
	return cmd
}

// userChange is a command about one user, by an administrator.
type userChange struct {
	use, short, long, example string
	newPIN                    bool
	done                      string // what is printed, with the user's type and name
	run                       func(ctx context.Context, t *token, u hsm.User, pin []byte) error
}

func (a *app) userChangeCommand(c userChange) *cobra.Command {
	var word string
	cmd := &cobra.Command{
		Use: c.use + " NAME", Short: c.short, Long: c.long, Example: c.example,
		Args: arguments(1, 1, "a NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := parseUserType(word)
			if err != nil {
				return err
			}
			return a.withSO(cmd.Context(), func(t *token) error {
				var pin []byte
				if c.newPIN {
					p, err := a.pin(pinNew, true)
					if err != nil {
						return err
					}
					pin = p.Expose()
				}
				if err := c.run(cmd.Context(), t, hsm.User{Type: user, Name: args[0]}, pin); err != nil {
					return err
				}
				return a.emit(map[string]any{"type": word, "name": args[0], "done": true}, func(w io.Writer) {
					fmt.Fprintf(w, c.done+"\n", word, printable(args[0]))
				})
			})
		},
	}
	cmd.Flags().StringVar(&word, "type", "crypto", "`TYPE` of user: crypto or admin")
	a.addPINFlags(cmd.Flags(), pinSO)
	if c.newPIN {
		a.addPINFlags(cmd.Flags(), pinNew)
	}
	return cmd
}

func (a *app) userCreateCommand() *cobra.Command {
	return a.userChangeCommand(userChange{
		use: "create", short: "Make a user", newPIN: true, done: "Made the %s user %q.",
		long:    "The administrator logs in with --so-pin-... (--admin NAME says which), the new user's PIN comes from --new-pin-... .",
		example: "  coffer user create payments\n  coffer user create alice --type admin --new-pin-file alice.pin",
		run: func(ctx context.Context, t *token, u hsm.User, pin []byte) error {
			return t.CreateUser(ctx, t.cred, u.Type, u.Name, pin)
		},
	})
}

func (a *app) userDeleteCommand() *cobra.Command {
	return a.userChangeCommand(userChange{
		use: "delete", short: "Remove a user", done: "Removed the %s user %q.",
		long:    "His logins end everywhere at once. The keys stay: they are the token's. The last administrator cannot be removed.",
		example: "  coffer user delete payments",
		run: func(ctx context.Context, t *token, u hsm.User, _ []byte) error {
			return t.DeleteUser(ctx, t.cred, u.Type, u.Name)
		},
	})
}

func (a *app) userResetCommand() *cobra.Command {
	return a.userChangeCommand(userChange{
		use: "reset", short: "Give a user a new PIN and unlock him", newPIN: true, done: "Gave the %s user %q a new PIN.",
		long:    "His logins end everywhere at once. For the token's own crypto user: coffer pin reset.",
		example: "  coffer user reset payments --new-pin-file new.pin",
		run: func(ctx context.Context, t *token, u hsm.User, pin []byte) error {
			return t.ResetPIN(ctx, t.cred, u.Type, u.Name, pin)
		},
	})
}
