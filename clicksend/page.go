package clicksend

import (
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a page (shared/api/semantics.md, section 7). What the provider
// does with another limit is not documented.
const (
	MinPageLimit     = 15
	MaxPageLimit     = 100
	DefaultPageLimit = 15
)

// Page is one page of a list. Its numbers are the provider's, and in the
// documents' own examples they do not always agree with each other or with the
// rows.
type Page[T any] struct {
	Total       int64  `json:"total"` // rows of the whole list
	PerPage     int64  `json:"per_page"`
	CurrentPage int64  `json:"current_page"`
	LastPage    int64  `json:"last_page"`
	NextPageURL string `json:"next_page_url"`
	PrevPageURL string `json:"prev_page_url"`
	From        int64  `json:"from"` // number of the first row of this page, from 1
	To          int64  `json:"to"`
	Rows        []T    `json:"data"`

	Reading
}

// More reports whether another page should be asked for: this one has rows and
// is not the last.
func (p *Page[T]) More() bool {
	switch {
	case len(p.Rows) == 0:
		return false
	case p.LastPage > 0:
		return p.CurrentPage < p.LastPage
	}
	return p.NextPageURL != ""
}

// PageQuery says which page of a list is wanted.
type PageQuery struct {
	Page  int // from 1; 0 is the first
	Limit int // rows in a page, 15 to 100; 0 is the provider's default of 15
	// Q searches: "field:value,field2:value2". What is searchable is
	// documented for few lists.
	Q string
	// OrderBy sorts: "field:asc" or "field:desc". That a list obeys it is
	// documented only in general.
	OrderBy string
	// Operator joins the terms of Q: "AND", the default, or "OR".
	Operator string
}

func (q PageQuery) values(op string) (url.Values, error) {
	if q.Page < 0 || q.Limit < 0 || q.Limit > MaxPageLimit {
		return nil, invalid(op, "page %d of %d rows cannot be asked for: pages begin at 1, and the provider gives %d to %d rows a page", q.Page, q.Limit, MinPageLimit, MaxPageLimit)
	}
	v := url.Values{}
	set := func(key, value string) {
		if value != "" && value != "0" {
			v.Set(key, value)
		}
	}
	set("page", strconv.Itoa(q.Page))
	set("limit", strconv.Itoa(q.Limit))
	set("q", q.Q)
	set("order_by", q.OrderBy)
	set("operator", q.Operator)
	return v, nil
}

// HistoryQuery says which page of SMS or MMS history is wanted.
type HistoryQuery struct {
	// From and To bound the messages' date, to the second; a zero time does
	// not. What the date of a message with a schedule is is not documented
	// (shared/api/PROVIDER.md, Finding a message again).
	From, To time.Time

	Page, Limit          int    // as in PageQuery
	Q, OrderBy, Operator string // as in PageQuery
}

func (q HistoryQuery) values(op string) (url.Values, error) {
	v, err := PageQuery{Page: q.Page, Limit: q.Limit, Q: q.Q, OrderBy: q.OrderBy, Operator: q.Operator}.values(op)
	if err != nil {
		return nil, err
	}
	if !q.From.IsZero() {
		v.Set("date_from", strconv.FormatInt(q.From.Unix(), 10))
	}
	if !q.To.IsZero() {
		v.Set("date_to", strconv.FormatInt(q.To.Unix(), 10))
	}
	return v, nil
}

// HistoryRow is one row of a channel's history: an SMSHistoryRow,
// MMSHistoryRow, LetterHistoryRow or PostcardHistoryRow.
type HistoryRow interface{ Record() Record }

// Record is what the history rows of all four channels have in common.
type Record struct {
	To              string  // the number; empty on post
	Address         Address // the address; empty on SMS and MMS
	From            string  // the sender; empty on post
	MessageID       string
	CustomString    string // empty where it is not echoed
	Status          HistoryStatus
	StatusCode      string
	StatusText      string
	ErrorCode       string
	ErrorText       string
	Price           Amount
	Parts           int64 // SMS and MMS parts, pages of a letter; 0 when not said
	Schedule        int64 // unix seconds; 0 when not said
	Date            int64 // unix seconds: date of SMS and MMS, date_added of post
	ReturnAddressID int64 // post only
	Colour, Duplex  bool  // letters only
	FileURL         string
	Unread          []string
}

// Fate is the fate of the record's status.
func (r Record) Fate() Fate { return r.Status.Fate() }

// decodePage reads a page of rows. A bare array counts as the only page.
func decodePage[R any, P interface {
	*R
	unread
}](out *Page[R]) func(jsontext.Value) error {
	return func(data jsontext.Value) error {
		if isEmpty(data) {
			return nil
		}
		if data.Kind() == '[' {
			rows, err := decodeRows[R, P](data)
			out.Rows, out.Total, out.CurrentPage, out.LastPage = rows, int64(len(rows)), 1, 1
			return err
		}
		var rowsErr error
		failed, err := members(data, func(name string, v jsontext.Value) error {
			switch name {
			case "total":
				return json.Unmarshal(v, &out.Total, lenient)
			case "per_page":
				return json.Unmarshal(v, &out.PerPage, lenient)
			case "current_page":
				return json.Unmarshal(v, &out.CurrentPage, lenient)
			case "last_page":
				return json.Unmarshal(v, &out.LastPage, lenient)
			case "next_page_url":
				return json.Unmarshal(v, &out.NextPageURL, lenient)
			case "prev_page_url":
				return json.Unmarshal(v, &out.PrevPageURL, lenient)
			case "from":
				return json.Unmarshal(v, &out.From, lenient)
			case "to":
				return json.Unmarshal(v, &out.To, lenient)
			case "data":
				out.Rows, rowsErr = decodeRows[R, P](v)
				return rowsErr
			}
			return nil
		})
		if err != nil {
			return err
		}
		out.Unread = failed
		return rowsErr
	}
}
