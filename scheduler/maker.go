package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// Maker is the Runner of Postrider: it makes the campaigns of a run, prices
// them, and starts them when they keep to the budget. A schedule was approved
// by whoever added it.
type Maker struct {
	Ledger   *ledger.Ledger
	Provider *jobs.Provider
	Log      *slog.Logger
	Country  string // of numbers and addresses written without one; may be empty
	// RejectsDir is where rows that an import drops are listed.
	RejectsDir string
}

// actor is who starts the campaigns of a schedule.
func actor(s ledger.Schedule) string { return "schedule " + s.Name }

func (m *Maker) preparer(s ledger.Schedule) *jobs.Preparer {
	return &jobs.Preparer{
		Ledger: m.Ledger, Provider: m.Provider, Log: m.Log, Actor: actor(s), RejectsDir: m.RejectsDir, Country: m.Country,
	}
}

// Run makes what the schedule's source holds into campaigns and starts them.
func (m *Maker) Run(ctx context.Context, s ledger.Schedule, r ledger.Run) (Result, error) {
	d, err := ParseDefinition("schedule "+s.Name, []byte(s.Spec))
	if err != nil {
		return Result{}, err
	}
	started, err := m.takeOver(ctx, s, r)
	if err != nil {
		return Result{}, err
	}
	if d.Source.Kind == SourceOutbox {
		return m.runOutbox(ctx, s, r, d, started)
	}
	if len(started) > 0 {
		return Result{Campaigns: ids(started)}, nil
	}
	o, nothing, err := m.order(s, r, d)
	if err != nil || nothing != "" {
		return Result{Nothing: nothing}, err
	}
	p, err := m.preparer(s).Prepare(ctx, o)
	if err != nil {
		return empty(err)
	}
	defer m.discard(ctx, p)
	if err := p.Draft(ctx, false); err != nil {
		return empty(err)
	}
	if err := p.Price(ctx, jobs.QuoteOptions{}); err != nil {
		return Result{}, err
	}
	if err := affordable(p.Quote, p.Budget); err != nil {
		return Result{}, err
	}
	p.Run = &r
	if err := p.Approve(ctx); err != nil {
		return Result{}, err
	}
	return Result{Campaigns: []int64{p.Campaign.ID}}, nil
}

// Ended does what is left to do when the campaigns of a run have ended.
func (m *Maker) Ended(ctx context.Context, s ledger.Schedule, r ledger.Run, campaigns []*ledger.Campaign) (Ending, error) {
	d, err := ParseDefinition("schedule "+s.Name, []byte(s.Spec))
	if err != nil || d.Source.Kind != SourceOutbox {
		return Ending{}, err
	}
	return m.outboxEnded(ctx, r, d, campaigns)
}

// takeOver looks for what an earlier call has made for the run: campaigns that
// have started are kept, and what had not is removed. A campaign that only has
// the name, and was there before the run, is left alone: the run fails.
func (m *Maker) takeOver(ctx context.Context, s ledger.Schedule, r ledger.Run) (started []*ledger.Campaign, err error) {
	name := CampaignName(s, r)
	for n := 1; ; n++ {
		c, err := m.Ledger.FindCampaign(ctx, numbered(name, n))
		if campaign.ErrorCode(err) == campaign.CodeNotFound {
			return started, nil
		}
		if err != nil {
			return nil, err
		}
		if c.Created.Before(r.Created) {
			return nil, campaign.Errorf(campaign.CodeExists,
				"campaign %d is named %q, as this run's would be, and is older than the run: nothing was sent; `postrider schedule run '%s'` sends under another name", c.ID, c.Name, s.Name)
		}
		switch {
		case c.State == campaign.Draft, c.State == campaign.Quoted, c.State == campaign.Failed && c.Started.IsZero():
			if err := m.Ledger.DiscardUnstarted(ctx, c.ID); err != nil {
				return nil, err
			}
		default:
			started = append(started, c)
		}
	}
}

// numbered names the n-th campaign of a run, from 1.
func numbered(name string, n int) string {
	if n == 1 {
		return name
	}
	return fmt.Sprintf("%s (%d)", name, n)
}

func ids(all []*ledger.Campaign) []int64 {
	out := make([]int64, len(all))
	for i, c := range all {
		out[i] = c.ID
	}
	return out
}

// order is what a run of a list or file asks for, or why there is nothing.
func (m *Maker) order(s ledger.Schedule, r ledger.Run, d *Definition) (*jobs.Order, string, error) {
	o, err := jobs.ReadOrder("schedule "+s.Name, 1, []byte(d.Campaign))
	if err != nil {
		return nil, "", err
	}
	// Runs of one schedule are alike, and each happens once.
	o.Name, o.Again = CampaignName(s, r), true
	if d.Source.Kind == SourceList {
		o.To = "list:" + d.Source.Value
		return o, "", nil
	}
	at, err := RunTime(r)
	if err != nil {
		return nil, "", err
	}
	if o.To, err = d.Source.Path(at); err != nil {
		return nil, "", err
	}
	_, err = os.Stat(o.To)
	if errors.Is(err, fs.ErrNotExist) && d.Source.Missing == MissingNothing {
		return nil, "there is no file " + o.To, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("there is no file %s (yet): write it in time, or set missing: nothing when it may be missing", o.To)
	}
	return o, "", err
}

// empty tells an audience of nobody, which is nothing to send, from an error.
func empty(err error) (Result, error) {
	var nobody *jobs.NobodyError
	if errors.As(err, &nobody) {
		return Result{Nothing: nobody.Error()}, nil
	}
	return Result{}, err
}

// affordable refuses a quote beyond the budget, or of messages that would all
// be refused.
func affordable(q jobs.Quote, budget *campaign.Micros) error {
	refused := 0
	for _, n := range q.Refusals {
		refused += n
	}
	if refused == q.Messages {
		return &refusedError{}
	}
	if needs := q.Total + q.SetAside; budget != nil && needs > *budget {
		return fmt.Errorf("the price of %s %s exceeds the budget of %s: nothing was sent", needs, q.Currency, *budget)
	}
	return nil
}

// refusedError says that all of a campaign would be refused.
type refusedError struct{}

func (*refusedError) Error() string {
	return "the provider would refuse every message: nothing was sent"
}

// discard removes what was prepared and has not started.
func (m *Maker) discard(ctx context.Context, p *jobs.Preparation) {
	if err := p.Discard(ctx); err != nil {
		m.Log.Warn("what a run had prepared could not be removed; it is discarded later", "error", err)
	}
}
