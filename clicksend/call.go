package clicksend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// operation is one call of the API: what to send, how to read the answer.
type operation struct {
	name   string // method and path template: the name in errors and for rates
	path   string // the path with its ids filled in; the template's when empty
	query  url.Values
	effect bool // see Kind
	bare   bool // the answer has no envelope (GET /mms-campaigns)

	payload     any    // marshalled as the JSON body; nil for none
	body        []byte // a body that is ready, instead of payload
	contentType string // of body

	// personal hands out the values of the request that must not appear in an
	// error, should the provider repeat them; may be nil.
	personal func() []string
	// decode reads the answer's data.
	decode func(jsontext.Value) error
}

// call builds the request, makes it, and reads its answer. It makes it once.
func (c *Client) call(ctx context.Context, op operation) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	attempt := newAttempt(ctx)
	req, err := c.build(httptrace.WithClientTrace(ctx, attempt.trace()), op)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return &Error{Kind: NotSent, Op: op.name, Message: "the context ended before the request was made", err: err}
	}
	// RoundTrip itself and not http.Client: it follows no redirect.
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return c.lost(op, attempt, nil, err)
	}
	body, err := readBody(resp, c.maxBody)
	if err != nil {
		return c.lost(op, attempt, resp, err)
	}
	if wrote, refusal := attempt.finish(true); !wrote {
		// An answer to a request that was never written is not its answer.
		return &Error{Kind: NotSent, Op: op.name, Message: "the server answered before the request was written", err: refusal}
	}
	return c.read(op, resp, body)
}

// build makes the request. Its body is a type that net/http does not know, so
// that it sets no GetBody and cannot write the body a second time.
func (c *Client) build(ctx context.Context, op operation) (*http.Request, error) {
	method, path, _ := strings.Cut(op.name, " ")
	if op.path != "" {
		path = op.path
	}
	target := c.base.String() + path
	if len(op.query) > 0 {
		target += "?" + op.query.Encode()
	}
	body, contentType := op.body, op.contentType
	if op.payload != nil {
		encoded, err := json.Marshal(op.payload)
		if err != nil {
			// The cause would name the value.
			return nil, invalid(op.name, "the request cannot be written as JSON: a text in it is not valid UTF-8")
		}
		body, contentType = encoded, "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, invalid(op.name, "the request's address cannot be built")
	}
	c.prepare(req.Header)
	// The API asks for the header on every request (shared/api/semantics.md,
	// section 1).
	req.Header.Set("Content-Type", orDefault(contentType, "application/json"))
	if len(body) > 0 {
		req.Body = &onceBody{r: bytes.NewReader(body)}
		req.ContentLength = int64(len(body))
	}
	return req, nil
}

// onceBody is a body that can be read once.
type onceBody struct{ r *bytes.Reader }

func (b *onceBody) Read(p []byte) (int, error) { return b.r.Read(p) }
func (b *onceBody) Close() error               { return nil }

// errTooLong is the answer that does not end within MaxBody.
var errTooLong = errors.New("the answer is too long")

// readBody reads the answer to its end, and not beyond limit.
func readBody(resp *http.Response, limit int64) ([]byte, error) {
	defer resp.Body.Close()
	var buf bytes.Buffer
	if n := resp.ContentLength; n > limit {
		return nil, errTooLong
	} else if n > 0 {
		buf.Grow(int(n) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if err == nil && n > limit {
		err = errTooLong
	}
	return buf.Bytes(), err
}

// lost makes the error of a request whose answer did not come, or not to its
// end. resp is the head of the answer, if that came.
func (c *Client) lost(op operation, a *attempt, resp *http.Response, err error) error {
	e := &Error{Op: op.name}
	wrote, refusal := a.finish(false)
	if resp != nil {
		e.HTTPStatus = resp.StatusCode
		e.RetryAfter = c.rate(op, resp).Wait()
	}
	switch {
	case !wrote:
		e.Kind, e.Message = NotSent, "nothing was sent"
		if e.err = refusal; e.err == nil {
			e.err = safeCause(err)
		}
		// The context's end may show as any error of a connection that it closed.
		if ctxErr := a.ctx.Err(); ctxErr != nil && refusal == nil {
			e.err = ctxErr
		}
		return e
	case resp != nil && (resp.StatusCode < 200 || resp.StatusCode > 299):
		// The status alone says enough.
		e.Kind, e.Message = kindOfStatus(resp.StatusCode, op.effect), "its explanation was cut off"
	case op.effect:
		e.Kind, e.Message = UnknownOutcome, "the request was written, at least in part, and no complete answer came: it may have been carried out"
	case errors.Is(err, errTooLong):
		e.Kind, e.Message = Unreadable, fmt.Sprintf("the answer is longer than %d bytes", c.maxBody)
		return e
	case resp != nil && errors.Is(err, io.ErrUnexpectedEOF):
		e.Kind, e.Message = Unreadable, "the answer was cut off"
	default:
		e.Kind, e.Message = Unanswered, "no complete answer came"
	}
	switch ctxErr := a.ctx.Err(); {
	case ctxErr != nil:
		e.err = ctxErr
	case refusal != nil:
		e.err = refusal
	default:
		e.err = safeCause(err)
	}
	return e
}

// rate reads the rate headers and passes them on.
func (c *Client) rate(op operation, resp *http.Response) RateInfo {
	info, any := readRate(resp.StatusCode, resp.Header, c.now())
	if any && c.onRate != nil {
		c.onRate(op.name, info)
	}
	return info
}

// read turns a complete answer into data or an error.
func (c *Client) read(op operation, resp *http.Response, body []byte) error {
	rate := c.rate(op, resp)
	status := resp.StatusCode
	env, envErr := readEnvelope(body, op.bare && status/100 == 2)
	e := &Error{Op: op.name, HTTPStatus: status, ResponseCode: safeCode(env.Code)}
	fail := func(kind Kind, message string) error {
		e.Kind = kind
		e.Message = message
		if said := c.redact(op, env.Message); said != "" {
			if message != "" {
				e.Message += ": "
			}
			e.Message += said
		}
		return e
	}
	if status/100 != 2 {
		kind := kindOfStatus(status, op.effect)
		if kind == RateLimited || status >= 500 {
			e.RetryAfter = rate.Wait()
		}
		hint := ""
		if status/100 == 3 {
			hint = "the server points to another address, which is not followed: check the base URL"
		}
		return fail(kind, hint)
	}
	unclear := Unreadable
	if op.effect {
		unclear = UnknownOutcome
	}
	if envErr != nil {
		return fail(unclear, "the answer cannot be read: "+envErr.Error())
	}
	// The HTTP status says yes; the provider's own words may say no. They
	// count when the answer carries nothing that was done.
	if env.refusal() && !hasRows(env.Data) {
		kind := unclear
		if code := int(env.HTTPCode); code >= 400 && code < 500 {
			kind = kindOfStatus(code, op.effect)
		} else if v := Status(env.Code).Verdict(); v == Refused || v == PausesCampaign || v == Passing {
			kind = BadRequest
		}
		return fail(kind, "")
	}
	if err := op.decode(env.Data); err != nil {
		return fail(unclear, "the answer cannot be read: "+c.redact(op, err.Error()))
	}
	return nil
}

// redact takes the client's secrets and the request's own values out of text.
func (c *Client) redact(op operation, text string) string {
	if text == "" {
		return ""
	}
	values := c.secrets()
	if op.personal != nil {
		values = append(values, op.personal()...)
	}
	return redact(text, values)
}
