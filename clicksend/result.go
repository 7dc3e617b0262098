package clicksend

import (
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Currency is the currency of the amounts beside it.
type Currency struct {
	Code       string `json:"currency_name_short"` // "AUD"
	Prefix     string `json:"currency_prefix_d"`   // "$"
	CentPrefix string `json:"currency_prefix_c"`   // "c"
	Name       string `json:"currency_name_long"`  // "Australian Dollars"
}

// Address is a postal address in the provider's words. All of its fields are
// transmitted, empty ones too: the documents call line 2 and the state
// required (shared/api/semantics.md, section 15).
type Address struct {
	Name       string `json:"address_name"`
	Line1      string `json:"address_line_1"`
	Line2      string `json:"address_line_2"`
	City       string `json:"address_city"`
	State      string `json:"address_state"`
	PostalCode string `json:"address_postal_code"`
	Country    string `json:"address_country"` // ISO 3166-1 alpha-2
}

// Result is the answer to a send or a price. That there is one does not mean
// that anything was sent: each row has its own status, an answer may have fewer
// rows than the request had messages, and rows may come in another order.
type Result[R Row] struct {
	// TotalPrice of the request. In the documents' own examples it is not
	// always the sum of the rows (shared/api/semantics.md, section 11).
	TotalPrice Amount `json:"total_price"`
	// TotalCount of messages; the price of letters calls it total_cost.
	TotalCount int64 `json:"total_count"`
	// QueuedCount is how many were taken; 0 where the answer does not say.
	QueuedCount int64 `json:"queued_count"`
	// Currency of all amounts; empty where the answer does not say (MMS, and
	// the prices of SMS and letters).
	Currency Currency `json:"_currency"`
	// Rows, one for each message or recipient that the answer speaks of, in
	// the order of the answer. Their texts are parts of one copy of the answer:
	// clone one (strings.Clone) that is kept for longer than the others.
	Rows []R `json:"rows"`

	Reading
}

// Outcomes is what the rows say, in the words that all channels share.
func (r *Result[R]) Outcomes() []Outcome {
	out := make([]Outcome, len(r.Rows))
	for i := range r.Rows {
		out[i] = r.Rows[i].Outcome()
	}
	return out
}

// Row is one row of a Result: an SMSRow, MMSRow, LetterRow or PostcardRow.
type Row interface{ Outcome() Outcome }

// Outcome is what the rows of all four channels have in common.
type Outcome struct {
	To           string  // the number; empty on post
	Address      Address // the address; empty on SMS and MMS
	MessageID    string  // may be there even when the message was refused
	CustomString string  // empty where the channel does not echo it (postcards, MMS)
	Status       Status  // empty when the row has none: then its Verdict is OutcomeUnknown
	Price        Amount  // of this message
	Parts        int64   // SMS and MMS parts, pages of a letter; 0 when not said
	Schedule     int64   // unix seconds; 0 when not said
	Unread       []string
}

// Verdict is the verdict of the row's status.
func (o Outcome) Verdict() Verdict { return o.Status.Verdict() }

// decodeResult reads the data of a send or a price. Whatever the form of the
// data, what can be read of it is kept; only data that is no result at all is
// an error.
func decodeResult[R Row, P interface {
	*R
	unread
}](out *Result[R]) func(jsontext.Value) error {
	return func(data jsontext.Value) error {
		if isEmpty(data) {
			return nil
		}
		if data.Kind() == '[' {
			rows, err := decodeRows[R, P](data)
			out.Rows = rows
			return err
		}
		var totalCost int64
		field := func(name string, v jsontext.Value) error {
			switch name {
			case "total_price":
				return json.Unmarshal(v, &out.TotalPrice, lenient)
			case "total_count":
				return json.Unmarshal(v, &out.TotalCount, lenient)
			case "total_cost":
				return json.Unmarshal(v, &totalCost, lenient)
			case "queued_count":
				return json.Unmarshal(v, &out.QueuedCount, lenient)
			case "_currency":
				if isEmpty(v) {
					return nil
				}
				return json.Unmarshal(v, &out.Currency, lenient)
			}
			return nil
		}
		var err error
		if !plainResult[R, P](data, out, field) {
			totalCost = 0
			err = anyResult[R, P](data, out, field)
		}
		if out.TotalCount == 0 {
			out.TotalCount = totalCost
		}
		return err
	}
}

// anyResult reads the data of a send or a price of any form, its rows by
// themselves and the other members with field.
func anyResult[R Row, P interface {
	*R
	unread
}](data jsontext.Value, out *Result[R], field func(name string, v jsontext.Value) error) error {
	var rowsErr error
	failed, err := members(data, func(name string, v jsontext.Value) error {
		if !isRows(name) {
			return field(name, v)
		}
		rows, err := decodeRows[R, P](v)
		if err != nil {
			rowsErr = err
			return err
		}
		out.addRows(rows)
		return nil
	})
	if err != nil {
		return err
	}
	out.Unread = failed
	return rowsErr
}

// isRows reports whether the member of a result bears its rows.
func isRows(name string) bool { return name == "messages" || name == "recipients" }

func (r *Result[R]) addRows(rows []R) {
	if len(r.Rows) == 0 {
		r.Rows = rows
		return
	}
	r.Rows = append(r.Rows, rows...)
}

// decodePrice is decodeResult for prices, where an amount that cannot be read
// is an error: nothing is lost by asking again, and a sum must not be quoted
// that lacks a part.
func decodePrice[R Row, P interface {
	*R
	unread
}](out *Result[R]) func(jsontext.Value) error {
	return func(data jsontext.Value) error {
		if err := decodeResult[R, P](out)(data); err != nil {
			return err
		}
		bad := func(fields []string) bool {
			return slices.ContainsFunc(fields, func(f string) bool {
				return f == "*" || f == "total_price" || f == "message_price" || f == "post_price"
			})
		}
		if bad(out.Unread) {
			return errors.New("the total price cannot be read")
		}
		for i := range out.Rows {
			if bad(out.Rows[i].Outcome().Unread) {
				return errors.New("a price cannot be read")
			}
		}
		return nil
	}
}
