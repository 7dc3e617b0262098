package clicksend

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// lenient is how every answer is read: text, integers and flags in any of
// their dresses, unknown keys ignored, the last of two equal keys counting, as
// every common reader has it.
var lenient = json.JoinOptions(
	jsontext.AllowDuplicateNames(true),
	jsontext.AllowInvalidUTF8(true),
	json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(readText[string]),
		json.UnmarshalFromFunc(readText[Status]),
		json.UnmarshalFromFunc(readText[HistoryStatus]),
		json.UnmarshalFromFunc(readInt),
		json.UnmarshalFromFunc(readFlag),
	)),
)

// Reading tells what of a row could not be read. A row whose fields the
// provider wrote in a way that nobody foresaw is kept with those fields empty,
// so that the other rows of the answer are not lost.
type Reading struct {
	// Unread names the fields that were there and could not be read; it is
	// ["*"] when the row was no object at all.
	Unread []string `json:"-"`
}

func (r *Reading) setUnread(fields []string) { r.Unread = fields }

// unread is whatever embeds Reading.
type unread interface{ setUnread([]string) }

// envelope is what the provider wraps around its answers, error or not
// (shared/api/semantics.md, section 6).
type envelope struct {
	HTTPCode int64          `json:"http_code"`
	Code     string         `json:"response_code"`
	Message  string         `json:"response_msg"`
	Data     jsontext.Value `json:"data"`
}

var (
	errNotJSON    = errors.New("it is not JSON, or was cut off")
	errNoEnvelope = errors.New("it is not an answer of the API")
)

// readEnvelope opens the envelope. A bare answer has none: all of it is data.
// The data may be a part of body.
func readEnvelope(body []byte, bare bool) (envelope, error) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	env, ok := plainEnvelope(body)
	if !ok {
		var err error
		if env, err = anyEnvelope(body); err != nil {
			return envelope{}, err
		}
	}
	if env.HTTPCode == 0 && env.Code == "" {
		if bare {
			return envelope{HTTPCode: 200, Code: string(StatusSuccess), Data: body}, nil
		}
		return envelope{}, errNoEnvelope
	}
	return env, nil
}

// anyEnvelope reads an envelope of any form; it is empty if body is JSON and
// no object.
func anyEnvelope(body []byte) (envelope, error) {
	var env envelope
	value := jsontext.Value(body)
	if value.Kind() != '{' {
		if !value.IsValid(lenient) {
			return envelope{}, errNotJSON
		}
		return env, nil
	}
	if err := json.Unmarshal(body, &env, lenient); err != nil {
		var semantic *json.SemanticError
		if errors.As(err, &semantic) {
			return envelope{}, errNoEnvelope
		}
		return envelope{}, errNotJSON
	}
	return env, nil
}

// codeStatus is the HTTP status that goes with a response code
// (shared/api/semantics.md, section 3).
var codeStatus = map[string]int64{
	"BAD_REQUEST": 400, "UNAUTHORIZED": 401, "FORBIDDEN": 403, "NOT_FOUND": 404,
	"METHOD_NOT_ALLOWED": 405, "TOO_MANY_REQUESTS": 429, "INTERNAL_SERVER_ERROR": 500,
}

// refusal reports whether the envelope says no, in its own words, and sets
// HTTPCode to the status these amount to where it has none of its own.
func (e *envelope) refusal() bool {
	if e.HTTPCode >= 300 {
		return true
	}
	if status, ok := codeStatus[e.Code]; ok {
		e.HTTPCode = status
		return true
	}
	return e.Code != string(StatusSuccess) && (e.HTTPCode == 0 || Status(e.Code).Known())
}

// hasRows reports whether data carries at least one row.
func hasRows(data jsontext.Value) bool {
	found := false
	switch data.Kind() {
	case '[':
		return !isEmpty(data)
	case '{':
		_, _ = members(data, func(name string, v jsontext.Value) error {
			if (name == "messages" || name == "recipients" || name == "data") && (v.Kind() == '[' || v.Kind() == '{') && !isEmpty(v) {
				found = true
			}
			return nil
		})
	}
	return found
}

// isEmpty reports whether v is how PHP writes nothing: [], {}, null, "", or
// nothing at all.
func isEmpty(v jsontext.Value) bool {
	switch v.Kind() {
	case '[', '{':
		return len(bytes.Trim(v, "[]{} \t\r\n")) == 0
	case 'n', jsontext.KindInvalid:
		return true
	case '"':
		return len(bytes.TrimSpace(v)) == 2
	}
	return false
}

// ignoreData is for operations whose data says nothing: [], true, null, 1, or
// an object that varies (shared/api/contradictions.md, F).
func ignoreData(jsontext.Value) error { return nil }

// into reads data as one value, in which every field must be readable.
func into[T any](out *T) func(jsontext.Value) error {
	return func(data jsontext.Value) error {
		if isEmpty(data) {
			return errors.New("data is empty")
		}
		if err := json.Unmarshal(data, out, lenient); err != nil {
			return unreadable(err)
		}
		return nil
	}
}

// intoList reads data as a bare array; nothing is an empty one.
func intoList[T any](out *[]T) func(jsontext.Value) error {
	return func(data jsontext.Value) error {
		if isEmpty(data) {
			return nil
		}
		if data.Kind() != '[' {
			return errors.New("data is not a list")
		}
		if err := json.Unmarshal(data, out, lenient); err != nil {
			return unreadable(err)
		}
		return nil
	}
}

// unreadable keeps of a decoding error where it happened, and not the value.
func unreadable(err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) && semantic.JSONPointer != "" {
		return errors.New("data" + string(semantic.JSONPointer) + " has an unexpected form")
	}
	return errors.New("data has an unexpected form")
}

// members calls read for each member of an object and lists those for which it
// failed. It is an error when v is not an object.
func members(v jsontext.Value, read func(name string, v jsontext.Value) error) (failed []string, err error) {
	list, ok := plainMembers(v)
	if !ok {
		if list, err = anyMembers(v); err != nil {
			return nil, err
		}
	}
	for _, m := range list {
		if err := read(m.name, m.value); err != nil {
			failed = append(failed, m.name)
		}
	}
	return failed, nil
}

// member is one member of an object.
type member struct {
	name  string
	value jsontext.Value
}

// anyMembers lists the members of an object of any form.
func anyMembers(v jsontext.Value) ([]member, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(v), lenient)
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return nil, errors.New("data is not an object")
	}
	var list []member
	for dec.PeekKind() != '}' {
		tok, err := dec.ReadToken()
		if err != nil {
			return nil, errNotJSON
		}
		name := tok.String()
		value, err := dec.ReadValue()
		if err != nil {
			return nil, errNotJSON
		}
		list = append(list, member{name, value.Clone()})
	}
	return list, nil
}

// decodeRows reads an array of rows, each by itself. An object counts as the
// array of its values: PHP writes an array so whose keys have gaps.
func decodeRows[R any, P interface {
	*R
	unread
}](v jsontext.Value) ([]R, error) {
	if isEmpty(v) {
		return nil, nil
	}
	if rows, ok := plainRows[R, P](v); ok {
		return rows, nil
	}
	return anyRows[R, P](v)
}

// anyRows reads rows of any form.
func anyRows[R any, P interface {
	*R
	unread
}](v jsontext.Value) ([]R, error) {
	if kind := v.Kind(); kind != '[' && kind != '{' {
		return nil, errors.New("the rows are not a list")
	}
	var rows []R
	dec := jsontext.NewDecoder(bytes.NewBuffer(v), lenient)
	open, err := dec.ReadToken()
	if err != nil {
		return nil, errNotJSON
	}
	keyed := open.Kind() == '{'
	for kind := dec.PeekKind(); kind != ']' && kind != '}'; kind = dec.PeekKind() {
		if keyed {
			if _, err := dec.ReadToken(); err != nil {
				return nil, errNotJSON
			}
		}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, errNotJSON
		}
		if keyed && value.Kind() != '{' {
			return nil, errors.New("the rows are not a list")
		}
		rows = append(rows, *new(R))
		decodeRow[R, P](value, &rows[len(rows)-1])
	}
	return rows, nil
}

// decodeRow reads one row; what cannot be read is left empty and named.
func decodeRow[R any, P interface {
	*R
	unread
}](v jsontext.Value, row *R) {
	if v.Kind() == '{' && json.Unmarshal(v, row, lenient) == nil {
		return
	}
	*row = *new(R)
	failed, err := members(v, func(name string, field jsontext.Value) error {
		quoted, err := jsontext.AppendQuote(nil, name)
		if err != nil {
			return err
		}
		one := make([]byte, 0, len(quoted)+len(field)+3)
		one = append(append(append(append(append(one, '{'), quoted...), ':'), field...), '}')
		before := *row
		if err := json.Unmarshal(one, row, lenient); err != nil {
			*row = before
			return err
		}
		return nil
	})
	if err != nil {
		failed = []string{"*"}
	}
	P(row).setUnread(failed)
}

// readScalar reads a number, a string, a boolean or null as its text. PHP's
// empty array or object, where a scalar is meant, is the empty text.
func readScalar(dec *jsontext.Decoder) (string, error) {
	if dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return "", err
		}
		return tok.String(), nil
	}
	v, err := dec.ReadValue()
	if err != nil {
		return "", err
	}
	return scalarText(v)
}

var errNotScalar = errors.New("a list or an object stands where a single value is meant")

func scalarText(v jsontext.Value) (string, error) {
	switch v.Kind() {
	case 'n':
		return "", nil
	case '"':
		b, err := jsontext.AppendUnquote(nil, bytes.TrimSpace(v))
		return string(b), err
	case '{', '[':
		if isEmpty(v) {
			return "", nil
		}
		return "", errNotScalar
	}
	return string(bytes.TrimSpace(v)), nil
}

func readText[T ~string](dec *jsontext.Decoder, out *T) error {
	s, err := readScalar(dec)
	if err != nil {
		return err
	}
	*out = T(s)
	return nil
}

func readInt(dec *jsontext.Decoder, out *int64) error {
	s, err := readScalar(dec)
	if err != nil {
		return err
	}
	*out, err = intOf(s)
	return err
}

func intOf(s string) (int64, error) {
	switch s {
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	}
	return parseFixed(s, 0, false)
}

func readFlag(dec *jsontext.Decoder, out *bool) error {
	s, err := readScalar(dec)
	if err != nil {
		return err
	}
	*out, err = flagOf(s)
	return err
}

// parseFlag reads a flag from one JSON value.
func parseFlag(v jsontext.Value) (bool, error) {
	s, err := scalarText(v)
	if err != nil {
		return false, err
	}
	return flagOf(s)
}

func flagOf(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	n, err := parseFixed(s, 0, false)
	if err != nil || n < 0 || n > 1 {
		return false, errNotNumber
	}
	return n == 1, nil
}
