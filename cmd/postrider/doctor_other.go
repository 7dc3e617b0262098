//go:build !(linux || darwin || freebsd)

package main

import (
	"errors"
	"runtime"
)

// freeSpace is not known here.
func freeSpace(string) (uint64, error) { return 0, errors.ErrUnsupported }

// ownerOnlyMatters reports whether a folder's mode says who may enter it.
func ownerOnlyMatters() bool { return runtime.GOOS != "windows" }
