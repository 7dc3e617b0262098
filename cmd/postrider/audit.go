package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"time"

	"github.com/gocarina/gocsv"
	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

func (m *Main) auditCommand() *cobra.Command {
	var (
		file   string
		repair bool
	)
	cmd := &cobra.Command{
		Use: "audit ID | --repair", Short: "Hold the provider's history against the ledger, recipient by recipient",
		Long: "Reads the provider's history and compares it with what the ledger says of each recipient of a\n" +
			"campaign: messages that are missing there, messages too many, another price, another status.\n" +
			"The exit code is 0 when both say the same, and 1 on any difference, or when the history could not\n" +
			"be read completely. --csv writes a line for each difference.\n\n" +
			"With --repair, and no ID, it ends the quarantine of a ledger that was restored or copied: it reads\n" +
			"what the provider's history shows since, records it, pauses what was being sent, and lets the ledger\n" +
			"send again. Stop every process of the ledger that this one is a copy of first.",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case repair && len(args) > 0:
				return usagef("--repair is for the whole ledger: leave the campaign out")
			case repair && file != "":
				return usagef("--csv is for the differences of a campaign: leave it out with --repair")
			case repair:
				return m.repair(cmd.Context())
			}
			if err := exactArgs(1, "the campaign's number or name, or --repair")(cmd, args); err != nil {
				return err
			}
			return m.audit(cmd.Context(), args[0], file)
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "adopt what history shows since the ledger was copied, and end its quarantine")
	cmd.Flags().StringVar(&file, "csv", "", "write one line a difference to this file; - is stdout")
	return cmd
}

// auditJSON is what `audit --json` prints.
type auditJSON struct {
	ID         int64            `json:"id"`
	Name       string           `json:"name"`
	Channel    campaign.Channel `json:"channel"`
	Equal      bool             `json:"equal"`
	Complete   bool             `json:"complete"`        // whether history was read completely
	Doubt      string           `json:"doubt,omitempty"` // why it was not
	Recipients int              `json:"recipients"`
	Messages   int              `json:"messages"` // of the campaign, in history
	Missing    int              `json:"missing"`
	Extra      int              `json:"extra"`
	Price      int              `json:"price"`
	Status     int              `json:"status"`
	Fresh      int              `json:"fresh"`
	Unknown    int              `json:"unknown"`
	CSV        string           `json:"csv,omitempty"`
}

// differenceRow is a line of --csv.
type differenceRow struct {
	Recipient     int64  `csv:"recipient"`
	Line          int    `csv:"line"`
	Phone         string `csv:"phone"`
	Reference     string `csv:"reference"`
	AddressName   string `csv:"address_name"`
	Line1         string `csv:"address_line_1"`
	PostalCode    string `csv:"address_postal_code"`
	Country       string `csv:"address_country"`
	Difference    string `csv:"difference"`
	State         string `csv:"state"`
	Status        string `csv:"status"`
	Price         string `csv:"price"`
	MessageID     string `csv:"message_id"`
	HistoryStatus string `csv:"history_status"`
	HistoryPrice  string `csv:"history_price"`
	HistoryID     string `csv:"history_message_id"`
	Currency      string `csv:"currency"`
	Time          string `csv:"time"`
}

func differenceLine(c *ledger.Campaign, d *jobs.Difference) differenceRow {
	r, a := d.Recipient, &d.Recipient.Contact.Address
	row := differenceRow{
		Recipient: r.Recipient, Line: r.Contact.Line, Phone: cell(r.Contact.Phone), Reference: cell(r.Contact.Reference),
		AddressName: cell(a.Name), Line1: cell(a.Line1), PostalCode: cell(a.PostalCode), Country: cell(a.Country),
		Difference: string(d.Kind), State: r.State.String(), Status: cell(r.Status), MessageID: cell(r.ProviderID),
		HistoryStatus: cell(d.Status), HistoryID: cell(d.MessageID), Currency: c.Currency,
	}
	if r.Status != "" {
		row.Price = r.Price.String()
	}
	if d.Status != "" {
		row.HistoryPrice = d.Price.String()
	}
	if !r.At.IsZero() {
		row.Time = r.At.UTC().Format(time.RFC3339)
	}
	return row
}

func (m *Main) audit(ctx context.Context, ref, file string) error {
	if m.json && file == "-" {
		return usagef("with --json stdout belongs to its object: name a file with --csv")
	}
	l, c, err := m.openCampaign(ctx, ref)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := m.checkAccount(ctx, l, c); err != nil {
		return err
	}
	p, done, err := m.pricingProvider(ctx, l)
	if err != nil {
		return err
	}
	defer done()
	auditor := &jobs.Auditor{Ledger: l, Provider: p, Settle: m.cfg.Settle}
	var res *jobs.AuditResult
	run := func(each func(*jobs.Difference) error) (err error) {
		res, err = auditor.Audit(ctx, c, each)
		return err
	}
	if file == "" {
		err = run(func(*jobs.Difference) error { return nil })
	} else {
		err = m.writeOut(file, func(w io.Writer) error { return writeDifferences(w, c, run) })
	}
	if err != nil {
		return jobs.Explain(err)
	}
	equal := res.Complete && res.Differences() == 0
	if !equal {
		m.exitCode = exitFailed
	}
	if m.json {
		out := auditJSON{c.ID, c.Name, c.Channel, equal, res.Complete, res.Doubt, res.Recipients, res.Messages,
			res.Missing, res.Extra, res.Price, res.Status, res.Fresh, res.Unknown, ""}
		if file != "" {
			out.CSV = m.path(file)
		}
		return m.printJSON(out)
	}
	if file == "-" {
		return nil // stdout is the CSV's alone
	}
	m.showAudit(c, res)
	if file != "" {
		m.say("one line for each of the %s: %s", plural(res.Differences(), "difference"), file)
	}
	return nil
}

// writeDifferences writes what run hands on as CSV.
func writeDifferences(w io.Writer, c *ledger.Campaign, run func(each func(*jobs.Difference) error) error) error {
	out := gocsv.NewSafeCSVWriter(csv.NewWriter(w))
	var rows []differenceRow
	if err := gocsv.MarshalCSV(&rows, out); err != nil { // the header
		return err
	}
	flush := func(least int) error {
		if len(rows) < least {
			return nil
		}
		err := gocsv.MarshalCSVWithoutHeaders(&rows, out)
		rows = rows[:0]
		return err
	}
	err := run(func(d *jobs.Difference) error {
		rows = append(rows, differenceLine(c, d))
		return flush(500)
	})
	if err == nil {
		err = flush(1)
	}
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

func (m *Main) showAudit(c *ledger.Campaign, res *jobs.AuditResult) {
	m.say("campaign %d %q (%s): %s recipients, %s in the provider's history", c.ID, printable(c.Name), c.Channel, number(res.Recipients), plural(res.Messages, "message"))
	for _, line := range []struct {
		n    int
		text string
	}{
		{res.Missing, "missing: the ledger says accepted, and history has no message"},
		{res.Extra, "extra: history has a message that the ledger does not count, or one too many"},
		{res.Price, "with another price in history"},
		{res.Status, "with another status in history"},
		{res.Fresh, "too fresh to tell: accepted less than " + m.cfg.Settle.String() + " before, or in flight"},
		{res.Unknown, "unknown: being found out"},
	} {
		if line.n > 0 {
			m.say("  %9s  %s", number(line.n), line.text)
		}
	}
	switch {
	case !res.Complete && res.Missing > 0:
		m.say("the history could not be read completely (%s): who is missing may be there all the same", res.Doubt)
	case !res.Complete:
		m.say("the history could not be read completely (%s): this proves nothing", res.Doubt)
	case res.Differences() == 0 && res.Fresh+res.Unknown > 0:
		m.say("among the others, history and ledger say the same")
	case res.Differences() == 0:
		m.say("history and ledger say the same")
	}
}

// repairJSON is what `audit --repair --json` prints.
type repairJSON struct {
	Lifted   bool                `json:"lifted"`           // the ledger may send again
	Ledger   string              `json:"ledger,omitempty"` // its new id
	Problems []string            `json:"problems"`         // why the quarantine stays
	Channels []repairChannelJSON `json:"channels"`
	Paused   []int64             `json:"paused"` // campaigns that wait for somebody to look
}

type repairChannelJSON struct {
	Channel    campaign.Channel `json:"channel"`
	Since      time.Time        `json:"since"`
	Read       bool             `json:"read"` // completely, now or before
	Rows       int              `json:"rows"`
	Accepted   int              `json:"accepted"`
	Rejected   int              `json:"rejected"`
	Cancelled  int              `json:"cancelled"`
	Duplicates int              `json:"duplicates"`
	Unclear    int              `json:"unclear"`
	Strange    int              `json:"strange"`
	Problem    string           `json:"problem,omitempty"`
}

func (m *Main) repair(ctx context.Context) error {
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	p, done, err := m.pricingProvider(ctx, l)
	if err != nil {
		return err
	}
	defer done()
	r := &jobs.Repairer{Ledger: l, Provider: p, Settle: m.cfg.Settle, Actor: m.who(), Say: func(format string, args ...any) {
		fmt.Fprintf(m.Stderr, format+"\n", args...)
	}}
	res, err := r.Repair(ctx)
	if err != nil {
		return jobs.Explain(err)
	}
	lifted := res.Ledger != ""
	if !lifted {
		m.exitCode = exitFailed
	}
	if m.json {
		out := repairJSON{Lifted: lifted, Ledger: res.Ledger, Problems: append([]string{}, res.Problems()...), Paused: append([]int64{}, res.Held...), Channels: []repairChannelJSON{}}
		for _, c := range res.Channels {
			out.Channels = append(out.Channels, repairChannelJSON{
				c.Channel, c.From, c.Read || !c.Skipped && c.Problem == "", c.Rows, c.Accepted, c.Rejected, c.Cancelled, c.Duplicates, c.Unclear, c.Strange, c.Problem,
			})
		}
		return m.printJSON(out)
	}
	for _, c := range res.Channels {
		m.showRepaired(&c)
	}
	for _, id := range res.Held {
		m.say("campaign %d is paused: look at it (`postrider campaign status %d`), then `postrider campaign resume %d` or `postrider campaign cancel %d`", id, id, id, id)
	}
	if lifted {
		all, err := l.Schedules(ctx)
		if err != nil {
			return err
		}
		for _, s := range all {
			m.say("schedule %q is paused: which of its letters were sent since the backup is not known here; look, then `postrider schedule resume %q`", printable(s.Name), printable(s.Name))
		}
		m.say("the quarantine is lifted: the ledger may send again, as %s. Who has opted out since the backup is not known here", res.Ledger)
		return nil
	}
	for _, problem := range res.Problems() {
		m.say("the quarantine stays: %s", problem)
	}
	return nil
}

func (m *Main) showRepaired(c *jobs.RepairedChannel) {
	switch {
	case c.Read:
		m.say("%s: its history was read before", c.Channel)
		return
	case c.Skipped:
		m.say("%s at %s, user id %s: not read, since all its campaigns had ended and the credentials are another account's", c.Channel, c.Provider.URL, c.Provider.User)
		return
	}
	m.say("%s: %s rows of history since %s", c.Channel, number(c.Rows), c.From.Local().Format("2006-01-02 15:04:05 -07:00"))
	for _, line := range []struct {
		n    int
		text string
	}{
		{c.Accepted, "recipients were accepted meanwhile"},
		{c.Rejected, "failed"},
		{c.Cancelled, "were cancelled"},
		{c.Duplicates, "messages too many: their recipients were reached twice, and resends on this channel are stopped"},
		{c.Unclear, "may have got a message, and may not: they are unknown until you decide"},
		{c.Strange, "messages of campaigns that this ledger does not know: they were made after the backup"},
	} {
		if line.n > 0 {
			m.say("  %9s  %s", number(line.n), line.text)
		}
	}
}
