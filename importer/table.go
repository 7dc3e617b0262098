package importer

import (
	"context"
	"io"
)

// Table reads the rows of a CSV file that holds something other than contacts,
// with the care that contacts are read with: a byte order mark, delimiters and
// line ends are understood, what is not CSV is named, no row is longer than a
// limit. It must be UTF-8, neither packed nor a workbook; IsText tells.
type Table struct{ r *reader }

// NewTable looks at the beginning of a file. What is not CSV is a *FileError.
// maxRow is in bytes.
func NewTable(ctx context.Context, r io.Reader, file string, maxRow int) (*Table, error) {
	in, err := newReader(ctx, r, understanding{name: file, most: maxRow, plain: true})
	if err != nil {
		return nil, err
	}
	return &Table{in}, nil
}

// Read returns the next row with anything in it, and the line on which it
// begins, from 1. The slice is valid until the next call; the strings stay. At
// the end of the file the error is io.EOF; a *FileError says that the file
// cannot be read further.
func (t *Table) Read() (row []string, line int, err error) { return t.r.read() }

// IsText reports whether the cells hold text that a database takes.
func IsText(row []string) bool { return isText(row) }
