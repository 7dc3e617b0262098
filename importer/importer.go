// Package importer turns a file of contacts into contacts, in one pass and
// with memory that does not grow with the file, but for the exact duplicate
// check. One goroutine reads, several check numbers, one keeps the order,
// drops duplicates and hands the rest to a sink.
package importer

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
)

// Options of Import.
type Options struct {
	Name     string            // of the file, for messages
	Country  string            // ISO 3166-1 alpha-2 of national numbers; empty: none
	Identity campaign.Identity // what makes two rows the same recipient

	MaxRow     int // bytes of a row; 1 MiB when 0
	MaxColumns int // 1,000 when 0
	Workers    int // goroutines that check numbers; one per processor when 0

	OptedOut func(phone string) bool // nil: nobody has
	Reject   func(Reject) error      // called for every dropped row, in order; may be nil
	Progress func(Progress)          // called at most every 200 ms; may be nil
}

// Progress is how far an import is.
type Progress struct {
	Bytes int64 // of the file
	Rows  int
}

// Sink takes the contacts, in the order of the file and in chunks of at most
// 2,000. It must not keep the slice. A *ledger.ListWriter is one.
type Sink interface {
	Contacts(ctx context.Context, chunk []campaign.Contact) error
}

// Summary is what an import came to. Rows is the sum of the other four.
type Summary struct {
	Rows, Imported, Duplicates, Rejected, Suppressed int
	// Mapping says which column was understood as what: "phone" -> "Mobile Phone".
	Mapping map[string]string
	Fields  []string // names of the further columns
}

// Codes of rejects.
const (
	CodeDuplicate      = "duplicate"
	CodeOptedOut       = "opted_out"
	CodeTooManyCells   = "too_many_cells"
	CodeNoDestination  = "no_destination"
	CodeNationalNumber = "national_number"
	CodeNotANumber     = "not_a_number"
	CodeInvalidNumber  = "invalid_number"
)

// Reject is a row that was dropped.
type Reject struct {
	Line   int
	Column string // as the header spells it; empty when the whole row is at fault
	Code   string
	Reason string // and what to do
	First  int    // line of the row that a duplicate repeats
	Value  string // masked
}

const (
	chunkRows     = 2000
	progressEvery = 200 * time.Millisecond
)

// Import reads r to its end. An error of the file as a whole is a *FileError;
// the sink has then been given a part of it, which its owner must drop.
func Import(ctx context.Context, r io.Reader, sink Sink, o Options) (Summary, error) {
	n, err := newNumbers()
	if err != nil {
		return Summary{}, err
	}
	if o.MaxRow == 0 {
		o.MaxRow = 1 << 20
	}
	if o.MaxColumns == 0 {
		o.MaxColumns = 1000
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	im := &run{o: o, sink: sink, numbers: n, seen: campaign.NewSeen(), places: newCountries()}
	if err := im.open(r); err != nil {
		return Summary{}, err
	}
	if err := im.pump(ctx); err != nil {
		return Summary{}, err
	}
	return im.finish()
}

// run is one import under way.
type run struct {
	o       Options
	sink    Sink
	numbers *numbers
	places  *countries
	seen    *campaign.Seen

	input   *countingReader
	csv     *csv.Reader
	mapping *mapping

	sum          Summary
	national     int   // national numbers without a country
	nationalRows []int // lines of the first of them
	told         time.Time
}

// open looks at the beginning of the file and understands its header.
func (im *run) open(r io.Reader) error {
	im.input = &countingReader{r: r, most: int64(im.o.MaxRow)}
	buf := bufio.NewReaderSize(im.input, 64<<10)
	head, err := buf.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading %s: %w", im.o.Name, err)
	}
	if problem := sniff(head); problem != "" {
		return &FileError{Name: im.o.Name, Problem: problem}
	}
	if strings.HasPrefix(string(head), "\xef\xbb\xbf") {
		_, _ = buf.Discard(3)
		head = head[3:]
	}
	im.csv = csv.NewReader(buf)
	im.csv.ReuseRecord = true
	im.csv.FieldsPerRecord = -1
	im.csv.Comma = delimiter(head)
	header, err := im.read()
	if errors.Is(err, io.EOF) {
		return &FileError{Name: im.o.Name, Problem: "the file has no line with anything in it: it needs a header and a row for each contact"}
	}
	if err != nil {
		return err
	}
	if len(header) > im.o.MaxColumns {
		return &FileError{Name: im.o.Name, Line: 1, Problem: fmt.Sprintf("the header has %d columns, and at most %d are read", len(header), im.o.MaxColumns)}
	}
	line, _ := im.csv.FieldPos(0)
	if im.mapping, err = mapHeader(im.o.Name, line, header); err != nil {
		return err
	}
	im.sum.Mapping = map[string]string{}
	for r, title := range im.mapping.title {
		if im.mapping.at[r] >= 0 && role(r) != roleField {
			im.sum.Mapping[role(r).String()] = title
		}
	}
	im.sum.Fields = im.mapping.columns.Names()
	return nil
}

// sniff says what a file is that cannot be read as text, and what to do.
func sniff(head []byte) string {
	s := string(head)
	switch {
	case len(head) == 0:
		return "the file is empty"
	case strings.HasPrefix(s, "PK\x03\x04"):
		return "this is a spreadsheet or a zip archive, not CSV: open it and save it as CSV UTF-8"
	case strings.HasPrefix(s, "\xd0\xcf\x11\xe0"):
		return "this is an old Excel workbook, not CSV: open it and save it as CSV UTF-8"
	case strings.HasPrefix(s, "%PDF"):
		return "this is a PDF, not CSV"
	case strings.HasPrefix(s, "\x1f\x8b"):
		return "this is compressed (gzip): unpack it first"
	case strings.HasPrefix(s, "\xff\xfe"), strings.HasPrefix(s, "\xfe\xff"):
		return "this is UTF-16, which is not read yet: save it as CSV UTF-8"
	case strings.Contains(s, "\x00"):
		return "this is a binary file, not CSV: save the list as CSV UTF-8"
	}
	return ""
}

// delimiter is what separates the cells of the first line.
func delimiter(head []byte) rune {
	line, _, _ := strings.Cut(string(head), "\n")
	best, most := ',', 0
	for _, d := range []rune{',', ';', '\t', '|'} {
		n, quoted := 0, false
		for _, r := range line {
			switch r {
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

// read returns the next record, valid until the next call.
func (im *run) read() ([]string, error) {
	im.input.begin(im.csv.InputOffset())
	rec, err := im.csv.Read()
	if err == nil || errors.Is(err, io.EOF) && !errors.Is(err, csv.ErrQuote) {
		return rec, err
	}
	var pe *csv.ParseError
	switch {
	case errors.Is(err, errRowTooLong):
		line := 1
		if im.csv.InputOffset() > 0 {
			l, _ := im.csv.FieldPos(0)
			line = l + 1
		}
		return nil, &FileError{Name: im.o.Name, Line: line, Problem: fmt.Sprintf(
			"the row that begins about here has more than %d bytes: a quote may never be closed, or this is not a CSV file", im.o.MaxRow)}
	case errors.As(err, &pe) && errors.Is(err, csv.ErrQuote):
		return nil, &FileError{Name: im.o.Name, Line: pe.StartLine, Problem: fmt.Sprintf(
			"a quote is never closed, or stands in the middle of a cell (the row ends on line %d): write a quote inside a quoted cell twice", pe.Line)}
	case errors.As(err, &pe) && errors.Is(err, csv.ErrBareQuote):
		return nil, &FileError{Name: im.o.Name, Line: pe.Line, Problem: "a quote stands in the middle of a cell: quote the whole cell, and write quotes inside it twice"}
	}
	return nil, fmt.Errorf("reading %s: %w", im.o.Name, err)
}

var errRowTooLong = errors.New("the row is too long")

// countingReader counts bytes and refuses to go on when one row takes too many
// of them: csv would read to the end of a file for a quote that never closes.
type countingReader struct {
	r     io.Reader
	count int64
	row   int64 // offset at which the row began
	most  int64
}

// readAhead is what buffers may hold beyond the row.
const readAhead = 256 << 10

func (c *countingReader) begin(offset int64) { c.row = offset }

func (c *countingReader) Read(p []byte) (int, error) {
	if c.count-c.row > c.most+readAhead {
		return 0, errRowTooLong
	}
	n, err := c.r.Read(p)
	c.count += int64(n)
	return n, err
}

// chunk is a stretch of rows on its way.
type chunk struct {
	cells []string // of all rows, one after the other
	ends  []int    // where each row ends in cells
	lines []int

	contacts []campaign.Contact
	digests  []campaign.Digest
	verdicts []verdict // of each row
	err      error
	ready    chan struct{}
	bytes    int64
}

// verdict is what checking a row came to.
type verdict struct {
	contact int // index in contacts, or -1
	reject  *Reject
	out     bool // opted out
	wide    bool
}

// pump moves chunks from the reader through the workers to the sink.
func (im *run) pump(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan *chunk, im.o.Workers)
	order := make(chan *chunk, 2*im.o.Workers)
	free := make(chan *chunk, 4*im.o.Workers)
	g.Go(func() error {
		defer close(work)
		defer close(order)
		return im.produce(ctx, work, order, free)
	})
	for range im.o.Workers {
		g.Go(func() error {
			for c := range work {
				im.check(c)
				close(c.ready)
			}
			return nil
		})
	}
	g.Go(func() error {
		for c := range order {
			select {
			case <-c.ready:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := im.take(ctx, c); err != nil {
				return err
			}
			select {
			case free <- c:
			default:
			}
		}
		return nil
	})
	return g.Wait()
}

// produce reads rows into chunks.
func (im *run) produce(ctx context.Context, work, order chan<- *chunk, free <-chan *chunk) error {
	c := im.newChunk(free)
	hand := func() error {
		if len(c.ends) == 0 {
			return nil
		}
		c.bytes = im.csv.InputOffset()
		for _, to := range []chan<- *chunk{order, work} {
			select {
			case to <- c:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		c = im.newChunk(free)
		return nil
	}
	for {
		rec, err := im.read()
		if errors.Is(err, io.EOF) {
			return hand()
		}
		if err != nil {
			return err
		}
		if len(rec) == 1 && rec[0] == "" {
			continue
		}
		line, _ := im.csv.FieldPos(0)
		c.cells = append(c.cells, rec...)
		c.ends = append(c.ends, len(c.cells))
		c.lines = append(c.lines, line)
		if len(c.ends) == chunkRows {
			if err := hand(); err != nil {
				return err
			}
		}
	}
}

func (im *run) newChunk(free <-chan *chunk) *chunk {
	select {
	case c := <-free:
		clear(c.cells)
		c.cells, c.ends, c.lines = c.cells[:0], c.ends[:0], c.lines[:0]
		c.contacts, c.digests, c.verdicts = c.contacts[:0], c.digests[:0], c.verdicts[:0]
		c.ready, c.err = make(chan struct{}), nil
		return c
	default:
		return &chunk{ready: make(chan struct{})}
	}
}

// check turns a chunk's rows into contacts or rejects.
func (im *run) check(c *chunk) {
	var key []byte
	values := make([]string, 0, len(c.ends)*len(im.mapping.fields))
	start := 0
	for i, end := range c.ends {
		row := c.cells[start:end]
		start = end
		for _, cell := range row {
			if !utf8.ValidString(cell) || strings.IndexByte(cell, 0) >= 0 {
				c.err = &FileError{Name: im.o.Name, Line: c.lines[i], Problem: "the text is not UTF-8 (perhaps Windows-1252 or Latin-1): save the file as CSV UTF-8"}
				return
			}
		}
		v := verdict{contact: -1}
		if len(row) > len(im.mapping.roles) && !blankRest(row[len(im.mapping.roles):]) {
			v.reject = &Reject{Line: c.lines[i], Code: CodeTooManyCells, Reason: fmt.Sprintf(
				"the row has %d cells and the header %d: a cell with a comma needs quotes", len(row), len(im.mapping.roles))}
			c.verdicts = append(c.verdicts, v)
			continue
		}
		var k campaign.Contact
		k.Line = c.lines[i]
		if v.reject = im.fill(&k, row); v.reject == nil {
			first := len(values)
			for _, f := range im.mapping.fields {
				values = append(values, strings.TrimSpace(cellAt(row, f)))
			}
			if len(values) > first {
				k.Fields = campaign.Fields{Columns: im.mapping.columns, Values: values[first:len(values):len(values)]}
			}
			v.out = k.Phone != "" && im.o.OptedOut != nil && (im.o.Identity == campaign.ByNumber || !k.Address.Complete()) && im.o.OptedOut(k.Phone)
			v.contact = len(c.contacts)
			key = im.o.Identity.AppendKey(key[:0], &k, "")
			c.contacts = append(c.contacts, k)
			c.digests = append(c.digests, im.seen.Digest(key))
		}
		c.verdicts = append(c.verdicts, v)
	}
}

func blankRest(cells []string) bool {
	for _, c := range cells {
		if strings.TrimSpace(c) != "" {
			return false
		}
	}
	return true
}

func cellAt(row []string, i int) string {
	if i < 0 || i >= len(row) {
		return ""
	}
	return row[i]
}

// fill reads a row into a contact, or says why it cannot.
func (im *run) fill(k *campaign.Contact, row []string) *Reject {
	at := func(r role) string { return strings.TrimSpace(cellAt(row, im.mapping.at[r])) }
	k.Email, k.FirstName, k.LastName, k.Reference = at(roleEmail), at(roleFirstName), at(roleLastName), at(roleReference)
	full := at(roleFullName)
	if full != "" && k.FirstName == "" && k.LastName == "" {
		k.FirstName, k.LastName, _ = strings.Cut(full, " ")
		k.LastName = strings.TrimSpace(k.LastName)
	}
	country, countryKnown := im.o.Country, true
	if text := at(roleCountry); text != "" {
		if country, countryKnown = im.places.code(text); !countryKnown {
			country = im.o.Country
		}
	}
	k.Country = country
	a := &k.Address
	a.Name = at(roleAddressName)
	a.Line1, a.Line2, a.City = at(roleLine1), at(roleLine2), at(roleCity)
	a.State, a.PostalCode = at(roleState), at(rolePostalCode)
	if a.Line1 != "" || a.PostalCode != "" || a.City != "" {
		a.Country = country
		if a.Name == "" {
			a.Name = full
		}
		if a.Name == "" {
			a.Name = strings.TrimSpace(k.FirstName + " " + k.LastName)
		}
	}
	phone := at(rolePhone)
	if phone == "" {
		if a.Complete() {
			return nil
		}
		return im.noDestination(k, "the row has no phone number")
	}
	e164, region, err := im.numbers.parse(phone, country)
	if err == nil {
		k.Phone, k.Country = e164, region
		return nil
	}
	if err != errNational && a.Complete() {
		return nil // a letter can still reach it
	}
	return &Reject{Line: k.Line, Column: im.mapping.title[rolePhone], Code: err.code, Reason: err.reason, Value: mask(phone)}
}

// noDestination says what of an address is missing.
func (im *run) noDestination(k *campaign.Contact, phone string) *Reject {
	reason := phone + " and no complete address"
	if k.Address.Line1 != "" || k.Address.PostalCode != "" {
		reason += ": " + strings.Join(k.Address.Missing(), ", ") + " missing"
	}
	return &Reject{Line: k.Line, Code: CodeNoDestination, Reason: reason + "; fill in one of them"}
}

// take hands the good rows of a chunk to the sink, in order, without
// duplicates.
func (im *run) take(ctx context.Context, c *chunk) error {
	if c.err != nil {
		return c.err
	}
	kept := c.contacts[:0]
	for i := range c.verdicts {
		v := &c.verdicts[i]
		im.sum.Rows++
		if v.reject != nil {
			im.sum.Rejected++
			if v.reject.Code == errNational.code {
				if im.national++; len(im.nationalRows) < 3 {
					im.nationalRows = append(im.nationalRows, v.reject.Line)
				}
			}
			if err := im.reject(*v.reject); err != nil {
				return err
			}
			continue
		}
		k := c.contacts[v.contact]
		if first, isNew := im.seen.AddDigest(c.digests[v.contact], int64(k.Line)); !isNew {
			im.sum.Duplicates++
			if err := im.reject(Reject{Line: k.Line, Code: CodeDuplicate, First: int(first), Reason: fmt.Sprintf("the same recipient as line %d, which was kept", first)}); err != nil {
				return err
			}
			continue
		}
		if v.out {
			im.sum.Suppressed++
			if err := im.reject(Reject{Line: k.Line, Code: CodeOptedOut, Reason: "the recipient has opted out"}); err != nil {
				return err
			}
			continue
		}
		kept = append(kept, k)
	}
	im.sum.Imported += len(kept)
	if im.o.Progress != nil && time.Since(im.told) >= progressEvery {
		im.told = time.Now()
		im.o.Progress(Progress{Bytes: c.bytes, Rows: im.sum.Rows})
	}
	if im.national > 0 || len(kept) == 0 {
		return nil // the import will fail: it goes on only to count
	}
	return im.sink.Contacts(ctx, kept)
}

func (im *run) reject(r Reject) error {
	if im.o.Reject == nil {
		return nil
	}
	return im.o.Reject(r)
}

// finish judges the file as a whole.
func (im *run) finish() (Summary, error) {
	switch {
	case im.national > 0:
		return im.sum, &FileError{Name: im.o.Name, Column: im.mapping.title[rolePhone], Problem: fmt.Sprintf(
			"%d numbers are in national form (the first on %s), and nothing says of which country: give --country, such as --country AU, or a country column; nothing was imported",
			im.national, lines(im.nationalRows))}
	case im.sum.Rows == 0:
		return im.sum, &FileError{Name: im.o.Name, Problem: "there is a header, and no row below it"}
	case im.sum.Imported == 0 && im.sum.Rejected == im.sum.Rows:
		return im.sum, &FileError{Name: im.o.Name, Problem: fmt.Sprintf("none of the %d rows has a valid phone number or a complete address", im.sum.Rows)}
	}
	if im.o.Progress != nil {
		im.o.Progress(Progress{Bytes: im.csv.InputOffset(), Rows: im.sum.Rows})
	}
	return im.sum, nil
}

func lines(n []int) string {
	parts := make([]string, len(n))
	for i, l := range n {
		parts[i] = fmt.Sprint(l)
	}
	if len(parts) == 1 {
		return "line " + parts[0]
	}
	return "lines " + strings.Join(parts, ", ")
}
