package member

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The names in a state directory. All files have mode 0600.
const (
	fileIdentity  = "node.json"
	fileNodeKey   = "node.key"
	fileNodeCert  = "node.crt" // the chain, leaf first
	fileNodeCSR   = "node.csr"
	fileNodeCA    = "ca.pem" // the authorities of clients and nodes
	filePeerKey   = "peer.key"
	filePeerCert  = "peer.crt"
	filePeerCA    = "peer-ca.pem"
	fileRevoked   = "peer.crl" // peers that were removed, for the store's listeners
	fileRoot      = "root.sealed"
	fileBootstrap = "bootstrap.sealed" // what the first start writes into the store
	fileMembers   = "members.json"     // where the others were last seen
	fileLock      = "lock"
	dirStore      = "etcd"
	fileStore     = "token.db" // with the store in a file
)

// What opening a state directory may meet.
var (
	ErrNoState = errors.New("there is no node in this state directory")
	ErrInUse   = errors.New("another process is using this state directory")
	ErrExists  = errors.New("there is a node in this state directory already")
)

// identity is node.json: who this node is. It holds no secret.
type identity struct {
	Format  int    `json:"format"`
	Cluster string `json:"cluster"`
	Member  string `json:"member"`
	Serial  string `json:"serial"`
	Label   string `json:"label,omitempty"`
	Store   string `json:"store"`
	// Customer says that the customer's authority signs the nodes' certificates; Waiting, that the request has been
	// written and the certificate is not here yet.
	Customer bool  `json:"customer,omitempty"`
	Waiting  bool  `json:"waiting,omitempty"`
	Created  int64 `json:"created"` // Unix seconds
}

const identityFormat = 1

// State is a state directory, locked.
type State struct {
	dir  string
	lock *os.File
}

// openState locks the directory, making it if create is set. ErrNoState, ErrInUse.
func openState(dir string, create bool) (*State, error) {
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("the state directory cannot be made: %w; check the path and its owner", err)
		}
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s does not exist; run coffer cluster create or coffer cluster join", ErrNoState, dir)
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may look into the state directory %s; run chmod 700 on it", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, fileLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the state directory cannot be locked: %w; check its owner", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s; stop cofferd first", ErrInUse, dir)
		}
		return nil, fmt.Errorf("the state directory %s cannot be locked: %w", dir, err)
	}
	return &State{dir: dir, lock: f}, nil
}

// Close lets another process use the directory.
func (s *State) Close() error { return s.lock.Close() }

func (s *State) path(name string) string { return filepath.Join(s.dir, name) }

func (s *State) has(name string) bool {
	_, err := os.Lstat(s.path(name))
	return err == nil
}

func (s *State) read(name string) ([]byte, error) { return os.ReadFile(s.path(name)) }

// write replaces a file as a whole: after a crash there is the old one or the new one.
func (s *State) write(name string, content []byte) error {
	f, err := os.CreateTemp(s.dir, name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is there under that name after the renaming
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.path(name)); err != nil {
		return err
	}
	return s.sync()
}

// remove deletes a file for good; that it is not there is no error.
func (s *State) remove(name string) error {
	if err := os.RemoveAll(s.path(name)); err != nil {
		return err
	}
	return s.sync()
}

func (s *State) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *State) writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return s.write(name, append(b, '\n'))
}

// identity reads node.json; ErrNoState where there is none.
func (s *State) identity() (identity, error) {
	var id identity
	b, err := s.read(fileIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("%w: %s; run coffer cluster create or coffer cluster join", ErrNoState, s.dir)
	}
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	switch {
	case err != nil:
		return id, fmt.Errorf("%s cannot be read: %w; put it back from a backup, or zeroize this node and join again", s.path(fileIdentity), err)
	case id.Format != identityFormat:
		return id, fmt.Errorf("%s has format %d and this program knows %d; run the version that wrote it, or a later one", s.path(fileIdentity), id.Format, identityFormat)
	case id.Cluster == "" || id.Member == "" || id.Serial == "":
		return id, fmt.Errorf("%s is incomplete; put it back from a backup, or zeroize this node and join again", s.path(fileIdentity))
	}
	return id, nil
}

// neighbour is what a start without anybody's help needs of another member.
type neighbour struct {
	ID           string `json:"id"`
	Address      string `json:"address,omitempty"`
	PeerAddress  string `json:"peer_address,omitempty"`
	StoreAddress string `json:"store_address,omitempty"`
	Votes        bool   `json:"votes,omitempty"`
}

// neighbours reads members.json; none where it is not there or not readable: it is a hint and no more.
func (s *State) neighbours() []neighbour {
	var list []neighbour
	b, err := s.read(fileMembers)
	if err != nil || json.Unmarshal(b, &list) != nil {
		return nil
	}
	return list
}

// Zeroize overwrites and deletes all that makes this machine a node: the sealed root, the keys, the store's copy. Without
// the sealed root what may be left on the medium cannot be opened. Nobody may be using the directory (ErrInUse).
func Zeroize(dir string) error {
	s, err := openState(dir, false)
	if err != nil {
		return err
	}
	defer s.Close()
	names := []string{fileRoot, fileBootstrap, fileNodeKey, filePeerKey} // what opens the rest goes first
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != fileLock {
			names = append(names, e.Name())
		}
	}
	for _, name := range names {
		if err := errors.Join(overwrite(s.path(name)), s.remove(name)); err != nil {
			return fmt.Errorf("%s could not be destroyed: %w; destroy the medium", s.path(name), err)
		}
	}
	return nil
}

// overwrite fills a regular file with zeros. On media that write elsewhere this is no more than tidiness; the root's
// sealing is what protects it there.
func overwrite(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for left := info.Size(); left > 0 && err == nil; left -= int64(len(zeros)) {
		_, err = f.Write(zeros[:min(left, int64(len(zeros)))])
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
