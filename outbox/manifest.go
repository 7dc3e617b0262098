package outbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gocarina/gocsv"

	"github.com/postrider/postrider/importer"
)

// Bounds of a manifest. One of 64 MB has some 400,000 letters.
const (
	maxManifest = 64 << 20 // bytes
	maxRow      = 64 << 10 // bytes
	chunkRows   = 500      // rows that are checked together
)

// manifestRow is a row of a manifest, as it stands there.
type manifestRow struct {
	Reference     string `csv:"reference"`
	File          string `csv:"file"`
	AddressName   string `csv:"address_name"`
	AddressLine1  string `csv:"address_line_1"`
	AddressLine2  string `csv:"address_line_2"`
	City          string `csv:"address_city"`
	State         string `csv:"address_state"`
	PostalCode    string `csv:"address_postal_code"`
	Country       string `csv:"address_country"`
	Colour        string `csv:"colour"`
	Duplex        string `csv:"duplex"`
	Priority      string `csv:"priority"`
	TemplateUsed  string `csv:"template_used"`
	ReturnAddress string `csv:"return_address"`

	line  int
	cells int // more than the header has, when the row is longer; else 0
	text  bool
}

// columns are the names that a manifest's header may have; those of required
// must be there.
var (
	columns = []string{
		"reference", "file", "address_name", "address_line_1", "address_line_2", "address_city", "address_state",
		"address_postal_code", "address_country", "colour", "duplex", "priority", "template_used", "return_address",
	}
	required = []string{"reference", "file", "address_name", "address_line_1", "address_city", "address_postal_code"}
)

// scan reads a manifest and hands its rows on, at most chunkRows at a time. The
// hash is that of the bytes that were read.
func scan(ctx context.Context, r io.Reader, name string, fn func([]manifestRow) error) (hash [sha256.Size]byte, err error) {
	sum := sha256.New()
	table, err := importer.NewTable(ctx, io.TeeReader(io.LimitReader(r, maxManifest+1), sum), name, maxRow)
	if err != nil {
		return hash, err
	}
	header, line, err := table.Read()
	switch {
	case errors.Is(err, io.EOF):
		return hash, &importer.FileError{Name: name, Problem: "the manifest is empty: it needs a header such as " + strings.Join(required, ",")}
	case err != nil:
		return hash, err
	}
	header, err = checkHeader(name, line, header)
	if err != nil {
		return hash, err
	}
	for end := false; !end; {
		chunk := rows{header: header}
		end, err = chunk.fill(table)
		if err != nil {
			return hash, err
		}
		if len(chunk.cells) == 0 {
			break
		}
		decoded, err := chunk.decode()
		if err != nil {
			return hash, fmt.Errorf("reading %s: %w", name, err)
		}
		if err := fn(decoded); err != nil {
			return hash, err
		}
	}
	return [sha256.Size]byte(sum.Sum(nil)), nil
}

// checkHeader returns the names of the columns as they are to be. gocsv takes
// no notice of a column that it does not know, and so would send a letter
// without the option that was misspelt.
func checkHeader(name string, line int, header []string) ([]string, error) {
	bad := func(column, format string, args ...any) error {
		return &importer.FileError{Name: name, Line: line, Column: column, Problem: fmt.Sprintf(format, args...)}
	}
	var names []string
	for i, title := range header {
		n := strings.ToLower(strings.TrimSpace(title))
		switch {
		case !importer.IsText(header[i : i+1]):
			return nil, bad("", "the header is not UTF-8: save the manifest as CSV UTF-8")
		case n == "":
			return nil, bad("", "column %d of the header has no name: give it one of %s, or remove it", i+1, strings.Join(columns, ", "))
		case !slices.Contains(columns, n):
			return nil, bad(title, "there is no such column: a manifest has %s", strings.Join(columns, ", "))
		case slices.Contains(names, n):
			return nil, bad(title, "the column stands there twice: remove one")
		}
		names = append(names, n)
	}
	for _, n := range required {
		if !slices.Contains(names, n) {
			return nil, bad(n, "the column is missing: a manifest needs %s", strings.Join(required, ", "))
		}
	}
	return names, nil
}

// rows are some rows of a manifest below its header. It is what gocsv calls a
// decoder.
type rows struct {
	header []string
	cells  [][]string
	about  []manifestRow // line, cells and text of each
}

// fill reads rows until there are enough, or the file ends.
func (c *rows) fill(t *importer.Table) (end bool, err error) {
	for len(c.cells) < chunkRows {
		row, line, err := t.Read()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		about := manifestRow{line: line, text: importer.IsText(row)}
		if len(row) > len(c.header) {
			if strings.TrimSpace(strings.Join(row[len(c.header):], "")) != "" {
				about.cells = len(row)
			}
			row = row[:len(c.header)]
		}
		cells := make([]string, len(row))
		for i, s := range row {
			cells[i] = strings.TrimSpace(s)
		}
		c.cells, c.about = append(c.cells, cells), append(c.about, about)
	}
	return false, nil
}

func (c *rows) GetCSVRows() ([][]string, error) {
	return append([][]string{c.header}, c.cells...), nil
}

func (c *rows) decode() ([]manifestRow, error) {
	var out []manifestRow
	if err := gocsv.UnmarshalDecoder(c, &out); err != nil {
		return nil, err
	}
	for i := range out {
		out[i].line, out[i].cells, out[i].text = c.about[i].line, c.about[i].cells, c.about[i].text
	}
	return out, nil
}

// yes understands a flag; blank is what the schedule says.
func yes(text string, otherwise bool) (value, ok bool) {
	switch strings.ToLower(text) {
	case "":
		return otherwise, true
	case "yes", "1", "true":
		return true, true
	case "no", "0", "false":
		return false, true
	}
	return false, false
}

// sameManifest reports whether two hashes are of the same bytes.
func sameManifest(a, b [sha256.Size]byte) bool { return bytes.Equal(a[:], b[:]) }
