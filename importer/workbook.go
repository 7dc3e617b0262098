package importer

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A workbook (xlsx) is read here part by part, and excelize only writes numbers
// and dates as their formats show them. Its own Rows was tried first (v2.11.1):
// with 10 columns it reads 16,000 rows a second on the machine of the
// benchmarks, 40,000 being asked for, with encoding/xml's tokens and a search
// through its list of languages for every date; it takes the end of a damaged
// sheet for the end of its rows, so that a part of a list would pass for the
// whole; and it unpacks every picture of the workbook into memory.

// mostPart is how large a part of a workbook may be that is read into memory.
const mostPart = 16 << 20

// workbook is an open xlsx file.
type workbook struct {
	archive  *archive
	sheets   []sheetPart
	date1904 bool
	styles   string // names of parts; empty: there is none
	strings  string

	tempDir string
	keep    int            // bytes of shared strings in memory
	most    int            // of them; mostTexts when 0
	shared  *sharedStrings // once a cell refers to them
	formats *numberFormats
}

type sheetPart struct {
	name   string
	part   string
	hidden bool
}

// openWorkbook reads a workbook: the named sheet, or the first visible one that
// has something in it. Inner says that it was in an archive, whose progress is
// then that of the file.
func (r *reader) openWorkbook(ctx context.Context, a *archive, u understanding, inner bool) error {
	switch {
	case u.delimiter != "":
		return problem("--delimiter says what separates the cells of a text, and this is a workbook: leave it out")
	case u.encoding != "":
		return problem("--encoding says how a text is encoded, and this is a workbook: leave it out")
	}
	a.what = "xlsx"
	wb, err := readWorkbook(a, u.tempDir)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, wb.close)
	candidates, err := wb.candidates(u.sheet)
	if err != nil {
		return err
	}
	r.facts.Format = "xlsx"
	if len(wb.sheets) > 1 {
		r.sheets = wb.sheetNames()
	}
	for _, s := range candidates {
		rows, err := wb.open(ctx, s, u.most)
		if err != nil {
			return err
		}
		if err := rows.begin(); errors.Is(err, io.EOF) {
			continue // there is nothing on it
		} else if err != nil {
			return err
		}
		r.rows, r.facts.Sheet = rows, s.name
		size := a.size
		if inner {
			size = r.done() // all of the outer archive has been read
		}
		r.done = func() int64 { return rows.unpacked.done(size) }
		return nil
	}
	if u.sheet != "" {
		return problemf("the sheet %q is empty: it needs a header and a row for each contact; the workbook has %s", u.sheet, wb.sheetNames())
	}
	return problem("the workbook is empty: it needs a header and a row for each contact")
}

// candidates are the sheets that may be read, the first with something in it
// first.
func (wb *workbook) candidates(name string) ([]sheetPart, error) {
	if name == "" {
		visible := slices.DeleteFunc(slices.Clone(wb.sheets), func(s sheetPart) bool { return s.hidden })
		if len(visible) == 0 {
			return nil, problemf("every sheet of the workbook is hidden: name one with --sheet; it has %s", wb.sheetNames())
		}
		return visible, nil
	}
	i := slices.IndexFunc(wb.sheets, func(s sheetPart) bool { return strings.EqualFold(s.name, name) }) // as in Excel
	if i < 0 {
		return nil, problemf("the workbook has no sheet %q: it has %s", name, wb.sheetNames())
	}
	return wb.sheets[i : i+1], nil
}

// sheetNames lists the sheets for a message, the first twenty of them.
func (wb *workbook) sheetNames() string {
	var names []string
	for i, s := range wb.sheets {
		if i == 20 {
			names = append(names, fmt.Sprintf("… and %d more", len(wb.sheets)-20))
			break
		}
		name := fmt.Sprintf("%q", s.name)
		if s.hidden {
			name += " (hidden)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// errDamaged is what is wrong with a workbook whose parts do not fit together.
const errDamaged = problem("the workbook is damaged: open it in a spreadsheet and save it again as xlsx or CSV UTF-8; nothing was imported")

// relationships is a part that says where other parts are (ECMA-376, part 2).
type relationships struct {
	All []struct {
		ID     string `xml:"Id,attr"`
		Type   string `xml:"Type,attr"`
		Target string `xml:"Target,attr"`
	} `xml:"Relationship"`
}

func readWorkbook(a *archive, tempDir string) (*workbook, error) {
	wb := &workbook{archive: a, tempDir: tempDir, keep: stringsInMemory}
	main := "xl/workbook.xml"
	var root relationships
	if err := wb.parse("_rels/.rels", &root, false); err != nil {
		return nil, err
	}
	for _, r := range root.All {
		if strings.HasSuffix(r.Type, "/officeDocument") {
			main = partName("", r.Target)
		}
	}
	var book struct {
		Properties struct {
			Date1904 string `xml:"date1904,attr"`
		} `xml:"workbookPr"`
		Sheets []struct {
			Name  string `xml:"name,attr"`
			State string `xml:"state,attr"`
			ID    string `xml:"id,attr"`
		} `xml:"sheets>sheet"`
	}
	if err := wb.parse(main, &book, true); err != nil {
		return nil, err
	}
	wb.date1904 = book.Properties.Date1904 == "1" || book.Properties.Date1904 == "true"
	folder := path.Dir(main)
	var rels relationships
	if err := wb.parse(path.Join(folder, "_rels", path.Base(main)+".rels"), &rels, true); err != nil {
		return nil, err
	}
	for _, r := range rels.All {
		target := partName(folder, r.Target)
		switch path.Base(r.Type) {
		case "styles":
			wb.styles = target
		case "sharedStrings":
			wb.strings = target
		case "worksheet":
			for _, s := range book.Sheets {
				if s.ID == r.ID {
					wb.sheets = append(wb.sheets, sheetPart{name: s.Name, part: target, hidden: s.State != "" && s.State != "visible"})
				}
			}
		}
	}
	place := map[string]int{}
	for i, s := range book.Sheets {
		place[s.Name] = i
	}
	slices.SortStableFunc(wb.sheets, func(a, b sheetPart) int { return place[a.name] - place[b.name] })
	if len(wb.sheets) == 0 {
		return nil, problem("the workbook has no sheet with cells: it needs a header and a row for each contact")
	}
	var err error
	wb.formats, err = wb.readFormats()
	return wb, err
}

// partName is the part that a relationship of a folder's part names.
func partName(folder, target string) string {
	if rest, ok := strings.CutPrefix(target, "/"); ok {
		return path.Clean(rest)
	}
	return path.Join(folder, target)
}

func (wb *workbook) close() error {
	if wb.shared == nil {
		return nil
	}
	return wb.shared.close()
}

// unpack opens a part. Some programs write its name with backslashes, or in
// another case.
func (wb *workbook) unpack(name string) (*unpacking, error) {
	f := wb.archive.find(name)
	if f == nil {
		for _, other := range wb.archive.zip.File {
			if strings.EqualFold(strings.ReplaceAll(other.Name, `\`, "/"), name) {
				f = other
			}
		}
	}
	if f == nil {
		return nil, errDamaged
	}
	return wb.archive.open(f)
}

// parse reads a small part. One that need not be there is empty when it is not.
func (wb *workbook) parse(name string, into any, required bool) error {
	r, err := wb.unpack(name)
	if errors.Is(err, errDamaged) && !required {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(r, mostPart+1))
	switch {
	case err != nil:
		return err
	case len(b) > mostPart:
		return problemf("the workbook's part %s is larger than %s: copy the list into a new workbook, or save it as CSV UTF-8", path.Base(name), byteSize(mostPart))
	}
	if err := xml.Unmarshal(b, into); err != nil {
		return errDamaged
	}
	return nil
}

// readFormats reads how cells show their numbers.
func (wb *workbook) readFormats() (*numberFormats, error) {
	var sheet struct {
		Formats []struct {
			ID   int    `xml:"numFmtId,attr"`
			Code string `xml:"formatCode,attr"`
		} `xml:"numFmts>numFmt"`
		Cells []struct {
			Format int `xml:"numFmtId,attr"`
		} `xml:"cellXfs>xf"`
	}
	if wb.styles != "" {
		if err := wb.parse(wb.styles, &sheet, false); err != nil {
			return nil, err
		}
	}
	own := map[int]string{}
	for _, f := range sheet.Formats {
		own[f.ID] = f.Code
	}
	codes := make([]string, len(sheet.Cells))
	for i, c := range sheet.Cells {
		code, ok := own[c.Format]
		if !ok {
			code = builtInFormat(c.Format)
		}
		codes[i] = code
	}
	return newNumberFormats(codes, wb.date1904), nil
}

// sharedStrings are the texts of a workbook, to which cells refer by number.
// So many bytes of them are kept in memory, the rest in a temporary file.
type sharedStrings struct {
	ends  [][]uint32 // where each ends, in the bytes of all one after the other: in pieces of endsPiece
	count int
	head  []byte   // the first of these bytes
	rest  *os.File // the others; nil: there are none
	gone  bool     // the file has no name any more
	room  []byte
}

// add adds a string by where it ends.
func (s *sharedStrings) add(end uint32) {
	if s.count%endsPiece == 0 {
		s.ends = append(s.ends, make([]uint32, 0, endsPiece))
	}
	last := &s.ends[len(s.ends)-1]
	*last = append(*last, end)
	s.count++
}

func (s *sharedStrings) end(i int) uint32 { return s.ends[i/endsPiece][i%endsPiece] }

// Limits of shared strings.
const (
	stringsInMemory = 32 << 20
	mostStrings     = 1<<32 - 1 // bytes
	// Where each ends is kept in memory, 4 bytes a string, and an empty string
	// costs nothing in a packed file: 128 MiB at most. A full sheet has a million
	// rows, so 32 columns of it may hold texts that stand nowhere else.
	mostTexts = 32 << 20
	endsPiece = 1 << 14
)

// text returns a shared string. It is valid until the next call.
func (wb *workbook) text(number []byte) ([]byte, error) {
	i, err := strconv.Atoi(strings.TrimSpace(string(number)))
	if err != nil || i < 0 {
		return nil, errDamaged
	}
	if wb.shared == nil {
		if wb.strings == "" {
			return nil, errDamaged
		}
		wb.shared = &sharedStrings{}
		if err := wb.readStrings(wb.shared); err != nil {
			return nil, err
		}
	}
	return wb.shared.get(i)
}

func (s *sharedStrings) get(i int) ([]byte, error) {
	if i >= s.count {
		return nil, errDamaged
	}
	from, to := uint32(0), s.end(i)
	if i > 0 {
		from = s.end(i - 1)
	}
	if int(to) <= len(s.head) {
		return s.head[from:to], nil
	}
	s.room = append(s.room[:0], make([]byte, to-from)...)
	if _, err := s.rest.ReadAt(s.room, int64(from)-int64(len(s.head))); err != nil {
		return nil, fmt.Errorf("a temporary file: %w", err)
	}
	return s.room, nil
}

func (s *sharedStrings) close() error {
	if s.rest == nil {
		return nil
	}
	err := s.rest.Close()
	if !s.gone {
		err = errors.Join(err, os.Remove(s.rest.Name()))
	}
	s.rest = nil
	return err
}

// readStrings reads the part with the shared strings.
func (wb *workbook) readStrings(s *sharedStrings) (err error) {
	part, err := wb.unpack(wb.strings)
	if err != nil {
		return err
	}
	x := newMarkup(part)
	var spill []byte // on its way to the file
	total := uint64(0)
	flush := func() error {
		if s.rest == nil {
			if s.rest, err = os.CreateTemp(wb.tempDir, "postrider-import-*"); err != nil {
				return fmt.Errorf("the texts of a large workbook are kept in a temporary file: %w", err)
			}
			s.gone = os.Remove(s.rest.Name()) == nil
		}
		_, err := s.rest.Write(spill)
		spill = spill[:0]
		return err
	}
	var text []byte
	inText, phonetic := false, false
	for {
		token, err := x.next()
		if err != nil {
			return markupProblemOf(err)
		}
		switch {
		case token == tokenEnd && x.is("si"):
			text = unescapeControls(text)
			if total += uint64(len(text)); total > mostStrings {
				return problem("the workbook has more text than is read: save it as CSV UTF-8")
			}
			if s.rest == nil && len(spill) == 0 && len(s.head)+len(text) <= wb.keep {
				s.head = append(s.head, text...)
			} else if spill = append(spill, text...); len(spill) >= 1<<20 {
				if err := flush(); err != nil {
					return err
				}
			}
			if s.count >= cmp.Or(wb.most, mostTexts) {
				return problemf("the workbook has more than %d different texts, and so many are not read: save it as CSV UTF-8", s.count)
			}
			s.add(uint32(total))
			text = text[:0]
		case token == tokenStart && x.is("t"):
			inText = !phonetic
		case token == tokenEnd && x.is("t"):
			inText = false
		case x.is("rPh") && token != tokenText: // how a text is read aloud
			phonetic = token == tokenStart
		case token == tokenText && inText:
			text = x.appendText(text)
			if len(text) > mostPart {
				return errDamaged
			}
		case token == tokenEOF:
			if len(spill) > 0 {
				return flush()
			}
			return nil
		}
	}
}
