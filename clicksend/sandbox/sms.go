package sandbox

import "fmt"

func smsRoutes() []route {
	return []route{
		{method: "POST", pattern: "/sms/send", handle: sendSMS},
		{method: "POST", pattern: "/sms/price", handle: priceSMS},
		{method: "GET", pattern: "/sms/history", handle: historySMS},
		{method: "PUT", pattern: "/sms/{message_id}/cancel", handle: cancelSMS},
		{method: "PUT", pattern: "/sms/cancel-all", handle: cancelAllSMS},
	}
}

// sharedSender is who an SMS without from comes from; the documents' examples
// show this shared sender.
const sharedSender = "sendmobile"

// readSMS reads and judges the messages of a send or price request.
func (q *call) readSMS() ([]phoneMsg, *apiError) {
	msgs, _, fail := q.readPhone()
	if fail != nil {
		return nil, fail
	}
	q.checkPhone(msgs)
	for i := range msgs {
		m := &msgs[i]
		if len(m.from) == 0 {
			m.from = []byte(sharedSender)
		}
		m.body, m.parts = q.s.gsm.smsParts(m.body, q.a.maxParts)
		if m.status == statusSuccess && !m.free {
			m.price = money(m.parts) * priceIn(smsPrices, m.in)
		}
	}
	return msgs, nil
}

func sendSMS(q *call, out []byte) ([]byte, *apiError) {
	msgs, fail := q.readSMS()
	if fail != nil {
		return nil, fail
	}
	total, queued := q.acceptPhone(sms, msgs, nil)
	now := q.now.Unix()
	out = appendTotals(begin(out, "Here are your data."), total, len(msgs), queued)
	out = append(out, `,"messages":`...)
	out = q.appendRows(out, len(msgs), func(out []byte, i int) []byte {
		m := &msgs[i]
		out = append(out, `{"direction":"out","date":`...)
		out = appendInt(out, now)
		out = appendField(out, "to", m.to)
		out = appendField(out, "body", m.body)
		out = appendField(out, "from", m.from)
		out = appendIntField(out, "schedule", max(m.due, now))
		out = appendID(out, m.hi, m.lo, m.hasID)
		out = appendIntField(out, "message_parts", int64(m.parts))
		out = append(out, `,"message_price":`...)
		out = m.charged.appendNumber(out)
		out = appendField(out, "custom_string", q.reference(m.custom))
		out = appendIntField(out, "user_id", q.a.id)
		out = appendIntField(out, "subaccount_id", q.a.id)
		code := countryCode(m.in)
		out = appendField(out, "country", code)
		carrier := ""
		if code == home {
			carrier = "Telstra"
		}
		out = appendField(out, "carrier", carrier)
		out = appendField(out, "status", m.status.String())
		return append(out, '}')
	})
	return append(q.a.appendCurrency(out), '}', '}'), nil
}

func priceSMS(q *call, out []byte) ([]byte, *apiError) {
	msgs, fail := q.readSMS()
	if fail != nil {
		return nil, fail
	}
	var total money
	queued := 0
	for i := range msgs {
		total += msgs[i].price
		if msgs[i].status == statusSuccess {
			queued++
		}
	}
	now := q.now.Unix()
	out = appendTotals(begin(out, "Here are your data."), total, len(msgs), queued)
	out = append(out, `,"messages":`...)
	out = q.appendRows(out, len(msgs), func(out []byte, i int) []byte {
		m := &msgs[i]
		out = append(out, `{"to":`...)
		out = appendString(out, m.to)
		out = appendField(out, "body", m.body)
		out = appendField(out, "from", m.from)
		out = appendIntField(out, "schedule", max(m.due, now))
		out = appendIntField(out, "message_parts", int64(m.parts))
		out = append(out, `,"message_price":"`...)
		out = append(m.price.appendDecimals(out, 4), '"')
		out = appendField(out, "custom_string", q.reference(m.custom))
		out = appendField(out, "country", countryCode(m.in))
		out = appendField(out, "status", m.status.String())
		return append(out, '}')
	})
	return append(out, '}', '}'), nil
}

func historySMS(q *call, out []byte) ([]byte, *apiError) {
	return q.phoneHistory(sms, out)
}

func cancelSMS(q *call, out []byte) ([]byte, *apiError) {
	if fail := q.cancelOne(sms); fail != nil {
		return nil, fail
	}
	return append(begin(out, "Message "+q.params[0]+" has been cancelled."), "[]}"...), nil
}

func cancelAllSMS(q *call, out []byte) ([]byte, *apiError) { return q.cancelAll(sms, out) }

// cancelOne cancels and refunds the message of the path while it is still
// scheduled.
func (q *call) cancelOne(ch channel) *apiError {
	gone := notFound("The message does not exist.")
	hi, lo, ok := parseUUID(q.params[0])
	if !ok {
		return gone
	}
	space, seq, ok := q.s.ids.seq(hi, lo)
	if !ok || space != ch {
		return gone
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	st := &q.a.stores[ch]
	r := st.row(seq)
	switch {
	case r == nil || r.flags&flagRefused != 0:
		return gone
	case r.flags&flagCancelled != 0:
		return badRequest("The message is cancelled already.")
	case int64(r.due) <= q.now.Unix():
		return badRequest("The message cannot be cancelled: only messages that are still scheduled can.")
	}
	q.s.cancel(q.a, ch, seq)
	return nil
}

// cancel cancels and refunds a held message. s.mu must be held.
func (s *Server) cancel(a *account, ch channel, seq uint64) {
	st := &a.stores[ch]
	price := st.row(seq).price
	st.cancel(seq)
	a.balance += price
	n := &s.count.channels[ch]
	n.cancelled++
	n.refunded += price
}

// cancelAll cancels every message of the account that is still scheduled; with
// a custom_string in the body, only those that bear it (shared/api/PROVIDER.md,
// Cancelling).
func (q *call) cancelAll(ch channel, out []byte) ([]byte, *apiError) {
	var only []byte
	if len(q.body) > 0 {
		fail := q.enter(func(c *cursor, name []byte) bool {
			if string(name) == "custom_string" {
				return c.text(&only)
			}
			return c.skip()
		})
		if fail != nil {
			return nil, fail
		}
	}
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	if len(only) == 0 {
		q.s.count.cancelAllBare++
	}
	st := &q.a.stores[ch]
	count := 0
	var m message
	for _, seq := range st.stillHeld(q.now.Unix()) {
		if len(only) > 0 && (!st.read(seq, &m) || string(m.field[textCustom]) != string(only)) {
			continue
		}
		q.s.cancel(q.a, ch, seq)
		count++
	}
	out = begin(out, fmt.Sprintf("%d messages has been cancelled.", count))
	out = append(out, `{"count":`...)
	return append(appendInt(out, int64(count)), '}', '}'), nil
}
