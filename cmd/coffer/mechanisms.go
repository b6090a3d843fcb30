package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

// mechanismFlags are the words for what a mechanism can do.
var mechanismFlags = []struct {
	flag pkcs11.Flags
	word string
}{
	{pkcs11.CKF_ENCRYPT, "encrypt"},
	{pkcs11.CKF_DECRYPT, "decrypt"},
	{pkcs11.CKF_DIGEST, "digest"},
	{pkcs11.CKF_SIGN, "sign"},
	{pkcs11.CKF_SIGN_RECOVER, "sign-recover"},
	{pkcs11.CKF_VERIFY, "verify"},
	{pkcs11.CKF_VERIFY_RECOVER, "verify-recover"},
	{pkcs11.CKF_GENERATE, "generate"},
	{pkcs11.CKF_GENERATE_KEY_PAIR, "generate-key-pair"},
	{pkcs11.CKF_WRAP, "wrap"},
	{pkcs11.CKF_UNWRAP, "unwrap"},
	{pkcs11.CKF_DERIVE, "derive"},
	{pkcs11.CKF_ENCAPSULATE, "encapsulate"},
	{pkcs11.CKF_DECAPSULATE, "decapsulate"},
	{pkcs11.CKF_MESSAGE_ENCRYPT, "message-encrypt"},
	{pkcs11.CKF_MESSAGE_DECRYPT, "message-decrypt"},
	{pkcs11.CKF_MESSAGE_SIGN, "message-sign"},
	{pkcs11.CKF_MESSAGE_VERIFY, "message-verify"},
}

type mechanismRow struct {
	Name       string   `json:"name"`
	Number     uint     `json:"number"`
	MinKeySize uint     `json:"min_key_size"`
	MaxKeySize uint     `json:"max_key_size"`
	Flags      []string `json:"flags"`
}

func (a *app) mechanismsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "mechanisms [WORD]",
		Short: "List what the token can compute",
		Long: `Lists the mechanisms of the token with the sizes of keys that they take and what they do; with a WORD, those that have it
in their name. What the token's policy does not allow is not there. In JSON there are also the counts: of mechanisms, of those of
the standard, and of pairs of a mechanism and a thing that it does. Sizes are in bits for RSA and elliptic curves, in bytes for AES and generic secrets, as PKCS #11 has it.`,
		Example: "  coffer mechanisms\n  coffer mechanisms ecdsa\n  coffer mechanisms --output json",
		Args:    arguments(0, 1, "a WORD"),
		RunE: func(_ *cobra.Command, args []string) error {
			slot, err := a.chosenSlot()
			if err != nil {
				return err
			}
			t, err := a.openSlot(slot)
			if err != nil {
				return err
			}
			defer t.close()
			word := strings.ToUpper(strings.ReplaceAll(file(args), "-", "_"))
			list := []mechanismRow{}
			for _, m := range t.Mechanisms() {
				info, ok := t.Mechanism(m)
				if !ok || !strings.Contains(m.String(), word) {
					continue
				}
				list = append(list, mechanismRow{m.String(), uint(m), info.MinKeySize, info.MaxKeySize, flagWords(info.Flags)})
			}
			if len(list) == 0 {
				return notFound("the token has no mechanism with %q in its name", "coffer mechanisms lists all", word)
			}
			pairs := 0
			for _, r := range list {
				pairs += len(r.Flags)
			}
			return a.emit(map[string]any{"mechanisms": list, "count": len(list), "standard": standard(list), "pairs": pairs}, func(w io.Writer) {
				var rows [][]string
				for _, r := range list {
					rows = append(rows, []string{r.Name, keySizes(r), strings.Join(r.Flags, ",")})
				}
				table(w, []string{"NAME", "KEY SIZES", "FLAGS"}, rows)
			})
		},
	}
}

// standard counts those that are the standard's, not a vendor's.
func standard(list []mechanismRow) (n int) {
	for _, r := range list {
		if r.Number < uint(pkcs11.CKM_VENDOR_DEFINED) {
			n++
		}
	}
	return n
}

func flagWords(flags pkcs11.Flags) []string {
	words := []string{}
	for _, f := range mechanismFlags {
		if flags&f.flag != 0 {
			words = append(words, f.word)
		}
	}
	return words
}

func keySizes(r mechanismRow) string {
	switch {
	case r.MaxKeySize == 0:
		return "-"
	case r.MinKeySize == r.MaxKeySize:
		return fmt.Sprint(r.MinKeySize)
	}
	return fmt.Sprintf("%d-%d", r.MinKeySize, r.MaxKeySize)
}
