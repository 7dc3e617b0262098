package sandbox

import (
	"encoding/binary"
	"sort"
)

// channel is one of the four ways a message can be accepted.
type channel uint8

const (
	sms channel = iota
	mms
	letter
	postcard
	channels
)

var channelNames = [channels]string{"sms", "mms", "letter", "postcard"}

// Positions of the texts that a channel keeps of each message.
const (
	textTo     = iota // phone: the number; post: the addressee
	textCustom        // custom_string
	textFrom          // phone: sender; post: address_line_1
	textBody          // phone: body as it was sent; post: address_line_2
	textExtra         // sms: from_email; mms: subject; post: address_city
	textFile          // mms: media_file; post: file URLs, one a line
	textState
	textPostcode
	textCountry
	textReturn // return_address_id in decimal
	textCount
)

// texts is how many of them each channel has.
var texts = [channels]int{sms: textFile, mms: textState, letter: textCount, postcard: textCount}

// Flags of a row.
const (
	flagCancelled = 1 << iota
	flagRefused   // kept only because Options.RefusedInHistory says so
	flagFree      // a documented test number or postcode
	flagColour
	flagDuplex
	flagPriority
)

// row is the fixed part of one kept message: 40 bytes.
type row struct {
	at      int64  // when it was accepted, Unix milliseconds
	price   money  // what was charged
	due     uint32 // when it is to leave, Unix seconds; 0 = at once
	off     uint32 // of its texts in the chunk
	parts   uint16 // SMS parts, or pages
	country int16  // of the number; noCountry for post
	flags   uint8
	status  status
}

// leaves returns when the message leaves, in Unix seconds.
func (r *row) leaves() int64 { return max(r.at/1000, int64(r.due)) }

const chunkRows = 4096

// chunk keeps chunkRows messages. Each text is stored as its difference to the
// chunk's first message, in which the texts of a campaign's messages mostly
// agree: a whole SMS of a campaign takes some 80 bytes.
type chunk struct {
	rows []row
	base [textCount][]byte
	text []byte
}

// store keeps what was accepted on one channel, in that order. A message's
// sequence number never changes; the oldest chunks go when more than maxKept
// messages are held.
type store struct {
	texts   int
	maxKept int
	chunks  []*chunk
	first   uint64 // sequence number of the first kept message
	next    uint64 // of the next one
	held    []uint64
	anyHeld bool   // some kept message was accepted for later
	version uint64 // goes up with every change
}

// add keeps a message and returns its sequence number. fields must hold
// s.texts texts.
func (s *store) add(r row, fields *[textCount][]byte) uint64 {
	var c *chunk
	if n := len(s.chunks); n > 0 {
		c = s.chunks[n-1]
	}
	if c == nil || len(c.rows) == chunkRows {
		c = &chunk{rows: make([]row, 0, chunkRows)}
		for i := range s.texts {
			c.base[i] = append([]byte(nil), fields[i]...)
		}
		s.chunks = append(s.chunks, c)
		if s.maxKept > 0 && len(s.chunks)*chunkRows > s.maxKept+chunkRows {
			s.chunks[0] = nil
			s.chunks = s.chunks[1:]
			s.first += chunkRows
		}
	}
	r.off = uint32(len(c.text))
	for i := range s.texts {
		c.text = appendDiff(c.text, c.base[i], fields[i])
	}
	if n := len(c.rows); n > 0 && c.rows[n-1].at > r.at {
		r.at = c.rows[n-1].at // a clock that went back: order must hold
	}
	c.rows = append(c.rows, r)
	seq := s.next
	s.next++
	s.version++
	if r.flags&flagRefused == 0 && int64(r.due) > r.at/1000 {
		s.held = append(s.held, seq)
		s.anyHeld = true
	}
	return seq
}

// appendDiff writes text as its difference to base: 0 when they are equal,
// else the length of the common prefix plus one, of the common suffix, of the
// middle, and the middle.
func appendDiff(out, base, text []byte) []byte {
	shorter := min(len(base), len(text))
	p := 0
	for p < shorter && base[p] == text[p] {
		p++
	}
	if p == len(base) && p == len(text) {
		return append(out, 0)
	}
	n := 0
	for n < shorter-p && base[len(base)-1-n] == text[len(text)-1-n] {
		n++
	}
	out = binary.AppendUvarint(out, uint64(p+1))
	out = binary.AppendUvarint(out, uint64(n))
	middle := text[p : len(text)-n]
	out = binary.AppendUvarint(out, uint64(len(middle)))
	return append(out, middle...)
}

// readDiff appends the text written by appendDiff to out and returns it with
// the rest of the source.
func readDiff(out, base, src []byte) (text, rest []byte) {
	p, k := binary.Uvarint(src)
	src = src[k:]
	if p == 0 {
		return append(out, base...), src
	}
	n, k := binary.Uvarint(src)
	src = src[k:]
	m, k := binary.Uvarint(src)
	src = src[k:]
	out = append(out, base[:p-1]...)
	out = append(out, src[:m]...)
	out = append(out, base[len(base)-int(n):]...)
	return out, src[m:]
}

// row returns the kept row of that sequence number, or nil.
func (s *store) row(seq uint64) *row {
	if seq < s.first || seq >= s.next {
		return nil
	}
	i := seq - s.first
	return &s.chunks[i/chunkRows].rows[i%chunkRows]
}

// message is a row with its texts.
type message struct {
	row
	seq   uint64
	field [textCount][]byte
	buf   []byte
}

// read fills m with a kept message; its texts are good until the next read
// into m.
func (s *store) read(seq uint64, m *message) bool {
	r := s.row(seq)
	if r == nil {
		return false
	}
	c := s.chunks[(seq-s.first)/chunkRows]
	m.row, m.seq = *r, seq
	var ends [textCount]int
	buf, src := m.buf[:0], c.text[r.off:]
	for i := range s.texts {
		buf, src = readDiff(buf, c.base[i], src)
		ends[i] = len(buf)
	}
	m.buf = buf
	from := 0
	for i := range s.texts {
		m.field[i] = buf[from:ends[i]:ends[i]]
		from = ends[i]
	}
	return true
}

// acceptedUpTo returns the first sequence number accepted after the moment
// (Unix milliseconds): everything below it was accepted at or before it.
func (s *store) acceptedUpTo(ms int64) uint64 {
	n := int(s.next - s.first)
	return s.first + uint64(sort.Search(n, func(i int) bool { return s.row(s.first+uint64(i)).at > ms }))
}

// cancel marks a message that is still held as cancelled.
func (s *store) cancel(seq uint64) {
	s.row(seq).flags |= flagCancelled
	s.version++
}

// stillHeld drops what has left or was cancelled from the list of held
// messages and returns it.
func (s *store) stillHeld(now int64) []uint64 {
	kept := s.held[:0]
	for _, seq := range s.held {
		if r := s.row(seq); r != nil && r.flags&flagCancelled == 0 && int64(r.due) > now {
			kept = append(kept, seq)
		}
	}
	s.held = kept
	return kept
}
