package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// asOwner has root, who looks after a node whose daemon runs as another user, go on as that user: the one that the state
// directory belongs to, or the directory above it where there is none yet. What is written from here on the daemon can
// read, and what it could not read or write is noticed now. Others than root go on as they are. It cannot be undone, so
// what only root may read or write comes before.
func asOwner(stateDir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := ownerOf(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		uid, gid, err = ownerOf(filepath.Dir(stateDir))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // root makes the directory, and has it
	}
	if err != nil || uid == 0 {
		return err
	}
	if err := errors.Join(syscall.Setgroups(groupsOf(uid, gid)), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return failed("the node in %s belongs to user %d, and this command cannot go on as that user: %v", "run it as that user", stateDir, uid, err)
	}
	return nil
}

func ownerOf(path string) (uid, gid int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, fmt.Errorf("%s: the owner is not known", path)
	}
	return int(st.Uid), int(st.Gid), nil
}

// groupsOf are the groups that the user is a member of; one that has no name has none but the directory's.
func groupsOf(uid, gid int) []int {
	groups := []int{gid}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return groups
	}
	names, _ := u.GroupIds()
	for _, n := range names {
		if id, err := strconv.Atoi(n); err == nil && id != gid {
			groups = append(groups, id)
		}
	}
	return groups
}
