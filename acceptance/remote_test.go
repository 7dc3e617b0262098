package acceptance

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
)

// TestRemoteRoundTrip copies a list to a provider that loses answers, rows and
// whole imports, and back from one whose pages shift, with a process that is
// killed on the way in each direction. Everybody comes back as they went, nobody
// twice, and nobody hurries the provider.
func TestRemoteRoundTrip(t *testing.T) {
	n := scaled(t, 20_000)
	const rate = 40
	w := newWorld(t, sandbox.Options{Imports: sandbox.ImportMode{Delay: 500 * time.Millisecond, RowsPerSecond: 10_000}})
	w.set("POSTRIDER_RATE", fmt.Sprint(rate), "POSTRIDER_RATE_FIXED", "true", "POSTRIDER_SETTLE", "3s", "POSTRIDER_HTTP_TIMEOUT", "5s")
	w.audience("people.csv", 0, n)
	w.must("list", "import", "people", "people.csv")
	w.provider.SetFaults(sandbox.Faults{
		TooMany: 0.02, Error503: 0.02, Error500After: 0.02, ResetBefore: 0.01, ResetAfter: 0.02, CutJSON: 0.01, Slow: 0.05,
		ImportSlow: 0.3, SlowBy: time.Second, ImportLoses: 0.5, PageShift: 0.02,
	})

	// The count of the new list, the account's second, is asked for once before
	// the import and then while it goes on.
	w.killAfter("GET", "/lists/2", 2, "list", "push", "people", "--custom", "tier", "--yes")
	push := w.run("list", "push", "people", "--custom", "tier", "--yes", "--json")
	var pushed struct {
		Remote struct {
			ID       int64 `json:"id"`
			Contacts int   `json:"contacts"`
		} `json:"remote_list"`
		Contacts, Missing, Others int
	}
	w.decode(push.stdout.String(), &pushed)
	if push.code != 0 || pushed.Contacts != n || pushed.Missing != 0 || pushed.Others != 0 || pushed.Remote.Contacts != n {
		t.Fatalf("exit code %d: %+v, want %d contacts at the provider", push.code, pushed, n)
	}

	id := fmt.Sprint(pushed.Remote.ID)
	pages := n / 100
	asked := func() int { return int(w.provider.Stats().Endpoints["GET /lists/{list_id}/contacts"].Requests) }
	killed := w.killAfter("GET", "/contacts", int64(pages/2), "list", "pull", id, "--as", "back")
	for _, f := range w.spools() {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, want a file that only its owner may read", f, err)
		}
	}
	if len(w.spools()) == 0 {
		t.Error("the pull that was killed has kept no page")
	}
	if p := w.run("list", "show", "back"); p.code != 1 {
		t.Errorf("a list of which a half was pulled can be seen: exit code %d", p.code)
	}
	before := asked()
	pull := w.run("list", "pull", id, "--as", "back", "--json")
	var pulled struct {
		Imported, Rejected, Duplicates, Passes int
		Resumed                                int `json:"pages_resumed"`
	}
	w.decode(pull.stdout.String(), &pulled)
	if pull.code != 0 || pulled.Imported != n || pulled.Rejected+pulled.Duplicates != 0 || pulled.Resumed == 0 {
		t.Fatalf("exit code %d: %+v, want %d contacts", pull.code, pulled, n)
	}
	t.Logf("pulled %d contacts in %d passes; %d pages had been read before, %d requests after", n, pulled.Passes, pulled.Resumed, asked()-before)
	if left := w.spools(); len(left) > 0 {
		t.Errorf("pages were left behind: %v", left)
	}
	w.must("list", "export", "people", "-o", "went.csv")
	w.must("list", "export", "back", "-o", "came.csv")
	columns := []string{"phone", "first_name", "last_name", "country", "address_name", "address_line_1", "address_city", "address_state", "address_postal_code"}
	went, came := w.cells("went.csv", append(columns, "tier")), w.cells("came.csv", append(columns, "custom_1"))
	if !slices.Equal(went, came) {
		t.Errorf("%d contacts went and %d came back, not the same", len(went), len(came))
	}

	for name, e := range w.provider.Stats().Endpoints {
		if e.BusiestSecond > rate+1 {
			t.Errorf("%s was asked %d times in a second, at most %d are allowed", name, e.BusiestSecond, rate)
		}
	}
	for _, p := range []*process{push, pull, killed} {
		for _, secret := range []string{"+61412", "6141200", "Jarrah", "Miller", sandbox.DefaultAPIKey} {
			if strings.Contains(p.stdout.String()+p.stderr.String(), secret) {
				t.Errorf("%s: %q is shown", p.line, secret)
			}
		}
	}
}

// killAfter runs a command and kills it (kill -9) when the provider has answered
// so many requests of that kind.
func (w *world) killAfter(method, suffix string, requests int64, args ...string) *process {
	w.t.Helper()
	var answered atomic.Int64
	stop := make(chan struct{})
	front := func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == method && strings.HasSuffix(r.URL.Path, suffix) && answered.Add(1) > requests {
			select {
			case <-stop:
			case <-r.Context().Done():
			}
			return true
		}
		return false
	}
	w.front.Store(&front)
	p := w.start(args...)
	eventually(w.t, 5*time.Minute, p.line+": requests to die after", func() bool {
		if !p.running() {
			w.t.Fatalf("%s ended with exit code %d before it was killed", p.line, p.code)
		}
		return answered.Load() > requests
	})
	p.kill()
	w.front.Store(nil)
	close(stop)
	return p
}

// spools are the files that pulls keep in the data folder.
func (w *world) spools() []string {
	w.t.Helper()
	all, err := filepath.Glob(filepath.Join(w.env["POSTRIDER_DATA_DIR"], "pull-*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// cells reads some columns of a CSV file, its rows sorted.
func (w *world) cells(name string, columns []string) (rows []string) {
	w.t.Helper()
	f, err := os.Open(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	all, err := csv.NewReader(f).ReadAll()
	if err != nil || len(all) == 0 {
		w.t.Fatalf("%s: %d rows, %v", name, len(all), err)
	}
	for _, row := range all[1:] {
		var cells []string
		for _, c := range columns {
			i := slices.Index(all[0], c)
			if i < 0 {
				w.t.Fatalf("%s has no column %q: %q", name, c, all[0])
			}
			cells = append(cells, row[i])
		}
		rows = append(rows, strings.Join(cells, "|"))
	}
	slices.Sort(rows)
	return rows
}
