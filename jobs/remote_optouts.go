package jobs

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/importer"
)

// PulledOptOuts is what the provider's opt-out list came to.
type PulledOptOuts struct {
	Remote  clicksend.ContactList
	Summary importer.Summary // of its contacts
	// Entries is how many numbers and e-mail addresses the contacts have, and
	// Added how many of them were not on the suppression list before.
	Entries, Added int
	RejectsFile    string // lists every contact that has neither; empty when there is none
	Resumed        int    // pages that an earlier pull had read
}

// PullOptOuts puts everybody on one of the provider's lists on the suppression
// list, whole or not at all: by number and by e-mail address, of which a contact
// may have both. A street address that it has is not barred, since a STOP by SMS
// says nothing of letters.
func (r *Remote) PullOptOuts(ctx context.Context, list int64, country, reason string) (out *PulledOptOuts, err error) {
	account, err := r.identity(ctx)
	if err != nil {
		return nil, Explain(err)
	}
	li, err := r.List(ctx, list)
	if err != nil {
		return nil, err
	}
	out = &PulledOptOuts{Remote: *li}
	s, err := r.openSpool(account, list)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(err == nil)) }()
	// An opt-out that has gone meanwhile, or that one reading has missed, is rather
	// one too many than one too few.
	s.all = true
	if out.Resumed, err = r.fill(ctx, s, list); err != nil || len(s.reading.last) == 0 {
		return out, err
	}
	w, err := r.Ledger.ImportOptOuts(ctx, r.Actor)
	if err != nil {
		return nil, err
	}
	source := fmt.Sprintf("remote list %d", list)
	sink := &optOutSink{w: w, named: true, source: source, reason: reason}
	rejects := &rejectsFile{path: filepath.Join(r.RejectsDir, fmt.Sprintf("remote-list-%d.rejects.csv", list))}
	bar := r.meter("importing "+source, "contacts")
	out.Summary, err = s.into(ctx, sink, importer.Options{
		Name: source, Country: country, OptOuts: true,
		Reject: func(j importer.Reject) error {
			if j.Code == importer.CodeDuplicate {
				return nil // nothing is lost with it, and nothing is to be done
			}
			return rejects.write(s.named(j))
		},
		Progress: func(done importer.Progress) { bar.Report(done.Rows, int(s.reading.total)) },
	}, func(column string) bool {
		// The last keeps a contact that has neither number nor e-mail from being an
		// empty row, which is passed over in silence.
		return column == "email" || column == "country" || column == remoteIDColumn
	})
	bar.End()
	if err = errors.Join(err, rejects.close()); err == nil {
		out.Added, err = w.Finish(ctx)
	}
	if err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if aerr := w.Abort(clean); aerr != nil {
			r.Log.Warn("what was read of the opt-outs does not count, and is removed at the next start", "error", aerr)
		}
		return nil, err
	}
	out.Entries, out.RejectsFile = w.Total(), rejects.name()
	return out, nil
}
