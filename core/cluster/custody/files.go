package custody

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/coffer-hsm/coffer/core/secret"
)

// KeyFile keeps the key in a file of its own, which belongs on another medium than the state directory, or is what a
// machine's image brings along. It is made where it does not exist.
type KeyFile struct{ Path string }

func (KeyFile) name() string    { return "file" }
func (KeyFile) guessable() bool { return false }

func (f KeyFile) wrap(context.Context, Binding) (*secret.Bytes, []byte, error) {
	key, err := f.read()
	if !errors.Is(err, fs.ErrNotExist) {
		return key, nil, err
	}
	key = newKey()
	text := make([]byte, hex.EncodedLen(key.Len())+1)
	defer secret.Wipe(text)
	hex.Encode(text, key.Expose())
	text[len(text)-1] = '\n'
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("the directory of the key file cannot be made: %w", err)
	}
	if err := writeNew(f.Path, text); err != nil {
		return nil, nil, fmt.Errorf("the key file cannot be made: %w", err)
	}
	return key, nil, nil
}

// writeNew makes a file that its owner alone may read, and that is there after a crash: without it the root is lost.
func writeNew(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (f KeyFile) unwrap(context.Context, Binding, []byte) (*secret.Bytes, error) {
	key, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the key file %s is not there; mount what it is on, or correct key_file", f.Path)
	}
	return key, err
}

func (f KeyFile) read() (*secret.Bytes, error) {
	text, err := private(f.Path)
	if err != nil {
		return nil, err
	}
	defer text.Zero()
	key := secret.New(keySize)
	line := bytes.TrimSpace(text.Expose())
	if hex.DecodedLen(len(line)) != keySize {
		return nil, fmt.Errorf("the key file %s does not hold %d hexadecimal digits", f.Path, 2*keySize)
	}
	if _, err := hex.Decode(key.Expose(), line); err != nil {
		return nil, fmt.Errorf("the key file %s does not hold %d hexadecimal digits", f.Path, 2*keySize)
	}
	return key, nil
}

// private reads a file that others may not read.
func private(path string) (*secret.Bytes, error) {
	// A pipe without a writer would be waited for.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may read %s; run chmod 600 on it", path)
	}
	return readSecret(file, path)
}

// maxSecret bounds what is read as a secret, in bytes.
const maxSecret = 4096

func readSecret(r io.Reader, from string) (*secret.Bytes, error) {
	buf := make([]byte, maxSecret+1)
	defer secret.Wipe(buf)
	n, err := io.ReadFull(r, buf)
	switch {
	case n > maxSecret:
		return nil, fmt.Errorf("%s is too long for a secret", from)
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s cannot be read: %w", from, err)
	}
	return secret.Copy(buf[:n]), nil
}

// Passphrase derives the key from what Ask returns, slowly. Who can read the disk can guess at that speed.
type Passphrase struct {
	// Ask returns the passphrase, without its end of line; fresh says that it is to be set, so a person should type it
	// twice. The caller of Ask wipes it.
	Ask func(ctx context.Context, fresh bool) (*secret.Bytes, error)
}

// minPassphrase is the least length in bytes.
const minPassphrase = 8

func (Passphrase) name() string    { return "passphrase" }
func (Passphrase) guessable() bool { return true }

func (p Passphrase) wrap(ctx context.Context, _ Binding) (*secret.Bytes, []byte, error) {
	s, err := p.Ask(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	if s.Len() < minPassphrase {
		s.Zero()
		return nil, nil, fmt.Errorf("a passphrase has at least %d characters; who has the disk can try many", minPassphrase)
	}
	return s, nil, nil
}

func (p Passphrase) unwrap(ctx context.Context, _ Binding, _ []byte) (*secret.Bytes, error) {
	return p.Ask(ctx, false)
}

// FromFile asks a file for a passphrase, its first line; the file must not be readable by others.
func FromFile(path string) func(context.Context, bool) (*secret.Bytes, error) {
	return func(context.Context, bool) (*secret.Bytes, error) {
		text, err := private(path)
		if err != nil {
			return nil, fmt.Errorf("the passphrase cannot be read: %w", err)
		}
		defer text.Zero()
		return firstLine(text.Expose()), nil
	}
}

// FromDescriptor asks an open file descriptor, up to its end.
func FromDescriptor(fd int) func(context.Context, bool) (*secret.Bytes, error) {
	return func(context.Context, bool) (*secret.Bytes, error) {
		file := os.NewFile(uintptr(fd), "passphrase")
		if file == nil {
			return nil, fmt.Errorf("there is no file descriptor %d", fd)
		}
		defer file.Close()
		text, err := readSecret(file, fmt.Sprintf("file descriptor %d", fd))
		if err != nil {
			return nil, err
		}
		defer text.Zero()
		return firstLine(text.Expose()), nil
	}
}

func firstLine(b []byte) *secret.Bytes {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	return secret.Copy(bytes.TrimSuffix(b, []byte("\r")))
}

// Credential takes the key from a credential of systemd's (LoadCredential=, LoadCredentialEncrypted=), at least 16 bytes
// of any form. Directory is $CREDENTIALS_DIRECTORY.
type Credential struct{ Directory, Name string }

const minCredential = 16

func (Credential) name() string    { return "credential" }
func (Credential) guessable() bool { return true }

func (c Credential) wrap(ctx context.Context, b Binding) (*secret.Bytes, []byte, error) {
	key, err := c.unwrap(ctx, b, nil)
	return key, nil, err
}

func (c Credential) unwrap(context.Context, Binding, []byte) (*secret.Bytes, error) {
	if c.Directory == "" {
		return nil, errors.New("$CREDENTIALS_DIRECTORY is not set; the unit needs LoadCredential= or LoadCredentialEncrypted=")
	}
	path := filepath.Join(c.Directory, filepath.Base(c.Name))
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("systemd has not passed on the credential: %w", err)
	}
	defer file.Close()
	key, err := readSecret(file, path)
	if err == nil && key.Len() < minCredential {
		key.Zero()
		return nil, fmt.Errorf("the credential %s has less than %d bytes", c.Name, minCredential)
	}
	return key, err
}
