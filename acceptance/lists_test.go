package acceptance

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/crashpoint"
	"github.com/postrider/postrider/internal/services"
	"github.com/postrider/postrider/ledger"
)

// listSize is more than is copied at a time.
const listSize = 22_000

// listChanges are the ways a list is changed, with the passings of
// import-chunk at which to die: while the file is stored, merged, and while what
// stays is copied.
var listChanges = map[string]struct {
	command []string
	chunks  []string
}{
	"append":  {[]string{"list", "import", "people", "more.csv", "--append"}, []string{":1", ":2", ":4"}},
	"replace": {[]string{"list", "import", "people", "more.csv", "--replace"}, []string{":1", ":2"}},
	"update":  {[]string{"list", "import", "people", "changes.csv", "--update", "phone"}, []string{":1", ":4", ":8"}},
	"dedupe":  {[]string{"list", "dedupe", "people", "--by", "first_name", "--yes"}, []string{":1", ":2"}},
}

// TestChaosListChanges kills a process at the points on which the change of a list
// passes. The list is whole, the old or the new one; doing the same again makes
// the new one; nothing is left of what died. At a tenth of the size it is a fifth
// of the points.
func TestChaosListChanges(t *testing.T) {
	t.Parallel()
	pg := services.PostgresAlone(t, services.PostgresOptions{})
	number := 0
	for mode, change := range listChanges {
		points := map[crashpoint.Point][]string{"import-finish.before": {""}, "import-finish.inside": {""}, "import-finish.after": {""}}
		for i, nth := range change.chunks {
			at := []crashpoint.Point{"import-chunk.inside", "import-chunk.after", "import-chunk.before"}[i]
			points[at] = []string{nth}
		}
		control := sync.OnceValue(func() string {
			w := newListWorld(t)
			w.must(change.command...)
			return w.must("list", "export", "people")
		})
		for at, nths := range points {
			for _, nth := range nths {
				for _, embedded := range []bool{true, false} {
					number++
					number := number
					if !whole() && number%5 != 0 {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s%s/embedded=%v", mode, at, nth, embedded), func(t *testing.T) {
						w := newListWorld(t)
						if !embedded {
							url, err := pg.NewDatabase(t.Context(), fmt.Sprintf("lists_%d", number))
							if err != nil {
								t.Fatal(err)
							}
							w.set("POSTRIDER_DATABASE_URL", url)
							w.must("list", "import", "people", "people.csv")
						}
						before := w.must("list", "export", "people")
						w.armed(at, nth).start(change.command...).died(at)
						after := w.must("list", "export", "people")
						if done := at == "import-finish.after"; done != (after != before) {
							t.Errorf("after the crash the list is another: %v, want %v", after != before, done)
						}
						w.must(change.command...)
						if w.must("list", "export", "people") != control() {
							t.Error("the second try makes another list than the first would have made")
						}
						w.nothingLeft()
					})
				}
			}
		}
	}
}

// TestCtrlCLeavesTheListAsItWas interrupts the change of a list while the file is
// stored, and while the list is copied: nothing stays of it.
func TestCtrlCLeavesTheListAsItWas(t *testing.T) {
	t.Parallel()
	for _, nth := range []string{":1", ":4"} {
		w := newListWorld(t)
		before := w.must("list", "export", "people")
		p := w.armed("import-chunk.before", nth+":stop").start(listChanges["append"].command...)
		p.reached("import-chunk.before")
		p.signal(interrupt)
		p.signal(syscall.SIGCONT)
		if code := p.wait(time.Minute); code == 0 {
			t.Errorf("an interrupted change ends with exit code 0\n%s", p.stderr)
		}
		if w.must("list", "export", "people") != before {
			t.Error("the list is another")
		}
		if n := w.storedContacts(); n != listSize {
			t.Errorf("%d contacts are stored, want %d", n, listSize)
		}
	}
}

// newListWorld is a world with a list and files to change it with.
func newListWorld(t testing.TB) *world {
	w := newWorld(t, sandbox.Options{})
	w.audience("people.csv", 0, listSize)
	w.audience("more.csv", listSize-500, 12_000) // two transactions
	var b strings.Builder
	b.WriteString("phone,tier,club\n")
	for i := 0; i < listSize+600; i += 3 {
		fmt.Fprintf(&b, "+614%08d,silver,c%d\n", 12000000+i, i%7)
	}
	w.file("changes.csv", []byte(b.String()))
	w.must("list", "import", "people", "people.csv")
	return w
}

// nothingLeft makes sure that the ledger holds the contacts of its one list and
// no others, once whatever died is known to be dead.
func (w *world) nothingLeft() {
	w.t.Helper()
	ctx := context.Background()
	l, err := ledger.Open(ctx, w.database(), ledger.Options{Clock: func() time.Time { return time.Now().Add(2 * time.Minute) }})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, _, err := l.DiscardHalfPlans(ctx); err != nil {
		w.t.Error(err)
	}
	if err := l.Close(); err != nil {
		w.t.Error(err)
	}
	var li struct {
		Contacts int `json:"contacts"`
		Version  int `json:"version"`
	}
	if err := json.Unmarshal([]byte(w.must("list", "show", "people", "--json")), &li); err != nil {
		w.t.Fatal(err)
	}
	if n := w.storedContacts(); n != li.Contacts || li.Version != 2 {
		w.t.Errorf("%d contacts are stored, and version %d of the list has %d", n, li.Version, li.Contacts)
	}
}

func (w *world) database() string {
	if url := w.env["POSTRIDER_DATABASE_URL"]; url != "" {
		return url
	}
	return filepath.Join(w.env["POSTRIDER_DATA_DIR"], "postrider.db")
}

// storedContacts counts the contacts in the database, whatever list they are of.
func (w *world) storedContacts() (n int) {
	w.t.Helper()
	driver := "sqlite"
	if strings.HasPrefix(w.database(), "postgres") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, w.database())
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT count(*) FROM contacts`).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}
