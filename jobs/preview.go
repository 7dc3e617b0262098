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
	First int // contacts to keep
	// For counts the contacts that a campaign on this channel, which sends to no
	// fixed lines, would not be sent to; empty: they are not counted.
	For     campaign.Channel
	Rejects string // file that dropped rows are listed in; empty: none
}

// Preview is what a file would come to.
type Preview struct {
	Summary     importer.Summary
	First       []campaign.Contact // of the file, as they would be stored
	Dropped     []DroppedRows      // by reason, in the order of the file
	NotSent     []NotSent          // of the contacts that would be imported; with For
	RejectsFile string             // lists every dropped row; empty when none was dropped
}

// NotSent is contacts that are imported, and that a campaign suppresses.
type NotSent struct {
	Reason   string `json:"reason"` // campaign.ReasonFixedLine, ...
	Contacts int    `json:"contacts"`
	Lines    []int  `json:"lines"` // of the file, the first of them
}

// DroppedRows are the rows that are dropped for one reason.
type DroppedRows struct {
	Code   string `json:"code"`
	Column string `json:"column,omitempty"` // whose cell is at fault; empty when the whole row is
	Reason string `json:"reason"`
	Advice string `json:"advice"` // what to do
	Rows   int    `json:"rows"`
	Lines  []int  `json:"lines"` // the first of them
}

// droppedFor is what rows of one DroppedRows have in common.
type droppedFor struct{ code, column, reason, advice string }

// mostReasons is how many reasons are told apart: some name a number of cells
// or what is missing of an address, and every row may have its own. Behind them
// the rows of a code are one more.
const mostReasons = 50

// droppedLines is how many lines are kept of those that are dropped for one
// reason.
const droppedLines = 5

// keeper is a sink that keeps the first contacts only, and asks of all of them
// whether they would be sent to.
type keeper struct {
	most    int
	first   []campaign.Contact
	content campaign.Content // without a channel nothing is asked
	options campaign.PlanOptions
	notSent []NotSent      // by reason, in the order of the file
	at      map[string]int // where a reason stands in it
}

// Contacts implements importer.Sink.
func (k *keeper) Contacts(_ context.Context, chunk []campaign.Contact) error {
	k.first = append(k.first, chunk[:min(len(chunk), k.most-len(k.first))]...)
	if k.content.Channel == "" {
		return nil
	}
	for i := range chunk {
		if reason := k.options.Suppresses(&k.content, &chunk[i]); reason != "" {
			k.count(reason, chunk[i].Line)
		}
	}
	return nil
}

func (k *keeper) count(reason string, line int) {
	i, known := k.at[reason]
	if !known {
		i = len(k.notSent)
		k.at[reason] = i
		k.notSent = append(k.notSent, NotSent{Reason: reason})
	}
	n := &k.notSent[i]
	if n.Contacts++; len(n.Lines) < droppedLines {
		n.Lines = append(n.Lines, line)
	}
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
	at := map[droppedFor]int{} // where a reason stands in Dropped
	options.Reject = func(j importer.Reject) error {
		if r.Rejects != "" {
			if err := rejects.write(j); err != nil {
				return err
			}
		}
		if j.First > 0 {
			j.Reason = "the same recipient as an earlier row, which was kept"
		}
		reason := droppedFor{j.Code, j.Column, j.Reason, j.Advice}
		if len(at) >= mostReasons {
			if _, known := at[reason]; !known {
				reason = droppedFor{code: j.Code, reason: "other reasons", advice: "see the report of --rejects"}
				j.Column, j.Reason, j.Advice = "", reason.reason, reason.advice
			}
		}
		i, known := at[reason]
		if !known {
			i = len(out.Dropped)
			at[reason] = i
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
	optedOut, err := p.Ledger.OptedOut(ctx)
	if err != nil {
		return nil, err
	}
	sink := &keeper{
		most: r.First, content: campaign.Content{Channel: r.For}, at: map[string]int{},
		options: campaign.PlanOptions{TakesMessages: takesMessages, OptedOut: func(c *campaign.Contact) bool { return optedOut.Bars(c, r.For) }},
	}
	out.Summary, err = importer.Import(ctx, file, sink, options)
	bar.End()
	err = errors.Join(err, rejects.close())
	out.First, out.NotSent, out.RejectsFile = sink.first, sink.notSent, rejects.name()
	if out.Summary.Columns == nil {
		out = nil
	}
	return out, err
}
