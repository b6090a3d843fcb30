package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

func (a *app) encryptCommand() *cobra.Command {
	var u useFlags
	cmd := &cobra.Command{
		Use:   "encrypt [FILE]",
		Short: "Encrypt a file",
		Long: `Encrypts a file, or standard input, with a secret key or a public key.

Usual mechanisms: AES AES_GCM, with a random IV of 12 bytes in front of the result and the tag of 16 bytes at its end; RSA
RSA_PKCS_OAEP with SHA-256. RSA encrypts only what is shorter than the key, such as another key.`,
		Example: `  coffer encrypt --key backup --out disk.enc disk.img
  tar c /etc | coffer encrypt --key backup --out etc.tar.enc
  coffer encrypt --key ca --hash SHA1 --out secret.enc secret.bin`,
		Args: arguments(0, 1, "a FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(); err != nil {
				return err
			}
			return a.withPublic(cmd.Context(), false, func(t *token) error {
				return a.crypt(cmd.Context(), t, &u, file(args), hsm.OpEncrypt, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_SECRET_KEY)
			})
		},
	}
	u.cryptFlags(cmd)
	return cmd
}

func (a *app) decryptCommand() *cobra.Command {
	var u useFlags
	cmd := &cobra.Command{
		Use:   "decrypt [FILE]",
		Short: "Decrypt what encrypt wrote",
		Long: `Decrypts a file, or standard input. A file named with --out appears only when all of it was decrypted, and can be read by
its owner only. The exit code is 5 where the data was changed or the key is another.`,
		Example: `  coffer decrypt --key backup --out disk.img disk.enc
  coffer decrypt --key backup etc.tar.enc | tar t`,
		Args: arguments(0, 1, "a FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(); err != nil {
				return err
			}
			return a.withToken(cmd.Context(), false, func(t *token) error {
				return a.crypt(cmd.Context(), t, &u, file(args), hsm.OpDecrypt, pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY)
			})
		},
	}
	u.cryptFlags(cmd)
	return cmd
}

func (u *useFlags) cryptFlags(cmd *cobra.Command) {
	u.keyFlags(cmd)
	cmd.Flags().StringVar(&u.hash, "hash", "SHA256", "`HASH` of RSA_PKCS_OAEP and of its mask")
	cmd.Flags().StringVar(&u.out, "out", "", "`FILE` for the result (default: standard output)")
}

// crypt encrypts or decrypts. Whoever has no right to the key is told so before anything is read or written.
func (a *app) crypt(ctx context.Context, t *token, u *useFlags, path string, kind hsm.OpKind, wanted ...pkcs11.ObjectClass) error {
	o, m, err := t.chosen(ctx, u, kind, wanted...)
	if err != nil {
		return err
	}
	iv := make([]byte, ivLen(m.Type))
	if kind == hsm.OpEncrypt {
		if err := t.Random(ctx, iv); err != nil {
			return err
		}
	}
	in, err := a.input(path)
	if err != nil {
		return err
	}
	defer in.Close()
	if kind == hsm.OpDecrypt {
		if _, err := io.ReadFull(in, iv); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &problem{text: "the encrypted data is too short", hint: "check the file and the mechanism", code: exitInvalid}
		} else if err != nil {
			return err
		}
	}
	if len(iv) > 0 {
		if m, err = parameterOf(m.Type, u.hash, iv); err != nil {
			return err
		}
	}
	mode := os.FileMode(0o644)
	if kind == hsm.OpDecrypt {
		mode = 0o600
	}
	out, err := a.newSink(u.out, true, mode)
	if err != nil {
		return err
	}
	defer out.undone()
	w := &fronted{w: out}
	if kind == hsm.OpEncrypt {
		w.front = iv
	}
	begin := func() (hsm.Operation, error) { return t.operation(ctx, kind, m, o) }
	err = feed(ctx, in, w, begin, func(op hsm.Operation, last []byte) error {
		rest, err := op.Finish(ctx, nil, last)
		if err != nil {
			return err
		}
		defer secret.Wipe(rest)
		_, err = w.Write(rest)
		return err
	})
	if err != nil {
		return err
	}
	return out.done()
}

// fronted writes the IV before the first output, and so not before the key was accepted.
type fronted struct {
	w     io.Writer
	front []byte
}

func (f *fronted) Write(p []byte) (int, error) {
	if len(f.front) > 0 {
		if _, err := f.w.Write(f.front); err != nil {
			return 0, err
		}
		f.front = nil
	}
	return f.w.Write(p)
}
