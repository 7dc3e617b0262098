package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/ledger"
)

// OptOutRequest is a file whose rows are to be put on the suppression list.
type OptOutRequest struct {
	File    string // - is In
	In      io.Reader
	Country string // of national numbers and of addresses without one; may be empty
	// Source and Reason of every row. Where they are empty they are those in the
	// columns source and reason, and else the file's base name and nothing.
	Source, Reason string
}

// OptOutImport is what a file of opt-outs came to.
type OptOutImport struct {
	Summary importer.Summary // of the rows
	// Entries is how many numbers and addresses the rows hold, and Added how many
	// of them were not on the list before.
	Entries, Added int
	RejectsFile    string // lists every dropped row; empty when none was dropped
}

// ImportOptOuts puts the rows of a file on the suppression list, whole or not at
// all.
func (p *Preparer) ImportOptOuts(ctx context.Context, r OptOutRequest) (*OptOutImport, error) {
	in, name, size, err := p.openOptOuts(r)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	w, err := p.Ledger.ImportOptOuts(ctx, p.Actor)
	if err != nil {
		return nil, err
	}
	source := r.Source
	if source == "" {
		source = name
	}
	sink := &optOutSink{w: w, named: r.Source != "", source: source, reason: r.Reason}
	rejects := &rejectsFile{path: p.rejectsPath(name)}
	bar := p.meter("importing "+name, "rows")
	sum, err := importer.Import(ctx, in, sink, importer.Options{
		Name: name, Country: r.Country, OptOuts: true,
		Reject: func(j importer.Reject) error {
			if j.Code == importer.CodeDuplicate {
				return nil // nothing is lost with it, and nothing is to be done
			}
			return rejects.write(j)
		},
		Progress: func(done importer.Progress) { bar.Report(done.Rows, estimate(done, size)) },
	})
	bar.End()
	added := 0
	if err = errors.Join(err, rejects.close()); err == nil {
		added, err = w.Finish(ctx)
	}
	if err != nil {
		// The caller's context may have ended; the half import goes all the same.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if aerr := w.Abort(clean); aerr != nil {
			p.Log.Warn("what was read of the opt-outs does not count, and is removed at the next start", "error", aerr)
		}
		if rejects.file != nil && ctx.Err() == nil {
			return nil, fmt.Errorf("%w; dropped rows, with line and reason: %s", err, rejects.name())
		}
		return nil, err
	}
	return &OptOutImport{Summary: sum, Entries: w.Total(), Added: added, RejectsFile: rejects.name()}, nil
}

// openOptOuts opens the file of a request; size is 0 when nobody knows it.
func (p *Preparer) openOptOuts(r OptOutRequest) (in io.ReadCloser, name string, size int64, err error) {
	if r.File == "-" {
		return io.NopCloser(r.In), "stdin", 0, nil
	}
	name = filepath.Base(r.File)
	file, err := os.Open(p.path(r.File))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", 0, campaign.Errorf(campaign.CodeNotFound, "%s: there is no such file (in %s)", r.File, filepath.Dir(p.path(r.File)))
	case err != nil:
		return nil, "", 0, campaign.Errorf(campaign.CodeInvalid, "%s cannot be opened: %v", r.File, err)
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = campaign.Errorf(campaign.CodeInvalid, "%s is a folder: name a file", r.File)
	}
	if err != nil {
		return nil, "", 0, errors.Join(err, file.Close())
	}
	return file, name, info.Size(), nil
}

// optOutSink turns rows into entries.
type optOutSink struct {
	w              *ledger.OptOutWriter
	named          bool // the source was told, and is that of every row
	source, reason string
}

// Contacts implements importer.Sink.
func (s *optOutSink) Contacts(ctx context.Context, chunk []campaign.Contact) error {
	all := make([]ledger.OptOut, 0, len(chunk))
	for i := range chunk {
		c := &chunk[i]
		source, reason := s.source, s.reason
		if own, _ := c.Field("source"); own != "" && !s.named {
			source = own
		}
		if own, _ := c.Field("reason"); own != "" && reason == "" {
			reason = own
		}
		for _, o := range importer.OptOuts(c) {
			all = append(all, ledger.OptOut{OptOut: o, Source: source, Reason: reason})
		}
	}
	return s.w.Add(ctx, all)
}
