package sandbox

func letterRoutes() []route {
	return []route{
		{method: "POST", pattern: "/post/letters/send", handle: sendLetters},
		{method: "POST", pattern: "/post/letters/price", handle: priceLetters},
		{method: "GET", pattern: "/post/letters/history", handle: historyLetters},
		// The documents name both methods (shared/api/contradictions.md).
		{method: "PUT", pattern: "/post/letters/{message_id}/cancel", handle: cancelLetter},
		{method: "POST", pattern: "/post/letters/{message_id}/cancel", handle: cancelLetter},
	}
}

// readLetters reads and judges a send or price request.
func (q *call) readLetters() (postRequest, *apiError) {
	p, fail := q.readPost()
	if fail != nil {
		return p, fail
	}
	if len(p.files) != 1 || len(p.files[0]) == 0 {
		return p, badRequest("file_url is required.")
	}
	if p.letter.pages, fail = q.printable(p.files[0], "file_url"); fail != nil {
		return p, fail
	}
	q.checkPost(letter, &p)
	return p, nil
}

func sendLetters(q *call, out []byte) ([]byte, *apiError) {
	p, fail := q.readLetters()
	if fail != nil {
		return nil, fail
	}
	total, queued := q.acceptPost(letter, &p)
	now := q.now.Unix()
	out = appendTotals(begin(out, "Letters queued for delivery."), total, len(p.recipients), queued)
	out = append(out, `,"recipients":`...)
	out = q.appendRows(out, len(p.recipients), func(out []byte, i int) []byte {
		m := &p.recipients[i]
		out = q.appendAddress(out, m)
		out = appendField(out, "custom_string", q.reference(m.custom))
		out = appendIntField(out, "schedule", max(m.due, now))
		out = appendField(out, "source", apiSource)
		out = appendIntField(out, "colour", bit(p.letter.colour))
		out = appendIntField(out, "duplex", bit(p.letter.duplex))
		out = q.appendLetterPrice(out, &p, m)
		out = appendIntField(out, "priority_post", bit(p.letter.priority))
		out = appendIntField(out, "date_added", now)
		out = appendField(out, "status", m.status.String())
		out = appendField(out, "_file_url", p.files[0])
		out = q.appendSender(out, m.sender)
		out = appendField(out, "_api_username", q.a.username)
		return append(out, '}')
	})
	return append(q.a.appendCurrency(out), '}', '}'), nil
}

// apiSource is what the source column of post says, whatever a request says.
const apiSource = ".rest.v3"

func (q *call) appendLetterPrice(out []byte, p *postRequest, m *postMsg) []byte {
	out = appendIntField(out, "post_pages", int64(p.letter.pages))
	out = append(out, `,"post_price":"`...)
	return append(m.charged.appendDecimals(out, 4), '"')
}

// priceLetters answers with total_cost where every other answer has
// total_count, as the documents do.
func priceLetters(q *call, out []byte) ([]byte, *apiError) {
	p, fail := q.readLetters()
	if fail != nil {
		return nil, fail
	}
	total, _ := q.pricePost(&p)
	now := q.now.Unix()
	out = append(begin(out, "Here are some results."), `{"total_price":`...)
	out = total.appendNumber(out)
	out = appendIntField(out, "total_cost", int64(len(p.recipients)))
	out = append(out, `,"recipients":`...)
	out = q.appendRows(out, len(p.recipients), func(out []byte, i int) []byte {
		m := &p.recipients[i]
		out = q.appendAddress(out, m)
		out = appendIntField(out, "schedule", max(m.due, now))
		out = q.appendLetterPrice(out, &p, m)
		out = appendIntField(out, "priority_post", bit(p.letter.priority))
		out = appendIntField(out, "date_added", now)
		out = appendField(out, "status", m.status.String())
		return append(out, '}')
	})
	return append(out, '}', '}'), nil
}

func historyLetters(q *call, out []byte) ([]byte, *apiError) {
	now := q.now.Unix()
	return q.listHistory(letter, "Here is your history.", out, func(out []byte, m *message, mode *HistoryMode) []byte {
		out = q.appendStoredAddress(out, letter, m, true, func(out []byte) []byte { return out })
		out = q.appendReference(out, m, mode)
		if m.due > 0 {
			out = appendIntField(out, "schedule", int64(m.due))
		} else {
			out = appendNullable(out, "schedule", nil)
		}
		out = appendNullable(out, "source", nil)
		out = appendIntField(out, "colour", flagBit(m.flags, flagColour))
		out = appendIntField(out, "duplex", flagBit(m.flags, flagDuplex))
		out = appendIntField(out, "post_pages", int64(m.parts))
		out = append(out, `,"post_price":"`...)
		out = append(m.price.appendDecimals(out, 6), '"')
		out = appendField(out, "status", m.state(letter, now))
		out = append(out, `,"status_code":"","status_text":""`...)
		out = appendIntField(out, "date_added", mode.date(&m.row))
		return append(out, '}')
	})
}

func cancelLetter(q *call, out []byte) ([]byte, *apiError) {
	if fail := q.cancelOne(letter); fail != nil {
		return nil, fail
	}
	return append(begin(out, "Scheduled letter has been cancelled."), "true}"...), nil
}
