package main

import (
	"log/slog"

	"golang.org/x/sys/unix"
)

// protectMemory keeps keys out of core dumps, of other processes of the same user, and of the swap as far as the system
// allows it.
func protectMemory(log *slog.Logger) {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		log.Warn("core dumps cannot be turned off", "reason", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("other processes of this user may be able to read this one's memory", "reason", err)
	}
	if !mayLock() {
		log.Info("memory may be written to the swap", "hint", "set LimitMEMLOCK=infinity, or encrypt the swap")
		return
	}
	// Pages are locked when they are used: what is only reserved costs nothing.
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		log.Info("memory may be written to the swap", "reason", err, "hint", "set LimitMEMLOCK=infinity, or encrypt the swap")
	}
}

// mayLock reports whether all memory may be locked, now and later. Under a limit that is reached later, allocating memory
// would fail, which ends the process.
func mayLock() bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur == unix.RLIM_INFINITY {
		return true
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if unix.Capget(&header, &sets[0]) != nil {
		return false
	}
	return sets[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0
}
