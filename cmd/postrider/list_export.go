package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/spf13/cobra"
	"github.com/xuri/excelize/v2"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/ledger"
)

// exportFormats are the formats of an export, under the extensions of their
// files.
var exportFormats = []string{"csv", "xlsx", "jsonl"}

func (m *Main) listExportCommand() *cobra.Command {
	var out, format string
	cmd := &cobra.Command{
		Use: "export NAME", Short: "Write a list as CSV, Excel workbook or JSON lines",
		Long: "Writes a list as CSV, as an Excel workbook (xlsx) or as JSON lines (jsonl: an object for each\n" +
			"contact, with the names that templates use), to stdout or a file. The format is that of --format,\n" +
			"or of the file's extension, or CSV.\n\n" +
			"In CSV a text that a spreadsheet would take for a formula (it begins with = + - @, tab or carriage\n" +
			"return) bears an apostrophe in front; numbers do not. In a workbook every cell is text. Importing\n" +
			"any of them again gives the same list.",
		Example: "  postrider list export customers -o customers.csv\n  postrider list export customers -o customers.xlsx",
		Args:    exactArgs(1, "the list's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := exportFormat(format, out)
			if err != nil {
				return err
			}
			return m.listExport(cmd.Context(), args[0], out, format)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "-", "file to write; - is stdout")
	cmd.Flags().StringVar(&format, "format", "", "csv, xlsx or jsonl; that of the file's extension when left out")
	return cmd
}

// exportFormat is the format that is asked for, or that of the file's extension.
func exportFormat(asked, out string) (string, error) {
	asked = strings.ToLower(asked)
	if asked != "" && !slices.Contains(exportFormats, asked) {
		return "", usagef("--format %q is none of %s", asked, strings.Join(exportFormats, ", "))
	}
	named := strings.ToLower(strings.TrimPrefix(filepath.Ext(out), "."))
	switch {
	case !slices.Contains(exportFormats, named):
		named = ""
	case asked != "" && asked != named:
		return "", usagef("--format %s and the file's extension .%s are not the same: leave one of them out", asked, named)
	}
	if asked == "" {
		asked = named
	}
	if asked == "" {
		asked = "csv"
	}
	return asked, nil
}

func (m *Main) listExport(ctx context.Context, name, out, format string) error {
	switch {
	case m.json && out == "-":
		return usagef("with --json stdout belongs to its object: name a file with -o")
	case format == "xlsx" && out == "-" && m.atTerminal():
		return usagef("a workbook is nothing for a terminal: name a file with -o")
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	li, err := l.FindList(ctx, name)
	if err != nil {
		return err
	}
	n := 0
	err = m.writeOut(out, func(w io.Writer) error {
		n, err = exportList(ctx, w, l, li, format)
		return err
	})
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(map[string]any{"list": li.Name, "contacts": n, "version": li.Version, "format": format, "file": m.path(out)})
	}
	if out != "-" {
		m.say("%s contacts of list %q written to %s", number(n), li.Name, out)
	}
	return nil
}

// listFile writes a list in one of the formats.
type listFile interface {
	header(names []string) error
	contact(c *campaign.Contact, cells []string) error
	close() error
}

// exportList writes a list and returns how many contacts it has.
func exportList(ctx context.Context, w io.Writer, l *ledger.Ledger, li *ledger.List, format string) (n int, err error) {
	var f listFile
	switch format {
	case "xlsx":
		if f, err = newWorkbook(w, li); err != nil {
			return 0, err
		}
	case "jsonl":
		f = &jsonLines{w: w}
	default:
		f = &csvFile{csv.NewWriter(w)}
	}
	names := append(importer.ExportedColumns(), li.Columns...)
	cells := make([]string, 0, len(names))
	if err = f.header(names); err == nil {
		err = l.EachContact(ctx, li.ID, func(c *campaign.Contact) error {
			a := &c.Address
			country := c.Country
			if a.Line1 != "" {
				country = a.Country // the number says its own
			}
			cells = append(cells[:0], c.Phone, c.Email, c.FirstName, c.LastName, country, c.Reference,
				a.Name, a.Line1, a.Line2, a.City, a.State, a.PostalCode)
			for i := range li.Columns {
				value := ""
				if i < len(c.Fields.Values) {
					value = c.Fields.Values[i]
				}
				cells = append(cells, value)
			}
			n++
			return f.contact(c, cells)
		})
	}
	return n, errors.Join(err, f.close())
}

// csvFile is a list as CSV.
type csvFile struct{ out *csv.Writer }

func (f *csvFile) header(names []string) error { return f.contact(nil, slices.Clone(names)) }

func (f *csvFile) contact(_ *campaign.Contact, cells []string) error {
	for i, s := range cells {
		cells[i] = cell(s)
	}
	return f.out.Write(cells)
}

func (f *csvFile) close() error {
	f.out.Flush()
	return f.out.Error()
}

// jsonLines is a list as JSON, an object and a line for each contact.
type jsonLines struct {
	w     io.Writer
	names []string
	keys  [][]byte // quoted
	buf   []byte
}

func (f *jsonLines) header(names []string) error {
	// What a template names address_country stands on its own here.
	f.names = slices.Insert(slices.Clone(names), len(importer.ExportedColumns()), "address_country")
	for _, name := range f.names {
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		f.keys = append(f.keys, key)
	}
	return nil
}

func (f *jsonLines) contact(c *campaign.Contact, _ []string) error {
	f.buf = f.buf[:0]
	for i, name := range f.names {
		value, _ := c.Field(name)
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		f.buf = append(append(append(append(f.buf, sep), f.keys[i]...), ':'), text...)
	}
	_, err := f.w.Write(append(f.buf, '}', '\n'))
	return err
}

func (f *jsonLines) close() error { return nil }

// workbook is a list as an Excel workbook of one sheet. Every cell is a text, in
// a format that keeps it one when somebody edits it: a phone number keeps its
// plus and a postcode its zeros, and nothing is a formula.
type workbook struct {
	w     io.Writer
	file  *excelize.File
	sheet *excelize.StreamWriter
	text  int // the style
	row   int // that was written last
	cells []any
	ended bool // by an error: there is nothing to write
}

// What a sheet holds at most (support.microsoft.com, "Excel specifications and
// limits").
const (
	sheetRows     = excelize.TotalRows
	sheetColumns  = excelize.MaxColumns
	cellUnits     = excelize.TotalCellChars // UTF-16 units
	sheetTextForm = 49                      // the built-in number format @
)

func newWorkbook(w io.Writer, li *ledger.List) (*workbook, error) {
	columns := len(importer.ExportedColumns()) + len(li.Columns)
	switch {
	case li.Contacts >= sheetRows:
		return nil, campaign.Errorf(campaign.CodeInvalid, "list %q has %s contacts, and a sheet of a workbook holds %s rows, one of them the header: export it as CSV", li.Name, number(li.Contacts), number(sheetRows))
	case columns > sheetColumns:
		return nil, campaign.Errorf(campaign.CodeInvalid, "list %q has %s columns, and a sheet of a workbook holds %s: export it as CSV", li.Name, number(columns), number(sheetColumns))
	}
	f := &workbook{w: w, file: excelize.NewFile()}
	err := f.file.SetSheetName("Sheet1", "Contacts")
	if err == nil {
		f.text, err = f.file.NewStyle(&excelize.Style{NumFmt: sheetTextForm})
	}
	if err == nil {
		f.sheet, err = f.file.NewStreamWriter("Contacts")
	}
	if err == nil {
		err = f.sheet.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("writing the workbook: %w", err), f.file.Close())
	}
	return f, nil
}

func (f *workbook) header(names []string) error { return f.contact(nil, names) }

func (f *workbook) contact(_ *campaign.Contact, cells []string) error {
	f.row++
	f.cells = f.cells[:0]
	for i, s := range cells {
		if s == "" {
			f.cells = append(f.cells, nil)
			continue
		}
		if err := fits(s); err != nil {
			f.ended = true
			column, _ := excelize.ColumnNumberToName(i + 1)
			return campaign.Errorf(campaign.CodeInvalid, "the text for cell %s%d of the workbook %v: export the list as CSV", column, f.row, err)
		}
		if s[0] == '\'' {
			s = cell(s) // one apostrophe is taken off when the file is imported
		}
		f.cells = append(f.cells, excelize.Cell{StyleID: f.text, Value: s})
	}
	at, err := excelize.CoordinatesToCellName(1, f.row)
	if err == nil {
		err = f.sheet.SetRow(at, f.cells)
	}
	if err != nil {
		f.ended = true
		return fmt.Errorf("writing the workbook: %w", err)
	}
	return nil
}

// fits says why a text cannot stand in a cell of a workbook.
func fits(s string) error {
	if len(s) > cellUnits {
		units := 0
		for _, r := range s {
			units += utf16.RuneLen(r)
		}
		if units > cellUnits {
			return fmt.Errorf("is longer than the %s characters that a cell holds", number(cellUnits))
		}
	}
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return fmt.Errorf("holds the character U+%04X, which no workbook can hold", r)
		}
	}
	return nil
}

func (f *workbook) close() error {
	if f.ended {
		return f.file.Close()
	}
	err := f.sheet.Flush()
	if err == nil {
		err = f.file.Write(f.w)
	}
	if err != nil {
		err = fmt.Errorf("writing the workbook: %w", err)
	}
	return errors.Join(err, f.file.Close())
}

// cell makes a text safe to open in a spreadsheet: what would be taken for a
// formula gets an apostrophe in front, and so does such a text that bears one
// already, so that taking one off gives the text back. Numbers, with their sign
// and phone numbers with their plus, stay as they are.
func cell(s string) string {
	if !importer.IsFormula(s) || isNumber(s) {
		return s
	}
	return "'" + s
}

// isNumber reports whether s is a sign, digits and at most one decimal point:
// nothing that a spreadsheet could reckon with.
func isNumber(s string) bool {
	s = strings.TrimLeft(s[:1], "+-") + s[1:]
	digits, points := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			points++
		default:
			return false
		}
	}
	return digits > 0 && points <= 1
}

// writeOut hands fn a writer to stdout when path is "-", else to a file, which
// is there whole or, after an error, as it was before. Only its owner may read
// it.
func (m *Main) writeOut(path string, fn func(io.Writer) error) error {
	if path == "-" {
		w := bufio.NewWriterSize(m.Stdout, 1<<16)
		return errors.Join(fn(w), w.Flush())
	}
	path = m.path(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return usagef("%s is a folder: name a file in it", path)
	} else if err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // a pipe or a device
		if err != nil {
			return fmt.Errorf("the file cannot be written: %w", err)
		}
		w := bufio.NewWriterSize(f, 1<<16)
		return errors.Join(fn(w), w.Flush(), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".postrider-*.tmp")
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("%s cannot be written: there is no such folder", path)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	w := bufio.NewWriterSize(f, 1<<16)
	err = errors.Join(fn(w), w.Flush(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s was not written: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}
