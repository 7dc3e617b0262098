package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

func (m *Main) optoutCommand() *cobra.Command {
	return group(&cobra.Command{
		Use: "optout", Short: "The suppression list: whoever must not be written to",
	}, m.optoutAddCommand(), m.optoutRmCommand(), m.optoutImportCommand(), m.optoutExportCommand(), m.optoutPullCommand(), m.optoutLsCommand(), m.optoutHistoryCommand())
}

// optOutTarget names entries of the suppression list on the command line.
type optOutTarget struct {
	emails  []string
	address campaign.Address // without the country, which is --country
}

func (t *optOutTarget) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&t.emails, "email", nil, "an e-mail address; may be given several times")
	f.StringVar(&t.address.Line1, "line-1", "", "street and number of an address")
	f.StringVar(&t.address.Line2, "line-2", "", "its second line")
	f.StringVar(&t.address.City, "city", "", "its city or suburb")
	f.StringVar(&t.address.State, "state", "", "its state; kept, and never needed to tell addresses apart")
	f.StringVar(&t.address.PostalCode, "postcode", "", "its postal code")
	f.StringVar(&t.address.Name, "name", "", "only this person at the address; without it everybody there")
	// The configuration reads the flag, and checks it.
	f.String("country", "", "country of numbers written without one, and of the address, such as AU")
}

// entries reads the arguments and flags. An error says which of them is wrong
// and does not repeat it: what is typed ends up in the logs of who runs it.
func (m *Main) entries(phones []string, t *optOutTarget) ([]campaign.OptOut, error) {
	var all []campaign.OptOut
	country := strings.ToUpper(m.cfg.Country)
	for i, text := range phones {
		which := fmt.Sprintf("argument %d", i+1)
		if strings.Contains(text, "@") {
			return nil, usagef("%s looks like an e-mail address: give it with --email", which)
		}
		e164, err := importer.ParsePhone(text, country)
		if campaign.ErrorCode(err) == campaign.CodeInvalid && err != nil {
			return nil, usagef("%s (%s): %w", which, mask(text), err)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, campaign.NewOptOutPhone(e164))
	}
	for i, text := range t.emails {
		o, err := campaign.NewOptOutEmail(text)
		if err != nil {
			return nil, usagef("--email number %d: %w", i+1, err)
		}
		all = append(all, o)
	}
	if t.address != (campaign.Address{}) {
		a := t.address
		a.Country = country
		o, err := campaign.NewOptOutAddress(a)
		if err != nil {
			return nil, usagef("the street address: %w (--line-1, --city, --postcode, --country)", err)
		}
		all = append(all, o)
	}
	if len(all) == 0 {
		return nil, usagef("name at least one phone number, --email or street address (--line-1, --city, --postcode, --country)")
	}
	return all, nil
}

func keysOf(all []campaign.OptOut) []campaign.OptOutKey {
	keys := make([]campaign.OptOutKey, len(all))
	for i := range all {
		keys[i] = all[i].OptOutKey
	}
	return keys
}

func (m *Main) optoutAddCommand() *cobra.Command {
	var (
		t    optOutTarget
		note ledger.OptOutNote
	)
	cmd := &cobra.Command{
		Use: "add [PHONE...]", Short: "Nothing goes to a number, an e-mail address or a street address any more",
		Long: "Puts numbers, e-mail addresses and a street address on the suppression list. From then on nothing\n" +
			"leaves for them, whatever was planned before:\n\n" +
			"  a phone number stops SMS and MMS to it;\n" +
			"  an e-mail address stops everything to the contacts that bear it, on every channel;\n" +
			"  a street address stops letters and postcards to it, or with --name to that person there.",
		Example: "  postrider optout add 0412345678 0412345679 --country AU --reason 'asked on the phone'\n" +
			"  postrider optout add --email ann@example.com\n" +
			"  postrider optout add --line-1 '12 High St' --city Perth --postcode 6000 --country AU --name 'Ann Smith'",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return m.optoutAdd(cmd.Context(), args, &t, note) },
	}
	t.addFlags(cmd)
	cmd.Flags().StringVar(&note.Reason, "reason", "", "why; it is kept with the entry")
	cmd.Flags().StringVar(&note.Source, "source", "cli", "where it comes from, such as 'call centre'")
	return cmd
}

// optOutAddedJSON is what --json prints of `optout add`.
type optOutAddedJSON struct {
	Added        int              `json:"added"`
	AlreadyThere int              `json:"already_there"`
	Held         []optOutHeldJSON `json:"held_by_provider"` // messages to these numbers that the provider has already and sends at its hour
	// Campaigns of which the provider holds messages, where it was not looked
	// whether any is for an e-mail address, a street address or what comes after
	// the first 100 entries.
	Unchecked []optOutHeldJSON `json:"held_unchecked"`
}

type optOutHeldJSON struct {
	Campaign int64     `json:"campaign"`
	Messages int       `json:"messages"`
	Until    time.Time `json:"until"`
}

func (m *Main) optoutAdd(ctx context.Context, phones []string, t *optOutTarget, note ledger.OptOutNote) error {
	all, err := m.entries(phones, t)
	if err != nil {
		return err
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	note.By = m.who()
	added, err := l.AddOptOuts(ctx, all, note)
	if err != nil {
		return err
	}
	out := optOutAddedJSON{Added: added, AlreadyThere: len(all) - added, Held: []optOutHeldJSON{}, Unchecked: []optOutHeldJSON{}}
	var numbers []string
	for _, o := range all[:min(len(all), 100)] {
		if o.Kind == campaign.OptOutPhone {
			numbers = append(numbers, o.Key)
		}
	}
	held, err := l.HeldFor(ctx, numbers)
	if err != nil {
		return fmt.Errorf("the opt-outs are on the list, but what the provider holds for them is not known: %w", err)
	}
	for _, h := range held {
		out.Held = append(out.Held, optOutHeldJSON{h.Campaign, h.Messages, h.Until})
	}
	if len(numbers) < len(all) {
		if out.Unchecked, err = m.heldUnchecked(ctx, l); err != nil {
			return err
		}
	}
	if m.json {
		return m.printJSON(out)
	}
	m.say("%s added, %s there already", plural(added, "opt-out"), number(out.AlreadyThere))
	m.sayUnchecked(out.Unchecked)
	for _, h := range held {
		m.say("the provider holds %s of campaign %d for them until %s, and sends that all the same: `postrider campaign cancel %d --to NUMBER` cancels it there",
			plural(h.Messages, "message"), h.Campaign, hour(h.Until), h.Campaign)
	}
	return nil
}

// heldUnchecked are the campaigns of which the provider holds messages, for
// whomever.
func (m *Main) heldUnchecked(ctx context.Context, l *ledger.Ledger) ([]optOutHeldJSON, error) {
	held, err := l.Held(ctx)
	if err != nil {
		return nil, fmt.Errorf("the opt-outs are on the list, but what the provider holds is not known: %w", err)
	}
	all := []optOutHeldJSON{}
	for _, h := range held {
		all = append(all, optOutHeldJSON{h.Campaign, h.Messages, h.Until})
	}
	return all, nil
}

func (m *Main) sayUnchecked(held []optOutHeldJSON) {
	for _, h := range held {
		m.say("the provider holds %s of campaign %d until %s; whether any of them is for these opt-outs was not looked up, and it would be sent all the same: see `postrider campaign cancel --help`",
			plural(h.Messages, "message"), h.Campaign, hour(h.Until))
	}
}

func (m *Main) optoutRmCommand() *cobra.Command {
	var (
		t      optOutTarget
		reason string
		yes    bool
	)
	cmd := &cobra.Command{
		Use: "rm [PHONE...]", Short: "Take entries off the suppression list: they may be written to again",
		Long: "Takes entries off the suppression list. Who did it, when and why stays on record\n" +
			"(`postrider optout history`). What was suppressed in a campaign stays so.",
		Example: "  postrider optout rm 0412345678 --country AU --reason 'signed up again on 3 May'",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.optoutRm(cmd.Context(), args, &t, reason, yes)
		},
	}
	t.addFlags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why they may be written to again; it stays on record")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (m *Main) optoutRm(ctx context.Context, phones []string, t *optOutTarget, reason string, yes bool) error {
	all, err := m.entries(phones, t)
	switch {
	case err != nil:
		return err
	case strings.TrimSpace(reason) == "":
		return usagef("say with --reason why they may be written to again: it stays on record")
	case !yes && !m.atTerminal():
		return usagef("there is no terminal to ask for a yes: add --yes to take %s off the suppression list", entriesText(len(all)))
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	var there []campaign.OptOut
	for _, o := range all {
		found, err := l.FindOptOut(ctx, o.OptOutKey)
		if err != nil {
			return err
		}
		if found != nil {
			there = append(there, found.OptOut)
		}
	}
	if len(there) == 0 {
		return campaign.Errorf(campaign.CodeNotFound, "none of these is on the suppression list: `postrider optout ls` shows what is; nothing was changed")
	}
	if !yes {
		ok, err := m.ask(ctx, fmt.Sprintf("Take %s off the suppression list, so that they may be written to again?", entriesText(len(there))))
		if err != nil {
			return err
		}
		if !ok {
			return stopf("nothing was changed: nobody said yes")
		}
	}
	removed, err := l.RemoveOptOuts(ctx, keysOf(there), ledger.OptOutNote{Reason: reason, By: m.who()})
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(map[string]any{"removed": removed, "not_there": len(all) - removed})
	}
	m.say("%s taken off the suppression list, %s not on it", entriesText(removed), number(len(all)-removed))
	return nil
}

func entriesText(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return number(n) + " entries"
}

func (m *Main) optoutImportCommand() *cobra.Command {
	var source, reason string
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Put the rows of a file on the suppression list",
		Long: "Puts every phone number, e-mail address and street address of a file on the suppression list, whole or\n" +
			"not at all; - is stdin. The file is read like a contact list, and may be a single column of numbers\n" +
			"or e-mail addresses without a header. Of a row with several of them all count. An address with a name\n" +
			"bars that person there, without one everybody there. Columns called source and reason are kept with\n" +
			"the entries. What is on the list already stays as it is.",
		Example: "  postrider optout import unsubscribed.csv --country AU --reason 'newsletter'",
		Args:    exactArgs(1, "the file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.optoutImport(cmd.Context(), args[0], source, reason)
		},
	}
	// The configuration reads the flag, and checks it.
	cmd.Flags().String("country", "", "country of numbers and addresses written without one, such as AU")
	cmd.Flags().StringVar(&source, "source", "", "where all of them come from; the file's name when left out")
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept with each entry")
	return cmd
}

// optOutImportJSON is what --json prints of `optout import`.
type optOutImportJSON struct {
	Rows         int    `json:"rows"`       // taken + duplicates + rejected
	Taken        int    `json:"taken"`      // rows that count
	Duplicates   int    `json:"duplicates"` // rows that repeat an earlier one
	Rejected     int    `json:"rejected"`
	Partly       int    `json:"partly"`  // of taken: rows of which a part could not be read
	Entries      int    `json:"entries"` // numbers and addresses in the rows that count: added + already_there
	Added        int    `json:"added"`
	AlreadyThere int    `json:"already_there"`
	RejectsFile  string `json:"rejects_file"`
	// Campaigns of which the provider holds messages: not looked through.
	Unchecked []optOutHeldJSON `json:"held_unchecked"`
}

func (m *Main) optoutImport(ctx context.Context, file, source, reason string) error {
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.DiscardHalfOptOuts(ctx); err != nil {
		return err
	}
	r, err := m.preparer(l, nil).ImportOptOuts(ctx, jobs.OptOutRequest{
		File: file, In: m.Stdin, Country: strings.ToUpper(m.cfg.Country), Source: source, Reason: reason,
	})
	if err != nil {
		return err
	}
	s := r.Summary
	unchecked, err := m.heldUnchecked(ctx, l)
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(optOutImportJSON{
			Unchecked: unchecked,
			Rows:      s.Rows, Taken: s.Imported, Duplicates: s.Duplicates, Rejected: s.Rejected, Partly: s.Partly,
			Entries: r.Entries, Added: r.Added, AlreadyThere: r.Entries - r.Added, RejectsFile: r.RejectsFile,
		})
	}
	m.say("%s added, %s there already", plural(r.Added, "opt-out"), number(r.Entries-r.Added))
	m.sayUnchecked(unchecked)
	m.say("%s: %s taken, %s, %s rejected", plural(s.Rows, "row"), number(s.Imported), plural(s.Duplicates, "duplicate"), number(s.Rejected))
	if s.Partly > 0 {
		m.say("of %s taken a part could not be read", plural(s.Partly, "row"))
	}
	if r.RejectsFile != "" {
		m.say("what could not be read, with line and reason: %s", r.RejectsFile)
	}
	return nil
}

func (m *Main) optoutExportCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export", Short: "Write the suppression list as CSV",
		Long: "Writes the suppression list as CSV, to stdout or a file, one entry a row. A text that a spreadsheet would\n" +
			"take for a formula bears an apostrophe in front. Importing the file changes nothing where it comes\n" +
			"from, and gives another ledger the same list.",
		Example: "  postrider optout export -o optouts.csv",
		Args:    exactArgs(0, "nothing else"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return m.optoutExport(cmd.Context(), out) },
	}
	cmd.Flags().StringVarP(&out, "output", "o", "-", "file to write; - is stdout")
	return cmd
}

func (m *Main) optoutExport(ctx context.Context, out string) error {
	if m.json && out == "-" {
		return usagef("with --json stdout belongs to its object: name a file with -o")
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	n := 0
	err = m.writeOut(out, func(w io.Writer) error {
		n, err = exportOptOuts(ctx, w, l)
		return err
	})
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(map[string]any{"entries": n, "file": m.path(out)})
	}
	if out != "-" {
		m.say("%s written to %s", plural(n, "opt-out"), out)
	}
	return nil
}

// exportOptOuts writes the suppression list under names that the importer reads.
func exportOptOuts(ctx context.Context, w io.Writer, l *ledger.Ledger) (n int, err error) {
	out := csv.NewWriter(w)
	err = out.Write([]string{"phone", "email", "address_name", "address_line_1", "address_line_2", "address_city", "address_state",
		"address_postal_code", "address_country", "source", "reason", "added_by", "added_at"})
	if err != nil {
		return 0, err
	}
	err = l.EachOptOut(ctx, func(o *ledger.OptOut) error {
		var phone, email string
		switch o.Kind {
		case campaign.OptOutPhone:
			phone = o.Key
		case campaign.OptOutEmail:
			email = o.Key
		}
		a := &o.Address
		n++
		return out.Write([]string{phone, cell(email), cell(a.Name), cell(a.Line1), cell(a.Line2), cell(a.City), cell(a.State),
			cell(a.PostalCode), cell(a.Country), cell(o.Source), cell(o.Reason), cell(o.By), o.At.Format(time.RFC3339)})
	})
	out.Flush()
	return n, errors.Join(err, out.Error())
}

// optOutJSON is what --json shows of an entry.
type optOutJSON struct {
	Kind    string            `json:"kind"`
	Value   string            `json:"value,omitempty"`   // of a phone number or an e-mail address; masked unless asked for
	Address *campaign.Address `json:"address,omitempty"` // likewise, but for the country
	Source  string            `json:"source"`
	Reason  string            `json:"reason"`
	By      string            `json:"by"`
	At      time.Time         `json:"at"`
}

// optOutOf shows an entry, masked unless its values were asked for.
func optOutOf(o *campaign.OptOut, values bool) optOutJSON {
	hide, hidePhone := masks(values)
	out := optOutJSON{Kind: o.Kind.String()}
	switch o.Kind {
	case campaign.OptOutPhone:
		out.Value = hidePhone(o.Key)
	case campaign.OptOutEmail:
		out.Value = hide(o.Key)
	default:
		out.Address = preview(&campaign.Contact{Address: o.Address}, hide, hidePhone).Address
	}
	return out
}

// text is the entry in one line.
func (o *optOutJSON) text() string {
	if o.Address == nil {
		return o.Value
	}
	p := previewJSON{Address: o.Address}
	return p.text(nil)
}

// optOutQuery says which entries or changes are shown.
type optOutQuery struct {
	kind   string
	limit  int
	values bool
}

func (q *optOutQuery) addFlags(cmd *cobra.Command, what string) {
	f := cmd.Flags()
	f.StringVar(&q.kind, "kind", "", "only phone, email or address")
	f.IntVar(&q.limit, "limit", 20, "how many "+what+" are shown at most, the newest first")
	f.BoolVar(&q.values, "show-values", false, "show numbers and addresses in full; they are masked otherwise")
}

func (q *optOutQuery) check() (kind campaign.OptOutKind, err error) {
	if q.kind != "" {
		if kind, err = campaign.ParseOptOutKind(q.kind); err != nil {
			return 0, usagef("--kind: %w", err)
		}
	}
	if q.limit < 0 {
		return 0, usagef("--limit: %d is less than nothing", q.limit)
	}
	return kind, nil
}

func (m *Main) optoutLsCommand() *cobra.Command {
	var q optOutQuery
	cmd := &cobra.Command{
		Use: "ls", Short: "Count the suppression list by kind and source, and show its newest entries",
		Args: exactArgs(0, "nothing else"),
		RunE: func(cmd *cobra.Command, _ []string) error { return m.optoutLs(cmd.Context(), &q) },
	}
	q.addFlags(cmd, "entries")
	return cmd
}

// shownSources is how many sources `optout ls` counts apart for people.
const shownSources = 20

func (m *Main) optoutLs(ctx context.Context, q *optOutQuery) error {
	kind, err := q.check()
	if err != nil {
		return err
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	counts, err := l.CountOptOuts(ctx)
	if err != nil {
		return err
	}
	newest, err := l.NewestOptOuts(ctx, kind, q.limit)
	if err != nil {
		return err
	}
	type countJSON struct {
		Kind   string `json:"kind"`
		Source string `json:"source"`
		Count  int    `json:"count"`
	}
	total, all, shown := 0, []countJSON{}, []optOutJSON{}
	for _, c := range counts {
		if kind == 0 || c.Kind == kind {
			total += c.Count
			all = append(all, countJSON{c.Kind.String(), c.Source, c.Count})
		}
	}
	for _, o := range newest {
		j := optOutOf(&o.OptOut, q.values)
		j.Source, j.Reason, j.By, j.At = o.Source, o.Reason, o.By, o.At
		shown = append(shown, j)
	}
	if m.json {
		return m.printJSON(map[string]any{"total": total, "counts": all, "newest": shown})
	}
	if total == 0 {
		m.say("nobody is on the suppression list: `postrider optout add --help`, `postrider optout import --help`")
		return nil
	}
	m.say("%s", plural(total, "opt-out"))
	rows := [][]string{{"KIND", "SOURCE", "COUNT"}}
	more := 0
	for i, c := range all {
		if i < shownSources {
			rows = append(rows, []string{c.Kind, printable(c.Source), number(c.Count)})
		} else {
			more += c.Count
		}
	}
	if more > 0 {
		rows = append(rows, []string{"", "others", number(more)})
	}
	if err := m.table(rows); err != nil || len(shown) == 0 {
		return err
	}
	m.say("")
	rows = [][]string{{"ADDED", "KIND", "WHO", "SOURCE", "REASON", "BY"}}
	for i := range shown {
		o := &shown[i]
		rows = append(rows, []string{o.At.Local().Format("2006-01-02 15:04"), o.Kind, o.text(), printable(o.Source), printable(o.Reason), printable(o.By)})
	}
	if err := m.table(rows); err != nil {
		return err
	}
	m.sayMasked(q.values)
	return nil
}

func (m *Main) sayMasked(values bool) {
	if !values {
		m.say("(masked: --show-values shows them)")
	}
}

func (m *Main) optoutHistoryCommand() *cobra.Command {
	var (
		q optOutQuery
		t optOutTarget
	)
	cmd := &cobra.Command{
		Use: "history [PHONE]", Short: "Show what was added to the suppression list and taken off it, by whom and why",
		Long: "Shows the last changes of the suppression list, the newest first: all of them, or those of one number,\n" +
			"e-mail address or street address.",
		Example: "  postrider optout history\n  postrider optout history 0412345678 --country AU",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.optoutHistory(cmd.Context(), args, &t, &q)
		},
	}
	q.addFlags(cmd, "changes")
	t.addFlags(cmd)
	return cmd
}

// optOutChangeJSON is what --json shows of a change.
type optOutChangeJSON struct {
	Change string `json:"change"` // added or removed
	optOutJSON
}

func (m *Main) optoutHistory(ctx context.Context, phones []string, t *optOutTarget, q *optOutQuery) error {
	kind, err := q.check()
	if err != nil {
		return err
	}
	key := ""
	if len(phones) > 0 || len(t.emails) > 0 || t.address != (campaign.Address{}) {
		all, err := m.entries(phones, t)
		switch {
		case err != nil:
			return err
		case len(all) > 1:
			return usagef("name one number, e-mail address or street address, or none for the whole history")
		case kind != 0 && kind != all[0].Kind:
			return usagef("--kind %s does not go with what is named: leave it out", kind)
		}
		kind, key = all[0].Kind, all[0].Key
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	changes, err := l.OptOutHistory(ctx, kind, key, q.limit)
	if err != nil {
		return err
	}
	shown := []optOutChangeJSON{}
	for i := range changes {
		c := &changes[i]
		j := optOutChangeJSON{"added", optOutOf(&c.OptOut, q.values)}
		if c.Removed {
			j.Change = "removed"
		}
		j.Source, j.Reason, j.By, j.At = c.Source, c.Reason, c.By, c.At
		shown = append(shown, j)
	}
	if m.json {
		return m.printJSON(map[string]any{"changes": shown})
	}
	if len(shown) == 0 {
		m.say("nothing of that was ever on the suppression list")
		return nil
	}
	rows := [][]string{{"AT", "CHANGE", "KIND", "WHO", "SOURCE", "REASON", "BY"}}
	for i := range shown {
		c := &shown[i]
		rows = append(rows, []string{c.At.Local().Format("2006-01-02 15:04"), c.Change, c.Kind, c.text(), printable(c.Source), printable(c.Reason), printable(c.By)})
	}
	if err := m.table(rows); err != nil {
		return err
	}
	m.sayMasked(q.values)
	return nil
}
