package campaign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Columns is the header that the contacts of one import share: the safe
// lower-case names of the columns that are nothing better than themselves. It
// never changes once made, so any number of goroutines may read it.
type Columns struct {
	names  []string
	at     map[string]int
	sorted []int // places in the order of the names, for AppendKey
}

// NewColumns makes a header. The names must differ from each other: a second
// column of the same name could never be read.
func NewColumns(names ...string) *Columns {
	c := &Columns{names: slices.Clone(names), at: make(map[string]int, len(names))}
	for i, n := range names {
		if _, twice := c.at[n]; !twice {
			c.at[n] = i
		}
		c.sorted = append(c.sorted, i)
	}
	slices.SortStableFunc(c.sorted, func(a, b int) int { return strings.Compare(c.names[a], c.names[b]) })
	return c
}

// Names lists the columns in the order of the file. The caller must not write
// to the slice.
func (c *Columns) Names() []string {
	if c == nil {
		return nil
	}
	return c.names
}

// Index returns where the column of that name stands, or -1.
func (c *Columns) Index(name string) int {
	if c == nil {
		return -1
	}
	if i, ok := c.at[name]; ok {
		return i
	}
	return -1
}

// Fields holds the further columns of one contact: the header, shared by all
// contacts of an import, and this contact's values in the header's order. A map
// for each of a million contacts costs ten times the memory and the time. The
// zero value is a contact without further columns.
type Fields struct {
	Columns *Columns
	Values  []string // as many as Columns has names
}

// FieldsOf makes Fields of a map, in the order of the names: for tests and for
// contacts that are made one by one.
func FieldsOf(values map[string]string) Fields {
	if len(values) == 0 {
		return Fields{}
	}
	names := make([]string, 0, len(values))
	for n := range values {
		names = append(names, n)
	}
	slices.Sort(names)
	f := Fields{Columns: NewColumns(names...), Values: make([]string, len(names))}
	for i, n := range names {
		f.Values[i] = values[n]
	}
	return f
}

// Len is the number of further columns.
func (f Fields) Len() int { return min(len(f.Columns.Names()), len(f.Values)) }

// Get returns the value of the column, and whether there is such a column at
// all; a column whose cell is empty is there.
func (f Fields) Get(name string) (string, bool) {
	i := f.Columns.Index(name)
	if i < 0 || i >= len(f.Values) {
		return "", false
	}
	return f.Values[i], true
}

// AppendKey appends to b what tells these fields from others: names and values
// of all that have one, in an order that does not depend on the file's. A column
// that is empty, or not there, makes no difference.
func (f Fields) AppendKey(b []byte) []byte {
	if f.Columns == nil {
		return b
	}
	for _, i := range f.Columns.sorted {
		if i < len(f.Values) && f.Values[i] != "" {
			b = append(append(b, f.Columns.names[i]...), '\x1e')
			b = append(append(b, f.Values[i]...), '\x1f')
		}
	}
	return b
}

// All yields every name with its value, in the order of the file.
func (f Fields) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range f.Len() {
			if !yield(f.Columns.names[i], f.Values[i]) {
				return
			}
		}
	}
}

// AppendJSON appends the fields to b as one JSON object of strings, in the
// order of the file; without fields, {}.
func (f Fields) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	for i := range f.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, f.Columns.names[i])
		b = append(b, ':')
		b = appendJSONString(b, f.Values[i])
	}
	return append(b, '}')
}

// MarshalJSON writes what AppendJSON writes.
func (f Fields) MarshalJSON() ([]byte, error) { return f.AppendJSON(nil), nil }

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *Fields) UnmarshalJSON(b []byte) error {
	v, err := ParseFields(b, nil)
	if err != nil {
		return err
	}
	*f = v
	return nil
}

// ParseFields reads a JSON object of strings, keeping its order. When the names
// are those of like, the result shares it; so a reader of many contacts hands
// in the Columns of the contact before, and a list keeps one header.
func ParseFields(b []byte, like *Columns) (Fields, error) {
	if b = bytes.TrimSpace(b); len(b) == 0 || string(b) == "{}" || string(b) == "null" {
		return Fields{}, nil
	}
	if f, ok := parseFieldsLike(b, like); ok {
		return f, nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return Fields{}, Errorf(CodeInvalid, "the fields of a contact are not a JSON object")
	}
	var names, values []string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return Fields{}, Errorf(CodeInvalid, "the fields of a contact are not valid JSON: %w", err)
		}
		var value string
		if err := dec.Decode(&value); err != nil {
			return Fields{}, Errorf(CodeInvalid, "a field of a contact is not a JSON string: %w", err)
		}
		names, values = append(names, fmt.Sprint(name)), append(values, value)
	}
	if _, err := dec.Token(); err != nil || dec.InputOffset() != int64(len(b)) {
		return Fields{}, Errorf(CodeInvalid, "the fields of a contact are not one JSON object")
	}
	if like != nil && slices.Equal(names, like.names) {
		return Fields{Columns: like, Values: values}, nil
	}
	return Fields{Columns: NewColumns(names...), Values: values}, nil
}

// parseFieldsLike reads what AppendJSON writes for the columns of like, when
// nothing in it is escaped.
func parseFieldsLike(b []byte, like *Columns) (Fields, bool) {
	if like == nil || len(like.names) == 0 || bytes.IndexByte(b, '\\') >= 0 || !utf8.Valid(b) {
		return Fields{}, false
	}
	rest, values := string(b), make([]string, len(like.names))
	for i, name := range like.names {
		open := byte('{')
		if i > 0 {
			open = ','
		}
		n := len(name)
		if len(rest) < n+5 || rest[0] != open || rest[1] != '"' || rest[2:2+n] != name || rest[2+n:5+n] != `":"` {
			return Fields{}, false
		}
		rest = rest[5+n:]
		end := 0
		for end < len(rest) && rest[end] != '"' {
			if rest[end] < ' ' {
				return Fields{}, false
			}
			end++
		}
		if end == len(rest) {
			return Fields{}, false
		}
		values[i], rest = rest[:end], rest[end+1:]
	}
	return Fields{Columns: like, Values: values}, rest == "}"
}

// appendJSONString appends s quoted. Bytes that are not UTF-8 become U+FFFD,
// as encoding/json has it.
func appendJSONString(b []byte, s string) []byte {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	b = append(b, '"')
	if plain {
		b = append(b, s...)
		return append(b, '"')
	}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < ' ':
			b = append(b, `\u00`...)
			if r < 0x10 {
				b = append(b, '0')
			}
			b = strconv.AppendInt(b, int64(r), 16)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
