package clicksend

import (
	"context"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// SMSService sends text messages (shared/api/semantics.md, section 12).
type SMSService struct{ c *Client }

// SMSMessage is one text message. Fields left empty are not transmitted.
type SMSMessage struct {
	To   string `json:"to,omitzero"` // E.164, or a national number together with Country
	Body string `json:"body,omitzero"`
	// From is the sender: a dedicated number, or up to 11 letters and digits
	// without spaces. Empty is the account's default.
	From string `json:"from,omitzero"`
	// CustomString is passed back with the answer, history, receipts and replies.
	CustomString string `json:"custom_string,omitzero"`
	Country      string `json:"country,omitzero"`    // ISO 3166-1 alpha-2
	FromEmail    string `json:"from_email,omitzero"` // where replies are mailed to; the account's owner when empty
	Source       string `json:"source,omitzero"`     // what sends, such as "go"
	Schedule     int64  `json:"schedule,omitzero"`   // unix seconds; 0 is now
	ListID       int64  `json:"list_id,omitzero"`    // a whole contact list, instead of To
}

// SMSRow is what the provider says of one text message.
type SMSRow struct {
	Direction    string `json:"direction"`
	Date         int64  `json:"date"` // unix seconds
	To           string `json:"to"`
	Body         string `json:"body"`
	From         string `json:"from"`
	Schedule     int64  `json:"schedule"`
	MessageID    string `json:"message_id"`
	Parts        int64  `json:"message_parts"`
	Price        Amount `json:"message_price"`
	CustomString string `json:"custom_string"`
	UserID       int64  `json:"user_id"`
	SubaccountID int64  `json:"subaccount_id"`
	Country      string `json:"country"`
	Carrier      string `json:"carrier"`
	Status       Status `json:"status"`

	Reading
}

// Outcome is the row in the words that all channels share.
func (r SMSRow) Outcome() Outcome {
	return Outcome{
		To: r.To, MessageID: r.MessageID, CustomString: r.CustomString, Status: r.Status,
		Price: r.Price, Parts: r.Parts, Schedule: r.Schedule, Unread: r.Unread,
	}
}

// SMSResult is the answer to a send or a price of text messages.
type SMSResult = Result[SMSRow]

// SMSHistoryRow is one text message of history.
type SMSHistoryRow struct {
	Direction    string        `json:"direction"`
	Date         int64         `json:"date"` // unix seconds
	To           string        `json:"to"`
	Body         string        `json:"body"`
	Status       HistoryStatus `json:"status"`
	From         string        `json:"from"`
	Schedule     int64         `json:"schedule"`
	StatusCode   string        `json:"status_code"`
	StatusText   string        `json:"status_text"`
	ErrorCode    string        `json:"error_code"`
	ErrorText    string        `json:"error_text"`
	MessageID    string        `json:"message_id"`
	Parts        int64         `json:"message_parts"`
	Price        Amount        `json:"message_price"`
	FromEmail    string        `json:"from_email"`
	ListID       int64         `json:"list_id"`
	CustomString string        `json:"custom_string"`
	ContactID    int64         `json:"contact_id"`
	UserID       int64         `json:"user_id"`
	SubaccountID int64         `json:"subaccount_id"`
	Country      string        `json:"country"`
	Carrier      string        `json:"carrier"`
	FirstName    string        `json:"first_name"`
	LastName     string        `json:"last_name"`
	APIUsername  string        `json:"_api_username"`

	Reading
}

// Record is the row in the words that all channels share.
func (r SMSHistoryRow) Record() Record {
	return Record{
		To: r.To, From: r.From, MessageID: r.MessageID, CustomString: r.CustomString, Status: r.Status,
		StatusCode: r.StatusCode, StatusText: r.StatusText, ErrorCode: r.ErrorCode, ErrorText: r.ErrorText,
		Price: r.Price, Parts: r.Parts, Schedule: r.Schedule, Date: r.Date, Unread: r.Unread,
	}
}

// Send sends 1 to 1,000 messages. Its error may be of kind UnknownOutcome:
// then history must tell which of them were taken.
func (s *SMSService) Send(ctx context.Context, messages []SMSMessage) (*SMSResult, error) {
	return s.post(ctx, "POST /sms/send", true, messages)
}

// Price says what 1 to 1,000 messages would cost. Nothing is sent. The rows
// bear no message id, and may be fewer than the messages.
func (s *SMSService) Price(ctx context.Context, messages []SMSMessage) (*SMSResult, error) {
	return s.post(ctx, "POST /sms/price", false, messages)
}

func (s *SMSService) post(ctx context.Context, name string, effect bool, messages []SMSMessage) (*SMSResult, error) {
	if err := checkCount(name, len(messages), "messages"); err != nil {
		return nil, err
	}
	var result SMSResult
	decode := decodePrice(&result)
	if effect {
		decode = decodeResult(&result)
	}
	err := s.c.call(ctx, operation{
		name: name, effect: effect, decode: decode,
		payload: struct {
			Messages []SMSMessage `json:"messages"`
		}{messages},
		personal: func() []string {
			var values []string
			for _, m := range messages {
				values = append(values, m.To, m.Body, m.FromEmail, m.CustomString)
			}
			return values
		},
	})
	if err != nil {
		return nil, err
	}
	return &result, nil
}

// History reads one page of sent and received messages. Its order is not
// documented. Q is known to search status, to, from, subaccount_id, message_id
// (shared/api/PROVIDER.md, Finding a message again).
func (s *SMSService) History(ctx context.Context, q HistoryQuery) (*Page[SMSHistoryRow], error) {
	const name = "GET /sms/history"
	query, err := q.values(name)
	if err != nil {
		return nil, err
	}
	var page Page[SMSHistoryRow]
	if err := s.c.call(ctx, operation{name: name, query: query, decode: decodePage(&page)}); err != nil {
		return nil, err
	}
	return &page, nil
}

// Cancel cancels one scheduled message. Only what has not left can be
// cancelled.
func (s *SMSService) Cancel(ctx context.Context, messageID string) error {
	return s.c.cancel(ctx, "PUT /sms/{message_id}/cancel", "/sms/", messageID)
}

// CancelAll cancels every scheduled text message that bears the custom string,
// and says how many these were. Without one the provider would cancel those of
// the whole account, other systems' too, so an empty one is refused. That it
// holds to the custom string stands in the provider's own description of the
// API only (shared/api/PROVIDER.md, Cancelling).
func (s *SMSService) CancelAll(ctx context.Context, customString string) (int, error) {
	const name = "PUT /sms/cancel-all"
	if strings.TrimSpace(customString) == "" {
		return 0, invalid(name, "the custom string is empty, which would cancel every scheduled message of the account")
	}
	var data struct {
		Count int64 `json:"count"`
	}
	err := s.c.call(ctx, operation{
		name: name, effect: true,
		decode: func(v jsontext.Value) error {
			if isEmpty(v) {
				return nil // cancelled nothing
			}
			return into(&data)(v)
		},
		payload: struct {
			CustomString string `json:"custom_string"`
		}{customString},
		personal: func() []string { return []string{customString} },
	})
	return int(data.Count), err
}

// cancel makes the call that cancels one message of any channel.
func (c *Client) cancel(ctx context.Context, name, prefix, messageID string) error {
	if strings.Trim(messageID, ". \t\r\n") == "" || strings.ContainsAny(messageID, "/\\?#") {
		return invalid(name, "the message id is empty or not one: give the message_id of the send's answer")
	}
	return c.call(ctx, operation{
		name: name, path: prefix + url.PathEscape(messageID) + "/cancel", effect: true, decode: ignoreData,
		personal: func() []string { return []string{messageID} },
	})
}
