package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

func (m *Main) campaignCommand() *cobra.Command {
	return group(&cobra.Command{
		Use: "campaign", Short: "Campaigns: make, price, start, look, report, pause, resume, cancel",
		Long: "A campaign is named by its number or its name. `postrider send` makes one and sends it in one go;\n" +
			"`create`, `price` and `start` do the same in three steps, for a campaign that stands in a file.",
	},
		m.campaignLsCommand(), m.campaignStatusCommand(), m.campaignReportCommand(),
		m.campaignPauseCommand(), m.campaignResumeCommand(), m.campaignCancelCommand(),
		m.campaignUnknownCommand(), m.campaignRetryCommand(), m.campaignRescheduleCommand(),
		m.campaignCreateCommand(), m.campaignPriceCommand(), m.campaignStartCommand())
}

// openCampaign opens the ledger and finds the campaign of a number or name.
func (m *Main) openCampaign(ctx context.Context, ref string) (*ledger.Ledger, *ledger.Campaign, error) {
	l, err := m.openLedger(ctx)
	if err != nil {
		return nil, nil, err
	}
	c, err := l.FindCampaign(ctx, ref)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, c, nil
}

func (m *Main) campaignLsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "Show every campaign, the newest first",
		Args: exactArgs(0, "nothing else"),
		RunE: func(cmd *cobra.Command, _ []string) error { return m.campaignLs(cmd.Context()) },
	}
}

func (m *Main) campaignLs(ctx context.Context) error {
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	all, err := l.Campaigns(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"ID", "NAME", "CHANNEL", "STATE", "RECIPIENTS", "ACCEPTED", "REFUSED", "LEFT", "UNKNOWN", "CHARGED", "CREATED"}}
	list := make([]campaignJSON, 0, len(all))
	for _, c := range all {
		n, err := l.Counts(ctx, c.ID)
		if err != nil {
			return err
		}
		list = append(list, campaignJSON{
			ID: c.ID, Name: c.Name, Channel: c.Channel, State: c.State, Reason: c.Reason, Counts: n,
			Quoted: c.Quoted, Spent: c.Spent, Reserved: c.Reserved, Overspent: c.Overspent, Dearer: c.Dearer, Budget: c.Budget, Currency: c.Currency,
			Created: c.Created, StartAt: timeOrNil(c.StartAt), Started: timeOrNil(c.Started), Ended: timeOrNil(c.Ended),
		})
		rows = append(rows, []string{
			strconv.FormatInt(c.ID, 10), printable(c.Name), c.Channel.String(), c.State.String(), number(n.Total),
			number(n.Accepted + n.Delivered + n.Undelivered), number(n.Rejected), number(n.Left()), number(n.Unknown),
			strings.TrimSpace(c.Spent.String() + " " + c.Currency), c.Created.Local().Format("2006-01-02 15:04"),
		})
	}
	switch {
	case m.json:
		return m.printJSON(map[string]any{"campaigns": list})
	case len(all) == 0:
		m.say("there are no campaigns yet: `postrider send` makes one, `postrider demo` shows how")
		return nil
	}
	return m.table(rows)
}

func (m *Main) campaignStatusCommand() *cobra.Command {
	var watch bool
	var every time.Duration
	cmd := &cobra.Command{
		Use: "status ID", Short: "Say where a campaign stands",
		Long: "Says where a campaign stands. With --watch it follows the campaign until that ends or nothing\n" +
			"moves any more, and the exit code is that of the campaign: 0 all well, 3 some recipients were\n" +
			"refused, 4 stopped short.",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if every <= 0 {
				return usagef("--every: %s is not a time to wait, such as 1s", every)
			}
			return m.campaignStatus(cmd.Context(), args[0], watch, every)
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "follow the campaign until it ends or nothing moves")
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often --watch looks")
	return cmd
}

func (m *Main) campaignStatus(ctx context.Context, ref string, watch bool, every time.Duration) error {
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	var now *campaignJSON
	if watch {
		now, err = m.watch(ctx, l, c.ID, every)
	} else {
		now, err = describe(ctx, l, c.ID)
	}
	if err != nil {
		return err
	}
	if watch {
		m.exitCode = exitFor(now)
	}
	if m.json {
		return m.printJSON(now)
	}
	m.printReport(now)
	return m.sayNext(ctx, l, now)
}

// sayNext says what a campaign that has not ended waits for, and what its
// owner can do.
func (m *Main) sayNext(ctx context.Context, l *ledger.Ledger, c *campaignJSON) error {
	switch c.State {
	case campaign.Draft:
		m.say("  it is planned; `postrider campaign price %d` says what it costs", c.ID)
	case campaign.Quoted:
		m.say("  it is planned and priced; `postrider campaign start %d` approves it", c.ID)
	case campaign.Paused:
		m.sayPaused(c)
	case campaign.Cancelling:
		if c.CancelProblem != "" {
			m.say("  what the provider holds cannot be cancelled for now: %s", printable(c.CancelProblem))
		}
		if c.Unknown > 0 {
			return m.sayUnknown(ctx, l, c)
		}
		return m.sayIfIdle(l)
	case campaign.Scheduled:
		if c.StartAt != nil {
			m.say("  it starts at %s", c.StartAt.Local().Format(time.RFC3339))
		}
		if closed := windowText(c.next); closed != "" {
			m.say("  then %s", closed)
		}
		return m.sayIfIdle(l)
	case campaign.Sending:
		if c.Left() == 0 {
			return m.sayUnknown(ctx, l, c)
		}
		now, err := l.Now(ctx)
		if err != nil {
			return err
		}
		if closed := windowText(c.next); closed != "" {
			m.say("  %s", closed)
		} else if c.next != nil {
			if wait := c.next.At.Sub(now).Round(time.Second); wait > 0 {
				m.say("  the next batch leaves in %s", wait)
			}
		}
		return m.sayIfIdle(l)
	}
	return nil
}

// sayPaused says how to go on with a paused campaign.
func (m *Main) sayPaused(c *campaignJSON) {
	if c.Stopped != "" && c.Stopped == c.Reason {
		m.say("  once you know why, go on with `postrider campaign resume %d --after-duplicates`, or end it with `postrider campaign cancel %d`", c.ID, c.ID)
		return
	}
	if c.Budget != nil && strings.HasPrefix(c.Reason, ledger.BudgetReason) {
		m.say("  charged and reserved so far: %s of a budget of %s %s; allow more with `postrider campaign resume %d --budget AMOUNT`, or end it with `postrider campaign cancel %d`",
			c.Spent+c.Reserved, *c.Budget, c.Currency, c.ID, c.ID)
		return
	}
	m.say("  go on with `postrider campaign resume %d`, or end it with `postrider campaign cancel %d`", c.ID, c.ID)
}

// sayUnknown says when the provider's history is read for recipients whose
// answer was lost.
func (m *Main) sayUnknown(ctx context.Context, l *ledger.Ledger, c *campaignJSON) error {
	all, err := l.UnknownAttempts(ctx, c.ID, m.cfg.Settle)
	if err != nil || len(all) == 0 {
		return err
	}
	next := slices.MinFunc(all, func(a, b ledger.UnknownAttempt) int { return a.NextLook.Compare(b.NextLook) })
	now, err := l.Now(ctx)
	if err != nil {
		return err
	}
	m.say("  the provider's history is read for them in %s; `postrider campaign unknown %d` shows more", max(next.NextLook.Sub(now), 0).Round(time.Second), c.ID)
	return m.sayIfIdle(l)
}

// sayIfIdle warns when nobody would send.
func (m *Main) sayIfIdle(l *ledger.Ledger) error {
	if !m.cfg.UsesEmbeddedRedis() {
		if running, known := m.workersRun(l.ID()); known && !running {
			m.say("  %s", noWorkers)
		}
		return nil
	}
	running, known, err := m.engineRuns()
	if err != nil {
		return err
	}
	if known && !running {
		m.say("  nobody is sending now: `postrider serve` must run for it")
	}
	return nil
}

// engineRuns reports whether some process holds the embedded engine. With a
// real Redis workers may run anywhere, and known is false.
func (m *Main) engineRuns() (running, known bool, err error) {
	if !m.cfg.UsesEmbeddedRedis() {
		return false, false, nil
	}
	path := filepath.Join(m.cfg.DataDir, "engine.lock")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return false, true, nil // nobody ever held it
	}
	// A shared lock: two processes that look at once do not take each other
	// for an engine.
	lock := flock.New(path, flock.SetPermissions(0o600))
	got, err := lock.TryRLock()
	if err != nil {
		return false, false, fmt.Errorf("looking at engine.lock in the data folder: %w", err)
	}
	if !got {
		return true, true, nil
	}
	if err := lock.Unlock(); err != nil {
		return false, false, fmt.Errorf("letting go of engine.lock in the data folder: %w", err)
	}
	return false, true, nil
}

// watch follows a campaign until it ends or nothing moves any more.
func (m *Main) watch(ctx context.Context, l *ledger.Ledger, id int64, every time.Duration) (*campaignJSON, error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	redraw := m.atTerminal()
	last, same, warned := "", 0, false
	for {
		// The reasons of refusals are counted once, at the end.
		c, n, over, err := m.standing(ctx, l, id)
		if err != nil {
			return nil, err
		}
		line := watchLine(c, n)
		if closed, err := closedWindow(ctx, l, c); err == nil && closed != "" && c.State == campaign.Sending && n.InFlight == 0 {
			line += "; " + closed
		}
		if line != last {
			if redraw {
				fmt.Fprint(m.Stderr, clearLine+line)
			} else {
				fmt.Fprintln(m.Stderr, line)
			}
			last, same = line, 0
		} else {
			same++
		}
		over = over || c.State == campaign.Draft || c.State == campaign.Quoted
		// The lock is asked seldom, since asking takes it for a moment; and a
		// single look may fall between two engines, when a waiting send takes over.
		if !over && same > 0 && same%3 == 0 {
			running, known, err := m.engineRuns()
			if err != nil {
				return nil, err
			}
			over = known && !running
		}
		// Workers on Redis may be on their way, so that it goes on watching.
		if !over && !warned && same == 3 && !m.cfg.UsesEmbeddedRedis() && (c.State == campaign.Sending || c.State == campaign.Cancelling) {
			if running, known := m.workersRun(l.ID()); known && !running {
				if redraw {
					fmt.Fprint(m.Stderr, clearLine)
				}
				fmt.Fprintf(m.Stderr, "campaign %d: %s; it waits for them\n", id, noWorkers)
				last, warned = "", true // the line is drawn anew
			}
		}
		if over {
			if redraw {
				fmt.Fprint(m.Stderr, clearLine)
			}
			return describe(ctx, l, id)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if redraw {
				fmt.Fprintln(m.Stderr)
			}
			return nil, stopf("stopped watching; nothing was changed: `postrider campaign status %d --watch` goes on watching", id)
		}
	}
}

// watchLine is one line of --watch.
func watchLine(c *ledger.Campaign, n ledger.Counts) string {
	done := n.Total - n.Left()
	percent := 100
	if n.Total > 0 {
		percent = int(int64(done) * 100 / int64(n.Total))
	}
	s := fmt.Sprintf("%s: %s of %s (%d %%)", c.State, number(done), number(n.Total), percent)
	for _, p := range []struct {
		name string
		n    int
	}{
		{"accepted", n.Accepted + n.Delivered + n.Undelivered}, {"rejected", n.Rejected}, {"suppressed", n.Suppressed},
		{"cancelled", n.Cancelled}, {"unknown", n.Unknown}, {"in flight", n.InFlight},
	} {
		if p.n > 0 {
			s += fmt.Sprintf(", %s %s", number(p.n), p.name)
		}
	}
	return s + fmt.Sprintf("; charged %s %s", c.Spent, c.Currency)
}

func (m *Main) campaignReportCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "report ID", Short: "Say what became of everybody, and who did what when",
		Long: "Says what became of everybody. --csv writes a line for each recipient; its sums are those of\n" +
			"the report. A text that a spreadsheet would take for a formula bears an apostrophe in front.",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.campaignReport(cmd.Context(), args[0], file) },
	}
	cmd.Flags().StringVar(&file, "csv", "", "write one line a recipient to this file; - is stdout")
	return cmd
}

// reportJSON is what `campaign report --json` prints.
type reportJSON struct {
	*campaignJSON
	Events []ledger.Event `json:"events"`
	CSV    string         `json:"csv,omitempty"` // the file that was written
}

func (m *Main) campaignReport(ctx context.Context, ref, file string) error {
	if m.json && file == "-" {
		return usagef("with --json stdout belongs to its object: name a file with --csv")
	}
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	report, err := describe(ctx, l, c.ID)
	if err != nil {
		return err
	}
	if file != "" {
		if report, err = m.writeReport(ctx, l, c, report, file); err != nil {
			return err
		}
		if file == "-" {
			return nil // stdout is the CSV's alone
		}
	}
	events, err := l.Events(ctx, c.ID)
	if err != nil {
		return err
	}
	if m.json {
		out := reportJSON{campaignJSON: report, Events: append([]ledger.Event{}, events...)}
		if file != "" {
			out.CSV = m.path(file)
		}
		return m.printJSON(out)
	}
	m.printReport(report)
	for _, e := range events {
		line := fmt.Sprintf("  %s  %-10s by %s", e.At.Local().Format("2006-01-02 15:04:05 -07:00"), e.Action, printable(e.Actor))
		if e.Reason != "" {
			line += ": " + printable(e.Reason)
		}
		m.say("%s", line)
	}
	if file != "" {
		m.say("one line for each of the %s recipients: %s", number(report.Total), file)
	}
	return nil
}

// writeReport writes the CSV, and holds its sums against the report when
// nothing moved while it was written. It returns the report as of then.
func (m *Main) writeReport(ctx context.Context, l *ledger.Ledger, c *ledger.Campaign, before *campaignJSON, file string) (*campaignJSON, error) {
	var sums reportSums
	err := m.writeOut(file, func(w io.Writer) error {
		var err error
		sums, err = exportReport(ctx, w, l, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	after, err := describe(ctx, l, c.ID)
	if err != nil {
		return nil, err
	}
	if after.Counts != before.Counts || after.Spent != before.Spent {
		fmt.Fprintln(m.Stderr, "postrider: the campaign went on while the CSV was written: write it again when it has ended, for sums that agree with the report")
		return after, nil
	}
	if want := sumsOf(after); sums != want {
		return nil, campaign.Errorf(campaign.CodeInternal, "the CSV does not add up to the report (CSV %+v, report %+v): please report this", sums, want)
	}
	return after, nil
}

// reportSums is what the lines of a CSV add up to. It holds no name.
type reportSums struct {
	Pending, Unknown, Accepted, Delivered, Undelivered, Rejected, Suppressed, Cancelled int
	Charged                                                                             campaign.Micros
}

// sumsOf is what the report says: in flight is pending with an open attempt.
func sumsOf(c *campaignJSON) reportSums {
	return reportSums{
		c.Pending + c.InFlight, c.Unknown, c.Accepted, c.Delivered, c.Undelivered, c.Rejected, c.Suppressed, c.Cancelled, c.Spent,
	}
}

func (s *reportSums) add(state campaign.RecipientState, charged campaign.Micros) {
	switch state {
	case campaign.Pending:
		s.Pending++
	case campaign.Unknown:
		s.Unknown++
	case campaign.Accepted:
		s.Accepted++
	case campaign.Delivered:
		s.Delivered++
	case campaign.Undelivered:
		s.Undelivered++
	case campaign.Rejected:
		s.Rejected++
	case campaign.Suppressed:
		s.Suppressed++
	case campaign.RecipientCancelled:
		s.Cancelled++
	}
	s.Charged += charged
}

// reportColumns are the columns of a report's CSV.
var reportColumns = [...]string{
	"recipient", "line", "phone", "email", "first_name", "last_name", "reference",
	"address_name", "address_line_1", "address_line_2", "address_city", "address_state", "address_postal_code", "address_country",
	"state", "reason", "message_id", "status", "price", "quoted", "currency", "parts", "messages", "time",
}

// exportReport writes a line for each recipient. The price is what was
// charged, for all messages of somebody who was reached twice, and empty where
// nothing was.
func exportReport(ctx context.Context, w io.Writer, l *ledger.Ledger, c *ledger.Campaign) (sums reportSums, err error) {
	out := csv.NewWriter(w)
	row := append([]string{}, reportColumns[:]...)
	if err := out.Write(row); err != nil {
		return sums, err
	}
	err = l.EachRecipient(ctx, c, func(r *ledger.ReportRow) error {
		k, a := &r.Contact, &r.Contact.Address
		var price, parts, at string
		var charged campaign.Micros
		switch r.State {
		case campaign.Accepted, campaign.Delivered, campaign.Undelivered:
			charged, price = r.Charged, r.Charged.String()
		}
		if r.Parts > 0 {
			parts = strconv.Itoa(r.Parts)
		}
		if !r.At.IsZero() {
			at = r.At.UTC().Format(time.RFC3339)
		}
		sums.add(r.State, charged)
		row = append(row[:0], strconv.FormatInt(r.Recipient, 10), strconv.Itoa(k.Line),
			cell(k.Phone), cell(k.Email), cell(k.FirstName), cell(k.LastName), cell(k.Reference),
			cell(a.Name), cell(a.Line1), cell(a.Line2), cell(a.City), cell(a.State), cell(a.PostalCode), cell(a.Country),
			r.State.String(), cell(r.Reason), cell(r.ProviderID), cell(r.Status), price, r.Quoted.String(), c.Currency,
			parts, strconv.Itoa(r.Attempts), at)
		return out.Write(row)
	})
	out.Flush()
	return sums, errors.Join(err, out.Error())
}

func (m *Main) campaignPauseCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "pause ID", Short: "Let nothing more leave until resumed",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.campaignPause(cmd.Context(), args[0], reason) },
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept with the campaign")
	return cmd
}

func (m *Main) campaignPause(ctx context.Context, ref, reason string) error {
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	switch {
	case c.State == campaign.Paused:
		// It stands already: the reason it stands for is kept.
	case !campaign.CanMove(c.State, campaign.Paused):
		n, err := l.Counts(ctx, c.ID)
		if err != nil {
			return err
		}
		more := ""
		if n.Held > 0 {
			more = fmt.Sprintf("; the provider still holds %s until %s, which only `postrider campaign cancel %d` stops", plural(n.Held, "message"), hour(heldUntil(c)), c.ID)
		}
		return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s: there is nothing to pause%s", c.ID, c.State, more)
	default:
		if reason == "" {
			reason = "paused by " + m.who()
		}
		if err := l.MoveCampaign(ctx, c.ID, ledger.Move{To: campaign.Paused, Actor: m.who(), Reason: reason}); err != nil {
			return err
		}
	}
	return m.sayChanged(ctx, l, c.ID, "what is in flight is finished and recorded")
}

// sayChanged says where a campaign stands after a command changed it; note is
// for those in flight.
func (m *Main) sayChanged(ctx context.Context, l *ledger.Ledger, id int64, note string) error {
	now, err := describe(ctx, l, id)
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(now)
	}
	line := fmt.Sprintf("campaign %d %q is %s", now.ID, now.Name, now.State)
	if now.Reason != "" {
		line += ": " + printable(now.Reason)
	}
	m.say("%s", line)
	if now.InFlight > 0 && note != "" {
		m.say("%s recipients are in flight: %s", number(now.InFlight), note)
	}
	if now.Held > 0 && now.HeldUntil != nil {
		switch now.State {
		case campaign.Paused:
			m.say("the provider still holds %s and sends them at %s all the same: `postrider campaign cancel %d` stops them", plural(now.Held, "message"), hour(*now.HeldUntil), now.ID)
		case campaign.Cancelling:
			m.say("the provider still holds %s, which are being cancelled there: `postrider campaign status %d --watch` follows it", plural(now.Held, "message"), now.ID)
		}
	}
	return nil
}

func (m *Main) campaignResumeCommand() *cobra.Command {
	var (
		o      resumption
		budget string
	)
	cmd := &cobra.Command{
		Use: "resume ID", Short: "Let a paused campaign go on",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.budget, err = budgetFlag(budget); err != nil {
				return err
			}
			return m.campaignResume(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringVar(&budget, "budget", "", "from now on never spend more than this in all, such as 300.00")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "send it here if nobody else does, and wait until it has ended")
	cmd.Flags().BoolVar(&o.afterDuplicates, "after-duplicates", false, "let the channel send again to recipients who were sent to before, though some got a message twice")
	return cmd
}

// budgetFlag reads --budget; nil when it was not given.
func budgetFlag(s string) (*campaign.Micros, error) {
	if s == "" {
		return nil, nil
	}
	b, err := jobs.ParseBudget(s)
	if err != nil {
		return nil, usagef("--budget: %w", err)
	}
	return &b, nil
}

// resumption is how a campaign is to go on.
type resumption struct {
	budget          *campaign.Micros // a new spend cap; nil: as it was
	afterDuplicates bool
	wait            bool
}

func (m *Main) campaignResume(ctx context.Context, ref string, o resumption) error {
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := refuseQuarantined(ctx, l); err != nil {
		return err
	}
	stopped, err := l.Stopped(ctx, c)
	if err != nil {
		return err
	}
	switch {
	case stopped == "" && o.afterDuplicates:
		return campaign.Errorf(campaign.CodeConflict, "no resends on %s are stopped: leave --after-duplicates out", c.Channel)
	case o.afterDuplicates && c.State != campaign.Paused:
		// Only resends wait; the duplicates may have shown when it had ended.
	case o.wait && c.State == campaign.Sending: // a process that ended left it
	case c.State != campaign.Paused:
		how := ""
		if running, known, err := m.engineRuns(); err == nil && known && !running && c.State == campaign.Sending {
			how = "; nobody is sending now: add --wait to send it here, or run `postrider serve`"
		}
		return campaign.Errorf(campaign.CodeConflict, "campaign %d is %s, not paused: there is nothing to resume%s", c.ID, c.State, how)
	case stopped != "" && c.Reason == stopped && !o.afterDuplicates:
		return campaign.Errorf(campaign.CodeConflict, "campaign %d waits since recipients were reached twice (%s): once you know why, `postrider campaign resume %d --after-duplicates`", c.ID, stopped, c.ID)
	}
	if err := m.checkAccount(ctx, l, c); err != nil {
		return err
	}
	if o.budget != nil {
		if gone := c.Spent + c.Reserved; *o.budget < gone {
			return usagef("--budget: %s is less than the %s %s that are charged and reserved already: nothing was changed", *o.budget, gone, c.Currency)
		}
		if err := l.SetBudget(ctx, c.ID, *o.budget, m.who()); err != nil {
			return err
		}
	}
	if o.afterDuplicates {
		if _, err := l.AllowResends(ctx, c, m.who()); err != nil {
			return err
		}
	}
	if c.State == campaign.Paused {
		if err := l.Resume(ctx, c.ID, m.who()); err != nil {
			return err
		}
	}
	if o.wait {
		if err := m.sayOthers(ctx, l, c.ID); err != nil {
			return err
		}
		return m.follow(ctx, l, c.ID, true, time.Local)
	}
	if err := m.sayChanged(ctx, l, c.ID, ""); err != nil {
		return err
	}
	if c, err = l.Campaign(ctx, c.ID); err != nil {
		return err
	}
	if closed, err := closedWindow(ctx, l, c); err != nil {
		return err
	} else if closed != "" {
		m.say("  %s", closed)
	}
	if !m.cfg.UsesEmbeddedRedis() {
		if running, known := m.workersRun(l.ID()); known && !running {
			m.say("%s; it waits for them", noWorkers)
		}
		return nil
	}
	if running, known, err := m.engineRuns(); err != nil {
		return err
	} else if known && !running {
		m.say("nobody is sending now: run `postrider serve`, which goes on with it")
	}
	return nil
}

// checkAccount refuses to go on with a campaign under another account than
// the one it was quoted with.
func (m *Main) checkAccount(ctx context.Context, l *ledger.Ledger, c *ledger.Campaign) error {
	p, err := m.openProvider(l, ratelimit.New(nil, m.rateOptions()))
	if err != nil {
		return err
	}
	defer p.Close()
	if url := p.Client().BaseURL(); url != c.Provider.URL {
		return campaign.Errorf(campaign.CodeConflict,
			"campaign %d was quoted at %s, and CLICKSEND_BASE_URL is %s now: set it back to go on; nothing was changed", c.ID, c.Provider.URL, url)
	}
	now, err := p.Identity(ctx)
	if err != nil {
		return jobs.Explain(err)
	}
	if now != c.Provider {
		return campaign.Errorf(campaign.CodeConflict,
			"campaign %d was quoted with another account at %s (user id %s, and the credentials are those of user id %s): set the credentials back to go on; nothing was changed",
			c.ID, c.Provider.URL, c.Provider.User, now.User)
	}
	return nil
}
