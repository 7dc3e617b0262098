package sandbox

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// fill accepts n messages, one a second, with the references r000, r001 ...
func (r *rig) fill(n int) {
	r.t.Helper()
	for i := range n {
		r.ok("POST", "/v3/sms/send", messages(sms1(fmt.Sprintf("+6141000%04d", i), "a", "custom_string", fmt.Sprintf("r%03d", i))))
		r.clock.Advance(time.Second)
	}
}

// readAll reads a whole history page by page and returns its references.
func (r *rig) readAll(query string) []string {
	r.t.Helper()
	var refs []string
	for page := 1; ; page++ {
		a := r.ok("GET", fmt.Sprintf("/v3/sms/history?page=%d&%s", page, query), nil)
		refs = append(refs, a.column("custom_string")...)
		if a.get("next_page_url") == nil {
			return refs
		}
	}
}

func references(n int) []string {
	var refs []string
	for i := range n {
		refs = append(refs, fmt.Sprintf("r%03d", i))
	}
	return refs
}

func TestTheHistoryComesInTheOrderAskedForOrSwitchedTo(t *testing.T) {
	t.Parallel()
	const n = 40
	oldest := references(n)
	newest := slices.Clone(oldest)
	slices.Reverse(newest)
	for _, c := range []struct {
		mode  HistoryMode
		query string
		want  []string // nil: every row once, in neither of the two orders
	}{
		{HistoryMode{}, "", newest},
		{HistoryMode{Order: OldestFirst}, "", oldest},
		{HistoryMode{Order: ByID}, "", nil},
		{HistoryMode{Order: PagesShuffled}, "", nil},
		{HistoryMode{Order: Shuffled}, "order_by=date:asc", oldest},
		{HistoryMode{Order: Shuffled}, "order_by=date:desc&limit=100", newest},
		{HistoryMode{Order: OldestFirst}, "order_by=to:desc", newest},
		{HistoryMode{Order: OldestFirst, IgnoreOrderBy: true}, "order_by=date:desc", oldest},
		{HistoryMode{Order: ByID, DueDates: true}, "order_by=schedule:asc", oldest},
	} {
		r := newRig(t, Options{History: c.mode})
		r.fill(n)
		got := r.readAll(c.query)
		if c.want != nil {
			if !slices.Equal(got, c.want) {
				t.Errorf("%+v %q: %v", c.mode, c.query, got)
			}
			continue
		}
		if slices.Equal(got, oldest) || slices.Equal(got, newest) {
			t.Errorf("%+v: in order", c.mode)
		}
		if slices.Sort(got); !slices.Equal(got, oldest) {
			t.Errorf("%+v: %v", c.mode, got)
		}
	}
}

func TestAShuffledHistoryIsAnotherOnEachRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{History: HistoryMode{Order: Shuffled}})
	r.fill(30)
	first := r.ok("GET", "/v3/sms/history?limit=100", nil).column("custom_string")
	second := r.ok("GET", "/v3/sms/history?limit=100", nil).column("custom_string")
	if slices.Equal(first, second) {
		t.Error("two reads gave the same order")
	}
	slices.Sort(first)
	slices.Sort(second)
	if !slices.Equal(first, references(30)) || !slices.Equal(second, first) {
		t.Error("a read lacks rows")
	}
}

func TestMessagesShowUpInTheHistoryOnlyAfterTheLag(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{History: HistoryMode{Lag: 90 * time.Second}})
	r.fill(3)
	total := func() string { return r.ok("GET", "/v3/sms/history", nil).text("total") }
	if got := total(); got != "0" {
		t.Errorf("%s rows at once", got)
	}
	r.clock.Advance(88 * time.Second) // the first is now 91 s old, the last 89 s
	if got := total(); got != "2" {
		t.Errorf("%s rows after the lag of two", got)
	}
	r.clock.Advance(time.Minute)
	if got := total(); got != "3" {
		t.Errorf("%s rows after the lag of all", got)
	}
	r.s.SetHistory(HistoryMode{Reach: time.Minute})
	if got := total(); got != "0" {
		t.Errorf("%s rows within the last minute", got)
	}
}

func TestHeldMessagesAreDatedByAcceptanceOrByTheirHour(t *testing.T) {
	t.Parallel()
	for _, byDue := range []bool{false, true} {
		r := newRig(t, Options{History: HistoryMode{DueDates: byDue}})
		accepted := r.clock.Now().Unix()
		due := accepted + 7200
		r.ok("POST", "/v3/sms/send", messages(sms1("+61412345671", "a", "schedule", due, "custom_string", "held"), sms1("+61412345672", "a", "custom_string", "now")))
		find := func(from, to int64) string {
			return strings.Join(r.ok("GET", fmt.Sprintf("/v3/sms/history?date_from=%d&date_to=%d&order_by=to:asc", from, to), nil).column("custom_string"), " ")
		}
		wantNear, wantFar, wantDate := "held now", "", accepted
		if byDue {
			wantNear, wantFar, wantDate = "now", "held", due
		}
		if got := find(accepted-10, accepted+10); got != wantNear {
			t.Errorf("by due %v: around the acceptance %q, want %q", byDue, got, wantNear)
		}
		if got := find(due-10, due+10); got != wantFar {
			t.Errorf("by due %v: around the due time %q, want %q", byDue, got, wantFar)
		}
		row := r.ok("GET", "/v3/sms/history?q=to:%2B61412345671", nil).rows()[0]
		if row["date"] != fmt.Sprint(wantDate) || row["schedule"] != fmt.Sprint(due) || row["status"] != "Scheduled" {
			t.Errorf("by due %v: %v", byDue, row)
		}
	}
}

func TestDatesAreInclusiveAndRowsWithoutDatesAreAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	start := r.clock.Now().Unix()
	r.fill(10)
	for _, c := range []struct {
		from, to int64
		want     int
	}{{start, start + 9, 10}, {start + 3, start + 5, 3}, {start + 9, start + 99, 1}, {start + 10, start + 99, 0}, {start + 5, start + 3, 0}, {0, start, 1}} {
		if got := r.ok("GET", fmt.Sprintf("/v3/sms/history?date_from=%d&date_to=%d", c.from, c.to), nil).text("total"); got != fmt.Sprint(c.want) {
			t.Errorf("%d..%d: %s rows, want %d", c.from-start, c.to-start, got, c.want)
		}
	}
	r.refused(400, "GET", "/v3/sms/history?date_from=yesterday", nil)
}

func TestTheHistoryIsSearchedByTheColumnsItKnows(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.ok("POST", "/v3/sms/send", messages(sms1("+61412345671", "a", "from", "Acme"), sms1("+61412345672", "a", "from", "Other"), sms1("+61412345673", "a", "from", "Acme", "schedule", r.clock.Now().Unix()+60)))
	id := r.ok("GET", "/v3/sms/history?order_by=to:asc", nil).column("message_id")[1]
	for query, want := range map[string]string{
		"q=from:ACME":                                         "+61412345671 +61412345673",
		"q=from:acme,status:scheduled":                        "+61412345673",
		"q=from:other,status:scheduled&operator=OR":           "+61412345672 +61412345673",
		"q=to:+61412345672":                                   "+61412345672",
		"q=message_id:" + strings.ToLower(id):                 "+61412345672",
		"q=message_id:nonsense":                               "",
		"q=message_id:nonsense,to:+61412345671&operator=OR":   "+61412345671",
		"q=message_id:" + id + ",from:acme":                   "",
		"q=status_code:201":                                   "",
		"q=" + url.QueryEscape("subaccount_id:1,from:Nobody"): "",
	} {
		if got := strings.Join(r.ok("GET", "/v3/sms/history?order_by=to:asc&"+query, nil).column("to"), " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"q=custom_string:x", "q=nonsense", "operator=XOR", "order_by=colour:asc", "order_by=date:up"} {
		r.refused(400, "GET", "/v3/sms/history?"+query, nil)
	}
}

func TestPagesHoldFifteenToAHundredRowsAndLinkToEachOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.fill(40)
	for query, want := range map[string]string{"": "15", "limit=1": "15", "limit=30": "30", "limit=1000": "100", "limit=x": "15"} {
		if got := r.ok("GET", "/v3/sms/history?"+query, nil).text("per_page"); got != want {
			t.Errorf("%q: %s rows a page, want %s", query, got, want)
		}
	}
	p := r.ok("GET", "/v3/sms/history?page=2&limit=15&order_by=date:asc", nil)
	if p.text("from") != "16" || p.text("to") != "30" || p.text("last_page") != "3" || p.text("current_page") != "2" || len(p.rows()) != 15 {
		t.Errorf("%s", p.raw)
	}
	for name, want := range map[string]string{"next_page_url": "31", "prev_page_url": "1"} {
		link, err := url.Parse(p.text(name))
		if err != nil || "http://"+link.Host != r.url {
			t.Fatalf("%s %q: %v", name, p.text(name), err)
		}
		if got := r.ok("GET", link.RequestURI(), nil).text("from"); got != want {
			t.Errorf("%s leads to row %s, want %s", name, got, want)
		}
	}
	if p := r.ok("GET", "/v3/sms/history?page=9", nil); len(p.rows()) != 0 || p.get("from") != nil || p.get("next_page_url") != nil || p.text("total") != "40" {
		t.Errorf("beyond the end: %s", p.raw)
	}
}

func TestTheReferenceIsEchoedOrNot(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.fill(1)
	if got := r.ok("GET", "/v3/sms/history", nil).text("data", 0, "custom_string"); got != "r000" {
		t.Error(got)
	}
	r.s.SetHistory(HistoryMode{NoReference: true})
	if got := r.ok("GET", "/v3/sms/history", nil).get("data", 0, "custom_string"); got != nil {
		t.Error(got)
	}
}

func TestOldMessagesAreForgottenBeyondMaxKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{MaxKept: 1, DropBodies: true})
	for batch := range 9 {
		var all []obj
		for i := range MaxBatch {
			all = append(all, sms1(fmt.Sprintf("+614%08d", batch*MaxBatch+i), "a"))
		}
		r.ok("POST", "/v3/sms/send", messages(all...))
	}
	a := r.ok("GET", "/v3/sms/history?order_by=date:asc", nil)
	if a.text("total") != fmt.Sprint(9000-8192) || a.column("to")[0] != "+61400008192" || a.column("body")[0] != "" {
		t.Errorf("total %s, first %s", a.text("total"), a.column("to")[0])
	}
	if st := r.s.Stats(); st.Accepted != 9000 || st.Again != 0 {
		t.Errorf("%+v", st)
	}
}
