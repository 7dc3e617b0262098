package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/clicksend"
)

// shelf is a paged list that changes under its reader.
type shelf struct {
	rows   []clicksend.Record
	before func(page int) // what happens before the page is cut
	total  func(n int) int
	limit  int    // at most so many rows a page; 0 is what is asked for
	order  string // the last one asked for
	pages  int
}

func (s *shelf) page(_ context.Context, number, limit int, order string) (historyPage, error) {
	s.order = order
	s.pages++
	if s.before != nil {
		s.before(s.pages)
	}
	if s.limit > 0 {
		limit = min(limit, s.limit)
	}
	from := min((number-1)*limit, len(s.rows))
	to := min(from+limit, len(s.rows))
	p := historyPage{rows: slices.Clone(s.rows[from:to]), total: len(s.rows)}
	if s.total != nil {
		p.total = s.total(len(s.rows))
	}
	p.more = number*limit < p.total
	return p, nil
}

// record is a row of history: the id tells it, the date is its age.
func record(id int, date int64) clicksend.Record {
	return clicksend.Record{MessageID: fmt.Sprint("m", id), Date: date, Status: clicksend.HistorySent}
}

func records(n int) (rows []clicksend.Record) {
	for i := range n {
		rows = append(rows, record(i, int64(1_000_000-i*60)))
	}
	return rows
}

// looked looks into the shelf one page at a time: what happens there happens
// between the pages.
func (s *shelf) looked(t interface{ Fatal(...any) }, since time.Time) (complete bool, doubt string, got map[string]bool, l *list) {
	got = map[string]bool{}
	l = &list{since: since, order: "date:desc", each: func(page []clicksend.Record) error {
		for _, r := range page {
			got[r.MessageID] = true
		}
		return nil
	}}
	l.fetch = s.page
	complete, doubt, err := l.look(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if complete == (doubt != "") {
		t.Fatal("complete and in doubt, or neither: " + doubt)
	}
	return complete, doubt, got, l
}

// Whatever a list does while it is read, a look that calls itself complete has
// met every row that stood there all the time.
func TestACompleteLookHasMetWhateverStoodThereAllTheTime(t *testing.T) {
	t.Parallel()
	proved := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 3), rapid.SampledFrom([]int{99, 100, 101, 198, 199, 200}), rapid.IntRange(0, 420)).Draw(t, "rows")
		s := &shelf{rows: records(n)}
		next, dated := n, false
		// What happens between the pages happens on a goroutine that rapid does
		// not know.
		rng := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
		var since time.Time
		ties := int64(1)
		if rapid.Bool().Draw(t, "ends at a date") {
			dated = true
			since = time.Unix(int64(1_000_000-60*rapid.IntRange(0, n+1).Draw(t, "since")), 0)
			ties = rapid.SampledFrom([]int64{1, 60 * 7, 60 * 150}).Draw(t, "ties")
			for i := range s.rows {
				s.rows[i].Date = s.rows[i].Date / ties * ties
			}
		}
		removed := map[string]bool{}
		remove := func() {
			if len(s.rows) == 0 {
				return
			}
			i := rng.IntN(len(s.rows))
			if rng.IntN(2) == 0 {
				i = min(i, 3)
			}
			removed[s.rows[i].MessageID] = true
			s.rows = slices.Delete(s.rows, i, i+1)
		}
		insert := func(at int) {
			r := record(next, 2_000_000)
			next++
			if at < len(s.rows) {
				r.Date = s.rows[at].Date
			} else if at > 0 {
				r.Date = s.rows[at-1].Date
			}
			if at == 0 {
				r.Date += ties
			}
			s.rows = slices.Insert(s.rows, at, r)
		}
		anywhere := func() int { return []int{0, len(s.rows), len(s.rows) / 2, len(s.rows) * 9 / 10}[rng.IntN(4)] }
		shuffle := func() {
			if rng.IntN(2) == 0 && len(s.rows) > 1 { // a little
				for range rng.IntN(4) {
					i, j := rng.IntN(len(s.rows)), rng.IntN(len(s.rows))
					s.rows[i], s.rows[j] = s.rows[j], s.rows[i]
				}
			} else {
				rng.Shuffle(len(s.rows), func(i, j int) { s.rows[i], s.rows[j] = s.rows[j], s.rows[i] })
			}
			if dated { // rows of one date change places
				slices.SortStableFunc(s.rows, func(a, b clicksend.Record) int { return cmp.Compare(b.Date, a.Date) })
			}
		}
		kind := rapid.SampledFrom([]string{"still", "rows keep their order", "none goes", "none comes", "order changes"}).Draw(t, "kind")
		lazy := rapid.IntRange(0, 3).Draw(t, "how seldom")
		s.before = func(page int) {
			if page > 500 || rng.IntN(lazy+1) > 0 {
				return
			}
			switch kind {
			case "rows keep their order":
				k := rng.IntN(4)
				for range k {
					remove()
				}
				for range []int{k, 0, 1}[rng.IntN(3)] {
					insert(anywhere())
				}
			case "none goes":
				insert(anywhere())
				if !dated {
					shuffle()
				}
			case "none comes":
				remove()
				if !dated {
					shuffle()
				}
			case "order changes":
				shuffle()
			}
		}
		switch rapid.IntRange(0, 4).Draw(t, "the page's words") {
		case 0:
			lie := rapid.SampledFrom([]int{notSaid, 0, 1, 100, 199, 10_000}).Draw(t, "total")
			if kind == "rows keep their order" || kind == "still" {
				s.total = func(int) int { return lie }
			}
		case 1:
			if kind == "still" || kind == "rows keep their order" {
				s.limit = rapid.SampledFrom([]int{15, 50, 99}).Draw(t, "limit")
			}
		}
		nameless := rapid.IntRange(0, 5).Draw(t, "nameless") == 0 && n > 0
		if nameless {
			s.rows[rapid.IntRange(0, n-1).Draw(t, "which")].MessageID = ""
		}
		stood := slices.Clone(s.rows)
		complete, doubt, got, _ := s.looked(t, since)
		if !complete {
			if kind == "still" && !nameless && s.total == nil {
				t.Fatal("a list that stands still proves nothing: " + doubt)
			}
			return
		}
		proved++
		for _, r := range stood {
			if inWindow := !dated || r.Date >= since.Unix(); inWindow && !removed[r.MessageID] && !got[r.MessageID] {
				t.Fatalf("%s stood there all the time and was not met", r.MessageID)
			}
		}
	})
	if proved == 0 {
		t.Error("no look was ever complete")
	}
}

func TestALookProvesAbsenceOnlyOnEvidence(t *testing.T) {
	t.Parallel()
	arrive := func(s *shelf, front bool) func(int) {
		id := 10_000
		return func(page int) {
			if id++; page <= 3 && front {
				s.rows = slices.Insert(s.rows, 0, record(id, 2_000_000))
			} else if page <= 3 {
				s.rows = append(s.rows, record(id, 1))
			}
		}
	}
	for _, c := range []struct {
		name     string
		rows     int
		prepare  func(*shelf)
		complete bool
		pages    int // 0: whatever
	}{
		{"no rows", 0, nil, true, 1},
		{"one page", 60, nil, true, 1},
		{"a full page is not believed to be the last", 100, nil, true, 2},
		{"several pages", 250, nil, true, 3},
		{"nothing said of the length: asked twice", 60, func(s *shelf) { s.total = func(int) int { return notSaid } }, true, 2},
		{"an answer without data says nothing", 0, func(s *shelf) { s.total = func(int) int { return notSaid } }, false, maxReadings},
		{"the total is too large: two readings agree", 250, func(s *shelf) { s.total = func(n int) int { return n + 500 } }, true, 0},
		{"the total is too small: two readings agree", 250, func(s *shelf) { s.total = func(n int) int { return 7 } }, true, 6},
		{"the limit is not heeded: two readings agree", 40, func(s *shelf) { s.limit = 15 }, true, 6},
		{"a row without an id", 40, func(s *shelf) { s.rows[3].MessageID = "" }, false, 0},
		{"an id twice", 40, func(s *shelf) { s.rows[3].MessageID = s.rows[4].MessageID }, false, 0},
		{"rows arrive at the end", 250, func(s *shelf) { s.before = arrive(s, false) }, true, 3},
		{"rows arrive at the front, and then no more", 250, func(s *shelf) { s.before = arrive(s, true) }, true, 0},
		{"a row goes while another comes", 250, func(s *shelf) {
			s.before = func(page int) {
				if page%3 == 2 { // of each reading
					s.rows = append(s.rows[1:], record(5000+page, 1))
				}
			}
		}, false, 0},
		{"two readings met as many, and not the same", 40, func(s *shelf) {
			s.limit = 15
			s.before = func(page int) {
				if page%3 == 2 {
					s.rows = append(s.rows[1:], record(5000+page, 1))
				}
			}
		}, false, 9},
		{"rows go", 250, func(s *shelf) { s.before = func(int) { s.rows = s.rows[2:] } }, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &shelf{rows: records(c.rows)}
			if c.prepare != nil {
				c.prepare(s)
			}
			complete, doubt, got, l := s.looked(t, time.Time{})
			if complete != c.complete {
				t.Errorf("complete: %v (%s)", complete, doubt)
			}
			if c.pages > 0 && l.pages != c.pages {
				t.Errorf("%d pages were asked for, want %d", l.pages, c.pages)
			}
			if complete && len(got) < c.rows {
				t.Errorf("%d of %d rows", len(got), c.rows)
			}
		})
	}
}

func TestAReadingEndsAtItsDateOnlyWhileRowsAreSeenToBeInOrder(t *testing.T) {
	t.Parallel()
	since := time.Unix(1_000_000-60*150, 0) // the first 151 rows
	for _, c := range []struct {
		name    string
		prepare func(*shelf)
		early   bool
	}{
		{"in order", nil, true},
		{"rows of one date show no order", func(s *shelf) {
			for i := range s.rows[:800] {
				s.rows[i].Date = 5
			}
		}, false},
		{"oldest first", func(s *shelf) { slices.Reverse(s.rows) }, false},
		{"one row out of order", func(s *shelf) { s.rows[120], s.rows[130] = s.rows[130], s.rows[120] }, false},
		{"one row without its date", func(s *shelf) { s.rows[7].Date = 0 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &shelf{rows: records(1000)}
			if c.prepare != nil {
				c.prepare(s)
			}
			complete, doubt, got, l := s.looked(t, since)
			if !complete {
				t.Error(doubt)
			}
			if early := len(got) < 500 && l.pages < 6; early != c.early || !early && len(got) != 1000 {
				t.Errorf("%d rows on %d pages", len(got), l.pages)
			}
		})
	}
}

func TestAHistoryInAnotherOrderOnEachPageIsReadUntilAllOfItWasMet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := &shelf{rows: records(rapid.IntRange(101, 500).Draw(t, "rows"))}
		rng := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
		s.before = func(int) {
			rng.Shuffle(len(s.rows), func(i, j int) { s.rows[i], s.rows[j] = s.rows[j], s.rows[i] })
		}
		stood := len(s.rows)
		if complete, _, got, _ := s.looked(t, time.Time{}); complete && len(got) != stood {
			t.Fatalf("%d of %d rows", len(got), stood)
		}
	})
}

// Where the first pages of two readings share next to nothing, no order can be
// seen to change.
func TestALongHistoryInAnotherOrderOnEachPageIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	seeds := uint64(5)
	if raceDetector { // shuffling has no race, and takes long under it
		seeds = 1
	}
	for seed := range seeds {
		s := &shelf{rows: records(12_000)}
		rng := rand.New(rand.NewPCG(2, seed))
		s.before = func(int) {
			rng.Shuffle(len(s.rows), func(i, j int) { s.rows[i], s.rows[j] = s.rows[j], s.rows[i] })
		}
		if complete, doubt, got, l := s.looked(t, time.Time{}); !complete || len(got) != len(s.rows) {
			t.Errorf("%d of %d rows on %d pages: %s", len(got), len(s.rows), l.pages, doubt)
		}
	}
}

func TestALookWithoutAnOrderGoesOnWhereTheProviderKnowsNone(t *testing.T) {
	t.Parallel()
	s := &shelf{rows: records(150)}
	refused := 0
	l := &list{order: "date:asc", each: func([]clicksend.Record) error { return nil }}
	l.fetch = func(ctx context.Context, number, limit int, order string) (historyPage, error) {
		if order != "" {
			refused++
			return historyPage{}, &clicksend.Error{Kind: clicksend.BadRequest}
		}
		return s.page(ctx, number, limit, order)
	}
	complete, doubt, err := l.look(t.Context())
	if err != nil || !complete || refused != 1 || l.rows != 150 {
		t.Errorf("%v %s %v, %d refused, %d rows", complete, doubt, err, refused, l.rows)
	}
	broken := errors.New("broken")
	l.fetch = func(context.Context, int, int, string) (historyPage, error) { return historyPage{}, broken }
	if complete, _, err := l.look(t.Context()); complete || !errors.Is(err, broken) {
		t.Error(complete, err)
	}
}
