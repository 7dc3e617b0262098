package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// batch makes n messages with the references r000, r001 ...
func batch(n int) obj {
	var m []obj
	for i := range n {
		m = append(m, sms1(fmt.Sprintf("+6141000%04d", i), "a", "custom_string", fmt.Sprintf("r%03d", i)))
	}
	return messages(m...)
}

func TestFaultsBeforeAcceptingKeepNothing(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Faults{
		"too_many":        {TooMany: 1, RetryAfter: 1500 * time.Millisecond},
		"error503":        {Error503: 1},
		"error500_before": {Error500Before: 1},
		"reset_before":    {ResetBefore: 1},
		"hang_before":     {HangBefore: 1, HangFor: time.Millisecond},
	} {
		r := newRig(t, Options{Faults: f})
		res, body, err := r.try("POST", "/v3/sms/send", batch(3))
		switch name {
		case "too_many":
			if err != nil || res.StatusCode != 429 || res.Header.Get("Retry-After") != "2" {
				t.Errorf("%s: %v %s", name, err, body)
			}
		case "error503":
			if err != nil || res.StatusCode != 503 {
				t.Errorf("%s: %v %s", name, err, body)
			}
		case "error500_before":
			if err != nil || res.StatusCode != 500 || !strings.Contains(string(body), "INTERNAL_SERVER_ERROR") {
				t.Errorf("%s: %v %s", name, err, body)
			}
		default:
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: %v, want a connection reset", name, err)
			}
		}
		if st := r.s.Stats(); st.Accepted != 0 || st.Faults[name] != 1 || st.Charged != "0.000000" {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

func TestFaultsAfterAcceptingKeepEverything(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Faults{
		"error500_after": {Error500After: 1},
		"reset_after":    {ResetAfter: 1},
		"hang":           {Hang: 1, HangFor: time.Millisecond},
		"cut_json":       {CutJSON: 1},
		"missing_rows":   {MissingRows: 1},
		"reordered":      {Reordered: 1},
		"no_reference":   {NoReference: 1},
		"slow":           {Slow: 1, SlowBy: time.Millisecond},
	} {
		r := newRig(t, Options{Faults: f})
		res, body, err := r.try("POST", "/v3/sms/send", batch(20))
		var a answer
		if name != "reset_after" && err == nil && name != "cut_json" {
			if err := json.Unmarshal(body, &a); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		refs := func() []string { return a.column("custom_string") }
		switch name {
		case "error500_after":
			if res.StatusCode != 500 {
				t.Errorf("%s: %s", name, body)
			}
		case "reset_after":
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: %v, want a connection reset", name, err)
			}
		case "cut_json":
			if err != nil || res.StatusCode != 200 || json.Valid(body) || len(body) < 100 {
				t.Errorf("%s: %v %s", name, err, body)
			}
		case "missing_rows":
			if n := len(refs()); n >= 20 || !slices.IsSorted(refs()) || a.text("queued_count") != "20" {
				t.Errorf("%s: %d rows", name, n)
			}
		case "reordered":
			got := refs()
			if slices.IsSorted(got) || len(got) != 20 {
				t.Errorf("%s: %v", name, got)
			}
			if slices.Sort(got); !slices.Equal(got, references(20)) {
				t.Errorf("%s: %v", name, got)
			}
		case "no_reference":
			if got := slices.Compact(refs()); !slices.Equal(got, []string{""}) {
				t.Errorf("%s: %v", name, got)
			}
		case "hang", "slow":
			if !slices.Equal(refs(), references(20)) {
				t.Errorf("%s: %s", name, body)
			}
		}
		r.s.SetFaults(Faults{})
		if got := r.readAll("order_by=date:asc"); !slices.Equal(got, references(20)) {
			t.Errorf("%s: the history holds %v", name, got)
		}
		if st := r.s.Stats(); st.Accepted != 20 || st.Faults[name] != 1 {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

func TestDroppedMessagesAreAnsweredPerfectlyAndKeptNowhere(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Faults: Faults{Dropped: 1}})
	a := r.ok("POST", "/v3/sms/send", batch(5))
	if !slices.Equal(a.column("custom_string"), references(5)) || a.text("queued_count") != "5" || a.text("total_price") != "0.283" {
		t.Errorf("%s", a.raw)
	}
	st := r.s.Stats()
	if st.Accepted != 0 || st.Channels["sms"].Dropped != 5 || st.Charged != "0.000000" || st.Balance != "1000000.000000" {
		t.Errorf("%+v", st)
	}
	r.refused(404, "PUT", "/v3/sms/"+a.column("message_id")[0]+"/cancel", nil)
	r.s.SetFaults(Faults{})
	if got := r.readAll(""); len(got) != 0 {
		t.Errorf("the history holds %v", got)
	}
	// What was dropped was never sent, so sending it again is not throttled.
	if got := r.ok("POST", "/v3/sms/send", batch(1)).column("status")[0]; got != "SUCCESS" {
		t.Error(got)
	}
}

func TestAHangingRequestEndsWhenItsClientGoesOrTheServerCloses(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Faults: Faults{Hang: 1, HangFor: time.Hour}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", r.url+"/v3/sms/send", strings.NewReader(`{"messages":[{"to":"+61412345678","body":"a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(r.username, r.apiKey)
	if res, err := r.client.Do(req); !errors.Is(err, context.DeadlineExceeded) {
		if err == nil {
			_ = res.Body.Close()
		}
		t.Fatalf("answered: %v", err)
	}
	if n := r.s.Stats().Accepted; n != 1 {
		t.Errorf("%d accepted before the hang, want 1", n)
	}
	done := make(chan error, 1)
	go func() {
		_, _, err := r.try("GET", "/v3/account", nil)
		done <- err
	}()
	r.s.Close()
	if err := <-done; err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestFaultsKeepToTheirEndpointsAndTheirLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	r.s.SetFaults(Faults{Error503: 1, Endpoints: []string{"POST /sms/send"}, Limit: 2})
	r.ok("GET", "/v3/account", nil)
	r.refused(503, "POST", "/v3/sms/send", batch(1))
	r.refused(503, "POST", "/v3/sms/send", batch(1))
	r.ok("POST", "/v3/sms/send", batch(1))
	if n := r.s.Stats().Faults["error503"]; n != 2 {
		t.Errorf("%d faults", n)
	}
}

func TestFaultsRepeatForTheSameSeedAtAboutTheirProbability(t *testing.T) {
	t.Parallel()
	pattern := func(seed uint64) (codes []int) {
		r := newRig(t, Options{Seed: seed, Faults: Faults{Error503: 0.3, TooMany: 0.1}})
		for range 200 {
			codes = append(codes, r.do("GET", "/v3/user-countries", nil).HTTP)
		}
		return codes
	}
	first := pattern(7)
	if !slices.Equal(first, pattern(7)) {
		t.Error("the same seed gave other faults")
	}
	if slices.Equal(first, pattern(8)) {
		t.Error("another seed gave the same faults")
	}
	n := 0
	for _, code := range first {
		if code == 503 {
			n++
		}
	}
	if n < 30 || n > 90 {
		t.Errorf("%d of 200 at a probability of 0.3", n)
	}
}

func TestTheRateLimitIsShownInHeadersAndHeldPerEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Rate: RateLimit{Requests: 2, Window: 10 * time.Second}})
	for i, want := range []string{"1", "0"} {
		a := r.ok("GET", "/v3/account", nil)
		if a.head.Get("X-Ratelimit-Limit") != "2" || a.head.Get("X-Ratelimit-Remaining") != want || a.head.Get("X-Ratelimit-Reset") != "10" {
			t.Errorf("request %d: %v", i, a.head)
		}
	}
	r.clock.Advance(3500 * time.Millisecond)
	a := r.refused(429, "GET", "/v3/account", nil)
	if a.Code != "TOO_MANY_REQUESTS" || a.head.Get("Retry-After") != "7" || a.head.Get("X-Ratelimit-Remaining") != "0" {
		t.Errorf("%s %v", a.raw, a.head)
	}
	r.ok("GET", "/v3/user-countries", nil)
	r.as("nocredit", TestPassword).ok("GET", "/v3/account", nil)
	r.clock.Advance(6500 * time.Millisecond)
	r.ok("GET", "/v3/account", nil)
	if st := r.s.Stats(); st.TooMany != 1 || st.Endpoints["GET /account"].TooMany != 1 || st.Endpoints["GET /account"].Requests != 5 {
		t.Errorf("%+v", st)
	}
	r.s.SetRate(RateLimit{Requests: 100, ResetEpoch: true})
	if got, want := r.ok("GET", "/v3/user-countries", nil).head.Get("X-Ratelimit-Reset"), fmt.Sprint(r.clock.Now().Unix()+54); got != want {
		t.Errorf("reset %s, want %s", got, want)
	}
}

func TestTheBusiestSecondSlides(t *testing.T) {
	t.Parallel()
	var m meter
	start := newClock().Now()
	for _, ms := range []int{0, 600, 700, 800, 1100, 1500, 1590, 5000} {
		m.add(start.Add(time.Duration(ms) * time.Millisecond))
	}
	if m.busiest != 6 { // 600 to 1590
		t.Errorf("busiest second %d, want 6", m.busiest)
	}
	if got := m.average(); got != 1.6 {
		t.Errorf("average %v, want 1.6", got)
	}
}

func TestTheControlsReadAndReplaceFaultsHistoryAndRate(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{})
	put := func(path, body string) string {
		t.Helper()
		_, text, err := r.try("PUT", path, body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	put("/_sandbox/faults", `{"error503":1,"endpoints":["GET /account"],"hang_for":"1.5s"}`)
	r.refused(503, "GET", "/v3/account", nil)
	_, text, err := r.try("GET", "/_sandbox/faults", nil)
	var f Faults
	if err != nil || json.Unmarshal(text, &f) != nil || f.Error503 != 1 || f.HangFor != 1500*time.Millisecond {
		t.Errorf("%v %s", err, text)
	}
	put("/_sandbox/history", `{"order":"oldest","lag":"90s"}`)
	if h := r.s.historyMode(); h.Order != OldestFirst || h.Lag != 90*time.Second {
		t.Errorf("%+v", h)
	}
	put("/_sandbox/rate", `{"requests":5,"window":"1s"}`)
	for path, body := range map[string]string{
		"/_sandbox/faults": `{"error503":1.5}`, "/_sandbox/faults?": `{"erorr503":1}`, "/_sandbox/history": `{"order":"random"}`,
		"/_sandbox/rate": `{"requests":-1}`, "/_sandbox/faults#": `{"hang_for":"soon"}`,
	} {
		if got := put(path, body); !strings.Contains(got, "BAD_REQUEST") {
			t.Errorf("%s %s: %s", path, body, got)
		}
	}
	if _, text, err := r.try("POST", "/_sandbox/reset", nil); err != nil || !strings.Contains(string(text), `"requests": 0`) {
		t.Errorf("%v %s", err, text)
	}
	r.ok("GET", "/v3/account", nil)
	r.refused(404, "GET", "/_sandbox/nothing", nil)
}

func TestAcceptedMessagesAreListedLineByLine(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{RefuseRate: 0.2, RefusedInHistory: true})
	sent := r.ok("POST", "/v3/sms/send", batch(50))
	r.ok("POST", "/v3/post/letters/send", obj{"file_url": "https://example.com/a.pdf", "recipients": []obj{addressee("custom_string", "letter", "address_postal_code", "33333")}})
	r.ok("POST", "/v3/mms/send", obj{"media_file": "https://example.com/a.gif", "messages": []obj{sms1("+61411111111", "m", "subject", "s", "from", "f")}})
	want := map[string]bool{}
	for _, row := range sent.rows() {
		if row["status"] == "SUCCESS" {
			want[row["message_id"].(string)] = true
		}
	}
	type line struct {
		Channel, To, Body, Price, Status string
		ID                               string         `json:"message_id"`
		Reference                        string         `json:"custom_string"`
		Address                          map[string]any `json:"address"`
		Files                            []string
	}
	read := func(query string) (lines []line) {
		_, text, err := r.try("GET", "/_sandbox/messages"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		for d := json.NewDecoder(strings.NewReader(string(text))); ; {
			var l line
			if err := d.Decode(&l); err == io.EOF {
				return lines
			} else if err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			lines = append(lines, l)
		}
	}
	all := read("")
	if len(all) != len(want)+2 || len(want) == 50 {
		t.Fatalf("%d lines for %d messages", len(all), len(want))
	}
	for _, l := range all[:len(want)] {
		if !want[l.ID] || l.Channel != "sms" || l.Price != "0.056600" || l.Body != "a" || !strings.HasPrefix(l.Reference, "r0") {
			t.Errorf("%+v", l)
		}
	}
	if m := all[len(want)]; m.Channel != "mms" || m.Files[0] != "https://example.com/a.gif" {
		t.Errorf("%+v", m)
	}
	if l := all[len(want)+1]; l.Channel != "letter" || l.Reference != "letter" || l.Address["address_postal_code"] != "33333" || l.Price != "0.000000" {
		t.Errorf("%+v", l)
	}
	var paged []line
	for page := 1; page <= len(all)/10+1; page++ {
		paged = append(paged, read(fmt.Sprintf("?limit=10&page=%d", page))...)
	}
	if fmt.Sprint(paged) != fmt.Sprint(all) {
		t.Error("the pages do not add up to the whole")
	}
	if got := read("?channel=letter"); len(got) != 1 {
		t.Errorf("%d letters", len(got))
	}
}

func TestTheHintCanBeSourcedByAShell(t *testing.T) {
	t.Parallel()
	s := New(Options{Username: "me", APIKey: "key"})
	for addr, want := range map[string]string{
		"127.0.0.1:8787": "http://127.0.0.1:8787/v3", ":8787": "http://127.0.0.1:8787/v3", "0.0.0.0:80": "http://127.0.0.1:80/v3",
		"[::]:9": "http://127.0.0.1:9/v3", "[::1]:9": "http://[::1]:9/v3", "sandbox.example:80": "http://sandbox.example:80/v3",
	} {
		hint := s.Hint(addr)
		for _, line := range []string{"export CLICKSEND_BASE_URL=" + want + "\n", "export CLICKSEND_USERNAME=me\n", "export CLICKSEND_API_KEY=key\n"} {
			if !strings.Contains(hint, line) {
				t.Errorf("%s: no %q in %q", addr, line, hint)
			}
		}
	}
}

func TestOptionsThatMakeNoSenseAreNamed(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Options{
		"balance": {Balance: "a lot"}, "currency": {Currency: "XYZ"}, "country": {Countries: []string{"Australia"}}, "refuse rate": {RefuseRate: 2},
		"reset_before": {Faults: Faults{ResetBefore: -1}}, "history order": {History: HistoryMode{Order: "best"}}, "rate limit": {Rate: RateLimit{Requests: -1}},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want something about %s", o, err, want)
		}
	}
	if err := (&Options{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestManyClientsAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, Options{Clock: time.Now, Throttle: -1, Balance: "1000"})
	const workers, rounds = 8, 20
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range rounds {
				var m []obj
				for k := range 10 {
					m = append(m, sms1(fmt.Sprintf("+614%02d%03d%03d", w, i, k), "a", "custom_string", fmt.Sprint(w, i, k)))
				}
				r.ok("POST", "/v3/sms/send", messages(m...))
				r.ok("GET", "/v3/sms/history?order_by=to:asc&limit=100", nil)
				r.ok("POST", "/v3/post/letters/send", obj{"file_url": r.upload("post", tinyPDF(1)), "recipients": []obj{addressee("address_name", fmt.Sprint(w, i))}})
				if w == 0 {
					r.s.Stats()
					r.s.SetFaults(Faults{})
				}
			}
		})
	}
	group.Wait()
	const sms = workers * rounds * 10
	st := r.s.Stats()
	want := money(sms*56_600 + workers*rounds*1_100_000)
	if st.Channels["sms"].Accepted != sms || st.Again != 0 || st.Charged != want.String() || st.Balance != (1000*unit-want).String() {
		t.Errorf("%+v", st)
	}
	seen := map[string]bool{}
	for _, ref := range r.readAll("limit=100") {
		seen[ref] = true
	}
	if len(seen) != sms {
		t.Errorf("%d of %d in the history", len(seen), sms)
	}
}

func TestAPriceFactorRaisesWhatIsChargedAndNotWhatIsQuoted(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	s.SetFaults(Faults{PriceFactor: 1.5, Endpoints: []string{"POST /sms/send"}})
	body := `{"messages":[{"to":"+61400000001","body":"Hi","source":"x"}]}`
	ask := func(path string) string {
		req := httptest.NewRequest("POST", "/v3"+path, strings.NewReader(body))
		req.SetBasicAuth(DefaultUsername, DefaultAPIKey)
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, req)
		return rec.Body.String()
	}
	if got := ask("/sms/price"); !strings.Contains(got, `"message_price":"0.0566"`) {
		t.Errorf("quoted %s", got)
	}
	if got := ask("/sms/send"); !strings.Contains(got, `"message_price":0.0849`) {
		t.Errorf("charged %s", got)
	}
	if st := s.Stats(); st.Charged != "0.084900" || st.Balance != "999999.915100" {
		t.Errorf("charged %s, balance %s", st.Charged, st.Balance)
	}
	s.SetBalance(Balance{Balance: "0.05", AutoRecharge: true})
	s.SetFaults(Faults{})
	body = strings.Replace(body, "Hi", "Hi again", 1)
	if got := ask("/sms/send"); !strings.Contains(got, "INSUFFICIENT_CREDIT") {
		t.Errorf("sent without credit: %s", got)
	}
	var f Faults
	if err := f.UnmarshalJSON([]byte(`{"price_factor":-1}`)); err == nil {
		t.Error("a negative price factor was taken")
	}
	if got := s.Balance(); got != (Balance{"0.050000", true}) {
		t.Errorf("balance %+v", got)
	}
}
