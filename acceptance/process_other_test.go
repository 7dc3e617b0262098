//go:build !linux

package acceptance

import "syscall"

// dieWithParent can do nothing here: a killed test program leaves its children.
func dieWithParent(*syscall.SysProcAttr) {}
