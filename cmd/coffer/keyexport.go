package main

import (
	"context"
	"fmt"
	"os"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

// exporters say for each --class how an object becomes a file, and which objects will do.
var exporters = []struct {
	class  pkcs11.ObjectClass
	from   []pkcs11.ObjectClass // in the order of preference
	secret bool                 // needs a login, and a file that only its owner reads
	write  func(ctx context.Context, t *token, o object, encoding string) ([]byte, error)
}{
	{pkcs11.CKO_PUBLIC_KEY, []pkcs11.ObjectClass{pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY}, false, exportPublic},
	{pkcs11.CKO_CERTIFICATE, []pkcs11.ObjectClass{pkcs11.CKO_CERTIFICATE}, false, exportCertificate},
	{pkcs11.CKO_PRIVATE_KEY, []pkcs11.ObjectClass{pkcs11.CKO_PRIVATE_KEY}, true, exportPrivate},
	{pkcs11.CKO_SECRET_KEY, []pkcs11.ObjectClass{pkcs11.CKO_SECRET_KEY}, true, exportSecret},
}

func (a *app) keyExportCommand() *cobra.Command {
	var class, out, encoding string
	cmd := &cobra.Command{
		Use:   "export NAME",
		Short: "Write a public key, a certificate or, where allowed, a private key to a file",
		Long: `Writes the public key (the default) or with --class the certificate in PEM. A private key (PKCS#8 PEM) or a secret key is
written only where the key was made with --sensitive=false and --extractable; the file can then be read by its owner only.

NAME is ` + selectorHelp + `.`,
		Example: `  coffer key export web
  coffer key export web --class certificate --out web.crt
  coffer key export spare --class private --out spare.key`,
		Args: arguments(1, 1, "the NAME of a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted, err := parseClass(class)
			if err != nil {
				return err
			}
			if _, err := encodeSecret(nil, encoding); err != nil {
				return err
			}
			return a.export(cmd.Context(), args[0], wanted[0], out, encoding)
		},
	}
	cmd.Flags().StringVar(&class, "class", "public", "what to write, `CLASS`: "+classNames())
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write (default: standard output)")
	cmd.Flags().StringVar(&encoding, "encoding", "raw", "how to write a secret key: "+encodingHelp)
	return cmd
}

func (a *app) export(ctx context.Context, name string, class pkcs11.ObjectClass, out, encoding string) error {
	for _, e := range exporters {
		if e.class != class {
			continue
		}
		return a.withPublic(ctx, e.secret, func(t *token) error {
			o, err := t.preferred(ctx, name, e.from)
			if err != nil {
				return err
			}
			data, err := e.write(ctx, t, o, encoding)
			if err != nil {
				return err
			}
			defer secret.Wipe(data)
			mode, binary := os.FileMode(0o644), class == pkcs11.CKO_SECRET_KEY && encoding == "raw"
			if e.secret {
				mode = 0o600
			}
			return a.deliver(out, binary, mode, data)
		})
	}
	return usage("objects of class %s cannot be exported", "known are: "+classNames(), className(class))
}

// deliver writes a whole result.
func (a *app) deliver(out string, binary bool, mode os.FileMode, data []byte) error {
	s, err := a.newSink(out, binary, mode)
	if err != nil {
		return err
	}
	defer s.undone()
	if _, err := s.Write(data); err != nil {
		return err
	}
	return s.done()
}

// preferred returns the one object with that name of the first class that has any.
func (t *token) preferred(ctx context.Context, name string, order []pkcs11.ObjectClass) (object, error) {
	for _, class := range order[:len(order)-1] {
		found, err := t.named(ctx, name, []pkcs11.ObjectClass{class})
		if err != nil {
			return object{}, err
		}
		if len(found) > 0 {
			return t.one(ctx, name, class)
		}
	}
	o, err := t.one(ctx, name, order[len(order)-1])
	if err != nil && explain(err).code == exitNotFound {
		return object{}, t.noSuchKey(name, order)
	}
	return o, err
}

func exportPublic(ctx context.Context, t *token, o object, _ string) ([]byte, error) {
	full, err := t.read(ctx, o.ref, publicTypes)
	if err != nil {
		return nil, err
	}
	key, err := publicKey(full.attrs)
	if err != nil {
		return nil, failed("the public key of %s cannot be written: %v", "export it from the object of class public", o, err)
	}
	return publicPEM(key)
}

func exportCertificate(ctx context.Context, t *token, o object, _ string) ([]byte, error) {
	full, err := t.read(ctx, o.ref, []pkcs11.AttributeType{pkcs11.CKA_VALUE})
	if err != nil {
		return nil, err
	}
	if der := full.attrs.Bytes(pkcs11.CKA_VALUE); len(der) > 0 {
		return certificatePEM(der), nil
	}
	return nil, failed("the %s has no value in the token", "", o)
}

// mayLeave says why a key cannot be exported.
func mayLeave(o object) error {
	const hint = "this is decided when a key is made and cannot be undone"
	switch {
	case o.flag(pkcs11.CKA_SENSITIVE):
		return failed("the %s is sensitive (CKA_SENSITIVE): its value never leaves the token in the clear", hint, o)
	case !o.flag(pkcs11.CKA_EXTRACTABLE):
		return failed("the %s is not extractable (CKA_EXTRACTABLE): its value never leaves the token", hint, o)
	}
	return nil
}

func exportPrivate(ctx context.Context, t *token, o object, _ string) ([]byte, error) {
	if err := mayLeave(o); err != nil {
		return nil, err
	}
	full, err := t.read(ctx, o.ref, privateTypes)
	if err != nil {
		return nil, err
	}
	defer wipe(full.attrs)
	key, err := privateKey(full.attrs)
	if err != nil {
		return nil, fmt.Errorf("the %s cannot be written: %w", o, err)
	}
	return privatePEM(key)
}

func exportSecret(ctx context.Context, t *token, o object, encoding string) ([]byte, error) {
	if err := mayLeave(o); err != nil {
		return nil, err
	}
	full, err := t.read(ctx, o.ref, []pkcs11.AttributeType{pkcs11.CKA_VALUE})
	if err != nil {
		return nil, err
	}
	defer wipe(full.attrs)
	return encodeSecret(full.attrs.Bytes(pkcs11.CKA_VALUE), encoding)
}
