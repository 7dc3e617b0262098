package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

func (m *Main) listCommand() *cobra.Command {
	return group(&cobra.Command{
		Use: "list", Short: "Contact lists: import a file, change, look, export, remove, copy to the provider and back",
	},
		m.listPreviewCommand(), m.listImportCommand(), m.listLsCommand(), m.listShowCommand(), m.listCountCommand(), m.listExportCommand(), m.listDedupeCommand(), m.listRmCommand(),
		m.listPushCommand(), m.listPullCommand(), m.listRemoteCommand())
}

// group is a command that only holds others. Called without one of them, or
// with one that it does not have, it is wrong usage.
func group(c *cobra.Command, children ...*cobra.Command) *cobra.Command {
	c.AddCommand(children...)
	c.Args = cobra.ArbitraryArgs
	c.Annotations = map[string]string{"config": "none"}
	c.RunE = func(c *cobra.Command, args []string) error {
		var names []string
		for _, child := range c.Commands() {
			if child.IsAvailableCommand() {
				names = append(names, child.Name())
			}
		}
		known := strings.Join(names, ", ")
		if len(args) == 0 {
			return usagef("`%s` needs one of %s (see `%s --help`)", c.CommandPath(), known, c.CommandPath())
		}
		return usagef("`%s` has no %q; it has %s", c.CommandPath(), args[0], known)
	}
	return c
}

// listJSON is what --json shows of a list: what is in it, and what the change
// that made it came to.
type listJSON struct {
	ID         int64       `json:"id"` // of the version
	List       string      `json:"list"`
	Version    int         `json:"version"`
	Contacts   int         `json:"contacts"` // in it now
	Mode       ledger.Mode `json:"mode"`
	Rows       int         `json:"rows"` // imported + duplicates + rejected + suppressed
	Imported   int         `json:"imported"`
	Duplicates int         `json:"duplicates"`
	Rejected   int         `json:"rejected"`
	Suppressed int         `json:"suppressed"`
	Added      int         `json:"added"`
	Updated    int         `json:"updated"`
	Unchanged  int         `json:"unchanged"`
	Columns    []string    `json:"columns"` // the list's own, beside those every list has
	Source     string      `json:"source"`  // base name of the file
	Created    time.Time   `json:"created"` // of the version
}

func listOf(li *ledger.List) listJSON {
	return listJSON{
		ID: li.ID, List: li.Name, Version: li.Version, Contacts: li.Contacts, Mode: li.Mode,
		Rows: li.Rows, Imported: li.Imported, Duplicates: li.Duplicates, Rejected: li.Rejected, Suppressed: li.Suppressed,
		Added: li.Added, Updated: li.Updated, Unchanged: li.Unchanged,
		Columns: append([]string{}, li.Columns...), Source: li.Source, Created: li.Created,
	}
}

// importFlags say what becomes of a list that has the name already.
type importFlags struct {
	append, replace bool
	update          string
}

func (f importFlags) mode(cmd *cobra.Command) (ledger.Mode, error) {
	given, mode := []string{}, ledger.Mode("")
	for flag, m := range map[string]ledger.Mode{"append": ledger.Appended, "replace": ledger.Replaced, "update": ledger.Updated} {
		if cmd.Flags().Changed(flag) {
			given, mode = append(given, "--"+flag), m
		}
	}
	slices.Sort(given)
	switch {
	case len(given) > 1:
		return "", usagef("%s exclude each other: give one of them", strings.Join(given, " and "))
	case mode == ledger.Appended && !f.append, mode == ledger.Replaced && !f.replace:
		return "", nil
	case mode == ledger.Updated && strings.TrimSpace(f.update) == "":
		return "", usagef("--update needs the column by which contacts are found again, such as --update reference")
	}
	return mode, nil
}

func (m *Main) listImportCommand() *cobra.Command {
	var (
		f       importFlags
		reading jobs.FileReading
		columns jobs.ColumnFlags
	)
	cmd := &cobra.Command{
		Use: "import NAME FILE", Short: "Import a file as a list, or into one",
		Long: "Imports a file as a list: CSV in any encoding and with any delimiter, or a workbook (xlsx), also packed\n" +
			"with gzip or zip; - is standard input. Each recipient is taken once: the first row wins. Dropped rows\n" +
			"are written with line, column and reason to the current folder: those of customers.csv to\n" +
			"customers.rejects.csv, in place of an earlier one. `postrider list preview FILE` shows beforehand\n" +
			"what a file is understood as.\n\n" +
			"Into a list that is there already, a file goes in one of three ways; a list that is not there is\n" +
			"made. The list is changed whole or not at all, and doing the same twice changes nothing.\n\n" +
			"  --append      adds the rows whose recipient is not in the list yet\n" +
			"  --replace     puts the file in the place of what is there\n" +
			"  --update KEY  finds contacts by KEY (phone, email, reference or a column of the list's own),\n" +
			"                writes what the row says over what they hold, and adds the rows that are of\n" +
			"                nobody. An empty cell, or a column that the file lacks, says nothing. Contacts\n" +
			"                that the file does not name stay.",
		Example: "  postrider list import customers customers.csv --country AU\n" +
			"  postrider list import customers export.xlsx --sheet Customers --replace\n" +
			"  postrider list import customers changes.csv --update reference",
		Args: exactArgs(2, "the list's name and the file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			mode, err := f.mode(cmd)
			if err != nil {
				return err
			}
			return m.listImport(cmd.Context(), &columns, jobs.ImportRequest{
				Name: args[0], File: args[1], Identity: campaign.ByContact, FileReading: reading, Mode: mode, Key: strings.TrimSpace(f.update),
			})
		},
	}
	// The configuration reads the flag, and checks it.
	cmd.Flags().String("country", "", "country of numbers written without one, such as AU")
	reading.AddFlags(cmd.Flags())
	columns.AddFlags(cmd.Flags())
	cmd.Flags().BoolVar(&f.append, "append", false, "add what the list does not have")
	cmd.Flags().BoolVar(&f.replace, "replace", false, "put the file in the place of what the list has")
	cmd.Flags().StringVar(&f.update, "update", "", "`KEY` by which contacts are found, to be changed")
	return cmd
}

// openLists opens the ledger for a command that changes lists. What an import
// whose process died has left goes first, whole: it would hold a name, and the
// disk.
func (m *Main) openLists(ctx context.Context) (*ledger.Ledger, error) {
	l, err := m.openLedger(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := l.DiscardHalfPlans(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (m *Main) listImport(ctx context.Context, columns *jobs.ColumnFlags, request jobs.ImportRequest) error {
	if err := checkListName(request.Name); err != nil {
		return err
	}
	if flag, err := request.FileReading.Check(); err != nil {
		return usagef("--%s: %w", flag, err)
	}
	var err error
	if request.Map, request.Header, err = columns.Read(); err != nil {
		return &usageError{err}
	}
	request.Country, request.ShowValues = m.cfg.Country, columns.ShowValues
	l, err := m.openLists(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	mode := request.Mode
	r, err := m.preparer(l, nil).Import(ctx, request)
	if err != nil {
		return err
	}
	if m.json {
		// What this import came to, also when it changed nothing.
		run := *r.List
		run.ListCounts = r.Counts
		if run.Mode = mode; mode == "" {
			run.Mode = ledger.Imported
		}
		return m.printJSON(struct {
			listJSON
			Changed     bool   `json:"changed"`
			RejectsFile string `json:"rejects_file"`
		}{listOf(&run), r.Changed, r.RejectsFile})
	}
	m.say("list %q: %s", r.List.Name, countsOf(r.Counts))
	switch {
	case !r.Changed:
		m.say("nothing changed: it has these contacts already (%s, version %d)", number(r.List.Contacts), r.List.Version)
	case mode == "":
	case r.List.Version == 1:
		m.say("there was no such list: it is made, with %s contacts", number(r.List.Contacts))
	case mode == ledger.Replaced:
		m.say("version %d, in the place of what was there: %s contacts", r.List.Version, number(r.List.Contacts))
	default:
		m.say("version %d: %s, and now %s contacts", r.List.Version, changesOf(r.Counts), number(r.List.Contacts))
	}
	if r.RejectsFile != "" {
		m.say("dropped rows, with line and reason: %s", r.RejectsFile)
	}
	return nil
}

// checkListName refuses names of lists that could not be told from something
// else.
func checkListName(name string) error {
	if err := campaign.CheckName("list", name); err != nil {
		return &usageError{err}
	}
	return nil
}

func countsOf(n ledger.ListCounts) string {
	return fmt.Sprintf("%s: %s imported, %s, %s rejected, %s suppressed",
		plural(n.Rows, "row"), number(n.Imported), plural(n.Duplicates, "duplicate"), number(n.Rejected), number(n.Suppressed))
}

func changesOf(n ledger.ListCounts) string {
	return fmt.Sprintf("%s added, %s updated, %s unchanged", number(n.Added), number(n.Updated), number(n.Unchanged))
}

// madeBy says how the version of a list came about.
func madeBy(li *ledger.List) string {
	source := printable(li.Source)
	switch li.Mode {
	case ledger.Appended:
		return "appended from " + source
	case ledger.Replaced:
		return "replaced by " + source
	case ledger.Updated:
		return "updated from " + source
	case ledger.Deduped:
		return "duplicates taken out"
	}
	return "imported from " + source
}

func (m *Main) listLsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "Show every list",
		Args: exactArgs(0, "nothing else"),
		RunE: func(cmd *cobra.Command, _ []string) error { return m.listLs(cmd.Context()) },
	}
}

func (m *Main) listLs(ctx context.Context) error {
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	all, err := l.Lists(ctx)
	if err != nil {
		return err
	}
	if m.json {
		lists := make([]listJSON, len(all))
		for i, li := range all {
			lists[i] = listOf(li)
		}
		return m.printJSON(map[string]any{"lists": lists})
	}
	if len(all) == 0 {
		m.say("there are no lists yet: `postrider list import NAME FILE` makes one")
		return nil
	}
	rows := [][]string{{"NAME", "CONTACTS", "VERSION", "LAST CHANGE", "ON"}}
	for _, li := range all {
		rows = append(rows, []string{printable(li.Name), number(li.Contacts), fmt.Sprint(li.Version), madeBy(li), li.Created.Local().Format("2006-01-02 15:04")})
	}
	return m.table(rows)
}

// table prints rows under each other; the first is the head.
func (m *Main) table(rows [][]string) error {
	w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.TrimRight(strings.Join(r, "\t"), "\t"))
	}
	return w.Flush()
}

// previewJSON is one of the first contacts of a list, masked unless asked
// otherwise.
type previewJSON struct {
	Line      int               `json:"line,omitempty"`
	Phone     string            `json:"phone,omitempty"`
	Email     string            `json:"email,omitempty"`
	FirstName string            `json:"first_name,omitempty"`
	LastName  string            `json:"last_name,omitempty"`
	Country   string            `json:"country,omitempty"`
	Reference string            `json:"reference,omitempty"`
	Address   *campaign.Address `json:"address,omitempty"`
	Fields    map[string]string `json:"fields,omitempty"`
}

// preview shows a contact, with every value but the country masked by hide.
func preview(c *campaign.Contact, hide func(string) string, hidePhone func(string) string) previewJSON {
	p := previewJSON{
		Line: c.Line, Phone: hidePhone(c.Phone), Email: hide(c.Email), FirstName: hide(c.FirstName), LastName: hide(c.LastName),
		Country: c.Country, Reference: hide(c.Reference),
	}
	if a := c.Address; a != (campaign.Address{}) {
		p.Address = &campaign.Address{
			Name: hide(a.Name), Line1: hide(a.Line1), Line2: hide(a.Line2), City: hide(a.City), State: hide(a.State),
			PostalCode: hide(a.PostalCode), Country: a.Country,
		}
	}
	for name, value := range c.Fields.All() {
		if value == "" {
			continue
		}
		if p.Fields == nil {
			p.Fields = map[string]string{}
		}
		p.Fields[name] = hide(value)
	}
	return p
}

// masks are how values and numbers are shown: masked, unless all is to be seen.
func masks(showValues bool) (hide, hidePhone func(string) string) {
	if showValues {
		return printable, printable
	}
	return mask, maskPhone
}

// mask leaves the first character of a value to be seen.
func mask(s string) string {
	if s == "" {
		return ""
	}
	r, _ := utf8.DecodeRuneInString(s)
	return printable(string(r)) + "•••"
}

// maskPhone leaves the country code and the last two digits to be seen.
func maskPhone(s string) string {
	if len(s) < 8 {
		return mask(s)
	}
	return s[:3] + strings.Repeat("•", len(s)-5) + s[len(s)-2:]
}

// printable replaces what could play tricks on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return '·'
		}
		return r
	}, s)
}

// text is the preview in one line.
func (p previewJSON) text(columns []string) string {
	var parts []string
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	add(p.Phone)
	add(strings.TrimSpace(p.FirstName + " " + p.LastName))
	add(p.Email)
	if a := p.Address; a != nil {
		for _, s := range []string{a.Name, a.Line1, a.Line2, a.City, a.State, a.PostalCode, a.Country} {
			add(s)
		}
	} else {
		add(p.Country)
	}
	add(p.Reference)
	for _, name := range columns {
		if v := p.Fields[name]; v != "" {
			add(name + "=" + v)
		}
	}
	return strings.Join(parts, ", ")
}

// previewed is how many contacts `list show` shows.
const previewed = 5

func (m *Main) listShowCommand() *cobra.Command {
	var values bool
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show a list's counts, columns and first contacts",
		Args: exactArgs(1, "the list's name"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.listShow(cmd.Context(), args[0], values) },
	}
	cmd.Flags().BoolVar(&values, "show-values", false, "show the contacts' values, which are masked otherwise")
	return cmd
}

func (m *Main) listShow(ctx context.Context, name string, values bool) error {
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	li, err := l.FindList(ctx, name)
	if err != nil {
		return err
	}
	hide, hidePhone := masks(values)
	var first []previewJSON
	enough := errors.New("enough")
	err = l.EachContact(ctx, li.ID, func(c *campaign.Contact) error {
		first = append(first, preview(c, hide, hidePhone))
		if len(first) == previewed {
			return enough
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return err
	}
	if m.json {
		return m.printJSON(struct {
			listJSON
			First []previewJSON `json:"first"`
		}{listOf(li), append([]previewJSON{}, first...)})
	}
	m.say("List %q with %s contacts, version %d: %s on %s", li.Name, number(li.Contacts), li.Version, madeBy(li), li.Created.Local().Format("2006-01-02 15:04"))
	m.say("  %s", countsOf(li.ListCounts))
	if li.Version > 1 && li.Mode != ledger.Replaced && li.Mode != ledger.Deduped {
		m.say("  %s", changesOf(li.ListCounts))
	}
	if len(li.Columns) > 0 {
		m.say("  columns of its own: %s", strings.Join(li.Columns, ", "))
	}
	for _, p := range first {
		m.say("  line %d: %s", p.Line, p.text(li.Columns))
	}
	if n := li.Contacts - len(first); n > 0 {
		m.say("  and %s more", number(n))
	}
	if len(first) > 0 && !values {
		m.say("  (values are masked: --show-values shows them)")
	}
	return nil
}

func (m *Main) listRmCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Remove a list",
		Long: "Removes a list. Campaigns that were planned from it keep what was approved, and their reports.",
		Args: exactArgs(1, "the list's name"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.listRm(cmd.Context(), args[0], yes) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (m *Main) listRm(ctx context.Context, name string, yes bool) error {
	if !yes && !m.atTerminal() {
		return usagef("there is no terminal to ask for a yes: add --yes to remove list %q", name)
	}
	l, err := m.openLists(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	li, err := l.FindList(ctx, name)
	if err != nil {
		return err
	}
	if li.Name == "" {
		return campaign.Errorf(campaign.CodeConflict, "list %d is the audience of a campaign and goes with it: there is nothing to remove", li.ID)
	}
	if !yes {
		ok, err := m.ask(ctx, fmt.Sprintf("Remove list %q with its %s contacts?", li.Name, number(li.Contacts)))
		if err != nil {
			return err
		}
		if !ok {
			return stopf("not removed: nobody said yes")
		}
	}
	if err := l.RemoveNamedList(ctx, li.Name); err != nil {
		return err
	}
	if m.json {
		return m.printJSON(map[string]any{"list": li.Name, "removed": true})
	}
	m.say("list %q is removed; campaigns planned from it keep what was approved", li.Name)
	return nil
}
