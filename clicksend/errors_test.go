package clicksend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTheHTTPStatusDecidesTheKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status     int
		send, read Kind
	}{
		{301, UnknownOutcome, Unreadable},
		{302, UnknownOutcome, Unreadable},
		{307, UnknownOutcome, Unreadable},
		{308, UnknownOutcome, Unreadable},
		{400, BadRequest, BadRequest},
		{401, Unauthorised, Unauthorised},
		{403, Forbidden, Forbidden},
		{404, NotFound, NotFound},
		{405, BadRequest, BadRequest},
		{408, UnknownOutcome, Unanswered},
		{413, TooLarge, TooLarge},
		{422, BadRequest, BadRequest},
		{429, RateLimited, RateLimited},
		{500, UnknownOutcome, ServerError},
		{502, UnknownOutcome, ServerError},
		{503, UnknownOutcome, ServerError},
		{504, UnknownOutcome, ServerError},
	} {
		for _, body := range []string{`{"http_code":1,"response_code":"X","response_msg":"m","data":null}`, "", "<html>", `{"data"`} {
			p := &provider{status: c.status, body: body, header: map[string]string{"Location": "/v3/elsewhere"}}
			cl := serve(t, p)
			if err := sendOne(t.Context(), cl); KindOf(err) != c.send {
				t.Errorf("send %d %q: %v, want %s", c.status, body, err, c.send)
			}
			if _, err := cl.SMS.History(t.Context(), HistoryQuery{}); KindOf(err) != c.read {
				t.Errorf("read %d %q: %v, want %s", c.status, body, err, c.read)
			}
			if _, err := cl.SMS.Price(t.Context(), oneSMS()); KindOf(err) != c.read {
				t.Errorf("price %d %q: %v, want %s", c.status, body, err, c.read)
			}
			if err := cl.SMS.Cancel(t.Context(), "A1"); KindOf(err) != c.send {
				t.Errorf("cancel %d %q: %v, want %s", c.status, body, err, c.send)
			}
			if n := p.count(); n != 4 {
				t.Errorf("%d: 4 calls made %d requests", c.status, n)
			}
		}
	}
}

func TestA2xxThatCannotBeReadLeavesASendUnknown(t *testing.T) {
	t.Parallel()
	good := example(t, "POST_sms_send")
	for name, body := range map[string]string{
		"empty":          "",
		"html":           "<html>login</html>",
		"cut off":        good[:len(good)/2],
		"trailing":       good + "x",
		"two":            good + good,
		"no envelope":    `{"messages":[]}`,
		"data a string":  `{"http_code":200,"response_code":"SUCCESS","data":"x"}`,
		"data true":      `{"http_code":200,"response_code":"SUCCESS","data":true}`,
		"data 1":         `{"http_code":200,"response_code":"SUCCESS","data":1}`,
		"rows a string":  `{"http_code":200,"response_code":"SUCCESS","data":{"messages":"x"}}`,
		"says 500":       `{"http_code":500,"response_code":"INTERNAL_SERVER_ERROR","data":null}`,
		"says wrong":     `{"http_code":200,"response_code":"SOMETHING_IS_WRONG","data":[]}`,
		"says throttled": `{"http_code":200,"response_code":"THROTTLED","data":[]}`,
	} {
		c := serve(t, &provider{body: body})
		if err := sendOne(t.Context(), c); KindOf(err) != UnknownOutcome {
			t.Errorf("%s: send gives %v", name, err)
		}
		if _, err := c.SMS.Price(t.Context(), oneSMS()); KindOf(err) != Unreadable {
			t.Errorf("%s: price gives %v", name, err)
		}
	}
}

func TestARefusalInsideA200IsARefusalWhenNothingWasDone(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Kind{
		`{"http_code":400,"response_code":"BAD_REQUEST","data":null}`:            BadRequest,
		`{"http_code":401,"response_code":"UNAUTHORIZED","data":[]}`:             Unauthorised,
		`{"response_code":"FORBIDDEN","data":[]}`:                                Forbidden,
		`{"http_code":429,"response_code":"TOO_MANY_REQUESTS","data":{}}`:        RateLimited,
		`{"http_code":200,"response_code":"INSUFFICIENT_CREDIT","data":[]}`:      BadRequest,
		`{"http_code":400,"response_code":"BAD_REQUEST","data":{"messages":[]}}`: BadRequest,
	} {
		err := sendOne(t.Context(), serve(t, &provider{body: body}))
		if KindOf(err) != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
		var e *Error
		if errors.As(err, &e) && strings.Contains(body, "INSUFFICIENT_CREDIT") && e.Status().Verdict() != PausesCampaign {
			t.Errorf("the error's status is %q", e.Status())
		}
	}
	// With a row, the row counts.
	c := serve(t, &provider{body: `{"http_code":400,"response_code":"BAD_REQUEST","data":{"messages":[{"to":"+61411111111","status":"SUCCESS","message_id":"A"}]}}`})
	res, err := c.SMS.Send(t.Context(), oneSMS())
	if err != nil || len(res.Rows) != 1 || res.Rows[0].Status.Verdict() != Accepted {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestRateLimitedSaysHowLongToWait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header map[string]string
		want   time.Duration
	}{
		"seconds":    {map[string]string{"Retry-After": "7"}, 7 * time.Second},
		"date":       {map[string]string{"Retry-After": "Wed, 21 Oct 2015 07:28:05 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 5 * time.Second},
		"reset":      {map[string]string{"X-Ratelimit-Reset": "58"}, 58 * time.Second},
		"reset unix": {map[string]string{"X-Ratelimit-Reset": "2000000030"}, 30 * time.Second},
		"neither":    {nil, 0},
		"nonsense":   {map[string]string{"Retry-After": "soon"}, 0},
	} {
		cl := serve(t, &provider{status: 429, header: c.header}, func(cfg *Config) {
			cfg.Now = func() time.Time { return time.Unix(2_000_000_000, 0) }
		})
		var e *Error
		if err := sendOne(t.Context(), cl); !errors.As(err, &e) || e.Kind != RateLimited || e.RetryAfter != c.want {
			t.Errorf("%s: %v, want a wait of %s", name, err, c.want)
		}
	}
}

// personal are the texts that no error may repeat.
var personalTexts = []string{
	testKey, "YXBpLXVzZXI6", "+61411222333", "411222333", "0411 222 333", "Dear Mary", "mary@example.org",
	"Mary Brown", "12 Hidden Lane", "Secretville", "AB1 2CD", "custom-7",
}

func TestErrorsRepeatNothingOfTheRequestOrItsCredentials(t *testing.T) {
	t.Parallel()
	said := "key " + testKey + " of YXBpLXVzZXI6S0VZLTFGMkUzRDRDLVNFQ1JFVA== : +61411222333, 0411 222 333 said 'Dear Mary, 20% off' to mary@example.org: " +
		"Mary Brown, 12 Hidden Lane, Secretville AB1 2CD (custom-7)"
	recipient := PostRecipient{Address: Address{Name: "Mary Brown", Line1: "12 Hidden Lane", City: "Secretville", PostalCode: "AB1 2CD"}, ReturnAddressID: 1, CustomString: "custom-7"}
	sms := []SMSMessage{{To: "+61411222333", Body: "Dear Mary, 20% off", FromEmail: "mary@example.org", CustomString: "custom-7"}}
	quoted := strings.ReplaceAll(said, `"`, `\"`)
	for _, p := range []*provider{
		{status: 400, body: `{"http_code":400,"response_code":"BAD_REQUEST","response_msg":"` + quoted + `","data":null}`},
		{status: 400, body: `{"http_code":400,"response_code":"` + quoted + `","response_msg":"x","data":null}`},
		{status: 500, body: said},
		{status: 200, body: said},
		{status: 200, body: `{"http_code":200,"response_code":"SUCCESS","response_msg":"` + quoted + `","data":"` + quoted + `"}`},
		{status: 200, body: `{"http_code":200,"response_code":"SUCCESS","data":{"` + quoted + `":1,"messages":"` + quoted + `","recipients":"` + quoted + `"}}`},
		{status: 302, body: said, header: map[string]string{"Location": "http://x/" + strings.ReplaceAll(said, " ", "")}},
	} {
		c := serve(t, p)
		_, err1 := c.SMS.Send(t.Context(), sms)
		// A message that only the words of the recipients' addresses are in.
		p.answers(p.status, p.header, strings.ReplaceAll(p.body, "+61411222333, 0411 222 333 said 'Dear Mary, 20% off' to mary@example.org: ", ""))
		_, err2 := c.Letters.Price(t.Context(), LetterRequest{FileURL: "https://x.test/a.pdf", Recipients: []PostRecipient{recipient}})
		for i, err := range []error{err1, err2} {
			if err == nil {
				t.Fatalf("%d %s: no error", p.status, p.body)
			}
			texts := personalTexts
			if i == 0 {
				texts = personalTexts[:7] // an SMS knows no address
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				for _, v := range texts {
					for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e)} {
						if strings.Contains(text, v) {
							t.Errorf("%q is in the error %s", v, text)
						}
					}
				}
				if len(e.Error()) > 600 {
					t.Errorf("the error has %d bytes", len(e.Error()))
				}
			}
		}
	}
}

func TestAMalformedAnswerIsNotRepeatedInTheError(t *testing.T) {
	t.Parallel()
	for _, head := range []string{
		"HTTP/1.1 mary@example.org +61411222333\r\n\r\n",
		"+61411222333 mary@example.org\r\n\r\n",
		"HTTP/1.1 200 OK\r\n+61411222333 mary@example.org\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: +61411222333 mary@example.org\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: +61411222333 mary@example.org\r\n\r\n",
	} {
		s := newRawServer(t, func(c *rawConn) {
			c.request()
			c.write(head)
		})
		err := sendOne(t.Context(), clientOf(t, s.url()))
		if KindOf(err) != UnknownOutcome {
			t.Errorf("%q: %v", head, err)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), "mary") || strings.Contains(e.Error(), "411222333") {
				t.Errorf("%q: the error says %v", head, e)
			}
		}
	}
}

func TestPrintingAClientOrItsConfigurationShowsNoKey(t *testing.T) {
	t.Parallel()
	cfg := Config{BaseURL: "https://example.test/v3", Username: testUser, APIKey: testKey}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), cfg.String(), fmt.Sprintf("%v", &cfg),
		fmt.Sprintf("%+v", c), fmt.Sprintf("%+v", *c), fmt.Sprintf("%#v", *c), fmt.Sprintf("%+v", *c.SMS),
	} {
		if strings.Contains(text, testKey) || strings.Contains(text, "YXBpLXVzZXI6") {
			t.Errorf("the key is in %s", text)
		}
	}
}

func TestNewRefusesWhatCannotWorkWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"no key":        {Username: "u"},
		"no user":       {APIKey: "hushhush"},
		"colon":         {Username: "hush:hush", APIKey: "hushhush"},
		"scheme":        {BaseURL: "ftp://hushhush/v3", Username: "u", APIKey: "hushhush"},
		"no host":       {BaseURL: "https:///v3", Username: "u", APIKey: "hushhush"},
		"not a URL":     {BaseURL: "https://a:hushhush@%zz", Username: "u", APIKey: "hushhush"},
		"user in URL":   {BaseURL: "https://a:hushhush@host/v3", Username: "u", APIKey: "hushhush"},
		"query":         {BaseURL: "https://host/v3?key=hushhush", Username: "u", APIKey: "hushhush"},
		"negative time": {Username: "u", APIKey: "hushhush", Timeout: -1},
	} {
		c, err := New(cfg)
		if err == nil || c != nil {
			t.Errorf("%s: New gives no error", name)
			continue
		}
		if strings.Contains(err.Error(), "hush") || strings.Contains(fmt.Sprintf("%+v", cfg), "hushhush") {
			t.Errorf("%s: a secret is in %v or %+v", name, err, cfg)
		}
	}
	c, err := New(Config{BaseURL: "https://host/v3/", Username: "u", APIKey: "k"})
	if err != nil || c.BaseURL() != "https://host/v3" {
		t.Errorf("the base URL is %v, %v", c, err)
	}
}

func TestKindOfLooksThroughWrapping(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("send batch 3: %w", &Error{Kind: RateLimited, Op: "POST /sms/send"})
	if KindOf(err) != RateLimited || KindOf(nil) != "" || KindOf(context.Canceled) != "" {
		t.Error("KindOf is wrong")
	}
}
