package services

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// NotInstalledError says that a server's program is not on this machine.
type NotInstalledError struct {
	Program string // such as "redis-server"
}

// Error is one line that says what to install.
func (e *NotInstalledError) Error() string {
	return fmt.Sprintf("%s was not found in PATH or the usual folders: run `apt-get install redis-server postgresql`, or put its folder in PATH", e.Program)
}

// findRedis is the path of redis-server.
func findRedis() (string, error) {
	return findFirst("redis-server", pathFolders(), []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"})
}

// findPostgres is the paths of initdb and postgres, of one and the same installation.
// Debian keeps them out of PATH, in a folder a version.
func findPostgres() (initdb, postgres string, err error) {
	var versions []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		found, globErr := filepath.Glob(pattern)
		if globErr != nil {
			return "", "", globErr
		}
		slices.Reverse(found) // the newest first, as far as names tell
		versions = append(versions, found...)
	}
	postgres, err = findFirst("postgres", pathFolders(), append(versions, "/usr/local/pgsql/bin"))
	if err != nil {
		return "", "", err
	}
	if postgres, err = filepath.EvalSymlinks(postgres); err != nil {
		return "", "", err
	}
	initdb, err = findFirst("initdb", []string{filepath.Dir(postgres)})
	return initdb, postgres, err
}

func pathFolders() []string { return filepath.SplitList(os.Getenv("PATH")) }

// findFirst is the first program of that name in the folders.
func findFirst(program string, folders ...[]string) (string, error) {
	for _, folder := range slices.Concat(folders...) {
		if !filepath.IsAbs(folder) {
			continue // the servers run elsewhere than here
		}
		path := filepath.Join(folder, program)
		if _, err := exec.LookPath(path); err == nil {
			return path, nil
		}
	}
	return "", &NotInstalledError{Program: program}
}
