package importer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// isJSONLines reports whether a text is JSON lines: an object on its first line.
// One that is longer than what was read of the text is taken at its word.
func isJSONLines(head []byte) bool {
	first, _, whole := bytes.Cut(withoutMark(head), []byte("\n"))
	first = bytes.TrimSpace(first)
	if !bytes.HasPrefix(first, []byte(`{"`)) {
		return false
	}
	return json.Valid(first) || !whole && len(head) == sniffed
}

func withoutMark(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) }

// jsonRows reads JSON lines: an object of texts, numbers and truth values for
// each contact, as `list export` writes them. The names of the first object are
// the header; the others may lack some of them and have no further ones.
type jsonRows struct {
	ctx  context.Context
	in   *bufio.Reader
	most int // bytes of a line

	names []string
	at    map[string]int // column of a name
	// Our own export tells the country of a number from that of the address, and
	// a row has one: the address's, where there is an address.
	country, addressCountry, addressLine int

	line  int
	count int64
	first []string // the row of the first object; nil when it was handed out
	row   []string
	whole bool // the header was handed out
}

func newJSONRows(ctx context.Context, head []byte, rest io.Reader, most int) (*jsonRows, error) {
	j := &jsonRows{ctx: ctx, most: most, at: map[string]int{}}
	j.in = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(withoutMark(head)), rest), readAhead)
	text, err := j.next()
	if err != nil {
		return nil, err
	}
	err = j.object(text, func(name, value string) error {
		j.at[name] = len(j.names)
		j.names = append(j.names, name)
		j.first = append(j.first, value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	find := func(name string) int {
		if i, there := j.at[name]; there {
			return i
		}
		return -1
	}
	j.country, j.addressCountry, j.addressLine = find("country"), find("address_country"), find("address_line_1")
	return j, nil
}

// read hands out the header, then a row for each object.
func (j *jsonRows) read() (row []string, line int, err error) {
	if !j.whole {
		j.whole = true
		return j.oneCountry(append([]string(nil), j.names...), true), j.line, nil
	}
	if j.first != nil {
		row, j.first = j.first, nil
		return j.oneCountry(row, false), j.line, nil
	}
	for {
		text, err := j.next()
		if err != nil {
			return nil, 0, err
		}
		j.row = append(j.row[:0], make([]string, len(j.names))...)
		err = j.object(text, func(name, value string) error {
			i, known := j.at[name]
			if !known {
				return errors.New("it has a name that the first object lacks: give every object the same names, empty where there is nothing")
			}
			j.row[i] = value
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		if !blank(j.row) {
			return j.oneCountry(j.row, false), j.line, nil
		}
	}
}

// oneCountry leaves a row one country, where the object has two.
func (j *jsonRows) oneCountry(row []string, header bool) []string {
	if j.country < 0 || j.addressCountry < 0 {
		return row
	}
	if !header && j.addressLine >= 0 && row[j.addressLine] != "" {
		row[j.country] = row[j.addressCountry]
	}
	return append(row[:j.addressCountry], row[j.addressCountry+1:]...)
}

func (j *jsonRows) offset() int64 { return j.count }

// next reads the next line with anything on it.
func (j *jsonRows) next() ([]byte, error) {
	for {
		if err := j.ctx.Err(); err != nil {
			return nil, err
		}
		var long []byte
		part, err := j.in.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) && len(long) <= j.most {
			long = append(long, part...)
			part, err = j.in.ReadSlice('\n')
		}
		if long != nil {
			part = append(long, part...)
		}
		j.line++
		j.count += int64(len(part))
		switch {
		case len(part) > j.most:
			return nil, &FileError{Line: j.line, Problem: fmt.Sprintf("the line has more than %d bytes", j.most)}
		case len(bytes.TrimSpace(part)) > 0 && (err == nil || errors.Is(err, io.EOF)):
			return part, nil
		case err != nil:
			return nil, err
		}
	}
}

// object reads the one object of a line. No error repeats what stands in it.
func (j *jsonRows) object(text []byte, take func(name, value string) error) error {
	bad := func(what string) error {
		return &FileError{Line: j.line, Problem: "this is no line of JSON lines: " + what}
	}
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return bad("expected an object, such as {\"phone\":\"+61412345678\"}")
	}
	for {
		name, err := d.ReadToken()
		if err != nil {
			return bad("the object is not valid JSON, or has a name twice")
		}
		if name.Kind() == '}' {
			break
		}
		title := name.String()
		value, err := d.ReadToken()
		if err != nil {
			return bad("the object is not valid JSON")
		}
		cell := ""
		switch value.Kind() {
		case '{', '[':
			return bad("a value is an object or a list: give texts, numbers, true, false or null")
		case 'n':
		default:
			cell = asCSVHasIt(value.String())
		}
		if err := take(title, cell); err != nil {
			return bad(err.Error())
		}
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return bad("more than one object stands on it: give each a line of its own")
	}
	if len(j.names) == 0 {
		return bad("the object is empty: its names are those of the columns, such as phone")
	}
	return nil
}

// asCSVHasIt puts an apostrophe before a text that begins with one and then as a
// formula does: of a cell the first is taken off (see held), and here none was
// put on.
func asCSVHasIt(s string) string {
	if strings.HasPrefix(s, "'") && IsFormula(s) {
		return "'" + s
	}
	return s
}

// jsonFlags refuses what does not apply to JSON lines.
func (u *understanding) jsonFlags() error {
	for _, f := range []struct{ flag, value string }{{"delimiter", u.delimiter}, {"encoding", u.encoding}} {
		if f.value != "" {
			return problem(fmt.Sprintf("--%s is for CSV, and this is JSON lines, which is UTF-8: leave it out", strings.TrimSpace(f.flag)))
		}
	}
	return nil
}
