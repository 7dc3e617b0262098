// Package importer turns a file of contacts into contacts, in one pass and
// with memory that does not grow with the file, but for the exact duplicate
// check. One goroutine reads, several check numbers, one keeps the order,
// drops duplicates and hands the rest to a sink.
package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
)

// Options of Import. The zero value reads a file whose numbers all begin with a
// plus.
type Options struct {
	Name     string            // of the file, for messages
	Country  string            // of numbers in national form and of addresses without one: ISO 3166-1 alpha-2, or an English name; empty: none
	Identity campaign.Identity // what makes two rows the same recipient
	// FileColumn is the safe name of the column with each recipient's own file,
	// for campaign.ByLetter: two invoices to one address are two letters.
	FileColumn string

	// Header says whether the file has a line that names its columns.
	Header HeaderMode
	// Map says what columns are, whatever their names say: phone -> "Handy",
	// first_name -> "#3" (the third column). A name that no role has makes a
	// further column of it; "-" in place of the column drops it unread.
	Map map[string]string
	// Seen holds the recipients that are there already, under the mark 0: their
	// rows are duplicates. The import adds its own to it, under their lines. Nil:
	// there are none.
	Seen *campaign.Seen
	// Key makes it an update: rows are told apart by this field alone, a built-in
	// one or a further column under its safe name, and one that has nothing there
	// is rejected. A row may then lack a destination, and nothing is made of other
	// cells: see campaign.UpdateContact.
	Key string
	// OptOuts says that the rows are opt-outs and not contacts; OptOuts of each
	// contact are what it stands for: nothing else is to be read of it. Identity does not matter then. The file may
	// be a single column of numbers or e-mail addresses without a header.
	OptOuts bool
	// What the file is is found out, but for what is said here. What does not
	// apply to the file is a *FileError.
	Encoding  string // of the text: a label of the WHATWG's, such as windows-1251 or shift_jis
	Delimiter string // between cells: , ; | or tab
	Sheet     string // of a workbook; empty: the first visible one with something in it
	Member    string // of a zip archive, by its whole name; may be empty when only one is a list

	MaxUnpacked int64  // bytes that a packed file, or a part of a workbook, may unpack to; 8 GiB when 0
	TempDir     string // for workbooks and archives that do not come from a file; empty: the system's

	MaxRow     int // bytes of a row; 1 MiB when 0
	MaxColumns int // 1,000 when 0
	Workers    int // goroutines that check numbers; one per processor when 0

	// OptedOut says whether a contact is on the suppression list, so that it is
	// not worth importing. It is called from several goroutines at once. Nil:
	// nobody has opted out.
	OptedOut func(*campaign.Contact) bool
	// Reject is called for every dropped row, in the order of the file. Its
	// error ends the import. May be nil.
	Reject func(Reject) error
	// ShowValues gives rejects their values in full, and not masked.
	ShowValues bool
	// Progress is called at most every 200 ms, and once at the end. May be nil.
	Progress func(Progress)
}

// Progress is how far an import is.
type Progress struct {
	Bytes int64 // of the file as it is stored, packed or not, from its beginning
	Rows  int
}

// Sink takes the contacts, in the order of the file and in chunks of at most
// 2,000. It must not keep the slice; it may keep the contacts. An error ends
// the import. A *ledger.ListWriter is one.
type Sink interface {
	Contacts(ctx context.Context, chunk []campaign.Contact) error
}

// Summary is what an import came to. Rows is the sum of the other four.
type Summary struct {
	Rows       int // with anything in them, the header not counted
	Imported   int
	Duplicates int
	Rejected   int
	Suppressed int // opted out
	Partly     int `json:",omitempty"` // of Imported: opt-outs of which a part could not be read

	File        FileFacts
	AboveHeader int               `json:",omitempty"` // rows above the header, such as a title, that were not read as contacts
	Columns     []Column          `json:",omitempty"` // of the file, and what became of each
	Mapping     map[string]string // which column was understood as what: "phone" -> "Mobile Phone"
	Fields      []string          // names of the further columns, as templates find them
}

// Codes of rejects.
const (
	CodeDuplicate      = "duplicate"
	CodeOptedOut       = "opted_out"
	CodeTooManyCells   = "too_many_cells"
	CodeNoDestination  = "no_destination"
	CodeNationalNumber = "national_number"
	CodeUnknownCountry = "unknown_country"
	CodeNotANumber     = "not_a_number"
	CodeInvalidNumber  = "invalid_number"
	CodeRoundedNumber  = "rounded_number" // the spreadsheet lost its last digits
	CodeBadPostalCode  = campaign.FaultPostalCode
	CodeAddressTooLong = campaign.FaultTooLong
	CodeUnprintable    = campaign.FaultUnprintable
	CodeExtension      = "extension" // a switchboard, by all appearances
	CodeNoKey          = "no_key"
	CodeHalfAddress    = "half_address" // of an update
)

// Reject is a row that was dropped.
type Reject struct {
	Line   int    // of the file, on which the row begins, from 1
	Column string // as the header spells it; empty when the whole row is at fault
	Code   string
	Reason string // why it was dropped
	Advice string // what to do
	First  int    // line of the row that a duplicate repeats; else 0
	Value  string // of the cell at fault, masked unless Options.ShowValues
}

// Import reads r to its end. An error of the file as a whole is a *FileError.
// With any error the sink has been given a part of the file, which its owner
// must drop; the Summary then says how far it went. Import returns when all of
// its goroutines have ended, so not before a Read of r that is under way.
func Import(ctx context.Context, r io.Reader, sink Sink, o Options) (sum Summary, err error) {
	im, err := newRun(sink, o)
	if err != nil {
		return Summary{}, err
	}
	err = im.open(ctx, r)
	defer func() {
		if im.reader != nil {
			err = errors.Join(err, im.reader.close())
		}
	}()
	if err != nil {
		return Summary{}, err
	}
	if err := im.pump(ctx); err != nil {
		return im.sum, err
	}
	im.sum.File.Encoding = im.reader.understood().Encoding
	return im.sum, im.finish()
}

// run is one import under way.
type run struct {
	o       Options
	sink    Sink
	reader  *reader
	ahead   ahead
	header  []string // nil: the file has none
	mapping *mapping
	rows    *rowChecker

	// The rest belongs to the goroutine that keeps the order.
	seen        *campaign.Seen
	sum         Summary
	national    int   // national numbers without a country
	nationalOn  []int // lines of the first of them
	lastReport  time.Time
	chunkReport int64 // bytes of the file behind the last chunk
}

func newRun(sink Sink, o Options) (*run, error) {
	if o.MaxRow == 0 {
		o.MaxRow = 1 << 20
	}
	if o.MaxColumns == 0 {
		o.MaxColumns = 1000
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Country != "" {
		code, ok := newCountries().code(o.Country)
		if !ok {
			return nil, campaign.Errorf(campaign.CodeInvalid, "there is no country %q: give its code of two letters, such as --country AU", o.Country)
		}
		o.Country = code
	}
	seen := o.Seen
	if seen == nil {
		seen = campaign.NewSeen()
	}
	return &run{o: o, sink: sink, seen: seen}, nil
}

// open looks at the beginning of the file and understands its header.
func (im *run) open(ctx context.Context, r io.Reader) (err error) {
	if im.reader, err = newReader(ctx, r, im.o.understanding()); err != nil {
		return err
	}
	if err := im.understand(); err != nil {
		return im.ofSheet(err)
	}
	if err := im.findKey(im.mapping.line); err != nil {
		return err
	}
	im.sum.File = im.reader.understood()
	im.sum.File.HeaderLine = im.mapping.line
	im.sum.Columns = im.mapping.all(im.header)
	im.sum.Mapping = im.mapping.titles()
	im.sum.Fields = im.mapping.columns.Names()
	im.rows, err = newRowChecker(im.o, im.mapping, im.header, im.seen)
	return err
}

// ofSheet says of what is wrong with the head of a sheet which sheet it is, and
// which others there are: the first may be a cover.
func (im *run) ofSheet(err error) error {
	var wrong *FileError
	if im.reader.sheets == "" || im.o.Sheet != "" || !errors.As(err, &wrong) {
		return err
	}
	wrong.Problem += fmt.Sprintf("; the sheet %q was read: when the contacts are on another, name it with --sheet; the workbook has %s", im.reader.facts.Sheet, im.reader.sheets)
	return err
}

// pump moves chunks from the reader through the checkers to the sink.
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
				im.rows.check(c)
				close(c.checked)
			}
			return nil
		})
	}
	g.Go(func() error {
		for c := range order {
			select {
			case <-c.checked:
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

// A chunk is handed on when it has so many rows, or so many bytes.
const (
	chunkRows  = 2000
	chunkBytes = 1 << 20
)

// chunk is a stretch of rows on its way.
type chunk struct {
	cells []string // of all rows, one after the other
	ends  []int    // where each row ends in cells
	lines []int    // on which each row begins
	bytes int64    // of the file up to its end

	checked  chan struct{} // closed when the rest is there
	contacts []campaign.Contact
	digests  []campaign.Digest // of contacts
	verdicts []verdict         // of each row
	err      error             // the file cannot be imported
}

// verdict is what checking a row came to.
type verdict struct {
	contact  int     // its place in contacts; -1: rejected
	reject   *Reject // why
	note     *Reject // what is wrong with a row that is kept all the same
	optedOut bool
}

func (c *chunk) empty() {
	clear(c.cells)
	clear(c.contacts)
	*c = chunk{
		cells: c.cells[:0], ends: c.ends[:0], lines: c.lines[:0],
		contacts: c.contacts[:0], digests: c.digests[:0], verdicts: c.verdicts[:0],
	}
}

// produce reads rows into chunks. Each goes to both channels, so that the order
// is known before the checkers are done.
func (im *run) produce(ctx context.Context, work, order chan<- *chunk, free <-chan *chunk) error {
	for {
		c := &chunk{}
		select {
		case c = <-free:
			c.empty()
		default:
		}
		c.checked = make(chan struct{})
		end := im.fill(c)
		if end != nil && !errors.Is(end, io.EOF) {
			return end
		}
		if len(c.ends) > 0 {
			for _, to := range []chan<- *chunk{order, work} {
				select {
				case to <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		if end != nil {
			return nil
		}
	}
}

// fill reads rows into a chunk until it is full.
func (im *run) fill(c *chunk) error {
	for began := im.reader.offset(); len(c.ends) < chunkRows && im.reader.offset()-began < chunkBytes; {
		row, line, err := im.next()
		if err != nil {
			c.bytes = im.reader.done()
			return err
		}
		c.cells = append(c.cells, row...)
		c.ends = append(c.ends, len(c.cells))
		c.lines = append(c.lines, line)
	}
	c.bytes = im.reader.done()
	return nil
}

// take hands the good rows of a chunk to the sink, in order and without
// duplicates.
func (im *run) take(ctx context.Context, c *chunk) error {
	if c.err != nil {
		return c.err
	}
	kept := c.contacts[:0]
	for i := range c.verdicts {
		keep, err := im.judge(c, &c.verdicts[i])
		if err != nil {
			return err
		}
		if keep {
			kept = append(kept, c.contacts[c.verdicts[i].contact])
		}
	}
	im.chunkReport = c.bytes
	if im.o.Progress != nil && time.Since(im.lastReport) >= progressEvery {
		im.report()
	}
	if im.national > 0 || len(kept) == 0 {
		return nil // the import will fail: it goes on only to count
	}
	if err := im.sink.Contacts(ctx, kept); err != nil {
		return fmt.Errorf("storing the contacts of %s: %w", im.o.Name, err)
	}
	return nil
}

// repeats is the reason of a row that repeats an earlier one.
func (im *run) repeats(first int64) string {
	if im.o.Identity == campaign.ByHousehold {
		return fmt.Sprintf("the same household as line %d, which was kept: nothing, or leave --dedupe household out to write to each person of it", first)
	}
	return fmt.Sprintf("the same recipient as line %d, which was kept: nothing, unless they are two people", first)
}

// judge counts a row, and reports whether it is kept.
func (im *run) judge(c *chunk, v *verdict) (keep bool, err error) {
	im.sum.Rows++
	if v.reject != nil {
		im.sum.Rejected++
		if v.reject.Code == CodeNationalNumber {
			if im.national++; im.national <= 3 {
				im.nationalOn = append(im.nationalOn, v.reject.Line)
			}
		}
		return false, im.reject(*v.reject)
	}
	line := c.contacts[v.contact].Line
	if v.optedOut {
		// It is not kept, so that nobody after it is its duplicate: the household
		// of somebody who has opted out goes on with the next.
		im.sum.Suppressed++
		return false, im.reject(Suppressed(line))
	}
	if first, isNew := im.seen.AddDigest(c.digests[v.contact], int64(line)); !isNew {
		im.sum.Duplicates++
		if first == 0 {
			return false, im.reject(Reject{Line: line, Code: CodeDuplicate, Reason: "the recipient is in the list already: nothing, or import with --update to change contacts"})
		}
		return false, im.reject(Reject{Line: line, Code: CodeDuplicate, First: int(first), Reason: im.repeats(first)})
	}
	im.sum.Imported++
	if v.note != nil {
		im.sum.Partly++
		return true, im.reject(*v.note)
	}
	return true, nil
}

func (im *run) reject(r Reject) error {
	if im.o.Reject == nil {
		return nil
	}
	// The checks say what is wrong and, after a colon, what to do.
	r.Reason, r.Advice, _ = strings.Cut(r.Reason, ": ")
	if !im.o.ShowValues {
		r.Value = Mask(r.Value)
	}
	return im.o.Reject(r)
}

const progressEvery = 200 * time.Millisecond

func (im *run) report() {
	im.lastReport = time.Now()
	im.o.Progress(Progress{Bytes: im.chunkReport, Rows: im.sum.Rows})
}

// finish judges the file as a whole.
func (im *run) finish() error {
	problem := &FileError{Name: im.o.Name}
	switch {
	case im.national == 1:
		problem.Column = im.mapping.title[rolePhone]
		problem.Problem = fmt.Sprintf("a number is in national form (on line %d), and nothing says of which country: %s", im.nationalOn[0], giveCountry)
		return problem
	case im.national > 1:
		problem.Column = im.mapping.title[rolePhone]
		problem.Problem = fmt.Sprintf("%d numbers are in national form (the first on lines %s; there are %d rows), and nothing says of which country: %s", im.national, list(im.nationalOn), im.sum.Rows, giveCountry)
		return problem
	case im.sum.Rows == 0:
		problem.Problem = "there is a header, and no row below it"
		return problem
	case im.sum.Suppressed > 0 && im.sum.Suppressed+im.sum.Rejected == im.sum.Rows:
		problem.Problem = fmt.Sprintf("nobody is left of the %d rows: %d of them have opted out, and the others are rejected; nothing was imported", im.sum.Rows, im.sum.Suppressed)
		return problem
	case im.sum.Rejected == im.sum.Rows && im.o.OptOuts:
		problem.Problem = fmt.Sprintf("none of the %d rows has a valid phone number, an e-mail address or a whole street address: see the first of them, and whether each column has the right name", im.sum.Rows)
		return problem
	case im.sum.Rejected == im.sum.Rows:
		problem.Problem = fmt.Sprintf("none of the %d rows has a valid phone number or a complete address: see the first of them, and whether each column has the right name", im.sum.Rows)
		return problem
	}
	if im.o.Progress != nil {
		im.report()
	}
	return nil
}

const giveCountry = "give --country, such as --country AU, or a country column, or write the numbers with + and the country's code; nothing was imported"

func list(lines []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(lines), " ", ", "), "[]")
}
