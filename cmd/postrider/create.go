package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

func (m *Main) campaignCreateCommand() *cobra.Command {
	var file, replaces string
	cmd := &cobra.Command{
		Use: "create -f campaign.yaml", Short: "Plan a campaign that stands in a file; nothing is priced or sent",
		Long: "Reads a campaign from a file, loads its audience and plans it. The keys of the file are the flags of\n" +
			"`postrider send`, such as channel, to, from, body and budget. Paths in it start from its own folder.\n" +
			"The draft stays until it is started or cancelled. With --replace it takes the place and the name of a\n" +
			"campaign that has not started: that is how a campaign is edited.",
		Example: "  postrider campaign create -f sale.yaml\n  postrider campaign price sale\n  postrider campaign start sale",
		Args:    exactArgs(0, "no arguments but -f campaign.yaml"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("--file is missing: the campaign, such as -f campaign.yaml")
			}
			return m.campaignCreate(cmd.Context(), file, replaces)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the campaign, as YAML")
	cmd.Flags().StringVar(&replaces, "replace", "", "number or name of a campaign that has not started, and is cancelled")
	return cmd
}

// maxOrder bounds a campaign.yaml in bytes.
const maxOrder = 1 << 20

// readOrder reads a campaign.yaml.
func (m *Main) readOrder(file string) (*jobs.Order, error) {
	info, err := os.Stat(m.path(file))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("there is no file %s", file)
	case err != nil:
		return nil, usagef("%s cannot be read: %v", file, err)
	case info.Size() > maxOrder:
		return nil, usagef("%s is larger than 1 MB: a campaign's file holds the message, not its audience", file)
	}
	text, err := os.ReadFile(m.path(file))
	if err != nil {
		return nil, usagef("%s cannot be read: %v", file, err)
	}
	return jobs.ReadOrder(file, 1, text)
}

func (m *Main) campaignCreate(ctx context.Context, file, replaces string) error {
	order, err := m.readOrder(file)
	if err != nil {
		return err
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	old := &ledger.Campaign{}
	if replaces != "" {
		if old, err = l.FindCampaign(ctx, replaces); err != nil {
			return err
		}
		if !old.Started.IsZero() || old.State.Final() {
			return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: only what has not started can be replaced; nothing was changed", old.ID, old.State)
		}
		order.Name = "" // it is that of the other
	}
	if _, _, err := l.DiscardHalfPlans(ctx); err != nil {
		return err
	}
	provider, done, err := m.pricingProvider(ctx, l)
	if err != nil {
		return err
	}
	defer done()
	preparer := m.preparer(l, provider)
	preparer.Dir = filepath.Dir(m.path(file))
	p, err := preparer.Prepare(ctx, order)
	if err != nil {
		return err
	}
	defer m.discard(ctx, p)
	p.Replaces = old.ID
	if err := m.draft(ctx, p, false); err != nil {
		return err
	}
	if err := p.Keep(ctx); err != nil {
		return err
	}
	if p.Campaign, err = l.Campaign(ctx, p.Campaign.ID); err != nil {
		return err
	}
	if old.ID != 0 {
		m.say("campaign %d is cancelled: this one takes its place", old.ID)
	}
	if m.json {
		return m.showCampaign(ctx, l, p.Campaign.ID, false)
	}
	plan := p.Campaign.Plan
	m.say("campaign %d %q is planned: %s of %s contacts, in %s", p.Campaign.ID, p.Campaign.Name, number(plan.Sendable), number(plan.Total), plural(plan.Batches, "request"))
	m.showSegment(plan.Segment)
	if len(plan.Suppressed) > 0 {
		m.say("  suppressed    %s", suppressedText(plan.Suppressed))
	}
	if a := p.Audience; a.RejectsFile != "" {
		m.say("  dropped rows  %s rejected, %s: see %s", number(a.List.Rejected), plural(a.List.Duplicates, "duplicate"), a.RejectsFile)
	}
	m.say("`postrider campaign price %d` says what it costs", p.Campaign.ID)
	return nil
}

func (m *Main) campaignPriceCommand() *cobra.Command {
	var exact bool
	cmd := &cobra.Command{
		Use: "price ID", Short: "Say what a planned campaign costs; nothing is sent",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.campaignPrice(cmd.Context(), args[0], exact) },
	}
	cmd.Flags().BoolVar(&exact, "exact", false, exactUsage)
	return cmd
}

func (m *Main) campaignPrice(ctx context.Context, ref string, exact bool) error {
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	provider, done, err := m.pricingProvider(ctx, l)
	if err != nil {
		return err
	}
	defer done()
	o, err := m.price(ctx, l, provider, c, exact)
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(offerOf(o))
	}
	m.showOffer(o)
	m.showExamples(o.campaign.Plan)
	m.say("nothing was sent; `postrider campaign start %d` approves it at this price", c.ID)
	return nil
}

// price asks the provider what a campaign that has not started costs.
func (m *Main) price(ctx context.Context, l *ledger.Ledger, provider *jobs.Provider, c *ledger.Campaign, exact bool) (*offer, error) {
	if c.State != campaign.Draft && c.State != campaign.Quoted {
		return nil, campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: only what has not been approved is priced", c.ID, c.State)
	}
	if !c.Kept {
		return nil, campaign.Errorf(campaign.CodeConflict, "campaign %d is being prepared by another command right now, or was left behind by one", c.ID)
	}
	account, err := provider.Account(ctx)
	if err != nil {
		return nil, jobs.Explain(err)
	}
	if err := m.checkAccount(ctx, l, c); err != nil {
		return nil, err
	}
	if c.State == campaign.Quoted {
		if err := l.Unquote(ctx, c.ID, m.who()); err != nil {
			return nil, err
		}
	}
	bar := m.newMeter("pricing", "messages")
	how := m.quoteOptions(c.Channel, exact)
	how.Progress = bar.Report
	quote, err := jobs.MakeQuote(ctx, l, provider, c, how)
	bar.End()
	if err != nil {
		return nil, jobs.Explain(err)
	}
	if c, err = l.Campaign(ctx, c.ID); err != nil {
		return nil, err
	}
	return &offer{
		campaign: c, quote: quote, host: m.hostName(ctx), rate: m.allowedRate(ctx, provider, c), zone: time.Local,
		cancels: allowedCancels(ctx, provider, c.Channel, m.cfg.Rate),
		balance: campaign.Micros(account.Balance), recharge: account.AutoRecharge,
	}, nil
}

func (m *Main) campaignStartCommand() *cobra.Command {
	var yes, wait, exact bool
	cmd := &cobra.Command{
		Use: "start ID", Short: "Approve a planned campaign and send it, now or at its hour",
		Long: "Prices the campaign, shows what it comes to, asks for a yes, and sends it.",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.campaignStart(cmd.Context(), args[0], yes, wait, exact)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the campaign has ended")
	cmd.Flags().BoolVar(&exact, "exact", false, exactUsage)
	return cmd
}

func (m *Main) campaignStart(ctx context.Context, ref string, yes, wait, exact bool) error {
	if !yes && !m.atTerminal() {
		return usagef("there is no terminal to ask for a yes: add --yes once you have seen `postrider campaign price`, nothing was sent")
	}
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := refuseQuarantined(ctx, l); err != nil {
		return err
	}
	provider, done, err := m.pricingProvider(ctx, l)
	if err != nil {
		return err
	}
	o, err := m.price(ctx, l, provider, c, exact)
	done()
	if err != nil {
		return err
	}
	c = o.campaign
	m.showOffer(o)
	if err := affordable(c, o.quote); err != nil {
		return err
	}
	if !c.StartAt.After(time.Now()) || wait { // else this process sends nothing
		if err := m.sayOthers(ctx, l, c.ID); err != nil {
			return err
		}
	}
	if err := m.wantYes(ctx, yes, c, o.quote); err != nil {
		return err
	}
	if err := l.Approve(ctx, c.ID, ledger.Approval{Quote: o.quote.ID, Actor: m.who()}); err != nil {
		return err
	}
	return m.follow(ctx, l, c.ID, wait, time.Local)
}
