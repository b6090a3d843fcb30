package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// The doctor's look at a token's file, from outside.

// permissions checks who may read and change the file.
func (d *doctor) permissions(path string, info fs.FileInfo) {
	perm := info.Mode().Perm()
	switch {
	case perm&0o002 != 0:
		d.say("permissions", verdictFail, fmt.Sprintf("everybody may change the file (mode %04o)", perm), "chmod 600 "+path)
	case perm&0o004 != 0:
		d.say("permissions", verdictFail, fmt.Sprintf("everybody may read the file and guess the PIN at leisure (mode %04o)", perm), "chmod 600 "+path)
	case perm&0o070 != 0:
		d.say("permissions", verdictWarn, fmt.Sprintf("the file's group may use it (mode %04o)", perm), "right if the group is meant to; otherwise chmod 600 "+path)
	default:
		d.say("permissions", verdictOK, fmt.Sprintf("only the owner may use the file (mode %04o)", perm), "")
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		d.say("permissions", verdictWarn, fmt.Sprintf("the file belongs to user %d, this is user %d", st.Uid, os.Geteuid()),
			"run coffer as the user whose applications use the token")
	}
	dir := filepath.Dir(path)
	di, err := os.Stat(dir)
	if err != nil {
		return
	}
	if di.Mode().Perm()&0o002 != 0 && di.Mode()&fs.ModeSticky == 0 {
		d.say("directory", verdictFail, fmt.Sprintf("everybody may replace files in %s (mode %04o)", dir, di.Mode().Perm()), "chmod o-w "+dir)
	}
	if unix.Access(dir, unix.W_OK) != nil {
		d.say("directory", verdictWarn, "this user may not write in "+dir, "the token needs files beside its own to be changed")
	}
}

// The header of a token's file, as docs/storage-format.md has it: SQLite's magic, user_version and application_id.
const (
	sqliteMagic   = "SQLite format 3\x00"
	versionOffset = 60
	appOffset     = 68
	headerSize    = 100
	cofferApp     = 0x436F6672
	knownVersion  = 1
)

// format checks that the file can be read and is a token of a version that this program knows. While there is a log, the
// header may still be in it, and only opening the token tells.
func (d *doctor) format(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		d.say("format", verdictFail, "this user may not read the file", "run coffer as the file's owner, or let this user's group read it")
		return false
	}
	defer f.Close()
	if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
		return true
	}
	head := make([]byte, headerSize)
	n, err := io.ReadFull(f, head)
	if n == 0 && err == io.EOF {
		d.say("format", verdictWarn, "the file is empty", "coffer token init makes a token in it")
		return false
	}
	if err != nil || !bytes.HasPrefix(head, []byte(sqliteMagic)) || binary.BigEndian.Uint32(head[appOffset:]) != cofferApp {
		d.say("format", verdictFail, "the file is not a token", "correct the path in the configuration, or restore the file from a copy")
		return false
	}
	v := binary.BigEndian.Uint32(head[versionOffset:])
	if v > knownVersion {
		d.say("format", verdictFail, fmt.Sprintf("the file has format %d, this program knows %d", v, knownVersion), "install a newer version of Coffer")
		return false
	}
	d.say("format", verdictOK, fmt.Sprintf("a token of format %d", v), "")
	return true
}

// Room below which the doctor warns, and below which writing is about to fail.
const (
	lowRoom = 100 << 20
	noRoom  = 8 << 20
)

// room checks the disk of the nearest directory that exists.
func (d *doctor) room(path string) {
	dir := filepath.Dir(path)
	var st unix.Statfs_t
	for unix.Statfs(dir, &st) != nil {
		up := filepath.Dir(dir)
		if up == dir {
			return
		}
		dir = up
	}
	free := st.Bavail * uint64(st.Bsize)
	text := fmt.Sprintf("%d MiB free in %s", free>>20, dir)
	switch {
	case free < noRoom:
		d.say("disk", verdictFail, text, "make room: nothing can be written any more")
	case free < lowRoom:
		d.say("disk", verdictWarn, text, "make room before it runs out")
	default:
		d.say("disk", verdictOK, text, "")
	}
}
