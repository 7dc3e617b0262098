package importer

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
)

// broken says what is wrong with what came of a file, whatever the file.
func (i imported) broken() string {
	s := i.Summary
	if s.Rows != s.Imported+s.Duplicates+s.Rejected+s.Suppressed {
		return fmt.Sprintf("the sum is wrong: %+v", s)
	}
	if i.Err != nil {
		var fe *FileError
		if !errors.As(i.Err, &fe) && campaign.ErrorCode(i.Err) != campaign.CodeInvalid {
			return "an error of no kind: " + i.Err.Error()
		}
		return ""
	}
	if len(i.Contacts) != s.Imported || len(i.Rejects) != s.Rows-s.Imported {
		return fmt.Sprintf("%d contacts and %d rejects for %+v", len(i.Contacts), len(i.Rejects), s)
	}
	line := s.File.HeaderLine
	for _, c := range i.Contacts {
		if c.Line <= line {
			return fmt.Sprintf("line %d comes after line %d", c.Line, line)
		}
		line = c.Line
		if c.Phone == "" && !c.Address.Complete() {
			return fmt.Sprintf("the contact of line %d cannot be sent anything", c.Line)
		}
		if c.Phone != "" && strings.Trim(c.Phone[1:], "0123456789") != "" || c.Phone != "" && c.Phone[0] != '+' {
			return fmt.Sprintf("the number of line %d is not E.164", c.Line)
		}
		if c.Fields.Len() != len(s.Fields) {
			return fmt.Sprintf("line %d has %d further fields of %d", c.Line, c.Fields.Len(), len(s.Fields))
		}
	}
	for _, r := range i.Rejects {
		if r.Line < 1 || r.Code == "" || r.Reason == "" || r.Advice == "" || r.First >= r.Line {
			return fmt.Sprintf("a reject that says nothing: %+v", r)
		}
	}
	return ""
}

// importCells writes rows as CSV in some dress, and imports it.
func importCells(t *rapid.T, rows [][]string, comma rune, crlf bool, o Options) imported {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma, w.UseCRLF = comma, crlf
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	var got imported
	s := &keeper{}
	o.Reject = func(r Reject) error { got.Rejects = append(got.Rejects, r); return nil }
	got.Summary, got.Err = Import(context.Background(), &b, s, o)
	got.Contacts = s.contacts
	return got
}

func TestWhatAnImportComesToDependsNeitherOnDressNorOnWorkers(t *testing.T) {
	t.Parallel()
	header := []string{"mobile", "name", "address", "city", "postcode", "country", "note"}
	cellsOf := []*rapid.Generator[string]{
		rapid.OneOf(rapid.StringMatching(`\+614[0-9]{8}`), rapid.StringMatching(`04[0-9]{2} [0-9]{3} [0-9]{3}`), rapid.SampledFrom([]string{"", "+61412000001", "0412 000 001", "n/a", "+61 41"})),
		rapid.SampledFrom([]string{"", "Ann Miller", "Ben \"B\" Wright", "Miller, Ann"}),
		rapid.SampledFrom([]string{"", "1 Hill Street", "1  hill street\nUnit 2"}),
		rapid.SampledFrom([]string{"", "Perth"}),
		rapid.SampledFrom([]string{"", "6000"}),
		rapid.SampledFrom([]string{"", "AU", "nz", "Atlantis"}),
		rapid.StringMatching(`[a-z ;,|"\n]{0,6}`),
	}
	rapid.Check(t, func(t *rapid.T) {
		rows := [][]string{header}
		for range rapid.IntRange(1, 30).Draw(t, "rows") {
			row := make([]string, len(header))
			for i, g := range cellsOf {
				row[i] = g.Draw(t, header[i])
			}
			rows = append(rows, row)
		}
		o := Options{
			Name: "people.csv", Workers: 1,
			Country:  rapid.SampledFrom([]string{"", "AU"}).Draw(t, "country"),
			Identity: campaign.Identity(rapid.IntRange(0, 3).Draw(t, "identity")),
			OptedOut: func(c *campaign.Contact) bool { return strings.HasSuffix(c.Phone, "1") },
		}
		plain := importCells(t, rows, ',', false, o)
		if wrong := plain.broken(); wrong != "" {
			t.Fatal(wrong)
		}
		o.Workers = 3
		dressed := importCells(t, rows, rapid.SampledFrom([]rune{';', '\t', '|'}).Draw(t, "delimiter"), rapid.Bool().Draw(t, "CRLF"), o)
		if d := cmp.Diff(fmt.Sprint(plain.Err), fmt.Sprint(dressed.Err)); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff(plain, dressed, cmpopts.IgnoreFields(imported{}, "Err"), cmpopts.IgnoreFields(FileFacts{}, "Delimiter"), cmpopts.EquateEmpty(), cmp.AllowUnexported(campaign.Columns{})); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzImport(f *testing.F) {
	f.Add("phone,name\n+61412000001,Ann\n0412 000 002,\"Ben\nWright\"\n", "AU", uint8(1))
	f.Add("\xef\xbb\xbfmobile;first name;street;city;zip;country\r\n;Ann;1 Hill Street;Perth;6000;AU\r\n;;;;;\r\n", "", uint8(2))
	f.Add("phone\tphone\ttier\n+61412000001\t\"", "", uint8(0))
	f.Add("phone|reference\n+390212345678|x\n+80012345678|x|y\n\n", "IT", uint8(3))
	f.Add("address,zip\nx,\x00\n", "ZZ", uint8(0))
	f.Fuzz(func(t *testing.T, text, country string, identity uint8) {
		got := importText(t, text, Options{
			Country: country, Identity: campaign.Identity(identity % 4), MaxRow: 2000, MaxColumns: 20, Workers: 2,
			OptedOut: func(c *campaign.Contact) bool { return strings.HasSuffix(c.Phone, "7") },
		})
		if wrong := got.broken(); wrong != "" {
			t.Fatal(wrong)
		}
		for _, c := range got.Contacts {
			if c.Phone == "" {
				continue
			}
			if _, _, err := parseWithLibrary(c.Phone, ""); err != nil {
				t.Fatalf("line %d was imported with the number %s: %v", c.Line, c.Phone, err)
			}
		}
	})
}

func FuzzMapHeader(f *testing.F) {
	for _, line := range []string{
		"phone,First Name,first-name,,2nd,Größe,名前",
		"phone,phone,phone_2,PHONE 2,column_1,first_name,first name,firstname",
		"Mobile,Phone,Number,to,address,zip,A,a,a_2,a 2",
		"Person - Phone - Work,billing_city,Billing Street,Shipping Zip,Home Fax,Name,Surname",
		"Straße,Hausnummer,PLZ,Ort,Name,Vorname,ФИО,携帯,휴대폰,رقم الجوال,मोबाइल,İl,ΚΙΝΗΤΌΣ",
		"#1,#2,-,phone=,\x00,\xff," + strings.Repeat("x", 300),
	} {
		f.Add(line, "phone", "#1", uint64(3))
		f.Add(line, "Tier", "phone", uint64(0xfedcba9876543210))
		f.Add(line, "phone", "-", uint64(0xaaaa))
	}
	f.Fuzz(func(t *testing.T, line, target, column string, dress uint64) {
		header := strings.Split(line, ",")
		assigned, err := readAssignments(map[string]string{target: column})
		if err != nil {
			if campaign.ErrorCode(err) != campaign.CodeInvalid {
				t.Fatal(err)
			}
			assigned = nil
		}
		for _, assigned := range [][]assignment{nil, assigned} {
			checkMapping(t, header, assigned)
		}
		m, err := mapHeader("people.csv", 1, header, nil, false)
		if err != nil || isOwnExport(header) {
			return
		}
		dressed := make([]string, len(header))
		for i, h := range header {
			dressed[i] = inOtherDress(h, dress+uint64(i))
		}
		other, err := mapHeader("people.csv", 1, dressed, nil, false)
		if err != nil || m.at != other.at {
			t.Fatalf("%q means %v, and %q %v: %v", header, m.at, dressed, other, err)
		}
	})
}

// inOtherDress writes a header name in other case, with other spaces and
// punctuation.
func inOtherDress(name string, dress uint64) string {
	var b strings.Builder
	for i, r := range name {
		switch bit := dress >> (i % 60); {
		case bit&1 == 1 && r >= 'a' && r <= 'z':
			r -= 'a' - 'A'
		case bit&1 == 1 && r >= 'A' && r <= 'Z':
			r += 'a' - 'A'
		case bit&1 == 1 && (r == ' ' || r == '_' || r == '-'):
			r = '.'
		}
		if _, err := fmt.Fprintf(&b, "%c", r); err != nil {
			panic(err)
		}
		if dress>>(i%60)&7 == 7 {
			b.WriteString(" -")
		}
	}
	return b.String()
}

// checkMapping says what is wrong with how a header is understood, whatever the
// header.
func checkMapping(t *testing.T, header []string, assigned []assignment) {
	m, err := mapHeader("people.csv", 1, header, assigned, false)
	if err != nil {
		var fe *FileError
		if !errors.As(err, &fe) || fe.Problem == "" {
			t.Fatal(err)
		}
		return
	}
	if !m.hasDestination() {
		t.Fatal("nothing can be sent to the contacts")
	}
	seen := map[int]bool{}
	for r, i := range m.at {
		if i >= 0 && (seen[i] || i >= len(header) || m.title[r] != strings.TrimSpace(header[i])) {
			t.Fatalf("%s is column %d", role(r), i)
		}
		seen[i] = true
	}
	delete(seen, -1)
	dropped := 0
	for _, d := range m.dropped {
		if d {
			dropped++
		}
	}
	names := m.columns.Names()
	if len(m.fields) != len(names) || len(seen)+len(names)+dropped != len(header) {
		t.Fatalf("%d roles, %d fields and %d dropped of %d columns", len(seen), len(names), dropped, len(header))
	}
	used := map[string]bool{}
	for _, n := range names {
		if used[n] || builtIn(n) || !safeFieldName.MatchString(n) || len(n) > longestName+20 {
			t.Fatalf("the field %q is not safe, or not alone", n)
		}
		used[n] = true
	}
	for _, c := range m.all(header) {
		if c.Field == "" && !m.dropped[c.Number-1] || c.Header != strings.TrimSpace(header[c.Number-1]) {
			t.Fatalf("nothing is said of the column %+v", c)
		}
	}
}

var safeFieldName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// A million rows at full scale, and three million. A leak of 40 bytes a row
// would show at a fifth of that.
func TestMemoryGrowsOnlyByTheDuplicateCheck(t *testing.T) {
	// Not parallel: it reads the size of the heap.
	rows := max(200_000, int(1_000_000*scale()))
	few, fewSeen := peakHeap(t, rows), seenHeap(rows)
	many, manySeen := peakHeap(t, 3*rows), seenHeap(3*rows)
	t.Logf("%d rows: %.1f MB, of which the duplicate check %.1f; %d rows: %.1f MB, of which %.1f",
		rows, few/1e6, fewSeen/1e6, 3*rows, many/1e6, manySeen/1e6)
	if grown := (many - manySeen) - (few - fewSeen); grown > chunksUnderWay {
		t.Errorf("beyond the duplicate check the import of three times as many rows takes %.1f MB more", grown/1e6)
	}
}

// chunksUnderWay is what the chunks between reader and sink may weigh more at
// one time than at another: a dozen of 2,000 rows.
const chunksUnderWay = 16e6

// peakHeap is the most that an import of so many rows keeps alive at once.
func peakHeap(t *testing.T, rows int) float64 {
	s := &heapWatcher{every: max(1, rows/chunkRows/10)}
	before := liveHeap()
	sum, err := Import(t.Context(), &manyRows{rows: rows}, s, Options{Country: "AU", Identity: campaign.ByNumber, Workers: 2})
	if err != nil || sum.Imported != rows {
		t.Fatalf("%d imported, %v", sum.Imported, err)
	}
	return s.peak - before
}

func seenHeap(rows int) float64 {
	before := liveHeap()
	s := campaign.NewSeen()
	for i := range rows {
		s.Add(fmt.Sprint(i))
	}
	size := liveHeap() - before
	runtime.KeepAlive(s)
	return size
}

func liveHeap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// heapWatcher is a sink that weighs what is alive now and then.
type heapWatcher struct {
	every, chunks int
	peak          float64
}

func (s *heapWatcher) Contacts(context.Context, []campaign.Contact) error {
	if s.chunks++; s.chunks%s.every == 0 {
		s.peak = max(s.peak, liveHeap())
	}
	return nil
}
