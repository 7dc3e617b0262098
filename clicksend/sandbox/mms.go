package sandbox

import (
	"bytes"
	"unicode/utf8"
)

func mmsRoutes() []route {
	return []route{
		{method: "POST", pattern: "/mms/send", handle: sendMMS},
		{method: "POST", pattern: "/mms/price", handle: priceMMS},
		{method: "GET", pattern: "/mms/history", handle: historyMMS},
		{method: "PUT", pattern: "/mms/{message_id}/cancel", handle: cancelMMS},
		{method: "PUT", pattern: "/mms/cancel-all", handle: cancelAllMMS},
	}
}

// Limits of an MMS (shared/api/semantics.md, section 10). What is longer is
// cut off; a file that is larger is refused.
const (
	mmsSubject = 20         // characters
	mmsGSM     = 1500       // septets
	mmsUnicode = 500        // UTF-16 units
	mmsFile    = 250 * 1024 // bytes: 250 kB read generously
)

// readMMS reads and judges the messages of a send or price request.
func (q *call) readMMS() (msgs []phoneMsg, media []byte, fail *apiError) {
	msgs, media, fail = q.readPhone()
	if fail != nil {
		return nil, nil, fail
	}
	if len(media) == 0 {
		return nil, nil, badRequest("media_file is required.")
	}
	goodMedia := q.mediaFile(media)
	q.checkPhone(msgs)
	for i := range msgs {
		m := &msgs[i]
		m.subject = firstRunes(bytes.TrimSpace(m.subject), mmsSubject)
		length, unicode := q.s.gsm.measure(m.body)
		limit := mmsGSM
		if unicode {
			limit = mmsUnicode
		}
		if length > limit {
			m.body = q.s.gsm.cut(m.body, limit, unicode)
		}
		m.parts = 1
		if m.status != statusSuccess {
			continue
		}
		switch {
		case len(m.from) == 0:
			m.status = statusMissingRequiredFields
		case len(m.subject) == 0:
			m.status = statusSubjectRequired
		case !goodMedia:
			m.status = statusInvalidMediaFile
		case !m.free:
			m.price = priceIn(mmsPrices, m.in)
		}
	}
	return msgs, media, nil
}

// mediaFile reports whether an MMS can carry the file: one of the sandbox's own
// that is alive, small enough and a picture or converted; or any web address
// elsewhere, which is believed unfetched.
func (q *call) mediaFile(url []byte) bool {
	f, own, ok := q.lookFile(url)
	if !own {
		return ok
	}
	return ok && len(f.content) <= mmsFile && (f.convert == "mms" || f.picture)
}

func firstRunes(b []byte, n int) []byte {
	for i := 0; i < len(b); n-- {
		if n == 0 {
			return b[:i]
		}
		_, size := utf8.DecodeRune(b[i:])
		i += size
	}
	return b
}

func sendMMS(q *call, out []byte) ([]byte, *apiError) {
	msgs, media, fail := q.readMMS()
	if fail != nil {
		return nil, fail
	}
	total, queued := q.acceptPhone(mms, msgs, media)
	return q.appendMMS(out, msgs, media, total, queued), nil
}

func priceMMS(q *call, out []byte) ([]byte, *apiError) {
	msgs, media, fail := q.readMMS()
	if fail != nil {
		return nil, fail
	}
	var total money
	queued := 0
	q.s.mu.Lock()
	for i := range msgs {
		m := &msgs[i]
		m.charged = m.price
		total += m.price
		if m.status == statusSuccess {
			m.hi, m.lo = q.s.ghostID()
			m.hasID = true
			queued++
		}
	}
	q.s.mu.Unlock()
	return q.appendMMS(out, msgs, media, total, queued), nil
}

// appendMMS writes the answer that send and price share, message_id and
// "queued" included; its custom_string is always empty, as in the documents'
// examples.
func (q *call) appendMMS(out []byte, msgs []phoneMsg, media []byte, total money, queued int) []byte {
	out = appendTotals(begin(out, "Messages queued for delivery."), total, len(msgs), queued)
	out = append(out, `,"messages":`...)
	out = q.appendRows(out, len(msgs), func(out []byte, i int) []byte {
		m := &msgs[i]
		out = append(out, `{"list_id":null,"contact_id":0`...)
		out = appendID(out, m.hi, m.lo, m.hasID)
		out = appendField(out, "to", m.to)
		out = appendField(out, "subject", m.subject)
		out = appendField(out, "from", m.from)
		out = appendField(out, "body", m.body)
		out = appendField(out, "country", countryCode(m.in))
		out = append(out, `,"custom_string":"","schedule":"`...)
		if m.due > 0 {
			out = appendInt(out, m.due)
		}
		out = append(out, '"')
		out = appendIntField(out, "message_parts", int64(m.parts))
		out = append(out, `,"message_price":"`...)
		out = append(m.charged.appendDecimals(out, 4), '"')
		out = appendField(out, "_media_file_url", media)
		out = appendField(out, "status", m.status.String())
		return append(out, '}')
	})
	return append(out, '}', '}')
}

func historyMMS(q *call, out []byte) ([]byte, *apiError) { return q.phoneHistory(mms, out) }

// cancelMMS answers as its SMS sibling does: the documents name the operation
// and say no more (shared/api/operations.tsv).
func cancelMMS(q *call, out []byte) ([]byte, *apiError) {
	if fail := q.cancelOne(mms); fail != nil {
		return nil, fail
	}
	return append(begin(out, "Message "+q.params[0]+" has been cancelled."), "[]}"...), nil
}

func cancelAllMMS(q *call, out []byte) ([]byte, *apiError) { return q.cancelAll(mms, out) }
