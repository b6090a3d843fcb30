package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/core/mech/ff"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// keyOptions are the flags that say what a new key is called and what it may do; generate and import share them.
type keyOptions struct {
	label       string
	id          string
	usage       []string
	sensitive   bool
	extractable bool
}

func (k *keyOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&k.label, "label", "", "`NAME` of the key")
	f.StringVar(&k.id, "id", "", "id in `HEX` (default: made of the public key, or random for a secret key)")
	f.StringSliceVar(&k.usage, "usage", nil, "what the key may do, `LIST` of: "+usageNames()+" (default: what the type is for)")
	f.BoolVar(&k.sensitive, "sensitive", true, "the value never leaves the token in the clear")
	f.BoolVar(&k.extractable, "extractable", false, "the value may leave the token, wrapped under another key")
}

func usageNames() string {
	var out []string
	for _, u := range usages {
		out = append(out, u.name)
	}
	return strings.Join(out, ", ")
}

// check reads the flags that are text.
func (k *keyOptions) check() (id []byte, err error) {
	if k.label == "" {
		return nil, usage("the key needs a label", "add --label NAME")
	}
	for _, w := range k.usage {
		if !slices.ContainsFunc(usages, func(u usageWord) bool { return u.name == w }) {
			return nil, usage("the usage %q is not known", "known are: "+usageNames(), w)
		}
	}
	id, err = hex.DecodeString(strings.ReplaceAll(k.id, ":", ""))
	if err != nil {
		return nil, usage("the id %q is not hexadecimal", "such as --id 0a1b", k.id)
	}
	return id, nil
}

// template is what a new object of the token is, apart from its material. usual is what its type is used for where
// --usage does not say. Every usage is written, so that no default of the token adds one.
func (k *keyOptions) template(class pkcs11.ObjectClass, id []byte, usual []string) pkcs11.Template {
	secretive := class == pkcs11.CKO_PRIVATE_KEY || class == pkcs11.CKO_SECRET_KEY
	tm := pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, class),
		pkcs11.Attr(pkcs11.CKA_TOKEN, true),
		pkcs11.Attr(pkcs11.CKA_PRIVATE, secretive),
		pkcs11.AttrString(pkcs11.CKA_LABEL, k.label),
		pkcs11.Attr(pkcs11.CKA_ID, id),
	}
	for _, u := range usages {
		if !u.has(class) {
			continue
		}
		may := slices.Contains(usual, u.name)
		if len(k.usage) > 0 {
			// Of a pair, one half's use says the other's: who signs is verified.
			may = slices.Contains(k.usage, u.name) || class != pkcs11.CKO_SECRET_KEY && slices.Contains(k.usage, u.pair)
		}
		tm = append(tm, pkcs11.Attr(u.attr, may && u.fits(class)))
	}
	if secretive {
		tm = append(tm, pkcs11.Attr(pkcs11.CKA_SENSITIVE, k.sensitive), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, k.extractable))
	}
	return tm
}

func (a *app) keyGenerateCommand() *cobra.Command {
	var (
		options  keyOptions
		typeName string
	)
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make a key or a key pair in the token",
		Long: `Makes a key in the token. It never leaves it, unless --extractable says that it may.

Types: ` + keySpecNames() + `

The number of hss is how many signatures the key can make.`,
		Example: `  coffer key generate --type ec:p256 --label web
  coffer key generate --type rsa:3072 --label ca --id 01
  coffer key generate --type aes:256 --label backup --usage encrypt,decrypt
  coffer key generate --type hmac:256 --label tokens`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if typeName == "" {
				return usage("the type of the key is missing", "add --type, one of: "+keySpecNames())
			}
			spec, err := parseKeySpec(typeName)
			if err != nil {
				return err
			}
			id, err := options.check()
			if err != nil {
				return err
			}
			return a.withToken(cmd.Context(), false, func(t *token) error {
				return a.generate(cmd.Context(), t, spec, &options, id)
			})
		},
	}
	cmd.Flags().StringVar(&typeName, "type", "", "`TYPE` of the key, such as ec:p256")
	options.flags(cmd.Flags())
	return cmd
}

func (a *app) generate(ctx context.Context, t *token, spec keySpec, options *keyOptions, id []byte) error {
	given := len(id) > 0
	if !given {
		id = make([]byte, 8)
		rand.Read(id)
	}
	var made []object
	if spec.public == nil {
		tm := options.template(pkcs11.CKO_SECRET_KEY, id, spec.private)
		tm = append(tm, pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, secretKeyType(spec.name)))
		tm = append(tm, pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, spec.n/8))
		ref, err := t.GenerateKey(ctx, t.cred, pkcs11.Mechanism{Type: spec.mechanism}, tm)
		if err != nil {
			return err
		}
		made = []object{{ref: ref}}
	} else {
		var err error
		if made, err = t.generatePair(ctx, spec, options, id); err != nil {
			return err
		}
		if !given {
			if err := t.usualID(ctx, made); err != nil {
				return err
			}
		}
	}
	sums, err := t.afresh(ctx, made)
	if err != nil {
		return err
	}
	return a.emit(map[string]any{"keys": sums}, func(w io.Writer) {
		fmt.Fprintf(w, "Made a key of type %s.\n", spec.full)
		keyTable(w, sums)
	})
}

func secretKeyType(name string) pkcs11.KeyType {
	if name == "aes" {
		return pkcs11.CKK_AES
	}
	return pkcs11.CKK_GENERIC_SECRET
}

// generatePair makes a key pair; the private key comes first.
func (t *token) generatePair(ctx context.Context, spec keySpec, options *keyOptions, id []byte) ([]object, error) {
	public := options.template(pkcs11.CKO_PUBLIC_KEY, id, spec.public)
	private := options.template(pkcs11.CKO_PRIVATE_KEY, id, spec.private)
	if c, ok := curveNamed(spec.full); ok {
		public = append(public, pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, c.keyType), pkcs11.Attr(pkcs11.CKA_EC_PARAMS, c.params()))
		private = append(private, pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, c.keyType))
	} else if g := ff.Named(spec.n); spec.name == "dh" && g != nil {
		public = append(public, pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_DH),
			pkcs11.Attr(pkcs11.CKA_PRIME, g.P.Bytes()), pkcs11.Attr(pkcs11.CKA_BASE, g.G.Bytes()))
		private = append(private, pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_DH))
	} else if spec.name == "hss" {
		public = append(public, pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_HSS))
		private = append(private, hssTemplate(spec.size)...)
	} else if s, ok := setNamed(spec.full); ok {
		public = append(public, s.template()...)
		private = append(private, pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, s.keyType))
	} else {
		public = append(public, pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
			pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, spec.n), pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
		private = append(private, pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA))
	}
	pub, priv, err := t.GenerateKeyPair(ctx, t.cred, pkcs11.Mechanism{Type: spec.mechanism}, public, private)
	if err != nil {
		return nil, err
	}
	return []object{{ref: priv}, {ref: pub}}, nil
}

// usualID replaces the random id of a new pair by the one made of the public key, which is known only now.
func (t *token) usualID(ctx context.Context, pair []object) error {
	o, err := t.read(ctx, pair[1].ref, publicTypes)
	if err != nil {
		return err
	}
	key, err := publicKey(o.attrs)
	if err != nil {
		return err
	}
	id, err := keyID(key)
	if err != nil {
		return err
	}
	for _, o := range pair {
		if err := t.SetAttributes(ctx, t.cred, o.ref, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ID, id)}); err != nil {
			return err
		}
	}
	return nil
}
