package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// rescheduling is what `postrider campaign reschedule` was asked for.
type rescheduling struct {
	at     string
	timing jobs.TimingFlags
}

func (m *Main) campaignRescheduleCommand() *cobra.Command {
	var r rescheduling
	cmd := &cobra.Command{
		Use: "reschedule ID", Short: "Move a campaign that has not started to another hour or window",
		Long: "Changes when a campaign starts and when its messages may leave, up to its start. What is not named\n" +
			"stays as it is. Nothing of what is sent, or of its price, changes.",
		Example: "  postrider campaign reschedule sale --at 2026-12-01T09:00:00+11:00\n" +
			"  postrider campaign reschedule sale --window 10:00-16:00 --days mon-fri --window-tz Australia/Sydney",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.campaignReschedule(cmd.Context(), args[0], &r) },
	}
	cmd.Flags().StringVar(&r.at, "at", "", "start at this hour, such as 2026-12-01T09:00:00+11:00")
	r.timing.AddFlags(cmd.Flags())
	return cmd
}

func (m *Main) campaignReschedule(ctx context.Context, ref string, r *rescheduling) error {
	if r.at == "" && !r.timing.HasWindow() && !r.timing.HasLate() {
		return usagef("nothing is to be changed: name --at, --window, --days, --window-tz, --if-late or --late-limit")
	}
	change := ledger.Reschedule{Actor: m.who()}
	zone := time.Local
	if r.at != "" {
		at, err := jobs.ParseAt(r.at, time.Now())
		if err != nil {
			return usagef("--at: %w", err)
		}
		change.StartAt, zone = at, at.Location()
	}
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	if r.timing.HasWindow() || r.timing.HasLate() {
		timing, err := r.timing.Change(c.Timing)
		var wrong *jobs.TimingError
		if errors.As(err, &wrong) {
			return usagef("%w", err)
		}
		if err != nil {
			return err
		}
		change.Timing = &timing
	}
	if err := l.Reschedule(ctx, c.ID, change); err != nil {
		return err
	}
	if c, err = l.Campaign(ctx, c.ID); err != nil {
		return err
	}
	if m.json {
		return m.showCampaign(ctx, l, c.ID, false)
	}
	if c.StartAt.IsZero() {
		m.say("campaign %d starts as soon as it is approved", c.ID)
	} else {
		m.say("campaign %d starts at %s", c.ID, c.StartAt.In(zone).Format(time.RFC3339))
	}
	if c.Timing.Window != nil {
		m.say("  window        %s, %s", c.Timing.Window, clocks(&c.Plan, &c.Timing))
	}
	switch c.State {
	case campaign.Draft, campaign.Quoted:
		m.say("  it is not approved yet: `postrider campaign start %d`", c.ID)
	case campaign.Paused:
		m.say("  it is paused: `postrider campaign resume %d` lets it start then", c.ID)
	}
	return nil
}
