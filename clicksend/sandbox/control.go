package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The controls need the demo account's credentials:
//
//	GET  /_sandbox/stats     Stats as JSON
//	POST /_sandbox/reset     back to the start
//	GET  /_sandbox/faults    the faults; PUT replaces them
//	GET  /_sandbox/history   the history's behaviour; PUT replaces it
//	GET  /_sandbox/rate      the rate limit; PUT replaces it
//	GET  /_sandbox/balance   the balance, and whether the account recharges by
//	                         itself; PUT replaces it
//	GET  /_sandbox/messages  everything accepted, a JSON object a line
//
// messages takes channel (all when absent), page and limit (everything when
// absent); its lines hold channel, message_id, to or address, custom_string,
// body, price, parts, status, accepted and due.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	a, fail := s.authenticate(r)
	if fail == nil && a != s.demo {
		fail = unauthorized()
	}
	s.mu.Unlock()
	if fail != nil {
		w.Header().Set("Www-Authenticate", `Basic realm="ClickSend sandbox"`)
		writeError(w, fail)
		return
	}
	switch strings.TrimPrefix(r.URL.Path, "/_sandbox/") + " " + r.Method {
	case "stats GET":
		writeValue(w, s.Stats())
	case "reset POST":
		s.Reset()
		writeValue(w, s.Stats())
	case "faults GET":
		writeValue(w, s.currentFaults())
	case "faults PUT":
		replace(w, r, s.SetFaults)
	case "history GET":
		writeValue(w, s.historyMode())
	case "history PUT":
		replace(w, r, s.SetHistory)
	case "rate GET":
		writeValue(w, s.currentRate())
	case "rate PUT":
		replace(w, r, s.SetRate)
	case "balance GET":
		writeValue(w, s.Balance())
	case "balance PUT":
		replace(w, r, s.SetBalance)
	case "messages GET":
		s.serveMessages(w, r)
	default:
		writeError(w, notFound("The sandbox has GET stats, faults, history, rate, balance and messages, PUT faults, history, rate and balance, and POST reset under /_sandbox/."))
	}
}

func (s *Server) currentFaults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

func (s *Server) currentRate() RateLimit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate
}

func writeValue(w http.ResponseWriter, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		writeError(w, internalError())
		return
	}
	writeJSON(w, http.StatusOK, append(b, '\n'))
}

// replace reads a value from the body, hands it to set and answers with it.
func replace[T any](w http.ResponseWriter, r *http.Request, set func(T)) {
	var v T
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err != nil {
		writeError(w, badRequest(err.Error()))
		return
	}
	set(v)
	writeValue(w, v)
}

// serveMessages streams what was accepted, chunk by chunk, so that a million
// messages neither fill the memory nor stop the sandbox.
func (s *Server) serveMessages(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	only := query.Get("channel")
	from, to := uint64(0), ^uint64(0)
	if query.Has("page") || query.Has("limit") {
		number, err1 := strconv.ParseUint(query.Get("page"), 10, 32)
		limit, err2 := strconv.ParseUint(query.Get("limit"), 10, 32)
		if query.Get("page") == "" {
			number, err1 = 1, nil
		}
		if query.Get("limit") == "" {
			limit, err2 = 1000, nil
		}
		if err := errors.Join(err1, err2); err != nil || number == 0 || limit == 0 {
			writeError(w, badRequest("page and limit must be whole numbers from 1."))
			return
		}
		from, to = (number-1)*limit, number*limit
	}
	w.Header().Set("Content-Type", "application/jsonl")
	var out []byte
	var m message
	position := uint64(0) // among the accepted messages of the channels asked for
	for ch := range channels {
		if only != "" && only != channelNames[ch] {
			continue
		}
		for seq, end := uint64(0), uint64(1); seq < end && position < to; {
			s.mu.Lock()
			st := &s.demo.stores[ch]
			end = st.next
			seq = max(seq, st.first)
			now := s.opts.Clock().Unix()
			out = out[:0]
			for n := 0; n < chunkRows && seq < end && position < to; n++ {
				st.read(seq, &m)
				if m.flags&flagRefused == 0 {
					if position >= from {
						out = s.appendMessage(out, ch, &m, now)
					}
					position++
				}
				seq++
			}
			s.mu.Unlock()
			if _, err := w.Write(out); err != nil {
				return // the reader has gone
			}
		}
	}
}

func (s *Server) appendMessage(out []byte, ch channel, m *message, now int64) []byte {
	out = append(out, `{"channel":"`+channelNames[ch]+`"`...)
	hi, lo := s.ids.id(ch, m.seq)
	out = appendID(out, hi, lo, true)
	if ch == letter || ch == postcard {
		out = append(out, `,"address":{"address_name":`...)
		out = appendString(out, m.field[textTo])
		for i, name := range []string{"address_line_1", "address_line_2", "address_city", "address_state", "address_postal_code", "address_country"} {
			out = appendField(out, name, m.field[[...]int{textFrom, textBody, textExtra, textState, textPostcode, textCountry}[i]])
		}
		out = append(out, '}')
		out = appendField(out, "return_address_id", m.field[textReturn])
	} else {
		out = appendField(out, "to", m.field[textTo])
		out = appendField(out, "from", m.field[textFrom])
		out = appendField(out, "body", m.field[textBody])
		if ch == mms {
			out = appendField(out, "subject", m.field[textExtra])
		}
	}
	out = appendField(out, "custom_string", m.field[textCustom])
	if ch != sms {
		out = append(out, `,"files":[`...)
		for i, u := range bytes.Split(m.field[textFile], []byte{'\n'}) {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendString(out, u)
		}
		out = append(out, ']')
	}
	out = append(out, `,"price":"`...)
	out = append(m.price.appendDecimals(out, 6), '"')
	out = appendIntField(out, "parts", int64(m.parts))
	out = appendField(out, "status", m.state(ch, now))
	out = appendIntField(out, "accepted", m.at/1000)
	out = appendIntField(out, "due", int64(m.due))
	return append(out, '}', '\n')
}

// duration is a time.Duration that JSON shows as a text such as "1.5s".
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = 0
		return nil
	}
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it like 90s or 1.5s", b)
	}
	*d = duration(v)
	return nil
}

// strictJSON decodes one JSON value and refuses unknown names.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
