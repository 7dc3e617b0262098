package importer

import (
	"context"
	"fmt"
	"io"
	"strconv"
)

// mostSheetColumns and mostSheetRows are those of Excel and LibreOffice: XFD
// and 2^20.
const (
	mostSheetColumns = 1 << 14
	mostSheetRows    = 1 << 20
)

// sheetRows reads the rows of a sheet, none longer than a limit. Hidden rows
// are read too, as they are when a spreadsheet saves CSV. Of merged cells the
// first has the text; formulas have the result that was stored with them.
type sheetRows struct {
	ctx      context.Context
	book     *workbook
	most     int // bytes of a row
	unpacked *unpacking
	markup   *markup

	inData  bool // within the element sheetData
	ended   bool
	number  int   // of the row before
	weight  int64 // of what was read
	first   []string
	firstOn int // the row of first, which was read to see that there is one; 0: it was handed on

	bytes []byte // of the row's cells, one after the other
	ends  []int  // where each ends
	row   []string
	value []byte // of the cell
}

func (wb *workbook) open(ctx context.Context, s sheetPart, most int) (*sheetRows, error) {
	u, err := wb.unpack(s.part)
	if err != nil {
		return nil, err
	}
	return &sheetRows{ctx: ctx, book: wb, most: most, unpacked: u, markup: newMarkup(inContext{ctx, u})}, nil
}

// begin reads the first row with something in it. When there is none the error
// is io.EOF.
func (s *sheetRows) begin() (err error) {
	s.first, s.firstOn, err = s.read()
	return err
}

// offset is a measure of what was read: the bytes of the cells, and a few for
// each cell.
func (s *sheetRows) offset() int64 { return s.weight }

// read returns the next row with anything in it, and its number.
func (s *sheetRows) read() (row []string, line int, err error) {
	if s.firstOn > 0 {
		row, line = s.first, s.firstOn
		s.first, s.firstOn = nil, 0
		return row, line, nil
	}
	for !s.ended {
		token, err := s.markup.next()
		if err != nil {
			return nil, 0, markupProblemOf(err)
		}
		switch {
		case token == tokenEOF:
			s.ended = true
		case s.markup.is("sheetData") && token != tokenText:
			s.inData = token == tokenStart
		case token == tokenStart && s.inData && s.markup.is("row"):
			if err := s.beginRow(); err != nil {
				return nil, 0, err
			}
			if err := s.cells(); err != nil {
				return nil, 0, markupProblemOf(err)
			}
			if row := s.finish(); !blank(row) {
				return row, s.number, nil
			}
		}
	}
	return nil, 0, io.EOF
}

func (s *sheetRows) beginRow() error {
	number := s.number + 1
	if r := s.markup.attr("r"); r != nil {
		n, err := strconv.Atoi(string(r))
		if err != nil || n < number {
			return errDamaged
		}
		number = n
	}
	if number > mostSheetRows {
		return errDamaged
	}
	s.number = number
	s.bytes, s.ends = s.bytes[:0], s.ends[:0]
	return nil
}

// cells reads the cells of a row up to its end.
func (s *sheetRows) cells() error {
	for {
		token, err := s.markup.next()
		switch {
		case err != nil:
			return err
		case token == tokenStart && s.markup.is("c"):
			if err := s.cell(); err != nil {
				return err
			}
		case token == tokenEnd && s.markup.is("row"):
			return nil
		}
	}
}

// cell reads a cell up to its end.
func (s *sheetRows) cell() error {
	x := s.markup
	column := len(s.ends)
	if ref := x.attr("r"); ref != nil {
		if column = columnOf(ref); column < len(s.ends) {
			return errDamaged
		}
	}
	if column >= mostSheetColumns {
		return errDamaged
	}
	style := 0
	if a := x.attr("s"); a != nil {
		style, _ = strconv.Atoi(string(a)) // an unknown style shows numbers as they are
	}
	kind := kindOf(x.attr("t"))
	s.value = s.value[:0]
	inValue, phonetic := false, false
	for {
		token, err := x.next()
		switch {
		case err != nil:
			return err
		case token == tokenText:
			if inValue {
				s.value = x.appendText(s.value)
				if len(s.value) > s.most {
					return s.tooLong()
				}
			}
		case x.is("v"):
			inValue = token == tokenStart && kind != cellInline
		case x.is("t"):
			inValue = token == tokenStart && kind == cellInline && !phonetic
		case x.is("rPh"): // how a text is read aloud
			phonetic = token == tokenStart
		case x.is("c") && token == tokenEnd:
			return s.put(column, kind, style)
		}
	}
}

// cellKind is what a cell holds (ECMA-376, ST_CellType).
type cellKind int

const (
	cellNumber cellKind = iota
	cellShared          // the number of a shared string
	cellInline          // a text of its own
	cellText            // the result of a formula, or a date in ISO 8601
	cellBool
	cellError
)

func kindOf(t []byte) cellKind {
	switch string(t) {
	case "s":
		return cellShared
	case "inlineStr":
		return cellInline
	case "str", "d":
		return cellText
	case "b":
		return cellBool
	case "e":
		return cellError
	}
	return cellNumber
}

// put adds the cell to the row, and empty ones before it.
func (s *sheetRows) put(column int, kind cellKind, style int) error {
	if len(s.value) == 0 {
		return nil
	}
	for len(s.ends) < column {
		s.ends = append(s.ends, len(s.bytes))
	}
	switch kind {
	case cellNumber:
		s.bytes = s.book.formats.append(s.bytes, style, s.value)
	case cellShared:
		text, err := s.book.text(s.value)
		if err != nil {
			return err
		}
		s.bytes = append(s.bytes, text...)
	case cellInline, cellText:
		s.bytes = append(s.bytes, unescapeControls(s.value)...)
	case cellBool:
		if string(s.value) == "0" || string(s.value) == "false" {
			s.bytes = append(s.bytes, "FALSE"...)
		} else {
			s.bytes = append(s.bytes, "TRUE"...)
		}
	case cellError: // #N/A and its like say that there is nothing
	}
	s.ends = append(s.ends, len(s.bytes))
	if len(s.bytes) > s.most {
		return s.tooLong()
	}
	return nil
}

// finish makes the row of what was read.
func (s *sheetRows) finish() []string {
	text := string(s.bytes)
	s.row = s.row[:0]
	from := 0
	for _, end := range s.ends {
		s.row = append(s.row, text[from:end])
		from = end
	}
	s.weight += int64(len(text) + 16*len(s.ends))
	return s.row
}

func (s *sheetRows) tooLong() error {
	return &FileError{Line: s.number, Problem: fmt.Sprintf("the row has more than %d bytes: is this a list of contacts?", s.most)}
}

// columnOf is the column of a cell by its name, such as C7, from 0;
// mostSheetColumns and more when it has none.
func columnOf(ref []byte) int {
	n := 0
	for _, c := range ref {
		switch {
		case c >= 'A' && c <= 'Z':
			n = n*26 + int(c-'A') + 1
		case c >= 'a' && c <= 'z':
			n = n*26 + int(c-'a') + 1
		case c >= '0' && c <= '9' && n > 0:
			return n - 1
		default:
			return mostSheetColumns
		}
		if n > mostSheetColumns {
			return mostSheetColumns
		}
	}
	return mostSheetColumns
}
