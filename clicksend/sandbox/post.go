package sandbox

import (
	"bytes"
	"strconv"
)

// postMsg is one letter or postcard of a request, and what became of it.
type postMsg struct {
	name, line1, line2, city, state, postcode, country []byte
	returnID, custom                                   []byte
	hasLine2, hasState                                 bool
	schedule                                           schedule

	sender  *returnAddress // a copy
	price   money
	charged money
	due     int64
	status  status
	free    bool
	hi, lo  uint64
	hasID   bool
}

// testPostcodes make a letter free; nothing is printed (shared/api/semantics.md,
// section 5: letters only).
var testPostcodes = map[string]bool{"11111": true, "22222": true, "33333": true}

// postRequest is the body of a letter or postcard request.
type postRequest struct {
	files      [][]byte
	letter     letterOptions
	template   bool
	recipients []postMsg
}

// readPost reads the body of a letter or postcard request.
func (q *call) readPost() (p postRequest, fail *apiError) {
	p.recipients = q.buf.post[:0]
	flag := func(c *cursor, into *bool) bool {
		text, _, ok := c.scalar()
		*into = string(text) == "1" || string(text) == "true"
		return ok
	}
	file := func(c *cursor) bool {
		var url []byte
		ok := c.text(&url)
		p.files = append(p.files, url)
		return ok
	}
	fail = q.enter(func(c *cursor, name []byte) bool {
		switch string(name) {
		case "file_url":
			return file(c)
		case "file_urls":
			return c.array(func() bool { return file(c) })
		case "colour":
			return flag(c, &p.letter.colour)
		case "duplex":
			return flag(c, &p.letter.duplex)
		case "priority_post":
			return flag(c, &p.letter.priority)
		case "template_used":
			return flag(c, &p.template)
		case "recipients":
			return c.array(func() bool {
				p.recipients = append(p.recipients, postMsg{})
				m := &p.recipients[len(p.recipients)-1]
				return c.object(func(name []byte) bool { return m.member(c, name) })
			})
		}
		return c.skip()
	})
	q.buf.post = p.recipients
	switch {
	case fail != nil:
		return p, fail
	case len(p.recipients) == 0:
		return p, badRequest("The recipients are missing: give them in an array named recipients.")
	}
	q.s.mu.Lock()
	q.s.count.batch(q.route.name, len(p.recipients))
	q.s.mu.Unlock()
	if len(p.recipients) > MaxBatch {
		return p, tooManyRecipients()
	}
	return p, nil
}

func (m *postMsg) member(c *cursor, name []byte) bool {
	switch string(name) {
	case "address_name":
		return c.text(&m.name)
	case "address_line_1":
		return c.text(&m.line1)
	case "address_line_2":
		m.hasLine2 = true
		return c.text(&m.line2)
	case "address_city":
		return c.text(&m.city)
	case "address_state":
		m.hasState = true
		return c.text(&m.state)
	case "address_postal_code":
		return c.text(&m.postcode)
	case "address_country":
		return c.text(&m.country)
	case "return_address_id":
		return c.text(&m.returnID)
	case "custom_string":
		return c.text(&m.custom)
	case "schedule":
		return c.schedule(&m.schedule)
	}
	return c.skip()
}

// checkPost judges what does not depend on the account's money. Line 2 and
// state are required by the documents' table and empty in its examples: they
// must be transmitted, and may be empty. A return address that does not exist
// counts as missing.
func (q *call) checkPost(ch channel, p *postRequest) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	known := map[string]*returnAddress{}
	for i := range p.recipients {
		m := &p.recipients[i]
		var okSchedule bool
		m.due, okSchedule = m.schedule.unix()
		sender, seen := known[string(m.returnID)]
		if !seen {
			if r := q.a.address(string(m.returnID)); r != nil {
				copied := *r
				sender = &copied
			}
			known[string(m.returnID)] = sender
		}
		m.sender = sender
		switch {
		case !m.hasLine2, !m.hasState, sender == nil, blank(m.name), blank(m.line1), blank(m.city), blank(m.postcode), blank(m.country):
			m.status = statusMissingRequiredFields
		case countryIndex(m.country) == noCountry:
			m.status = statusInvalidRecipient
		case !okSchedule:
			m.status = statusInvalidSchedule
		}
		m.free = ch == letter && testPostcodes[string(m.postcode)]
		if m.status == statusSuccess && !m.free {
			if m.price = postcardPrice(m.country); ch == letter {
				m.price = letterPrice(p.letter, m.country)
			}
		}
	}
}

func blank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

// acceptPost decides over every recipient of a send in order, charges the
// account and keeps what it accepts.
func (q *call) acceptPost(ch channel, p *postRequest) (total money, queued int) {
	s, a := q.s, q.a
	file := bytes.Join(p.files, []byte{'\n'})
	var flags uint8
	for flag, set := range map[uint8]bool{flagColour: p.letter.colour, flagDuplex: p.letter.duplex, flagPriority: p.letter.priority} {
		if set {
			flags |= flag
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range p.recipients {
		m := &p.recipients[i]
		if m.status == statusSuccess && !m.free {
			m.status = s.refusedByChance(ch, m.name, m.line1, m.line2, m.city, m.state, m.postcode, m.country)
		}
		m.price = q.drawn.charge(m.price)
		if m.status == statusSuccess && a.balance < m.price {
			m.status = statusInsufficientCredit
		}
		r := row{
			at: q.now.UnixMilli(), due: uint32(m.due), parts: uint16(min(p.letter.pages, 1<<16-1)), country: noCountry,
			flags: flags, status: m.status,
		}
		fields := [textCount][]byte{
			textTo: m.name, textCustom: m.custom, textFrom: m.line1, textBody: m.line2, textExtra: m.city, textFile: file,
			textState: m.state, textPostcode: m.postcode, textCountry: m.country,
		}
		if m.sender != nil {
			fields[textReturn] = strconv.AppendInt(nil, m.sender.id, 10)
		}
		if m.status != statusSuccess {
			m.hi, m.lo, m.hasID = s.refuse(q, ch, r, &fields)
			continue
		}
		if !m.free {
			r.price = m.price
		}
		m.charged = r.price
		total += r.price
		queued++
		m.hi, m.lo = s.accept(q, ch, r, &fields, m.free, m.name, m.line1, m.line2, m.city, m.state, m.postcode, m.country, file)
		m.hasID = true
	}
	return total, queued
}

// pricePost sums what would be charged and gives the rows ids, which the
// answers to price requests bear as well.
func (q *call) pricePost(p *postRequest) (total money, queued int) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	for i := range p.recipients {
		m := &p.recipients[i]
		m.charged = m.price
		total += m.price
		if m.status == statusSuccess {
			m.hi, m.lo = q.s.ghostID()
			m.hasID = true
			queued++
		}
	}
	return total, queued
}

// appendAddress writes the address columns of a row after user_id,
// subaccount_id and message_id, with which it begins.
func (q *call) appendAddress(out []byte, m *postMsg) []byte {
	out = append(out, `{"user_id":`...)
	out = appendInt(out, q.a.id)
	out = appendIntField(out, "subaccount_id", q.a.id)
	out = appendID(out, m.hi, m.lo, m.hasID)
	out = appendField(out, "address_name", m.name)
	out = appendField(out, "address_line_1", m.line1)
	out = appendField(out, "address_line_2", m.line2)
	out = appendField(out, "address_city", m.city)
	out = appendField(out, "address_state", m.state)
	out = appendField(out, "address_postal_code", m.postcode)
	out = appendField(out, "address_country", m.country)
	out = append(out, `,"return_address_id":`...)
	if m.sender == nil {
		return append(out, "null"...)
	}
	return appendInt(out, m.sender.id)
}

// appendSender writes ,"_return_address":{...}, or null.
func (q *call) appendSender(out []byte, r *returnAddress) []byte {
	out = append(out, `,"_return_address":`...)
	if r == nil {
		return append(out, "null"...)
	}
	return r.append(out, q.a.id, false)
}

// appendStoredAddress is appendAddress for a row of a history.
func (q *call) appendStoredAddress(out []byte, ch channel, m *message, lineTwoNull bool, afterID func([]byte) []byte) []byte {
	out = append(out, `{"user_id":`...)
	out = appendInt(out, q.a.id)
	out = appendIntField(out, "subaccount_id", q.a.id)
	out = append(out, `,"list_id":null`...)
	hi, lo := q.s.ids.id(ch, m.seq)
	out = appendID(out, hi, lo, true)
	out = afterID(out)
	out = appendField(out, "address_name", m.field[textTo])
	out = appendField(out, "address_line_1", m.field[textFrom])
	if lineTwoNull {
		out = appendNullable(out, "address_line_2", m.field[textBody])
	} else {
		out = appendField(out, "address_line_2", m.field[textBody])
	}
	out = appendField(out, "address_city", m.field[textExtra])
	out = appendField(out, "address_state", m.field[textState])
	out = appendField(out, "address_postal_code", m.field[textPostcode])
	out = appendField(out, "address_country", m.field[textCountry])
	out = append(out, `,"return_address_id":`...)
	if len(m.field[textReturn]) == 0 {
		return append(out, "null"...)
	}
	return append(out, m.field[textReturn]...)
}

func flagBit(flags, bit uint8) int64 {
	if flags&bit != 0 {
		return 1
	}
	return 0
}

func bit(set bool) int64 {
	if set {
		return 1
	}
	return 0
}
