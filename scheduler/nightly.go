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
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/outbox"
)

// outboxReport is what is kept with a run of an outbox. It holds no names,
// addresses or references.
type outboxReport struct {
	Manifests []manifestReport `json:"manifests,omitempty"`
	Waiting   []string         `json:"waiting,omitempty"`      // manifests still being written
	Broken    []string         `json:"broken,omitempty"`       // and why
	Unused    int              `json:"unused_files,omitempty"` // that no row names
	// UnusedFiles are the first of them, 20 at most.
	UnusedFiles []string `json:"unused,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
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
	res := Result{Campaigns: ids(started)} // whatever goes wrong, these are the run's
	o, err := jobs.ReadOrder("schedule "+s.Name, 1, []byte(d.Campaign))
	if err != nil {
		return res, err
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
		return res, err
	}
	defer box.Close()
	report, err := m.writeReports(ctx, box, r, d)
	if err != nil {
		return res, err
	}
	if res.Report, err = json.Marshal(report); err != nil {
		return res, fmt.Errorf("writing the run's report: %w", err)
	}
	if len(box.Groups) == 0 {
		if len(started) == 0 {
			res.Nothing = nothingIn(box)
		}
		return res, errors.Join(brokenAlone(box, started), allBad(box, started))
	}
	res.Campaigns, err = m.mail(ctx, s, r, d, o, box, started)
	return res, err
}

// mail prepares a campaign for each group, and starts them when together they
// keep to the budget. A group that cannot be sent is left out, and its rows are
// reported as bad; what is wrong with the account or the budget stops all.
func (m *Maker) mail(ctx context.Context, s ledger.Schedule, r ledger.Run, d *Definition, o *jobs.Order, box *outbox.Run, started []*ledger.Campaign) ([]int64, error) {
	left, err := budgetLeft(o, started)
	if err != nil {
		return ids(started), err
	}
	var (
		ready   []*mailing
		refused []error
		total   campaign.Micros
	)
	defer func() {
		for _, g := range ready {
			m.discard(ctx, g.Preparation)
		}
	}()
	for _, g := range box.Groups {
		p, err := m.prepareMailing(ctx, s, r, d, o, g, numbered(CampaignName(s, r), len(started)+len(ready)+1))
		if err != nil && ofGroup(err) {
			refused = append(refused, err)
			if err := m.leaveOut(ctx, r, d, g, err); err != nil {
				return ids(started), err
			}
			continue
		}
		if err != nil {
			return ids(started), err
		}
		ready = append(ready, p)
		total += p.needs()
	}
	if len(ready) == 0 {
		return ids(started), errors.Join(refused...)
	}
	if left != nil && total > *left {
		return ids(started), fmt.Errorf("the letters of this run cost %s %s, which exceeds the budget by %s: nothing was sent", total, ready[0].Quote.Currency, total-*left)
	}
	for _, p := range ready {
		if left != nil {
			// Together they spend what is left at most.
			own := p.needs() + (*left-total)/campaign.Micros(len(ready))
			if err := m.Ledger.SetBudget(ctx, p.Campaign.ID, own, actor(s)); err != nil {
				return ids(started), err
			}
		}
		if err := m.Ledger.BindReferences(ctx, &r, p.Campaign.ID, p.refs); err != nil {
			return ids(started), err
		}
	}
	all := ids(started)
	for _, p := range ready {
		p.Run = &r
		if err := p.Approve(ctx); err != nil {
			return all, err
		}
		all = append(all, p.Campaign.ID)
	}
	return all, nil
}

// mailing is a group on its way to a campaign.
type mailing struct {
	*jobs.Preparation
	refs []string
}

// needs is the price, and what is set aside for letters that the provider says
// it would refuse: it may take them after all.
func (g *mailing) needs() campaign.Micros { return g.Quote.Total + g.Quote.SetAside }

// budgetLeft is what the campaigns of a run may still be promised; nil: there is
// no budget.
func budgetLeft(o *jobs.Order, started []*ledger.Campaign) (*campaign.Micros, error) {
	if o.Budget == "" {
		return nil, nil
	}
	left, err := jobs.ParseBudget(o.Budget)
	if err != nil {
		return nil, err
	}
	for _, c := range started {
		if c.Budget != nil {
			left -= *c.Budget
		} else {
			left -= c.Quoted
		}
	}
	return &left, nil
}

// prepareMailing claims the references of a group, and makes its quoted
// campaign. Nothing is left of it when there is an error.
func (m *Maker) prepareMailing(ctx context.Context, s ledger.Schedule, r ledger.Run, d *Definition, o *jobs.Order, g *outbox.Group, name string) (*mailing, error) {
	refs, err := references(ctx, g)
	if err != nil {
		return nil, err
	}
	if err := m.Ledger.ClaimReferences(ctx, &r, refs); err != nil {
		return nil, err
	}
	p, err := m.prepareGroup(ctx, s, d, o, g, name)
	if err == nil {
		err = affordable(p.Quote, nil)
	}
	if err != nil {
		m.discard(ctx, p)
		return nil, err
	}
	return &mailing{p, refs}, nil
}

// ofGroup reports whether an error is the fault of one group's rows, files or
// options: the others can be sent without it.
func ofGroup(err error) bool {
	var order *jobs.OrderError
	var refused *refusedError
	if errors.As(err, &order) || errors.As(err, &refused) {
		return true
	}
	switch clicksend.KindOf(err) {
	case clicksend.BadRequest, clicksend.TooLarge, clicksend.Invalid:
		return true
	}
	code := campaign.ErrorCode(err)
	return code == campaign.CodeInvalid || code == campaign.CodeNotFound
}

// leaveOut reports the rows of a group as bad, and lets go of their references.
func (m *Maker) leaveOut(ctx context.Context, r ledger.Run, d *Definition, g *outbox.Group, cause error) error {
	fates := map[place]outbox.ReportRow{}
	var refs []string
	for c, err := range g.Contacts(ctx) {
		if err != nil {
			return err
		}
		manifest, _ := c.Field(outbox.ManifestColumn)
		file, _ := c.Field(outbox.FileColumn)
		fates[place{manifest, c.Line}] = outbox.ReportRow{
			Manifest: manifest, Line: c.Line, Reference: c.Reference, File: file, Outcome: outbox.OutcomeBadRow, Code: "not_sent",
			Reason: "none of the letters with these options could be sent: " + cause.Error(),
		}
		refs = append(refs, c.Reference)
	}
	fillReports(r, d, fates)
	return m.Ledger.FreeReferences(ctx, r.ID, refs)
}

// prepareGroup makes the quoted campaign of one group. What is returned is to
// be discarded, though there is an error.
func (m *Maker) prepareGroup(ctx context.Context, s ledger.Schedule, d *Definition, o *jobs.Order, g *outbox.Group, name string) (*jobs.Preparation, error) {
	order := *o
	order.Name, order.Again, order.Budget = name, true, ""
	order.To = filepath.Join(d.Source.Value, "manifest.csv") // the files' paths start there
	order.Files, order.FileColumn = nil, outbox.FileColumn
	order.Colour, order.Duplex, order.Priority, order.TemplateUsed, order.ReturnAddress = g.Colour, g.Duplex, g.Priority, g.TemplateUsed, g.ReturnAddressID
	preparer := m.preparer(s)
	preparer.Confined = true
	p, err := preparer.PrepareAudience(ctx, &order, func(ctx context.Context, c *campaign.Content) (*jobs.Audience, error) {
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

// counted writes 1 row, 2 rows.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
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
		why = append(why, counted(n, "row")+" cannot be sent, see the report in the outbox")
	}
	mailed := 0
	for _, m := range box.Manifests {
		mailed += m.Mailed
	}
	if mailed > 0 {
		why = append(why, counted(mailed, "letter")+" mailed before")
	}
	for _, w := range box.Waiting {
		why = append(why, w.Manifest+" waits: "+w.Reason)
	}
	if len(why) == 0 {
		why = append(why, "the outbox holds no manifest with rows")
	}
	if n := len(box.Unused); n > 0 {
		why = append(why, counted(n, "file")+" that no row names")
	}
	return strings.Join(why, "; ")
}

// allBad is an error when there are rows and not one can be sent, or ever was:
// something is wrong with the schedule, or with whoever writes the manifests.
func allBad(box *outbox.Run, started []*ledger.Campaign) error {
	for _, m := range box.Manifests {
		if m.Good+m.Mailed+m.Repeated > 0 {
			return nil
		}
	}
	if len(box.Bad) == 0 || len(started) > 0 {
		return nil
	}
	return fmt.Errorf("not one of %s can be sent, see the report in the outbox; the first: %s", counted(len(box.Bad), "row"), box.Bad[0].Code)
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
	out := &outboxReport{Unused: len(box.Unused), UnusedFiles: box.Unused[:min(len(box.Unused), 20)], Warnings: box.Warnings}
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
	if r.Report != "" { // a taker that could not read the outbox any more has none
		if err := json.Unmarshal([]byte(r.Report), &found); err != nil {
			return Ending{}, fmt.Errorf("reading what the run has found: %w", err)
		}
	}
	fates := map[place]outbox.ReportRow{}
	var unmailed []string
	for _, c := range campaigns {
		doubtful, err := m.Ledger.Doubtful(ctx, c.ID)
		if err != nil {
			return Ending{}, err
		}
		err = m.Ledger.EachRecipient(ctx, c, func(row *ledger.ReportRow) error {
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
				if doubtful[row.Recipient] {
					fate.Reason = "an answer about this letter was lost, and it may turn up yet: to mail it all the same, give it another reference"
					break
				}
				unmailed = append(unmailed, fate.Reference)
			}
			fates[place{fate.Manifest, fate.Line}] = fate
			return nil
		})
		if err != nil {
			return Ending{}, err
		}
	}
	notes := fillReports(r, d, fates)
	for _, b := range found.Broken {
		notes = append(notes, "nothing of a manifest was sent, since it cannot be read: "+b)
	}
	for _, w := range found.Waiting {
		notes = append(notes, "waits: "+w)
	}
	if found.Unused > 0 {
		notes = append(notes, counted(found.Unused, "file")+" that no row names, see `postrider schedule history --json`")
	}
	// Whoever mends a refused letter's row may name the reference again.
	return Ending{Note: strings.Join(notes, "; "), Failed: len(found.Broken) > 0}, m.Ledger.FreeReferences(ctx, r.ID, unmailed)
}

// fillReports writes what became of the letters into the reports of their
// manifests, and says what a person should know. A report that was changed since
// stays as it is, and another is written beside it. No trouble with a report
// keeps a run from ending.
func fillReports(r ledger.Run, d *Definition, fates map[place]outbox.ReportRow) (notes []string) {
	manifests := map[string]bool{}
	for at := range fates {
		manifests[at.manifest] = true
	}
	for _, manifest := range slices.Sorted(maps.Keys(manifests)) {
		path := outbox.ReportPath(d.Source.Value, manifest, r.DueAt.In(d.Location))
		rows, err := outbox.ReadReport(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			path = strings.TrimSuffix(path, ".report.csv") + ".anew.report.csv"
			notes = append(notes, fmt.Sprintf("the report of %s was changed by somebody: %s has the letters that were to be sent", manifest, filepath.Base(path)))
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
			notes = append(notes, fmt.Sprintf("the report of %s could not be written: %v; `postrider campaign report` has the same", manifest, err))
			continue
		}
		if bad > 0 {
			notes = append(notes, fmt.Sprintf("%s of %s could not be sent, see %s", counted(bad, "row"), manifest, filepath.Base(path)))
		}
	}
	return notes
}
