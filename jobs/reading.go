package jobs

import (
	"context"
	"hash/maphash"
	"slices"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
)

// This file reads a list of the provider page by page, and says whether nothing
// that stood in it was missed. Pages are cut from the list as it is when they
// are asked for, and the list moves meanwhile: rows come, rows go, and the
// order of rows is not documented, not even that it is the same twice
// (shared/api/PROVIDER.md, Finding a message again). Believing a row absent that
// was only missed sends a message twice, so it takes proof.
//
// Each page is asked for so that it overlaps the one before. Two pages are
// linked when they share a row. Say that rows keep their order among
// themselves. Whatever stands before the shared row in the later page's list
// stood before it in the earlier one's, and thus on that page or before it: no
// row slips through between two linked pages, however many came or went in
// front of them. If all are linked and the last ends the list, all was read.
//
// Say instead that rows change their order as they please, but none goes, or
// none comes. As many different rows as the list ever had are then all of them.
//
// A reading proves by itself when it passes both tests, so that it is right in
// either case: all pages linked, a row not met before at each position read for
// the first time, and as many of them as the greatest total that any page named. Where that fails because the
// totals lie, or pages cannot be made to overlap, two readings may agree: each
// met no row twice, and both met the same. Had the first missed a row because
// another, read before, went away and moved it to a page read already, then the
// second could not have met that other row.
//
// What neither test sees: a list whose rows change their order while at the same
// time one row goes and another comes between two pages.

// notSaid is the total of a page that names none.
const notSaid = -1

// historyPage is one page as it came.
type historyPage struct {
	rows  []clicksend.Record
	total int  // rows of the whole list, as the page says it
	more  bool // whether the page says that another follows
}

const (
	// maxReadings is how often a list is read until it proves something.
	maxReadings = 3
	// maxRestless is the same for a list whose order changes all the time,
	// where every reading is a draw: to meet all of n rows takes about ln(n)
	// readings.
	maxRestless = 30
	// pagesAhead is how many pages are asked for at once, so that the provider
	// works on one while another is on its way and one is read.
	pagesAhead = 3
	// maxStale is how many full pages may follow each other that bring nothing
	// new: a provider that gives the same page for ever must not keep us so.
	maxStale = 3
)

// list is one list of rows at the provider.
type list struct {
	fetch func(ctx context.Context, number, limit int, order string) (historyPage, error)
	each  func(page []clicksend.Record) error
	order string // asked for
	ahead int    // pages asked for at once, at least 1
	// since, when not zero, lets a reading end before the list does: once the
	// rows, seen to be in descending order of date, are older.
	since time.Time

	// What was learnt of the list.
	size     int      // rows of a page, if the provider does not heed the limit; else 0
	first    []string // ids of the first page, as the last reading met them
	total    int      // that every page of the last reading named, or notSaid
	restless bool     // rows were seen to change their order

	rows, pages int
}

// look reads the list until it proves something, or often enough.
func (l *list) look(ctx context.Context) (complete bool, doubt string, err error) {
	var before *reading
	for n := 1; ; n++ {
		r := newReading(l.order != "" && !l.since.IsZero())
		if l.restless {
			// One reading will not do: add up what they meet.
			r.seen, r.nameless, r.least, r.most = before.seen, before.nameless, before.least, before.most
		}
		if err := l.read(ctx, r); err != nil {
			return false, "", err
		}
		l.rows = r.seen.Len() + r.nameless
		l.total = notSaid
		if r.least == r.most {
			l.total = r.most
		}
		if l.restless && r.countedAll() || r.proves() || before != nil && r.agrees(before) {
			return true, "", nil
		}
		if n >= maxReadings && !l.restless || n >= maxRestless {
			return false, r.doubt(), nil
		}
		before = r
	}
}

// reading is what one reading of a list has met.
type reading struct {
	seen     *campaign.Seen // ids of the rows met
	sum      uint64         // of their hashes: two readings with the same sum and count met the same
	nameless int            // rows without an id
	covered  int            // positions read, from the beginning of the list
	exact    bool           // a position held a row not met before if, and only if, it was read for the first time
	least    int            // least and greatest total named
	most     int
	pages    int
	linked   bool     // every page shares a row with the one before
	last     []string // ids of the page before
	stale    int      // pages in a row that brought nothing new

	// Of the order of dates, while it may be believed.
	inOrder   bool  // no row stands before a later one, none lacks its date
	descended bool  // one row stands before an earlier one: not all are of one date
	date      int64 // of the last new row
	stopped   bool  // ended for the date, not with the list
}

func newReading(inOrder bool) *reading {
	return &reading{seen: campaign.NewSeen(), exact: true, linked: true, inOrder: inOrder}
}

// read reads the list from its beginning once.
func (l *list) read(ctx context.Context, r *reading) error {
	ctx, cancel := context.WithCancel(ctx)
	var asked []chan pageAnswer
	defer func() {
		cancel()
		for _, c := range asked {
			<-c
		}
	}()
	next := stretch{number: 1, size: clicksend.MaxPageLimit}
	known := 0 // rows of the list, as far as we know
	for {
		ahead := max(l.ahead, 1)
		if r.inOrder {
			ahead = 1 // whether another is needed this one will tell
		}
		for len(asked) == 0 || len(asked) < ahead && next.from() < known {
			asked = append(asked, l.ask(ctx, next))
			next = next.next(l.size)
		}
		got := <-asked[0]
		asked = asked[1:]
		if clicksend.KindOf(got.err) == clicksend.BadRequest && l.order != "" && r.pages == 0 {
			// That a list can be ordered is documented only in general.
			l.order, r.inOrder = "", false
			next = got.at
			continue
		}
		if got.err != nil {
			return got.err
		}
		if r.pages == 0 && got.page.more && len(got.page.rows) > 0 && len(got.page.rows) < got.at.size {
			l.size = len(got.page.rows)
			got.at.size = l.size
			next = got.at.next(l.size)
		}
		known = max(known, got.page.total)
		if r.pages == 0 {
			l.compareFirst(got.page)
		}
		ended := r.add(got.at, got.page, l.since)
		sent := slices.DeleteFunc(got.page.rows, func(row clicksend.Record) bool { return row.Fate() == clicksend.FateIncoming })
		if len(sent) > 0 {
			if err := l.each(sent); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}

// pageAnswer is a page that was asked for.
type pageAnswer struct {
	at   stretch
	page historyPage
	err  error
}

func (l *list) ask(ctx context.Context, at stretch) chan pageAnswer {
	l.pages++
	order := l.order
	answer := make(chan pageAnswer, 1)
	go func() {
		limit := at.size
		if l.size > 0 {
			limit = clicksend.MaxPageLimit
		}
		page, err := l.fetch(ctx, at.number, limit, order)
		answer <- pageAnswer{at, page, err}
	}()
	return answer
}

// compareFirst compares the first page with that of the reading before. Rows
// that keep their order have it on both, whatever came or went between them; and
// most of the page is the same while nothing comes or goes.
func (l *list) compareFirst(p historyPage) {
	ids := idsOf(p.rows)
	at := map[string]int{}
	for i, id := range l.first {
		at[id] = i
	}
	last, shared := -1, 0
	for _, id := range ids {
		if i, there := at[id]; there {
			l.restless = l.restless || i < last
			last = i
			shared++
		}
	}
	if len(l.first) > 0 && p.total != notSaid && p.total == l.total && shared < len(ids)/2 {
		l.restless = true
	}
	l.first = ids
}

func idsOf(rows []clicksend.Record) []string {
	ids := make([]string, 0, len(rows))
	for i := range rows {
		if id := rows[i].MessageID; id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// stretch is a stretch of positions in the list: a page of that size.
type stretch struct{ number, size int }

func (s stretch) from() int { return (s.number - 1) * s.size }
func (s stretch) to() int   { return s.number * s.size }

// next is the page that follows and overlaps this one by at least a row. Pages
// begin at multiples of their size, so it is the size, out of those that the
// provider gives, whose page reaches farthest. That costs about a tenth more
// pages than without the overlap. A fixed size leaves no choice: then pages only
// follow each other.
func (s stretch) next(fixed int) stretch {
	if fixed > 0 {
		return stretch{s.number + 1, fixed}
	}
	var best stretch
	for size := clicksend.MaxPageLimit; size >= clicksend.MaxPageLimit/2; size-- {
		if t := (stretch{(s.to()-1)/size + 1, size}); t.to() > best.to() {
			best = t
		}
	}
	return best
}

// idSeed keys the sum of a reading's ids, for the time of this process.
var idSeed = maphash.MakeSeed()

// add takes in a page, and reports whether the reading ends with it.
func (r *reading) add(at stretch, p historyPage, since time.Time) (ended bool) {
	if r.pages == 0 && r.seen.Len() == 0 {
		r.least, r.most = p.total, p.total
	}
	r.least, r.most = min(r.least, p.total), max(r.most, p.total)
	if r.pages++; r.pages > 1 {
		r.linked = r.linked && share(r.last, p.rows)
	}
	before := r.covered
	if len(p.rows) > 0 {
		r.last = idsOf(p.rows)
		r.covered = max(r.covered, at.from()+len(p.rows))
		r.exact = r.exact && at.from() <= before
	}
	isNew, old := 0, true
	for i := range p.rows {
		row := &p.rows[i]
		if row.MessageID == "" {
			r.nameless++
			continue
		}
		fresh := r.seen.Add(row.MessageID)
		r.exact = r.exact && fresh == (at.from()+i >= before)
		if !fresh {
			continue
		}
		isNew++
		r.sum += maphash.String(idSeed, row.MessageID)
		old = old && row.Date < since.Unix()
		if row.Date <= 0 || r.date > 0 && row.Date > r.date {
			r.inOrder = false
		}
		r.descended = r.descended || row.Date < r.date
		r.date = row.Date
	}
	if r.stale++; isNew > 0 {
		r.stale = 0
	}
	// A whole page of rows that are too old stands between the windows and
	// whatever is farther behind, and it took rows of more than one date to see
	// an order at all. Where pages cannot be linked only the end proves anything.
	if r.inOrder && r.descended && old && isNew > 0 && r.linked {
		r.stopped = true
		return true
	}
	// A full page is never believed to be the last one, whatever it says.
	short := len(p.rows) < at.size
	return len(p.rows) == 0 || short && !p.more || r.stale >= maxStale && at.to() >= p.total
}

// share reports whether one of the rows bears one of the ids.
func share(ids []string, rows []clicksend.Record) bool {
	for i := range rows { // mostly the first row is the last of the ids
		for j := len(ids) - 1; j >= 0; j-- {
			if ids[j] == rows[i].MessageID {
				return true
			}
		}
	}
	return false
}

// clean says that the rows met are as many as the positions read, one for each.
func (r *reading) clean() bool { return r.nameless == 0 && r.exact }

// proves says that nothing was missed; see the top of this file.
func (r *reading) proves() bool {
	if r.stopped {
		// The total cannot be reached. That what lies behind is older rests on
		// the order. Rows of one date may change places among themselves: if the
		// list kept its length, the positions of the windows' rows were read, and
		// each showed another row, those were all of them.
		return r.linked && r.clean() && r.least == r.most
	}
	return r.linked && r.clean() && r.covered == r.most
}

// agrees says that two readings met the same rows, each of them once. A list
// that shows no row and does not say that it has none is out of order, however
// often it does so: an answer without data must not send to everybody again.
func (r *reading) agrees(before *reading) bool {
	whole := func(r *reading) bool { return !r.stopped && r.clean() && r.seen.Len() > 0 }
	return whole(r) && whole(before) && r.seen.Len() == before.seen.Len() && r.sum == before.sum
}

// countedAll says that the readings of a restless list, together, met as many
// rows as every page of theirs says that there are.
func (r *reading) countedAll() bool {
	return r.nameless == 0 && r.least == r.most && r.seen.Len() == r.most
}

// doubt says why the reading proves nothing.
func (r *reading) doubt() string {
	switch {
	case r.nameless > 0:
		return "the provider's history has rows without a message id"
	case r.most == notSaid && r.seen.Len() == 0:
		return "the provider's history shows nothing, and does not say that there is nothing"
	case r.least != r.most:
		return "the provider's history changed while it was read"
	case !r.stopped && r.most != notSaid && r.seen.Len() != r.most:
		return "the provider's history says it has another number of rows than it shows"
	}
	return "the provider's history came in another order each time"
}
