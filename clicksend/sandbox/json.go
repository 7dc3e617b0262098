package sandbox

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deeply JSON may nest; the API's bodies nest three deep.
const maxDepth = 64

// cursor reads one JSON text (RFC 8259) strictly, in one pass and almost
// without allocating: texts it returns point into the source, or into a side
// buffer when they had escapes. The sandbox has its own reader because the
// provider takes numbers where strings are documented and the other way round
// (shared/api/contradictions.md, part F), and because it must never be the
// slowest part of a test.
type cursor struct {
	src   []byte
	pos   int
	depth int
	esc   []byte
	err   error
}

var errNotUTF8 = errors.New("the body is not valid UTF-8")

// newCursor makes a cursor over src, which must not change while texts read
// from it are in use.
func newCursor(src []byte) *cursor {
	c := &cursor{src: src}
	if !utf8.Valid(src) {
		c.err = errNotUTF8
	}
	return c
}

func (c *cursor) fail(what string) bool {
	if c.err == nil {
		c.err = fmt.Errorf("%s at byte %d", what, c.pos)
	}
	return false
}

// peek returns the first byte of the next token, or 0 at the end.
func (c *cursor) peek() byte {
	if c.err != nil {
		return 0
	}
	for c.pos < len(c.src) {
		switch b := c.src[c.pos]; b {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return b
		}
	}
	return 0
}

// end reports whether nothing but white space is left.
func (c *cursor) end() bool {
	if c.err == nil && c.peek() != 0 || c.err == nil && c.pos < len(c.src) {
		return c.fail("text after the JSON value")
	}
	return c.err == nil
}

// object reads an object; member is called with each name and must read the
// value.
func (c *cursor) object(member func(name []byte) bool) bool {
	if c.peek() != '{' {
		return c.fail("an object is expected")
	}
	if c.depth++; c.depth > maxDepth {
		return c.fail("nested too deeply")
	}
	c.pos++
	if c.peek() == '}' {
		c.pos++
		c.depth--
		return true
	}
	for {
		if c.peek() != '"' {
			return c.fail("a name is expected")
		}
		name, ok := c.str()
		if !ok {
			return false
		}
		if c.peek() != ':' {
			return c.fail("a colon is expected")
		}
		c.pos++
		if !member(name) || c.err != nil {
			return c.fail("unreadable value")
		}
		switch c.peek() {
		case ',':
			c.pos++
		case '}':
			c.pos++
			c.depth--
			return true
		default:
			return c.fail("a comma or } is expected")
		}
	}
}

// array reads an array; element is called before each element and must read it.
func (c *cursor) array(element func() bool) bool {
	if c.peek() != '[' {
		return c.fail("an array is expected")
	}
	if c.depth++; c.depth > maxDepth {
		return c.fail("nested too deeply")
	}
	c.pos++
	if c.peek() == ']' {
		c.pos++
		c.depth--
		return true
	}
	for {
		if !element() || c.err != nil {
			return c.fail("unreadable element")
		}
		switch c.peek() {
		case ',':
			c.pos++
		case ']':
			c.pos++
			c.depth--
			return true
		default:
			return c.fail("a comma or ] is expected")
		}
	}
}

// skip reads any value and forgets it.
func (c *cursor) skip() bool {
	switch c.peek() {
	case '{':
		return c.object(func([]byte) bool { return c.skip() })
	case '[':
		return c.array(c.skip)
	default:
		_, _, ok := c.scalar()
		return ok
	}
}

// scalar reads a string, number, boolean or null and returns it as text, with
// the first byte of its kind: '"', '0', 't', 'f' or 'n'. A null's text is nil.
func (c *cursor) scalar() (text []byte, kind byte, ok bool) {
	switch b := c.peek(); {
	case b == '"':
		text, ok = c.str()
		return text, '"', ok
	case b == '-' || b >= '0' && b <= '9':
		text, ok = c.number()
		return text, '0', ok
	case b == 't':
		return c.word("true")
	case b == 'f':
		return c.word("false")
	case b == 'n':
		_, kind, ok = c.word("null")
		return nil, kind, ok
	case b == '{' || b == '[':
		return nil, b, c.fail("a string or number is expected, not an object or array")
	default:
		return nil, 0, c.fail("a value is expected")
	}
}

// text reads a scalar whose kind does not matter; null is nil.
func (c *cursor) text(into *[]byte) bool {
	t, _, ok := c.scalar()
	*into = t
	return ok
}

func (c *cursor) word(w string) ([]byte, byte, bool) {
	if len(c.src)-c.pos < len(w) || string(c.src[c.pos:c.pos+len(w)]) != w {
		return nil, 0, c.fail("an unknown word")
	}
	t := c.src[c.pos : c.pos+len(w) : c.pos+len(w)]
	c.pos += len(w)
	return t, w[0], true
}

func (c *cursor) number() ([]byte, bool) {
	start := c.pos
	digits := func() bool {
		from := c.pos
		for c.pos < len(c.src) && c.src[c.pos] >= '0' && c.src[c.pos] <= '9' {
			c.pos++
		}
		return c.pos > from
	}
	at := func(b byte) bool { return c.pos < len(c.src) && c.src[c.pos] == b }
	if at('-') {
		c.pos++
	}
	if at('0') {
		c.pos++
	} else if !digits() {
		return nil, c.fail("a digit is expected")
	}
	if at('.') {
		c.pos++
		if !digits() {
			return nil, c.fail("a digit is expected")
		}
	}
	if at('e') || at('E') {
		c.pos++
		if at('+') || at('-') {
			c.pos++
		}
		if !digits() {
			return nil, c.fail("a digit is expected")
		}
	}
	return c.src[start:c.pos:c.pos], true
}

func (c *cursor) str() ([]byte, bool) {
	c.pos++ // the opening quote
	start := c.pos
	for i := start; i < len(c.src); i++ {
		switch b := c.src[i]; {
		case b == '"':
			c.pos = i + 1
			return c.src[start:i:i], true
		case b == '\\':
			c.pos = i
			return c.escaped(start)
		case b < 0x20:
			c.pos = i
			return nil, c.fail("a control character inside a string")
		}
	}
	c.pos = len(c.src)
	return nil, c.fail("a string that does not end")
}

// escaped reads the rest of a string that began at start and whose first
// backslash is at the cursor.
func (c *cursor) escaped(start int) ([]byte, bool) {
	from := len(c.esc)
	c.esc = append(c.esc, c.src[start:c.pos]...)
	for c.pos < len(c.src) {
		b := c.src[c.pos]
		switch {
		case b == '"':
			c.pos++
			return c.esc[from:len(c.esc):len(c.esc)], true
		case b < 0x20:
			return nil, c.fail("a control character inside a string")
		case b != '\\':
			c.esc = append(c.esc, b)
			c.pos++
			continue
		}
		if c.pos+1 >= len(c.src) {
			break
		}
		e := c.src[c.pos+1]
		c.pos += 2
		switch e {
		case '"', '\\', '/':
			c.esc = append(c.esc, e)
		case 'b':
			c.esc = append(c.esc, '\b')
		case 'f':
			c.esc = append(c.esc, '\f')
		case 'n':
			c.esc = append(c.esc, '\n')
		case 'r':
			c.esc = append(c.esc, '\r')
		case 't':
			c.esc = append(c.esc, '\t')
		case 'u':
			r, ok := c.hex4()
			if !ok {
				return nil, c.fail("four hex digits are expected")
			}
			if utf16.IsSurrogate(r) {
				save := c.pos
				low := rune(utf8.RuneError)
				if c.pos+1 < len(c.src) && c.src[c.pos] == '\\' && c.src[c.pos+1] == 'u' {
					c.pos += 2
					if low, ok = c.hex4(); !ok {
						return nil, c.fail("four hex digits are expected")
					}
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					c.pos = save
				}
			}
			c.esc = utf8.AppendRune(c.esc, r)
		default:
			return nil, c.fail("an unknown escape")
		}
	}
	c.pos = len(c.src)
	return nil, c.fail("a string that does not end")
}

func (c *cursor) hex4() (rune, bool) {
	if c.pos+4 > len(c.src) {
		return 0, false
	}
	var r rune
	for _, b := range c.src[c.pos : c.pos+4] {
		r <<= 4
		switch {
		case b >= '0' && b <= '9':
			r |= rune(b - '0')
		case b|0x20 >= 'a' && b|0x20 <= 'f':
			r |= rune(b|0x20-'a') + 10
		default:
			return 0, false
		}
	}
	c.pos += 4
	return r, true
}

// appendString writes text as a JSON string.
func appendString[T string | []byte](out []byte, text T) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	from := 0
	for i := 0; i < len(text); i++ {
		b := text[i]
		if b >= 0x20 && b != '"' && b != '\\' {
			continue
		}
		out = append(out, text[from:i]...)
		from = i + 1
		switch b {
		case '"', '\\':
			out = append(out, '\\', b)
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
			out = append(out, '\\', 'r')
		case '\t':
			out = append(out, '\\', 't')
		default:
			out = append(out, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
	}
	out = append(out, text[from:]...)
	return append(out, '"')
}

func appendInt(out []byte, n int64) []byte { return strconv.AppendInt(out, n, 10) }

// appendField writes ,"name":"text"; name must need no escaping.
func appendField[T string | []byte](out []byte, name string, text T) []byte {
	out = append(out, ',', '"')
	out = append(out, name...)
	out = append(out, '"', ':')
	return appendString(out, text)
}

// appendIntField writes ,"name":n.
func appendIntField(out []byte, name string, n int64) []byte {
	out = append(out, ',', '"')
	out = append(out, name...)
	out = append(out, '"', ':')
	return strconv.AppendInt(out, n, 10)
}

// appendNullable writes ,"name":"text", or null when text is empty.
func appendNullable(out []byte, name string, text []byte) []byte {
	if len(text) > 0 {
		return appendField(out, name, text)
	}
	out = append(out, ',', '"')
	out = append(out, name...)
	return append(out, '"', ':', 'n', 'u', 'l', 'l')
}
