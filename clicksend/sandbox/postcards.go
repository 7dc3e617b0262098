package sandbox

import (
	"bytes"
	"path"
)

func postcardRoutes() []route {
	return []route{
		{method: "POST", pattern: "/post/postcards/send", handle: sendPostcards},
		{method: "POST", pattern: "/post/postcards/price", handle: pricePostcards},
		{method: "GET", pattern: "/post/postcards/history", handle: historyPostcards},
		{method: "PUT", pattern: "/post/postcards/{message_id}/cancel", handle: cancelPostcard},
	}
}

// readPostcards reads and judges a send or price request: one PDF of one or
// two pages, or two files of one page.
func (q *call) readPostcards() (postRequest, *apiError) {
	p, fail := q.readPost()
	if fail != nil {
		return p, fail
	}
	if n := len(p.files); n < 1 || n > 2 {
		return p, badRequest("file_urls must hold one or two addresses.")
	}
	for _, url := range p.files {
		pages, fail := q.printable(url, "file_urls")
		if fail != nil {
			return p, fail
		}
		p.letter.pages += pages
	}
	if p.letter.pages > 2 {
		return p, badRequest("A postcard has two sides: file_urls holds more than two pages.")
	}
	q.checkPost(postcard, &p)
	return p, nil
}

func sendPostcards(q *call, out []byte) ([]byte, *apiError) {
	p, fail := q.readPostcards()
	if fail != nil {
		return nil, fail
	}
	total, queued := q.acceptPost(postcard, &p)
	return q.appendPostcards(out, "Postcard queued for delivery.", &p, total, queued), nil
}

func pricePostcards(q *call, out []byte) ([]byte, *apiError) {
	p, fail := q.readPostcards()
	if fail != nil {
		return nil, fail
	}
	total, queued := q.pricePost(&p)
	return q.appendPostcards(out, "Here is some pricing.", &p, total, queued), nil
}

// appendPostcards writes the answer that send and price share. It bears no
// custom_string, as in the documents.
func (q *call) appendPostcards(out []byte, msg string, p *postRequest, total money, queued int) []byte {
	now := q.now.Unix()
	out = appendTotals(begin(out, msg), total, len(p.recipients), queued)
	out = append(out, `,"recipients":`...)
	out = q.appendRows(out, len(p.recipients), func(out []byte, i int) []byte {
		m := &p.recipients[i]
		out = q.appendAddress(out, m)
		out = appendField(out, "letter_file_name", path.Base(string(p.files[0])))
		out = appendIntField(out, "schedule", max(m.due, now))
		out = append(out, `,"ip_address":"127.0.0.1"`...)
		out = appendField(out, "source", apiSource)
		out = append(out, `,"post_price":`...)
		out = m.charged.appendNumber(out)
		out = append(out, `,"priority":32`...)
		out = appendField(out, "status", m.status.String())
		out = appendIntField(out, "date_added", now)
		out = appendField(out, "_file_url", p.files[0])
		out = q.appendSender(out, m.sender)
		out = appendField(out, "_api_username", q.a.username)
		return append(out, '}')
	})
	return append(q.a.appendCurrency(out), '}', '}')
}

func historyPostcards(q *call, out []byte) ([]byte, *apiError) {
	now := q.now.Unix()
	return q.listHistory(postcard, "Here is your history.", out, func(out []byte, m *message, mode *HistoryMode) []byte {
		file, _, _ := bytes.Cut(m.field[textFile], []byte{'\n'})
		out = q.appendStoredAddress(out, postcard, m, false, func(out []byte) []byte {
			return appendField(out, "message_id_supplier", "")
		})
		out = appendField(out, "letter_file_name", path.Base(string(file)))
		out = q.appendReference(out, m, mode)
		out = append(out, `,"schedule":"`...)
		out = append(appendInt(out, m.leaves()), '"')
		out = append(out, `,"ip_address":"127.0.0.1"`...)
		out = appendField(out, "source", apiSource)
		out = append(out, `,"post_price":"`...)
		out = append(m.price.appendDecimals(out, 6), '"')
		out = append(out, `,"post_price_supplier":"0.000000","priority":32`...)
		out = appendField(out, "status", m.state(postcard, now))
		out = appendIntField(out, "date_added", mode.date(&m.row))
		out = appendField(out, "_file_url", file)
		out = q.appendSender(out, q.a.address(string(m.field[textReturn])))
		out = appendField(out, "_api_username", q.a.username)
		return append(out, '}')
	})
}

func cancelPostcard(q *call, out []byte) ([]byte, *apiError) {
	if fail := q.cancelOne(postcard); fail != nil {
		return nil, fail
	}
	return append(begin(out, "Scheduled postcard has been cancelled."), "true}"...), nil
}
