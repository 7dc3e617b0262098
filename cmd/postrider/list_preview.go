package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/jobs"
)

// listPreview is what `list preview` was asked for.
type listPreview struct {
	reading jobs.FileReading
	columns jobs.ColumnFlags
	channel string
	rows    int
	rejects string
}

// mostPreviewed bounds --rows.
const mostPreviewed = 1000

func (m *Main) listPreviewCommand() *cobra.Command {
	var r listPreview
	cmd := &cobra.Command{
		Use: "preview FILE", Short: "Show what a file is understood as, and what of it would be imported; nothing is stored",
		Long: "Reads a file as `list import` and `send` would, and shows what it was understood as: encoding,\n" +
			"columns, the first contacts as they would be stored, and what would be dropped and why.\n" +
			"Nothing is stored. With --for the rows are counted as a campaign on that channel counts them,\n" +
			"and those that it would not be sent to, such as fixed lines, are counted with the reason.",
		Example: "  postrider list preview customers.csv --country AU\n" +
			"  postrider list preview kunden.csv --map phone=Handy --map notes=- --for sms",
		Args: exactArgs(1, "the file"),
		RunE: func(cmd *cobra.Command, args []string) error { return m.listPreview(cmd.Context(), args[0], &r) },
	}
	f := cmd.Flags()
	// The configuration reads the flag, and checks it.
	f.String("country", "", "country of numbers written without one, such as AU")
	r.reading.AddFlags(f)
	r.columns.AddFlags(f)
	f.Lookup("show-values").Usage = "show the contacts' values, here and in the report of --rejects, which are masked otherwise"
	f.StringVar(&r.channel, "for", "", "count as a campaign on this channel does: sms, mms, letter or postcard")
	f.IntVar(&r.rows, "rows", previewed, "how many contacts to show")
	f.StringVar(&r.rejects, "rejects", "", "file to list every dropped row in, with line, reason and what to do")
	return cmd
}

func (m *Main) listPreview(ctx context.Context, file string, r *listPreview) error {
	assigned, header, err := r.columns.Read()
	if err != nil {
		return &usageError{err}
	}
	if flag, err := r.reading.Check(); err != nil {
		return usagef("--%s: %w", flag, err)
	}
	if r.rows < 0 || r.rows > mostPreviewed {
		return usagef("--rows is from 0 to %s", number(mostPreviewed))
	}
	identity, channel := campaign.ByContact, campaign.Channel("")
	if r.channel != "" {
		if channel, err = campaign.ParseChannel(r.channel); err != nil {
			return usagef("--for: %w", err)
		}
		identity = (&campaign.Content{Channel: channel}).Identity()
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	request := jobs.PreviewRequest{First: r.rows, For: channel, ImportRequest: jobs.ImportRequest{
		File: file, Country: m.cfg.Country, Identity: identity, FileReading: r.reading, Map: assigned, Header: header, ShowValues: r.columns.ShowValues,
	}}
	if r.rejects != "" {
		request.Rejects = m.path(r.rejects)
	}
	p, err := m.preparer(l, nil).Preview(ctx, request)
	if p == nil || ctx.Err() != nil {
		return err
	}
	out := previewOf(file, p, r.columns.ShowValues)
	if err == nil && out.WouldImport == 0 {
		err = fmt.Errorf("%s: nothing of it would be imported: every row is dropped", file)
	}
	if m.json && err != nil {
		// One object only: it says what is wrong, too.
		out.Error, m.exitCode = err.Error(), exitFailed
		fmt.Fprintln(m.Stderr, "postrider: "+err.Error())
		return m.printJSON(out)
	}
	if m.json {
		return m.printJSON(out)
	}
	m.showPreview(out, p, r.columns.ShowValues)
	return err
}

// listPreviewJSON is what --json prints of a preview.
type listPreviewJSON struct {
	File        string             `json:"file"`
	Understood  importer.FileFacts `json:"understood"`
	AboveHeader int                `json:"above_header"` // rows above the header that are not contacts
	Columns     []importer.Column  `json:"columns"`
	Rows        int                `json:"rows"`
	WouldImport int                `json:"would_import"`
	Duplicates  int                `json:"duplicates"`
	Rejected    int                `json:"rejected"`
	Suppressed  int                `json:"suppressed"`
	Dropped     []jobs.DroppedRows `json:"dropped"`
	NotSent     []jobs.NotSent     `json:"not_sent"` // of those that would be imported; with --for
	RejectsFile string             `json:"rejects_file,omitempty"`
	First       []previewJSON      `json:"first"`
	Error       string             `json:"error,omitempty"` // why the file would not be imported
}

func previewOf(file string, p *jobs.Preview, values bool) listPreviewJSON {
	sum := &p.Summary
	out := listPreviewJSON{
		File: file, Understood: sum.File, AboveHeader: sum.AboveHeader, Columns: sum.Columns,
		Rows: sum.Rows, WouldImport: sum.Imported, Duplicates: sum.Duplicates, Rejected: sum.Rejected, Suppressed: sum.Suppressed,
		Dropped: append([]jobs.DroppedRows{}, p.Dropped...), NotSent: append([]jobs.NotSent{}, p.NotSent...), RejectsFile: p.RejectsFile, First: []previewJSON{},
	}
	hide, hidePhone := masks(values)
	for i := range p.First {
		out.First = append(out.First, preview(&p.First[i], hide, hidePhone))
	}
	return out
}

// showPreview prints a preview for people.
func (m *Main) showPreview(out listPreviewJSON, p *jobs.Preview, values bool) {
	m.say("%s: %s", printable(out.File), understood(&p.Summary))
	m.say("  columns")
	wide := 0
	for _, c := range out.Columns {
		wide = max(wide, len([]rune(columnTitle(c))))
	}
	wide = min(wide, 40)
	for _, c := range out.Columns {
		m.say("    %3d  %-*s  %s", c.Number, wide, columnTitle(c), columnUse(c))
	}
	if out.Understood.HeaderLine == 0 {
		m.say("  there is no header: what the columns hold was found out from their values; say more with --map, such as --map first_name=#1")
	}
	if len(out.First) > 0 {
		m.say("  first contacts, as they would be stored")
		for _, c := range out.First {
			m.say("    line %d: %s", c.Line, c.text(p.Summary.Fields))
		}
		if !values {
			m.say("    (values are masked: --show-values shows them)")
		}
	}
	m.say("  %s: %s would be imported, %s, %s rejected, %s suppressed",
		plural(out.Rows, "row"), number(out.WouldImport), plural(out.Duplicates, "duplicate"), number(out.Rejected), number(out.Suppressed))
	for _, d := range out.Dropped {
		in := ""
		if d.Column != "" {
			in = fmt.Sprintf(" in column %q", printable(d.Column))
		}
		m.say("    %s%s: %s, %s (%s). What to do: %s", d.Code, in, number(d.Rows), d.Reason, firstLines(d.Lines, d.Rows), d.Advice)
	}
	for _, n := range out.NotSent {
		m.say("  would not be sent to: %s %s (%s)", n.Reason, number(n.Contacts), firstLines(n.Lines, n.Contacts))
	}
	if out.RejectsFile != "" {
		m.say("  dropped rows, with line and reason: %s", out.RejectsFile)
	}
	m.say("nothing was stored")
}

// firstLines says on which lines rows stand: line 7, or lines 7, 8, ….
func firstLines(first []int, rows int) string {
	lines := "line "
	if rows > 1 {
		lines = "lines "
	}
	lines += strings.Trim(strings.ReplaceAll(fmt.Sprint(first), " ", ", "), "[]")
	if rows > len(first) {
		lines += ", …"
	}
	return lines
}

// understood says what a file was understood as.
func understood(sum *importer.Summary) string {
	f := sum.File
	parts := []string{strings.ToUpper(f.Format)}
	if f.Compression != "" {
		parts = append(parts, "compressed ("+f.Compression+")")
	}
	if f.Member != "" {
		parts = append(parts, "file "+printable(f.Member)+" in it")
	}
	if f.Sheet != "" {
		parts = append(parts, fmt.Sprintf("sheet %q", printable(f.Sheet)))
	}
	if f.Encoding != "" {
		parts = append(parts, f.Encoding)
	}
	if f.Delimiter != "" {
		name := map[string]string{",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}[f.Delimiter]
		if name == "" {
			name = fmt.Sprintf("%q", f.Delimiter)
		}
		parts = append(parts, name+" between cells")
	}
	switch {
	case f.HeaderLine == 0:
		parts = append(parts, "no header")
	case sum.AboveHeader > 0:
		parts = append(parts, fmt.Sprintf("header on line %d, below %s that %s no contact", f.HeaderLine, plural(sum.AboveHeader, "row"), map[bool]string{true: "is", false: "are"}[sum.AboveHeader == 1]))
	default:
		parts = append(parts, fmt.Sprintf("header on line %d", f.HeaderLine))
	}
	return strings.Join(parts, ", ")
}

// columnTitle is what a column is called in its file.
func columnTitle(c importer.Column) string {
	title := []rune(printable(c.Header))
	if len(title) > 40 {
		title = append(title[:39], '…')
	}
	return string(title)
}

// columnUse says what a column is, or becomes.
func columnUse(c importer.Column) string {
	switch {
	case c.Meaning != "":
		return c.Meaning
	case c.Field != "":
		return "kept as {{" + c.Field + "}}"
	}
	return "not stored"
}
