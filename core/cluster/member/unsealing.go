package member

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/coffer-hsm/coffer/core/cluster/custody"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/secret"
)

// Prompts are how a person is asked where the configuration names no file. Each may be nil: then nobody is there.
type Prompts struct {
	// Passphrase asks for one, twice if it is fresh.
	Passphrase func(ctx context.Context, fresh bool) (*secret.Bytes, error)
	// GiveShares hands out the shares, which stand nowhere else; TakeShare asks for one more, and with "" gives up.
	GiveShares func(ctx context.Context, shares []string) error
	TakeShare  func(ctx context.Context, have, need int) (string, error)
}

// MethodOf returns the method that the configuration names.
func MethodOf(u config.Unseal, p Prompts) (custody.Method, error) {
	make, ok := methods[u.Method]
	if !ok {
		return nil, fmt.Errorf("unseal.method %q is not known", u.Method)
	}
	return make(u, p)
}

var methods = map[string]func(config.Unseal, Prompts) (custody.Method, error){
	config.UnsealFile: func(u config.Unseal, _ Prompts) (custody.Method, error) {
		return custody.KeyFile{Path: u.KeyFile}, nil
	},
	config.UnsealPassphrase: passphrase,
	config.UnsealShares: func(u config.Unseal, p Prompts) (custody.Method, error) {
		return custody.Shares{N: u.Shares, M: u.Threshold, Give: p.give, Take: p.take(u.ShareFiles)}, nil
	},
	config.UnsealCredential: func(u config.Unseal, _ Prompts) (custody.Method, error) {
		return custody.Credential{Directory: os.Getenv("CREDENTIALS_DIRECTORY"), Name: u.Credential}, nil
	},
	config.UnsealPKCS11: func(u config.Unseal, _ Prompts) (custody.Method, error) {
		id, err := hex.DecodeString(u.KeyID)
		if err != nil {
			return nil, fmt.Errorf("unseal.key_id %q is not hexadecimal", u.KeyID)
		}
		read := custody.FromFile(u.PINFile)
		return custody.Module{Library: u.Module, Token: u.Token, Serial: u.Serial, Label: u.KeyLabel, ID: id,
			PIN: func() (*secret.Bytes, error) { return read(context.Background(), false) }}, nil
	},
}

func passphrase(u config.Unseal, p Prompts) (custody.Method, error) {
	switch {
	case u.PassphraseFD >= 0:
		return custody.Passphrase{Ask: custody.FromDescriptor(u.PassphraseFD)}, nil
	case u.PassphraseFile != "":
		return custody.Passphrase{Ask: custody.FromFile(u.PassphraseFile)}, nil
	case u.PassphraseEnv != "":
		path := os.Getenv(u.PassphraseEnv)
		if path == "" {
			return nil, fmt.Errorf("the environment's %s is to name the file with the passphrase, and is not set", u.PassphraseEnv)
		}
		return custody.Passphrase{Ask: custody.FromFile(path)}, nil
	case p.Passphrase == nil:
		return nil, fmt.Errorf("the passphrase must be given and nobody can be asked; set passphrase_file, call it on a terminal, or start cofferd with --unseal-fd")
	}
	return custody.Passphrase{Ask: p.Passphrase}, nil
}

func (p Prompts) give(ctx context.Context, shares []string) error {
	if p.GiveShares == nil {
		return fmt.Errorf("there is nobody to hand the shares to; run this command on a terminal")
	}
	return p.GiveShares(ctx, shares)
}

// take reads the files first and asks for the rest.
func (p Prompts) take(files []string) func(context.Context, int, int) (string, error) {
	return func(ctx context.Context, have, need int) (string, error) {
		if len(files) > 0 {
			path := files[0]
			files = files[1:]
			b, err := os.ReadFile(path)
			if err != nil {
				return "", fmt.Errorf("a share cannot be read: %w", err)
			}
			defer secret.Wipe(b)
			return strings.TrimSpace(string(b)), nil
		}
		if p.TakeShare == nil {
			return "", fmt.Errorf("%d of %d shares are there and nobody can be asked for more; set unseal.share_files, call it on a terminal, or start cofferd with --unseal-fd", have, need)
		}
		return p.TakeShare(ctx, have, need)
	}
}
