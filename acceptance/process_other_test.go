//go:build !linux

package acceptance

import (
	"errors"
	"syscall"
	"testing"
)

// dieWithParent can do nothing here: a killed test program leaves its children.
func dieWithParent(*syscall.SysProcAttr) {}

// smallDisk needs Linux.
func smallDisk(testing.TB, string, int) error { return errors.New("not on this system") }
