//go:build unix && !linux

package services

import "syscall"

// dieWithParent does nothing: only Linux tells a child that its parent died. Here
// a server outlives a test program that is killed.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// awaitStopped does not wait: the stop arrives within the next time slice.
func awaitStopped(int) error { return nil }

// childrenOf lists nothing: a killed server's children notice its death by
// themselves, if a little later.
func childrenOf(int) []int { return nil }
