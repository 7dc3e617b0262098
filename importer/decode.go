package importer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Names of encodings, as the WHATWG has them (https://encoding.spec.whatwg.org).
const (
	encodingUTF8        = "utf-8"
	encodingUTF16LE     = "utf-16le"
	encodingUTF16BE     = "utf-16be"
	encodingWindows1252 = "windows-1252"
	encodingMacintosh   = "macintosh"
)

// problem is what is wrong with a file as a whole; the reader adds its name.
type problem string

func (p problem) Error() string { return string(p) }

func problemf(format string, args ...any) error { return problem(fmt.Sprintf(format, args...)) }

// lineProblem is what is wrong with the text right behind what was decoded
// before it; the reader adds the line.
type lineProblem string

func (p lineProblem) Error() string { return string(p) }

// decoded is a text on its way to UTF-8.
type decoded struct {
	io.Reader
	encoding func() string // known for certain at the end of the file
}

// decode finds out how text is encoded, and returns it as UTF-8 without a byte
// order mark. Head is how it begins, whole when that is all of it; rest is what
// follows.
func decode(head []byte, rest io.Reader, u understanding) (*decoded, error) {
	mark, markOf := byteOrderMark(head)
	all := func() io.Reader { return io.MultiReader(bytes.NewReader(head[mark:]), rest) }
	if u.encoding != "" {
		return decodeAs(u.encoding, markOf, all())
	}
	name := markOf
	if name == "" {
		name = utf16Without(head)
	}
	if u.plain {
		if name != "" && name != encodingUTF8 {
			return nil, problem("this is UTF-16: save it as CSV UTF-8")
		}
		return &decoded{all(), func() string { return encodingUTF8 }}, nil
	}
	switch name {
	case encodingUTF16LE, encodingUTF16BE:
		order := unicode.LittleEndian
		if name == encodingUTF16BE {
			order = unicode.BigEndian
		}
		r := transform.NewReader(all(), unicode.UTF16(order, unicode.IgnoreBOM).NewDecoder())
		return &decoded{r, func() string { return name }}, nil
	}
	d := &guessing{r: all(), single: singleByteOf(charmap.Windows1252), singleName: encodingWindows1252, marked: markOf != ""}
	if bytes.IndexByte(head, '\r') >= 0 && bytes.IndexByte(head, '\n') < 0 {
		// Excel for Mac's "CSV (Macintosh)" ends lines with CR alone, and nothing
		// else does these days.
		d.single, d.singleName = singleByteOf(charmap.Macintosh), encodingMacintosh
	}
	return &decoded{d, d.encoding}, nil
}

// byteOrderMark says how long the mark at the beginning is, and of which
// encoding; 0 and empty when there is none.
func byteOrderMark(head []byte) (length int, name string) {
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return 3, encodingUTF8
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return 2, encodingUTF16LE
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return 2, encodingUTF16BE
	}
	return 0, ""
}

// utf16Without recognises UTF-16 that has no mark by its NULs: what separates
// cells and lines is ASCII, and so is much of a header, so that every second
// byte is often NUL, and the other one never; and what stands beside a NUL is
// text. Empty: it is something else.
func utf16Without(head []byte) string {
	var nul [2]int
	for i, c := range head {
		if c != 0 {
			continue
		}
		nul[i&1]++
		beside := i ^ 1
		if beside < len(head) && head[beside] < ' ' && head[beside] != '\t' && head[beside] != '\n' && head[beside] != '\r' {
			return ""
		}
	}
	few := max(2, len(head)/2/5) // a fifth of the characters
	switch {
	case nul[0] == 0 && nul[1] >= few:
		return encodingUTF16LE
	case nul[1] == 0 && nul[0] >= few:
		return encodingUTF16BE
	}
	return ""
}

// findEncoding understands the name of an encoding.
func findEncoding(label string) (encoding.Encoding, string, error) {
	if page, name := codePage(label); page != nil {
		return page, name, nil
	}
	e, err := htmlindex.Get(label)
	if err != nil {
		return nil, "", problemf("there is no encoding %q: write it as browsers do, such as utf-8, windows-1252, windows-1251, iso-8859-2, shift_jis, gbk, utf-16le or cp850", label)
	}
	name, err := htmlindex.Name(e)
	if err != nil || name == "replacement" || name == "x-user-defined" {
		return nil, "", problemf("text cannot be read as %q: leave --encoding out, or save the file as CSV UTF-8", label)
	}
	return e, name, nil
}

// codePage is one of those of DOS, which no browser knows and which programs for
// a till or a bank still write; nil when the label is none.
func codePage(label string) (encoding.Encoding, string) {
	name := strings.ToLower(strings.TrimSpace(label))
	for _, prefix := range []string{"cp", "ibm", "dos"} {
		number, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		page, known := map[string]encoding.Encoding{
			"437": charmap.CodePage437, "850": charmap.CodePage850, "852": charmap.CodePage852, "855": charmap.CodePage855, "858": charmap.CodePage858,
			"860": charmap.CodePage860, "862": charmap.CodePage862, "863": charmap.CodePage863, "865": charmap.CodePage865,
		}[strings.TrimLeft(number, "-_ ")]
		if known {
			return page, "cp" + strings.TrimLeft(number, "-_ ")
		}
	}
	return nil, ""
}

// CheckEncoding says what is wrong with the name of an encoding, before any file
// is read; nil when it can be Options.Encoding.
func CheckEncoding(label string) error {
	_, _, err := findEncoding(label)
	return err
}

// decodeAs reads text in the encoding that somebody said it has.
func decodeAs(label, markOf string, r io.Reader) (*decoded, error) {
	e, name, err := findEncoding(label)
	if err != nil {
		return nil, err
	}
	if markOf != "" && markOf != name {
		return nil, problemf("the file begins with the mark of %s, and --encoding says %s: leave --encoding out", markOf, label)
	}
	t := &told{name: name}
	if name == encodingUTF8 {
		t.r = &guessing{r: r, marked: true} // x/text would mend what is broken
	} else if name == encodingWindows1252 {
		t.r = transform.NewReader(r, singleByteOf(charmap.Windows1252))
	} else {
		t.r = transform.NewReader(r, e.NewDecoder())
	}
	return &decoded{t, func() string { return name }}, nil
}

// told reads text of a told encoding. What is not of that encoding would come
// through as replacement characters, and be printed on letters.
type told struct {
	name string
	r    io.Reader
	last []byte // up to two bytes from the end of what was read before
	err  error
}

const replacement = "\uFFFD"

func (t *told) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.r.Read(p)
	at := bytes.Index(p[:n], []byte(replacement))
	seam := append(t.last, p[:min(n, 2)]...)
	if i := bytes.Index(seam, []byte(replacement)); i >= 0 {
		at = 0
	}
	if at >= 0 {
		t.err = lineProblem("the text is not " + t.name + " (here is something that this encoding does not have): leave --encoding out, or name another")
		return at, t.err
	}
	keep := append(seam[:0:0], t.last...)
	keep = append(keep, p[max(0, n-2):n]...)
	t.last = keep[max(0, len(keep)-2):]
	var lp lineProblem
	if errors.As(err, &lp) {
		err = lineProblem("the text is not " + t.name + ": leave --encoding out, or name another")
	}
	t.err = err
	return n, err
}

// singleByte decodes an encoding of one byte a character. A byte that it does not
// define is a lineProblem: the WHATWG has control characters for the five of
// Windows-1252, which nobody writes on a letter. They are letters in another
// encoding.
type singleByte struct {
	transform.NopResetter
	utf8 [256]string // empty: not defined
}

func singleByteOf(m *charmap.Charmap) *singleByte {
	s := &singleByte{}
	for i := range s.utf8 {
		if r := m.DecodeByte(byte(i)); r != utf8.RuneError {
			s.utf8[i] = string(r)
		}
	}
	return s
}

const otherEncoding = lineProblem("here is a byte that is a letter neither in UTF-8 nor in Windows-1252: save the list again as CSV UTF-8, or say what it is with --encoding, such as --encoding cp850 for a program of DOS, windows-1250, windows-1251 or shift_jis")

// Transform implements transform.Transformer.
func (s *singleByte) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		c := s.utf8[src[nSrc]]
		if c == "" {
			return nDst, nSrc, otherEncoding
		}
		if len(dst)-nDst < len(c) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += copy(dst[nDst:], c)
		nSrc++
	}
	return nDst, nSrc, nil
}

// guessing reads text as UTF-8 for as long as it is, which pure ASCII is too.
// Where it is not for the first time, and nothing before was UTF-8 beyond
// ASCII, the text is in an encoding of one byte a character from there on:
// Windows-1252 as a rule, of which Latin-1 is a part. (Not one byte sequence in
// thousands that people write in Windows-1252 is valid UTF-8.)
type guessing struct {
	r          io.Reader
	marked     bool // with a mark it is UTF-8, or broken
	single     *singleByte
	singleName string

	beyond  bool      // UTF-8 beyond ASCII was seen
	other   io.Reader // all further text, once it is known not to be UTF-8
	carry   []byte    // the beginning of a character that the next read completes
	waiting []byte    // text that found no room
	small   []byte    // to read into when the caller's room is small
	err     error     // what ends the text
}

func (g *guessing) encoding() string {
	if g.other != nil {
		return g.singleName
	}
	return encodingUTF8
}

// Read returns whole characters only, but for a caller with little room.
func (g *guessing) Read(p []byte) (int, error) {
	for {
		switch {
		case len(p) == 0:
			return 0, nil
		case len(g.waiting) > 0:
			n := copy(p, g.waiting)
			g.waiting = g.waiting[n:]
			return n, nil
		case g.err != nil:
			return 0, g.err
		case g.other != nil:
			return g.other.Read(p)
		}
		if len(p) >= smallRoom {
			if n := g.fill(p); n > 0 {
				return n, nil
			}
			continue
		}
		if g.small == nil {
			g.small = make([]byte, smallRoom)
		}
		g.waiting = g.small[:g.fill(g.small)]
	}
}

const smallRoom = 512

// fill reads once, and returns how many bytes of p are good text.
func (g *guessing) fill(p []byte) int {
	n := copy(p, g.carry)
	g.carry = g.carry[:0]
	k, err := g.r.Read(p[n:])
	n += k
	good := g.valid(p[:n])
	rest := p[good:n]
	switch {
	case len(rest) == 0:
		g.err = err
	case err == nil && !utf8.FullRune(rest):
		g.carry = append(g.carry, rest...)
	case err != nil && !errors.Is(err, io.EOF):
		g.err = err
	case g.beyond || g.marked:
		g.err = lineProblem("the text is UTF-8 up to here, and on this line it is something else (perhaps two files were put together, or a text was cut in the middle of a letter): save the list again as CSV UTF-8, or say what it is with --encoding, such as --encoding windows-1252")
	default:
		after := g.r
		if err != nil {
			after = failing{err}
		}
		g.other = transform.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(rest)), after), g.single)
	}
	return good
}

// valid returns how many bytes from the beginning are UTF-8.
func (g *guessing) valid(b []byte) int {
	from := 0
	if !g.beyond {
		if from = firstBeyondASCII(b); from == len(b) {
			return from
		}
	}
	if utf8.Valid(b[from:]) {
		g.beyond = g.beyond || from < len(b)
		return len(b)
	}
	for from < len(b) {
		r, size := utf8.DecodeRune(b[from:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		g.beyond = g.beyond || size > 1
		from += size
	}
	return from
}

// firstBeyondASCII is where the first byte stands that is not ASCII; len(b)
// when all are.
func firstBeyondASCII(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:])&0x8080808080808080 != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if b[i] >= utf8.RuneSelf {
			return i
		}
	}
	return len(b)
}

// failing is a reader that has come to its error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// lineEnds makes LF of every CR that stands alone, and leaves CRLF to the
// tokenizer, which knows it.
type lineEnds struct {
	r    io.Reader
	skip bool // the text before ended in a CR that was made LF: a LF now belongs to it
}

func (l *lineEnds) Read(p []byte) (int, error) {
	for {
		n, err := l.r.Read(p)
		if l.skip && n > 0 {
			l.skip = false
			if p[0] == '\n' {
				n = copy(p, p[1:n])
			}
		}
		for i := 0; i < n; i++ {
			k := bytes.IndexByte(p[i:n], '\r')
			if k < 0 {
				break
			}
			if i += k; i == n-1 {
				l.skip = true
			}
			if i == n-1 || p[i+1] != '\n' {
				p[i] = '\n'
			}
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// binarySeen is in how many bytes a binary file shows that it is one.
const binarySeen = 4096

// textProblem says why the beginning of a file cannot be read as text, and what
// to do; empty when it can.
func textProblem(head []byte) string {
	s := string(head)
	if _, mark := byteOrderMark(head); mark == encodingUTF16LE || mark == encodingUTF16BE {
		if strings.HasPrefix(s, "\xff\xfe\x00\x00") {
			return "this is UTF-32: save it as CSV UTF-8"
		}
		return ""
	}
	if utf16Without(head) != "" {
		return ""
	}
	// Further down a NUL is the fault of its line, which isText names.
	s = s[:min(len(s), binarySeen)]
	controls := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == 0:
			return "this is a binary file, not CSV: save the list as CSV UTF-8"
		case c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f':
			controls++
		}
	}
	if controls > 2+len(s)/50 {
		return "this is a binary file, not CSV: save the list as CSV UTF-8"
	}
	return ""
}
