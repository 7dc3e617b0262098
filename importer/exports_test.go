package importer

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/postrider/postrider/campaign"
)

// export is a file as some program writes it. All persons are invented; the
// numbers are from ranges that regulators keep for films and books (Australia
// 0491 570 006 to 0491 578 888, Germany 0152 28817386 and 0152 28895456).
type export struct {
	name string
	o    Options
	make func(t *testing.T) []byte
	fail string // what the error says; empty: it loads
	line int    // that the error names
}

func encoded(t *testing.T, e encoding.Encoding, text string) []byte {
	t.Helper()
	b, err := e.NewEncoder().Bytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func text(s string) func(*testing.T) []byte { return func(*testing.T) []byte { return []byte(s) } }

func textIn(e encoding.Encoding, s string) func(*testing.T) []byte {
	return func(t *testing.T) []byte { return encoded(t, e, s) }
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func gzipOf(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Name = "people.csv"
	_, err := w.Write(b)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// member is a file in a zip archive.
type member struct {
	name string
	data []byte
}

func zipOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, m := range members {
		w, err := z.CreateHeader(&zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)})
		if err == nil {
			_, err = w.Write(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// encryptedZip is a zip archive whose one member says that it is encrypted.
func encryptedZip(t *testing.T) []byte {
	b := zipOf(t, member{"people.csv", []byte("phone\n+61491570006\n")})
	b[6] |= 1 // the flags of the local header
	at := bytes.Index(b, []byte("PK\x01\x02"))
	b[at+8] |= 1 // and of the directory
	return b
}

// book writes a workbook with excelize.
func book(fill func(f *excelize.File) error) func(*testing.T) []byte {
	return func(t *testing.T) []byte {
		f := excelize.NewFile()
		defer f.Close()
		if err := fill(f); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
}

// cells fills a sheet from a cell on.
func cells(f *excelize.File, sheet string, row int, rows ...[]any) error {
	for i, r := range rows {
		name, err := excelize.CoordinatesToCellName(1, row+i)
		if err != nil {
			return err
		}
		if err := f.SetSheetRow(sheet, name, &r); err != nil {
			return err
		}
	}
	return nil
}

func styled(f *excelize.File, sheet, from, to, code string) error {
	id, err := f.NewStyle(&excelize.Style{CustomNumFmt: &code})
	if err != nil {
		return err
	}
	return f.SetCellStyle(sheet, from, to, id)
}

func formattedBook(f *excelize.File) error {
	const s = "Sheet1"
	err := cells(f, s, 1,
		[]any{"Mobile", "First name", "Postcode", "Birthday", "Balance", "Discount", "Vip", "Account", "Last seen", "Score", "Comment"},
		[]any{61491570006, "Zoë", 800, 29221, 1234.5, 0.15, true, 9876543210123, 45292.75, 0.1 + 0.2, "a_x000D_\nb"},
		[]any{491570110, "Bruno", 6000, 36526, -20, 1, false, 12, 45293.25, 1e-7, "  spaces  "},
		[]any{"0491 570 156", "Chloé", 2000, nil, 0, 0, true, 0, 45294, 6.02e23, ""},
		[]any{61491570157.0, "Dmitri", 3000, 44000, 5, 0.005, true, 61491570157, nil, 1234567890123456, "<&>"},
	)
	for _, c := range [][3]string{{"A2", "A2", "0.00E+00"}, {"A3", "A3", "0000000000"}, {"C2", "C5", "0000"}, {"D2", "D5", "dd.mm.yyyy"}, {"E2", "E5", `#,##0.00 "€"`},
		{"F2", "F5", "0.0%"}, {"H2", "H5", "0,,"}, {"I2", "I5", "d-mmm-yy h:mm"}} {
		err = errors.Join(err, styled(f, s, c[0], c[1], c[2]))
	}
	return err
}

func sheetsBook(f *excelize.File) error {
	err := cells(f, "Sheet1", 1, []any{"phone", "name"}, []any{"+61491570006", "hidden person"})
	for _, name := range []string{"Notes", "Customers", "Leads"} {
		_, e := f.NewSheet(name)
		err = errors.Join(err, e)
	}
	return errors.Join(err,
		// Two empty rows first, and one in between; a formula, an error and merged cells.
		cells(f, "Customers", 3, []any{"phone", "name", "city", "total"}, []any{"+61491570156", "Ada Ash", "Perth"}, []any{}, []any{"+61491570157", "Ben Birch", "#N/A"}),
		f.SetCellFormula("Customers", "D4", "1+1"), f.SetCellStr("Customers", "D6", "x"),
		f.MergeCell("Customers", "B6", "C6"), f.SetRowVisible("Customers", 6, false),
		cells(f, "Leads", 1, []any{"phone", "name"}, []any{"+61491570158", "Cy Cole"}),
		hide(f, "Sheet1"))
}

// hide hides a sheet, which cannot be the active one.
func hide(f *excelize.File, sheet string) error {
	f.SetActiveSheet(1)
	return f.SetSheetVisible(sheet, false)
}

// people is a small list that several exports share.
const people = "phone,first_name,city\n+61491570006,Zoë,Perth\n+61491570156,Bruno,\"Hobart, TAS\"\n+61491570157,\"Anna \"\"Bo\"\"\",Cairns\n"

func exports() []export {
	const german = "Handy;Vorname;Nachname;Telefon mobil;Mobile;Straße;PLZ;Ort;Umsatz\n;Jürgen;Müller;;+4915228817386;Hauptstraße 5;01067;Köln;1.234,50\n;Zoë;Groß;;0152 28895456;\"Am Wall 3; Hinterhaus\";50667;München;–\n"
	const french = "sep=;\nMobile;Prénom;Nom;Ville;Remise\n+61 491 570 006;Élodie;Lefèvre;Besançon;1,5\n+61 491 570 156;Zoé;Œuvrard;\"Saint-Étienne\";2,5 €\n"
	lateByte := func(t *testing.T) []byte {
		var b strings.Builder
		b.WriteString("phone,name\n")
		for range 6000 {
			b.WriteString("+61491570006,Ann Example\n")
		}
		b.WriteString("+61491570156,René Example\n")
		return gzipOf(t, encoded(t, charmap.Windows1252, b.String()))
	}
	return []export{
		{name: "excel-de.csv", o: Options{Country: "DE"}, make: textIn(charmap.Windows1252, crlf(german))},
		{name: "excel-fr-sep.csv", o: Options{Country: "FR"}, make: textIn(charmap.Windows1252, crlf(french))},
		{name: "excel-unicode-text.txt", make: textIn(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), crlf("phone\tfirst name\tnote\n+61491570006\tŁucja\t\"two\nlines\"\n+61491570156\t名前\t\"a \"\"tab\"\"\t\"\n"))},
		{name: "excel-utf8.csv", make: text("\xef\xbb\xbf" + crlf(people))},
		{name: "excel-mac.csv", make: textIn(charmap.Macintosh, strings.ReplaceAll("phone;name;note\n+61491570006;René;\"one\ntwo\"\n\n+61491570156;Zoë;5\" pipe\n", "\n", "\r"))},
		{name: "google-sheets.csv", make: text(strings.TrimSuffix(crlf("Timestamp,Mobile number,Your name,Agree?\n3/1/2026 9:05:12,'+61 491 570 006,Zoë 🌻,TRUE\n3/1/2026 9:07:40,0491 570 156,\"Birch, Ben\",FALSE\n"), "\r\n")), o: Options{Country: "AU"}},
		{name: "libreoffice.csv", make: text("\"phone\",\"name\",\"city\"\n\"+61491570006\",\"Ada\",\"Perth\"\n\"+61491570156\",\"Ben\",\"1 Hill St, Hobart\"\n")},
		{name: "utf16be.csv", make: textIn(unicode.UTF16(unicode.BigEndian, unicode.UseBOM), people)},
		{name: "utf16le-no-mark.csv", make: textIn(unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), people)},
		{name: "utf16be-no-mark.tsv", make: textIn(unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), "phone\tname\n+61491570006\tŻaneta\n")},
		{name: "shift-jis.csv", o: Options{Encoding: "shift_jis"}, make: textIn(japanese.ShiftJIS, "phone,name,city\n+61491570006,表示 太郎,東京\n")},
		{name: "windows-1251.csv", o: Options{Encoding: "windows-1251", Delimiter: ";"}, make: textIn(charmap.Windows1251, "phone;name\n+61491570006;Ирина, Омск\n")},
		{name: "packed.csv.gz", make: func(t *testing.T) []byte { return gzipOf(t, []byte(people)) }},
		{name: "late-byte.csv.gz", o: Options{Identity: campaign.ByNumber}, make: lateByte},
		{name: "packed.zip", make: func(t *testing.T) []byte { return zipOf(t, member{"export/people.csv", []byte(people)}) }},
		{name: "mac.zip", make: func(t *testing.T) []byte {
			return zipOf(t, member{"People/", nil}, member{"People/people.csv", []byte(people)}, member{"__MACOSX/People/._people.csv", []byte("\x00\x05\x16\x07")}, member{"People/.DS_Store", []byte("\x00")}, member{"readme.pdf", []byte("%PDF")})
		}},
		{name: "two-lists.zip", o: Options{Member: "b.csv"}, make: func(t *testing.T) []byte {
			return zipOf(t, member{"a.csv", []byte("phone\n+61491570006\n")}, member{"b.csv", []byte("phone\n+61491570156\n")})
		}},
		{name: "escaping.zip", make: func(t *testing.T) []byte { return zipOf(t, member{"../../tmp/people.csv", []byte(people)}) }},
		{name: "workbook.zip", o: Options{Country: "AU"}, make: func(t *testing.T) []byte { return zipOf(t, member{"formats.xlsx", book(formattedBook)(t)}) }},
		{name: "formats.xlsx", o: Options{Country: "AU"}, make: book(formattedBook)},
		{name: "sheets.xlsx", make: book(sheetsBook)},
		{name: "sheets-named.xlsx", o: Options{Sheet: "leads"}, make: book(sheetsBook)},
		{name: "trailing.csv", make: text("phone;name;;\n+61491570006;Ada;;\n+61491570156;Ben;;\n+61491570157;Cy;;\n")},
		{name: "trailing-in-rows.csv", make: text("phone,name\n+61491570006,Ada,\n+61491570156,Ben,\n")},
		{name: "line-ends.csv", make: text("phone,name\r\n+61491570006,\"Ada\r\nAsh\"\n+61491570156,Ben\r+61491570157,\"Cy\rCole\"\r\r\n+61491570158,Di\n")},
		{name: "inches.csv", make: text("phone,item,size\n+61491570006,5\" pipe,\"3\"\"\"\n\n+61491570156, \"7\"\" pipe, long\",x\n+61491570157,O\"Neil,\"7\"\n+61491570158,Di,\"two\nlines\"\n")},
		{name: "decimal-commas.csv", make: text("name;phone;a;b\nAda, A.;+61491570006;1,5;2,5\nBen, B.;+61491570156;3,5;4,5\nCy, C.;+61491570157;5,5;6,5\n")},
		{name: "sep-tab.csv", make: text("\"sep=\t\"\nphone\tname, city\n+61491570006\tAda, Perth\n")},

		{name: "broken-quote.csv", make: text("phone,name\n+61491570006,Ada\n+61491570156,\"Ben\n+61491570157,Cy\n"), fail: "never closed", line: 3},
		{name: "broken-quote-mac.csv", make: text("sep=,\rphone,name\r+61491570006,Ada\r+61491570156,\"Ben\r+61491570157,Cy\r"), fail: "the row ends on line 5", line: 4},
		{name: "mixed-encodings.csv", make: text("phone,name\n+61491570006,Zoë\n+61491570156,Ren\xe9\n"), fail: "UTF-8 up to here", line: 3},
		{name: "binary.csv", make: text("\x00\x01\x02\x03phone,name\n"), fail: "binary"},
		{name: "nul.csv", make: func(*testing.T) []byte {
			return []byte("phone,name\n" + strings.Repeat("+61491570006,Ada\n", 400) + "+61491570156,B\x00n\n")
		}, fail: "NUL byte", line: 402},
		{name: "truncated.csv.gz", make: func(t *testing.T) []byte { b := gzipOf(t, []byte(people)); return b[:len(b)-12] }, fail: "ends too early"},
		{name: "encrypted.zip", make: encryptedZip, fail: "password"},
		{name: "nothing.zip", make: func(t *testing.T) []byte { return zipOf(t) }, fail: "empty"},
		{name: "several.zip", make: func(t *testing.T) []byte {
			return zipOf(t, member{"a.csv", []byte(people)}, member{"b/b.tsv", []byte(people)})
		}, fail: `2 lists, "a.csv", "b/b.tsv": name one with --member`},
		{name: "nested.zip", make: func(t *testing.T) []byte {
			return zipOf(t, member{"a.zip", zipOf(t, member{"a.csv", []byte(people)})})
		}, fail: "archive in an archive"},
		{name: "calc.ods", make: func(t *testing.T) []byte {
			return zipOf(t, member{"mimetype", []byte("application/vnd.oasis.opendocument.spreadsheet")}, member{"content.xml", []byte("<x/>")})
		}, fail: "ods"},
		{name: "letter.docx", make: func(t *testing.T) []byte {
			return zipOf(t, member{"[Content_Types].xml", []byte("<Types/>")}, member{"_rels/.rels", []byte("<R/>")}, member{"word/document.xml", []byte("<x/>")})
		}, fail: "Word"},
		{name: "table.numbers", make: func(t *testing.T) []byte { return zipOf(t, member{"Index/Document.iwa", []byte("x")}) }, fail: "Numbers"},
		{name: "old.xls", make: text(oleMark + strings.Repeat("\x00", 500) + "R\x00W\x00o\x00r\x00k\x00b\x00o\x00o\x00k\x00"), fail: "old Excel workbook (xls)"},
		{name: "protected.xlsx", make: text(oleMark + strings.Repeat("\x00", 500) + "E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e\x00"), fail: "password"},
		{name: "web-page.xls", make: text("\r\n<html xmlns:x=\"urn:schemas-microsoft-com:office:excel\"><table><tr><td>phone</td></tr></table></html>"), fail: "web page (HTML)"},
		{name: "contacts.vcf", make: text("BEGIN:VCARD\r\nVERSION:3.0\r\nTEL:+61491570006\r\nEND:VCARD\r\n"), fail: "vCards"},
		{name: "people.json", make: text(`[{"phone": "+61491570006"}]`), fail: "JSON"},
		{name: "essay.txt", make: text("Dear all,\nthis is no list.\n\nYours\n"), fail: "no column holds a phone number", line: 1},
		{name: "cut.xlsx", make: func(t *testing.T) []byte { b := book(sheetsBook)(t); return b[:len(b)/2] }, fail: "damaged"},
		{name: "no-such-sheet.xlsx", o: Options{Sheet: "Payments"}, make: book(sheetsBook), fail: `no sheet "Payments": it has "Sheet1" (hidden), "Notes", "Customers", "Leads"`},
		{name: "empty-sheet.xlsx", o: Options{Sheet: "Notes"}, make: book(sheetsBook), fail: "empty"},
	}
}

// The files are made by the generators above, once: go test ./importer -update
// makes those that are missing, and writes the golden files anew.
func TestExportsBecomeTheContactsOfTheirGoldenFiles(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, e := range exports() {
		known[e.name] = true
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata/exports", e.name)
			if _, err := os.Stat(path); err != nil && *update {
				if err := os.WriteFile(path, e.make(t), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			got := importFile(t, file, e.o)
			if e.fail != "" {
				var fe *FileError
				if !errors.As(got.Err, &fe) || !strings.Contains(fe.Error(), e.fail) || fe.Line != e.line {
					t.Errorf("%v, expected line %d: %s", got.Err, e.line, e.fail)
				}
				return
			}
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			golden := path + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got.golden(t)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got.golden(t)); d != "" {
				t.Error(d)
			}
		})
	}
	all, err := os.ReadDir("testdata/exports")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if name := strings.TrimSuffix(f.Name(), ".golden"); !known[name] {
			t.Errorf("nothing reads %s", f.Name())
		}
	}
}

// importFile imports a file, and then once more as it comes out of a pipe: it
// must come to the same.
func importFile(t *testing.T, file io.ReadSeeker, o Options) imported {
	t.Helper()
	if o.Name == "" {
		o.Name = "people"
	}
	run := func(r io.Reader) imported {
		var got imported
		s := &keeper{}
		o.Reject = func(r Reject) error { got.Rejects = append(got.Rejects, r); return nil }
		got.Summary, got.Err = Import(t.Context(), r, s, o)
		got.Contacts = s.contacts
		return got
	}
	first := run(file)
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	second := run(struct{ io.Reader }{file})
	if first.Err == nil && second.Err == nil {
		if d := cmp.Diff(first.golden(t), second.golden(t)); d != "" {
			t.Errorf("from a pipe it is another list:\n%s", d)
		}
	} else if first.Err == nil || second.Err == nil || first.Err.Error() != second.Err.Error() {
		t.Errorf("%v, and from a pipe %v", first.Err, second.Err)
	}
	return first
}
