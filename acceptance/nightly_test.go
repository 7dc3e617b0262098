package acceptance

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/clicksend/sandbox"
)

// nightRun is a run as `schedule history --json` shows it.
type nightRun struct {
	State     string  `json:"state"`
	Reason    string  `json:"reason"`
	Campaigns []int64 `json:"campaigns"`
}

// TestAcceptNightlyLetters mails a night of personal letters from an outbox,
// while whoever does it is killed: as it prepares the campaigns, and again and
// again as it sends. Every letter is mailed once, bad rows stop nothing, the
// report has a line for each row, and the next night finds nothing new.
func TestAcceptNightlyLetters(t *testing.T) {
	t.Parallel()
	n := scaled(t, 20_000)
	w := newWorld(t, sandbox.Options{DropBodies: true})
	w.hasty().set("POSTRIDER_RATE", "-1")
	sender := w.returnAddress()
	var manifest bytes.Buffer
	manifest.WriteString("reference,file,address_name,address_line_1,address_city,address_state,address_postal_code,address_country,duplex\n")
	for i := range n {
		file := fmt.Sprintf("%05d.pdf", i)
		w.file("outbox/"+file, page(file))
		fmt.Fprintf(&manifest, "INV-%05d,%s,Ann Miller,%d Jarrah Drive,Perth,WA,6000,AU,%t\n", i, file, i+1, i%2 == 1)
	}
	const bad = 3
	for i := range bad {
		fmt.Fprintf(&manifest, "BAD-%d,none.pdf,Ann Miller,%d Marri Way,Perth,WA,6000,AU,no\n", i, i+1)
	}
	w.file("outbox/night.csv", manifest.Bytes())
	w.file("outbox/night.csv.ready", nil)
	w.file("nightly.yaml", fmt.Appendf(nil, "name: nightly\ncron: 0 2 * * *\ntimezone: Australia/Perth\nsource:\n  outbox: %s\nretries: {tries: 1, wait: 1m}\n"+
		"campaign:\n  channel: letter\n  return_address: %s\n  budget: 200000.00\n", filepath.Join(w.dir, "outbox"), sender))
	w.must("schedule", "add", "-f", "nightly.yaml")

	began := time.Now()
	w.must("schedule", "run", "nightly")
	serve := w.role("serve")
	eventually(t, patience(n), "the first campaign is being prepared", func() bool { return w.campaigns() > 0 })
	serve.kill()
	serve = w.role("serve")
	accepted := func() int { return int(w.provider.Stats().Channels["letter"].Accepted) }
	const kills = 4
	for i := range kills {
		eventually(t, patience(n), fmt.Sprintf("death %d", i+1), func() bool { return accepted() > n*(i+1)/(kills+2) })
		serve.kill()
		serve = w.role("serve")
	}
	last := w.awaitNight(patience(n))
	if last.State != "done" || !strings.Contains(last.Reason, fmt.Sprintf("%d rows of night.csv could not be sent", bad)) || len(last.Campaigns) != 2 {
		t.Fatalf("the run is %+v", last)
	}
	t.Logf("%d personal letters in %s, with %d deaths", n, time.Since(began).Round(time.Second), kills+1)
	if got := accepted(); got != n {
		t.Errorf("the provider accepted %d letters, want %d", got, n)
	}
	w.nobodyTwice()
	counts := w.nightReport()
	if counts["sent"] != n || counts["bad row"] != bad || len(counts) != 2 {
		t.Errorf("the report says %v, want %d sent and %d bad rows", counts, n, bad)
	}
	for _, id := range last.Campaigns {
		w.must("audit", fmt.Sprint(id))
	}

	w.must("schedule", "run", "nightly")
	if last = w.awaitNight(patience(n)); last.State != "nothing" || !strings.Contains(last.Reason, fmt.Sprintf("%d letters mailed before", n)) {
		t.Errorf("the second run is %+v", last)
	}
	if got := accepted(); got != n {
		t.Errorf("the provider accepted %d letters after the second run, want %d", got, n)
	}
	serve.kill()
}

// campaigns is how many there are.
func (w *world) campaigns() int {
	w.t.Helper()
	var all struct {
		Campaigns []json.RawMessage `json:"campaigns"`
	}
	w.decode(w.must("campaign", "ls", "--json"), &all)
	return len(all.Campaigns)
}

// awaitNight waits until the newest run of the schedule has ended.
func (w *world) awaitNight(within time.Duration) (last nightRun) {
	w.t.Helper()
	eventually(w.t, within, "the run ends", func() bool {
		var all struct {
			Runs []nightRun `json:"runs"`
		}
		w.decode(w.must("schedule", "history", "nightly", "--limit", "1", "--json"), &all)
		if len(all.Runs) == 1 {
			last = all.Runs[0]
		}
		return last.State != "due" && last.State != "running" && last.State != ""
	})
	return last
}

// nightReport counts the lines of the one report in the outbox by outcome.
func (w *world) nightReport() map[string]int {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(w.dir, "outbox", "*.report.csv"))
	if err != nil || len(names) != 1 {
		w.t.Fatalf("the reports are %v (%v), want one", names, err)
	}
	f, err := os.Open(names[0])
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		w.t.Fatal(err)
	}
	counts := map[string]int{}
	for _, row := range rows[1:] {
		counts[row[4]]++
	}
	return counts
}
