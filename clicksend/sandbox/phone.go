package sandbox

import (
	"bytes"
	"hash/maphash"
	"strconv"
)

// phoneMsg is one SMS or MMS of a request, and what became of it.
type phoneMsg struct {
	to, from, body, custom, subject, fromEmail, country, listID []byte
	schedule                                                    schedule

	parts   int
	price   money
	due     int64 // Unix seconds; 0 = at once
	in      int   // index of the number's country, or noCountry
	status  status
	free    bool
	hi, lo  uint64 // message id
	hasID   bool
	charged money // price if accepted, else 0
}

// testNumbers are accepted for free and reach nobody. The two that the source
// may have printed one digit short stand in both forms
// (shared/api/semantics.md, section 5).
var testNumbers = map[string]bool{
	"+61411111111": true, "+61422222222": true, "+61433333333": true, "+61444444444": true,
	"+14055555555": true, "+14055555666": true,
	"+44777777777": true, "+447777777777": true, "+861555555555": true, "+8615555555555": true,
}

// schedule is a moment as a request gives it: a number, a text, empty or null.
type schedule struct {
	text []byte
	kind byte
}

func (c *cursor) schedule(into *schedule) (ok bool) {
	into.text, into.kind, ok = c.scalar()
	return ok
}

// latestSchedule is the year 2100: what lies beyond is a time in milliseconds.
const latestSchedule = 4_102_444_800

// unix returns the moment in Unix seconds; "", 0 and null are 0, which is now.
// ok is false when it is no timestamp.
func (s schedule) unix() (sec int64, ok bool) {
	t := bytes.TrimSpace(s.text)
	if len(t) == 0 {
		return 0, true
	}
	if s.kind == 't' || s.kind == 'f' {
		return 0, false
	}
	sec, err := strconv.ParseInt(string(t), 10, 64)
	return sec, err == nil && sec >= 0 && sec <= latestSchedule
}

// readPhone reads the body of an SMS or MMS request.
func (q *call) readPhone() (msgs []phoneMsg, media []byte, fail *apiError) {
	msgs = q.buf.phone[:0]
	found := false
	fail = q.enter(func(c *cursor, name []byte) bool {
		switch string(name) {
		case "messages":
			found = true
			return c.array(func() bool {
				msgs = append(msgs, phoneMsg{})
				m := &msgs[len(msgs)-1]
				return c.object(func(name []byte) bool { return m.member(c, name) })
			})
		case "media_file":
			return c.text(&media)
		}
		return c.skip()
	})
	q.buf.phone = msgs
	switch {
	case fail != nil:
		return nil, nil, fail
	case !found || len(msgs) == 0:
		return nil, nil, badRequest("The messages are missing: give them in an array named messages.")
	}
	q.s.mu.Lock()
	q.s.count.batch(q.route.name, len(msgs))
	q.s.mu.Unlock()
	if len(msgs) > MaxBatch {
		return nil, nil, tooManyRecipients()
	}
	return msgs, media, nil
}

func (m *phoneMsg) member(c *cursor, name []byte) bool {
	switch string(name) {
	case "to":
		return c.text(&m.to)
	case "body":
		return c.text(&m.body)
	case "from":
		return c.text(&m.from)
	case "custom_string":
		return c.text(&m.custom)
	case "schedule":
		return c.schedule(&m.schedule)
	case "country":
		return c.text(&m.country)
	case "subject":
		return c.text(&m.subject)
	case "from_email":
		return c.text(&m.fromEmail)
	case "list_id":
		return c.text(&m.listID)
	}
	return c.skip()
}

// checkPhone formats the recipients and judges what does not depend on the
// account's money or on what was sent before.
func (q *call) checkPhone(msgs []phoneMsg) {
	q.s.mu.Lock()
	enabled := q.a.enabled
	q.s.mu.Unlock()
	numbers := make([]byte, 0, 16*len(msgs))
	byDefault := countryIndex([]byte(home))
	for i := range msgs {
		m := &msgs[i]
		m.in = noCountry
		var okSchedule bool
		m.due, okSchedule = m.schedule.unix()
		if len(m.listID) > 0 && string(m.listID) != "0" && len(m.to) == 0 {
			m.status = statusNoPermissionToList // the sandbox has no lists
			continue
		}
		at := byDefault
		if len(m.country) > 0 {
			at = countryIndex(m.country)
		}
		start := len(numbers)
		var ok bool
		numbers, m.in, ok = q.s.dial.e164(numbers, m.to, at)
		m.to = numbers[start:len(numbers):len(numbers)]
		m.free = testNumbers[string(m.to)]
		switch {
		case m.in == noCountry, !ok && !m.free:
			m.status = statusInvalidRecipient
		case !enabled.has(m.in) && !m.free:
			m.status = statusCountryNotEnabled
		case !validSender(m.from):
			m.status = statusInvalidSenderID
		case len(bytes.TrimSpace(m.body)) == 0:
			m.status = statusEmptyMessage
		case !okSchedule:
			m.status = statusInvalidSchedule
		}
	}
}

// validSender holds to the documents: at most 11 characters when alphanumeric,
// no spaces. A number may have up to 15 digits.
func validSender(from []byte) bool {
	digits := bytes.TrimPrefix(from, []byte("+"))
	number := true
	for _, c := range digits {
		if c <= ' ' {
			return false
		}
		number = number && c >= '0' && c <= '9'
	}
	if number {
		return len(digits) <= 15
	}
	return len(from) <= 11
}

// refusedByChance decides by Options.RefuseRate, from the seed and the
// destination alone.
func (s *Server) refusedByChance(ch channel, destination ...[]byte) status {
	if s.opts.RefuseRate == 0 {
		return statusSuccess
	}
	h := mix64(s.opts.Seed) ^ uint64(ch)
	for _, d := range destination {
		for _, c := range d {
			h = (h ^ uint64(c)) * 0x100000001B3
		}
		h = (h ^ 0xFF) * 0x100000001B3
	}
	h = mix64(h)
	switch {
	case float64(h>>11)/(1<<53) >= s.opts.RefuseRate:
		return statusSuccess
	case ch == sms || ch == mms:
		return [...]status{statusInvalidRecipient, statusCountryNotEnabled}[h&1]
	default:
		return statusInvalidRecipient
	}
}

// acceptPhone decides over every message of a send in order, charges the
// account and keeps what it accepts.
func (q *call) acceptPhone(ch channel, msgs []phoneMsg, media []byte) (total money, queued int) {
	s, a := q.s, q.a
	for i := range msgs {
		if m := &msgs[i]; m.status == statusSuccess && !m.free {
			m.status = s.refusedByChance(ch, m.to)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range msgs {
		m := &msgs[i]
		m.price = q.drawn.charge(m.price)
		var same uint64
		if m.status == statusSuccess && !m.free {
			same = maphash.Bytes(a.hash[0], m.to) ^ maphash.Bytes(a.hash[1], m.body)
			switch {
			case a.recent.repeat(same, q.now):
				m.status = statusThrottled
			case a.balance < m.price:
				m.status = statusInsufficientCredit
			}
		}
		r := row{at: q.now.UnixMilli(), due: uint32(m.due), parts: uint16(m.parts), country: int16(m.in), status: m.status}
		fields := [textCount][]byte{
			textTo: m.to, textCustom: m.custom, textFrom: m.from, textBody: m.body, textExtra: m.fromEmail, textFile: media,
		}
		if ch == mms {
			fields[textExtra] = m.subject
		}
		if s.opts.DropBodies {
			fields[textBody] = nil
		}
		if m.status != statusSuccess {
			m.hi, m.lo, m.hasID = s.refuse(q, ch, r, &fields)
			continue
		}
		if !m.free {
			r.price = m.price
			if !q.drawn.has[faultDropped] {
				a.recent.note(same, q.now)
			}
		}
		m.charged = r.price
		total += r.price
		queued++
		m.hi, m.lo = s.accept(q, ch, r, &fields, m.free, m.to)
		m.hasID = true
	}
	return total, queued
}

// accept charges and keeps one message and counts it; destination says who
// gets it. s.mu must be held.
func (s *Server) accept(q *call, ch channel, r row, fields *[textCount][]byte, free bool, destination ...[]byte) (hi, lo uint64) {
	n := &s.count.channels[ch]
	if q.drawn.has[faultDropped] {
		n.dropped++
		return s.ghostID()
	}
	n.accepted++
	if free {
		n.free++
		r.flags |= flagFree
	} else {
		key := q.a.destinationKey(destination)
		if _, again := q.a.seen[ch][key]; again {
			n.again++
		} else {
			q.a.seen[ch][key] = struct{}{}
		}
	}
	n.charged += r.price
	q.a.balance -= r.price
	return s.ids.id(ch, q.a.stores[ch].add(r, fields))
}

// refuse counts a refused message, keeps it when refusals show in the history,
// and gives it an id when refused rows bear one. s.mu must be held.
func (s *Server) refuse(q *call, ch channel, r row, fields *[textCount][]byte) (hi, lo uint64, has bool) {
	s.count.channels[ch].refused[r.status]++
	if s.opts.RefusedInHistory && !q.drawn.has[faultDropped] {
		r.flags |= flagRefused
		hi, lo = s.ids.id(ch, q.a.stores[ch].add(r, fields))
	} else if s.opts.RefusedWithID {
		hi, lo = s.ghostID()
	}
	return hi, lo, s.opts.RefusedWithID
}

// ghostID makes an id that names no kept message. s.mu must be held.
func (s *Server) ghostID() (hi, lo uint64) {
	s.ghost++
	return s.ids.id(ghosts, s.ghost)
}

// destinationKey folds a destination into 16 bytes.
func (a *account) destinationKey(destination [][]byte) [2]uint64 {
	var key [2]uint64
	for i, seed := range a.hash {
		if len(destination) == 1 {
			key[i] = maphash.Bytes(seed, destination[0])
			continue
		}
		var h maphash.Hash
		h.SetSeed(seed)
		for _, d := range destination {
			// A hash never fails to write.
			_, _ = h.Write(d)
			_ = h.WriteByte(0)
		}
		key[i] = h.Sum64()
	}
	return key
}

// appendID writes ,"message_id":"..." or null.
func appendID(out []byte, hi, lo uint64, has bool) []byte {
	if !has {
		return append(out, `,"message_id":null`...)
	}
	out = append(out, `,"message_id":"`...)
	out = appendUUID(out, hi, lo)
	return append(out, '"')
}

// appendTotals writes the head of a send or price answer's data.
func appendTotals(out []byte, total money, count int, queued int) []byte {
	out = append(out, `{"total_price":`...)
	out = total.appendNumber(out)
	out = appendIntField(out, "total_count", int64(count))
	return appendIntField(out, "queued_count", int64(queued))
}

// appendRows writes n rows as a JSON array, in the order and with the gaps
// that a fault may ask for.
func (q *call) appendRows(out []byte, n int, one func(out []byte, i int) []byte) []byte {
	out = append(out, '[')
	order := q.drawn.rows(n)
	if order != nil {
		n = len(order)
	}
	for k := range n {
		i := k
		if order != nil {
			i = order[k]
		}
		if k > 0 {
			out = append(out, ',')
		}
		out = one(out, i)
	}
	return append(out, ']')
}

// reference is the custom_string that an answer shows.
func (q *call) reference(custom []byte) []byte {
	if q.drawn.has[faultNoReference] {
		return nil
	}
	return custom
}

// countryCode is the ISO code of a country's index, or "".
func countryCode(i int) string {
	if i == noCountry {
		return ""
	}
	return countries[i].code
}
