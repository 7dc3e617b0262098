package acceptance

import (
	"os"
	"strconv"
	"syscall"
	"testing"
)

// dieWithParent makes the kernel kill the process when the test program dies.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }

// smallDisk mounts a file system of so many bytes, which only root may.
func smallDisk(t testing.TB, dir string, size int) error {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return nil
}
