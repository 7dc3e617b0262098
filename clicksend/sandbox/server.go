package sandbox

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The credentials of the demo account when Options names none.
const (
	DefaultUsername = "sandbox"
	DefaultAPIKey   = "SANDBOX-DEMO-KEY"
)

// TestPassword is the documented password, or API key, of the test accounts
// nocredit, notactive and banned (shared/api/semantics.md, section 5).
const TestPassword = "D83DED51-9E35-4D42-9BB9-0E34B7CA85AE"

// MaxBatch is the largest number of messages in one request: documented for
// SMS and MMS, held to for letters and postcards as well.
const MaxBatch = 1000

// Options says how the sandbox behaves. The zero value is a provider without
// limits, faults or lag, with a well-filled account.
type Options struct {
	// Clock tells the time; nil is time.Now. It decides what is due, what has
	// expired and what was sent moments ago. Delays of Faults are real time.
	Clock func() time.Time

	Username string // of the demo account; "" = DefaultUsername
	APIKey   string // "" = DefaultAPIKey
	Balance  string // decimal, at most six places; "" = "1000000.00"
	Currency string // ISO 4217; "" = AUD

	Rate    RateLimit
	Faults  Faults
	History HistoryMode

	// Countries are the ISO codes that the demo account has selected and
	// agreed to for SMS and MMS; nil = AU, US, GB, NZ, CA.
	Countries []string

	Imports ImportMode // of contacts

	Seed uint64 // of ids, faults and refusals

	// RefuseRate is the share of messages, 0 to 1, that a send refuses with
	// INVALID_RECIPIENT or COUNTRY_NOT_ENABLED (post: INVALID_RECIPIENT)
	// although nothing is wrong with them. Which ones depends on Seed and
	// destination alone. Prices and documented test numbers are spared.
	RefuseRate float64
	// RefusedWithID gives refused rows a message_id, as the live API has been
	// seen to do.
	RefusedWithID bool
	// RefusedInHistory shows refused messages in the history as Failed.
	RefusedInHistory bool

	// Throttle is how long the same body to the same number is refused as
	// THROTTLED (SMS and MMS); 0 = 5 s, negative = never.
	Throttle time.Duration

	MaxParts int   // SMS parts after which a body is cut; 0 = 8 (setting_sms_message_char_limit)
	MaxKept  int   // messages kept for the history on each channel; 0 = 5,000,000
	MaxBody  int64 // bytes of a request's body; 0 = 64 MiB

	// DropBodies keeps no message bodies: histories show them empty.
	DropBodies bool
}

// Validate reports what is wrong with the options, and how to mend it.
func (o *Options) Validate() error {
	if o.Balance != "" {
		if _, err := parseMoney(o.Balance); err != nil {
			return fmt.Errorf("balance: %w", err)
		}
	}
	if _, ok := currencies[o.Currency]; o.Currency != "" && !ok {
		return fmt.Errorf("currency %q is not known to the sandbox: use AUD, NZD, USD, GBP, EUR or CAD", o.Currency)
	}
	for _, code := range o.Countries {
		if countryIndex([]byte(code)) == noCountry {
			return fmt.Errorf("country %q is not an ISO 3166-1 code of two letters", code)
		}
	}
	if !(o.RefuseRate >= 0 && o.RefuseRate <= 1) {
		return fmt.Errorf("refuse rate %v is not between 0 and 1", o.RefuseRate)
	}
	if o.Imports.Delay < 0 || o.Imports.RowsPerSecond < 0 {
		return errors.New("imports: delay and rows a second must not be negative")
	}
	if o.MaxParts < 0 || o.MaxKept < 0 || o.MaxBody < 0 {
		return errors.New("max parts, max kept and max body must not be negative")
	}
	return errors.Join(o.Faults.validate(), o.Rate.validate(), o.History.validate())
}

// Server is the provider. It is an http.Handler, safe for concurrent use.
type Server struct {
	opts   Options
	routes router
	dial   *dialPlan
	gsm    *gsmTable
	ids    idMaker
	bufs   sync.Pool // *buffers
	closed chan struct{}
	close  sync.Once

	mu         sync.Mutex
	rate       RateLimit
	faults     Faults
	faultsLeft int
	history    HistoryMode
	rng        *rand.Rand
	accounts   map[string]*account
	demo       *account
	files      fileStore
	ghost      uint64 // last number of an id that names no kept message
	count      counters
}

// New makes a server. Options that Validate refuses make it panic: check them
// first when they come from a user.
func New(o Options) *Server {
	if err := o.Validate(); err != nil {
		panic("sandbox: " + err.Error())
	}
	setDefault(&o.Username, DefaultUsername)
	setDefault(&o.APIKey, DefaultAPIKey)
	setDefault(&o.Balance, "1000000.00")
	setDefault(&o.Currency, "AUD")
	setDefault(&o.Throttle, 5*time.Second)
	setDefault(&o.MaxParts, 8)
	setDefault(&o.MaxKept, 5_000_000)
	setDefault(&o.MaxBody, 64<<20)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Countries == nil {
		o.Countries = []string{"AU", "US", "GB", "NZ", "CA"}
	}
	s := &Server{opts: o, dial: newDialPlan(), gsm: newGSMTable(), ids: newIDMaker(o.Seed), closed: make(chan struct{})}
	s.bufs.New = func() any { return &buffers{} }
	for _, group := range [][]route{
		accountRoutes(), countryRoutes(), smsRoutes(), mmsRoutes(), letterRoutes(), postcardRoutes(),
		returnAddressRoutes(), uploadRoutes(), listRoutes(), contactRoutes(),
	} {
		for _, r := range group {
			s.routes.add(r)
		}
	}
	s.Reset()
	return s
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Reset forgets every message, file, address and count, and brings accounts,
// faults, history and rate back to what the options say.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate, s.history = s.opts.Rate, s.opts.History
	s.setFaults(s.opts.Faults)
	s.rng = rand.New(rand.NewPCG(s.opts.Seed, 0x5A4D))
	s.accounts = newAccounts(&s.opts)
	s.demo = s.accounts[s.opts.Username]
	s.files = fileStore{byName: map[string]*file{}, hosts: map[string]bool{}}
	s.ghost = 0
	s.count = counters{}
	for _, a := range s.accounts {
		a.addList(s, optOutName)
	}
}

// SetFaults replaces the faults.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setFaults(f)
}

func (s *Server) setFaults(f Faults) { s.faults, s.faultsLeft = f, f.Limit }

// SetHistory replaces how histories behave.
func (s *Server) SetHistory(h HistoryMode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = h
}

// SetRate replaces the rate limit; running windows go on.
func (s *Server) SetRate(l RateLimit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate = l
}

// Close ends requests that a fault holds. The server answers nothing well
// after it.
func (s *Server) Close() { s.close.Do(func() { close(s.closed) }) }

// Hint says how to point a client at a sandbox that listens on addr, for a
// person to read or a shell to source.
func (s *Server) Hint(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = addr, ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	base := host
	if port != "" {
		base = net.JoinHostPort(host, port)
	}
	return "# The ClickSend sandbox listens on " + addr + ". Nothing is sent. Point a client at it with:\n" +
		"export CLICKSEND_BASE_URL=http://" + base + "/v3\n" +
		"export CLICKSEND_USERNAME=" + s.opts.Username + "\n" +
		"export CLICKSEND_API_KEY=" + s.opts.APIKey + "\n" +
		"# What it accepted, refused and charged: curl -u \"$CLICKSEND_USERNAME:$CLICKSEND_API_KEY\" http://" + base + "/_sandbox/stats\n"
}

// call is one request on its way through the sandbox.
type call struct {
	s      *Server
	a      *account
	r      *http.Request
	route  *route
	params []string // of the path, in its order
	body   []byte
	now    time.Time
	drawn  drawn
	buf    *buffers
}

// buffers are reused from request to request.
type buffers struct {
	body  []byte
	out   []byte
	phone []phoneMsg
	post  []postMsg
	texts []byte
}

// ServeHTTP answers the API, the files and the controls.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/v3/"):
		s.serveAPI(w, r)
	case strings.HasPrefix(path, "/files/"):
		s.serveFile(w, r)
	case strings.HasPrefix(path, "/_sandbox/"):
		s.serveControl(w, r)
	default:
		writeError(w, notFound("The URI requested is invalid: the API lies under /v3."))
	}
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	buf := s.bufs.Get().(*buffers)
	defer s.bufs.Put(buf)
	q := &call{s: s, r: r, buf: buf}
	rt, params, known := s.routes.find(r.Method, r.URL.Path[len("/v3"):])
	q.route, q.params = rt, params
	endpoint := "unknown"
	if rt != nil {
		endpoint = rt.name
	}
	bodyErr := q.readBody(w)

	s.mu.Lock()
	q.now = s.opts.Clock() // under the lock, so that moments and counts go in one order
	s.count.all.add(q.now)
	s.count.endpoint(endpoint).meter.add(q.now)
	fail := q.admit(w.Header(), known, bodyErr)
	if fail == nil {
		q.drawn = s.draw(endpoint)
	}
	s.mu.Unlock()

	if fail == nil {
		if fail = q.before(w); fail == nil {
			var out []byte
			if out, fail = rt.handle(q, buf.out[:0]); fail == nil {
				buf.out = out
				if fail = q.after(w); fail == nil {
					if q.drawn.has[faultCutJSON] {
						out = out[:len(out)/2]
					}
					writeJSON(w, http.StatusOK, out)
					return
				}
			}
		}
	}
	s.mu.Lock()
	s.count.answered(endpoint, fail.http)
	s.mu.Unlock()
	writeError(w, fail)
}

// admit checks everything that does not depend on the operation. s.mu must be
// held.
func (q *call) admit(h http.Header, known bool, bodyErr *apiError) *apiError {
	switch {
	case q.route == nil && known:
		return &apiError{405, "METHOD_NOT_ALLOWED", "Method doesn't exist or is not allowed."}
	case q.route == nil:
		return notFound("The URI requested is invalid or the resource requested does not exists.")
	}
	if q.route.open {
		q.a = q.s.demo
	} else {
		a, fail := q.s.authenticate(q.r)
		if fail != nil {
			h.Set("Www-Authenticate", `Basic realm="ClickSend sandbox"`)
			return fail
		}
		q.a = a
	}
	if !q.s.take(q.a, q.route.name, q.now, h) {
		return tooManyRequests()
	}
	return bodyErr
}

func tooManyRequests() *apiError { return &apiError{429, "TOO_MANY_REQUESTS", "Rate Limit Exceeded."} }

// readBody reads the whole body, so that no answer depends on how much of the
// request has arrived.
func (q *call) readBody(w http.ResponseWriter) *apiError {
	if q.r.Body == nil || q.r.Body == http.NoBody {
		return nil
	}
	limit := q.s.opts.MaxBody
	tooLarge := &apiError{413, "REQUEST_ENTITY_TOO_LARGE", "The request is larger than " + strconv.FormatInt(limit, 10) + " bytes."}
	if q.r.ContentLength > limit {
		return tooLarge
	}
	body := q.buf.body[:0]
	if n := q.r.ContentLength; n > int64(cap(body)) {
		body = make([]byte, 0, n+1)
	}
	src := http.MaxBytesReader(w, q.r.Body, limit)
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := src.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			q.buf.body, q.body = body, body
			return nil
		}
		if err != nil {
			q.buf.body = body
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return tooLarge
			}
			return badRequest("The body could not be read.")
		}
	}
}

// before lets the faults happen that come before anything is accepted.
func (q *call) before(w http.ResponseWriter) *apiError {
	d := &q.drawn
	switch {
	case d.has[faultTooMany]:
		w.Header().Set("Retry-After", strconv.Itoa(d.retryAfter))
		return tooManyRequests()
	case d.has[fault503]:
		return &apiError{503, "SERVICE_UNAVAILABLE", "Service unavailable."}
	case d.has[fault500Before]:
		return internalError()
	case d.has[faultResetBefore]:
		reset(w)
	case d.has[faultHangBefore]:
		q.wait(d.hangFor)
		reset(w)
	case d.has[faultSlow]:
		q.wait(d.slowBy)
		q.now = q.s.opts.Clock()
	}
	return nil
}

// after lets the faults happen that come when everything was accepted.
func (q *call) after(w http.ResponseWriter) *apiError {
	d := &q.drawn
	if d.has[faultHang] {
		q.wait(d.hangFor)
	}
	if d.has[faultResetAfter] {
		reset(w)
	}
	if d.has[fault500After] {
		return internalError()
	}
	return nil
}

// wait holds the request until the time is over, the client has gone or the
// server is closed.
func (q *call) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-q.r.Context().Done():
	case <-q.s.closed:
	}
}

// reset ends the connection with a TCP reset and the handler with it.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			// A connection that is gone already needs no reset.
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

func writeJSON(w http.ResponseWriter, code int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	// A client that has gone cannot be told so.
	_, _ = w.Write(body)
}

func writeError(w http.ResponseWriter, e *apiError) {
	out := strconv.AppendInt([]byte(`{"http_code":`), int64(e.http), 10)
	out = appendField(out, "response_code", e.code)
	out = appendField(out, "response_msg", e.msg)
	writeJSON(w, e.http, append(out, `,"data":null}`...))
}

// begin opens the envelope of a 200 answer up to its data.
func begin(out []byte, msg string) []byte {
	out = append(out, `{"http_code":200,"response_code":"SUCCESS"`...)
	out = appendField(out, "response_msg", msg)
	return append(out, `,"data":`...)
}

// enter reads the body's single JSON object, member by member.
func (q *call) enter(member func(c *cursor, name []byte) bool) *apiError {
	c := newCursor(q.body)
	c.esc = q.buf.texts[:0]
	if c.object(func(name []byte) bool { return member(c, name) }) && c.end() {
		q.buf.texts = c.esc
		return nil
	}
	return badRequest("The body is not the JSON that is expected: " + c.err.Error() + ".")
}
