package importer

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// sniffed is how many bytes tell what a file is.
const sniffed = 4096

// reader reads the rows of a file, none longer than a limit.
type reader struct {
	file string // its name, for messages
	most int    // bytes of a row

	input *boundedInput
	csv   *csv.Reader

	lastLine int    // where the last cell of the row before began
	lastCell string // and what it held
}

// newReader looks at the beginning of a file: what it is, and what separates
// its cells. What is not CSV is a *FileError.
func newReader(ctx context.Context, r io.Reader, file string, mostBytes int) (*reader, error) {
	in := &boundedInput{ctx: ctx, r: r, most: int64(mostBytes) + readAhead}
	buf := bufio.NewReaderSize(in, readAhead)
	head, err := buf.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if strings.HasPrefix(string(head), "\xef\xbb\xbf") {
		_, _ = buf.Discard(3) // the byte order mark of UTF-8: it was peeked at
		in.row = 3
		head = head[3:]
	}
	if problem := notCSV(head); problem != "" {
		return nil, &FileError{Name: file, Problem: problem}
	}
	in.marks = in.row
	c := csv.NewReader(buf)
	c.ReuseRecord = true
	c.FieldsPerRecord = -1
	c.Comma = delimiter(head)
	return &reader{file: file, most: mostBytes, input: in, csv: c}, nil
}

// read returns the next row with anything in it, and the line on which it
// begins. The slice is valid until the next call; the strings stay. At the end
// of the file the error is io.EOF.
func (r *reader) read() (row []string, line int, err error) {
	for {
		began := r.offset()
		r.input.begin(began)
		row, err = r.csv.Read()
		if err != nil {
			return nil, 0, r.explain(err)
		}
		line, _ = r.csv.FieldPos(0)
		if r.offset()-began > int64(r.most) {
			return nil, 0, r.tooLong(line)
		}
		last := len(row) - 1
		r.lastLine, _ = r.csv.FieldPos(last)
		r.lastCell = row[last]
		if !blank(row) {
			return row, line, nil
		}
	}
}

// offset is how many bytes of the file have been read as rows.
func (r *reader) offset() int64 { return r.input.marks + r.csv.InputOffset() }

func (r *reader) explain(err error) error {
	var pe *csv.ParseError
	switch {
	case errors.Is(err, errRowTooLong):
		return r.tooLong(r.lastLine + strings.Count(r.lastCell, "\n") + 1)
	case errors.As(err, &pe) && errors.Is(err, csv.ErrQuote):
		return &FileError{Name: r.file, Line: pe.StartLine, Problem: fmt.Sprintf(
			"a quote is never closed, or stands in the middle of a quoted cell (the row ends on line %d): write a quote inside a quoted cell twice", pe.Line)}
	case errors.As(err, &pe) && errors.Is(err, csv.ErrBareQuote):
		return &FileError{Name: r.file, Line: pe.Line, Problem: "a quote stands in the middle of a cell: quote the whole cell, and write quotes inside it twice"}
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return fmt.Errorf("reading %s: %w", r.file, err)
}

func (r *reader) tooLong(line int) error {
	return &FileError{Name: r.file, Line: line, Problem: fmt.Sprintf(
		"the row that begins here has more than %d bytes: perhaps a quote is never closed, or this is not a CSV file", r.most)}
}

// blank reports whether a row has nothing in it: spreadsheets end their files
// with thousands of such.
func blank(row []string) bool {
	for _, cell := range row {
		if cell != "" && strings.TrimSpace(cell) != "" {
			return false
		}
	}
	return true
}

// readAhead is what the buffer may hold beyond the row that is being read.
const readAhead = 64 << 10

var errRowTooLong = errors.New("the row is too long")

// boundedInput refuses to go on when one row takes too many bytes: csv would
// read to the end of a file for a quote that is never closed. It ends with its
// context.
type boundedInput struct {
	ctx   context.Context
	r     io.Reader
	most  int64 // bytes from the beginning of a row
	count int64 // bytes read
	row   int64 // offset at which the row began
	marks int64 // bytes before the first row that csv does not see
}

func (in *boundedInput) begin(offset int64) { in.row = offset }

func (in *boundedInput) Read(p []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	if in.count-in.row > in.most {
		return 0, errRowTooLong
	}
	n, err := in.r.Read(p)
	in.count += int64(n)
	return n, err
}

const emptyFile = "the file is empty: it needs a header and a row for each contact"

// notCSV says what a file is that cannot be read as text, and what to do; empty
// when it can. (The marks are those of the formats' own specifications.)
func notCSV(head []byte) string {
	s := string(head)
	switch {
	case len(s) < sniffed && strings.TrimSpace(s) == "":
		return emptyFile
	case strings.HasPrefix(s, "PK\x03\x04"):
		return "this is a spreadsheet (xlsx) or a zip archive, not CSV: open it and save it as CSV UTF-8"
	case strings.HasPrefix(s, "\xd0\xcf\x11\xe0"):
		return "this is an old Excel workbook (xls), not CSV: open it and save it as CSV UTF-8"
	case strings.HasPrefix(s, "%PDF"):
		return "this is a PDF, not CSV: export the list as CSV UTF-8 from where it was made"
	case strings.HasPrefix(s, "\x1f\x8b"):
		return "this is compressed (gzip): unpack it first"
	case strings.HasPrefix(s, "\xff\xfe"), strings.HasPrefix(s, "\xfe\xff"):
		return "this is UTF-16: save it as CSV UTF-8"
	case strings.Contains(s, "\x00"):
		return "this is a binary file, not CSV: save the list as CSV UTF-8"
	case strings.Contains(s, "\r") && !strings.Contains(s, "\n"):
		return "its lines end as on old Macs (CR alone): save it as CSV UTF-8"
	}
	return ""
}

// delimiter is what separates the cells of the first line with anything in it.
func delimiter(head []byte) rune {
	line, _, _ := strings.Cut(strings.TrimLeft(string(head), "\r\n"), "\n")
	best, most := ',', 0
	for _, d := range []rune{',', ';', '\t', '|'} {
		n, quoted := 0, false
		for _, c := range line {
			switch c {
			case '"':
				quoted = !quoted
			case d:
				if !quoted {
					n++
				}
			}
		}
		if n > most {
			best, most = d, n
		}
	}
	return best
}
