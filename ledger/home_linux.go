package ledger

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileHome is the home of a SQLite file.
func fileHome(path string) (home, error) {
	var s unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &s)
	if err == nil && s.Mask&unix.STATX_BTIME != 0 {
		return home(fmt.Sprintf("inode %d, born %d.%09d", s.Ino, s.Btime.Sec, s.Btime.Nsec)), nil
	}
	// An old kernel or a strict container has no statx, and a file system may
	// keep no birth.
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", nil
	}
	return home(fmt.Sprintf("inode %d", st.Ino)), nil
}
