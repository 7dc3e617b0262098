//go:build !linux

package clicksend

// child runs the part of a test that needs a process of its own; there is none
// on this system.
func child() bool { return false }
