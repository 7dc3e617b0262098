package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
)

func (m *Main) campaignUnknownCommand() *cobra.Command {
	var (
		assume  string
		attempt int64
		yes     bool
	)
	cmd := &cobra.Command{
		Use: "unknown ID", Short: "Show whose answer was lost, and decide by hand where history cannot tell",
		Long: "Shows the attempts of a campaign whose answer was lost, when the provider's history is read for\n" +
			"them next, and why it did not tell before. They are found out by themselves; where that is not\n" +
			"possible, --assume decides: `sent` makes the recipients accepted, at the price that was quoted;\n" +
			"`not-sent` lets them be sent to again. A wrong `not-sent` sends a message twice. Who decided is\n" +
			"kept with the campaign.",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case assume == "" && (attempt != 0 || yes):
				return usagef("--attempt and --yes belong to --assume")
			case assume == "":
				return m.campaignUnknown(cmd.Context(), args[0])
			case assume != "sent" && assume != "not-sent":
				return usagef("--assume: %q is neither sent nor not-sent", assume)
			case attempt < 0:
				return usagef("--attempt: %d is no attempt's number", attempt)
			}
			return m.campaignAssume(cmd.Context(), args[0], attempt, assume == "sent", yes)
		},
	}
	cmd.Flags().StringVar(&assume, "assume", "", "decide by hand: sent or not-sent")
	cmd.Flags().Int64Var(&attempt, "attempt", 0, "with --assume: only this attempt (default all)")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --assume: do not ask")
	return cmd
}

// unknownJSON is what `campaign unknown --json` prints.
type unknownJSON struct {
	ID       int64                   `json:"id"`
	Name     string                  `json:"name"`
	Unknown  int                     `json:"unknown"` // recipients
	Attempts []ledger.UnknownAttempt `json:"attempts"`
	// Stopped is why nothing is sent again on the channel; empty when it is.
	Stopped string `json:"stopped,omitempty"`
}

func (m *Main) campaignUnknown(ctx context.Context, ref string) error {
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	n, err := l.Counts(ctx, c.ID)
	if err != nil {
		return err
	}
	all, err := l.UnknownAttempts(ctx, c.ID, m.cfg.Settle)
	if err != nil {
		return err
	}
	stopped, err := l.Stopped(ctx, c)
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(unknownJSON{ID: c.ID, Name: c.Name, Unknown: n.Unknown, Attempts: append([]ledger.UnknownAttempt{}, all...), Stopped: stopped})
	}
	if stopped != "" {
		m.say("nothing is sent again on %s: %s", c.Channel, stopped)
	}
	if len(all) == 0 {
		m.say("campaign %d %q: nobody is unknown", c.ID, printable(c.Name))
		return nil
	}
	now, err := l.Now(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"ATTEMPT", "BATCH", "SENT AT", "RECIPIENTS", "LOOKS", "NEXT LOOK", "WHY"}}
	problem := ""
	for _, u := range all {
		next := "now"
		if wait := u.NextLook.Sub(now).Round(time.Second); wait > 0 {
			next = "in " + wait.String()
		}
		rows = append(rows, []string{
			strconv.FormatInt(u.Attempt, 10), strconv.FormatInt(u.Batch, 10), u.Started.Local().Format("2006-01-02 15:04:05 -07:00"),
			number(u.Members), strconv.Itoa(u.Looks), next, why(u.Note),
		})
		problem = u.Problem
	}
	if err := m.table(rows); err != nil {
		return err
	}
	if problem != "" {
		m.say("the last look did not tell: %s", printable(problem))
	}
	m.say("decide by hand with `postrider campaign unknown %d --assume sent` (or not-sent), if you know better than the provider's history", c.ID)
	return m.sayIfIdle(l)
}

// why is the note of an attempt that is unknown; it has none when it was
// answered, and only single rows were lacking.
func why(note string) string {
	if note == "" {
		return "the answer lacks these recipients, or does not say what became of them"
	}
	return printable(note)
}

func (m *Main) campaignAssume(ctx context.Context, ref string, attempt int64, sent, yes bool) error {
	if !yes && !m.atTerminal() {
		return usagef("there is no terminal to ask for a yes: add --yes to decide")
	}
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	if !sent {
		if err := refuseQuarantined(ctx, l); err != nil {
			return err
		}
	}
	n, err := l.Counts(ctx, c.ID)
	if err != nil {
		return err
	}
	if n.Unknown == 0 {
		return campaign.Errorf(campaign.CodeConflict, "nobody of campaign %d is unknown: there is nothing to decide", c.ID)
	}
	what := "count as accepted, at the price that was quoted"
	if !sent {
		what = "are sent to again: whoever did get the message gets it twice"
	}
	who := fmt.Sprintf("up to %s unknown recipients", number(n.Unknown))
	if attempt != 0 {
		who = fmt.Sprintf("the unknown recipients of attempt %d", attempt)
	}
	fmt.Fprintf(m.Stderr, "campaign %d %q: %s %s\n", c.ID, printable(c.Name), who, what)
	if !yes {
		ok, err := m.ask(ctx, "Decide so?")
		if err != nil {
			return err
		}
		if !ok {
			return stopf("nothing was decided: nobody said yes")
		}
	}
	if _, err := l.Assume(ctx, c.ID, attempt, sent, m.who()); err != nil {
		return err
	}
	return m.sayChanged(ctx, l, c.ID, "")
}

func (m *Main) campaignRetryCommand() *cobra.Command {
	var (
		code      string
		wait, yes bool
	)
	cmd := &cobra.Command{
		Use: "retry ID --code CODE", Short: "Send again to recipients who were refused with a code",
		Long: "Makes recipients pending again whom the provider had refused for good with a code, such as\n" +
			"COUNTRY_NOT_ENABLED once the country is enabled, and lets a completed campaign go on. They are\n" +
			"priced as they were quoted, and stay within the campaign's budget.",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if code == "" {
				return usagef("--code says which refusals to try again, such as COUNTRY_NOT_ENABLED: `postrider campaign report %s` counts them", args[0])
			}
			return m.campaignRetry(cmd.Context(), args[0], code, wait, yes)
		},
	}
	cmd.Flags().StringVar(&code, "code", "", "the provider's code, as the report writes it")
	cmd.Flags().BoolVar(&wait, "wait", false, "send it here if nobody else does, and wait until it has ended")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (m *Main) campaignRetry(ctx context.Context, ref, code string, wait, yes bool) error {
	if !yes && !m.atTerminal() {
		return usagef("there is no terminal to ask for a yes: add --yes to send again")
	}
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := refuseQuarantined(ctx, l); err != nil {
		return err
	}
	if err := m.checkAccount(ctx, l, c); err != nil {
		return err
	}
	reasons, err := l.CountReasons(ctx, c.ID)
	if err != nil {
		return err
	}
	if n := reasons[campaign.Rejected][code]; n > 0 && !yes {
		fmt.Fprintf(m.Stderr, "campaign %d %q: %s who were refused with %s are sent to again\n", c.ID, printable(c.Name), plural(n, "recipient"), code)
		ok, err := m.ask(ctx, "Send?")
		if err != nil {
			return err
		}
		if !ok {
			return stopf("nothing was changed: nobody said yes")
		}
	}
	n, err := l.RetryRejected(ctx, c.ID, code, m.who())
	if err != nil {
		return err
	}
	if !m.json {
		m.say("%s wait to be sent to again", plural(n, "recipient"))
	}
	if wait {
		if err := m.sayOthers(ctx, l, c.ID); err != nil {
			return err
		}
		return m.follow(ctx, l, c.ID, true, time.Local)
	}
	if err := m.sayChanged(ctx, l, c.ID, ""); err != nil || m.json {
		return err
	}
	return m.sayIfIdle(l)
}
