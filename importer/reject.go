package importer

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"github.com/gocarina/gocsv"
)

// RejectReport writes the dropped rows of an import as CSV: line, column,
// code, reason, what to do, the line a duplicate repeats, and the value, masked
// unless the import shows values. docs/audiences.md describes the columns.
type RejectReport struct {
	csv     *gocsv.SafeCSVWriter
	rows    []rejectRow
	started bool
}

type rejectRow struct {
	Line   int    `csv:"line"`
	Column string `csv:"column"`
	Code   string `csv:"code"`
	Reason string `csv:"reason"`
	Advice string `csv:"advice"`
	First  string `csv:"first_line"`
	Value  string `csv:"value"`
}

// NewRejectReport writes to w. Close writes what is left.
func NewRejectReport(w io.Writer) *RejectReport {
	return &RejectReport{csv: gocsv.NewSafeCSVWriter(csv.NewWriter(w))}
}

// Write adds a row.
func (r *RejectReport) Write(j Reject) error {
	row := rejectRow{Line: j.Line, Column: plainCell(j.Column), Code: j.Code, Reason: plainCell(j.Reason), Advice: plainCell(j.Advice), Value: plainCell(j.Value)}
	if j.First > 0 {
		row.First = fmt.Sprint(j.First)
	}
	if r.rows = append(r.rows, row); len(r.rows) >= 500 {
		return r.flush()
	}
	return nil
}

// Close writes the rows that wait.
func (r *RejectReport) Close() error { return r.flush() }

func (r *RejectReport) flush() error {
	write := gocsv.MarshalCSVWithoutHeaders
	if !r.started {
		write = gocsv.MarshalCSV
	}
	r.started = true
	if err := write(&r.rows, r.csv); err != nil {
		return fmt.Errorf("writing the report of dropped rows: %w", err)
	}
	r.rows = r.rows[:0]
	r.csv.Flush()
	return r.csv.Error()
}

// IsRejectReport reports whether r begins as a report of dropped rows does.
func IsRejectReport(r io.Reader) bool {
	const header = "line,column,code,reason,advice,first_line,value\n"
	begin := make([]byte, len(header))
	_, err := io.ReadFull(r, begin)
	return err == nil && string(begin) == header
}

// plainCell keeps a spreadsheet from taking a cell for a formula.
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}

// Mask hides the middle of a value: enough to find it in the file, not enough
// to call it.
func Mask(s string) string {
	r := []rune(s)
	if len(r) > 24 {
		r = r[:24]
	}
	if len(r) <= 4 {
		return strings.Repeat("•", len(r))
	}
	keep := min(3, len(r)/4)
	return string(r[:keep]) + strings.Repeat("•", len(r)-2*keep) + string(r[len(r)-keep:])
}
