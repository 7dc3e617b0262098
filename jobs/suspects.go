package jobs

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/ledger"
)

// suspects finds the attempt that a recipient and an attempt number belong to.
// It holds a few words for each attempt, beside the members themselves.
type suspects struct {
	byNumber map[int][]suspectRange
}

// suspectRange is where the members of an attempt lie. reach is the largest
// member of this one and of all before it.
type suspectRange struct {
	first, reach int64
	suspect      *ledger.Suspect
}

func newSuspects(all []*ledger.Suspect) *suspects {
	s := &suspects{byNumber: map[int][]suspectRange{}}
	last := map[*ledger.Suspect]int64{}
	for _, a := range all {
		r := suspectRange{first: 1<<63 - 1, suspect: a}
		for _, members := range [][]int64{a.Unresolved, a.Absent} {
			if len(members) > 0 {
				r.first = min(r.first, members[0])
				last[a] = max(last[a], members[len(members)-1])
			}
		}
		s.byNumber[a.Number] = append(s.byNumber[a.Number], r)
	}
	for _, ranges := range s.byNumber {
		slices.SortFunc(ranges, func(a, b suspectRange) int { return cmp.Compare(a.first, b.first) })
		reach := int64(0)
		for i := range ranges {
			reach = max(reach, last[ranges[i].suspect])
			ranges[i].reach = reach
		}
	}
	return s
}

// find returns nil when no suspect with the number has the recipient.
func (s *suspects) find(recipient int64, number int) *ledger.Suspect {
	ranges := s.byNumber[number]
	i, _ := slices.BinarySearchFunc(ranges, recipient, func(r suspectRange, id int64) int {
		if r.first <= id {
			return -1
		}
		return 1
	})
	for i--; i >= 0 && ranges[i].reach >= recipient; i-- {
		a := ranges[i].suspect
		for _, members := range [][]int64{a.Unresolved, a.Absent} {
			if _, found := slices.BinarySearch(members, recipient); found {
				return a
			}
		}
	}
	return nil
}

// byDestination matches rows that bear no reference with members by where they
// go: one to one, and only where nothing else is possible.
type byDestination struct {
	seed       maphash.Seed
	candidates map[uint64][]candidate
	rows       map[uint64][]unclaimed
	ids        map[string]bool // of the rows
	ambiguous  map[*ledger.Suspect][]int64
}

// candidate is a member that a row may speak of.
type candidate struct {
	suspect   *ledger.Suspect
	recipient int64
	content   *campaign.Content
	absent    bool // shown absent before
	rival     bool // of an attempt that this look is not about
}

// unclaimed is a row that may speak of a member, without where it went: its key
// says that.
type unclaimed struct {
	at  time.Time
	rec clicksend.Record
}

// fateOf keeps of a row what became of the message and how it was printed. The
// texts of a row are parts of its whole page, which would be kept with them.
func fateOf(rec *clicksend.Record) clicksend.Record {
	return clicksend.Record{
		MessageID: strings.Clone(rec.MessageID), Status: clicksend.HistoryStatus(strings.Clone(string(rec.Status))),
		StatusCode: strings.Clone(rec.StatusCode), ErrorCode: strings.Clone(rec.ErrorCode),
		Price: rec.Price, Parts: rec.Parts, Schedule: rec.Schedule, Date: rec.Date,
		ReturnAddressID: rec.ReturnAddressID, Colour: rec.Colour, Duplex: rec.Duplex, Unread: rec.Unread,
	}
}

// unreferenced takes in a row without a reference.
func (s *search) unreferenced(ctx context.Context, rec *clicksend.Record) error {
	if s.byPlace == nil {
		var err error
		if s.byPlace, err = s.places(ctx); err != nil {
			return err
		}
	}
	b := s.byPlace
	key := b.key(recordDestination(rec))
	if len(b.candidates[key]) == 0 || rec.MessageID == "" || b.ids[rec.MessageID] {
		return nil
	}
	b.ids[strings.Clone(rec.MessageID)] = true
	b.rows[key] = append(b.rows[key], unclaimed{at: time.Unix(rec.Date, 0), rec: fateOf(rec)})
	return nil
}

// places reads where the members of all suspects go.
func (s *search) places(ctx context.Context) (*byDestination, error) {
	b := &byDestination{
		seed: maphash.MakeSeed(), candidates: map[uint64][]candidate{}, rows: map[uint64][]unclaimed{},
		ids: map[string]bool{}, ambiguous: map[*ledger.Suspect][]int64{},
	}
	return b, s.candidates(ctx, b, s.look.Suspects, false)
}

// candidates adds the members of attempts.
func (s *search) candidates(ctx context.Context, b *byDestination, attempts []*ledger.Suspect, rivals bool) error {
	campaigns := map[int64]*ledger.Campaign{}
	for _, a := range attempts {
		c := campaigns[a.Campaign]
		if c == nil {
			var err error
			if c, err = s.r.Ledger.Campaign(ctx, a.Campaign); err != nil {
				return fmt.Errorf("%w: %w", errLedger, err)
			}
			campaigns[a.Campaign] = c
		}
		render, err := campaign.NewRenderer(&c.Content, c.Plan.Limits)
		if err != nil {
			return fmt.Errorf("rendering campaign %d: %w", c.ID, err)
		}
		recipients, err := s.r.Ledger.SuspectRecipients(ctx, a)
		if err != nil {
			return fmt.Errorf("%w: %w", errLedger, err)
		}
		for i := range recipients {
			m, err := render.Render(&recipients[i].Contact)
			if err != nil {
				return fmt.Errorf("rendering campaign %d: %w", c.ID, err)
			}
			to := destination(&m)
			if to == "" {
				continue
			}
			id := recipients[i].ID
			_, open := slices.BinarySearch(a.Unresolved, id)
			key := b.key(to)
			b.candidates[key] = append(b.candidates[key], candidate{suspect: a, recipient: id, content: &c.Content, absent: !open, rival: rivals})
		}
	}
	return nil
}

func (b *byDestination) key(destination string) uint64 { return maphash.String(b.seed, destination) }

// recordDestination is where a row of history says that its message went.
func recordDestination(rec *clicksend.Record) string {
	return rowDestination(&clicksend.Outcome{To: rec.To, Address: rec.Address})
}

// matchPlaces decides, after a look that saw every row, what the rows without a
// reference say. A row whose message id the ledger knows from an answer is that
// member's and nobody else's: the answer may have named it without saying what
// became of it. A row that may be of an attempt under way, which this look is
// not about, decides nothing: its answer will tell.
func (s *search) matchPlaces(ctx context.Context) error {
	b := s.byPlace
	if len(b.ids) > 0 {
		// First these, then the answers: an attempt that is answered meanwhile is
		// among the ones or the others.
		rivals, err := s.r.Ledger.Rivals(ctx, s.look)
		if err != nil {
			return fmt.Errorf("%w: %w", errLedger, err)
		}
		if err := s.candidates(ctx, b, rivals, true); err != nil {
			return err
		}
		known, err := s.r.Ledger.KnownMessages(ctx, s.look.LookDue, s.since(), b.ids)
		if err != nil {
			return fmt.Errorf("%w: %w", errLedger, err)
		}
		for key, rows := range b.rows {
			b.rows[key] = slices.DeleteFunc(rows, func(u unclaimed) bool {
				whose, ours := known[u.rec.MessageID]
				b.candidates[key] = slices.DeleteFunc(b.candidates[key], func(c candidate) bool {
					named := ours && c.suspect.Attempt == whose.Attempt && c.recipient == whose.Recipient
					if named {
						s.find(c.suspect, c.recipient, &u.rec)
					}
					return named
				})
				return ours
			})
		}
	}
	for key, rows := range b.rows {
		s.matchPlace(b.candidates[key], rows)
		if err := s.flush(ctx, flushAt); err != nil {
			return err
		}
	}
	for _, members := range b.ambiguous {
		slices.Sort(members)
	}
	return nil
}

// matchPlace decides for the candidates of one destination.
func (s *search) matchPlace(all []candidate, rows []unclaimed) {
	var open, late, rivals []candidate
	for _, c := range all {
		switch {
		case c.rival:
			rivals = append(rivals, c)
		case c.absent:
			late = append(late, c)
		default:
			open = append(open, c)
		}
	}
	whose, taken := pairUp(len(open), rows, func(i, j int) bool { return open[i].fits(&rows[j], s.reach) }, func(j int) (n int) {
		for _, c := range rivals {
			if c.fits(&rows[j], s.reach) {
				n++
			}
		}
		return n
	})
	for i, c := range open {
		switch j := whose[i]; j {
		case nobodys: // absent
		case unclear:
			s.byPlace.ambiguous[c.suspect] = append(s.byPlace.ambiguous[c.suspect], c.recipient)
		default:
			s.find(c.suspect, c.recipient, &rows[j].rec)
		}
	}
	// Rows that are nobody's who is being sought: of somebody shown absent?
	for j := range rows {
		if taken[j] {
			continue
		}
		var whose []candidate
		for _, c := range late {
			if c.fits(&rows[j], s.reach) {
				whose = append(whose, c)
			}
		}
		if len(whose) == 1 {
			s.find(whose[0].suspect, whose[0].recipient, &rows[j].rec)
		}
	}
}

// What pairUp says of who has no row.
const (
	nobodys = -1 // no row may be theirs
	unclear = -2 // one may be, and somebody else's as well; or several may be
)

// pairUp finds the row of each of n members of one destination. A row belongs to
// a member when it may be no other's; where as many rows as members fit each
// other in every way, it does not matter which is whose. Everything else is
// unclear. taken tells the rows that may be somebody's. rivals, when not nil, is
// how many others may have a row, who are not being sought.
func pairUp(n int, rows []unclaimed, may func(member, row int) bool, rivals func(row int) int) (whose []int, taken []bool) {
	taken = make([]bool, len(rows))
	whose = make([]int, n)
	fits := make([][]int, n)        // rows by member
	users := make([]int, len(rows)) // members and rivals by row
	for j := range rows {
		if rivals != nil {
			users[j] = rivals(j)
			taken[j] = users[j] > 0
		}
	}
	for i := range n {
		for j := range rows {
			if may(i, j) {
				fits[i] = append(fits[i], j)
				users[j]++
				taken[j] = true
			}
		}
	}
	if interchangeable(fits, users, rows) {
		order := slices.Clone(fits[0])
		slices.SortFunc(order, func(a, b int) int { return rows[a].at.Compare(rows[b].at) })
		copy(whose, order)
		return whose, taken
	}
	for i := range n {
		switch {
		case len(fits[i]) == 0:
			whose[i] = nobodys
		case len(fits[i]) == 1 && users[fits[i][0]] == 1:
			whose[i] = fits[i][0]
		default:
			whose[i] = unclear
		}
	}
	return whose, taken
}

// interchangeable reports whether there are as many rows as members, each of
// which fits each, and all rows say the same: then it is known what became of
// every member, though not which message was whose.
func interchangeable(fits [][]int, users []int, rows []unclaimed) bool {
	if len(fits) < 2 {
		return false
	}
	n := 0
	for j, u := range users {
		switch {
		case u == 0:
		case u != len(fits) || rows[j].rec.Fate() != rows[fits[0][0]].rec.Fate():
			return false
		default:
			n++
		}
	}
	return n == len(fits)
}

// fits reports whether the row may be of the candidate's message: it is dated
// when it may have left, or was to be let go, give or take reach, and was printed
// the same way.
func (c *candidate) fits(u *unclaimed, reach time.Duration) bool {
	a := c.suspect
	within := func(from, to time.Time) bool { return !u.at.Before(from.Add(-reach)) && !u.at.After(to.Add(reach)) }
	if u.rec.Date != 0 && !within(a.Started, a.Deadline) && (a.Held.IsZero() || !within(a.Held, a.Held)) {
		return false
	}
	return printedAlike(c.content, &u.rec)
}

// printedAlike reports whether a row may be of a message with the content, by
// the return address and by how it was printed.
func printedAlike(c *campaign.Content, rec *clicksend.Record) bool {
	if rec.ReturnAddressID != 0 && c.ReturnAddressID != 0 && rec.ReturnAddressID != c.ReturnAddressID {
		return false
	}
	return c.Channel != campaign.Letter || rec.Colour == c.Colour && rec.Duplex == c.Duplex
}
