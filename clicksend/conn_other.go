//go:build !unix

package clicksend

import "net"

// writeSteps writes p in one step.
func writeSteps(conn net.Conn, p []byte, step func(func() (int, error)) (int, error)) (int, error) {
	return step(func() (int, error) { return conn.Write(p) })
}
