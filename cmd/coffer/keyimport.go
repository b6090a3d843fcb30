package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"strings"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

// maxKeyFile is far above any key or chain of certificates.
const maxKeyFile = 1 << 20

func (a *app) keyImportCommand() *cobra.Command {
	var (
		options            keyOptions
		typeName, encoding string
	)
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Bring a key or a certificate into the token",
		Long: `Reads private keys (PKCS#8, PKCS#1, SEC1), public keys and certificates in PEM or DER; a PEM file may hold several. With
a private key, its public key is made too. Key and certificate get the same id. Keys that are encrypted with a passphrase
must be decrypted first.

Secret keys are read with --type aes, hmac or generic, as raw bytes or as --encoding says.

A private or secret key that was imported is sensitive and, without --extractable, stays in the token for ever. Remember
that the file it came from is still there.`,
		Example: `  coffer key import server.key --label web
  coffer key import server.crt --label web
  coffer key import backup.hex --type aes --encoding hex --label backup
  openssl ecparam -name prime256v1 -genkey -noout | coffer key import - --label web`,
		Args: arguments(1, 1, "the FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := options.check()
			if err != nil {
				return err
			}
			data, err := a.readAll(args[0], maxKeyFile)
			if err != nil {
				return err
			}
			defer secret.Wipe(data)
			im := &importer{options: &options, id: id}
			if typeName != "" {
				err = im.secret(typeName, encoding, data)
			} else {
				im.items, err = parseKeyFile(data)
			}
			if err != nil {
				return err
			}
			return a.withToken(cmd.Context(), false, func(t *token) error {
				im.token = t
				sums, err := im.run(cmd.Context())
				if err != nil {
					return err
				}
				return a.emit(map[string]any{"keys": sums}, func(w io.Writer) {
					fmt.Fprintf(w, "Imported %s.\n", args[0])
					keyTable(w, sums)
				})
			})
		},
	}
	cmd.Flags().StringVar(&typeName, "type", "", "the file holds a secret key of this `TYPE`: aes, hmac or generic")
	cmd.Flags().StringVar(&encoding, "encoding", "raw", "how a secret key is written in the file: "+encodingHelp)
	options.flags(cmd.Flags())
	return cmd
}

// readAll reads a file or standard input, up to a limit.
func (a *app) readAll(path string, limit int64) ([]byte, error) {
	r, err := a.input(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, usage("%s is larger than %d bytes", "is it the right file?", path, limit)
	}
	return data, nil
}

// importer brings the contents of one file into a token: all of it or nothing.
type importer struct {
	*token
	options *keyOptions
	id      []byte // given by --id; empty otherwise
	items   []fileItem
	secrets pkcs11.Template // a secret key
	kind    keyKind         // of the secret key
	made    []object
}

func (im *importer) run(ctx context.Context) ([]keySummary, error) {
	err := im.all(ctx)
	if err != nil {
		for _, o := range im.made {
			im.Destroy(ctx, im.cred, o.ref) // as far as it goes; the first error is the one to tell
		}
		return nil, err
	}
	return im.afresh(ctx, im.made)
}

func (im *importer) all(ctx context.Context) error {
	if im.secrets != nil {
		id := im.id
		if len(id) == 0 {
			id = make([]byte, 8)
			rand.Read(id)
		}
		return im.create(ctx, append(im.options.template(pkcs11.CKO_SECRET_KEY, id, im.kind.private), im.secrets...))
	}
	for _, item := range im.items {
		var err error
		switch {
		case item.private != nil:
			err = im.private(ctx, item.private)
		case item.public != nil:
			err = im.public(ctx, item.public, true)
		case item.certificate != nil:
			err = im.certificate(ctx, item.certificate)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) create(ctx context.Context, tm pkcs11.Template) error {
	ref, err := im.Create(ctx, im.cred, tm)
	if err == nil {
		im.made = append(im.made, object{ref: ref})
	}
	return err
}

// secret prepares a secret key.
func (im *importer) secret(typeName, encoding string, data []byte) error {
	for _, k := range keyKinds {
		if k.public == nil && k.name == typeName {
			im.kind = k
		}
	}
	if im.kind.name == "" {
		return usage("--type %q is not a secret key's", "use aes, hmac or generic; keys in PEM need no --type", typeName)
	}
	value, err := decodeSecret(data, encoding)
	if err != nil {
		return err
	}
	n := len(value)
	if typeName == "aes" && n != 16 && n != 24 && n != 32 {
		return usage("an AES key has 16, 24 or 32 bytes, the file holds %d", "if it is text, add --encoding hex or --encoding base64", n)
	}
	if n == 0 || n > maxSecretBits/8 {
		return usage("a secret key has 1 to %d bytes, the file holds %d", "is it the right file?", maxSecretBits/8, n)
	}
	im.secrets = pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, secretKeyType(typeName)),
		pkcs11.Attr(pkcs11.CKA_VALUE, value),
	}
	return nil
}

// kindOf is the row of the table of key kinds that material belongs to: it knows the usual usage.
func kindOf(material pkcs11.Template) keyKind {
	name, _, _ := strings.Cut(object{attrs: material}.typeName(), ":")
	for _, k := range keyKinds {
		if k.name == name {
			return k
		}
	}
	return keyKind{}
}

func (im *importer) private(ctx context.Context, key crypto.PrivateKey) error {
	material, pub, err := privateAttributes(key)
	if err != nil {
		return notSupported(err)
	}
	defer wipe(material)
	id, err := im.idOf(pub)
	if err != nil {
		return err
	}
	if same, err := im.sameID(ctx, id, pkcs11.CKO_PRIVATE_KEY); err != nil {
		return err
	} else if len(same) > 0 {
		return alreadyThere(same[0])
	}
	tm := append(im.options.template(pkcs11.CKO_PRIVATE_KEY, id, kindOf(material).private), material...)
	if err := im.create(ctx, tm); err != nil {
		return err
	}
	return im.public(ctx, pub, false)
}

// public makes a public key. One that is there already is an error only where it is what was asked for.
func (im *importer) public(ctx context.Context, key crypto.PublicKey, wanted bool) error {
	material, err := publicAttributes(key)
	if err != nil {
		return notSupported(err)
	}
	id, err := im.idOf(key)
	if err != nil {
		return err
	}
	same, err := im.sameID(ctx, id, pkcs11.CKO_PUBLIC_KEY)
	if err != nil {
		return err
	}
	if len(same) > 0 && wanted {
		return alreadyThere(same[0])
	}
	if len(same) > 0 {
		return nil
	}
	return im.create(ctx, append(im.options.template(pkcs11.CKO_PUBLIC_KEY, id, kindOf(material).public), material...))
}

func (im *importer) certificate(ctx context.Context, cert *x509.Certificate) error {
	material, err := certificateAttributes(cert)
	if err != nil {
		return err
	}
	same, err := im.search(ctx, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, cert.Raw)}, []pkcs11.ObjectClass{pkcs11.CKO_CERTIFICATE})
	if err != nil {
		return err
	}
	if len(same) > 0 {
		return failed("this certificate is in the token already, labelled %q", "nothing was imported", printable(same[0].label()))
	}
	id, err := im.certificateID(ctx, cert)
	if err != nil {
		return err
	}
	return im.create(ctx, append(im.options.template(pkcs11.CKO_CERTIFICATE, id, nil), material...))
}

// certificateID is the id of the key in the token that the certificate is for, or else the usual one: by it, programs
// find the key of a certificate.
func (im *importer) certificateID(ctx context.Context, cert *x509.Certificate) ([]byte, error) {
	if len(im.id) > 0 {
		return im.id, nil
	}
	if material, err := publicAttributes(cert.PublicKey); err == nil {
		keys, err := im.search(ctx, material, []pkcs11.ObjectClass{pkcs11.CKO_PUBLIC_KEY})
		if err != nil {
			return nil, err
		}
		if len(keys) > 0 && keys[0].id() != "" {
			return keys[0].attrs.Bytes(pkcs11.CKA_ID), nil
		}
	}
	return spkiID(cert.RawSubjectPublicKeyInfo)
}

func (im *importer) idOf(key crypto.PublicKey) ([]byte, error) {
	if len(im.id) > 0 {
		return im.id, nil
	}
	return keyID(key)
}

// sameID returns the keys of a class with that id; there should be at most one.
func (im *importer) sameID(ctx context.Context, id []byte, class pkcs11.ObjectClass) ([]object, error) {
	return im.search(ctx, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ID, id)}, []pkcs11.ObjectClass{class})
}

func alreadyThere(o object) error {
	return failed("the token has a %s key with the id %s already, labelled %q", "coffer key list shows it; to import all the same, give another --id",
		className(o.class()), o.id(), printable(o.label()))
}

func notSupported(err error) error {
	return usage("%v", "files may hold RSA, the NIST curves, Ed25519 and X25519; other keys are made in the token or unwrapped", err)
}

// wipe zeroes the byte strings of a template that is done with.
func wipe(tm pkcs11.Template) {
	for _, a := range tm {
		if b, ok := a.Value.([]byte); ok {
			secret.Wipe(b)
		}
	}
}
