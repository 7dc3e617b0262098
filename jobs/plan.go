package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/document"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/segment"
)

// Progress tells how far a long step is; total is 0 when nobody knows.
type Progress func(done, total int)

// PlanOptions says how a draft is planned.
type PlanOptions struct {
	// Unique says that the audience was imported without two rows for the same
	// recipient of this channel, so that no duplicate need be looked for.
	Unique bool
	// Segment takes the contacts that are planned; nil: all are.
	Segment *segment.Selector
	// FileDir is the folder that paths in the content's file column start from.
	FileDir string
	// Confined: no such path leads out of FileDir, through no link either.
	Confined bool
	Progress Progress
}

// Plan turns the audience of a draft into batches in the ledger. Rows that
// cannot be sent are an error of kind *campaign.PlanError, and the draft is to
// be discarded.
func Plan(ctx context.Context, l *ledger.Ledger, c *ledger.Campaign, limits campaign.Limits, o PlanOptions) (campaign.PlanSummary, error) {
	var none campaign.PlanSummary
	list, err := l.List(ctx, c.ListID)
	if err != nil {
		return none, err
	}
	renderer, err := campaign.NewRenderer(&c.Content, limits)
	if err != nil {
		return none, err
	}
	optedOut, err := l.OptedOut(ctx)
	if err != nil {
		return none, err
	}
	var root *os.Root
	if o.Confined {
		if root, err = os.OpenRoot(o.FileDir); err != nil {
			return none, fmt.Errorf("opening the folder of the letters: %w", err)
		}
		defer root.Close()
	}
	w := l.Plan(c)
	opts := campaign.PlanOptions{
		Emit:          func(b campaign.PlannedBatch) error { return w.Batch(ctx, b) },
		Examples:      campaign.DefaultExamples,
		OptedOut:      func(k *campaign.Contact) bool { return optedOut.Bars(k, c.Channel) },
		TakesMessages: takesMessages,
		Resolve: func(path string) (campaign.File, error) {
			return storeFile(ctx, l, c.Channel, root, o.FileDir, path)
		},
	}
	if c.Timing.Window != nil && c.Timing.ByRecipient {
		opts.Zone = new(campaign.ZoneFinder).Zone
	}
	if !o.Unique {
		opts.Seen = campaign.NewSeen()
	}
	planner := campaign.NewPlanner(renderer, opts)
	done := 0
	err = eachContact(ctx, l, c.ListID, func(k *campaign.Contact) error {
		if done++; o.Progress != nil && done%1000 == 0 {
			o.Progress(done, list.Contacts)
		}
		if o.Segment != nil && !o.Segment.Take(k) {
			return nil
		}
		return planner.Add(k)
	})
	if err != nil {
		return none, fmt.Errorf("planning: %w", err)
	}
	sum, err := planner.Close()
	if err != nil {
		return none, err
	}
	sum.Limits = limits
	if o.Segment != nil {
		selection := o.Segment.Selection()
		sum.Segment = &selection
		sum.Warnings = append(notes(o.Segment, &c.Content), sum.Warnings...)
	}
	if o.Progress != nil {
		o.Progress(done, list.Contacts)
	}
	return sum, w.Finish(ctx, sum)
}

// eachContact reads a list in one goroutine while fn plans and writes in
// another.
func eachContact(ctx context.Context, l *ledger.Ledger, list int64, fn func(*campaign.Contact) error) error {
	const stretch = 2000
	g, ctx := errgroup.WithContext(ctx)
	full := make(chan []campaign.Contact, 4)
	empty := make(chan []campaign.Contact, 6)
	g.Go(func() error {
		defer close(full)
		var part []campaign.Contact
		hand := func() error {
			select {
			case full <- part:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case part = <-empty:
			default:
				part = make([]campaign.Contact, 0, stretch)
			}
			return nil
		}
		err := l.EachContact(ctx, list, func(k *campaign.Contact) error {
			if part = append(part, *k); len(part) < stretch {
				return nil
			}
			return hand()
		})
		if err != nil || len(part) == 0 {
			return err
		}
		return hand()
	})
	g.Go(func() error {
		for part := range full {
			for i := range part {
				if err := fn(&part[i]); err != nil {
					return err
				}
			}
			select {
			case empty <- part[:0]:
			default:
			}
		}
		return nil
	})
	return g.Wait()
}

// ReadFile reads a file that is to be sent on a channel, looks into it and
// stores it in the ledger. What cannot be sent is a *document.Fault, or another
// error with CodeInvalid or CodeNotFound. The path may be that of a foreign
// file, http:// or https://, which the provider fetches itself and nobody looks
// into.
func ReadFile(ctx context.Context, l *ledger.Ledger, ch campaign.Channel, path string) (campaign.File, error) {
	return storeFile(ctx, l, ch, nil, "", path)
}

// storeFile stores a file that is to be sent. A root, when there is one, is the
// folder that it may not lie outside of, through no link either.
func storeFile(ctx context.Context, l *ledger.Ledger, ch campaign.Channel, root *os.Root, dir, path string) (campaign.File, error) {
	if strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") {
		return campaign.File{URL: path, Name: filepath.Base(path)}, nil
	}
	named := path
	open := os.Open
	if root != nil {
		open = root.Open
	} else if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	file, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return campaign.File{}, campaign.Errorf(campaign.CodeNotFound, "there is no file %s", named)
	}
	if err != nil && root != nil {
		return campaign.File{}, campaign.Errorf(campaign.CodeInvalid, "%s cannot be opened inside its folder", named)
	}
	if err != nil {
		return campaign.File{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return campaign.File{}, err
	}
	switch {
	case info.IsDir():
		return campaign.File{}, campaign.Errorf(campaign.CodeInvalid, "%s is a folder, not a file", filepath.Base(path))
	case info.Size() > document.MaxSize:
		return campaign.File{}, campaign.Errorf(campaign.CodeInvalid, "%s is larger than %d MB, the most that is sent", filepath.Base(path), document.MaxSize>>20)
	}
	content, err := io.ReadAll(io.LimitReader(file, document.MaxSize+1))
	if err != nil {
		return campaign.File{}, err
	}
	sum := sha256.Sum256(content)
	known, stored, err := l.FindFile(ctx, hex.EncodeToString(sum[:]))
	if err != nil {
		return campaign.File{}, err
	}
	// Nobody looks twice into a PDF that was found good for this. What stands in
	// the ledger can only spare the look: a bad file's fault is told anew.
	if stored && known.Pages > 0 && (ch != campaign.Letter || known.PageSize == document.LetterSize) {
		known.Name = filepath.Base(path)
		return known, nil
	}
	checked, err := document.Check(ch, path, content)
	if err != nil {
		return campaign.File{}, err
	}
	return l.StoreChecked(ctx, checked.File(path), content)
}

// KeepPlanning shows the ledger that somebody still works on a campaign that
// has not started, until it is stopped. What nobody works on is discarded.
func KeepPlanning(ctx context.Context, l *ledger.Ledger, id int64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				// Should it fail, the next chunk of the plan says why.
				_ = l.KeepPlanning(ctx, id)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// takesMessages reports whether messages reach a number, by its kind.
func takesMessages(phone string) bool { return importer.NumberKind(phone).TakesMessages() }
