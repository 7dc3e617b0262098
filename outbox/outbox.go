// Package outbox reads a folder into which another program puts letters: the
// files, and manifests that say to whom each goes. It checks all of it before
// anything is sent, sorts the good rows into campaigns, and writes the report
// of what became of each row. It sends nothing itself and changes nothing in
// the folder but for the report.
package outbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
)

// DefaultQuiet is how long a manifest and its files must have been left
// unchanged to be taken for finished.
const DefaultQuiet = 2 * time.Minute

// FileColumn is the field of a contact that holds the path of its letter, from
// the outbox; ManifestColumn the one that holds the name of its manifest.
const (
	FileColumn     = "file"
	ManifestColumn = "manifest"
)

// Options of Read.
type Options struct {
	Now   func() time.Time // time.Now when nil
	Quiet time.Duration    // DefaultQuiet when 0
	// Country is that of rows without one: ISO 3166-1 alpha-2; empty: none.
	Country string
	// Defaults are what a blank cell means.
	Defaults Settings
	// Mailed tells which references were mailed before, ever. It is asked for
	// at most 500 at a time. Nil: none was.
	Mailed func(refs []string) (map[string]bool, error)
	// Workers is how many files are checked at the same time; one per processor
	// when 0. Each holds one file in memory.
	Workers int
}

// Settings are how a letter is printed and sent. A campaign has one set of
// them, so that each distinct set among the rows makes a campaign.
type Settings struct {
	Colour, Duplex, Priority, TemplateUsed bool
	ReturnAddressID                        int64 // the provider's
}

// Run is what an outbox was found to hold. Its rows stay in the manifests and
// are read again when they are asked for.
type Run struct {
	Folder    string
	Manifests []*Manifest // that were read, by name
	Waiting   []Waiting   // manifests that are perhaps still being written
	Broken    []Broken    // manifests of which nothing can be read
	Groups    []*Group    // what is to be sent, each a campaign; those with the first rows first
	Bad       []BadRow    // what cannot be
	// Unused are files that no row names. They are looked for only when all
	// manifests could be read, and when they have been quiet for as long.
	Unused []string
	// Warnings are what a person should know of files that will be sent, at
	// most MaxWarnings of them.
	Warnings []string

	root   *os.Root
	o      Options
	files  map[string]*file   // that were looked into
	used   map[string]bool    // that rows name whose letters were mailed before
	places map[[16]byte]place // of the good rows, by their references
}

// MaxWarnings is how many warnings of files a run keeps.
const MaxWarnings = 20

// Manifest is a manifest that was read to its end.
type Manifest struct {
	Name string // base name
	// Rows is the sum of the other four.
	Rows, Good, Bad int
	Mailed          int // whose reference was mailed by an earlier run
	Repeated        int // whose reference is sent by another manifest of this run

	hash     [sha256.Size]byte
	verdicts []verdict
}

// Waiting is a manifest that was left alone.
type Waiting struct {
	Manifest string
	Reason   string
}

// Broken is a manifest of which no row was taken, and why. The error is a
// *importer.FileError, or one of reading the file.
type Broken struct {
	Manifest string
	Err      error
}

// BadRow is a row that cannot be sent.
type BadRow struct {
	Manifest  string
	Line      int // of the manifest, from 1
	Reference string
	File      string // as the row names it
	Column    string // at fault; empty when the whole row is
	Code      string // as the constants of this package and document.Code name it
	Reason    string // what was found, what was expected, what to do
}

// Codes of bad rows, besides those of package document.
const (
	CodeNoReference        = "missing_reference"
	CodeBadReference       = "bad_reference"
	CodeDuplicateReference = "duplicate_reference"
	CodeNoFile             = "missing_file"
	CodeFileNotFound       = "file_not_found"
	CodeOutside            = "outside_folder"
	CodeNotAFile           = "not_a_file"
	CodeIncompleteAddress  = "incomplete_address"
	CodeUnknownCountry     = "unknown_country"
	CodeBadAddress         = "bad_address"
	CodeBadFlag            = "bad_flag"
	CodeBadReturnAddress   = "bad_return_address"
	CodeNoReturnAddress    = "missing_return_address"
	CodeBadRow             = "bad_row"
)

// Group is the rows that one campaign can carry.
type Group struct {
	Settings
	Rows int

	run *Run
	at  int
}

// verdict is what a row was found to be.
type verdict struct {
	line   int32
	kind   kind
	index  int32 // of the group, or of the bad row
	digest [16]byte
}

type kind int8

const (
	good kind = iota
	bad
	mailed
	repeated
)

// place is where a row stands.
type place struct{ manifest, row int32 }

// Read looks at everything in an outbox. That manifests are bad, rows are bad
// or nothing is there is no error. Close the run when its rows are not needed
// any more.
func Read(ctx context.Context, folder string, o Options) (*Run, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Quiet == 0 {
		o.Quiet = DefaultQuiet
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Country != "" {
		code, ok := importer.CountryCode(o.Country)
		if !ok {
			return nil, campaign.Errorf(campaign.CodeInvalid, "there is no country %q: give its code of two letters, such as AU", o.Country)
		}
		o.Country = code
	}
	root, err := os.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, campaign.Errorf(campaign.CodeNotFound, "there is no outbox %s: make the folder, or mend the schedule", folder)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the outbox: %w", err)
	}
	r := &Run{Folder: folder, root: root, o: o, files: map[string]*file{}, used: map[string]bool{}, places: map[[16]byte]place{}}
	if err := r.read(ctx); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return r, nil
}

// Close lets go of the folder.
func (r *Run) Close() error { return r.root.Close() }

// Rows is how many letters are to be sent.
func (r *Run) Rows() (n int) {
	for _, g := range r.Groups {
		n += g.Rows
	}
	return n
}

func (r *Run) read(ctx context.Context) error {
	entries, err := fs.ReadDir(r.root.FS(), ".") // sorted by name
	if err != nil {
		return fmt.Errorf("reading the outbox: %w", err)
	}
	for _, e := range entries {
		if !isManifest(e.Name()) {
			continue
		}
		info, err := r.root.Stat(e.Name())
		if err != nil || !info.Mode().IsRegular() {
			continue // gone again, or a folder
		}
		if err := r.readManifest(ctx, e.Name(), info); err != nil {
			return err
		}
	}
	if len(r.Waiting) == 0 && len(r.Broken) == 0 {
		return r.findUnused(ctx)
	}
	return nil
}

// isManifest tells manifests from reports and from what programs hide.
func isManifest(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasSuffix(lower, ".csv") && !strings.HasSuffix(lower, reportSuffix) && !strings.HasPrefix(name, ".")
}

// readManifest checks all rows of one manifest. Nothing of it is kept when it
// turns out to be unfinished or broken.
func (r *Run) readManifest(ctx context.Context, name string, info fs.FileInfo) error {
	wait := func(format string, args ...any) {
		r.Waiting = append(r.Waiting, Waiting{name, fmt.Sprintf(format, args...)})
	}
	ready := r.saidReady(name, info)
	if age := r.o.Now().Sub(info.ModTime()); !ready && age < r.o.Quiet {
		wait("it was changed %s ago, and is read when it has been left alone for %s, or at once when %s.ready is made after it", age.Round(time.Second), r.o.Quiet, name)
		return nil
	}
	if info.Size() > maxManifest {
		r.Broken = append(r.Broken, Broken{name, &importer.FileError{Name: name, Problem: fmt.Sprintf("the manifest has more than %d MB: split it", maxManifest>>20)}})
		return nil
	}
	f, err := r.root.Open(name)
	if err != nil {
		r.Broken = append(r.Broken, Broken{name, err})
		return nil
	}
	defer f.Close()
	c := &checker{run: r, name: name, ready: ready, refs: map[[16]byte]int32{}, settings: map[Settings]int32{}}
	hash, err := scan(ctx, f, name, func(rows []manifestRow) error { return c.check(ctx, rows) })
	var young *youngFile
	var broken *importer.FileError
	switch {
	case errors.As(err, &young):
		wait("its file %s was changed %s ago: everything must have been left alone for %s, or %s.ready be made", young.path, young.age.Round(time.Second), r.o.Quiet, name)
		return nil
	case errors.As(err, &broken):
		r.Broken = append(r.Broken, Broken{name, broken})
		return nil
	case err != nil:
		return err
	}
	if now, err := r.root.Stat(name); err != nil || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
		wait("it was changed while it was read")
		return nil
	}
	r.take(c, hash)
	return nil
}

// saidReady reports whether there is a .ready file beside the manifest, made
// after it: an older one speaks of what stood there before.
func (r *Run) saidReady(name string, info fs.FileInfo) bool {
	for _, ready := range []string{name + ".ready", strings.TrimSuffix(name, path.Ext(name)) + ".ready"} {
		if mark, err := r.root.Stat(ready); err == nil && !mark.ModTime().Before(info.ModTime()) {
			return true
		}
	}
	return false
}

// take adds what was found in a manifest to the run.
func (r *Run) take(c *checker, hash [sha256.Size]byte) {
	m := &Manifest{Name: c.name, Rows: len(c.verdicts), hash: hash, verdicts: c.verdicts}
	groups := make([]int32, len(c.order))
	for i := range groups {
		groups[i] = -1
	}
	first := int32(len(r.Bad))
	for i := range m.verdicts {
		v := &m.verdicts[i]
		switch v.kind {
		case bad:
			m.Bad++
			v.index += first
		case mailed:
			m.Mailed++
		case good:
			if _, taken := r.places[v.digest]; taken {
				v.kind = repeated
				m.Repeated++
				continue
			}
			r.places[v.digest] = place{int32(len(r.Manifests)), int32(i)}
			m.Good++
			g := &groups[v.index]
			if *g < 0 {
				*g = r.group(c.order[v.index])
			}
			v.index = *g
			r.Groups[*g].Rows++
		}
	}
	r.Bad = append(r.Bad, c.bad...)
	r.Manifests = append(r.Manifests, m)
}

// group finds the group of rows with the same settings, or makes it.
func (r *Run) group(s Settings) int32 {
	for i, g := range r.Groups {
		if g.Settings == s {
			return int32(i)
		}
	}
	r.Groups = append(r.Groups, &Group{Settings: s, run: r, at: len(r.Groups)})
	return int32(len(r.Groups) - 1)
}

// findUnused lists the letters that no row names.
func (r *Run) findUnused(ctx context.Context) error {
	return fs.WalkDir(r.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return nil // gone again, or not ours to read
		case e.IsDir() && strings.HasPrefix(e.Name(), ".") && name != ".":
			return fs.SkipDir
		case e.IsDir() || strings.HasPrefix(e.Name(), ".") || r.files[name] != nil || r.used[name]:
			return nil
		}
		ext := strings.TrimPrefix(strings.ToLower(path.Ext(name)), ".")
		if ext == "jpeg" {
			ext = "jpg"
		}
		if !slices.Contains(campaign.FileTypes(campaign.Letter), ext) {
			return nil
		}
		if info, err := e.Info(); err == nil && r.o.Now().Sub(info.ModTime()) >= r.o.Quiet {
			r.Unused = append(r.Unused, name)
		}
		return nil
	})
}

// Content is what the campaign of the group sends, each letter from the file
// that its contact's field FileColumn names. Plan it with the outbox as the
// folder that paths start from.
func (g *Group) Content() campaign.Content {
	return campaign.Content{
		Channel: campaign.Letter, FileColumn: FileColumn,
		Colour: g.Colour, Duplex: g.Duplex, Priority: g.Priority, TemplateUsed: g.TemplateUsed, ReturnAddressID: g.ReturnAddressID,
	}
}

// WriteAudience hands the group's contacts to a list, in the order of the
// manifests, and says how many they were. An error means that the list must be
// dropped: a manifest was changed since it was read (campaign.CodeConflict), or
// the sink's own. No two of the contacts are the same letter.
func (g *Group) WriteAudience(ctx context.Context, sink importer.Sink) (int, error) {
	written := 0
	chunk := make([]campaign.Contact, 0, chunkRows)
	hand := func() error {
		if len(chunk) == 0 {
			return nil
		}
		written += len(chunk)
		err := sink.Contacts(ctx, chunk)
		chunk = make([]campaign.Contact, 0, chunkRows)
		return err
	}
	for c, err := range g.Contacts(ctx) {
		if err != nil {
			return written, err
		}
		if chunk = append(chunk, c); len(chunk) == chunkRows {
			if err := hand(); err != nil {
				return written, err
			}
		}
	}
	return written, hand()
}

// Contacts yields the group's contacts in the order of the manifests. After an
// error nothing follows, and what came before is not to be sent.
func (g *Group) Contacts(ctx context.Context) iter.Seq2[campaign.Contact, error] {
	return func(yield func(campaign.Contact, error) bool) {
		header := campaign.NewColumns(FileColumn, ManifestColumn)
		for _, m := range g.run.Manifests {
			err := g.run.each(ctx, m, func(row *manifestRow, v verdict) error {
				if v.kind != good || int(v.index) != g.at {
					return nil
				}
				c := campaign.Contact{
					Line: row.line, Reference: row.Reference, Address: row.address(g.run.o.Country),
					Fields: campaign.Fields{Columns: header, Values: []string{clean(row.File), m.Name}},
				}
				if !yield(c, nil) {
					return errStopped
				}
				return nil
			})
			if errors.Is(err, errStopped) {
				return
			}
			if err != nil {
				yield(campaign.Contact{}, err)
				return
			}
		}
	}
}

var errStopped = errors.New("nobody wants more")

// each reads a manifest again, and holds it to what it was.
func (r *Run) each(ctx context.Context, m *Manifest, fn func(*manifestRow, verdict) error) error {
	changed := campaign.Errorf(campaign.CodeConflict, "%s was changed after it had been checked: nothing of it may be sent as it is; run again", m.Name)
	f, err := r.root.Open(m.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return campaign.Errorf(campaign.CodeConflict, "%s is gone since it was checked: run again", m.Name)
	}
	if err != nil {
		return fmt.Errorf("reading %s again: %w", m.Name, err)
	}
	defer f.Close()
	i := 0
	hash, err := scan(ctx, f, m.Name, func(rows []manifestRow) error {
		for k := range rows {
			if i == len(m.verdicts) || int(m.verdicts[i].line) != rows[k].line {
				return changed
			}
			if err := fn(&rows[k], m.verdicts[i]); err != nil {
				return err
			}
			i++
		}
		return nil
	})
	var broken *importer.FileError
	switch {
	case errors.As(err, &broken):
		return changed
	case err != nil:
		return err
	case i != len(m.verdicts) || !sameManifest(hash, m.hash):
		return changed
	}
	return nil
}

// clean is the path of a file as the outbox knows it: with slashes, from the
// folder on.
func clean(file string) string {
	return path.Clean(filepath.ToSlash(strings.ReplaceAll(file, `\`, "/")))
}
