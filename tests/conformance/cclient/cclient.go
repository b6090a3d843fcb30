// Package cclient calls a PKCS #11 library as a program in C does: loaded by dlopen, through the function list of its 3.2
// interface, with nothing in between. It knows no function's meaning: a call is a name and words.
package cclient

/*
#cgo CFLAGS: -I${SRCDIR}/../../../include
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include "pkcs11.h"

typedef unsigned long word;

// Loads the library and gets its 3.2 interface's functions; NULL with a text if it has none.
static void **load(const char *path, const char **why) {
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		*why = dlerror();
		return NULL;
	}
	CK_C_GetInterface get = (CK_C_GetInterface)dlsym(library, "C_GetInterface");
	CK_VERSION version = {3, 2};
	CK_INTERFACE *found = NULL;
	if (!get || get((CK_UTF8CHAR_PTR)"PKCS 11", &version, &found, 0) != CKR_OK) {
		*why = "it has no interface of version 3.2";
		return NULL;
	}
	CK_FUNCTION_LIST_3_2 *list = found->pFunctionList;
	return (void **)&list->C_Initialize;
}

// All arguments of the standard's functions are words: pointers, CK_ULONG, and CK_BBOOL, which is passed as one.
typedef CK_RV (*function)(word, word, word, word, word, word, word, word, word, word);

static word call(void **functions, size_t i, const word *a) {
	return ((function)functions[i])(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]);
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/coffer-hsm/coffer/pkcs11/spec"
)

// Library is a loaded library.
type Library struct {
	functions *unsafe.Pointer
	index     map[string]int
}

const maxArguments = 10

// Load loads a library; it stays until the process ends.
func Load(path string) (*Library, error) {
	s, err := spec.Load()
	if err != nil {
		return nil, err
	}
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	var why *C.char
	functions := C.load(p, &why)
	if functions == nil {
		return nil, fmt.Errorf("%s: %s", path, C.GoString(why))
	}
	l := &Library{functions: functions, index: map[string]int{}}
	for i, f := range s.List("3.2") {
		l.index[f.Name] = i
	}
	return l, nil
}

// Call calls a function of the list by its name and returns its CK_RV. Memory that a word is the address of must be pinned.
func (l *Library) Call(name string, words ...uint) uint {
	i, known := l.index[name]
	if !known || len(words) > maxArguments {
		panic(fmt.Sprintf("no function %s with %d arguments", name, len(words)))
	}
	var a [maxArguments]C.word
	for i, w := range words {
		a[i] = C.word(w)
	}
	return uint(C.call(l.functions, C.size_t(i), &a[0]))
}
