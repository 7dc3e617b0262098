//go:build !crashpoints

package crashpoint

// Here does nothing in a normal build.
func Here(Point) {}

// Before does nothing in a normal build.
func Before(Write) {}

// Inside does nothing in a normal build.
func Inside(Write) {}

// After does nothing in a normal build.
func After(Write) {}
