package clicksend

import (
	"context"
	"slices"
	"strings"
)

// LettersService prints and posts letters (shared/api/semantics.md, section 15).
type LettersService struct{ c *Client }

// LetterRequest is letters that share one file and its printing.
type LetterRequest struct {
	// FileURL is the letter: a public PDF, or an upload converted with
	// ConvertPost.
	FileURL string `json:"file_url"`
	// TemplateUsed says whether the file follows the provider's template, in
	// which the address has its place. A wrong value is a misprinted letter.
	TemplateUsed Flag   `json:"template_used"`
	Colour       Flag   `json:"colour"`        // else black and white
	Duplex       Flag   `json:"duplex"`        // else one side of the paper
	PriorityPost Flag   `json:"priority_post"` // quicker, dearer
	Source       string `json:"source,omitzero"`

	Recipients []PostRecipient `json:"recipients"`
}

// Flag is a yes or no that is transmitted as 1 or 0.
type Flag bool

// MarshalJSON writes 1 or 0.
func (f Flag) MarshalJSON() ([]byte, error) {
	if f {
		return []byte("1"), nil
	}
	return []byte("0"), nil
}

// UnmarshalJSON reads 1, 0, true, false, their strings, "" and null.
func (f *Flag) UnmarshalJSON(b []byte) error {
	v, err := parseFlag(b)
	*f = Flag(v)
	return err
}

// PostRecipient is one recipient of a letter or a postcard.
type PostRecipient struct {
	Address
	// ReturnAddressID is required: an id of ReturnAddresses.
	ReturnAddressID int64 `json:"return_address_id"`
	Schedule        int64 `json:"schedule,omitzero"` // unix seconds; 0 is now
	// CustomString is echoed by the answer to letters, not to postcards.
	CustomString string `json:"custom_string,omitzero"`
}

// personal lists what of the recipients must not appear in an error.
func personalPost(recipients []PostRecipient, files ...string) []string {
	values := slices.Clone(files)
	for _, r := range recipients {
		values = append(values, r.Name, r.Line1, r.Line2, r.City, r.PostalCode, r.CustomString)
	}
	return values
}

// checkPost refuses requests that are sure to be refused.
func checkPost(name string, recipients []PostRecipient) error {
	if err := checkCount(name, len(recipients), "recipients"); err != nil {
		return err
	}
	for i, r := range recipients {
		if r.ReturnAddressID <= 0 {
			return invalid(name, "recipient %d of %d has no return address, which the provider requires: set its return address id", i+1, len(recipients))
		}
	}
	return nil
}

// LetterRow is what the provider says of one letter.
type LetterRow struct {
	UserID       int64  `json:"user_id"`
	SubaccountID int64  `json:"subaccount_id"`
	MessageID    string `json:"message_id"`
	Address
	ReturnAddressID int64         `json:"return_address_id"`
	CustomString    string        `json:"custom_string"`
	Schedule        int64         `json:"schedule"`
	Source          string        `json:"source"`
	Colour          bool          `json:"colour"`
	Duplex          bool          `json:"duplex"`
	Pages           int64         `json:"post_pages"`
	Price           Amount        `json:"post_price"`
	PriorityPost    bool          `json:"priority_post"`
	DateAdded       int64         `json:"date_added"` // unix seconds
	Status          Status        `json:"status"`
	FileURL         string        `json:"_file_url"`
	ReturnAddress   ReturnAddress `json:"_return_address"`
	APIUsername     string        `json:"_api_username"`

	Reading
}

// Outcome is the row in the words that all channels share.
func (r LetterRow) Outcome() Outcome {
	return Outcome{
		Address: r.Address, MessageID: r.MessageID, CustomString: r.CustomString, Status: r.Status,
		Price: r.Price, Parts: r.Pages, Schedule: r.Schedule, Unread: r.Unread,
	}
}

// LetterResult is the answer to a send or a price of letters.
type LetterResult = Result[LetterRow]

// LetterHistoryRow is one letter of history.
type LetterHistoryRow struct {
	UserID       int64  `json:"user_id"`
	SubaccountID int64  `json:"subaccount_id"`
	ListID       int64  `json:"list_id"`
	MessageID    string `json:"message_id"`
	Address
	ReturnAddressID int64         `json:"return_address_id"`
	CustomString    string        `json:"custom_string"`
	Schedule        int64         `json:"schedule"`
	Source          string        `json:"source"`
	Colour          bool          `json:"colour"`
	Duplex          bool          `json:"duplex"`
	Pages           int64         `json:"post_pages"`
	Price           Amount        `json:"post_price"`
	PriorityPost    bool          `json:"priority_post"`
	Status          HistoryStatus `json:"status"` // "Queued:Stamped"
	StatusCode      string        `json:"status_code"`
	StatusText      string        `json:"status_text"`
	DateAdded       int64         `json:"date_added"` // unix seconds
	FileURL         string        `json:"_file_url"`
	APIUsername     string        `json:"_api_username"`

	Reading
}

// Record is the row in the words that all channels share.
func (r LetterHistoryRow) Record() Record {
	return Record{
		Address: r.Address, MessageID: r.MessageID, CustomString: r.CustomString, Status: r.Status,
		StatusCode: r.StatusCode, StatusText: r.StatusText, Price: r.Price, Parts: r.Pages, Schedule: r.Schedule,
		Date: r.DateAdded, ReturnAddressID: r.ReturnAddressID, Colour: r.Colour, Duplex: r.Duplex,
		FileURL: r.FileURL, Unread: r.Unread,
	}
}

// Send prints and posts one file to 1 to 1,000 recipients. Its error may be of
// kind UnknownOutcome: then history must tell which of them were taken.
func (s *LettersService) Send(ctx context.Context, r LetterRequest) (*LetterResult, error) {
	return s.post(ctx, "POST /post/letters/send", true, r)
}

// Price says what the letters would cost. Nothing is sent, though the answer's
// rows bear message ids.
func (s *LettersService) Price(ctx context.Context, r LetterRequest) (*LetterResult, error) {
	return s.post(ctx, "POST /post/letters/price", false, r)
}

func (s *LettersService) post(ctx context.Context, name string, effect bool, r LetterRequest) (*LetterResult, error) {
	if err := checkPost(name, r.Recipients); err != nil {
		return nil, err
	}
	if strings.TrimSpace(r.FileURL) == "" {
		return nil, invalid(name, "there is no file: give the URL of a PDF, or of an upload")
	}
	var result LetterResult
	decode := decodePrice(&result)
	if effect {
		decode = decodeResult(&result)
	}
	err := s.c.call(ctx, operation{
		name: name, effect: effect, decode: decode, payload: r,
		personal: func() []string { return personalPost(r.Recipients, r.FileURL) },
	})
	if err != nil {
		return nil, err
	}
	return &result, nil
}

// History reads one page of letters. It has no bounds of date, and its order
// is not documented.
func (s *LettersService) History(ctx context.Context, q PageQuery) (*Page[LetterHistoryRow], error) {
	const name = "GET /post/letters/history"
	query, err := q.values(name)
	if err != nil {
		return nil, err
	}
	var page Page[LetterHistoryRow]
	if err := s.c.call(ctx, operation{name: name, query: query, decode: decodePage(&page)}); err != nil {
		return nil, err
	}
	return &page, nil
}

// Cancel cancels one scheduled letter. The documents call the method PUT in one
// line and POST in another (shared/api/contradictions.md, B); PUT is that of
// every other cancel.
func (s *LettersService) Cancel(ctx context.Context, messageID string) error {
	return s.c.cancel(ctx, "PUT /post/letters/{message_id}/cancel", "/post/letters/", messageID)
}
