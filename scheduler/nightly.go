package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/outbox"
)

// outboxReport is what is kept with a run of an outbox. It holds no names,
// addresses or references.
type outboxReport struct {
	Manifests []manifestReport `json:"manifests,omitempty"`
	Waiting   []string         `json:"waiting,omitempty"` // manifests still being written
	Broken    []string         `json:"broken,omitempty"`  // and why
	Unused    int              `json:"unused_files,omitempty"`
	Warnings  []string         `json:"warnings,omitempty"`
}

type manifestReport struct {
	Manifest string `json:"manifest"`
	Rows     int    `json:"rows"`
	Good     int    `json:"good"`
	Bad      int    `json:"bad"`
	Mailed   int    `json:"mailed_before"`
	Repeated int    `json:"repeated"`
	Report   string `json:"report,omitempty"` // base name of the file in the outbox
}

// runOutbox mails what the outbox holds and was never mailed: each distinct
// set of print options is a campaign. Either all of them start or none does,
// but for a crash between, after which the rest is started.
func (m *Maker) runOutbox(ctx context.Context, s ledger.Schedule, r ledger.Run, d *Definition, started []*ledger.Campaign) (Result, error) {
	o, err := jobs.ReadOrder("schedule "+s.Name, 1, []byte(d.Campaign))
	if err != nil {
		return Result{}, err
	}
	country := o.Country
	if country == "" {
		country = m.Country
	}
	box, err := outbox.Read(ctx, d.Source.Value, outbox.Options{
		Country:  country,
		Defaults: outbox.Settings{Colour: o.Colour, Duplex: o.Duplex, Priority: o.Priority, TemplateUsed: o.TemplateUsed, ReturnAddressID: o.ReturnAddress},
		Mailed:   func(refs []string) (map[string]bool, error) { return m.Ledger.Mailed(ctx, r.ID, refs) },
	})
	if err != nil {
		return Result{}, err
	}
	defer box.Close()
	report, err := m.writeReports(ctx, box, r, d)
	if err != nil {
		return Result{}, err
	}
	details, err := json.Marshal(report)
	if err != nil {
		return Result{}, fmt.Errorf("writing the run's report: %w", err)
	}
	if len(box.Groups) == 0 {
		res := Result{Campaigns: ids(started), Report: details}
		if len(started) == 0 {
			res.Nothing = nothingIn(box)
		}
		return res, brokenAlone(box, started)
	}
	campaigns, err := m.mail(ctx, s, r, d, o, box, started)
	return Result{Campaigns: campaigns, Report: details}, err
}

// mail prepares a campaign for each group, and starts them when together they
// keep to the budget.
func (m *Maker) mail(ctx context.Context, s ledger.Schedule, r ledger.Run, d *Definition, o *jobs.Order, box *outbox.Run, started []*ledger.Campaign) ([]int64, error) {
	var left *campaign.Micros // of the budget, for all campaigns of the run
	if o.Budget != "" {
		b, err := jobs.ParseBudget(o.Budget)
		if err != nil {
			return nil, err
		}
		for _, c := range started {
			if c.Budget != nil {
				b -= *c.Budget
			} else {
				b -= c.Quoted
			}
		}
		left = &b
	}
	all := ids(started)
	var total campaign.Micros
	prepared := make([]*jobs.Preparation, 0, len(box.Groups))
	refs := make([][]string, len(box.Groups))
	defer func() {
		for _, p := range prepared {
			m.discard(ctx, p)
		}
	}()
	for i, g := range box.Groups {
		var err error
		if refs[i], err = references(ctx, g); err != nil {
			return all, err
		}
		if err := m.Ledger.ClaimReferences(ctx, r.ID, refs[i]); err != nil {
			return all, err
		}
		p, err := m.prepareGroup(ctx, s, d, o, g, numbered(CampaignName(s, r), len(started)+i+1))
		if p != nil {
			prepared = append(prepared, p)
		}
		if err != nil {
			return all, err
		}
		if err := affordable(p.Quote, nil); err != nil {
			return all, err
		}
		total += p.Quote.Total
	}
	if left != nil && total > *left {
		return all, fmt.Errorf("the letters of this run cost %s %s, which exceeds the budget by %s: nothing was sent", total, prepared[0].Quote.Currency, total-*left)
	}
	for i, p := range prepared {
		if left != nil {
			// Each has an equal share of what the quotes leave: together they never
			// exceed the budget.
			share := (*left - total) / campaign.Micros(len(prepared))
			if err := m.Ledger.SetBudget(ctx, p.Campaign.ID, p.Quote.Total+share, actor(s)); err != nil {
				return all, err
			}
		}
		if err := m.Ledger.BindReferences(ctx, r.ID, p.Campaign.ID, refs[i]); err != nil {
			return all, err
		}
	}
	for _, p := range prepared {
		if err := p.Approve(ctx); err != nil {
			return all, err
		}
		all = append(all, p.Campaign.ID)
	}
	return all, nil
}

// prepareGroup makes the quoted campaign of one group. What is returned is to
// be discarded, though there is an error.
func (m *Maker) prepareGroup(ctx context.Context, s ledger.Schedule, d *Definition, o *jobs.Order, g *outbox.Group, name string) (*jobs.Preparation, error) {
	order := *o
	order.Name, order.Again, order.Budget = name, true, ""
	order.To = filepath.Join(d.Source.Value, "manifest.csv") // the files' paths start there
	order.Files, order.FileColumn = nil, outbox.FileColumn
	order.Colour, order.Duplex, order.Priority, order.TemplateUsed, order.ReturnAddress = g.Colour, g.Duplex, g.Priority, g.TemplateUsed, g.ReturnAddressID
	p, err := m.preparer(s).PrepareAudience(ctx, &order, func(ctx context.Context, c *campaign.Content) (*jobs.Audience, error) {
		w, err := m.Ledger.CreateList(ctx, "", ledger.OutboxSource, c.Identity().String())
		if err != nil {
			return nil, err
		}
		n, err := g.WriteAudience(ctx, w)
		if err != nil {
			return nil, errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
		}
		list, err := w.Finish(ctx, ledger.ListCounts{Rows: n, Imported: n})
		if err != nil {
			return nil, err
		}
		return &jobs.Audience{List: list}, nil
	})
	if err != nil {
		return p, err
	}
	if err := p.Draft(ctx, false); err != nil {
		return p, err
	}
	return p, p.Price(ctx, jobs.QuoteOptions{})
}

// references lists those of a group.
func references(ctx context.Context, g *outbox.Group) ([]string, error) {
	refs := make([]string, 0, g.Rows)
	for c, err := range g.Contacts(ctx) {
		if err != nil {
			return nil, err
		}
		refs = append(refs, c.Reference)
	}
	return refs, nil
}

// nothingIn says why an outbox has nothing to send.
func nothingIn(box *outbox.Run) string {
	var why []string
	if n := len(box.Bad); n > 0 {
		why = append(why, fmt.Sprintf("%d rows cannot be sent, see the report in the outbox", n))
	}
	mailed := 0
	for _, m := range box.Manifests {
		mailed += m.Mailed
	}
	if mailed > 0 {
		why = append(why, fmt.Sprintf("%d letters were mailed before", mailed))
	}
	for _, w := range box.Waiting {
		why = append(why, w.Manifest+" waits: "+w.Reason)
	}
	if len(why) == 0 {
		return "the outbox holds no manifest with rows"
	}
	return strings.Join(why, "; ")
}

// brokenAlone is an error when manifests cannot be read and nothing else is on
// its way: the run is tried again, and somebody told.
func brokenAlone(box *outbox.Run, started []*ledger.Campaign) error {
	if len(box.Broken) == 0 || len(started) > 0 {
		return nil
	}
	errs := make([]error, len(box.Broken))
	for i, b := range box.Broken {
		errs[i] = fmt.Errorf("manifest %s cannot be read: %w", b.Manifest, b.Err)
	}
	return errors.Join(errs...)
}

// writeReports writes what is known so far of each manifest that has rows to
// be sent, or that cannot be.
func (m *Maker) writeReports(ctx context.Context, box *outbox.Run, r ledger.Run, d *Definition) (*outboxReport, error) {
	out := &outboxReport{Unused: len(box.Unused), Warnings: box.Warnings}
	for _, w := range box.Waiting {
		out.Waiting = append(out.Waiting, w.Manifest+": "+w.Reason)
	}
	for _, b := range box.Broken {
		out.Broken = append(out.Broken, b.Manifest+": "+b.Err.Error())
	}
	for _, man := range box.Manifests {
		line := manifestReport{Manifest: man.Name, Rows: man.Rows, Good: man.Good, Bad: man.Bad, Mailed: man.Mailed, Repeated: man.Repeated}
		path := outbox.ReportPath(box.Folder, man.Name, r.DueAt.In(d.Location))
		if man.Good+man.Bad+man.Repeated > 0 || waits(path) {
			rows, err := box.ReportRows(ctx, man)
			if err != nil {
				return nil, err
			}
			if err := outbox.WriteReport(path, rows); err != nil {
				return nil, err
			}
			line.Report = filepath.Base(path)
		}
		out.Manifests = append(out.Manifests, line)
	}
	return out, nil
}

// waits tells whether a report that was written before, by an earlier try, says
// of rows that they are still to be sent.
func waits(path string) bool {
	rows, err := outbox.ReadReport(path)
	return err == nil && slices.ContainsFunc(rows, func(r outbox.ReportRow) bool { return r.Outcome == outbox.OutcomeWaiting })
}

// place is where a letter's row stands.
type place struct {
	manifest string
	line     int
}

// outboxEnded writes the reports anew, now with what became of each letter,
// and lets go of the references of those that were not mailed.
func (m *Maker) outboxEnded(ctx context.Context, r ledger.Run, d *Definition, campaigns []*ledger.Campaign) (Ending, error) {
	var found outboxReport
	if err := json.Unmarshal([]byte(r.Report), &found); err != nil {
		return Ending{}, fmt.Errorf("reading what the run has found: %w", err)
	}
	fates := map[place]outbox.ReportRow{}
	var unmailed []string
	for _, c := range campaigns {
		err := m.Ledger.EachRecipient(ctx, c, func(row *ledger.ReportRow) error {
			k := &row.Contact
			manifest, _ := k.Field(outbox.ManifestColumn)
			file, _ := k.Field(outbox.FileColumn)
			fate := outbox.ReportRow{
				Manifest: strings.Clone(manifest), Line: k.Line, Reference: strings.Clone(k.Reference), File: strings.Clone(file),
				MessageID: strings.Clone(row.ProviderID), Campaign: c.Name, Currency: c.Currency,
			}
			switch row.State {
			case campaign.Accepted, campaign.Delivered, campaign.Undelivered:
				fate.Outcome, fate.Price = outbox.OutcomeSent, row.Charged.String()
			case campaign.Rejected:
				fate.Outcome, fate.Code = outbox.OutcomeRefused, strings.Clone(row.Reason)
			case campaign.RecipientCancelled:
				fate.Outcome = outbox.OutcomeCancelled
			case campaign.Suppressed:
				fate.Outcome, fate.Code = outbox.OutcomeSuppressed, strings.Clone(row.Reason)
			default:
				fate.Outcome = outbox.OutcomeWaiting
			}
			switch row.State {
			case campaign.Rejected, campaign.RecipientCancelled, campaign.Suppressed:
				unmailed = append(unmailed, fate.Reference)
			}
			fates[place{fate.Manifest, fate.Line}] = fate
			return nil
		})
		if err != nil {
			return Ending{}, err
		}
	}
	notes, err := fillReports(r, d, fates)
	if err != nil {
		return Ending{}, err
	}
	for _, b := range found.Broken {
		notes = append(notes, "nothing of a manifest was sent, since it cannot be read: "+b)
	}
	for _, w := range found.Waiting {
		notes = append(notes, "waits: "+w)
	}
	// Whoever mends a refused letter's row may name the reference again.
	return Ending{Note: strings.Join(notes, "; "), Failed: len(found.Broken) > 0}, m.Ledger.FreeReferences(ctx, r.ID, unmailed)
}

// fillReports writes what became of the letters into the reports of their
// manifests. A report that was taken away since is written with what was sent.
func fillReports(r ledger.Run, d *Definition, fates map[place]outbox.ReportRow) (notes []string, err error) {
	manifests := map[string]bool{}
	for at := range fates {
		manifests[at.manifest] = true
	}
	for _, manifest := range slices.Sorted(maps.Keys(manifests)) {
		path := outbox.ReportPath(d.Source.Value, manifest, r.DueAt.In(d.Location))
		rows, err := outbox.ReadReport(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		told, bad := map[place]bool{}, 0
		for i := range rows {
			at := place{rows[i].Manifest, rows[i].Line}
			if fate, ok := fates[at]; ok {
				rows[i], told[at] = fate, true
			}
			if rows[i].Outcome == outbox.OutcomeBadRow {
				bad++
			}
		}
		for at, fate := range fates {
			if at.manifest == manifest && !told[at] {
				rows = append(rows, fate)
			}
		}
		slices.SortStableFunc(rows, func(a, b outbox.ReportRow) int { return cmp.Compare(a.Line, b.Line) })
		if err := outbox.WriteReport(path, rows); err != nil {
			return nil, err
		}
		if bad > 0 {
			notes = append(notes, fmt.Sprintf("%d rows of %s could not be sent, see %s", bad, manifest, filepath.Base(path)))
		}
	}
	return notes, nil
}
