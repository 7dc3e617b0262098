package clicksend

import (
	"context"
	"strings"
)

// MMSService sends picture messages (shared/api/semantics.md, section 13).
type MMSService struct{ c *Client }

// MMSRequest is picture messages that share one picture.
type MMSRequest struct {
	// MediaFile is the URL of the picture: public, or of an upload converted
	// with ConvertMMS. At most 250 kB.
	MediaFile string       `json:"media_file"`
	Messages  []MMSMessage `json:"messages"`
}

// MMSMessage is one picture message. It has no schedule: the documents show
// one in answers and none in requests.
type MMSMessage struct {
	To      string `json:"to"`
	Body    string `json:"body"`    // up to 1,500 characters, 500 when not GSM 03.38; longer is cut off
	Subject string `json:"subject"` // required, up to 20 characters
	From    string `json:"from"`    // required by the documents
	// CustomString is not seen in the answer; history shows it.
	CustomString string `json:"custom_string,omitzero"`
	Country      string `json:"country,omitzero"` // ISO 3166-1 alpha-2
	Source       string `json:"source,omitzero"`
}

// MMSRow is what the provider says of one picture message.
type MMSRow struct {
	ListID       int64  `json:"list_id"`
	ContactID    int64  `json:"contact_id"`
	MessageID    string `json:"message_id"`
	To           string `json:"to"`
	Subject      string `json:"subject"`
	From         string `json:"from"`
	Body         string `json:"body"`
	Country      string `json:"country"`
	CustomString string `json:"custom_string"` // empty in the documents' examples
	Schedule     int64  `json:"schedule"`
	Parts        int64  `json:"message_parts"`
	Price        Amount `json:"message_price"`
	MediaFileURL string `json:"_media_file_url"`
	Status       Status `json:"status"`

	Reading
}

// Outcome is the row in the words that all channels share.
func (r MMSRow) Outcome() Outcome {
	return Outcome{
		To: r.To, MessageID: r.MessageID, CustomString: r.CustomString, Status: r.Status,
		Price: r.Price, Parts: r.Parts, Schedule: r.Schedule, Unread: r.Unread,
	}
}

// MMSResult is the answer to a send or a price of picture messages. It names
// no currency.
type MMSResult = Result[MMSRow]

// MMSHistoryRow is one picture message of history. The documents give it the
// fields of a text message.
type MMSHistoryRow struct {
	Direction    string        `json:"direction"`
	Date         int64         `json:"date"` // unix seconds
	To           string        `json:"to"`
	Body         string        `json:"body"`
	Subject      string        `json:"subject"`
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
	MediaFileURL string        `json:"_media_file_url"`

	Reading
}

// Record is the row in the words that all channels share.
func (r MMSHistoryRow) Record() Record {
	return Record{
		To: r.To, From: r.From, MessageID: r.MessageID, CustomString: r.CustomString, Status: r.Status,
		StatusCode: r.StatusCode, StatusText: r.StatusText, ErrorCode: r.ErrorCode, ErrorText: r.ErrorText,
		Price: r.Price, Parts: r.Parts, Schedule: r.Schedule, Date: r.Date, FileURL: r.MediaFileURL, Unread: r.Unread,
	}
}

// Send sends 1 to 1,000 messages with one picture. Its error may be of kind
// UnknownOutcome: then history must tell which of them were taken.
func (s *MMSService) Send(ctx context.Context, r MMSRequest) (*MMSResult, error) {
	return s.post(ctx, "POST /mms/send", true, r)
}

// Price says what 1 to 1,000 messages would cost. Nothing is sent, though the
// answer's rows bear message ids.
func (s *MMSService) Price(ctx context.Context, r MMSRequest) (*MMSResult, error) {
	return s.post(ctx, "POST /mms/price", false, r)
}

func (s *MMSService) post(ctx context.Context, name string, effect bool, r MMSRequest) (*MMSResult, error) {
	if err := checkCount(name, len(r.Messages), "messages"); err != nil {
		return nil, err
	}
	if strings.TrimSpace(r.MediaFile) == "" {
		return nil, invalid(name, "there is no media file: give the URL of a picture, or of an upload")
	}
	var result MMSResult
	decode := decodePrice(&result)
	if effect {
		decode = decodeResult(&result)
	}
	err := s.c.call(ctx, operation{
		name: name, effect: effect, decode: decode, payload: r,
		personal: func() []string {
			values := []string{r.MediaFile}
			for _, m := range r.Messages {
				values = append(values, m.To, m.Body, m.Subject, m.CustomString)
			}
			return values
		},
	})
	if err != nil {
		return nil, err
	}
	return &result, nil
}

// History reads one page of picture messages. Its order is not documented.
func (s *MMSService) History(ctx context.Context, q HistoryQuery) (*Page[MMSHistoryRow], error) {
	const name = "GET /mms/history"
	query, err := q.values(name)
	if err != nil {
		return nil, err
	}
	var page Page[MMSHistoryRow]
	if err := s.c.call(ctx, operation{name: name, query: query, decode: decodePage(&page)}); err != nil {
		return nil, err
	}
	return &page, nil
}

// Cancel cancels one message that has not left. One document names the
// operation, none its method or path; they are those of text messages
// (shared/api/operations.tsv). There is no CancelAll: whether the provider
// would hold it to a custom string stands nowhere, and without one it cancels
// other systems' messages too.
func (s *MMSService) Cancel(ctx context.Context, messageID string) error {
	return s.c.cancel(ctx, "PUT /mms/{message_id}/cancel", "/mms/", messageID)
}
