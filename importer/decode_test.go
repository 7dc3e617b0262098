package importer

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
)

// table reads all rows of a file, with their lines.
func table(ctx context.Context, r io.Reader, u understanding) (rows [][]string, lines []int, facts FileFacts, err error) {
	if u.most == 0 {
		u.most = 1 << 20
	}
	if u.maxUnpacked == 0 {
		u.maxUnpacked = mostUnpacked
	}
	rd, err := newReader(ctx, r, u)
	if err != nil {
		return nil, nil, FileFacts{}, err
	}
	defer func() { err = errors.Join(err, rd.close()) }()
	for {
		row, line, err := rd.read()
		if errors.Is(err, io.EOF) {
			return rows, lines, rd.understood(), nil
		}
		if err != nil {
			return rows, lines, rd.understood(), err
		}
		rows, lines = append(rows, append([]string{}, row...)), append(lines, line)
	}
}

// The cases of https://github.com/maxogden/csv-spectrum, against the JSON that
// comes with them (see its LICENSE for the one change).
func TestTheCasesOfCSVSpectrumPass(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/csv-spectrum/csvs/*.csv")
	if err != nil || len(files) != 12 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".csv")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			rows, _, _, err := table(t.Context(), f, understanding{name: name})
			if err != nil {
				t.Fatal(err)
			}
			var got []map[string]string
			for _, row := range rows[1:] {
				cells := map[string]string{}
				for i, c := range row {
					cells[rows[0][i]] = c
				}
				got = append(got, cells)
			}
			text, err := os.ReadFile("testdata/csv-spectrum/json/" + name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			// Line ends within a cell come through as LF, whatever they were.
			text = bytes.ReplaceAll(text, []byte(`\r\n`), []byte(`\n`))
			if text[0] == '{' {
				text = append(append([]byte("["), text...), ']') // the one case of one row
			}
			var want []map[string]string
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// dress is one way to write a table.
type dress struct {
	name      string
	encodings []encoding.Encoding // nil: UTF-8
	mark      string
}

func dresses() []dress {
	return []dress{
		{name: "UTF-8"}, {name: "UTF-8 with a mark", mark: "\xef\xbb\xbf"},
		{"UTF-16LE", []encoding.Encoding{unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)}, ""},
		{"UTF-16BE", []encoding.Encoding{unicode.UTF16(unicode.BigEndian, unicode.UseBOM)}, ""},
		{"UTF-16LE without a mark", []encoding.Encoding{unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)}, ""},
		{"UTF-16BE without a mark", []encoding.Encoding{unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)}, ""},
		{"Windows-1252", []encoding.Encoding{charmap.Windows1252}, ""},
	}
}

func TestTheSameRowsInAnyDressGiveTheSameContacts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := [][]string{{"mobile", "first name", "note"}}
		for i := range rapid.IntRange(1, 20).Draw(t, "rows") {
			rows = append(rows, []string{fmt.Sprintf("+6149157%04d", rapid.SampledFrom([]int{6, 110, 156, 157, 158, 159, 313, 737, 266, 491}).Draw(t, "number")),
				rapid.StringMatching(`[A-Z][a-zéßüœ]{1,6}`).Draw(t, "name"), rapid.StringMatching(`([a-zÄé€ ,;|\t]|\n[a-z]|"){0,8}`).Draw(t, "note") + fmt.Sprint(i)})
		}
		plain := importCells(t, rows, ',', false, Options{})
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.Comma = rapid.SampledFrom([]rune(delimiters)).Draw(t, "delimiter")
		if err := w.WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(b.String(), "\n", rapid.SampledFrom([]string{"\n", "\r\n", "\r"}).Draw(t, "line end"))
		d := rapid.SampledFrom(dresses()).Draw(t, "encoding")
		file := []byte(d.mark + text)
		for _, e := range d.encodings {
			if d.name == "Windows-1252" && !strings.Contains(text, "\n") {
				e = charmap.Macintosh // only Macs end lines so
			}
			var err error
			if file, err = e.NewEncoder().Bytes(file); err != nil {
				t.Fatal(err)
			}
		}
		if d.name == "Windows-1252" && anyUTF8(file) {
			file = []byte(text) // Ä€ is Ā to whoever takes it for UTF-8: nobody could know
		}
		packed := rapid.SampledFrom([]string{"no", "gzip", "zip", "xlsx"}).Draw(t, "packed")
		switch packed {
		case "gzip":
			var out bytes.Buffer
			z := gzip.NewWriter(&out)
			_, err := z.Write(file)
			if err = errors.Join(err, z.Close()); err != nil {
				t.Fatal(err)
			}
			file = out.Bytes()
		case "zip":
			var out bytes.Buffer
			z := zip.NewWriter(&out)
			m, err := z.Create("a.csv")
			if err == nil {
				_, err = m.Write(file)
			}
			if err = errors.Join(err, z.Close()); err != nil {
				t.Fatal(err)
			}
			file = out.Bytes()
		case "xlsx":
			file = workbookOf(t, rows)
		}
		var got imported
		s := &keeper{}
		o := Options{Reject: func(r Reject) error { got.Rejects = append(got.Rejects, r); return nil }}
		got.Summary, got.Err = Import(context.Background(), iotest.HalfReader(bytes.NewReader(file)), s, o)
		got.Contacts = s.contacts
		if packed == "xlsx" { // it has rows, and no lines
			renumber(&plain)
			renumber(&got)
		}
		if diff := cmp.Diff(plain, got, cmpopts.IgnoreFields(Summary{}, "File"), cmpopts.EquateEmpty(), cmp.AllowUnexported(campaign.Columns{}), cmpopts.EquateErrors()); diff != "" {
			t.Fatalf("%s:\n%s", d.name, diff)
		}
	})
}

// anyUTF8 reports whether a character of more than one byte stands in a text,
// read as UTF-8.
func anyUTF8(b []byte) bool {
	for len(b) > 0 {
		_, n := utf8.DecodeRune(b)
		if n > 1 {
			return true
		}
		b = b[n:]
	}
	return false
}

// renumber takes the lines out.
func renumber(i *imported) {
	for k := range i.Contacts {
		i.Contacts[k].Line = 0
	}
	for k := range i.Rejects {
		i.Rejects[k].Line, i.Rejects[k].First, i.Rejects[k].Reason = 0, 0, ""
	}
}

func workbookOf(t *rapid.T, rows [][]string) []byte {
	f := excelize.NewFile()
	var b bytes.Buffer
	for i, row := range rows {
		for k, c := range row {
			name, err := excelize.CoordinatesToCellName(k+1, i+1)
			if err == nil {
				err = f.SetCellStr("Sheet1", name, c)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(f.Write(&b), f.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOneByteAtATimeIsTheSameFile(t *testing.T) {
	t.Parallel()
	for _, e := range exports() {
		if e.fail != "" || strings.HasPrefix(e.name, "late") {
			continue
		}
		file, err := os.ReadFile(filepath.Join("testdata/exports", e.name))
		if err != nil {
			t.Fatal(err)
		}
		u := e.o.understanding()
		rows, lines, facts, err := table(t.Context(), bytes.NewReader(file), u)
		if err != nil {
			t.Fatal(e.name, err)
		}
		slow, slowLines, slowFacts, err := table(t.Context(), iotest.OneByteReader(bytes.NewReader(file)), u)
		if err != nil {
			t.Fatal(e.name, err)
		}
		if d := cmp.Diff([]any{rows, lines, facts}, []any{slow, slowLines, slowFacts}); d != "" {
			t.Errorf("%s: %s", e.name, d)
		}
	}
}

func TestWindows1252IsReadAsTheWHATWGSays(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"\x80": "€", "\x9f": "Ÿ", "\xff": "ÿ", "M\xfcller": "Müller"} {
		rows, _, facts, err := table(t.Context(), strings.NewReader("a,"+in+"\n"), understanding{})
		if err != nil || rows[0][1] != want || facts.Encoding != "windows-1252" {
			t.Errorf("%q is %q, %v, %v", in, rows, facts, err)
		}
	}
}

// Five bytes are control characters to the WHATWG. Nobody writes those; they are
// letters in the encodings of DOS and Japan.
func TestAByteThatIsNoLetterOfWindows1252IsRefusedOnItsLine(t *testing.T) {
	t.Parallel()
	for _, b := range []string{"\x81", "\x8d", "\x8f", "\x90", "\x9d"} {
		text := "name,phone\nM\xfcller,1\nJ" + b + "rgen,2\n"
		_, _, _, err := table(t.Context(), strings.NewReader(text), understanding{})
		if err == nil || !strings.Contains(err.Error(), "line 3: here is a byte") || !strings.Contains(err.Error(), "--encoding cp850") {
			t.Errorf("%q: %v", b, err)
		}
		_, _, _, err = table(t.Context(), strings.NewReader(text), understanding{encoding: "windows-1252"})
		if err == nil || !strings.Contains(err.Error(), "line 3: the text is not windows-1252") {
			t.Errorf("%q: %v", b, err)
		}
	}
	for _, label := range []string{"cp850", "IBM850", "ibm-850", "CP850 "} {
		rows, _, facts, err := table(t.Context(), strings.NewReader("J\x81rgen,Stra\xe1e\n"), understanding{encoding: label})
		if err != nil || rows[0][0] != "Jürgen" || rows[0][1] != "Straße" || facts.Encoding != "cp850" {
			t.Errorf("%s: %q, %+v, %v", label, rows, facts, err)
		}
	}
}

func TestAToldEncodingThatIsNotTheFilesIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ encoding, text, says string }{
		{"utf-8", "a,b\nc,\xe9\n", "line 2: the text is not utf-8"},
		{"shift_jis", "a,b\nc,\x81\xff\n", "line 2: the text is not shift_jis"},
		{"gbk", "a,b\nc,d\ne,\xff\n", "line 3: the text is not gbk"},
		{"windows-1252", "\xef\xbb\xbfa,b\n", "begins with the mark of utf-8"},
		{"klingon", "a,b\n", `there is no encoding "klingon"`},
		{"iso-2022-kr", "a,b\n", `cannot be read as "iso-2022-kr"`},
	} {
		_, _, _, err := table(t.Context(), strings.NewReader(c.text), understanding{encoding: c.encoding})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.encoding, err)
		}
	}
}

func TestWhatDoesNotApplyToAFileIsRefused(t *testing.T) {
	t.Parallel()
	workbook, err := os.ReadFile("testdata/exports/sheets.xlsx")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		u    understanding
	}{
		"--sheet":       {[]byte(people), understanding{sheet: "x"}},
		"--member":      {[]byte(people), understanding{member: "x"}},
		"--member ":     {gzipOf(t, []byte(people)), understanding{member: "x"}},
		"--member  ":    {workbook, understanding{member: "x"}},
		"--delimiter":   {workbook, understanding{delimiter: ","}},
		"--encoding":    {workbook, understanding{encoding: "utf-8"}},
		"no delimiter":  {[]byte(people), understanding{delimiter: "x"}},
		"no file \"x\"": {zipOf(t, member{"a.csv", []byte(people)}), understanding{member: "x"}},
	} {
		_, _, _, err := table(t.Context(), bytes.NewReader(c.file), c.u)
		var fe *FileError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// bomb is a list that unpacks to so many bytes of empty rows.
func bomb(t *testing.T, bytes int64) []byte {
	var out strings.Builder
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(z, io.MultiReader(strings.NewReader("phone,name\n"), &endless{body: ",\n", left: bytes}))
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return []byte(out.String())
}

func TestBombsAreRefused(t *testing.T) {
	t.Parallel()
	gz := bomb(t, 40<<20)
	long := strings.Repeat("+61491570006,Ann\n", 1000)
	for name, c := range map[string]struct {
		file []byte
		most int64
		says string
	}{
		"gzip, by its ratio": {gz, 0, "200 times its size"},
		"gzip, by its size":  {gzipOf(t, []byte(long)), 10_000, "larger than 10000 bytes"},
		"zip, by its ratio":  {zipOf(t, member{"a.csv", bytes.Repeat([]byte(",\n"), 20<<20)}), 0, "200 times its size"},
		"zip, by its size":   {zipOf(t, member{"a.csv", []byte(long)}), 10_000, "larger than 10000 bytes"},
		"a sheet": {zipOf(t, member{"[Content_Types].xml", []byte("<Types/>")}, member{"_rels/.rels", []byte("<Relationships/>")},
			member{"xl/workbook.xml", []byte(`<workbook><sheets><sheet name="S" id="r1"/></sheets></workbook>`)},
			member{"xl/_rels/workbook.xml.rels", []byte(`<Relationships><Relationship Id="r1" Type="x/worksheet" Target="sheet.xml"/></Relationships>`)},
			member{"xl/sheet.xml", append([]byte("<worksheet>"), bytes.Repeat([]byte(" "), 40<<20)...)}), 0, "200 times its size"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, _, err := table(t.Context(), bytes.NewReader(c.file), understanding{maxUnpacked: c.most})
			var fe *FileError
			if !errors.As(err, &fe) || !strings.Contains(err.Error(), c.says) {
				t.Error(err)
			}
		})
	}
}

func TestAZipThatLiesAboutItsSizeIsDamaged(t *testing.T) {
	t.Parallel()
	b := zipOf(t, member{"a.csv", []byte(people)})
	at := bytes.Index(b, []byte("PK\x01\x02"))
	b[at+24]++ // its size in the directory
	_, _, _, err := table(t.Context(), bytes.NewReader(b), understanding{})
	if err == nil || !strings.Contains(err.Error(), "damaged") && !strings.Contains(err.Error(), "too early") {
		t.Error(err)
	}
	b = zipOf(t, member{"a.csv", []byte(people)})
	b[50] ^= 0x55 // its data
	if _, _, _, err = table(t.Context(), bytes.NewReader(b), understanding{}); err == nil {
		t.Error("what was changed passes")
	}
}

func TestTemporaryFilesGoAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"sheets.xlsx", "packed.zip", "workbook.zip", "nested.zip", "several.zip", "cut.xlsx"} {
		file, err := os.ReadFile(filepath.Join("testdata/exports", name))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, _ = Import(ctx, bytes.NewReader(file), &keeper{}, Options{TempDir: dir, Country: "AU"})
		_, _ = Import(ctx, bytes.NewReader(file), &stopper{cancel: cancel}, Options{TempDir: dir, Country: "AU"})
		cancel()
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	if _, err := Import(t.Context(), bytes.NewReader(zipOf(t, member{"a.csv", []byte(people)})), &keeper{}, Options{TempDir: filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "temporary") {
		t.Error(err)
	}
}

func TestProgressOfPackedFilesIsThatOfThePackedFile(t *testing.T) {
	t.Parallel()
	var rows strings.Builder
	rows.WriteString("phone,note\n")
	for i := range 20_000 {
		fmt.Fprintf(&rows, "+61491570006,%x\n", i*7919)
	}
	for name, b := range map[string][]byte{
		"gzip":   gzipOf(t, []byte(rows.String())),
		"zip":    zipOf(t, member{"other.pdf", []byte("%PDF")}, member{"a.csv", []byte(rows.String())}),
		"UTF-16": encoded(t, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), rows.String()),
		"xlsx":   book(func(f *excelize.File) error { return cells(f, "Sheet1", 1, []any{"phone"}, []any{"+61491570006"}) })(t),
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var last Progress
		_, err = Import(t.Context(), f, &keeper{}, Options{Progress: func(p Progress) {
			if p.Bytes < last.Bytes || p.Bytes > int64(len(b)) {
				t.Errorf("%s: %+v after %+v of %d", name, p, last, len(b))
			}
			last = p
		}})
		if err = errors.Join(err, f.Close()); err != nil || last.Bytes != int64(len(b)) {
			t.Errorf("%s: %+v of %d, %v", name, last, len(b), err)
		}
	}
}

func TestRowsOfASheetAreBounded(t *testing.T) {
	t.Parallel()
	sheet := func(data string) []byte {
		return zipOf(t, member{"[Content_Types].xml", []byte("<Types/>")}, member{"_rels/.rels", []byte("<Relationships/>")},
			member{"xl/workbook.xml", []byte(`<workbook><sheets><sheet name="S" id="r1"/></sheets></workbook>`)},
			member{"xl/_rels/workbook.xml.rels", []byte(`<Relationships><Relationship Id="r1" Type="x/worksheet" Target="sheet.xml"/></Relationships>`)},
			member{"xl/sheet.xml", []byte("<worksheet><sheetData>" + data + "</sheetData></worksheet>")})
	}
	cell := func(s string) string { return `<c t="inlineStr"><is><t>` + s + `</t></is></c>` }
	head := "<row>" + cell("phone") + "</row>"
	for name, c := range map[string]struct{ data, says string }{
		"a long cell":            {head + "<row>" + cell(strings.Repeat("x", 2000)) + "</row>", "line 2: the row has more than 1000 bytes"},
		"many cells":             {head + `<row r="7">` + strings.Repeat(cell("12345"), 300) + "</row>", "line 7: the row has more than 1000 bytes"},
		"too far right":          {head + `<row><c r="XFE1" t="str"><v>a</v></c></row>`, "damaged"},
		"rows backwards":         {`<row r="3">` + cell("phone") + `</row><row r="2"/>`, "damaged"},
		"cells backwards":        {`<row><c r="B1" t="str"><v>a</v></c><c r="A1" t="str"><v>a</v></c></row>`, "damaged"},
		"too far down":           {`<row r="1048577"/>`, "damaged"},
		"not well-formed":        {`<row><c t="str"><v>a</c></v></row>`, "damaged"},
		"a bomb of entities":     {`<!DOCTYPE x><row/>`, "damaged"},
		"a text that is not":     {`<row><c t="s"><v>0</v></c></row>`, "damaged"},
		"elements in each other": {strings.Repeat("<a>", 1000), "damaged"},
	} {
		_, _, _, err := table(t.Context(), bytes.NewReader(sheet(c.data)), understanding{most: 1000})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A sheet whose end is missing must not pass for a shorter one.
func TestASheetThatIsCutOffIsDamaged(t *testing.T) {
	t.Parallel()
	whole := `<worksheet><sheetData><row><c t="str"><v>phone</v></c></row><row><c t="str"><v>+61491570006</v></c></row></sheetData></worksheet>`
	for cut := range len(whole) {
		x := &sheetRows{ctx: t.Context(), book: &workbook{}, most: 1000, unpacked: &unpacking{}, markup: newMarkup(strings.NewReader(whole[:cut]))}
		var err error
		for err == nil {
			_, _, err = x.read()
		}
		if errors.Is(err, io.EOF) {
			t.Fatalf("%q passes for a sheet", whole[:cut])
		}
	}
}

func TestLargeTextsOfAWorkbookAreReadBackFromTheTemporaryFile(t *testing.T) {
	t.Parallel()
	var part bytes.Buffer
	part.WriteString("<sst>")
	const n, long = 300, 2000
	for i := range n {
		fmt.Fprintf(&part, "<si><t>%d</t><rPh><t>aloud</t></rPh></si><si><r><t>%d</t></r><r><t>%s</t></r></si>", i, i, strings.Repeat("x", long))
	}
	part.WriteString("</sst>")
	a := &archive{what: "xlsx", most: 1 << 30}
	b := zipOf(t, member{"xl/sharedStrings.xml", part.Bytes()})
	var err error
	if a.zip, err = zip.NewReader(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	a.size = 1 << 30
	wb := &workbook{archive: a, strings: "xl/sharedStrings.xml", tempDir: t.TempDir(), keep: 100_000}
	for i := range n {
		small, err := wb.text([]byte(fmt.Sprint(2 * i)))
		if err != nil || string(small) != fmt.Sprint(i) {
			t.Fatal(i, string(small), err)
		}
		large, err := wb.text([]byte(fmt.Sprint(2*i + 1)))
		if err != nil || string(large) != fmt.Sprint(i)+strings.Repeat("x", long) {
			t.Fatal(i, len(large), err)
		}
	}
	if wb.shared.rest == nil || len(wb.shared.head) > wb.keep {
		t.Error("everything is in memory")
	}
	if _, err := wb.text([]byte(fmt.Sprint(2 * n))); err == nil {
		t.Error("there is a text too many")
	}
	if err := wb.close(); err != nil {
		t.Error(err)
	}
}

// Empty texts cost a packed file nothing, and memory 4 bytes each.
func TestAWorkbookOfTooManyTextsIsRefused(t *testing.T) {
	t.Parallel()
	const most = 3 * endsPiece
	for _, n := range []int{most, most + 1} {
		b := zipOf(t, member{"xl/sharedStrings.xml", []byte("<sst>" + strings.Repeat("<si/>", n-1) + "<si><t>last</t></si></sst>")})
		a := &archive{what: "xlsx", most: 1 << 30, size: 1 << 30}
		var err error
		if a.zip, err = zip.NewReader(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
		wb := &workbook{archive: a, strings: "xl/sharedStrings.xml", tempDir: t.TempDir(), keep: 100, most: most}
		text, err := wb.text([]byte(fmt.Sprint(n - 1)))
		switch {
		case n > most && (err == nil || !strings.Contains(err.Error(), "save it as CSV")):
			t.Errorf("%d texts: %q, %v", n, text, err)
		case n <= most && (err != nil || string(text) != "last"):
			t.Errorf("%d texts: %q, %v", n, text, err)
		}
		if err := wb.close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNumbersLookAsTheirCellsShowThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ code, raw, want string }{
		{"", "61412345671", "61412345671"},
		{"", "6.1412345671E10", "61412345671"},
		{"", "1234567890123456", "1234567890123456"},
		{"", "0.30000000000000004", "0.3"},
		{"", "-5", "-5"},
		{"", "text", "text"},
		{"General", "412345678", "412345678"},
		{"0.00E+00", "61412345671", "61412345671"},
		{"##0.0E+0", "61412345671.5", "61412345671.5"},
		{"0000000000", "412345678", "0412345678"},
		{"0000000000", "412345678.0", "0412345678"},
		{"0000", "12345", "12345"},
		{"00000", "6000", "06000"},
		{"0#########", "412345678", "0412345678"},
		{`"+"0`, "61412345671", "+61412345671"},
		{"#,##0", "61412345671", "61,412,345,671"},
		{"0,,", "61412345671", "61412345671"},
		{"0.00", "3.14159", "3.14"},
		{"0", "3.7", "4"},
		{"0%", "0.25", "25%"},
		{"0%", "5", "500%"},
		{"yyyy-mm-dd", "45292", "2024-01-01"},
		{"[$-F800]dddd, mmmm dd, yyyy", "45292", "2024-01-01"},
		{"d-mmm-yy", "45292", "1-Jan-24"},
		{"[h]:mm", "1.5", "36:00"},
		{`0" apples"`, "7", "7 apples"},
		{"@", "412345678", "412345678"},
		{";;;", "412345678", "412345678"},
		{strings.Repeat("0", 300), "5", "5"},
		{"[Red][<0]\"", "5", "5"},
	} {
		n := newNumberFormats([]string{c.code}, false)
		if got := string(n.append(nil, 0, []byte(c.raw))); got != c.want {
			t.Errorf("%s in %q is %q, expected %q", c.raw, c.code, got, c.want)
		}
		if again := string(n.append(nil, 0, []byte(c.raw))); again != c.want {
			t.Errorf("the second time %s in %q is %q", c.raw, c.code, again)
		}
	}
}

func TestDelimiters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]rune{
		"a,b\n1,2\n":                                ',',
		"a\n1\n2\n":                                 ',',
		"a;b\n1,5;2\n2,5;3\n":                       ';',
		"a;b\n\"x, y\";2\n\"z, w\";3\n":             ';',
		"a|b;c\n1|2\n3|4\n":                         '|',
		"name, first;phone\nx;1\ny;2\nz, q;3\n":     ';',
		"a\tb, c\td\n1\t2\t3\n":                     '\t',
		"\"a;b;c\",\"d\"\n\"1;2;3\",\"4\"\n":        ',',
		"phone;note\n1;\"a, b\nc, d\ne, f\"\n2;x\n": ';',
		"a;b;c\n1;2\n1;2;3;4\n":                     ';',
	} {
		if got := sniffDelimiter([]byte(text), true); got != want {
			t.Errorf("%q has %q, expected %q", text, got, want)
		}
	}
}

// FuzzDecode holds what the decoder promises of any bytes: it ends, whatever
// pieces the file comes in it is the same, and CSV in UTF-8 is what
// encoding/csv says it is.
func FuzzDecode(f *testing.F) {
	for _, e := range exports() {
		b, err := os.ReadFile(filepath.Join("testdata/exports", e.name))
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 20_000 {
			f.Add(b, "", uint8(3))
		}
	}
	f.Add([]byte("a,b\r\"c\r\nd\",e\r\n\r\n,\n"), "", uint8(1))
	f.Add([]byte("a;\xe9\n"), "windows-1251", uint8(2))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte, told string, piece uint8) {
		u := understanding{name: "x", most: 2000, encoding: told, maxUnpacked: 1 << 20, tempDir: dir}
		rows, lines, facts, err := table(t.Context(), bytes.NewReader(b), u)
		slow, slowLines, slowFacts, slowErr := table(t.Context(), &pieces{b, int(piece%7) + 1}, u)
		if fmt.Sprint(err) != fmt.Sprint(slowErr) || !cmp.Equal([]any{rows, lines, facts}, []any{slow, slowLines, slowFacts}) {
			t.Fatalf("%v and in pieces %v:\n%q\n%q", err, slowErr, rows, slow)
		}
		var fe *FileError
		if err != nil && (!errors.As(err, &fe) || fe.Problem == "") {
			t.Fatalf("an error of no kind: %v", err)
		}
		line := 0
		for i, row := range rows {
			if lines[i] <= line {
				t.Fatalf("row %d is on line %d, after %d", i, lines[i], line)
			}
			line = lines[i]
			size := 0
			for _, c := range row {
				size += len(c)
				if facts.Format == "csv" && !utf8.ValidString(c) {
					t.Fatalf("%q is not UTF-8", c)
				}
			}
			if size > 3*u.most { // a byte becomes up to three
				t.Fatalf("a row of %d bytes", size)
			}
		}
		if err == nil && told == "" && facts.Format == "csv" && facts.Compression == "" && facts.Encoding == encodingUTF8 {
			sameAsCSV(t, b, facts, rows, lines)
		}
	})
}

// sameAsCSV compares with encoding/csv, which is stricter: where it does not
// read a file, nothing is compared.
func sameAsCSV(t *testing.T, b []byte, facts FileFacts, rows [][]string, lines []int) {
	text := strings.TrimPrefix(string(b), "\xef\xbb\xbf")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	if _, length := separatorLine([]byte(text)); length > 0 {
		return
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, _ = utf8.DecodeRuneInString(facts.Delimiter)
	r.FieldsPerRecord = -1
	var want [][]string
	var wantLines []int
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return
		}
		if !blank(row) {
			line, _ := r.FieldPos(0)
			want, wantLines = append(want, row), append(wantLines, line)
		}
	}
	if !cmp.Equal(wantLines, lines) {
		t.Fatalf("lines %d, and encoding/csv has %d", lines, wantLines)
	}
	for i := range want {
		n := len(rows[i])
		if n > len(want[i]) || !cmp.Equal(want[i][:n], rows[i]) || !blank(want[i][n:]) {
			t.Fatalf("%q, and encoding/csv has %q", rows[i], want[i])
		}
	}
}

// pieces hands out so many bytes at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.b[:min(p.n, len(p.b))])
	p.b = p.b[n:]
	return n, nil
}
