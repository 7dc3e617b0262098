package outbox

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gocarina/gocsv"
)

// reportSuffix is what the names of reports end in.
const reportSuffix = ".report.csv"

// Outcomes of rows in a report.
const (
	OutcomeWaiting  = "waiting"        // it will be sent, or its answer is awaited
	OutcomeSent     = "sent"           // the provider accepted it
	OutcomeRefused  = "refused"        // by the provider; its status is the code
	OutcomeBadRow   = "bad row"        // it was never sent; code and reason say why
	OutcomeMailed   = "already mailed" // by an earlier run
	OutcomeRepeated = "repeated"       // another manifest of this run sends the same reference
)

// ReportRow is one line of a report: what became of one row of a manifest.
type ReportRow struct {
	Manifest  string `csv:"manifest"`
	Line      int    `csv:"line"`
	Reference string `csv:"reference"`
	File      string `csv:"file"`
	Outcome   string `csv:"outcome"` // one of the constants above
	Code      string `csv:"code"`    // of a bad row, or the provider's status
	Reason    string `csv:"reason"`
	MessageID string `csv:"message_id"` // the provider's
	Price     string `csv:"price"`      // decimal, as campaign.Micros prints it; empty when not known
	Currency  string `csv:"currency"`
	Campaign  string `csv:"campaign"` // name of the campaign that carried it
}

// ReportPath is where the report of a manifest is written: beside it, with the
// local time in its name, so that no report takes another's place.
func ReportPath(folder, manifest string, at time.Time) string {
	return filepath.Join(folder, fmt.Sprintf("%s.%s%s", manifest, at.Format("2006-01-02T150405"), reportSuffix))
}

// ReportRows are the lines of a manifest's report as far as they are known
// before anything is sent: those that will be are OutcomeWaiting, for the
// caller to fill in by their references. A manifest that was changed since is
// an error with campaign.CodeConflict.
func (r *Run) ReportRows(ctx context.Context, m *Manifest) ([]ReportRow, error) {
	out := make([]ReportRow, 0, m.Rows)
	err := r.each(ctx, m, func(row *manifestRow, v verdict) error {
		line := ReportRow{Manifest: m.Name, Line: row.line, Reference: strings.ToValidUTF8(row.Reference, "�"), File: strings.ToValidUTF8(row.File, "�")}
		switch v.kind {
		case good:
			line.Outcome = OutcomeWaiting
		case bad:
			b := &r.Bad[v.index]
			line.Outcome, line.Code, line.Reason = OutcomeBadRow, b.Code, b.Reason
			if b.Column != "" {
				line.Reason = b.Column + ": " + b.Reason
			}
		case mailed:
			line.Outcome, line.Reason = OutcomeMailed, "a letter with this reference was sent before; a new letter needs a new reference"
		case repeated:
			at := r.places[v.digest]
			other := r.Manifests[at.manifest]
			line.Outcome, line.Reason = OutcomeRepeated, fmt.Sprintf("%s, line %d, sends it", other.Name, other.verdicts[at.row].line)
		}
		out = append(out, line)
		return nil
	})
	return out, err
}

// WriteReport writes a report whole or not at all, in place of one that has the
// same path. Cells are safe to open in a spreadsheet.
func WriteReport(path string, rows []ReportRow) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	werr := writeReport(tmp, rows)
	if werr == nil {
		werr = tmp.Chmod(0o644) // whoever filled the outbox reads it
	}
	if err := errors.Join(werr, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("writing the report: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("writing the report: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

func writeReport(f *os.File, rows []ReportRow) error {
	out := gocsv.NewSafeCSVWriter(csv.NewWriter(f))
	safe := make([]ReportRow, len(rows))
	for i, r := range rows {
		for _, cell := range []*string{&r.Manifest, &r.Reference, &r.File, &r.Outcome, &r.Code, &r.Reason, &r.MessageID, &r.Price, &r.Currency, &r.Campaign} {
			*cell = plain(*cell)
		}
		safe[i] = r
	}
	if err := gocsv.MarshalCSV(&safe, out); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// plain keeps a spreadsheet from taking a cell for a formula: an apostrophe
// goes before it, and before one that stands there already, so that taking one
// off gives the text back.
func plain(s string) string {
	if bare := strings.TrimLeft(s, "'"); bare != "" && strings.ContainsRune("=+-@\t\r\n", rune(bare[0])) {
		return "'" + s
	}
	return s
}
