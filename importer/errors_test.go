package importer

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/postrider/postrider/campaign"
)

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

func TestAFileThatCannotBeImportedSaysWhereAndWhatToDo(t *testing.T) {
	t.Parallel()
	const header = "phone,name\n"
	for _, c := range []struct {
		name, text string
		o          Options
		line       int
		says       []string
	}{
		{name: "empty", text: "", says: []string{"empty", "needs a header"}},
		{name: "only white space", text: "\n \r\n\t\n", says: []string{"empty", "needs a header"}},
		{name: "only empty cells, many of them", text: strings.Repeat(",,,\n", 5000), says: []string{"empty", "needs a header"}},
		{name: "a damaged xlsx or zip", text: "PK\x03\x04rest", says: []string{"workbook (xlsx)", "zip", "damaged", "download it again"}},
		{name: "xls", text: "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", says: []string{"old Excel", "password", "xlsx or CSV UTF-8"}},
		{name: "pdf", text: "%PDF-1.7\n", says: []string{"PDF", "CSV"}},
		{name: "gzip that ends too early", text: gzipped(header)[:20], says: []string{"gzip", "ends too early", "nothing was imported"}},
		{name: "UTF-32", text: "\xff\xfe\x00\x00p\x00\x00\x00", says: []string{"UTF-32", "save it as CSV UTF-8"}},
		{name: "binary", text: "\x7fELF\x02\x01\x00\x00", says: []string{"binary", "CSV UTF-8"}},
		{name: "UTF-8, then something else", text: header + "+61412000001,Zoë\n+61412000002,Ren\xe9\n", line: 3, says: []string{"UTF-8 up to here", "--encoding", "CSV UTF-8"}},
		{name: "a mark of UTF-8 before something else", text: "\xef\xbb\xbfphone,pr\xe9nom\n", line: 1, says: []string{"UTF-8 up to here", "CSV UTF-8"}},
		{name: "binary after a while", text: header + "+61412000001,Ann\n" + strings.Repeat("+61412000001,Ann\n", 300) + "+61412000002,\x00\n", line: 303, says: []string{"NUL byte", "save the list again"}},
		{name: "header only", text: header, says: []string{"a header, and no row"}},
		{name: "no usable column", text: "Given,Shoe size\nAnn,42\n", line: 1, says: []string{`"Given", "Shoe size"`, "name a column phone", "address_line_1, city, postcode"}},
		{name: "no usable column, many", text: "Given," + strings.Repeat("Shoe size,", 29) + strings.Repeat("ü", 100) + "\nAnn\n", line: 1, says: []string{"and 19 more"}},
		{name: "no header where one is said to be", text: "+61412345678,Ann\n", o: Options{Header: HeaderYes}, line: 1, says: []string{"looks like a contact", "--header no"}},
		{name: "a contact with the name of a column", text: "+61412345678,mobile,Ann\n", line: 1, says: []string{"looks like a contact", "cell 2 is the name of a column", "--header yes", "--header no"}},
		{name: "no header and two columns of numbers", text: "Ann,+61412345678,+61412345679\nBen,+61412345670,+61412345671\n", o: Options{Header: HeaderNo}, says: []string{"no header", "columns 2 and 3", "--map phone=#2", "--map phone=#3"}},
		{name: "no header and no numbers", text: "Ann,ann@example.com,Perth\n", says: []string{"no header", "no column of its first 1 rows holds phone numbers", "--country AU", "--map phone=#1", "its 3 columns"}},
		{name: "assigned by number, with no header to be seen", text: "Ann,Perth\n", o: Options{Map: map[string]string{"phone": "#1"}}, line: 1, says: []string{"nothing tells", "--header yes", "--header no"}},
		{name: "a column that is not there", text: header, o: Options{Map: map[string]string{"phone": "Handy"}}, line: 1, says: []string{"--map phone=Handy", `no column is called "Handy"`, `the header is "phone", "name"`}},
		{name: "a column of which there are two", text: "Handy,handy,Name\n", o: Options{Map: map[string]string{"phone": "HANDY"}}, line: 1, says: []string{"2 columns are called", "columns 1, 2", "#1", `"Handy", "handy", "Name"`}},
		{name: "a column number that is not there", text: header, o: Options{Map: map[string]string{"phone": "#3"}}, line: 1, says: []string{"there is no column 3", `"phone", "name"`}},
		{name: "a column for two", text: header, o: Options{Map: map[string]string{"phone": "phone", "tier": "Phone"}}, line: 1, says: []string{`the column "phone"`, "both phone and tier"}},
		{name: "a header that is not there, without one", text: "+61412345678,Ann\n", o: Options{Map: map[string]string{"first_name": "Vorname"}}, line: 1, says: []string{"the file has no header", "columns #1 to #2"}},
		{name: "the only number is dropped", text: header, o: Options{Map: map[string]string{"phone": "-"}}, line: 1, says: []string{"no column holds a phone number"}},
		{name: "header too wide", text: strings.Repeat("a,", 20) + "phone\n", o: Options{MaxColumns: 20}, line: 1, says: []string{"21 columns", "at most 20"}},
		{name: "row too long", text: header + "+61412000001,Ann\n\n+61412000002," + strings.Repeat("x", 2000) + "\n", o: Options{MaxRow: 1000}, line: 4, says: []string{"more than 1000 bytes", "quote"}},
		{name: "header too long", text: "phone," + strings.Repeat("x", 2000) + "\n", o: Options{MaxRow: 1000}, line: 1, says: []string{"more than 1000 bytes"}},
		{name: "row far too long, after a cell of several lines", text: header + "+61412000001,\"Ann\nMiller\"\n+61412000002," + strings.Repeat("x", 3*readAhead) + "\n", o: Options{MaxRow: 1000}, line: 4, says: []string{"more than 1000 bytes"}},
		{name: "quote never closed", text: header + "+61412000001,Ann\n+61412000002,\"Ben\n+61412000003,Cleo\n", line: 3, says: []string{"a quote is never closed", "ends on line 4", "twice"}},
		{name: "quote within a quoted cell", text: header + "+61412000001,\"Ann\" Miller\n", line: 2, says: []string{"a quote", "twice"}},
		{name: "bare quote in a row that goes over lines", text: header + "+61412000001,\"x\ny\"\n+61412000002,\"x\ny\",An\"n\n", line: 5, says: []string{"middle of a cell", "quote the whole cell"}},
		{name: "nothing valid", text: header + "n/a,Ann\n+61 41,Ben\n", says: []string{"none of the 2 rows", "valid phone number"}},
		{name: "one national number", text: header + "+61412000001,Ann\n0412 345 678,Ben\n", says: []string{`column "phone"`, "a number is in national form (on line 3)", "--country AU"}},
		{name: "national numbers", text: header + strings.Repeat("0412 345 678,Ben\n", 5000), says: []string{"5000 numbers are in national form (the first on lines 2, 3, 4; there are 5000 rows)", "--country AU", "write the numbers with +", "nothing was imported"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := importText(t, c.text, c.o)
			var fe *FileError
			if !errors.As(got.Err, &fe) {
				t.Fatalf("%v is not a FileError", got.Err)
			}
			if campaign.ErrorCode(got.Err) != campaign.CodeInvalid {
				t.Errorf("the code is %s", campaign.ErrorCode(got.Err))
			}
			if fe.Line != c.line {
				t.Errorf("line %d, not %d: %v", fe.Line, c.line, fe)
			}
			for _, s := range append(c.says, "people.csv") {
				if !strings.Contains(fe.Error(), s) {
					t.Errorf("%q does not say %q", fe.Error(), s)
				}
			}
			for _, secret := range []string{"412", "Ann", "ann@", "Ben", "Cleo", "Ren"} {
				if strings.Contains(fe.Error(), secret) {
					t.Errorf("%q holds personal data: %q", fe.Error(), secret)
				}
			}
		})
	}
}

func TestAnUnknownCountryIsRefusedBeforeTheFileIsRead(t *testing.T) {
	t.Parallel()
	_, err := Import(t.Context(), brokenReader{}, &keeper{}, Options{Country: "Atlantis"})
	if campaign.ErrorCode(err) != campaign.CodeInvalid || !strings.Contains(err.Error(), "--country AU") {
		t.Error(err)
	}
}

func TestTheCountryMayBeWrittenInFull(t *testing.T) {
	t.Parallel()
	for _, country := range []string{"AU", "au", "aus", "Australia"} {
		got := importText(t, "phone\n0412 345 678\n", Options{Country: country})
		if got.Err != nil || got.Contacts[0].Phone != "+61412345678" {
			t.Error(country, got.Err)
		}
	}
}

func TestNothingIsStoredOnceANationalNumberWithoutACountryWasSeen(t *testing.T) {
	t.Parallel()
	const good = 3*chunkRows + 10
	text := "phone\n0412 345 678\n"
	for i := range good {
		text += fmt.Sprintf("+614120%05d\n", i)
	}
	got := importText(t, text+"0412 345 678\n", Options{})
	if got.Err == nil || !strings.Contains(got.Err.Error(), fmt.Sprintf("2 numbers are in national form (the first on lines 2, %d;", good+3)) {
		t.Error(got.Err)
	}
	if len(got.Contacts) != 0 || got.Summary.Rows != good+2 {
		t.Errorf("%d contacts stored, %d rows counted", len(got.Contacts), got.Summary.Rows)
	}
}

// endless is a reader that makes its text as it goes: a head, then the body
// again and again.
type endless struct {
	head string
	body string
	left int64 // bytes still to come
	read int64 // bytes that were read
	rest string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, e.head)
	e.head = e.head[n:]
	for n < len(p) {
		if e.rest == "" {
			e.rest = e.body
		}
		k := copy(p[n:], e.rest)
		e.rest, n = e.rest[k:], n+k
	}
	n = int(min(int64(n), e.left))
	e.left -= int64(n)
	e.read += int64(n)
	return n, nil
}

func TestAQuoteThatIsNeverClosedEndsTheImportEarly(t *testing.T) {
	t.Parallel()
	file := &endless{head: "phone,name\n+61412000001,Ann\n+61412000002,\"Ben\n", body: "+61412000003,Cleo\n", left: 1 << 30}
	_, err := Import(t.Context(), file, &keeper{}, Options{Name: "people.csv"})
	var fe *FileError
	if !errors.As(err, &fe) || fe.Line != 3 || !strings.Contains(fe.Problem, "never closed") {
		t.Errorf("%v", err)
	}
	if file.read > 2<<20 {
		t.Errorf("%d bytes were read", file.read)
	}
}

func TestRowsOfTheLargestSizeDoNotPileUpInMemory(t *testing.T) {
	// Not parallel: it reads the size of the heap.
	row := "+61412000001," + strings.Repeat("x", 1<<20-20) + "\n"
	file := &endless{head: "phone,note\n", body: row, left: 200 * int64(len(row))}
	file.left += int64(len("phone,note\n"))
	peak := uint64(0)
	_, err := Import(t.Context(), file, &keeper{}, Options{Identity: campaign.ByNumber, Workers: 2, Reject: func(Reject) error {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if peak > 100<<20 {
		t.Errorf("%d MB of heap for rows of 1 MiB", peak>>20)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

func TestErrorsOfReaderSinkAndReportArePassedOn(t *testing.T) {
	t.Parallel()
	text := "phone\n" + strings.Repeat("+61412000001\n", 10*chunkRows)
	broken := errors.New("it broke")
	for _, c := range []struct {
		name   string
		r      io.Reader
		sink   *keeper
		reject func(Reject) error
		says   string
	}{
		{"reader at once", brokenReader{}, &keeper{}, nil, "reading people.csv: the disk is gone"},
		{"reader in the header", io.MultiReader(strings.NewReader("pho"), brokenReader{}), &keeper{}, nil, "reading people.csv: the disk is gone"},
		{"reader in the middle", io.MultiReader(strings.NewReader(text), brokenReader{}), &keeper{}, nil, "reading people.csv: the disk is gone"},
		{"reader in a quoted cell", io.MultiReader(strings.NewReader(text+"\""), brokenReader{}), &keeper{}, nil, "reading people.csv: the disk is gone"},
		{"sink", strings.NewReader(text), &keeper{fail: broken}, nil, "storing the contacts of people.csv: it broke"},
		{"report", strings.NewReader(text), &keeper{}, func(Reject) error { return broken }, "it broke"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Import(t.Context(), c.r, c.sink, Options{Name: "people.csv", Identity: campaign.ByNumber, Reject: c.reject})
			if err == nil || err.Error() != c.says {
				t.Errorf("%v", err)
			}
		})
	}
}

// stopper cancels the import from within the sink.
type stopper struct {
	cancel context.CancelFunc
	chunks int
}

func (s *stopper) Contacts(context.Context, []campaign.Contact) error {
	s.chunks++
	s.cancel()
	return nil
}

func TestACancelledImportEndsSoon(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	file := &endless{head: "phone\n", body: "+61412000001\n", left: 1 << 34}
	_, err := Import(ctx, file, &stopper{cancel: cancel}, Options{})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if file.read > 64<<20 {
		t.Errorf("it went on for %d bytes", file.read)
	}
	// A file of blank lines never fills a chunk.
	if _, err = Import(ctx, &endless{head: "phone\n", body: "\n", left: 1 << 34}, &keeper{}, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
