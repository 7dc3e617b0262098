package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gocarina/gocsv"
	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
)

// dedupeRequest is what `list dedupe` is asked for.
type dedupeRequest struct {
	name, by, keep      string
	dryRun, yes, values bool
}

func (m *Main) listDedupeCommand() *cobra.Command {
	var r dedupeRequest
	cmd := &cobra.Command{
		Use: "dedupe NAME", Short: "Take out contacts that stand in a list twice",
		Long: "Takes out contacts that stand in a list twice, and writes which ones to the current folder: those\n" +
			"of list customers to customers.duplicates.csv, in place of an earlier one. Two contacts are the\n" +
			"same by --by: recipient is what an import goes by (the number; with an address, everything);\n" +
			"address is the name and the whole address, household the address whoever lives there; phone, email, reference and a column of the list's own\n" +
			"are the value there. A contact that has nothing there stays. Campaigns that were planned from the\n" +
			"list keep what was approved.",
		Example: "  postrider list dedupe customers --by email --keep last --dry-run",
		Args:    exactArgs(1, "the list's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.name = args[0]
			return m.listDedupe(cmd.Context(), &r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.by, "by", "recipient", "what makes two contacts the same: recipient, phone, email, address, household, reference or a column")
	f.StringVar(&r.keep, "keep", "first", "which of them stays: first or last")
	f.BoolVar(&r.dryRun, "dry-run", false, "only count and report them")
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	f.BoolVar(&r.values, "show-values", false, "write the contacts' values into the report, which are masked otherwise")
	return cmd
}

func (m *Main) listDedupe(ctx context.Context, r *dedupeRequest) error {
	switch {
	case r.keep != "first" && r.keep != "last":
		return usagef("--keep is first or last, not %q", r.keep)
	case r.dryRun && r.yes:
		return usagef("--dry-run takes nothing out, so there is nothing to say --yes to: leave one of them out")
	case !r.dryRun && !r.yes && !m.atTerminal():
		return usagef("there is no terminal to ask for a yes: add --yes, or --dry-run to see what would be taken out of list %q", r.name)
	}
	l, err := m.openLists(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	li, err := l.FindList(ctx, r.name)
	if err != nil {
		return err
	}
	if li.Name == "" {
		return campaign.Errorf(campaign.CodeConflict, "list %d is the audience of a campaign, and stays as it was approved", li.ID)
	}
	d, err := m.preparer(l, nil).FindDuplicates(ctx, li, r.by, r.keep == "last")
	if err != nil {
		return err
	}
	if d.Count > 0 && !r.dryRun && !r.yes {
		ok, err := m.ask(ctx, fmt.Sprintf("Take %s of the %s contacts of list %q out, for they have the same %s as another (the %s stays)?",
			number(d.Count), number(li.Contacts), li.Name, r.by, r.keep))
		if err != nil {
			return err
		}
		if !ok {
			return stopf("nothing was taken out: nobody said yes")
		}
	}
	report := ""
	if d.Count > 0 {
		report = strings.Map(func(c rune) rune {
			if c == '/' || c == '\\' {
				return '_'
			}
			return c
		}, li.Name) + ".duplicates.csv"
		err = m.writeOut(report, func(w io.Writer) error {
			out := newDuplicatesReport(w, r)
			if r.dryRun {
				err = d.Each(ctx, out.write)
			} else {
				li, err = d.Remove(ctx, out.write)
			}
			return errors.Join(err, out.close())
		})
		if err != nil {
			return err
		}
		report = m.path(report)
	}
	if m.json {
		left := li.Contacts
		return m.printJSON(struct {
			List       string `json:"list"`
			By         string `json:"by"`
			Keep       string `json:"keep"`
			Duplicates int    `json:"duplicates"`
			Contacts   int    `json:"contacts"` // in the list now
			Version    int    `json:"version"`
			Changed    bool   `json:"changed"`
			ReportFile string `json:"report_file"`
		}{li.Name, r.by, r.keep, d.Count, left, li.Version, d.Count > 0 && !r.dryRun, report})
	}
	switch {
	case d.Count == 0:
		m.say("list %q has no two contacts with the same %s: nothing changed", li.Name, r.by)
		return nil
	case r.dryRun:
		m.say("list %q: %s of %s contacts have the same %s as another, and would be taken out", li.Name, number(d.Count), number(li.Contacts), r.by)
	default:
		m.say("list %q: %s contacts were taken out, and %s are left (version %d)", li.Name, number(d.Count), number(li.Contacts), li.Version)
	}
	m.say("which ones: %s", report)
	return nil
}

// duplicatesReport lists contacts too many as CSV.
type duplicatesReport struct {
	csv     *gocsv.SafeCSVWriter
	r       *dedupeRequest
	rows    []duplicateRow
	started bool
}

type duplicateRow struct {
	Position int    `csv:"position"`      // in the list as it was, from 1
	Line     int    `csv:"line"`          // of the file it came from
	Kept     int    `csv:"kept_position"` // the contact that stays
	By       string `csv:"by"`
	Value    string `csv:"value"`
	Name     string `csv:"name"`
}

func newDuplicatesReport(w io.Writer, r *dedupeRequest) *duplicatesReport {
	return &duplicatesReport{csv: gocsv.NewSafeCSVWriter(csv.NewWriter(w)), r: r}
}

func (d *duplicatesReport) write(one jobs.Duplicate) error {
	c := one.Contact
	value := c.Phone
	switch d.r.by {
	case "recipient", "phone":
	case "address":
		value = c.Address.Line1
	default:
		value, _ = c.Field(d.r.by)
	}
	name, _ := c.Field("name")
	if !d.r.values {
		if value == c.Phone {
			value = maskPhone(value)
		} else {
			value = mask(value)
		}
		name = mask(name)
	}
	d.rows = append(d.rows, duplicateRow{one.Position, c.Line, one.Kept, d.r.by, cell(value), cell(name)})
	if len(d.rows) >= 500 {
		return d.flush()
	}
	return nil
}

func (d *duplicatesReport) close() error { return d.flush() }

func (d *duplicatesReport) flush() error {
	write := gocsv.MarshalCSVWithoutHeaders
	if !d.started {
		write = gocsv.MarshalCSV
	}
	d.started = true
	if err := write(&d.rows, d.csv); err != nil {
		return fmt.Errorf("writing the report of duplicates: %w", err)
	}
	d.rows = d.rows[:0]
	d.csv.Flush()
	return d.csv.Error()
}
