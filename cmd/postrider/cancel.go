package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

// cancelRequest is what `postrider campaign cancel` was asked for.
type cancelRequest struct {
	reason    string
	yes       bool
	wait      bool
	to        string // the number of one recipient
	country   string // of that number
	recipient int64  // one recipient
}

func (m *Main) campaignCancelCommand() *cobra.Command {
	var r cancelRequest
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "End a campaign for good: what has not left never will",
		Long: "Ends a campaign for good. Whoever is pending is cancelled at once. What the provider holds for its\n" +
			"hour (--hold-at provider) is cancelled there, message by message, and refunded; who was too late is\n" +
			"named in the report. Whoever is in flight or unknown is found out first. A process that sends must run\n" +
			"for that, or --wait does it here: then the exit code is 0 when everybody was cancelled in time, 3 when\n" +
			"some were too late.\n\n" +
			"With --to or --recipient only one recipient is cancelled, and the campaign goes on.",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			one := r.to != "" || cmd.Flags().Changed("recipient")
			switch {
			case r.to != "" && cmd.Flags().Changed("recipient"):
				return usagef("--to and --recipient both name one recipient: choose one")
			case one && r.wait:
				return usagef("--wait waits for a whole campaign: leave it out")
			case one && r.reason != "":
				return usagef("--reason is kept with a whole campaign: leave it out")
			case r.country != "" && r.to == "":
				return usagef("--country belongs to --to")
			case cmd.Flags().Changed("recipient") && r.recipient <= 0:
				return usagef("--recipient: %d is no recipient's number: `postrider campaign report %s --csv FILE` has them", r.recipient, args[0])
			case one:
				return m.cancelOne(cmd.Context(), args[0], &r)
			}
			return m.campaignCancel(cmd.Context(), args[0], &r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.reason, "reason", "", "why; it is kept with the campaign")
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	f.BoolVar(&r.wait, "wait", false, "cancel here if nobody else does, and wait until it is done")
	f.StringVar(&r.to, "to", "", "cancel only the recipient with this number, such as +61412345678 (sms, mms)")
	f.StringVar(&r.country, "country", "", "country of --to when it is written without one, such as AU")
	f.Int64Var(&r.recipient, "recipient", 0, "cancel only this recipient, as the report's CSV numbers them")
	return cmd
}

func (m *Main) campaignCancel(ctx context.Context, ref string, r *cancelRequest) error {
	if !r.yes && !m.atTerminal() {
		return usagef("there is no terminal to ask for a yes: add --yes to cancel the campaign")
	}
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	n, err := l.Counts(ctx, c.ID)
	if err != nil {
		return err
	}
	switch {
	case c.State == campaign.Cancelling && r.wait:
		return m.awaitCancelled(ctx, l, c.ID)
	case c.State == campaign.Cancelling, c.State == campaign.Cancelled:
		return m.sayChanged(ctx, l, c.ID, "their answers are awaited") // cancelled already
	case c.State == campaign.Completed && n.Held == 0 && !heldUntil(c).IsZero() && n.TooLate == 0 && n.Accepted > 0:
		return campaign.Errorf(campaign.CodeConflict, "campaign %d is completed, and the provider let its messages go at %s: there is nothing left to cancel", c.ID, hour(heldUntil(c)))
	case c.State.Final() && n.Held == 0:
		return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: there is nothing left to cancel", c.ID, c.State)
	}
	w := m.Stdout
	if m.json || !r.yes {
		w = m.Stderr
	}
	if err := m.sayStoppable(ctx, w, l, c, n); err != nil {
		return err
	}
	if !r.yes {
		ok, err := m.ask(ctx, "Cancel it for good?")
		if err != nil {
			return err
		}
		if !ok {
			return stopf("not cancelled: nobody said yes")
		}
	}
	reason := r.reason
	if reason == "" {
		reason = "cancelled by " + m.who()
	}
	if err := l.Cancel(ctx, c.ID, m.who(), reason); err != nil {
		return err
	}
	if r.wait {
		return m.awaitCancelled(ctx, l, c.ID)
	}
	note := "their answers are awaited; those the provider takes are sent and charged"
	if n.Held > 0 || heldUntil(c).After(time.Now()) {
		note = "their answers are awaited; those the provider holds then are cancelled there"
	}
	if err := m.sayChanged(ctx, l, c.ID, note); err != nil {
		return err
	}
	if n.Held > 0 {
		return m.sayIfIdle(l)
	}
	return nil
}

// sayStoppable says how many recipients of a campaign can be stopped in time.
func (m *Main) sayStoppable(ctx context.Context, w io.Writer, l *ledger.Ledger, c *ledger.Campaign, n ledger.Counts) error {
	fmt.Fprintf(w, "campaign %d %q: %s pending recipients will be cancelled\n", c.ID, printable(c.Name), number(n.Pending))
	now, err := l.Now(ctx)
	if err != nil {
		return err
	}
	until := heldUntil(c)
	if n.Held > 0 {
		left := until.Sub(now)
		rate := m.cancelRate(ctx, l, c.Channel)
		takes := cancelTime(n.Held, rate)
		line := fmt.Sprintf("%s held by the provider until %s, in %s: it cancels them one by one, which takes about %s at %s",
			number(n.Held), hour(until), left.Round(time.Second), short(takes), perSecond(rate))
		if takes > left {
			line += fmt.Sprintf("; about %s can be stopped in time, and the others are sent", number(int(rate*left.Seconds())))
		} else {
			line += ": in time for all of them"
		}
		fmt.Fprintln(w, line)
	}
	out := n.InFlight + n.Unknown
	switch {
	case out > 0 && until.After(now):
		fmt.Fprintf(w, "%s in flight and %s unknown are found out first; those the provider holds then are cancelled there\n", number(n.InFlight), number(n.Unknown))
	case out > 0:
		fmt.Fprintf(w, "%s in flight and %s unknown have left or may have: they cannot be cancelled here\n", number(n.InFlight), number(n.Unknown))
	}
	return nil
}

// cancelRate is how many messages a second may be cancelled on a channel.
func (m *Main) cancelRate(ctx context.Context, l *ledger.Ledger, c campaign.Channel) float64 {
	p, done, err := m.pricingProvider(ctx, l)
	if err != nil {
		return m.cfg.Rate // cancelling needs no account here: what is configured
	}
	defer done()
	return allowedCancels(ctx, p, c, m.cfg.Rate)
}

// allowedCancels is how many messages a second may be cancelled on a channel, as
// learned or, when Redis is away, configured.
func allowedCancels(ctx context.Context, p *jobs.Provider, c campaign.Channel, configured float64) float64 {
	rate, err := p.CancelRate(ctx, c)
	if err != nil {
		return configured
	}
	return rate
}

// cancelTime is how long cancelling so many messages takes, one request each.
func cancelTime(n int, rate float64) time.Duration {
	if rate <= 0 || math.IsInf(rate, 1) {
		return 0
	}
	return time.Duration(float64(n) / rate * float64(time.Second)).Round(time.Second)
}

func perSecond(rate float64) string {
	if rate <= 0 || math.IsInf(rate, 1) {
		return "no limit of requests"
	}
	return fmt.Sprintf("%.3g requests a second", rate)
}

// short writes a duration, and what is none as less than a second.
func short(d time.Duration) string {
	if d < time.Second {
		return "a second"
	}
	return d.String()
}

// awaitCancelled waits until a campaign that is being cancelled is, and does what
// is to be done for it if nobody else does.
func (m *Main) awaitCancelled(ctx context.Context, l *ledger.Ledger, id int64) error {
	var e *engine
	if m.cfg.UsesEmbeddedRedis() {
		var err error
		if e, err = m.openQueue(ctx); err != nil && !errors.Is(err, errEngineBusy) {
			return err
		}
		if e != nil {
			if err := m.sayOthers(ctx, l, id); err != nil {
				e.close()
				return err
			}
		}
	} else if running, known := m.workersRun(l.ID()); known && !running {
		fmt.Fprintf(m.Stderr, "campaign %d: %s; it waits for them\n", id, noWorkers)
	}
	if err := m.drive(ctx, l, id, e); err != nil {
		return err
	}
	c, err := l.Campaign(ctx, id)
	if err != nil || c.State != campaign.Cancelled {
		return err
	}
	n, err := l.Counts(ctx, id)
	if err != nil {
		return err
	}
	m.exitCode = exitDone
	if n.TooLate > 0 {
		m.exitCode = exitRefused
	}
	return nil
}

// cancelledJSON is what `campaign cancel --to` and --recipient print with --json.
type cancelledJSON struct {
	ID         int64                `json:"id"` // of the campaign
	Recipients []cancelledRecipient `json:"recipients"`
}

type cancelledRecipient struct {
	Recipient int64 `json:"recipient"`
	// Cancelled: it is. Otherwise the provider holds its message, and is being
	// asked to cancel it.
	Cancelled bool `json:"cancelled"`
}

// cancelOne cancels one recipient of a campaign that goes on. The number is
// repeated nowhere.
func (m *Main) cancelOne(ctx context.Context, ref string, r *cancelRequest) error {
	phone := ""
	if r.to != "" {
		var err error
		if phone, err = m.phoneNumber("--to", r.to, r.country); err != nil {
			return err
		}
	}
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	ids := []int64{r.recipient}
	if phone != "" {
		if !c.Channel.IsPhone() {
			return usagef("--to names a phone number, and campaign %d goes by post: take the recipient's number from `postrider campaign report %d --csv FILE`, and give it with --recipient", c.ID, c.ID)
		}
		if ids, err = l.FindRecipients(ctx, c.ID, phone); err != nil {
			return err
		}
		if len(ids) == 0 {
			return campaign.Errorf(campaign.CodeNotFound, "nobody of campaign %d who is or was to be sent to has that number", c.ID)
		}
	}
	held := false
	out := cancelledJSON{ID: c.ID}
	for _, id := range ids {
		done, err := l.CancelRecipient(ctx, c.ID, id, m.who())
		if err != nil {
			return err
		}
		held = held || done == ledger.CancelsAtProvider
		switch {
		case m.json:
			out.Recipients = append(out.Recipients, cancelledRecipient{Recipient: id, Cancelled: done != ledger.CancelsAtProvider})
		case done == ledger.CancelsAtProvider:
			m.say("campaign %d: the provider holds the message to recipient %d until %s, and is being asked to cancel it; the report tells", c.ID, id, hour(heldUntil(c)))
		case done == ledger.CancelledBefore:
			m.say("campaign %d: recipient %d was cancelled before", c.ID, id)
		default:
			m.say("campaign %d: recipient %d is cancelled", c.ID, id)
		}
	}
	if m.json {
		return m.printJSON(out)
	}
	if held {
		return m.sayIfIdle(l)
	}
	return nil
}

// phoneNumber brings a number that was given with a flag into E.164.
func (m *Main) phoneNumber(flag, text, country string) (string, error) {
	if country == "" {
		country = m.cfg.Country
	}
	if country == "" && !strings.HasPrefix(text, "+") {
		return "", usagef("%s: write the number with its country, such as +61412345678, or add --country", flag)
	}
	n, err := phonenumbers.Parse(text, strings.ToUpper(country))
	if err != nil || !phonenumbers.IsPossibleNumber(n) {
		return "", usagef("%s: this is not a phone number: write it like +61412345678", flag)
	}
	return phonenumbers.Format(n, phonenumbers.E164), nil
}
