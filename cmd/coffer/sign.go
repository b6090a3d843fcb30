package main

import (
	"context"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

// useFlags are the flags of the commands that use a key.
type useFlags struct {
	key, mechanism, out, format, hash string
}

func (u *useFlags) keyFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.key, "key", "", "`NAME` of the key: "+selectorHelp)
	cmd.Flags().StringVar(&u.mechanism, "mechanism", "", "`MECHANISM`, such as SHA384_RSA_PKCS_PSS (default: the usual one for the key)")
}

func (u *useFlags) formatFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.format, "format", "der", "`FORM` of ECDSA signatures: der, as OpenSSL has them, or raw, as PKCS #11 has them")
}

func (u *useFlags) check() error {
	if u.key == "" {
		return usage("the key is missing", "add --key NAME; coffer key list shows the names")
	}
	if u.format != "" && u.format != "der" && u.format != "raw" {
		return usage("--format %q is not known", "use der or raw", u.format)
	}
	return nil
}

// file is the optional argument.
func file(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (a *app) signCommand() *cobra.Command {
	var u useFlags
	cmd := &cobra.Command{
		Use:   "sign [FILE]",
		Short: "Sign a file",
		Long: `Signs a file, or standard input, with a private key; with a secret key it makes a MAC.

Usual mechanisms: RSA SHA256_RSA_PKCS, elliptic curves ECDSA_SHA256, Ed25519 and Ed448 EDDSA, ML-DSA ML_DSA, SLH-DSA SLH_DSA,
HSS HSS, hmac and generic keys SHA256_HMAC, AES AES_CMAC.`,
		Example: `  coffer sign --key web --out letter.sig letter.txt
  coffer sign --key ca --mechanism sha384-rsa-pkcs-pss --out letter.sig letter.txt
  coffer sign --key web --output json letter.txt`,
		Args: arguments(0, 1, "a FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(); err != nil {
				return err
			}
			return a.withToken(cmd.Context(), false, func(t *token) error {
				return a.sign(cmd.Context(), t, &u, file(args))
			})
		},
	}
	u.keyFlags(cmd)
	u.formatFlag(cmd)
	cmd.Flags().StringVar(&u.out, "out", "", "`FILE` for the signature (default: standard output)")
	return cmd
}

func (a *app) sign(ctx context.Context, t *token, u *useFlags, path string) error {
	o, m, err := t.chosen(ctx, u, hsm.OpSign, pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY)
	if err != nil {
		return err
	}
	in, err := a.input(path)
	if err != nil {
		return err
	}
	defer in.Close()
	var signature []byte
	err = feed(ctx, in, io.Discard,
		func() (hsm.Operation, error) { return t.operation(ctx, hsm.OpSign, m, o) },
		func(op hsm.Operation, last []byte) (err error) {
			signature, err = op.Finish(ctx, nil, last)
			return err
		})
	if err != nil {
		return err
	}
	form := ""
	if o.keyType() == pkcs11.CKK_EC {
		form = u.format
		if form == "der" {
			if signature, err = rawToDER(signature); err != nil {
				return err
			}
		}
	}
	if a.output == "json" {
		type result struct {
			Key       keySummary `json:"key"`
			Mechanism string     `json:"mechanism"`
			Format    string     `json:"format,omitempty"`
			Signature string     `json:"signature,omitempty"`
			File      string     `json:"file,omitempty"`
		}
		r := result{Key: summary(o), Mechanism: m.Type.String(), Format: form, File: u.out}
		if u.out != "" {
			if err := a.deliver(u.out, true, 0o644, signature); err != nil {
				return err
			}
		} else {
			r.Signature = base64.StdEncoding.EncodeToString(signature)
		}
		return a.emit(r, nil)
	}
	return a.deliver(u.out, true, 0o644, signature)
}

// chosen finds the key of an operation and the mechanism with its parameter.
func (t *token) chosen(ctx context.Context, u *useFlags, kind hsm.OpKind, wanted ...pkcs11.ObjectClass) (object, pkcs11.Mechanism, error) {
	o, err := t.preferred(ctx, u.key, wanted)
	if err != nil {
		return object{}, pkcs11.Mechanism{}, err
	}
	mt, err := chooseMechanism(u.mechanism, o, kind)
	if err != nil {
		return object{}, pkcs11.Mechanism{}, err
	}
	if n := ivLen(mt); n > 0 && (kind == hsm.OpEncrypt || kind == hsm.OpDecrypt) {
		return o, pkcs11.Mechanism{Type: mt}, nil // encrypt and decrypt give the IV
	}
	m, err := parameterOf(mt, u.hash, nil)
	return o, m, err
}

func (a *app) verifyCommand() *cobra.Command {
	var u useFlags
	var signatureFile string
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check a signature",
		Long: `Checks the signature of a file, or of standard input, with a public key; a MAC with a secret key. A public key needs no
PIN. The exit code is 5 where the signature is not valid.`,
		Example: `  coffer verify --key web --signature letter.sig letter.txt
  coffer verify --key ca --mechanism sha384-rsa-pkcs-pss --signature letter.sig letter.txt`,
		Args: arguments(0, 1, "a FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(); err != nil {
				return err
			}
			if signatureFile == "" {
				return usage("the signature is missing", "add --signature FILE")
			}
			return a.withPublic(cmd.Context(), false, func(t *token) error {
				return a.verify(cmd.Context(), t, &u, signatureFile, file(args))
			})
		},
	}
	u.keyFlags(cmd)
	u.formatFlag(cmd)
	cmd.Flags().StringVar(&signatureFile, "signature", "", "`FILE` with the signature")
	return cmd
}

// maxSignature is far above any signature's length.
const maxSignature = 1 << 20

func (a *app) verify(ctx context.Context, t *token, u *useFlags, signatureFile, path string) error {
	o, m, err := t.chosen(ctx, u, hsm.OpVerify, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_SECRET_KEY)
	if err != nil {
		return err
	}
	signature, err := a.readAll(signatureFile, maxSignature)
	if err != nil {
		return err
	}
	if o.keyType() == pkcs11.CKK_EC && u.format == "der" {
		c, ok := curveOf(o.attrs.Bytes(pkcs11.CKA_EC_PARAMS))
		if !ok {
			return usage("the curve of %s is not known to this program", "verify with --format raw", o)
		}
		if signature, err = derToRaw(signature, c.size); err != nil {
			return err
		}
	}
	begin := func() (hsm.Operation, error) { return t.operation(ctx, hsm.OpVerify, m, o) }
	in, err := a.input(path)
	if err != nil {
		return err
	}
	defer in.Close()
	err = feed(ctx, in, io.Discard, begin, func(op hsm.Operation, last []byte) error { return op.Verify(ctx, last, signature) })
	if err != nil {
		return err
	}
	type result struct {
		Key       keySummary `json:"key"`
		Mechanism string     `json:"mechanism"`
		Valid     bool       `json:"valid"`
	}
	return a.emit(result{summary(o), m.Type.String(), true}, func(w io.Writer) {
		fmt.Fprintln(w, "The signature is valid.")
	})
}

// ecdsaSignature is the DER form of an ECDSA signature, RFC 3279, 2.2.3.
type ecdsaSignature struct{ R, S *big.Int }

// rawToDER makes the DER form of r and s side by side (PKCS#11 v3.2, 6.3.1).
func rawToDER(raw []byte) ([]byte, error) {
	if len(raw) == 0 || len(raw)%2 != 0 {
		return nil, fmt.Errorf("an ECDSA signature of %d bytes is no pair of numbers", len(raw))
	}
	half := len(raw) / 2
	return asn1.Marshal(ecdsaSignature{new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])})
}

// derToRaw is the inverse of rawToDER. size is the bytes of one number.
func derToRaw(der []byte, size int) ([]byte, error) {
	var sig ecdsaSignature
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil || len(rest) > 0 || sig.R.Sign() < 0 || sig.S.Sign() < 0 || sig.R.BitLen() > size*8 || sig.S.BitLen() > size*8 {
		return nil, &problem{text: "the signature is NOT valid, it has not the DER form", hint: "if it has the form of PKCS #11, add --format raw", code: exitInvalid}
	}
	raw := make([]byte, 2*size)
	sig.R.FillBytes(raw[:size])
	sig.S.FillBytes(raw[size:])
	return raw, nil
}
