package importer

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"
)

// markup takes the XML of a workbook apart: elements and text as they come, and
// nothing that these files have no use for. Names are without their namespace.
// It is several times as fast as encoding/xml's tokens, which is what reading a
// workbook costs. An element that is closed at once (<v/>) starts and ends.
type markup struct {
	r    io.Reader
	data []byte // what was read and not yet taken
	at   int    // where in it
	eof  bool

	name   []byte // of the element that starts or ends
	attrs  []byte // of the element that starts
	text   []byte // a piece of text, with its references
	closed bool   // the element that started ends at once
	open   [][]byte
	depth  int
	begun  bool
	plain  bool // the text comes from CDATA: it has no references
}

type token int

const (
	tokenEOF token = iota
	tokenStart
	tokenEnd
	tokenText
)

// errMarkup says that something is not the XML of a workbook.
var errMarkup = errors.New("not well-formed XML")

const (
	markupRoom   = 64 << 10
	longestTag   = 64 << 10
	deepest      = 256 // elements in one another
	longestNamed = 12  // bytes of a reference such as &#x10FFFF;
)

func newMarkup(r io.Reader) *markup { return &markup{r: r, data: make([]byte, 0, markupRoom)} }

// markupProblemOf is the error of a workbook that has broken XML.
func markupProblemOf(err error) error {
	if errors.Is(err, errMarkup) {
		return errDamaged
	}
	return err
}

// is reports whether the element that starts or ends has that name.
func (x *markup) is(name string) bool { return string(x.name) == name }

// more reads on, keeping what was not taken.
func (x *markup) more() error {
	if x.eof {
		return io.EOF
	}
	if x.at > 0 {
		x.data = x.data[:copy(x.data, x.data[x.at:])]
		x.at = 0
	}
	if len(x.data) == cap(x.data) {
		if cap(x.data) >= longestTag+markupRoom {
			return errMarkup
		}
		x.data = append(make([]byte, 0, 2*cap(x.data)), x.data...)
	}
	for range 100 {
		n, err := x.r.Read(x.data[len(x.data):cap(x.data)])
		x.data = x.data[:len(x.data)+n]
		if errors.Is(err, io.EOF) {
			x.eof = true
			if n == 0 {
				return io.EOF
			}
			return nil
		}
		if n > 0 || err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// next moves on to the next token. At the end of a document that is whole it is
// tokenEOF.
func (x *markup) next() (token, error) {
	if x.closed {
		x.closed = false
		x.depth--
		return tokenEnd, nil
	}
	for {
		if x.at == len(x.data) {
			if err := x.more(); errors.Is(err, io.EOF) {
				if x.depth > 0 || !x.begun {
					return 0, errMarkup
				}
				return tokenEOF, nil
			} else if err != nil {
				return 0, err
			}
		}
		if x.data[x.at] != '<' {
			return x.takeText()
		}
		t, skipped, err := x.tag()
		if err != nil || !skipped {
			return t, err
		}
	}
}

// takeText takes a piece of text, up to an element or as much as is there.
func (x *markup) takeText() (token, error) {
	for {
		rest := x.data[x.at:]
		end := bytes.IndexByte(rest, '<')
		if end < 0 {
			end = len(rest)
			// A reference is not torn apart, nor a CR from its LF.
			if amp := bytes.LastIndexByte(rest, '&'); amp >= 0 && end-amp < longestNamed && bytes.IndexByte(rest[amp:], ';') < 0 {
				end = amp
			} else if rest[end-1] == '\r' {
				end--
			}
		}
		if end > 0 {
			x.text, x.plain = rest[:end], false
			x.at += end
			return tokenText, nil
		}
		if err := x.more(); errors.Is(err, io.EOF) {
			x.text, x.plain = x.data[x.at:], false
			x.at = len(x.data)
			return tokenText, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// tag takes what begins with <. What is not an element is skipped.
func (x *markup) tag() (t token, skipped bool, err error) {
	for len(x.data)-x.at < 9 { // the length of <![CDATA[
		if err := x.more(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, false, err
		}
	}
	rest := x.data[x.at:]
	switch {
	case bytes.HasPrefix(rest, []byte("<?")):
		_, err := x.through("?>", 2)
		return 0, true, err
	case bytes.HasPrefix(rest, []byte("<!--")):
		_, err := x.through("-->", 4)
		return 0, true, err
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		text, err := x.through("]]>", 9)
		x.text, x.plain = text, true
		return tokenText, false, err
	case bytes.HasPrefix(rest, []byte("<!")):
		return 0, false, errMarkup // a document type: these files have none, and bombs do
	}
	body, err := x.element()
	if err != nil {
		return 0, false, err
	}
	if len(body) > 0 && body[0] == '/' {
		x.name = localName(bytes.TrimRight(body[1:], " \t\r\n"))
		if x.depth--; x.depth < 0 || !bytes.Equal(x.open[x.depth], x.name) {
			return 0, false, errMarkup
		}
		return tokenEnd, false, nil
	}
	if n := len(body); n > 0 && body[n-1] == '/' {
		x.closed = true
		body = body[:n-1]
	}
	end := bytes.IndexAny(body, " \t\r\n")
	if end < 0 {
		end = len(body)
	}
	x.name, x.attrs = localName(body[:end]), body[end:]
	if len(x.name) == 0 || x.depth >= deepest || x.depth == 0 && x.begun {
		return 0, false, errMarkup
	}
	if x.depth == len(x.open) {
		x.open = append(x.open, nil)
	}
	x.open[x.depth] = append(x.open[x.depth][:0], x.name...)
	x.depth++
	x.begun = true
	return tokenStart, false, nil
}

func localName(name []byte) []byte { return name[bytes.IndexByte(name, ':')+1:] }

// element takes what stands between < and >, which may stand in an attribute
// too.
func (x *markup) element() ([]byte, error) {
	i := 1
	quote := byte(0)
	for {
		for rest := x.data[x.at:]; i < len(rest); i++ {
			switch c := rest[i]; {
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '"', c == '\'':
				quote = c
			case c == '>':
				x.at += i + 1
				return rest[1:i], nil
			case c == '<':
				return nil, errMarkup
			}
		}
		if i > longestTag {
			return nil, errMarkup
		}
		if err := x.more(); errors.Is(err, io.EOF) {
			return nil, errMarkup
		} else if err != nil {
			return nil, err
		}
	}
}

// through takes everything up to a mark that ends it, and returns what stands
// before the mark, but for so many bytes at the beginning.
func (x *markup) through(mark string, skip int) ([]byte, error) {
	for {
		rest := x.data[x.at:]
		if len(rest) >= skip {
			if end := bytes.Index(rest[skip:], []byte(mark)); end >= 0 {
				x.at += skip + end + len(mark)
				return rest[skip : skip+end], nil
			}
		}
		if len(rest) > longestTag {
			return nil, errMarkup
		}
		if err := x.more(); errors.Is(err, io.EOF) {
			return nil, errMarkup
		} else if err != nil {
			return nil, err
		}
	}
}

// attr returns an attribute of the element that has just started, without its
// references, of which those that matter here have none; nil when there is
// none.
func (x *markup) attr(name string) []byte {
	for rest := x.attrs; ; {
		eq := bytes.IndexByte(rest, '=')
		if eq < 0 {
			return nil
		}
		key := bytes.TrimSpace(rest[:eq])
		rest = bytes.TrimLeft(rest[eq+1:], " \t\r\n")
		if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
			return nil
		}
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 {
			return nil
		}
		if string(key) == name {
			return rest[1 : 1+end]
		}
		rest = rest[end+2:]
	}
}

// appendText adds the piece of text to dst, its references resolved and its
// line ends as XML has them.
func (x *markup) appendText(dst []byte) []byte {
	s := x.text
	if bytes.IndexByte(s, '&') < 0 && bytes.IndexByte(s, '\r') < 0 {
		return append(dst, s...)
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\r':
			dst = append(dst, '\n')
			if i++; i < len(s) && s[i] == '\n' {
				i++
			}
		case c == '&' && !x.plain:
			end := bytes.IndexByte(s[i:min(len(s), i+longestNamed)], ';')
			if end < 0 {
				dst = append(dst, c)
				i++
				continue
			}
			dst = appendReference(dst, s[i+1:i+end])
			i += end + 1
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

// appendReference resolves a reference of XML, without & and ;. There are no
// others without a document type.
func appendReference(dst, ref []byte) []byte {
	switch string(ref) {
	case "amp":
		return append(dst, '&')
	case "lt":
		return append(dst, '<')
	case "gt":
		return append(dst, '>')
	case "quot":
		return append(dst, '"')
	case "apos":
		return append(dst, '\'')
	}
	if len(ref) > 1 && ref[0] == '#' {
		base, digits := 10, ref[1:]
		if digits[0] == 'x' {
			base, digits = 16, digits[1:]
		}
		if n, err := strconv.ParseUint(string(digits), base, 32); err == nil && n <= utf8.MaxRune {
			return utf8.AppendRune(dst, rune(n))
		}
	}
	return append(append(append(dst, '&'), ref...), ';')
}

// unescapeControls resolves what workbooks write for characters that XML does
// not have: _x000D_ is a CR, and _x005F_ an underscore (ECMA-376, ST_Xstring).
func unescapeControls(b []byte) []byte {
	if !bytes.Contains(b, []byte("_x")) {
		return b
	}
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if b[i] == '_' && i+7 <= len(b) && b[i+1] == 'x' && b[i+6] == '_' {
			if n, err := strconv.ParseUint(string(b[i+2:i+6]), 16, 32); err == nil {
				out = utf8.AppendRune(out, rune(n)) // at most three bytes of the seven
				i += 6
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}
