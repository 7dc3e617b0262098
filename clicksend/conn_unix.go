//go:build unix

package clicksend

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// writeSteps writes p with one call of step for each write(2), so that the
// question whether the request may still be written is put right before each,
// also when the socket's buffer was full and the process slept meanwhile.
func writeSteps(conn net.Conn, p []byte, step func(func() (int, error)) (int, error)) (int, error) {
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return step(func() (int, error) { return conn.Write(p) })
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return 0, err
	}
	written := 0
	var stepErr error
	err = raw.Write(func(fd uintptr) bool {
		for written < len(p) {
			n, err := step(func() (int, error) { return unix.Write(int(fd), p[written:]) })
			if n > 0 {
				written += n
				continue
			}
			switch err {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				return false // until the socket takes more
			case nil:
				stepErr = io.ErrUnexpectedEOF
			default:
				stepErr = err
			}
			return true
		}
		return true
	})
	if stepErr != nil {
		if errno, ok := stepErr.(unix.Errno); ok {
			stepErr = os.NewSyscallError("write", errno)
		}
		err = stepErr
	}
	return written, err
}
