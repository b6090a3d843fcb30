//go:build !amd64 || purego

package kernel

// Available tells whether this processor has what the kernel needs.
func Available() bool { return false }

var sizes []size
