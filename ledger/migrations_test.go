package ledger

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// A migration whose number is smaller than one that was made already stops a
// ledger from being opened: numbers have no gap into which one could come, and
// both databases have the same.
func TestMigrationsAreNumberedWithoutAGap(t *testing.T) {
	t.Parallel()
	names := map[string]string{}
	for _, kind := range []string{"sqlite", "postgres"} {
		files, err := fs.ReadDir(migrations, "migrations/"+kind)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range files {
			if want := fmt.Sprintf("%05d_", i+1); !strings.HasPrefix(f.Name(), want) {
				t.Errorf("%s is number %s of %s", f.Name(), want, kind)
			}
			names[kind] += f.Name() + "\n"
		}
	}
	if names["sqlite"] != names["postgres"] {
		t.Errorf("SQLite has\n%sand PostgreSQL\n%s", names["sqlite"], names["postgres"])
	}
}
