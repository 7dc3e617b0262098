package clicksend

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Defaults and limits of a client.
const (
	// DefaultBaseURL is ClickSend itself (shared/api/semantics.md, section 1).
	DefaultBaseURL = "https://rest.clicksend.com/v3"
	// DefaultTimeout is how long one request may take, from waiting for a
	// connection to the last byte of the answer.
	DefaultTimeout = 30 * time.Second
	// DefaultMaxBody is the largest answer that is read, in bytes after
	// decompression. The answer to 1,000 messages is about 0.4 MB.
	DefaultMaxBody = 32 << 20
	// MaxMessages is the largest number of messages or recipients in one
	// request. The provider states it for SMS and MMS and nothing for letters
	// and postcards, which are held to the same (shared/api/semantics.md,
	// section 10).
	MaxMessages = 1000
)

// Config says how to reach an account. The zero value of every field but
// Username and APIKey is usable.
type Config struct {
	// BaseURL is where the API is, with its /v3; DefaultBaseURL when empty.
	BaseURL string
	// Username and APIKey are the account's API credentials (HTTP Basic).
	Username, APIKey string
	// Timeout bounds each request; a shorter deadline of the context wins.
	// DefaultTimeout when zero.
	Timeout time.Duration
	// UserAgent is sent with each request; "clicksend-go" when empty.
	UserAgent string
	// MaxBody is the largest answer that is read, in bytes; DefaultMaxBody
	// when zero. A longer one is an error.
	MaxBody int64
	// OnRate, when set, is called for every response that bears rate-limit
	// headers or is a 429, before the call that caused it returns. endpoint is
	// the operation, such as "POST /sms/send": limits look separate for each
	// (shared/api/PROVIDER.md, Limits). It is called from many goroutines.
	OnRate func(endpoint string, r RateInfo)
	// Now is the clock by which Retry-After dates are read; time.Now when nil.
	// Deadlines of requests go by the real clock.
	Now func() time.Time
}

// String describes the configuration without its credentials.
func (c Config) String() string { return "clicksend.Config{BaseURL: " + safeBase(c.BaseURL) + "}" }

// GoString is String, so that no verb of package fmt prints the key.
func (c Config) GoString() string { return c.String() }

// Client speaks to one account. It is safe for use by many goroutines, which
// share its connections.
type Client struct {
	SMS             *SMSService
	MMS             *MMSService
	Letters         *LettersService
	Postcards       *PostcardsService
	Account         *AccountService
	Countries       *CountriesService
	Uploads         *UploadsService
	ReturnAddresses *ReturnAddressesService
	Lists           *ListsService
	Contacts        *ContactsService

	base      *url.URL
	timeout   time.Duration
	maxBody   int64
	onRate    func(string, RateInfo)
	now       func() time.Time
	transport *http.Transport
	// prepare sets the headers every request bears. The credentials live in
	// this closure alone, so that printing a Client cannot show them.
	prepare func(http.Header)
	// secrets hands out what must never appear in an error.
	secrets func() []string
}

// New makes a client. It contacts nobody. The error, if any, repeats no
// credential.
func New(cfg Config) (*Client, error) {
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.Username == "" || cfg.APIKey == "":
		return nil, errors.New("clicksend: the API username and the API key are both needed: the dashboard shows them under API credentials")
	case strings.ContainsRune(cfg.Username, ':'):
		return nil, errors.New("clicksend: the API username holds a colon, which HTTP Basic authentication cannot carry")
	case cfg.Timeout < 0 || cfg.MaxBody < 0:
		return nil, errors.New("clicksend: Timeout and MaxBody cannot be negative")
	}
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte(cfg.Username+":"+cfg.APIKey))
	agent := orDefault(cfg.UserAgent, "clicksend-go")
	key := cfg.APIKey
	c := &Client{
		base:    base,
		timeout: orDefault(cfg.Timeout, DefaultTimeout),
		maxBody: orDefault(cfg.MaxBody, DefaultMaxBody),
		onRate:  cfg.OnRate,
		now:     cfg.Now,
		prepare: func(h http.Header) {
			h.Set("Authorization", auth)
			h.Set("User-Agent", agent)
			h.Set("Accept", "application/json")
		},
		secrets: func() []string { return []string{key, strings.TrimPrefix(auth, "Basic ")} },
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.transport = newTransport(c.timeout)
	c.SMS = &SMSService{c}
	c.MMS = &MMSService{c}
	c.Letters = &LettersService{c}
	c.Postcards = &PostcardsService{c}
	c.Account = &AccountService{c}
	c.Countries = &CountriesService{c}
	c.Uploads = &UploadsService{c}
	c.ReturnAddresses = &ReturnAddressesService{c}
	c.Lists = &ListsService{c}
	c.Contacts = &ContactsService{c}
	return c, nil
}

// BaseURL is where the client sends to. It holds no credentials.
func (c *Client) BaseURL() string { return c.base.String() }

// Close closes the connections that are idle. Requests under way go on.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// guardKey is the context key of WithGuard.
type guardKey struct{}

// WithGuard returns a context under which guard is called once, immediately
// before the first byte of the request is handed to the operating system. When
// it returns an error nothing is written and the call fails with an error of
// kind NotSent that wraps the guard's. The guard runs on a goroutine of its
// own. Its time counts towards the request's deadline, which is asked again
// after it; the call does not wait for it beyond that, and what it then answers
// is ignored. It must not call the client with the context it is in.
func WithGuard(ctx context.Context, guard func() error) context.Context {
	return context.WithValue(ctx, guardKey{}, guard)
}

// parseBase checks the base URL and drops its trailing slash.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(orDefault(raw, DefaultBaseURL)))
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		// The text of url.Parse's error would repeat a password in the URL.
		return nil, errors.New("clicksend: the base URL is not of the form https://HOST/v3")
	case u.User != nil:
		return nil, errors.New("clicksend: the base URL holds a user name or password: give credentials as Username and APIKey")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, errors.New("clicksend: the base URL holds a query or a fragment: it should end in /v3")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// safeBase is the base URL when it is fit to be printed.
func safeBase(raw string) string {
	u, err := parseBase(raw)
	if err != nil {
		return "invalid"
	}
	return u.String()
}

// orDefault is v, or def when v is the zero value.
func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// checkCount refuses what the provider is sure to refuse.
func checkCount(op string, n int, what string) error {
	switch {
	case n == 0:
		return invalid(op, "there are no %s: give 1 to %d", what, MaxMessages)
	case n > MaxMessages:
		return invalid(op, "there are %d %s, more than the %d that one request may carry: cut them into batches", n, what, MaxMessages)
	}
	return nil
}

// invalid is the error of a request that was never made because it is sure to
// be refused.
func invalid(op, format string, args ...any) error {
	return &Error{Kind: Invalid, Op: op, Message: fmt.Sprintf(format, args...)}
}
