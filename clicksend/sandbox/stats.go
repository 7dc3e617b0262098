package sandbox

import "time"

// Stats is what the sandbox has counted since it began or was last reset.
// Amounts are decimals with six places in the account's currency.
type Stats struct {
	Requests         int64                    `json:"requests"`            // to /v3, refused ones included
	BusiestSecond    int                      `json:"busiest_second"`      // most requests in any 1 s, sliding
	AveragePerSecond float64                  `json:"average_per_second"`  // between the first and the last request
	Endpoints        map[string]EndpointStats `json:"endpoints"`           // by route, such as "POST /sms/send"
	Channels         map[string]ChannelStats  `json:"channels"`            // sms, mms, letter, postcard
	Accepted         int64                    `json:"accepted"`            // messages, all channels
	Refused          int64                    `json:"refused"`             // messages, all channels
	Again            int64                    `json:"same_recipient"`      // accepted for a destination accepted before on the same channel
	Charged          string                   `json:"charged"`             // sum of the prices of accepted messages
	Refunded         string                   `json:"refunded"`            // of cancelled ones
	Balance          string                   `json:"balance"`             // of the demo account
	LargestBatch     int                      `json:"largest_batch"`       // messages in one send or price request
	Malformed        int64                    `json:"malformed"`           // requests answered with 400, 404, 405 or 413
	Unauthorised     int64                    `json:"unauthorised"`        // answered with 401 or 403
	TooMany          int64                    `json:"too_many"`            // answered with 429
	CancelAllBare    int64                    `json:"cancel_all_unscoped"` // cancel-all without a custom_string
	Uploads          int64                    `json:"uploads"`
	Faults           map[string]int64         `json:"faults"` // what befell requests, by name
}

// EndpointStats counts one route.
type EndpointStats struct {
	Requests         int64   `json:"requests"`
	BusiestSecond    int     `json:"busiest_second"`
	AveragePerSecond float64 `json:"average_per_second"`
	TooMany          int64   `json:"too_many"`
	LargestBatch     int     `json:"largest_batch"`
}

// ChannelStats counts one channel's messages.
type ChannelStats struct {
	Accepted  int64            `json:"accepted"` // test numbers included, dropped ones not
	Free      int64            `json:"free"`     // of them to documented test numbers or postcodes
	Refused   map[string]int64 `json:"refused"`  // by status
	Again     int64            `json:"same_recipient"`
	Cancelled int64            `json:"cancelled"`
	Dropped   int64            `json:"dropped"` // answered as accepted, and not kept
	Charged   string           `json:"charged"`
	Refunded  string           `json:"refunded"`
}

// counters is the live form of Stats; Server.mu guards it.
type counters struct {
	all           meter
	endpoints     map[string]*endpointCount
	channels      [channels]channelCount
	largestBatch  int
	malformed     int64
	unauthorised  int64
	tooMany       int64
	cancelAllBare int64
	uploads       int64
	faults        [faultKinds]int64
}

type endpointCount struct {
	meter        meter
	tooMany      int64
	largestBatch int
}

type channelCount struct {
	accepted, free, again, cancelled, dropped int64
	refused                                   [statuses]int64
	charged, refunded                         money
}

// meter counts events and finds the busiest second. It keeps the moments of
// the last second only.
type meter struct {
	total       int64
	busiest     int
	first, last time.Time
	recent      []time.Time
	head        int
}

func (m *meter) add(now time.Time) {
	if m.total == 0 {
		m.first = now
	}
	m.total++
	m.last = now
	m.recent = append(m.recent, now)
	for now.Sub(m.recent[m.head]) >= time.Second {
		m.head++
	}
	m.busiest = max(m.busiest, len(m.recent)-m.head)
	if m.head > 64 && m.head > len(m.recent)/2 {
		m.recent = m.recent[:copy(m.recent, m.recent[m.head:])]
		m.head = 0
	}
}

// average returns events a second between the first and the last, or the total
// when all fell into one second.
func (m *meter) average() float64 {
	span := m.last.Sub(m.first).Seconds()
	if span < 1 {
		return float64(m.total)
	}
	return float64(m.total) / span
}

func (c *counters) endpoint(name string) *endpointCount {
	e := c.endpoints[name]
	if e == nil {
		if c.endpoints == nil {
			c.endpoints = map[string]*endpointCount{}
		}
		e = &endpointCount{}
		c.endpoints[name] = e
	}
	return e
}

// batch notes the size of a send or price request.
func (c *counters) batch(endpoint string, n int) {
	c.largestBatch = max(c.largestBatch, n)
	e := c.endpoint(endpoint)
	e.largestBatch = max(e.largestBatch, n)
}

// answered notes how a request ended.
func (c *counters) answered(endpoint string, http int) {
	switch http {
	case 400, 404, 405, 413:
		c.malformed++
	case 401, 403:
		c.unauthorised++
	case 429:
		c.tooMany++
		c.endpoint(endpoint).tooMany++
	}
}

// Stats returns what has been counted so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.count
	st := Stats{
		Requests: c.all.total, BusiestSecond: c.all.busiest, AveragePerSecond: c.all.average(),
		Endpoints: map[string]EndpointStats{}, Channels: map[string]ChannelStats{}, Faults: map[string]int64{},
		Balance: s.demo.balance.String(), LargestBatch: c.largestBatch, Malformed: c.malformed, Unauthorised: c.unauthorised,
		TooMany: c.tooMany, CancelAllBare: c.cancelAllBare, Uploads: c.uploads,
	}
	for name, e := range c.endpoints {
		st.Endpoints[name] = EndpointStats{e.meter.total, e.meter.busiest, e.meter.average(), e.tooMany, e.largestBatch}
	}
	var charged, refunded money
	for ch, n := range c.channels {
		out := ChannelStats{
			Accepted: n.accepted, Free: n.free, Refused: map[string]int64{}, Again: n.again, Cancelled: n.cancelled,
			Dropped: n.dropped, Charged: n.charged.String(), Refunded: n.refunded.String(),
		}
		for code, k := range n.refused {
			if k > 0 {
				out.Refused[status(code).String()] = k
				st.Refused += k
			}
		}
		st.Accepted += n.accepted
		st.Again += n.again
		charged += n.charged
		refunded += n.refunded
		st.Channels[channelNames[ch]] = out
	}
	st.Charged, st.Refunded = charged.String(), refunded.String()
	for kind, n := range c.faults {
		if n > 0 {
			st.Faults[faultNames[kind]] = n
		}
	}
	return st
}
