package importer

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// sniffed is how many bytes tell what a file is.
const sniffed = readAhead

// reader reads the rows of a file, whatever it is: packed or not, text or a
// workbook.
type reader struct {
	file  string // its name, for messages
	rows  rowSource
	facts FileFacts
	// sheets lists those of a workbook that has several; else empty.
	sheets string

	encoding func() string // of the text; nil for a workbook
	done     func() int64  // bytes of the file that have been read
	closers  []func() error
}

// rowSource is where rows come from.
type rowSource interface {
	// read returns the next row with anything in it, and the line on which it
	// begins. The slice is valid until the next call; the strings stay. At the
	// end the error is io.EOF.
	read() (row []string, line int, err error)
	// offset is how many bytes of rows have been read.
	offset() int64
}

// understanding is how a file is to be read, as far as somebody said.
type understanding struct {
	name        string // of the file, for messages
	most        int    // bytes of a row
	encoding    string
	delimiter   string
	sheet       string
	member      string
	maxUnpacked int64
	tempDir     string
	plain       bool // only text in UTF-8, and what is not UTF-8 is the caller's to find
}

func (o Options) understanding() understanding {
	u := understanding{
		name: o.Name, most: o.MaxRow, encoding: o.Encoding, delimiter: o.Delimiter, sheet: o.Sheet, member: o.Member,
		maxUnpacked: o.MaxUnpacked, tempDir: o.TempDir,
	}
	if u.maxUnpacked == 0 {
		u.maxUnpacked = mostUnpacked
	}
	return u
}

// newReader looks at the beginning of a file: what it is, and how it is to be
// read. What holds no rows is a *FileError. Close belongs to a reader.
func newReader(ctx context.Context, r io.Reader, u understanding) (*reader, error) {
	rd := &reader{file: u.name, facts: FileFacts{Format: "csv"}}
	if err := rd.open(ctx, r, u); err != nil {
		return nil, errors.Join(rd.explain(err), rd.close())
	}
	return rd, nil
}

// read returns the next row with anything in it, and the line (or the row of a
// sheet) on which it begins, from 1.
func (r *reader) read() (row []string, line int, err error) {
	if row, line, err = r.rows.read(); err != nil {
		return nil, 0, r.explain(err)
	}
	return row, line, nil
}

func (r *reader) offset() int64 { return r.rows.offset() }

// understood says what the file was understood as. The encoding is certain at
// the end of the file.
func (r *reader) understood() FileFacts {
	facts := r.facts
	if r.encoding != nil {
		facts.Encoding = r.encoding()
	}
	return facts
}

func (r *reader) close() error {
	var all []error
	for _, c := range r.closers {
		all = append(all, c())
	}
	r.closers = nil
	return errors.Join(all...)
}

// explain gives an error the name of the file.
func (r *reader) explain(err error) error {
	var fe *FileError
	var p problem
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.As(err, &p):
		return &FileError{Name: r.file, Problem: string(p)}
	case errors.As(err, &fe):
		fe.Name = r.file
		return fe
	}
	return fmt.Errorf("reading %s: %w", r.file, err)
}

// open finds out what the file is, layer by layer.
func (r *reader) open(ctx context.Context, in io.Reader, u understanding) error {
	section := randomAccess(in)
	raw := &countedInput{ctx: ctx, r: in}
	r.done = func() int64 { return raw.count }
	head, rest, err := readHead(raw)
	if err != nil {
		return err
	}
	switch {
	case u.plain && (isGzip(head) || isZip(head)):
		return problem("this is a workbook (xlsx) or compressed, and a plain CSV file is expected here: save it as CSV UTF-8, or unpack it")
	case isZip(head):
		if section == nil {
			if section, err = r.spool(ctx, io.MultiReader(bytes.NewReader(head), rest), u); err != nil {
				return err
			}
		}
		return r.openZip(ctx, section, u, false)
	case isGzip(head):
		if u.member != "" {
			return problem("--member names a file in a zip archive, and this is compressed with gzip, which holds one file: leave it out")
		}
		z, err := gzip.NewReader(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(head), rest), readAhead))
		if err != nil {
			return unpackProblem("gzip", err)
		}
		r.facts.Compression = "gzip"
		inner := &unpacking{r: z, what: "gzip", packed: func() int64 { return raw.count }, most: u.maxUnpacked}
		return r.openUnpacked(ctx, inner, u)
	case u.member != "":
		return problem("--member names a file in a zip archive, and this is none: leave it out")
	}
	return r.openText(ctx, head, rest, u)
}

// spool keeps in in a temporary file, to be read anywhere.
func (r *reader) spool(ctx context.Context, in io.Reader, u understanding) (*io.SectionReader, error) {
	section, closer, err := spool(ctx, in, u.tempDir)
	if err == nil {
		r.closers = append(r.closers, closer)
	}
	return section, err
}

// openUnpacked reads what was in an archive: text or a workbook, no further
// archive.
func (r *reader) openUnpacked(ctx context.Context, in io.Reader, u understanding) error {
	head, rest, err := readHead(in)
	switch {
	case err != nil:
		return err
	case isGzip(head):
		return problem("this is an archive in an archive: unpack the outer one first")
	case isZip(head):
		section, err := r.spool(ctx, io.MultiReader(bytes.NewReader(head), rest), u)
		if err != nil {
			return err
		}
		return r.openZip(ctx, section, u, true)
	}
	return r.openText(ctx, head, rest, u)
}

// openZip reads a workbook, or the list in a zip archive. Inner says that it
// was in an archive itself.
func (r *reader) openZip(ctx context.Context, section *io.SectionReader, u understanding, inner bool) error {
	a, err := openArchive(section, u.maxUnpacked)
	if err != nil {
		return err
	}
	kind, err := a.kind()
	switch {
	case err != nil:
		return err
	case kind == "xlsx":
		if u.member != "" && !inner {
			return problem("--member names a file in a zip archive, and this is a workbook: leave it out; --sheet names a sheet")
		}
		return r.openWorkbook(ctx, a, u, inner)
	case inner:
		return problem("this is an archive in an archive: unpack the outer one first")
	}
	f, err := a.choose(u.member)
	if err != nil {
		return err
	}
	member, err := a.open(f)
	if err != nil {
		return err
	}
	r.facts.Compression, r.facts.Member = "zip", f.Name
	r.done = func() int64 { return member.done(a.size) }
	return r.openUnpacked(ctx, inContext{ctx, member}, u)
}

// openText reads what has come through all packing.
func (r *reader) openText(ctx context.Context, head []byte, rest io.Reader, u understanding) error {
	if u.sheet != "" {
		return problem("--sheet names a sheet of a workbook, and this is none: leave it out")
	}
	if len(bytes.TrimSpace(head)) == 0 && len(head) < sniffed {
		return problem(emptyFile)
	}
	if !u.plain && isJSONLines(head) {
		if err := u.jsonFlags(); err != nil {
			return err
		}
		rows, err := newJSONRows(ctx, head, rest, u.most)
		if err != nil {
			return err
		}
		r.rows, r.facts.Format, r.encoding = rows, "jsonl", func() string { return "utf-8" }
		return nil
	}
	if p := notAList(head); p != "" {
		return problem(p)
	}
	if u.encoding == "" {
		if p := textProblem(head); p != "" {
			return problem(p)
		}
	}
	text, err := decode(head, rest, u)
	if err != nil {
		return err
	}
	r.encoding = text.encoding
	rows, err := newTextRows(ctx, text, u)
	if err != nil {
		return err
	}
	r.rows, r.facts.Delimiter = rows, string(rows.csv.Comma)
	return nil
}

// readHead reads the beginning of a file, as much as tells what it is, and
// returns it with a reader of what follows.
func readHead(r io.Reader) (head []byte, rest io.Reader, err error) {
	head = make([]byte, 0, sniffed)
	for len(head) < sniffed {
		n, err := r.Read(head[len(head):sniffed])
		head = head[:len(head)+n]
		if errors.Is(err, io.EOF) {
			return head, failing{io.EOF}, nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return head, r, nil
}

// countedInput counts what is read. It ends with its context.
type countedInput struct {
	ctx   context.Context
	r     io.Reader
	count int64
}

func (c *countedInput) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.count += int64(n)
	return n, err
}

// textRows reads the rows of CSV, none longer than a limit.
type textRows struct {
	most  int // bytes of a row
	input *boundedInput
	buf   *bufio.Reader // that csv reads from
	csv   *csv.Reader
	cut   int // cells behind it are dropped while they are empty; 0: none are
	above int // lines above the first that csv sees

	lastLine int    // where the last cell of the row before began
	lastCell string // and what it held
}

// newTextRows looks at the beginning of a text: what separates its cells.
func newTextRows(ctx context.Context, text io.Reader, u understanding) (*textRows, error) {
	in := &boundedInput{ctx: ctx, r: &lineEnds{r: text}, most: int64(u.most) + readAhead}
	buf := bufio.NewReaderSize(in, readAhead)
	head, err := buf.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		var lp lineProblem
		if errors.As(err, &lp) {
			return nil, &FileError{Line: in.lines + 1, Problem: string(lp)}
		}
		return nil, err
	}
	whole := len(head) < sniffed
	if p := markupProblem(string(head[:min(len(head), 4096)])); p != "" {
		return nil, problem(p)
	}
	c := csv.NewReader(buf)
	c.ReuseRecord = true
	c.FieldsPerRecord = -1
	t := &textRows{most: u.most, input: in, buf: buf, csv: c}
	comma, length := separatorLine(head)
	if length > 0 {
		t.above = 1
		in.row, in.marks = int64(length), int64(length)
		head = bytes.Clone(head[length:])
		_, _ = buf.Discard(length) // it was peeked at
	}
	if u.delimiter != "" {
		if comma, err = parseDelimiter(u.delimiter); err != nil {
			return nil, err
		}
	}
	if comma == 0 {
		comma = sniffDelimiter(head, whole)
	}
	c.Comma = comma
	t.cut = trailing(head, comma, whole)
	return t, nil
}

func (t *textRows) read() (row []string, line int, err error) {
	for {
		began := t.offset()
		t.input.begin(began)
		t.csv.LazyQuotes, t.csv.TrimLeadingSpace = t.leniency()
		row, err = t.csv.Read()
		if err != nil {
			return nil, 0, t.explain(err)
		}
		line, _ = t.csv.FieldPos(0)
		line += t.above
		if t.offset()-began > int64(t.most) {
			return nil, 0, t.tooLong(line)
		}
		last := len(row) - 1
		t.lastLine, _ = t.csv.FieldPos(last)
		t.lastLine += t.above
		t.lastCell = row[last]
		if t.cut > 0 && len(row) > t.cut && blank(row[t.cut:]) {
			row = row[:t.cut]
		}
		if !blank(row) {
			return row, line, nil
		}
	}
}

// leniency looks at the line that is read next. With quotes in the middle of
// cells, such as 5" pipe, a line is read leniently when every quoted cell of it
// also ends on it: then nothing can be swallowed. Spaces before a quoted cell
// are skipped. Anything else is read strictly, so that a quote that is never
// closed is found out.
func (t *textRows) leniency() (lazy, trim bool) {
	line, whole := nextLine(t.buf.Peek(t.buf.Buffered()))
	if !whole {
		// An error comes again when the row is read.
		if line, whole = nextLine(t.buf.Peek(readAhead)); !whole && len(line) > readAhead/2 {
			return false, false
		}
	}
	if bytes.IndexByte(line, '"') < 0 {
		return false, false
	}
	return quoting(line, byte(t.csv.Comma))
}

// nextLine is the first line of b that is not empty, and whether its end is
// there. (The error is for bufio's Peek, to be called with.)
func nextLine(b []byte, _ error) (line []byte, whole bool) {
	for len(b) > 0 && (b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return b, false
	}
	return b[:end], true
}

// quoting says how the quotes of a line can be read.
func quoting(line []byte, comma byte) (lazy, trim bool) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	for i := 0; i <= len(line); i++ {
		for i < len(line) && line[i] == ' ' && comma != ' ' {
			i++
		}
		spaces := i > 0 && line[i-1] == ' '
		if i < len(line) && line[i] == '"' {
			if spaces {
				trim = true
			}
			for i++; ; i++ {
				k := bytes.IndexByte(line[min(i, len(line)):], '"')
				if k < 0 {
					return false, false // it goes on on the next line
				}
				if i += k; i+1 < len(line) && line[i+1] == '"' {
					i++
					continue
				}
				break
			}
			if i++; i < len(line) && line[i] != comma {
				return false, false
			}
			continue
		}
		for i < len(line) && line[i] != comma {
			lazy = lazy || line[i] == '"'
			i++
		}
	}
	return lazy, trim && comma != '\t' // a tab is white space to csv
}

// offset is how many bytes of the text have been read as rows.
func (t *textRows) offset() int64 { return t.input.marks + t.csv.InputOffset() }

func (t *textRows) explain(err error) error {
	var pe *csv.ParseError
	var lp lineProblem
	switch {
	case errors.Is(err, errRowTooLong):
		return t.tooLong(t.lastLine + strings.Count(t.lastCell, "\n") + 1)
	case errors.As(err, &lp):
		return &FileError{Line: t.input.lines + 1, Problem: string(lp)}
	case errors.As(err, &pe) && errors.Is(err, csv.ErrQuote):
		return &FileError{Line: pe.StartLine + t.above, Problem: fmt.Sprintf(
			"a quote is never closed, or stands in the middle of a quoted cell (the row ends on line %d): write a quote inside a quoted cell twice", pe.Line+t.above)}
	case errors.As(err, &pe) && errors.Is(err, csv.ErrBareQuote):
		return &FileError{Line: pe.Line + t.above, Problem: "a quote stands in the middle of a cell: quote the whole cell, and write quotes inside it twice"}
	}
	return err
}

func (t *textRows) tooLong(line int) error {
	return &FileError{Line: line, Problem: fmt.Sprintf(
		"the row that begins here has more than %d bytes: perhaps a quote is never closed, or this is not a CSV file", t.most)}
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
	lines int   // line ends read
	row   int64 // offset at which the row began
	marks int64 // bytes before the first row that csv does not see
	err   error // what ended the input; a buffer forgets it once it was peeked at
}

func (in *boundedInput) begin(offset int64) { in.row = offset }

func (in *boundedInput) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	if in.count-in.row > in.most {
		return 0, errRowTooLong
	}
	n, err := in.r.Read(p)
	in.count += int64(n)
	in.lines += bytes.Count(p[:n], lineFeed)
	in.err = err
	return n, err
}

var lineFeed = []byte("\n")

const emptyFile = "the file is empty: it needs a header and a row for each contact"
