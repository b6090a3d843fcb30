// Command cbridge is libcoffer_pkcs11.so: the PKCS #11 functions of the C interface over core/cryptoki.
//
// The exported functions are C (interface.c, zexports.c). They know what to do in a forked child, where Go is dead
// (fork.c, image.c), let threads into Go one after another when they call first (thread.c), and else call the Go
// functions of zentry.go, which decode the arguments (call.go, template.go, param.go; mem.go alone touches memory that is
// not Go's), ask the machine and write the results.
//
// Everything here may be called from many threads at once. The Go runtime starts when the library is loaded, and takes
// the signals SIGSEGV, SIGBUS, SIGFPE, SIGPIPE and SIGURG, with SA_ONSTACK; what does not come from Go code it hands on to
// the handlers that it found. The library cannot be unloaded. It never writes to standard output or standard error.
package main

//go:generate go run ./gen -dir .

/*
#cgo CFLAGS: -std=gnu11 -Wall -I${SRCDIR}/../include
#cgo LDFLAGS: -ldl -pthread -Wl,-z,relro,-z,now
*/
import "C"

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/release"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// collectAt is how much the heap may grow before it is collected, in percent. It is small, a few megabytes, so the
// default of 100 would have the collector run most of the time while data passes through; profiles of AES-GCM showed a
// fifth of the time in AES.
const collectAt = 400

var (
	instance atomic.Pointer[cryptoki.Library]
	making   sync.Once
)

// library is the one instance, made at the first call. It is asked for in each call, which is why it is no sync.OnceValue.
func library() *cryptoki.Library {
	if l := instance.Load(); l != nil {
		return l
	}
	return firstCall()
}

func firstCall() *cryptoki.Library {
	making.Do(func() {
		debug.SetGCPercent(collectAt)
		serveThreads()
		instance.Store(cryptoki.New(cryptoki.Options{Slots: slots, Version: release.Number(), Log: note}))
	})
	return instance.Load()
}

// coffer_go_thread is a thread's first call (thread.c): the way in and out is all that it is for.
//
//export coffer_go_thread
func coffer_go_thread() {}

// coffer_go_C_Initialize decodes CK_C_INITIALIZE_ARGS: four callbacks, the flags and pReserved.
//
//export coffer_go_C_Initialize
func coffer_go_C_Initialize(pInitArgs uintptr) (rv uintptr) {
	c := enter("Initialize", 0)
	defer c.leave(&rv)
	var args *cryptoki.InitArgs
	if pInitArgs != 0 {
		var b [6 * ulongSize]byte
		c.fail(read(b[:], pInitArgs))
		args = &cryptoki.InitArgs{
			Flags:    pkcs11.Flags(ulongAt(b[4*ulongSize:])),
			Reserved: ulongAt(b[5*ulongSize:]) != 0,
		}
		for i := range 4 {
			if ulongAt(b[i*ulongSize:]) != 0 {
				args.Callbacks++
			}
		}
	}
	if c.decoded() {
		c.finish(library().Initialize(args))
	}
	return
}

// main is never called: a C shared library has no beginning of its own.
func main() {}
