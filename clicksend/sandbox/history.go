package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// HistoryOrder is the order of a history's rows when a request names none. The
// documents promise none (shared/api/PROVIDER.md, Finding a message again).
type HistoryOrder string

// The orders.
const (
	NewestFirst   HistoryOrder = "newest"        // by acceptance; the default
	OldestFirst   HistoryOrder = "oldest"        // by acceptance
	ByID          HistoryOrder = "id"            // by message_id, as text
	Shuffled      HistoryOrder = "shuffled"      // a new order each time a page is read
	PagesShuffled HistoryOrder = "page_shuffled" // newest first, but the rows inside a page at random
)

// HistoryMode is how the histories behave where the documents leave it open.
type HistoryMode struct {
	Order         HistoryOrder // "" = NewestFirst
	IgnoreOrderBy bool         // order_by changes nothing
	NoReference   bool         // rows bear no custom_string (null)
	// DueDates dates a message that was held by the moment it was due, instead
	// of the moment it was accepted; date_from and date_to mean that date.
	DueDates bool
	Lag      time.Duration // how long after acceptance a message shows up
	Reach    time.Duration // how far back the history goes; 0 = to the beginning
}

type historyJSON struct {
	Order         HistoryOrder `json:"order"`
	IgnoreOrderBy bool         `json:"ignore_order_by"`
	NoReference   bool         `json:"no_reference"`
	DueDates      bool         `json:"due_dates"`
	Lag           duration     `json:"lag"`
	Reach         duration     `json:"reach"`
}

// MarshalJSON writes the mode with durations as texts such as "1m30s".
func (h HistoryMode) MarshalJSON() ([]byte, error) {
	return json.Marshal(historyJSON{h.Order, h.IgnoreOrderBy, h.NoReference, h.DueDates, duration(h.Lag), duration(h.Reach)})
}

// UnmarshalJSON reads what MarshalJSON wrote; unknown names and orders are
// errors.
func (h *HistoryMode) UnmarshalJSON(b []byte) error {
	var w historyJSON
	if err := strictJSON(b, &w); err != nil {
		return err
	}
	g := HistoryMode{w.Order, w.IgnoreOrderBy, w.NoReference, w.DueDates, time.Duration(w.Lag), time.Duration(w.Reach)}
	if err := g.validate(); err != nil {
		return err
	}
	*h = g
	return nil
}

func (h *HistoryMode) validate() error {
	switch h.Order {
	case "", NewestFirst, OldestFirst, ByID, Shuffled, PagesShuffled:
	default:
		return fmt.Errorf("history order %q is not known: use newest, oldest, id, shuffled or page_shuffled", h.Order)
	}
	if h.Lag < 0 || h.Reach < 0 {
		return fmt.Errorf("history: lag and reach must not be negative")
	}
	return nil
}

// date is what a row's date column shows, in Unix seconds.
func (h *HistoryMode) date(r *row) int64 {
	if h.DueDates {
		return r.leaves()
	}
	return r.at / 1000
}

// page is the paging of a list (shared/api/semantics.md, section 7).
type page struct {
	number, limit, total int
	self                 url.URL // of this request, for the links
}

// Limits of a page. What lies outside is moved to the nearest.
const (
	pageMin = 15
	pageMax = 100
)

// page reads page and limit.
func (q *call) page(query url.Values) page {
	p := page{number: 1, limit: pageMin, self: *q.r.URL}
	p.self.Scheme, p.self.Host = "http", q.r.Host
	if q.r.TLS != nil {
		p.self.Scheme = "https"
	}
	if n, err := strconv.Atoi(query.Get("page")); err == nil && n > 1 {
		p.number = min(n, 1<<31)
	}
	if n, err := strconv.Atoi(query.Get("limit")); err == nil {
		p.limit = min(max(n, pageMin), pageMax)
	}
	return p
}

// span returns the positions of the page's rows, from inclusive, to exclusive.
func (p *page) span() (from, to int) {
	from = min((p.number-1)*p.limit, p.total)
	return from, min(from+p.limit, p.total)
}

// appendPage writes the whole answer: the page's part of total rows, each
// appended by row.
func (p *page) appendPage(out []byte, message string, total int, row func(out []byte, i int) []byte) []byte {
	p.total = total
	from, to := p.span()
	out = append(p.appendHead(begin(out, message)), '[')
	for i := from; i < to; i++ {
		if i > from {
			out = append(out, ',')
		}
		out = row(out, i)
	}
	return append(out, ']', '}', '}')
}

// appendHead writes the page object up to its rows.
func (p *page) appendHead(out []byte) []byte {
	last := max((p.total+p.limit-1)/p.limit, 1)
	from, to := p.span()
	out = append(out, `{"total":`...)
	out = appendInt(out, int64(p.total))
	out = appendIntField(out, "per_page", int64(p.limit))
	out = appendIntField(out, "current_page", int64(p.number))
	out = appendIntField(out, "last_page", int64(last))
	next, prev := 0, 0
	if p.number < last {
		next = p.number + 1
	}
	if p.number > 1 {
		prev = min(p.number-1, last)
	}
	out = p.appendLink(out, "next_page_url", next)
	out = p.appendLink(out, "prev_page_url", prev)
	if from == to {
		return append(out, `,"from":null,"to":null,"data":`...)
	}
	out = appendIntField(out, "from", int64(from+1))
	out = appendIntField(out, "to", int64(to))
	return append(out, `,"data":`...)
}

func (p *page) appendLink(out []byte, name string, number int) []byte {
	if number == 0 {
		return appendNullable(out, name, nil)
	}
	v := p.self.Query()
	v.Set("page", strconv.Itoa(number))
	u := p.self
	u.RawQuery = v.Encode()
	return appendField(out, name, u.String())
}

// search is a parsed q, operator, order_by and date range.
type search struct {
	fields   []searchField
	any      bool // operator=OR
	from, to int64
	dated    bool
	by       string // order_by's column; "" = the mode's own order
	desc     bool
}

type searchField struct{ name, value string }

// searchable and sortable columns of the channels' histories. custom_string is
// none of them (shared/api/PROVIDER.md).
var (
	phoneSearch = []string{"status", "to", "from", "subaccount_id", "message_id", "status_code"}
	postSearch  = []string{"status", "address_name", "address_postal_code", "address_country", "subaccount_id", "message_id", "status_code"}
)

// search reads the query of a history request.
func (q *call) search(ch channel, query url.Values) (search, *apiError) {
	var s search
	columns := phoneSearch
	dateColumn := "date"
	if ch == letter || ch == postcard {
		columns, dateColumn = postSearch, "date_added"
	}
	if text := query.Get("q"); text != "" {
		for part := range strings.SplitSeq(text, ",") {
			name, value, ok := strings.Cut(part, ":")
			name = strings.ToLower(strings.TrimSpace(name))
			if !ok || !slices.Contains(columns, name) {
				return s, badRequest("q: cannot search by " + strconv.Quote(name) + "; use field:value with one of " + strings.Join(columns, ", ") + ".")
			}
			if strings.HasPrefix(value, " ") && (name == "to" || name == "from") {
				value = "+" + value[1:] // a plus sign that was not escaped in the URL
			}
			s.fields = append(s.fields, searchField{name, strings.TrimSpace(value)})
		}
	}
	switch op := query.Get("operator"); strings.ToUpper(op) {
	case "", "AND":
	case "OR":
		s.any = true
	default:
		return s, badRequest("operator must be AND or OR.")
	}
	if text := query.Get("order_by"); text != "" && !q.s.historyMode().IgnoreOrderBy {
		name, dir, _ := strings.Cut(strings.ToLower(text), ":")
		if name != dateColumn && name != "schedule" && !slices.Contains(columns, name) {
			return s, badRequest("order_by: cannot sort by " + strconv.Quote(name) + ".")
		}
		switch dir {
		case "", "asc":
		case "desc":
			s.desc = true
		default:
			return s, badRequest("order_by: the direction must be asc or desc.")
		}
		if s.by = name; name == dateColumn {
			s.by = "date"
		}
	}
	s.to = 1 << 62
	if ch == sms || ch == mms { // the documents name no dates for post
		for name, into := range map[string]*int64{"date_from": &s.from, "date_to": &s.to} {
			if text := query.Get(name); text != "" {
				n, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					return s, badRequest(name + " must be a Unix timestamp.")
				}
				*into, s.dated = n, true
			}
		}
	}
	return s, nil
}

func (s *Server) historyMode() HistoryMode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.history
}

// historyCache keeps the matching rows of the last searches, so that reading a
// long history page by page sorts it once.
type historyCache map[channel]*historyView

type historyView struct {
	key  string
	seqs []uint64
}

// pick finds the rows of one page. s.mu must be held.
func (q *call) pick(ch channel, find *search, p *page) []uint64 {
	st, mode, now := &q.a.stores[ch], &q.s.history, q.now
	lo, hi := st.first, st.acceptedUpTo(now.Add(-mode.Lag).UnixMilli())
	if mode.Reach > 0 {
		lo = max(lo, st.acceptedUpTo(now.Add(-mode.Reach).UnixMilli()))
	}
	hi = max(hi, lo)
	order := mode.Order
	desc := order != OldestFirst
	plain := order != ByID
	if find.by != "" {
		order, desc = "", find.desc
		plain = find.by == "date" && !(mode.DueDates && st.anyHeld)
	}
	if find.dated && !(mode.DueDates && st.anyHeld) {
		// Acceptance goes up with the sequence number.
		lo = max(lo, st.acceptedUpTo(find.from*1000-1))
		if find.to < 1<<50 {
			hi = min(hi, st.acceptedUpTo(find.to*1000+999))
		}
		hi = max(hi, lo)
	} else if find.dated {
		plain = false
	}
	for _, f := range find.fields {
		if f.name == "message_id" && !find.any { // the id tells where the row is
			h, l, ok := parseUUID(f.value)
			space, seq, known := q.s.ids.seq(h, l)
			if ok && known && space == ch && seq >= lo && seq < hi {
				lo, hi = seq, seq+1
			} else {
				hi = lo
			}
		}
	}
	var seqs []uint64
	if !plain || len(find.fields) > 0 {
		seqs = q.view(ch, find, order, desc, lo, hi)
		p.total = len(seqs)
	} else {
		p.total = int(hi - lo)
	}
	at := func(i int) uint64 {
		switch {
		case seqs != nil:
			return seqs[i]
		case desc:
			return hi - 1 - uint64(i)
		default:
			return lo + uint64(i)
		}
	}
	from, to := p.span()
	rows := make([]uint64, 0, to-from)
	if order == Shuffled && to > from {
		perm := newPermutation(uint64(p.total), q.s.rng.Uint64())
		for i := from; i < to; i++ {
			rows = append(rows, at(int(perm.at(uint64(i)))))
		}
		return rows
	}
	for i := from; i < to; i++ {
		rows = append(rows, at(i))
	}
	if order == PagesShuffled {
		q.s.rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
	return rows
}

// view returns the matching rows between two sequence numbers, sorted.
func (q *call) view(ch channel, find *search, order HistoryOrder, desc bool, lo, hi uint64) []uint64 {
	st, mode, now := &q.a.stores[ch], &q.s.history, q.now.Unix()
	key := fmt.Sprint(find, order, desc, lo, hi, st.version, mode.DueDates)
	if len(find.fields) > 0 || find.by == "status" { // a status changes with time
		key += fmt.Sprint(" ", now)
	}
	if v := q.a.views[ch]; v != nil && v.key == key {
		return v.seqs
	}
	seqs := []uint64{}
	var m message
	for seq := lo; seq < hi; seq++ {
		r := st.row(seq)
		if d := mode.date(r); d < find.from || d > find.to {
			continue
		}
		if len(find.fields) > 0 {
			st.read(seq, &m)
			if !q.matches(ch, find, &m, now) {
				continue
			}
		}
		seqs = append(seqs, seq)
	}
	switch {
	case find.by == "" && order == ByID:
		q.sortByID(ch, seqs)
	case find.by == "" || find.by == "date" && !mode.DueDates:
		if desc {
			slices.Reverse(seqs)
		}
	default:
		q.sortBy(ch, find.by, desc, seqs)
	}
	q.a.views[ch] = &historyView{key, seqs}
	return seqs
}

func (q *call) sortByID(ch channel, seqs []uint64) {
	type key struct{ hi, lo, seq uint64 }
	keys := make([]key, len(seqs))
	for i, seq := range seqs {
		keys[i].hi, keys[i].lo = q.s.ids.id(ch, seq)
		keys[i].seq = seq
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo)) })
	for i := range keys {
		seqs[i] = keys[i].seq
	}
}

// sortBy sorts by a column; equal rows keep the order of acceptance.
func (q *call) sortBy(ch channel, by string, desc bool, seqs []uint64) {
	st := &q.a.stores[ch]
	if by == "date" || by == "schedule" {
		sort.SliceStable(seqs, func(i, j int) bool {
			a, b := st.row(seqs[i]), st.row(seqs[j])
			x, y := q.s.history.date(a), q.s.history.date(b)
			if by == "schedule" {
				x, y = a.leaves(), b.leaves()
			}
			return x < y && !desc || x > y && desc
		})
		return
	}
	now := q.now.Unix()
	keys := make(map[uint64]string, len(seqs))
	var m message
	for _, seq := range seqs {
		st.read(seq, &m)
		keys[seq] = string(q.column(ch, by, &m, now))
	}
	sort.SliceStable(seqs, func(i, j int) bool {
		c := strings.Compare(keys[seqs[i]], keys[seqs[j]])
		return c < 0 && !desc || c > 0 && desc
	})
}

// matches reports whether a row answers to q; case does not matter.
func (q *call) matches(ch channel, find *search, m *message, now int64) bool {
	for _, f := range find.fields {
		hit := bytes.EqualFold(q.column(ch, f.name, m, now), []byte(f.value))
		if hit && find.any {
			return true
		}
		if !hit && !find.any {
			return false
		}
	}
	return !find.any
}

// column returns a searchable column as text.
func (q *call) column(ch channel, name string, m *message, now int64) []byte {
	switch name {
	case "status":
		return []byte(m.state(ch, now))
	case "to", "address_name":
		return m.field[textTo]
	case "from":
		return m.field[textFrom]
	case "address_postal_code":
		return m.field[textPostcode]
	case "address_country":
		return m.field[textCountry]
	case "subaccount_id":
		return strconv.AppendInt(nil, q.a.id, 10)
	case "message_id":
		hi, lo := q.s.ids.id(ch, m.seq)
		return appendUUID(nil, hi, lo)
	}
	return nil // status_code: the sandbox sets none
}

// listHistory answers a history request; one writes a row.
func (q *call) listHistory(ch channel, msg string, out []byte, one func(out []byte, m *message, mode *HistoryMode) []byte) ([]byte, *apiError) {
	query, err := url.ParseQuery(q.r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query string cannot be read.")
	}
	find, fail := q.search(ch, query)
	if fail != nil {
		return nil, fail
	}
	p := q.page(query)
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	rows := q.pick(ch, &find, &p)
	out = p.appendHead(begin(out, msg))
	st := &q.a.stores[ch]
	var m message
	out = q.appendRows(out, len(rows), func(out []byte, i int) []byte {
		st.read(rows[i], &m)
		return one(out, &m, &q.s.history)
	})
	return append(out, '}', '}'), nil
}

// phoneHistory answers GET /sms/history and GET /mms/history.
func (q *call) phoneHistory(ch channel, out []byte) ([]byte, *apiError) {
	now := q.now.Unix()
	return q.listHistory(ch, "Here are your data.", out, func(out []byte, m *message, mode *HistoryMode) []byte {
		out = append(out, `{"direction":"out","date":"`...)
		out = append(appendInt(out, mode.date(&m.row)), '"')
		out = appendField(out, "to", m.field[textTo])
		out = appendField(out, "body", m.field[textBody])
		out = appendField(out, "status", m.state(ch, now))
		out = appendField(out, "from", m.field[textFrom])
		out = append(out, `,"schedule":"`...)
		out = append(appendInt(out, m.leaves()), '"')
		out = append(out, `,"status_code":null,"status_text":null`...)
		if m.flags&flagRefused != 0 {
			out = appendField(out, "error_code", m.status.String())
			out = appendField(out, "error_text", m.status.String())
		} else {
			out = append(out, `,"error_code":null,"error_text":null`...)
		}
		hi, lo := q.s.ids.id(ch, m.seq)
		out = appendID(out, hi, lo, true)
		out = append(out, `,"message_parts":"`...)
		out = appendInt(out, int64(m.parts))
		out = append(out, `.00","message_price":"`...)
		out = append(m.price.appendDecimals(out, 6), '"')
		if ch == sms {
			out = appendNullable(out, "from_email", m.field[textExtra])
		} else {
			out = append(out, `,"from_email":null`...)
		}
		out = append(out, `,"list_id":null`...)
		out = q.appendReference(out, m, mode)
		out = append(out, `,"contact_id":0`...)
		out = appendIntField(out, "user_id", q.a.id)
		out = appendIntField(out, "subaccount_id", q.a.id)
		out = appendField(out, "country", countryCode(int(m.country)))
		out = append(out, `,"carrier":"","first_name":"","last_name":""`...)
		out = appendField(out, "_api_username", q.a.username)
		return append(out, '}')
	})
}

// appendReference writes a history row's custom_string.
func (q *call) appendReference(out []byte, m *message, mode *HistoryMode) []byte {
	if mode.NoReference || q.drawn.has[faultNoReference] {
		return append(out, `,"custom_string":null`...)
	}
	return appendField(out, "custom_string", m.field[textCustom])
}

// permutation is a random order of 0 to n-1 that takes no memory: a Feistel
// network over the next power of four, walked until it falls inside.
type permutation struct {
	n, key uint64
	half   uint // bits of one half
}

func newPermutation(n, key uint64) permutation {
	p := permutation{n: n, key: key, half: 1}
	for uint64(1)<<(2*p.half) < n {
		p.half++
	}
	return p
}

func (p permutation) at(i uint64) uint64 {
	mask := uint64(1)<<p.half - 1
	for {
		l, r := i>>p.half, i&mask
		for round := range uint64(4) {
			l, r = r, l^mix64(r+p.key+round<<56)&mask
		}
		if i = l<<p.half | r; i < p.n {
			return i
		}
	}
}
