package sandbox

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Faults is what goes wrong and how often. Every probability lies between 0
// and 1 and is drawn once for each request; the draws repeat for the same
// Options.Seed and the same order of requests. In JSON the names are in snake
// case and durations are texts such as "1.5s".
type Faults struct {
	// Before anything is accepted.
	TooMany        float64 // 429 with Retry-After
	Error503       float64
	Error500Before float64
	ResetBefore    float64 // the whole request is read, then the connection is reset (RST)
	HangBefore     float64 // no answer for HangFor, then a reset
	Slow           float64 // the answer comes SlowBy later

	// The messages are accepted, and something is wrong with the answer.
	Error500After float64
	ResetAfter    float64 // accepted, then RST
	Hang          float64 // accepted, then no answer for HangFor
	CutJSON       float64 // half of the answer, as a complete HTTP response
	MissingRows   float64 // the answer lacks some of its rows
	Reordered     float64 // rows in another order than the request's
	NoReference   float64 // rows whose custom_string is empty

	// The answer is perfect, and nothing was accepted.
	Dropped float64

	// Of contact lists.
	ImportSlow  float64 // an import begins SlowBy later
	ImportLoses float64 // an import leaves out one row in twenty, and one at the least
	PageShift   float64 // a contact goes to the end of the order just before a page is read

	// PriceFactor multiplies what a message is charged, and not what it is
	// quoted at, in steps of 0.0001; 0 = 1. It is no fault that is drawn: it
	// befalls every message while it is set, whatever Limit says.
	PriceFactor float64

	HangFor    time.Duration // 0 = 30 s
	SlowBy     time.Duration // 0 = 250 ms
	RetryAfter time.Duration // of TooMany; whole seconds, rounded up; 0 = 1 s

	// Endpoints limits the faults to routes such as "POST /sms/send"; empty
	// means every endpoint under /v3.
	Endpoints []string
	// Limit ends all faults after that many have happened since they were
	// set; 0 = never.
	Limit int
}

// faultsJSON is the wire form of Faults.
type faultsJSON struct {
	TooMany        float64  `json:"too_many"`
	Error503       float64  `json:"error503"`
	Error500Before float64  `json:"error500_before"`
	ResetBefore    float64  `json:"reset_before"`
	HangBefore     float64  `json:"hang_before"`
	Slow           float64  `json:"slow"`
	Error500After  float64  `json:"error500_after"`
	ResetAfter     float64  `json:"reset_after"`
	Hang           float64  `json:"hang"`
	CutJSON        float64  `json:"cut_json"`
	MissingRows    float64  `json:"missing_rows"`
	Reordered      float64  `json:"reordered"`
	NoReference    float64  `json:"no_reference"`
	Dropped        float64  `json:"dropped"`
	ImportSlow     float64  `json:"import_slow"`
	ImportLoses    float64  `json:"import_loses"`
	PageShift      float64  `json:"page_shift"`
	PriceFactor    float64  `json:"price_factor"`
	HangFor        duration `json:"hang_for"`
	SlowBy         duration `json:"slow_by"`
	RetryAfter     duration `json:"retry_after"`
	Endpoints      []string `json:"endpoints"`
	Limit          int      `json:"limit"`
}

// MarshalJSON writes the faults with durations as texts.
func (f Faults) MarshalJSON() ([]byte, error) {
	return json.Marshal(faultsJSON{
		f.TooMany, f.Error503, f.Error500Before, f.ResetBefore, f.HangBefore, f.Slow,
		f.Error500After, f.ResetAfter, f.Hang, f.CutJSON, f.MissingRows, f.Reordered, f.NoReference, f.Dropped,
		f.ImportSlow, f.ImportLoses, f.PageShift, f.PriceFactor,
		duration(f.HangFor), duration(f.SlowBy), duration(f.RetryAfter), f.Endpoints, f.Limit,
	})
}

// UnmarshalJSON reads what MarshalJSON wrote; an unknown name, a probability
// outside 0 to 1 or a negative duration is an error.
func (f *Faults) UnmarshalJSON(b []byte) error {
	var w faultsJSON
	if err := strictJSON(b, &w); err != nil {
		return err
	}
	g := Faults{
		w.TooMany, w.Error503, w.Error500Before, w.ResetBefore, w.HangBefore, w.Slow,
		w.Error500After, w.ResetAfter, w.Hang, w.CutJSON, w.MissingRows, w.Reordered, w.NoReference, w.Dropped,
		w.ImportSlow, w.ImportLoses, w.PageShift, w.PriceFactor,
		time.Duration(w.HangFor), time.Duration(w.SlowBy), time.Duration(w.RetryAfter), w.Endpoints, w.Limit,
	}
	if err := g.validate(); err != nil {
		return err
	}
	*f = g
	return nil
}

func (f *Faults) validate() error {
	for i, p := range f.probabilities() {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("fault %s: probability %v is not between 0 and 1", faultNames[i], p)
		}
	}
	if !(f.PriceFactor >= 0 && f.PriceFactor <= 1000) {
		return fmt.Errorf("faults: price_factor %v is not between 0 and 1000", f.PriceFactor)
	}
	if f.HangFor < 0 || f.SlowBy < 0 || f.RetryAfter < 0 || f.Limit < 0 {
		return fmt.Errorf("faults: hang_for, slow_by, retry_after and limit must not be negative")
	}
	return nil
}

// fault is one kind of fault; its order is the order of drawing.
type fault uint8

const (
	faultTooMany fault = iota
	fault503
	fault500Before
	faultResetBefore
	faultHangBefore
	faultSlow
	fault500After
	faultResetAfter
	faultHang
	faultCutJSON
	faultMissingRows
	faultReordered
	faultNoReference
	faultDropped
	faultImportSlow
	faultImportLoses
	faultPageShift
	faultKinds
)

var faultNames = [faultKinds]string{
	"too_many", "error503", "error500_before", "reset_before", "hang_before", "slow",
	"error500_after", "reset_after", "hang", "cut_json", "missing_rows", "reordered", "no_reference", "dropped",
	"import_slow", "import_loses", "page_shift",
}

// befalls reports whether a fault of that kind can happen on that route.
func (f fault) befalls(endpoint string) bool {
	switch f {
	case faultImportSlow, faultImportLoses:
		return endpoint == "POST /lists/{list_id}/import"
	case faultPageShift:
		return endpoint == "GET /lists/{list_id}/contacts"
	}
	return true
}

// probabilities lists them in the order of the kinds.
func (f *Faults) probabilities() [faultKinds]float64 {
	return [faultKinds]float64{
		f.TooMany, f.Error503, f.Error500Before, f.ResetBefore, f.HangBefore, f.Slow,
		f.Error500After, f.ResetAfter, f.Hang, f.CutJSON, f.MissingRows, f.Reordered, f.NoReference, f.Dropped,
		f.ImportSlow, f.ImportLoses, f.PageShift,
	}
}

// drawn is what befalls one request.
type drawn struct {
	has        [faultKinds]bool
	hangFor    time.Duration
	slowBy     time.Duration
	retryAfter int
	dearer     float64    // by which a charge is multiplied; 0: not
	rng        *rand.Rand // for choosing rows; nil when no row fault was drawn
}

// draw decides what befalls a request to that endpoint. s.mu must be held.
func (s *Server) draw(endpoint string) drawn {
	f := &s.faults
	d := drawn{hangFor: f.HangFor, slowBy: f.SlowBy, retryAfter: int((f.RetryAfter + time.Second - 1) / time.Second)}
	if d.hangFor == 0 {
		d.hangFor = 30 * time.Second
	}
	if d.slowBy == 0 {
		d.slowBy = 250 * time.Millisecond
	}
	d.retryAfter = max(d.retryAfter, 1)
	if len(f.Endpoints) > 0 && !slices.Contains(f.Endpoints, endpoint) {
		return d
	}
	d.dearer = f.PriceFactor
	for kind, p := range f.probabilities() {
		if p == 0 || !fault(kind).befalls(endpoint) || s.rng.Float64() >= p || f.Limit > 0 && s.faultsLeft == 0 {
			continue
		}
		if f.Limit > 0 {
			s.faultsLeft--
		}
		d.has[kind] = true
		switch fault(kind) {
		case faultMissingRows, faultReordered, faultImportLoses, faultPageShift:
			d.rng = rand.New(rand.NewPCG(s.opts.Seed, s.rng.Uint64()))
		}
		s.count.faults[kind]++
		if fault(kind) < faultSlow { // nothing after it can happen
			break
		}
	}
	return d
}

// charge is what a message of that price is charged.
func (d *drawn) charge(price money) money {
	if d.dearer == 0 {
		return price
	}
	const step = unit / 10_000
	return money(math.Round(float64(price)*d.dearer/float64(step))) * step
}

// rows returns the positions of an answer's rows, out of n: nil when they are
// all there and in order.
func (d *drawn) rows(n int) []int {
	if n == 0 || !d.has[faultMissingRows] && !d.has[faultReordered] {
		return nil
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if d.has[faultMissingRows] {
		lost := d.rng.IntN(n)
		i := -1
		order = slices.DeleteFunc(order, func(int) bool {
			i++
			return i == lost || d.rng.IntN(4) == 0
		})
	}
	if d.has[faultReordered] {
		d.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	return order
}
