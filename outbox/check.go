package outbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/document"
	"github.com/postrider/postrider/importer"
)

// maxReference is how many characters a reference has.
const maxReference = 100

// file is a file of the outbox, looked into once however many rows name it.
type file struct {
	code, reason string // why it cannot be sent; empty when it can
}

// checker judges the rows of one manifest.
type checker struct {
	run   *Run
	name  string
	ready bool // the manifest was said to be finished: its files are, too

	verdicts []verdict
	bad      []BadRow
	refs     map[[16]byte]int32 // reference -> its first row
	settings map[Settings]int32
	order    []Settings
}

// youngFile is the error of a file that was changed a moment ago.
type youngFile struct {
	path string
	age  time.Duration
}

func (y *youngFile) Error() string { return y.path + " was changed a moment ago" }

// check judges some rows: those mailed before need nothing more; the others are
// held to the rules, and then their files.
func (c *checker) check(ctx context.Context, rows []manifestRow) error {
	was, err := c.mailed(rows)
	if err != nil {
		return err
	}
	first := len(c.verdicts)
	var paths []string
	for i := range rows {
		row := &rows[i]
		v := verdict{line: int32(row.line), digest: digest(row.Reference)}
		if was[row.Reference] {
			v.kind = mailed
			if p, ok := local(row.File); ok {
				c.run.used[p] = true
			}
			c.verdicts = append(c.verdicts, v)
			continue
		}
		c.verdicts = append(c.verdicts, v)
		settings, ok := c.judge(row, len(c.verdicts)-1)
		if !ok {
			continue
		}
		c.verdicts[len(c.verdicts)-1].index = c.setting(settings)
		if p, ok := local(row.File); ok {
			paths = append(paths, p)
		}
	}
	if err := c.inspect(ctx, paths); err != nil {
		return err
	}
	for i := range rows {
		v := &c.verdicts[first+i]
		if v.kind != good {
			continue
		}
		p, _ := local(rows[i].File)
		if f := c.run.files[p]; f.code != "" {
			c.refuse(first+i, &rows[i], "file", f.code, "%s", f.reason)
		}
	}
	return nil
}

// mailed asks which of the rows were mailed before.
func (c *checker) mailed(rows []manifestRow) (map[string]bool, error) {
	if c.run.o.Mailed == nil {
		return nil, nil
	}
	var refs []string
	for i := range rows {
		if ref := rows[i].Reference; ref != "" && rows[i].text {
			refs = append(refs, ref)
		}
	}
	if len(refs) == 0 {
		return nil, nil
	}
	was, err := c.run.o.Mailed(refs)
	if err != nil {
		return nil, fmt.Errorf("asking which references of %s were mailed before: %w", c.name, err)
	}
	return was, nil
}

// digest stands for a reference: 128 bits of SHA-256.
func digest(reference string) [16]byte {
	sum := sha256.Sum256([]byte(reference))
	return [16]byte(sum[:16])
}

// setting is the number of a set of options within the manifest.
func (c *checker) setting(s Settings) int32 {
	i, ok := c.settings[s]
	if !ok {
		i = int32(len(c.order))
		c.settings[s], c.order = i, append(c.order, s)
	}
	return i
}

// refuse marks a row as one that cannot be sent.
func (c *checker) refuse(at int, row *manifestRow, column, code, format string, args ...any) {
	c.verdicts[at].kind, c.verdicts[at].index = bad, int32(len(c.bad))
	c.bad = append(c.bad, BadRow{
		Manifest: c.name, Line: row.line, Reference: row.Reference, File: row.File,
		Column: column, Code: code, Reason: fmt.Sprintf(format, args...),
	})
}

// judge holds a row to everything but its file's content.
func (c *checker) judge(row *manifestRow, at int) (s Settings, ok bool) {
	no := func(column, code, format string, args ...any) (Settings, bool) {
		c.refuse(at, row, column, code, format, args...)
		return Settings{}, false
	}
	if !row.text {
		row.Reference, row.File = strings.ToValidUTF8(row.Reference, "�"), strings.ToValidUTF8(row.File, "�")
		return no("", CodeBadRow, "the row is not UTF-8: save the manifest as CSV UTF-8")
	}
	if row.cells > 0 {
		return no("", CodeBadRow, "the row has %d cells, more than the header: put quotes around a cell that holds the character between cells", row.cells)
	}
	switch ref := row.Reference; {
	case ref == "":
		return no("reference", CodeNoReference, "the reference is blank: give each letter one of its own, such as its invoice number, by which it is mailed once and never again")
	case utf8.RuneCountInString(ref) > maxReference || strings.ContainsFunc(ref, unicode.IsControl):
		return no("reference", CodeBadReference, "the reference has more than %d characters, or a line break in it: shorten it", maxReference)
	}
	digest := c.verdicts[at].digest
	if first, twice := c.refs[digest]; twice {
		line := c.verdicts[first].line
		if c.verdicts[first].kind == good {
			c.refuse(int(first), &manifestRow{line: int(line), Reference: row.Reference}, "reference", CodeDuplicateReference,
				"line %d has the same reference: neither is sent, since nobody can tell which is meant; give each letter its own", row.line)
		}
		return no("reference", CodeDuplicateReference, "line %d has the same reference: neither is sent, since nobody can tell which is meant; give each letter its own", line)
	}
	c.refs[digest] = int32(at)

	a := row.address(c.run.o.Country)
	if a.Country == "" && row.Country != "" {
		return no("address_country", CodeUnknownCountry, "the country is not understood: write its code of two letters, such as AU")
	}
	if missing := a.Missing(); len(missing) > 0 {
		return no(missing[0], CodeIncompleteAddress, "the address is incomplete (%s missing): fill in what is missing", strings.Join(missing, ", "))
	}
	if fault := a.Fault(); fault != nil {
		return no(fault.Field, CodeBadAddress, "the cell %s", fault.Text)
	}
	d := c.run.o.Defaults
	for _, f := range []struct {
		column, cell string
		value        *bool
		otherwise    bool
	}{
		{"colour", row.Colour, &s.Colour, d.Colour}, {"duplex", row.Duplex, &s.Duplex, d.Duplex},
		{"priority", row.Priority, &s.Priority, d.Priority}, {"template_used", row.TemplateUsed, &s.TemplateUsed, d.TemplateUsed},
	} {
		if *f.value, ok = yes(f.cell, f.otherwise); !ok {
			return no(f.column, CodeBadFlag, "%q is neither yes nor no: write yes, no, 1, 0, true or false, or leave it blank for what the schedule says", f.cell)
		}
	}
	s.ReturnAddressID = d.ReturnAddressID
	if row.ReturnAddress != "" {
		id, err := strconv.ParseInt(row.ReturnAddress, 10, 64)
		if err != nil || id <= 0 {
			return no("return_address", CodeBadReturnAddress, "%q is no id of a return address: give a number from `postrider address ls`, or leave it blank", row.ReturnAddress)
		}
		s.ReturnAddressID = id
	}
	if s.ReturnAddressID <= 0 {
		return no("return_address", CodeNoReturnAddress, "the return address is blank, and the schedule has none: give an id from `postrider address ls`")
	}
	if row.File == "" {
		return no("file", CodeNoFile, "the row names no file: give the path of its letter from the outbox, such as invoices/1001.pdf")
	}
	if _, ok := local(row.File); !ok {
		return no("file", CodeOutside, "%s leads out of the outbox: give the path of a file inside it, from the folder on", row.File)
	}
	return s, true
}

// address is the row's, its country as a code; empty when it is not understood.
func (row *manifestRow) address(country string) campaign.Address {
	a := campaign.Address{
		Name: row.AddressName, Line1: row.AddressLine1, Line2: row.AddressLine2,
		City: row.City, State: row.State, PostalCode: row.PostalCode, Country: country,
	}
	if row.Country != "" {
		a.Country, _ = importer.CountryCode(row.Country)
	}
	a.Tidy()
	return a
}

// local is the path of a file inside the outbox, and whether it is one.
func local(name string) (string, bool) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", false
	}
	p := clean(name)
	return p, fs.ValidPath(p) && p != "." && (len(p) < 2 || p[1] != ':') // no drive of Windows
}

// inspect looks into the files that nobody has looked into yet.
func (c *checker) inspect(ctx context.Context, paths []string) error {
	slices.Sort(paths)
	paths = slices.Compact(paths)
	paths = slices.DeleteFunc(paths, func(p string) bool { return c.run.files[p] != nil })
	found := make([]*file, len(paths))
	warnings := make([][]string, len(paths))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.run.o.Workers)
	for i, p := range paths {
		g.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			found[i], warnings[i], err = c.look(p)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, p := range paths {
		c.run.files[p] = found[i]
		for _, w := range warnings[i] {
			if len(c.run.Warnings) < MaxWarnings {
				c.run.Warnings = append(c.run.Warnings, w)
			}
		}
	}
	return nil
}

// look looks into one file. The folder is opened as a root, so that no link
// leads out of it.
func (c *checker) look(p string) (*file, []string, error) {
	refused := func(code, format string, args ...any) (*file, []string, error) {
		return &file{code, fmt.Sprintf(format, args...)}, nil, nil
	}
	info, err := c.run.root.Stat(p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refused(CodeFileNotFound, "there is no file %s in the outbox: put it there, or mend the row", p)
	case err != nil && strings.Contains(err.Error(), "escapes"): // os has no name for it
		return refused(CodeOutside, "%s is a link that leads out of the outbox: put the file itself there", p)
	case err != nil:
		return refused(CodeNotAFile, "%s cannot be read (%v): see its permissions", p, unpathed(err))
	case !info.Mode().IsRegular():
		return refused(CodeNotAFile, "%s is a folder or something else that is no file: name a file", p)
	case info.Size() > document.MaxSize:
		return refused(string(document.CodeTooLarge), "%s has %.1f MB, and at most %d are sent: make its pictures smaller", path.Base(p), float64(info.Size())/(1<<20), document.MaxSize>>20)
	}
	if age := c.run.o.Now().Sub(info.ModTime()); !c.ready && age < c.run.o.Quiet {
		return nil, nil, &youngFile{p, age}
	}
	content, err := c.run.root.ReadFile(p)
	if err != nil {
		return refused(CodeNotAFile, "%s cannot be read (%v): see its permissions", p, unpathed(err))
	}
	checked, err := document.CheckLetter(p, content)
	var f *document.Fault
	if errors.As(err, &f) {
		return refused(string(f.Code), "%s", f.Error())
	}
	return &file{}, checked.Warnings, err
}

// unpathed is the cause of an error of a file, without the file's path.
func unpathed(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
