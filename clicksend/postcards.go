package clicksend

import (
	"context"
	"slices"
	"strings"
)

// PostcardsService prints and posts postcards (shared/api/semantics.md,
// section 16).
type PostcardsService struct{ c *Client }

// PostcardRequest is postcards that share one picture.
type PostcardRequest struct {
	// FileURLs is one PDF of two pages, or two of one page, front and back:
	// public, or uploads converted with ConvertPostcard.
	FileURLs   []string        `json:"file_urls"`
	Recipients []PostRecipient `json:"recipients"`
}

// PostcardRow is what the provider says of one postcard. It bears no custom
// string.
type PostcardRow struct {
	UserID       int64  `json:"user_id"`
	SubaccountID int64  `json:"subaccount_id"`
	MessageID    string `json:"message_id"`
	Address
	ReturnAddressID int64         `json:"return_address_id"`
	CustomString    string        `json:"custom_string"` // in no example; read if it is there
	FileName        string        `json:"letter_file_name"`
	Schedule        int64         `json:"schedule"`
	IPAddress       string        `json:"ip_address"`
	Source          string        `json:"source"`
	Price           Amount        `json:"post_price"`
	Priority        int64         `json:"priority"`
	Status          Status        `json:"status"`
	DateAdded       int64         `json:"date_added"` // unix seconds
	FileURL         string        `json:"_file_url"`
	ReturnAddress   ReturnAddress `json:"_return_address"`
	APIUsername     string        `json:"_api_username"`

	Reading
}

// Outcome is the row in the words that all channels share.
func (r PostcardRow) Outcome() Outcome {
	return Outcome{
		Address: r.Address, MessageID: r.MessageID, CustomString: r.CustomString, Status: r.Status,
		Price: r.Price, Schedule: r.Schedule, Unread: r.Unread,
	}
}

// PostcardResult is the answer to a send or a price of postcards.
type PostcardResult = Result[PostcardRow]

// PostcardHistoryRow is one postcard of history.
type PostcardHistoryRow struct {
	UserID            int64  `json:"user_id"`
	SubaccountID      int64  `json:"subaccount_id"`
	ListID            int64  `json:"list_id"`
	MessageID         string `json:"message_id"`
	MessageIDSupplier string `json:"message_id_supplier"`
	Address
	ReturnAddressID int64         `json:"return_address_id"`
	FileName        string        `json:"letter_file_name"`
	CustomString    string        `json:"custom_string"`
	Schedule        int64         `json:"schedule"`
	IPAddress       string        `json:"ip_address"`
	Source          string        `json:"source"`
	Price           Amount        `json:"post_price"`
	PriceSupplier   Amount        `json:"post_price_supplier"`
	Priority        int64         `json:"priority"`
	Status          HistoryStatus `json:"status"`
	StatusCode      string        `json:"status_code"`
	StatusText      string        `json:"status_text"`
	DateAdded       int64         `json:"date_added"` // unix seconds
	FileURL         string        `json:"_file_url"`
	ReturnAddress   ReturnAddress `json:"_return_address"`
	APIUsername     string        `json:"_api_username"`

	Reading
}

// Record is the row in the words that all channels share.
func (r PostcardHistoryRow) Record() Record {
	return Record{
		Address: r.Address, MessageID: r.MessageID, CustomString: r.CustomString, Status: r.Status,
		StatusCode: r.StatusCode, StatusText: r.StatusText, Price: r.Price, Schedule: r.Schedule,
		Date: r.DateAdded, ReturnAddressID: r.ReturnAddressID, FileURL: r.FileURL, Unread: r.Unread,
	}
}

// Send prints and posts one picture to 1 to 1,000 recipients. Its error may be
// of kind UnknownOutcome: then history must tell which of them were taken.
func (s *PostcardsService) Send(ctx context.Context, r PostcardRequest) (*PostcardResult, error) {
	return s.post(ctx, "POST /post/postcards/send", true, r)
}

// Price says what the postcards would cost. Nothing is sent, though the
// answer's rows bear message ids.
func (s *PostcardsService) Price(ctx context.Context, r PostcardRequest) (*PostcardResult, error) {
	return s.post(ctx, "POST /post/postcards/price", false, r)
}

func (s *PostcardsService) post(ctx context.Context, name string, effect bool, r PostcardRequest) (*PostcardResult, error) {
	if err := checkPost(name, r.Recipients); err != nil {
		return nil, err
	}
	if n := len(r.FileURLs); n < 1 || n > 2 || slices.ContainsFunc(r.FileURLs, func(u string) bool { return strings.TrimSpace(u) == "" }) {
		return nil, invalid(name, "a postcard takes one or two file URLs, and none of them empty: one PDF of two pages, or front and back")
	}
	var result PostcardResult
	decode := decodePrice(&result)
	if effect {
		decode = decodeResult(&result)
	}
	err := s.c.call(ctx, operation{
		name: name, effect: effect, decode: decode, payload: r,
		personal: func() []string { return personalPost(r.Recipients, r.FileURLs...) },
	})
	if err != nil {
		return nil, err
	}
	return &result, nil
}

// History reads one page of postcards. It has no bounds of date, and its order
// is not documented.
func (s *PostcardsService) History(ctx context.Context, q PageQuery) (*Page[PostcardHistoryRow], error) {
	const name = "GET /post/postcards/history"
	query, err := q.values(name)
	if err != nil {
		return nil, err
	}
	var page Page[PostcardHistoryRow]
	if err := s.c.call(ctx, operation{name: name, query: query, decode: decodePage(&page)}); err != nil {
		return nil, err
	}
	return &page, nil
}

// Cancel cancels one scheduled postcard.
func (s *PostcardsService) Cancel(ctx context.Context, messageID string) error {
	return s.c.cancel(ctx, "PUT /post/postcards/{message_id}/cancel", "/post/postcards/", messageID)
}
