//go:build !linux

package ledger

// fileHome is not known here: no copy of a SQLite file is noticed.
func fileHome(string) (home, error) { return "", nil }
