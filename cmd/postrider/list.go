package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
		Use: "list", Short: "Contact lists: import a file, look, export, remove, copy to the provider and back",
	},
		m.listPreviewCommand(), m.listImportCommand(), m.listLsCommand(), m.listShowCommand(), m.listCountCommand(), m.listExportCommand(), m.listRmCommand(),
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

// listJSON is what --json shows of a list.
type listJSON struct {
	ID         int64     `json:"id"`
	List       string    `json:"list"`
	Rows       int       `json:"rows"` // imported + duplicates + rejected + suppressed
	Imported   int       `json:"imported"`
	Duplicates int       `json:"duplicates"`
	Rejected   int       `json:"rejected"`
	Suppressed int       `json:"suppressed"`
	Columns    []string  `json:"columns"` // the list's own, beside those every list has
	Source     string    `json:"source"`  // base name of the file
	Created    time.Time `json:"created"`
}

func listOf(li *ledger.List) listJSON {
	return listJSON{
		ID: li.ID, List: li.Name, Rows: li.Rows, Imported: li.Contacts, Duplicates: li.Duplicates,
		Rejected: li.Rejected, Suppressed: li.Suppressed, Columns: append([]string{}, li.Columns...),
		Source: li.Source, Created: li.Created,
	}
}

func (m *Main) listImportCommand() *cobra.Command {
	var (
		reading jobs.FileReading
		columns jobs.ColumnFlags
	)
	cmd := &cobra.Command{
		Use: "import NAME FILE", Short: "Import a file as a list",
		Long: "Imports a file as a list: CSV in any encoding and with any delimiter, or a workbook (xlsx), also packed\n" +
			"with gzip or zip; - is standard input. Each recipient is taken once: the first row wins. Dropped rows\n" +
			"are written with line, column and reason to the current folder: those of customers.csv to\n" +
			"customers.rejects.csv, in place of an earlier one. `postrider list preview FILE` shows beforehand\n" +
			"what a file is understood as.",
		Example: "  postrider list import customers customers.csv --country AU\n" +
			"  postrider list import customers export.xlsx --sheet Customers",
		Args: exactArgs(2, "the list's name and the file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.listImport(cmd.Context(), args[0], args[1], reading, columns)
		},
	}
	// The configuration reads the flag, and checks it.
	cmd.Flags().String("country", "", "country of numbers written without one, such as AU")
	reading.AddFlags(cmd.Flags())
	columns.AddFlags(cmd.Flags())
	return cmd
}

func (m *Main) listImport(ctx context.Context, name, file string, reading jobs.FileReading, columns jobs.ColumnFlags) error {
	if err := checkListName(name); err != nil {
		return err
	}
	if flag, err := reading.Check(); err != nil {
		return usagef("--%s: %w", flag, err)
	}
	assigned, header, err := columns.Read()
	if err != nil {
		return &usageError{err}
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	// The half import of a process that died holds its name otherwise.
	if _, _, err := l.DiscardHalfPlans(ctx); err != nil {
		return err
	}
	r, err := m.preparer(l, nil).Import(ctx, jobs.ImportRequest{
		Name: name, File: file, Country: m.cfg.Country, Identity: campaign.ByContact, FileReading: reading,
		Map: assigned, Header: header, ShowValues: columns.ShowValues,
	})
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(struct {
			listJSON
			RejectsFile string `json:"rejects_file"`
		}{listOf(r.List), r.RejectsFile})
	}
	m.say("list %q: %s", r.List.Name, listSums(r.List))
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

func listSums(li *ledger.List) string {
	return fmt.Sprintf("%s rows: %s imported, %s duplicates, %s rejected, %s suppressed",
		number(li.Rows), number(li.Contacts), number(li.Duplicates), number(li.Rejected), number(li.Suppressed))
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
	rows := [][]string{{"ID", "NAME", "CONTACTS", "FROM FILE", "IMPORTED"}}
	for _, li := range all {
		state := li.Created.Local().Format("2006-01-02 15:04")
		if li.State != "ready" {
			state = "being imported"
		}
		rows = append(rows, []string{fmt.Sprint(li.ID), printable(li.Name), number(li.Contacts), printable(li.Source), state})
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
	hide, hidePhone := mask, maskPhone
	if values {
		hide, hidePhone = printable, printable
	}
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
	m.say("List %d %q, imported from %s on %s", li.ID, li.Name, printable(li.Source), li.Created.Local().Format("2006-01-02 15:04"))
	m.say("  %s", listSums(li))
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

func (m *Main) listExportCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export NAME", Short: "Write a list as CSV",
		Long: "Writes a list as CSV, to stdout or a file. A text that a spreadsheet would take for a formula\n" +
			"(it begins with = + - @, tab or carriage return) bears an apostrophe in front; numbers do not.\n" +
			"Importing the file again gives the same contacts.",
		Example: "  postrider list export customers -o customers.csv",
		Args:    exactArgs(1, "the list's name"),
		RunE:    func(cmd *cobra.Command, args []string) error { return m.listExport(cmd.Context(), args[0], out) },
	}
	cmd.Flags().StringVarP(&out, "output", "o", "-", "file to write; - is stdout")
	return cmd
}

func (m *Main) listExport(ctx context.Context, name, out string) error {
	if m.json && out == "-" {
		return usagef("with --json stdout belongs to its object: name a file with -o")
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	li, err := l.FindList(ctx, name)
	if err != nil {
		return err
	}
	n := 0
	err = m.writeOut(out, func(w io.Writer) error {
		n, err = exportList(ctx, w, l, li)
		return err
	})
	if err != nil {
		return err
	}
	if m.json {
		return m.printJSON(map[string]any{"list": li.Name, "contacts": n, "file": m.path(out)})
	}
	if out != "-" {
		m.say("%s contacts of list %q written to %s", number(n), li.Name, out)
	}
	return nil
}

// exportedColumns are those that every list has, under names that the importer
// reads. A row has one country: the address's, where it has one; an
// international number says its own.
var exportedColumns = [...]string{
	"phone", "email", "first_name", "last_name", "country", "reference",
	"address_name", "address_line_1", "address_line_2", "address_city", "address_state", "address_postal_code",
}

// exportList writes a list as CSV and returns how many contacts it has.
func exportList(ctx context.Context, w io.Writer, l *ledger.Ledger, li *ledger.List) (n int, err error) {
	out := csv.NewWriter(w)
	row := append([]string{}, exportedColumns[:]...)
	for _, name := range li.Columns {
		row = append(row, cell(name))
	}
	if err := out.Write(row); err != nil {
		return 0, err
	}
	err = l.EachContact(ctx, li.ID, func(c *campaign.Contact) error {
		a := &c.Address
		country := c.Country
		if a.Country != "" {
			country = a.Country
		}
		row = append(row[:0], cell(c.Phone), cell(c.Email), cell(c.FirstName), cell(c.LastName), cell(country), cell(c.Reference),
			cell(a.Name), cell(a.Line1), cell(a.Line2), cell(a.City), cell(a.State), cell(a.PostalCode))
		for i := range li.Columns {
			value := ""
			if i < len(c.Fields.Values) {
				value = c.Fields.Values[i]
			}
			row = append(row, cell(value))
		}
		n++
		return out.Write(row)
	})
	out.Flush()
	return n, errors.Join(err, out.Error())
}

// cell makes a text safe to open in a spreadsheet: what would be taken for a
// formula gets an apostrophe in front, and so does such a text that bears one
// already, so that taking one off gives the text back. Numbers, with their sign
// and phone numbers with their plus, stay as they are.
func cell(s string) string {
	bare := strings.TrimLeft(s, "'")
	if bare == "" || !strings.ContainsRune("=+-@\t\r", rune(bare[0])) || isNumber(s) {
		return s
	}
	return "'" + s
}

// isNumber reports whether s is a sign, digits and at most one decimal point:
// nothing that a spreadsheet could reckon with.
func isNumber(s string) bool {
	s = strings.TrimLeft(s[:1], "+-") + s[1:]
	digits, points := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			points++
		default:
			return false
		}
	}
	return digits > 0 && points <= 1
}

// writeOut hands fn a writer to stdout when path is "-", else to a file, which
// is there whole or, after an error, as it was before. Only its owner may read
// it.
func (m *Main) writeOut(path string, fn func(io.Writer) error) error {
	if path == "-" {
		w := bufio.NewWriterSize(m.Stdout, 1<<16)
		return errors.Join(fn(w), w.Flush())
	}
	path = m.path(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return usagef("%s is a folder: name a file in it", path)
	} else if err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // a pipe or a device
		if err != nil {
			return fmt.Errorf("the file cannot be written: %w", err)
		}
		w := bufio.NewWriterSize(f, 1<<16)
		return errors.Join(fn(w), w.Flush(), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".postrider-*.tmp")
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("%s cannot be written: there is no such folder", path)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	w := bufio.NewWriterSize(f, 1<<16)
	err = errors.Join(fn(w), w.Flush(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s was not written: %w", path, err), os.Remove(f.Name()))
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
	l, err := m.openLedger(ctx)
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
	if err := l.RemoveList(ctx, li.ID); err != nil {
		return err
	}
	if m.json {
		return m.printJSON(map[string]any{"list": li.Name, "removed": true})
	}
	m.say("list %q is removed; campaigns planned from it keep what was approved", li.Name)
	return nil
}
