package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/ledger"
)

// ImportRequest is a file that is to become a list.
type ImportRequest struct {
	Name     string // of the list; empty: the audience of one campaign
	File     string // or Stdin
	Country  string // of national numbers; may be empty
	Identity campaign.Identity
	// FileColumn is the column with each recipient's own file; may be empty.
	FileColumn string
	FileReading
	Map        map[string]string // what columns are; see importer.Options
	Header     importer.HeaderMode
	ShowValues bool // in the report of dropped rows
	// Mode is what becomes of a list that has the name already; empty: it must
	// hold the same contacts. A list that is not there is made, whatever it is.
	Mode ledger.Mode
	// Key is the field by which ledger.Updated finds the contact that a row is of,
	// by its name or the header of its column.
	Key string
}

// Audience is a list, and what its import came to when it was a file.
type Audience struct {
	List        *ledger.List
	RejectsFile string // lists every dropped row; empty when none was dropped
	Summary     importer.Summary
	// Counts is what the import came to, though it may have changed nothing.
	Counts  ledger.ListCounts
	Changed bool // there is a new list, or a new version of it
}

// Import reads a file into a list, whole or not at all.
func (p *Preparer) Import(ctx context.Context, r ImportRequest) (*Audience, error) {
	file, size, err := p.openFile(r.File)
	if err != nil {
		return nil, err
	}
	if c, ok := file.(io.Closer); ok && r.File != Stdin {
		defer c.Close()
	}
	if r.Key != "" {
		r.Key = importer.FieldName(r.Key)
	}
	base := filepath.Base(FileName(r.File))
	options, err := p.importOptions(ctx, r)
	if err != nil {
		return nil, err
	}
	in, err := p.intake(ctx, &r)
	if err != nil {
		return nil, err
	}
	rejects := &rejectsFile{path: p.rejectsPath(base)}
	bar := p.meter("importing "+base, "rows")
	if err := in.keepWhoIsThere(ctx, &options); err != nil {
		return nil, err
	}
	options.Seen, options.Reject = in.seen, rejects.write
	options.Progress = func(done importer.Progress) { bar.Report(done.Rows, estimate(done, size)) }
	sum, err := importer.Import(ctx, file, in.sink, options)
	bar.End()
	var done *Audience
	if err == nil {
		done, err = in.finish(ctx, &sum, rejects.write)
	}
	if err = errors.Join(err, rejects.close()); err != nil {
		in.discard(ctx)
		if rejects.file != nil && ctx.Err() == nil && campaign.ErrorCode(err) != campaign.CodeExists {
			return nil, fmt.Errorf("%w; dropped rows, with line and reason: %s", err, rejects.name())
		}
		return nil, err
	}
	done.RejectsFile, done.Summary = rejects.name(), sum
	return done, nil
}

// importOptions is how a file is read, for an import and for its preview.
func (p *Preparer) importOptions(ctx context.Context, r ImportRequest) (importer.Options, error) {
	o := importer.Options{
		Name: filepath.Base(FileName(r.File)), Country: r.Country, Identity: r.Identity, FileColumn: r.FileColumn,
		Encoding: r.Encoding, Delimiter: r.Delimiter, Sheet: r.Sheet, Member: r.Member,
		Map: r.Map, Header: r.Header, ShowValues: r.ShowValues, Key: r.Key,
	}
	if r.Key != "" {
		return o, nil // a row is not all of a contact: intake.update asks of whole ones
	}
	optedOut, err := p.Ledger.OptedOut(ctx)
	o.OptedOut = func(c *campaign.Contact) bool { return optedOut.BarsAtImport(c, r.Identity) }
	return o, err
}

// estimate is how many rows the file will have had, by the bytes read so far.
func estimate(p importer.Progress, size int64) int {
	if p.Bytes == 0 || p.Rows == 0 || size == 0 {
		return 0
	}
	return max(p.Rows, int(float64(p.Rows)*float64(size)/float64(p.Bytes)))
}

// rejectsPath is where dropped rows are listed: that of customers.csv as
// customers.rejects.csv.
func (p *Preparer) rejectsPath(file string) string {
	base := filepath.Base(file)
	return filepath.Join(p.RejectsDir, strings.TrimSuffix(base, filepath.Ext(base))+".rejects.csv")
}

// rejectsFile is the report of dropped rows. It comes into being with the
// first of them; without one, that of an earlier run is removed at the end.
type rejectsFile struct {
	path   string
	file   *os.File
	report *importer.RejectReport
}

func (r *rejectsFile) write(reject importer.Reject) error {
	if r.file == nil {
		f, err := os.OpenFile(r.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("the report of dropped rows cannot be written here: %w", err)
		}
		r.file, r.report = f, importer.NewRejectReport(f)
	}
	return r.report.Write(reject)
}

func (r *rejectsFile) close() error {
	if r.file == nil {
		return r.removeEarlier()
	}
	return errors.Join(r.report.Close(), r.file.Close())
}

// removeEarlier removes the report of an earlier run, which would be taken for
// that of this one. A file that is none is left alone.
func (r *rejectsFile) removeEarlier() error {
	if r.path == "" {
		return nil
	}
	f, err := os.Open(r.path)
	if err != nil {
		return nil // there is none; or it cannot be read, and is none of ours
	}
	is := importer.IsRejectReport(f)
	if err := f.Close(); err != nil || !is {
		return nil
	}
	if err := os.Remove(r.path); err != nil {
		return fmt.Errorf("removing the report of dropped rows of an earlier run: %w", err)
	}
	return nil
}

func (r *rejectsFile) name() string {
	if r.file == nil {
		return ""
	}
	return r.path
}
