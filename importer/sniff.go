package importer

import (
	"bytes"
	"strings"
)

// signature is how a kind of file begins that is no list, and what to say of
// it. (The marks are those of the formats' own specifications.)
type signature struct {
	at   int // offset
	mark string
	what string
}

// signatures are the files that people take for a list, or choose by mistake.
func signatures() []signature {
	const export = ", not CSV: export the list as CSV UTF-8 or xlsx from where it was made"
	const unpack = ": unpack it first, or pack the list with gzip or zip"
	return []signature{
		{0, "%PDF", "this is a PDF" + export},
		{0, "\x89PNG", "this is a picture (PNG)" + export},
		{0, "\xff\xd8\xff", "this is a picture (JPEG)" + export},
		{0, "GIF89a", "this is a picture (GIF)" + export},
		{0, "II*\x00", "this is a picture (TIFF)" + export},
		{0, "MM\x00*", "this is a picture (TIFF)" + export},
		{4, "ftyphei", "this is a picture (HEIC)" + export},
		{0, "{\\rtf", "this is a text document (RTF)" + export},
		{0, "BEGIN:VCARD", "these are contacts as vCards" + export},
		{0, "SQLite format 3\x00", "this is a SQLite database" + export},
		{0, "PAR1\x15", "this is a Parquet file" + export},
		{0, "\x7fELF", "this is a program, a binary file" + export},
		{0, "7z\xbc\xaf\x27\x1c", "this is compressed (7z)" + unpack},
		{0, "Rar!\x1a\x07", "this is compressed (RAR)" + unpack},
		{4, "1AY&SY", "this is compressed (bzip2)" + unpack},
		{0, "\xfd7zXZ\x00", "this is compressed (xz)" + unpack},
		{0, "\x28\xb5\x2f\xfd", "this is compressed (zstd)" + unpack},
		{257, "ustar", "this is an archive (tar)" + unpack},
	}
}

// notAList says what a file is that holds no rows, and what to do; empty when
// it may hold some.
func notAList(head []byte) string {
	if strings.HasPrefix(string(head), oleMark) {
		return oleProblem(head)
	}
	for _, s := range signatures() {
		if len(head) >= s.at+len(s.mark) && string(head[s.at:s.at+len(s.mark)]) == s.mark {
			return s.what
		}
	}
	return ""
}

// oleMark begins the container of old Office files, and of new ones with a
// password ([MS-CFB]).
const oleMark = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// oleProblem tells them apart by the names in the container's directory, when
// that stands near its beginning.
func oleProblem(head []byte) string {
	wide := func(s string) []byte { return []byte(strings.Join(strings.Split(s, ""), "\x00")) }
	switch {
	case bytes.Contains(head, wide("EncryptedPackage")):
		return "this workbook is protected with a password: open it, remove the password (File, Info, Protect Workbook), and save it again"
	case bytes.Contains(head, wide("WordDocument")):
		return "this is an old Word document (doc), not a list: export the list as CSV UTF-8 or xlsx from where it was made"
	case bytes.Contains(head, wide("Workbook")):
		return "this is an old Excel workbook (xls), which is not read: open it and save it as xlsx or CSV UTF-8"
	}
	return "this is an old Excel workbook (xls), or a workbook that is protected with a password: open it and save it without a password as xlsx or CSV UTF-8"
}

// markupProblem recognises text that is no table: what many shops call an Excel
// export is a web page.
func markupProblem(text string) string {
	s := strings.ToLower(strings.TrimLeft(text[:min(len(text), 2000)], " \t\r\n"))
	switch {
	case strings.HasPrefix(s, "<?xml") && strings.Contains(s, "excel.sheet"):
		return "this is an Excel workbook of 2003 (XML): open it and save it as xlsx or CSV UTF-8"
	case strings.HasPrefix(s, "<!doctype html"), strings.HasPrefix(s, "<html"), strings.HasPrefix(s, "<table"),
		strings.HasPrefix(s, "<head"), strings.HasPrefix(s, "<meta"), strings.HasPrefix(s, "<style"):
		return "this is a web page (HTML), though it may be called xls: open it in a spreadsheet and save it as xlsx or CSV UTF-8"
	case strings.HasPrefix(s, "<?xml"), strings.HasPrefix(s, "<!doctype"):
		return "this is XML, not CSV: export the list as CSV UTF-8 or xlsx from where it was made"
	case strings.HasPrefix(s, "{\""), strings.HasPrefix(s, "[{"), strings.HasPrefix(s, "{\n"), strings.HasPrefix(s, "[\n"):
		return "this is JSON, not CSV: export the list as CSV UTF-8 or xlsx from where it was made"
	}
	return ""
}

// delimiters are what may separate cells, the likelier before the less likely.
const delimiters = ",;\t|"

// parseDelimiter understands --delimiter.
func parseDelimiter(s string) (rune, error) {
	switch strings.ToLower(s) {
	case "tab", `\t`, "\t":
		return '\t', nil
	case ",", ";", "|":
		return rune(s[0]), nil
	}
	return 0, problemf("there is no delimiter %q: give one of ',' ';' '|' and tab", s)
}

// CheckDelimiter says what is wrong with a delimiter, before any file is read;
// nil when it can be Options.Delimiter.
func CheckDelimiter(s string) error {
	_, err := parseDelimiter(s)
	return err
}

// separatorLine is the line sep=; with which a file tells Excel what separates
// its cells: what it names, and how many bytes it takes with its end; 0 when
// there is none.
func separatorLine(head []byte) (comma rune, length int) {
	end := bytes.IndexByte(head, '\n')
	if end < 0 || end > 16 {
		return 0, 0
	}
	line := strings.Trim(strings.TrimRight(string(head[:end]), "\r"), `"`)
	if len(line) != 5 || !strings.EqualFold(line[:4], "sep=") {
		return 0, 0
	}
	c := line[4]
	if c != '\t' && (c <= ' ' || c == '"' || c > '~') || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
		return 0, 0
	}
	return rune(c), end + 1
}

// sampleRow is a row near the beginning of a file, as one delimiter has it.
type sampleRow struct {
	cells  int
	extent int // cells up to the last that has something in it
}

// mostSampled is how many rows are looked at.
const mostSampled = 100

// sampleRows takes the beginning of a file apart. Whole says that head is all
// of the file; else its last row is left out, since it may go on. Odd is how
// many quoted cells go on after their closing quote: with the right delimiter,
// hardly any.
func sampleRows(head []byte, comma byte, whole bool) (rows []sampleRow, odd int) {
	var row sampleRow
	i, n := 0, len(head)
	end := func() {
		if row.extent > 0 {
			rows = append(rows, row)
		}
		row = sampleRow{}
	}
	for i < n && len(rows) < mostSampled {
		filled := false
		if head[i] == '"' {
			for i++; i < n; i++ {
				if head[i] != '"' {
					filled = filled || head[i] > ' '
				} else if i+1 < n && head[i+1] == '"' {
					i++
				} else {
					break
				}
			}
			i++
			if i < n && head[i] != comma && head[i] != '\r' && head[i] != '\n' {
				odd++
			}
		}
		for i < n && head[i] != comma && head[i] != '\n' {
			filled = filled || head[i] > ' '
			i++
		}
		row.cells++
		if filled {
			row.extent = row.cells
		}
		if i < n && head[i] == '\n' {
			end()
		} else if i >= n && (whole || len(rows) == 0) {
			end()
		}
		i++
	}
	return rows, odd
}

// sniffDelimiter is what separates the cells of a file: of several candidates
// the one with which most rows have as many cells as the first.
func sniffDelimiter(head []byte, whole bool) rune {
	best, bestScore, bestWidth := rune(delimiters[0]), 0.0, 0
	for i := range len(delimiters) {
		rows, odd := sampleRows(head, delimiters[i], whole)
		width, often := usualWidth(rows)
		if width < 2 {
			continue
		}
		score := (float64(often) - float64(odd)) / float64(len(rows))
		if rows[0].cells == width {
			score++
		}
		if score > bestScore || score == bestScore && width > bestWidth {
			best, bestScore, bestWidth = rune(delimiters[i]), score, width
		}
	}
	return best
}

// usualWidth is how many cells most rows have, and how many rows those are;
// rows with one cell do not count.
func usualWidth(rows []sampleRow) (width, often int) {
	count := map[int]int{}
	for _, r := range rows {
		count[r.cells]++
	}
	for w, n := range count {
		if w >= 2 && (n > often || n == often && w > width) {
			width, often = w, n
		}
	}
	return width, often
}

// trailing says to how many cells the rows are cut, when header and rows alike
// end with delimiters behind which nothing stands; 0: they do not.
func trailing(head []byte, comma rune, whole bool) int {
	rows, _ := sampleRows(head, byte(comma), whole)
	if len(rows) < 2 || rows[0].extent == rows[0].cells {
		return 0
	}
	for _, r := range rows[1:] {
		if r.extent > rows[0].extent {
			return 0
		}
	}
	return rows[0].extent
}
