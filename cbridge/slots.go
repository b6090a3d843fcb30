package main

/*
#define _GNU_SOURCE
#include <stdlib.h>

// coffer_env reads the variables of names below as they are now: Go's own copy of the environment is from the time when
// the library was loaded. In a program that runs with more rights than its caller, glibc answers that none is set.
static const char *coffer_env(int which)
{
	static const char *const names[] = {"COFFER_CONF", "COFFER_LOG", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME"};
	return secure_getenv(names[which]);
}
*/
import "C"

import (
	"slices"

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/embedded"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/remote"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// environment are the variables that the library reads, in the order of coffer_env.
var environment = []string{"COFFER_CONF", "COFFER_LOG", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME"}

func getenv(name string) string {
	i := slices.Index(environment, name)
	if i < 0 {
		return ""
	}
	value := C.coffer_env(C.int(i))
	if value == nil {
		return ""
	}
	return C.GoString(value)
}

// slots lists what the application is to see; it is asked at each C_Initialize.
func slots() ([]cryptoki.Slot, error) {
	conf, err := config.FromEnvironment(getenv)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%w", err)
	}
	var list []cryptoki.Slot
	for _, s := range conf.Slots {
		slot := cryptoki.Slot{ID: s.ID, Description: s.Description, CloudHSMIV: s.CloudHSMIV, KeyTypes: s.KeyTypes}
		slot.Open = func() (hsm.HSM, error) { return open(s) }
		list = append(list, slot)
		for i, node := range s.ExposedNodes() {
			slot.ID, slot.Description = node.ID, node.Description
			slot.Open = func() (hsm.HSM, error) { return remote.OpenNode(s, i, logOf(s.Nodes[i])) }
			list = append(list, slot)
		}
	}
	return list, nil
}

func open(s config.Slot) (hsm.HSM, error) {
	if s.Remote() {
		return remote.Open(s, logOf(s.Place()))
	}
	return embedded.OpenLogged(s, logOf(s.Path))
}

func logOf(place string) func(error) {
	return func(err error) { note("token "+place, err) }
}
