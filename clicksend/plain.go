package clicksend

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An answer of a thousand rows is large, and nearly always plain. This file
// reads the plain ones several times quicker than decode.go does, and declines
// all others, which decode.go then reads: what is not JSON, has odd names, or
// is nested deeper than plainDepth. What it does not decline it reads to the
// same result, to which the tests hold it.

// plainDepth is how deep lists and objects may be nested.
const plainDepth = 32

// plainEnvelope reads the envelope. Its data is a part of body, not a copy.
func plainEnvelope(body []byte) (env envelope, ok bool) {
	s := scanner{in: body}
	ok = s.object(shapeOf(reflect.TypeFor[envelope]()), reflect.ValueOf(&env).Elem()) && s.end()
	return env, ok
}

// plainResult reads the data of a send or a price, its rows by themselves and
// the other members with field. What it declines leaves out empty.
func plainResult[R Row, P interface {
	*R
	unread
}](data jsontext.Value, out *Result[R], field func(name string, v jsontext.Value) error) bool {
	s := scanner{in: data, text: string(data)}
	ok := s.members(func(name string) bool {
		if isRows(name) {
			rows, ok := scanRows[R, P](&s)
			out.addRows(rows)
			return ok
		}
		v, ok := s.raw()
		return ok && field(name, v) == nil
	})
	if ok && s.end() {
		return true
	}
	*out = Result[R]{}
	return false
}

// plainMembers lists the members of an object. The values are parts of v.
func plainMembers(v jsontext.Value) (list []member, ok bool) {
	s := scanner{in: v}
	ok = s.members(func(name string) bool {
		value, ok := s.raw()
		list = append(list, member{name, value})
		return ok
	})
	return list, ok && s.end()
}

// plainRows reads an array of rows.
func plainRows[R any, P interface {
	*R
	unread
}](v jsontext.Value) ([]R, bool) {
	s := scanner{in: v, text: string(v)}
	rows, ok := scanRows[R, P](&s)
	return rows, ok && s.end()
}

// scanRows reads an array of rows. A row that is not plain is left to
// decodeRow, and takes no other with it.
func scanRows[R any, P interface {
	*R
	unread
}](s *scanner) (rows []R, ok bool) {
	s.space()
	start := s.at
	if !s.take('[') {
		return nil, false
	}
	shape := shapeOf(reflect.TypeFor[R]())
	for more := !s.take(']'); more; {
		from := s.at
		rows = append(rows, *new(R))
		row := &rows[len(rows)-1]
		if !s.object(shape, reflect.ValueOf(row).Elem()) {
			s.at = from
			value, ok := s.raw()
			if !ok {
				return nil, false
			}
			decodeRow[R, P](value, row)
		}
		if len(rows) == 1 {
			// The others are about as long as the first.
			rows = slices.Grow(rows, min((len(s.in)-from)/(s.at-from), MaxMessages))
		}
		if more, ok = s.next(']'); !ok {
			return nil, false
		}
	}
	if isEmpty(s.in[start:s.at]) {
		rows = nil
	}
	return rows, true
}

// shape is what a struct reads from an object.
type shape struct {
	fields []field
	byName map[string]int
}

// field is where one member belongs, and how it is read.
type field struct {
	key   string // the name as it is mostly written, quoted, and with its colon
	index []int
	kind  fieldKind
}

type fieldKind int

const (
	otherField fieldKind = iota // left to the json package
	rawField
	textField
	intField
	flagField
	amountField
)

// shapeOf tells the shape of a struct whose tags have no options.
func shapeOf(t reflect.Type) *shape {
	sh := &shape{byName: make(map[string]int, t.NumField())}
	sh.add(t, nil)
	return sh
}

func (sh *shape) add(t reflect.Type, index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		name := f.Tag.Get("json")
		switch {
		case name == "-":
		case name == "" && f.Anonymous:
			sh.add(f.Type, at)
		default:
			sh.byName[name] = len(sh.fields)
			sh.fields = append(sh.fields, field{`"` + name + `":`, at, kindOfField(f.Type)})
		}
	}
}

func kindOfField(t reflect.Type) fieldKind {
	switch t {
	case reflect.TypeFor[jsontext.Value]():
		return rawField
	case reflect.TypeFor[string](), reflect.TypeFor[Status](), reflect.TypeFor[HistoryStatus]():
		return textField
	case reflect.TypeFor[int64]():
		return intField
	case reflect.TypeFor[bool]():
		return flagField
	case reflect.TypeFor[Amount]():
		return amountField
	}
	return otherField
}

// scanner walks over JSON. Its methods report false at what they decline; it
// then stands anywhere.
type scanner struct {
	in   []byte
	at   int    // the next byte
	text string // in once more, if texts are to be parts of it: then none has memory of its own, and any one keeps all of it
	odd  bool   // whether the last string may be another text than stands between its quotes
}

// object reads an object into the struct of that shape.
func (s *scanner) object(sh *shape, into reflect.Value) bool {
	if !s.take('{') {
		return false
	}
	next := 0 // the members mostly have the order of the fields
	for more := !s.take('}'); more; {
		s.space()
		known := next < len(sh.fields) && s.word(sh.fields[next].key)
		if !known {
			name, ok := s.key()
			if !ok {
				return false
			}
			var i int
			if i, known = sh.byName[string(name)]; known {
				next = i
			}
		}
		ok := false
		if known {
			f := &sh.fields[next]
			ok = s.field(f.kind, into.FieldByIndex(f.index))
			next++
		} else {
			_, ok = s.raw()
		}
		if !ok {
			return false
		}
		if more, ok = s.next('}'); !ok {
			return false
		}
	}
	return true
}

// members steps through an object; read must step over the value.
func (s *scanner) members(read func(name string) bool) bool {
	if !s.take('{') {
		return false
	}
	for more := !s.take('}'); more; {
		name, ok := s.key()
		if !ok || !read(string(name)) {
			return false
		}
		if more, ok = s.next('}'); !ok {
			return false
		}
	}
	return true
}

// field reads one value as what it is meant to be.
func (s *scanner) field(kind fieldKind, into reflect.Value) bool {
	switch kind {
	case otherField:
		v, ok := s.raw()
		return ok && json.Unmarshal(v, into.Addr().Interface(), lenient) == nil
	case rawField:
		v, ok := s.raw()
		into.SetBytes(v)
		return ok
	}
	text, ok := s.scalar()
	if !ok {
		return false
	}
	var n int64
	var err error
	switch kind {
	case textField:
		into.SetString(text)
		return true
	case flagField:
		var flag bool
		flag, err = flagOf(text)
		into.SetBool(flag)
		return err == nil
	case amountField:
		var a Amount
		a, err = ParseAmount(text)
		n = int64(a)
	default:
		n, err = intOf(text)
	}
	into.SetInt(n)
	return err == nil
}

// scalar reads a value as readScalar does.
func (s *scanner) scalar() (string, bool) {
	v, ok := s.raw()
	if !ok {
		return "", false
	}
	from := s.at - len(v)
	switch v[0] {
	case 'n':
		return "", true
	case '{', '[':
		return "", isEmpty(v)
	case '"':
		return s.unquoted(from)
	}
	return s.cut(from, s.at), true
}

// unquoted is the text of the string that was stepped over last.
func (s *scanner) unquoted(from int) (string, bool) {
	if s.isText(from) {
		return s.cut(from+1, s.at-1), true
	}
	b, err := jsontext.AppendUnquote(nil, s.in[from:s.at])
	return string(b), err == nil
}

// isText reports whether what stands between the quotes of the string that was
// stepped over last is its text.
func (s *scanner) isText(from int) bool {
	raw := s.in[from:s.at]
	return !s.odd || bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw)
}

func (s *scanner) cut(from, to int) string {
	if s.text == "" {
		return string(s.in[from:to])
	}
	return s.text[from:to]
}

// key steps over the name of a member, which must be plain, and its colon.
func (s *scanner) key() (name []byte, ok bool) {
	s.space()
	from := s.at
	if !s.string() || !s.isText(from) {
		return nil, false
	}
	name = s.in[from+1 : s.at-1]
	return name, s.take(':')
}

// raw steps over a value of any kind, without the space around it.
func (s *scanner) raw() (v jsontext.Value, ok bool) {
	s.space()
	from := s.at
	if !s.skip(plainDepth) {
		return nil, false
	}
	return s.in[from:s.at:s.at], true
}

// skip steps over a value.
func (s *scanner) skip(depth int) bool {
	s.space()
	switch c := s.peek(); c {
	case '"':
		return s.string()
	case '{', '[':
		end := c + 2 // in ASCII
		s.at++
		if depth == 0 {
			return false
		}
		for more := !s.take(end); more; {
			if c == '{' {
				if s.space(); !s.string() || !s.take(':') {
					return false
				}
			}
			if !s.skip(depth - 1) {
				return false
			}
			var ok bool
			if more, ok = s.next(end); !ok {
				return false
			}
		}
		return true
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// string steps over a string, which must begin here.
func (s *scanner) string() bool {
	if s.peek() != '"' {
		return false
	}
	const ones = 0x0101010101010101
	i := s.at + 1
	s.odd = false
	for i < len(s.in) {
		// Eight bytes at once: special has the top bit of each byte that is a
		// quote, a backslash or a control character. The lowest is exact.
		if i+8 <= len(s.in) {
			w := binary.LittleEndian.Uint64(s.in[i:])
			quote, slash := w^('"'*ones), w^('\\'*ones)
			special := ((quote-ones)&^quote | (slash-ones)&^slash | (w-' '*ones)&^w) & (0x80 * ones)
			if w&(0x80*ones) != 0 {
				s.odd = true
			}
			if special == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(special) / 8
		}
		switch c := s.in[i]; {
		case c == '"':
			s.at = i + 1
			return true
		case c == '\\':
			n := escapeLen(s.in[i:])
			if n == 0 {
				return false
			}
			s.odd = true
			i += n
		case c < ' ':
			return false
		default:
			s.odd = s.odd || c >= utf8.RuneSelf
			i++
		}
	}
	return false
}

// escapeLen is the length of the escape that b begins with, 0 if it is none.
func escapeLen(b []byte) int {
	switch {
	case len(b) < 2:
	case strings.IndexByte(`"\/bfnrt`, b[1]) >= 0:
		return 2
	case b[1] == 'u' && len(b) >= 6:
		for _, c := range b[2:6] {
			if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

// number steps over a number.
func (s *scanner) number() bool {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return false
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return false
		}
	}
	if s.peek()|0x20 == 'e' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		return s.digits()
	}
	return true
}

// digits steps over at least one digit.
func (s *scanner) digits() bool {
	from := s.at
	for isDigit(s.peek()) {
		s.at++
	}
	return s.at > from
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func (s *scanner) word(w string) bool {
	end := s.at + len(w)
	if end > len(s.in) || string(s.in[s.at:end]) != w {
		return false
	}
	s.at = end
	return true
}

// next steps over what follows a value: a comma, and more values, or the end
// of the list or object.
func (s *scanner) next(end byte) (more, ok bool) {
	s.space()
	c := s.peek()
	if c != ',' && c != end {
		return false, false
	}
	s.at++
	return c == ',', true
}

// take steps over c, if it is the next byte after any space.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

// peek is the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.in) {
		return s.in[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.in) && s.in[s.at] <= ' ' && isSpace(s.in[s.at]) {
		s.at++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// end reports whether only space follows.
func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.in)
}
