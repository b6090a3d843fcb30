package sqlite

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	syncMagic  = "CofrSyn1"
	wordOffset = 8
	syncSize   = 16

	lockNext = 16 // held by who is next in line
	lockTurn = 17 // held by who writes
	lockGate = 18 // held by who was let through by Alone

	// patience is how long a writer waits for its turn before it goes ahead without, because someone was stopped who
	// holds it. SQLite's own locks then decide.
	patience = 2 * time.Second

	// gatePatience is the same for Alone.
	gatePatience = 10 * time.Second
)

// syncFile is the file beside the database through which processes tell each other that something changed and whose
// turn it is. Both only make things faster and fairer: whatever fails here is ignored, and the database itself decides.
type syncFile struct {
	f     *os.File // nil if there is none; not written if the store is read-only
	page  *page    // nil if it could not be mapped
	turns line
	gates line
}

// line orders the goroutines of this Store before a lock, which is the process's.
type line struct {
	slot     chan struct{}
	patience time.Duration
	take     func(how int) bool
	give     func()
}

// page is a mapping. It is unmapped by the garbage collector, since Changed may run while Close does.
type page struct{ data []byte }

// openSyncFile never fails: without the file the rest works, slower.
func openSyncFile(database string, readOnly bool) *syncFile {
	s := &syncFile{}
	s.turns = line{make(chan struct{}, 1), patience, s.queue, func() { s.lock(unix.F_SETLK, unix.F_UNLCK, lockTurn) }}
	s.gates = line{make(chan struct{}, 1), gatePatience,
		func(how int) bool { return s.lock(how, unix.F_WRLCK, lockGate) },
		func() { s.lock(unix.F_SETLK, unix.F_UNLCK, lockGate) }}
	flags := unix.O_NOFOLLOW
	if readOnly {
		flags |= os.O_RDONLY
	} else {
		flags |= os.O_RDWR | os.O_CREATE
	}
	f, err := os.OpenFile(database+"-sync", flags, 0o600)
	if err != nil {
		return s
	}
	head := make([]byte, syncSize)
	n, _ := f.ReadAt(head, 0)
	if !readOnly && n == 0 {
		adopt(f, database)
		copy(head, syncMagic)
		_, _ = rand.Read(head[wordOffset:])
		// Written, not truncated to size: a hole on a full file system would kill who reads it through the mapping.
		// Of two processes that do this at once each writes a word of its own, so none comes back.
		n, _ = f.WriteAt(head, 0)
	}
	if n < syncSize || string(head[:len(syncMagic)]) != syncMagic {
		_ = f.Close() // not ours
		return s
	}
	s.f = f
	s.page = mapPage(f.Name())
	return s
}

// mapPage opens the file once more, for reading: a mapping that outlives Close must not look like a writer to someone
// who mounts the file system read-only. Closing a descriptor drops this process's locks on the file; should another
// Store of this process hold the turn just then, it goes ahead without.
func mapPage(name string) *page {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	data, err := unix.Mmap(int(f.Fd()), 0, syncSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	p := &page{data}
	runtime.AddCleanup(p, func(data []byte) { _ = unix.Munmap(data) }, data)
	return p
}

// adopt gives a new file the owner of the database, as SQLite does with its own when root was first.
func adopt(f *os.File, database string) {
	var st unix.Stat_t
	if unix.Stat(database, &st) == nil && unix.Geteuid() == 0 {
		_ = f.Chown(int(st.Uid), int(st.Gid))
	}
}

func (s *syncFile) mapped() bool { return s.page != nil }

// word returns the generation, or 0 without a mapping. Writers use pwrite, so Go's memory model has no part in it; the
// eight bytes are aligned and read in one go.
func (s *syncFile) word() uint64 {
	if s.page == nil {
		return 0
	}
	w := binary.LittleEndian.Uint64(s.page.data[wordOffset:])
	runtime.KeepAlive(s.page)
	return w
}

// announce writes a new generation after a commit. It is random and not the revision, because two writers may come here
// in the other order, and a word must never come back.
func (s *syncFile) announce() {
	if s.f == nil {
		return
	}
	var word [8]byte
	if _, err := rand.Read(word[:]); err == nil {
		_, _ = s.f.WriteAt(word[:], wordOffset)
	}
}

// turn waits until it is the caller's turn to write, at most patience, and returns what ends the turn. The only error
// is the context's.
func (s *syncFile) turn(ctx context.Context) (done func(), _ error) { return s.wait(ctx, s.turns) }

// wait waits for a lock, at most the line's patience, and returns what gives it back. The only error is the context's.
func (s *syncFile) wait(ctx context.Context, l line) (done func(), _ error) {
	if s.f == nil {
		return func() {}, nil
	}
	timer := time.NewTimer(l.patience)
	defer timer.Stop()
	select {
	case l.slot <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return func() {}, nil
	}
	end := func() {
		l.give()
		<-l.slot
	}
	if l.take(unix.F_SETLK) {
		return end, nil
	}
	got := make(chan struct{})
	go func() { l.take(unix.F_SETLKW); close(got) }()
	abandon := func() { go func() { <-got; end() }() }
	select {
	case <-got:
		return end, nil
	case <-ctx.Done():
		abandon()
		return nil, ctx.Err()
	case <-timer.C:
		abandon()
		return func() {}, nil
	}
}

// queue takes the turn by way of being next: who has just written cannot take it again before who is waiting.
func (s *syncFile) queue(how int) bool {
	if !s.lock(how, unix.F_WRLCK, lockNext) {
		return false
	}
	ok := s.lock(how, unix.F_WRLCK, lockTurn)
	s.lock(unix.F_SETLK, unix.F_UNLCK, lockNext)
	return ok
}

// lock sets a POSIX record lock. These end with the process and are not inherited by a forked child, which the lock of
// an open file description would be. The kernel may see a deadlock between the threads of two processes with several
// stores where there is none; then, as with any other error, the writer goes without.
func (s *syncFile) lock(how int, kind int16, at int64) bool {
	conn, err := s.f.SyscallConn()
	if err != nil {
		return false
	}
	// Control keeps the descriptor from being closed and given to another file meanwhile.
	cerr := conn.Control(func(fd uintptr) {
		for {
			err = unix.FcntlFlock(fd, how, &unix.Flock_t{Type: kind, Start: at, Len: 1})
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	return cerr == nil && err == nil
}

func (s *syncFile) close() {
	if s.f != nil {
		_ = s.f.Close()
	}
}
