package acceptance

import (
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	_ "modernc.org/sqlite"             // the driver sqlite

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/internal/services"
)

// fleet is who sends a campaign through a storm, and what.
type fleet struct {
	name     string
	channel  string // a postcard's answers and history echo no reference
	embedded bool   // one process on SQLite; else three workers, a scheduler, PostgreSQL and Redis
}

// weather is how large a storm is, and how heavy.
type weather struct {
	n        int           // recipients
	hands    int           // posts that a worker has under way at a time
	slow     time.Duration // how long the provider takes to answer one
	beat     time.Duration // between two deaths of a worker
	kills    int           // of workers, at least
	redis    int           // how often Redis dies and forgets everything
	postgres int           // how often PostgreSQL dies
	lag      time.Duration // of the provider's history
	faults   float64       // how many times as often as in the whole storm: where there are few requests
}

// histories are the ways in which a provider may list what it has accepted: none
// of them is documented.
var histories = map[string]sandbox.HistoryMode{
	"as asked for":     {},
	"newest first":     {Order: sandbox.NewestFirst, IgnoreOrderBy: true},
	"oldest first":     {Order: sandbox.OldestFirst, IgnoreOrderBy: true, DueDates: true},
	"by id":            {Order: sandbox.ByID, IgnoreOrderBy: true},
	"pages shuffled":   {Order: sandbox.PagesShuffled, IgnoreOrderBy: true},
	"always reordered": {Order: sandbox.Shuffled, IgnoreOrderBy: true},
}

// TestChaosStorm kills a worker every two seconds, Redis with everything in it,
// and PostgreSQL, while the provider loses answers in every way there is. In the
// end everybody was accepted once, and the ledger says what the provider says.
func TestChaosStorm(t *testing.T) {
	t.Parallel()
	big := weather{n: 200_000, hands: 4, slow: time.Second, beat: 2 * time.Second, kills: 20, redis: 5, postgres: 3, lag: 5 * time.Second, faults: 1}
	small := weather{n: 6000, hands: 1, slow: time.Second, beat: time.Second, kills: 5, redis: 2, postgres: 1, lag: 2 * time.Second, faults: 5}
	atOnce := 1
	if !whole() {
		big = weather{n: scaled(t, big.n), hands: 2, slow: time.Second, beat: time.Second, kills: 6, redis: 2, postgres: 1, lag: 2 * time.Second, faults: 4}
		atOnce = 3
	}
	fleets := []fleet{{"servers, sms", "sms", false}, {"servers, postcards", "postcard", false}, {"embedded, sms", "sms", true}}
	var storms []func(*testing.T, *survived)
	add := func(name string, s weather, f fleet, order string) {
		seed := uint64(len(storms) + 1)
		storms = append(storms, func(t *testing.T, table *survived) {
			t.Run(name, func(t *testing.T) { s.storm(t, name, seed, f, order, table) })
		})
	}
	// At a tenth each of the six ways has one storm, whole each fleet has them all.
	for i, order := range []string{"oldest first", "by id", "as asked for"} {
		add(fleets[i].name+", "+order, big, fleets[i], order)
	}
	for i, f := range fleets {
		for j, order := range []string{"newest first", "pages shuffled", "always reordered", "oldest first", "by id", "as asked for"} {
			if whole() || i == j {
				add(f.name+", "+order+", small", small, f, order)
			}
		}
	}
	var table survived
	busy := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, storm := range storms {
		if i == len(fleets) {
			all.Wait()
			busy = make(chan struct{}, 3)
		}
		busy <- struct{}{}
		all.Go(func() {
			defer func() { <-busy }()
			storm(t, &table)
		})
	}
	all.Wait()
	t.Log("faults survived:\n" + table.String())
}

// storm is one campaign from its beginning to its end.
func (s weather) storm(t *testing.T, name string, seed uint64, f fleet, order string, table *survived) {
	mode := histories[order]
	mode.Lag, mode.NoReference = s.lag, f.channel == "postcard"
	w := newWorld(t, sandbox.Options{Seed: seed, History: mode, DropBodies: true, Faults: s.faultsOf(f)})
	badPages := w.stormyHistory()
	w.set("POSTRIDER_RATE", "-1", "POSTRIDER_LEASE", "2s", "POSTRIDER_HTTP_TIMEOUT", "3s", "POSTRIDER_SETTLE", (s.lag + 2*time.Second).String())
	var pg *services.PostgresServer
	var rd *services.RedisServer
	database := []string{"sqlite", "file:" + filepath.Join(w.dir, "data", "postrider.db") + "?mode=ro&_pragma=busy_timeout(10000)"}
	if f.embedded {
		w.set("POSTRIDER_CONCURRENCY_SMS", strconv.Itoa(3*s.hands))
	} else {
		pg, rd = services.PostgresAlone(t, services.PostgresOptions{}), services.Redis(t)
		database = []string{"pgx", pg.URL("postgres")}
		w.set("POSTRIDER_DATABASE_URL", pg.URL("postgres"), "POSTRIDER_REDIS_URL", rd.URL())
		w.set("POSTRIDER_CONCURRENCY_SMS", strconv.Itoa(s.hands), "POSTRIDER_CONCURRENCY_POSTCARD", strconv.Itoa(s.hands))
	}
	w.audience("people.csv", 0, s.n)
	send := sms("people.csv", "sale")
	if f.channel == "postcard" {
		send = []string{"send", "--channel", "postcard", "--to", "people.csv", "--name", "sale", "--yes", "--file", w.file("front.pdf", card("front")),
			"--file", w.file("back.pdf", card("back")), "--return-address", w.returnAddress()}
	}

	roles := []string{"worker", "worker", "worker", "scheduler"}
	if f.embedded {
		roles = []string{"serve"}
	}
	var all []*kept
	for _, role := range roles {
		all = append(all, &kept{world: w, role: role, process: w.role(role)})
	}
	w.must(send...)
	begun := time.Now()
	line := survivedLine{run: name, n: s.n}
	s.rage(t, w, all, pg, rd, &line)
	for _, k := range all {
		k.keep()
	}
	end := w.arrives("sale", s.n)
	line.took = time.Since(begun)
	for _, k := range all {
		if k.keep() {
			t.Errorf("a %s ended by itself:\n%s", k.role, tail(k.past[len(k.past)-1].stderr.String()))
		}
	}

	w.onceEach(end, s.n)
	w.tally(end)
	line.badPages = int(badPages.Load())
	line.read(t, w, all, database)
	table.add(&line)
	w.audited("sale", s.n) // its own pages are not counted
	for _, k := range all {
		k.process.stop()
	}
}

// faultsOf is what befalls requests that send.
func (s weather) faultsOf(f fleet) sandbox.Faults {
	o := sandbox.Faults{
		ResetAfter: 0.03 * s.faults, Error500After: 0.02 * s.faults, Hang: 0.01 * s.faults, CutJSON: 0.01 * s.faults,
		MissingRows: 0.01 * s.faults, TooMany: 0.05 * s.faults,
		ResetBefore: 0.02 * s.faults, // what is absent is sent again
		// So that posts are under way whenever something dies.
		Slow: 1, SlowBy: s.slow,
		Endpoints: []string{"POST /sms/send", "POST /post/postcards/send"},
	}
	if f.channel == "postcard" {
		o.NoReference = 1
	}
	return o
}

// rage lets processes and servers die until there were enough deaths, and most
// of the campaign is through.
func (s weather) rage(t *testing.T, w *world, all []*kept, pg *services.PostgresServer, rd *services.RedisServer, line *survivedLine) {
	t.Helper()
	ok := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	workers := all[:max(len(all)-1, 1)]
	enough := func() bool {
		return line.kills >= s.kills && (rd == nil || line.redis >= s.redis && line.postgres >= s.postgres) && int(w.provider.Stats().Accepted) >= s.n*9/10
	}
	tick := time.NewTicker(s.beat)
	defer tick.Stop()
	// After four times as many deaths as asked for the rest goes on in peace: a
	// look into a long history takes longer than a worker lives here.
	for beat := 1; !enough() && beat < 4*s.kills; beat++ {
		<-tick.C
		for _, k := range all {
			k.keep() // whoever did not outlive a server's death
		}
		victim := workers[beat%len(workers)]
		victim.process.kill()
		victim.keep()
		line.kills++
		if rd == nil {
			continue
		}
		switch {
		case beat%3 == 0 && line.redis < s.redis:
			ok(rd.Kill())
			if line.redis%2 == 1 {
				<-tick.C // it stays away for a while
			}
			ok(rd.Restart())
			line.redis++
		case beat%3 == 1 && line.postgres < s.postgres:
			ok(pg.Kill())
			if line.postgres%2 == 0 {
				<-tick.C
			}
			ok(pg.Restart())
			line.postgres++
		case beat == 8:
			all[len(all)-1].process.kill() // the scheduler, for once
			all[len(all)-1].keep()
		}
	}
}

// kept is a role under an init system: whatever ends it, it is started again.
type kept struct {
	world   *world
	role    string
	process *process
	past    []*process
}

// keep reports whether the process had ended.
func (k *kept) keep() bool {
	if k.process.running() {
		return false
	}
	k.past = append(k.past, k.process)
	k.process = k.world.start(k.role)
	return true
}

// arrives waits until a campaign is completed. Nothing else may stop it.
func (w *world) arrives(ref string, n int) standing {
	w.t.Helper()
	deadline := time.Now().Add(patience(n))
	for {
		s, err := w.tryStatus(ref)
		switch {
		case err == nil && s.State == "completed":
			return w.status(ref)
		case err == nil && s.State != "sending":
			w.t.Fatalf("campaign %s is %s: %s: %+v", ref, s.State, s.Reason, s)
		case time.Now().After(deadline):
			w.t.Fatalf("campaign %s is not completed within %s: %+v %v", ref, patience(n), s, err)
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// stormyHistory lets one of fifty pages of history go wrong, each in another
// way, and counts them.
func (w *world) stormyHistory() *atomic.Int64 {
	var pages, bad atomic.Int64
	front := func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/history") || pages.Add(1)%50 != 0 {
			return false
		}
		switch bad.Add(1) % 3 {
		case 0:
			rw.Header().Set("Retry-After", "1")
			rw.WriteHeader(http.StatusTooManyRequests)
		case 1:
			rw.WriteHeader(http.StatusBadGateway)
		default:
			conn, _, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				w.t.Error(err)
				return true
			}
			_ = conn.(*net.TCPConn).SetLinger(0) // a reset instead of an end; gone is gone
			_ = conn.Close()
		}
		return true
	}
	w.front.Store(&front)
	return &bad
}

// tally holds every line of a campaign's report against the messages that the
// provider keeps: the same ids, at the same prices, and no other.
func (w *world) tally(s standing) {
	w.t.Helper()
	f, err := os.Open(filepath.Join(w.dir, fmt.Sprintf("report-%d.csv", s.ID)))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		w.t.Fatal(err)
	}
	id, price := slices.Index(head, "message_id"), slices.Index(head, "price")
	ledger := map[string]campaign.Micros{}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if ledger[row[id]], err = campaign.ParseMicros(row[price]); err != nil {
			w.t.Fatal(err)
		}
	}
	ask, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.host+"/_sandbox/messages?channel="+s.Channel, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ask.SetBasicAuth(w.env["CLICKSEND_USERNAME"], w.env["CLICKSEND_API_KEY"])
	resp, err := http.DefaultClient.Do(ask)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	rows, strange := 0, 0
	lines := json.NewDecoder(resp.Body)
	for ; ; rows++ {
		var m struct {
			ID    string `json:"message_id"`
			Price string `json:"price"`
		}
		if err := lines.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			w.t.Fatal(err)
		}
		at, err := campaign.ParseMicros(m.Price)
		if said, there := ledger[m.ID]; err != nil || !there || said != at {
			strange++
		}
	}
	if rows != len(ledger) || strange > 0 {
		w.t.Errorf("the provider keeps %d messages, of which %d are not in the ledger at that price; the ledger has %d", rows, strange, len(ledger))
	}
}

// audited lets Postrider itself hold the provider's history against the ledger.
func (w *world) audited(ref string, n int) {
	w.t.Helper()
	var a struct {
		Equal, Complete bool
		Doubt           string
		Messages, Fresh int
	}
	p := w.run("audit", ref, "--json")
	w.decode(p.stdout.String(), &a)
	// What was accepted a moment ago need not be there yet.
	if p.code != 0 || !a.Equal || !a.Complete || a.Messages+a.Fresh < n || a.Messages > n {
		w.t.Errorf("%s: exit code %d, want 0 and all %d messages in history: %s", p.line, p.code, n, p.stdout)
	}
}

// survivedLine is what one storm did and what became of it.
type survivedLine struct {
	run                                            string
	n                                              int
	kills, redis, postgres                         int
	faults                                         map[string]int64
	badPages                                       int
	attempts, unknown, found, resent, looks, pages int
	took                                           time.Duration
}

// read asks the ledger and the processes what they went through.
func (l *survivedLine) read(t *testing.T, w *world, all []*kept, database []string) {
	t.Helper()
	db, err := sql.Open(database[0], database[1])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // only read
	err = db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM attempts), (SELECT count(*) FROM attempts WHERE state = 3),
		(SELECT count(*) FROM messages WHERE evidence = 2),
		(SELECT count(*) FROM recipients r JOIN batches b ON b.id = r.batch_id WHERE b.resend = 1)`).Scan(&l.attempts, &l.unknown, &l.found, &l.resent)
	if err != nil {
		t.Fatal(err)
	}
	var duplicates int
	var stopped string
	err = db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM duplicates), (SELECT COALESCE(max(stopped), '') FROM channels)`).Scan(&duplicates, &stopped)
	if err != nil {
		t.Fatal(err)
	}
	if duplicates != 0 || stopped != "" {
		t.Errorf("the ledger has recorded %d duplicates; resends are stopped: %q", duplicates, stopped)
	}
	st := w.provider.Stats()
	l.faults = st.Faults
	for name, e := range st.Endpoints {
		if strings.HasPrefix(name, "GET ") && strings.HasSuffix(name, "/history") {
			l.pages += int(e.Requests)
		}
	}
	for _, k := range all {
		for _, p := range append(k.past, k.process) {
			l.looks += strings.Count(p.stderr.String(), "looked into the provider's history")
		}
	}
}

// survived is the table of all storms of a run.
type survived struct {
	mu    sync.Mutex
	lines []*survivedLine
}

func (s *survived) add(l *survivedLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
}

func (s *survived) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(tw, "| "+strings.Join(cells, "\t| ")+"\t|") }
	row("storm", "recipients", "kills", "Redis lost", "PostgreSQL lost", "resets after", "resets before", "500s", "hangs", "cut answers", "rows missing", "429s", "bad pages",
		"attempts", "unknown", "found", "resent", "looks", "pages", "seconds")
	row(slices.Repeat([]string{"---"}, 20)...)
	for _, l := range s.lines {
		cells := []string{l.run}
		for _, n := range []int{l.n, l.kills, l.redis, l.postgres, int(l.faults["reset_after"]), int(l.faults["reset_before"]), int(l.faults["error500_after"]), int(l.faults["hang"]),
			int(l.faults["cut_json"]), int(l.faults["missing_rows"]), int(l.faults["too_many"]), l.badPages,
			l.attempts, l.unknown, l.found, l.resent, l.looks, l.pages, int(l.took.Seconds())} {
			cells = append(cells, strconv.Itoa(n))
		}
		row(cells...)
	}
	if err := tw.Flush(); err != nil {
		return err.Error()
	}
	return b.String()
}
