package main

import (
	"context"
	"encoding/csv"
	"io"
	"strings"

	"github.com/gocarina/gocsv"
	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

func (m *Main) auditCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "audit ID", Short: "Hold the provider's history against the ledger, recipient by recipient",
		Long: "Reads the provider's history and compares it with what the ledger says of each recipient of a\n" +
			"campaign: messages that are missing there, messages too many, another price, another status.\n" +
			"The exit code is 0 when both say the same, and 1 on any difference, or when the history could not\n" +
			"be read completely. --csv writes a line for each difference.",
		Args: exactArgs(1, "the campaign's number or name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.audit(cmd.Context(), args[0], file)
		},
	}
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
		row.Time = r.At.UTC().Format("2006-01-02T15:04:05Z")
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
	p, _, done, err := m.pricingProvider(ctx, l)
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
		return explainProvider(err)
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
			m.say("  %s  %s", strings.Repeat(" ", max(0, 9-len(number(line.n))))+number(line.n), line.text)
		}
	}
	switch {
	case !res.Complete && res.Missing > 0:
		m.say("the history could not be read completely (%s): who is missing may be there all the same", res.Doubt)
	case !res.Complete:
		m.say("the history could not be read completely (%s): this proves nothing", res.Doubt)
	case res.Differences() == 0:
		m.say("history and ledger say the same")
	}
}
