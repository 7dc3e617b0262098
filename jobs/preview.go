package jobs

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
)

// PreviewRequest is a file to be understood, and not stored.
type PreviewRequest struct {
	ImportRequest
	First   int    // contacts to keep
	Rejects string // file that dropped rows are listed in; empty: none
}

// Preview is what a file would come to.
type Preview struct {
	Summary     importer.Summary
	First       []campaign.Contact // of the file, as they would be stored
	Dropped     []DroppedRows      // by reason, in the order of the file
	RejectsFile string             // lists every dropped row; empty when none was dropped
}

// DroppedRows are the rows that are dropped for one reason.
type DroppedRows struct {
	Code   string `json:"code"`
	Column string `json:"column,omitempty"` // of the first of them
	Reason string `json:"reason"`           // of the first of them
	Advice string `json:"advice"`           // what to do
	Rows   int    `json:"rows"`
	Lines  []int  `json:"lines"` // the first of them
}

// droppedLines is how many lines are kept of those that are dropped for one
// reason.
const droppedLines = 5

// keeper is a sink that keeps the first contacts only.
type keeper struct {
	most  int
	first []campaign.Contact
}

// Contacts implements importer.Sink.
func (k *keeper) Contacts(_ context.Context, chunk []campaign.Contact) error {
	k.first = append(k.first, chunk[:min(len(chunk), k.most-len(k.first))]...)
	return nil
}

// Preview reads a file to its end as Import would, and stores nothing. With an
// error of the file the preview holds what was understood until then; it is nil
// when nothing was.
func (p *Preparer) Preview(ctx context.Context, r PreviewRequest) (*Preview, error) {
	file, size, err := p.openFile(r.File)
	if err != nil {
		return nil, err
	}
	if c, ok := file.(io.Closer); ok && r.File != Stdin {
		defer c.Close()
	}
	options, err := p.importOptions(ctx, r.ImportRequest)
	if err != nil {
		return nil, err
	}
	out := &Preview{}
	rejects := &rejectsFile{path: r.Rejects}
	at := map[string]int{} // where a code stands in Dropped
	options.Reject = func(j importer.Reject) error {
		if r.Rejects != "" {
			if err := rejects.write(j); err != nil {
				return err
			}
		}
		i, known := at[j.Code]
		if !known {
			i = len(out.Dropped)
			at[j.Code] = i
			if j.First > 0 {
				j.Reason = "the same recipient as an earlier row, which was kept"
			}
			out.Dropped = append(out.Dropped, DroppedRows{Code: j.Code, Column: j.Column, Reason: j.Reason, Advice: j.Advice})
		}
		d := &out.Dropped[i]
		if d.Rows++; len(d.Lines) < droppedLines {
			d.Lines = append(d.Lines, j.Line)
		}
		return nil
	}
	bar := p.meter("reading "+filepath.Base(FileName(r.File)), "rows")
	options.Progress = func(done importer.Progress) { bar.Report(done.Rows, estimate(done, size)) }
	sink := &keeper{most: r.First}
	out.Summary, err = importer.Import(ctx, file, sink, options)
	bar.End()
	err = errors.Join(err, rejects.close())
	out.First, out.RejectsFile = sink.first, rejects.name()
	if out.Summary.Columns == nil {
		out = nil
	}
	return out, err
}
