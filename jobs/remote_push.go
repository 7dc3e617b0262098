package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/ledger"
)

// A file of an import has at most so many rows and about so many bytes. The
// provider states no limit. A file must be fetched within ten minutes of its
// upload, one that fails as a whole should cost little, and an import whose
// answer is lost is told by a count of this size.
const (
	importRows  = 5000
	importBytes = 2 << 20
)

// maxRounds is how often what is missing at the provider is imported again.
const maxRounds = 6

// PushRequest is a list that is to be copied to the provider.
type PushRequest struct {
	List       *ledger.List
	RemoteName string // of the provider's list, which is made; may be empty with RemoteID
	RemoteID   int64  // of a list that is there already, to which the contacts are added; else 0
	// Custom are up to four columns that become custom_1 to custom_4.
	Custom []string
	// Wait is how long the provider may take, all in all, to import what it was
	// given.
	Wait time.Duration
}

// PushPlan is what a push will do.
type PushPlan struct {
	Remote  clicksend.ContactList // Name alone when the list is to be made
	Resumes bool                  // the list was made by an earlier push of this one
	Account ledger.Provider

	Contacts    int // that are to be at the provider in the end
	Suppressed  int // have opted out, and stay here
	Unreachable int // without phone, fax and e-mail: the provider cannot keep them
	Same        int // like another in all that the provider keeps
	NotCopied   []ColumnCount

	r       *Remote
	request PushRequest
	fields  personFields
	// outOf tells whether a contact has opted out.
	outOf func(*campaign.Contact) bool
}

// ColumnCount is a column, and how many contacts have a value in it.
type ColumnCount struct {
	Column string `json:"column"`
	Values int    `json:"values"`
}

// Pushed is what a push came to.
type Pushed struct {
	Remote  clicksend.ContactList
	Already int // contacts that were there before
	// Imported is how many rows the provider was given, again and again when it
	// lost some.
	Imported    int
	Lost        int // imports whose answer was lost
	Removed     int // duplicates that the provider removed
	Missing     int
	MissingFile string // lists the missing contacts; empty when there are none
	Others      int    // contacts on the provider's list that are not on ours
	Surplus     int    // contacts that are on both lists, and there more often than here
	// Growing says that the provider was still importing when the waiting ended.
	// Then Missing may be told from the count alone, and MissingFile be empty.
	Growing bool
}

// PreparePush finds out what a push will do, and changes nothing. A name that
// the account has already is a CodeExists that names the list's id, unless an
// earlier push of the same list made it.
func (r *Remote) PreparePush(ctx context.Context, q PushRequest) (*PushPlan, error) {
	p := &PushPlan{r: r, request: q}
	if q.List.Name == "" {
		return nil, campaign.Errorf(campaign.CodeConflict, "list %d is the audience of a campaign and has no name: import it with `postrider list import NAME FILE` first", q.List.ID)
	}
	if err := p.fields.choose(q.List, q.Custom); err != nil {
		return nil, err
	}
	var err error
	if p.Account, err = r.identity(ctx); err != nil {
		return nil, Explain(err)
	}
	if err := p.findTarget(ctx); err != nil {
		return nil, err
	}
	optedOut, err := r.Ledger.OptedOut(ctx)
	if err != nil {
		return nil, err
	}
	// What the provider's list is for is not known: who is barred from one channel
	// is kept from all.
	p.outOf = func(c *campaign.Contact) bool {
		return optedOut.Bars(c, campaign.SMS) || optedOut.Bars(c, campaign.Letter)
	}
	return p, p.count(ctx)
}

// choose says which columns become which fields.
func (f *personFields) choose(li *ledger.List, custom []string) error {
	if len(custom) > len(f.custom) {
		return campaign.Errorf(campaign.CodeInvalid, "--custom names %d columns, and the provider keeps four besides its own: custom_1 to custom_4", len(custom))
	}
	has := func(name string) bool { return slices.Contains(li.Columns, name) }
	for i, name := range custom {
		switch {
		case name == "reference", name == "country", name == "address_name", has(name):
		default:
			return campaign.Errorf(campaign.CodeInvalid, "--custom: list %q has no column %q; it has %s", li.Name, name,
				strings.Join(append(slices.Clone(li.Columns), "reference", "country", "address_name"), ", "))
		}
		if slices.Contains(custom[:i], name) {
			return campaign.Errorf(campaign.CodeInvalid, "--custom names the column %q twice", name)
		}
		f.custom[i] = name
	}
	if len(custom) == 0 {
		// What a pull has brought goes back to where it was.
		for i := range f.custom {
			if name := fmt.Sprint("custom_", i+1); has(name) {
				f.custom[i] = name
			}
		}
	}
	if has("organization_name") && !slices.Contains(custom, "organization_name") {
		f.organization = "organization_name"
	}
	if has("fax_number") && !slices.Contains(custom, "fax_number") {
		f.fax = "fax_number"
	}
	return nil
}

// findTarget finds the provider's list that the contacts are to be on.
func (p *PushPlan) findTarget(ctx context.Context) error {
	r, q := p.r, &p.request
	if q.RemoteID > 0 {
		li, err := r.List(ctx, q.RemoteID)
		if err != nil {
			return err
		}
		p.Remote = *li
		return nil
	}
	if err := campaign.CheckName("provider's list", q.RemoteName); err != nil {
		return err
	}
	all, err := r.Lists(ctx)
	if err != nil {
		return Explain(err)
	}
	named := slices.IndexFunc(all, func(li clicksend.ContactList) bool { return sameName(li.Name, q.RemoteName) })
	before, err := r.Ledger.FindPush(ctx, q.List.Name, p.Account, q.RemoteName)
	if err != nil {
		return err
	}
	if before != nil && before.RemoteID > 0 {
		if i := slices.IndexFunc(all, func(li clicksend.ContactList) bool { return li.ID == before.RemoteID }); i >= 0 {
			p.Remote, p.Resumes = all[i], true
			return nil
		}
		// It was removed there meanwhile, and is made anew.
	}
	switch {
	case named < 0 && len(all) >= clicksend.MaxLists:
		return campaign.Errorf(campaign.CodeConflict, "the account has %d contact lists, and may have no more than %d: remove one with `postrider list remote rm ID`, or add to one with --remote-list ID", len(all), clicksend.MaxLists)
	case named < 0:
		p.Remote.Name = q.RemoteName
		return nil
	case before != nil && before.RemoteID == 0 && all[named].Contacts == 0:
		// We asked for it, and the answer was lost.
		p.Remote, p.Resumes = all[named], true
		return nil
	}
	return campaign.Errorf(campaign.CodeExists, "the account has a contact list %q already, with the id %d and %d contacts: add to it with --remote-list %d, or choose another name with --as",
		all[named].Name, all[named].ID, all[named].Contacts, all[named].ID)
}

func sameName(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

// count goes through the list once and counts what will become of it.
func (p *PushPlan) count(ctx context.Context) error {
	var left []string
	for _, name := range append(slices.Clone(p.request.List.Columns), "reference") {
		// remote_id is the number that a contact had at the provider when it was
		// pulled: it gets another.
		if !p.fields.taken(name) && name != remoteIDColumn {
			left = append(left, name)
		}
	}
	values := make([]int, len(left))
	err := p.each(ctx, func(c *campaign.Contact, _ *clicksend.Person) error {
		for i, name := range left {
			if fieldOf(c, name) != "" {
				values[i]++
			}
		}
		return nil
	})
	for i, name := range left {
		if values[i] > 0 {
			p.NotCopied = append(p.NotCopied, ColumnCount{name, values[i]})
		}
	}
	return err
}

// each hands every contact that is to be at the provider to fn, and counts all
// of them anew.
func (p *PushPlan) each(ctx context.Context, fn func(*campaign.Contact, *clicksend.Person) error) error {
	p.Contacts, p.Suppressed, p.Unreachable, p.Same = 0, 0, 0, 0
	seen := campaign.NewSeen()
	var row []string
	return p.r.Ledger.EachContact(ctx, p.request.List.ID, func(c *campaign.Contact) error {
		if p.outOf(c) {
			p.Suppressed++
			return nil
		}
		who := p.fields.person(c)
		if who.PhoneNumber == "" && who.FaxNumber == "" && who.Email == "" {
			p.Unreachable++
			return nil
		}
		row = personRow(row[:0], &who)
		if !seen.Add(strings.Join(row, "\x1f")) {
			p.Same++
			return nil
		}
		p.Contacts++
		return fn(c, &who)
	})
}

// bits is a set of small numbers.
type bits []uint64

func (b bits) has(i int) bool { return i/64 < len(b) && b[i/64]>>(i%64)&1 == 1 }

func (b *bits) add(i int) {
	for i/64 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

// Run copies the contacts. It may be interrupted at any moment: the same push
// again looks at what is there and adds what is missing.
func (p *PushPlan) Run(ctx context.Context) (out *Pushed, err error) {
	lock, err := p.r.lockPush(p.Account, p.Remote.Name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if p.Remote.ID == 0 {
		// Another push may have made the list since the plan was.
		if err := p.findTarget(ctx); err != nil {
			return nil, err
		}
	}
	out = &Pushed{}
	// A list that is made now is imported into by nobody else.
	alone := p.Remote.ID == 0
	if alone {
		if err := p.create(ctx); err != nil {
			return nil, err
		}
	}
	out.Remote = p.Remote
	var (
		c        *pushDiff
		first    int
		deadline time.Time
		stuck    int  // rounds in a row that brought nothing
		unheard  bool // an answer was lost in the round before
	)
	if !alone {
		if c, out.Growing, err = p.calm(ctx); err != nil {
			return nil, err
		}
	}
	for round := 1; ; round++ {
		before := 0
		if round > 1 {
			before = c.n
		}
		if round > 1 || c == nil {
			if c, err = p.look(ctx, &out.Growing); err != nil {
				return nil, err
			}
		}
		if round == 1 {
			first, out.Already = c.n, p.Contacts-c.n
		} else if stuck++; c.n < before {
			stuck = 0
		}
		// Rows that the provider refuses are missing for ever. An import that
		// brought nothing at all may have been lost.
		if c.n == 0 || out.Growing || round > maxRounds || stuck > 0 && !unheard && (stuck > 1 || c.n < first) {
			break
		}
		lost := out.Lost
		if err := p.importMissing(ctx, c.missing, c.n, out); err != nil {
			return nil, err
		}
		if deadline.IsZero() {
			deadline = p.r.now().Add(p.request.Wait)
		}
		if out.Growing, err = p.settle(ctx, p.Remote.Contacts+int64(c.n), alone && out.Lost == 0, deadline); err != nil {
			return nil, err
		}
		if unheard = out.Lost > lost; unheard {
			p.r.Log.Warn("the answers to some imports were lost: what is at the provider is compared before anything is imported again", "answers", out.Lost-lost)
		}
	}
	if !out.Growing {
		if c, err = p.removeSurplus(ctx, c, out); err != nil {
			return nil, err
		}
	}
	out.Surplus = c.surplus
	if out.Missing = c.n; c.n > 0 && !c.guessed {
		if out.MissingFile, err = p.reportMissing(ctx, c.missing); err != nil {
			return nil, err
		}
	}
	li, err := p.r.List(ctx, p.Remote.ID)
	if err != nil {
		return nil, err
	}
	out.Remote = *li
	out.Others = max(0, int(li.Contacts)-(p.Contacts-out.Missing)-out.Surplus)
	return out, nil
}

// lockPush keeps a second push on the same data folder from one of the
// provider's lists: both would import what is missing.
func (r *Remote) lockPush(account ledger.Provider, name string) (*flock.Flock, error) {
	if err := os.MkdirAll(r.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder cannot be made: %w", err)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{account.URL, account.User, strings.ToLower(strings.TrimSpace(name))}, "\x1f")))
	// The file stays: who had opened one that is removed would lock nothing.
	lock := flock.New(filepath.Join(r.DataDir, fmt.Sprintf("push-%x.lock", sum[:6])), flock.SetPermissions(0o600))
	got, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("taking the lock of a push in the data folder: %w", err)
	}
	if !got {
		return nil, campaign.Errorf(campaign.CodeConflict, "another process is copying contacts to the provider's list %q just now: wait until it is done", name)
	}
	return lock, nil
}

// calm waits until the provider's list stands still: an earlier push may have
// died with its imports under way, and what they have yet to bring must not be
// imported again. Nobody waits for a list on which all are already.
func (p *PushPlan) calm(ctx context.Context) (c *pushDiff, growing bool, err error) {
	li, err := p.r.List(ctx, p.Remote.ID)
	if err != nil {
		return nil, false, err
	}
	if int(li.Contacts) >= p.Contacts {
		c, err := p.compareNow(ctx)
		if err == nil && c.n == 0 && c.surplus == 0 {
			return c, false, nil
		}
		if err != nil && campaign.ErrorCode(err) != campaign.CodeConflict {
			return nil, false, err
		}
	}
	growing, err = p.settle(ctx, math.MaxInt64, false, p.r.now().Add(max(p.request.Wait, p.r.Quiet)))
	return nil, growing, err
}

// look compares the provider's list with ours. One that moves while it is read
// is waited for, since it is our own imports that move it. While it grows and
// cannot be read, its count alone is told.
func (p *PushPlan) look(ctx context.Context, growing *bool) (*pushDiff, error) {
	const tries = 3
	for try := 1; ; try++ {
		c, err := p.compareNow(ctx)
		switch {
		case err == nil:
			return c, nil
		case campaign.ErrorCode(err) != campaign.CodeConflict:
			return nil, err
		case *growing:
			return &pushDiff{n: max(0, p.Contacts-int(p.Remote.Contacts)), guessed: true}, nil
		case try == tries:
			return nil, err
		}
		if *growing, err = p.settle(ctx, math.MaxInt64, false, p.r.now().Add(max(p.request.Wait, p.r.Quiet))); err != nil {
			return nil, err
		}
	}
}

// removeSurplus has the provider remove what came twice, from a list that
// Postrider made, and compares again.
func (p *PushPlan) removeSurplus(ctx context.Context, c *pushDiff, out *Pushed) (*pushDiff, error) {
	const rounds = 3
	for round := 1; c.surplus > 0 && p.request.RemoteID == 0 && round <= rounds; round++ {
		// Whatever came twice is the same in every field; people who share a
		// number are not.
		err := p.r.repeat(ctx, "PUT /lists/{list_id}/remove-duplicates", func() error {
			removed, err := p.r.Provider.client.Lists.RemoveDuplicates(ctx, p.Remote.ID, clicksend.DuplicateFields())
			out.Removed += int(removed)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("the contacts are copied, and removing duplicates from the provider's list %d failed: run the same push again: %w", p.Remote.ID, err)
		}
		before := c.surplus
		if c, err = p.look(ctx, &out.Growing); err != nil {
			return nil, err
		}
		if c.surplus == before {
			break // they are alike in what tells people apart, not in every field
		}
	}
	return c, nil
}

// create makes the provider's list. That we ask is on record before we do, so
// that a list whose answer is lost is known for ours.
func (p *PushPlan) create(ctx context.Context) error {
	r, q := p.r, &p.request
	if err := r.Ledger.BeginPush(ctx, q.List.Name, p.Account, q.RemoteName); err != nil {
		return err
	}
	if err := r.Ledger.SetPushed(ctx, q.List.Name, p.Account, q.RemoteName, 0); err != nil {
		return err
	}
	var made *clicksend.ContactList
	for try := 1; made == nil; try++ {
		err := r.change(ctx, "POST /lists", func() (err error) {
			made, err = r.Provider.client.Lists.Create(ctx, q.RemoteName)
			return err
		})
		if err == nil {
			break
		}
		made = nil
		if clicksend.KindOf(err) != clicksend.UnknownOutcome && !isCode(err, clicksend.StatusAlreadyExists) {
			return fmt.Errorf("making the provider's list %q: %w", q.RemoteName, err)
		}
		all, lerr := r.Lists(ctx)
		if lerr != nil {
			return errors.Join(err, lerr)
		}
		if i := slices.IndexFunc(all, func(li clicksend.ContactList) bool { return sameName(li.Name, q.RemoteName) }); i >= 0 && all[i].Contacts == 0 {
			made = &all[i]
		} else if try == 3 || i >= 0 {
			return fmt.Errorf("making the provider's list %q: %w", q.RemoteName, err)
		}
	}
	p.Remote = *made
	return r.Ledger.SetPushed(ctx, q.List.Name, p.Account, q.RemoteName, made.ID)
}

// remoteKeys counts the people on the provider's list.
func (p *PushPlan) remoteKeys(ctx context.Context) (map[personKey]present, error) {
	there := map[personKey]present{}
	li, err := p.r.List(ctx, p.Remote.ID)
	if err != nil {
		return nil, err
	}
	p.Remote.Contacts = li.Contacts
	if li.Contacts == 0 {
		return there, nil
	}
	c := newContactReading()
	type seenAs struct {
		key  personKey
		pass int32
	}
	all := make(map[int64]seenAs, li.Contacts)
	bar := p.r.meter("reading the provider's list", "contacts")
	defer bar.End()
	err = p.r.readContacts(ctx, p.Remote.ID, c, bar, func(page *contactPage) error {
		for i := range page.Rows {
			all[page.Rows[i].ID] = seenAs{keyOf(&page.Rows[i].Person), int32(page.Pass)}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if c.counts(k.pass) {
			at := there[k.key]
			at.n++
			there[k.key] = at
		}
	}
	return there, nil
}

// present is how often a person is on the provider's list.
type present struct {
	n    int32
	ours bool // the person is on our list as well
}

// pushDiff is the provider's list beside ours.
type pushDiff struct {
	missing bits // the contacts that are not at the provider: their places among those that each hands out
	n       int  // how many these are
	surplus int  // contacts that are on both lists, and there more often than here
	guessed bool // n is told from the count alone
}

// compareNow reads the provider's list and compares it.
func (p *PushPlan) compareNow(ctx context.Context) (*pushDiff, error) {
	there, err := p.remoteKeys(ctx)
	if err != nil {
		return nil, err
	}
	c := &pushDiff{}
	i := 0
	err = p.each(ctx, func(_ *campaign.Contact, who *clicksend.Person) error {
		k := keyOf(who)
		at := there[k]
		at.ours = true
		if at.n > 0 {
			at.n--
			there[k] = at
		} else {
			c.missing.add(i)
			c.n++
		}
		i++
		return nil
	})
	for _, at := range there {
		if at.ours {
			c.surplus += int(at.n)
		}
	}
	return c, err
}

// importMissing hands the missing contacts to the provider, file by file. An
// import whose answer is lost is not made again here: what it brought is found
// by comparing.
func (p *PushPlan) importMissing(ctx context.Context, missing bits, n int, out *Pushed) error {
	bar := p.r.meter("copying to the provider", "contacts")
	defer bar.End()
	var (
		file bytes.Buffer
		row  []string
		rows int
		done int
		i    int
	)
	w := csv.NewWriter(&file)
	send := func() error {
		w.Flush()
		if rows == 0 {
			return w.Error()
		}
		if err := p.importFile(ctx, file.Bytes(), out); err != nil {
			return fmt.Errorf("%d of %d contacts were handed to the provider (run the same push again to go on): %w", done, n, err)
		}
		done += rows
		out.Imported += rows
		file.Reset()
		rows = 0
		bar.Report(done, n)
		return nil
	}
	err := p.each(ctx, func(_ *campaign.Contact, who *clicksend.Person) error {
		i++
		if !missing.has(i - 1) {
			return nil
		}
		row = personRow(row[:0], who)
		if err := w.Write(row); err != nil {
			return err
		}
		w.Flush() // so that the buffer's length is the file's
		if rows++; rows == importRows || file.Len() >= importBytes {
			return send()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return send()
}

// importFile uploads a file and has it imported.
func (p *PushPlan) importFile(ctx context.Context, content []byte, out *Pushed) error {
	r := p.r
	var up *clicksend.Upload
	err := r.look(ctx, "POST /uploads", func() (err error) {
		up, err = r.Provider.client.Uploads.Upload(ctx, content, clicksend.ConvertCSV)
		return err
	})
	if err != nil {
		return fmt.Errorf("uploading a file of contacts: %w", err)
	}
	err = r.change(ctx, "POST /lists/{list_id}/import", func() error {
		_, err := r.Provider.client.Lists.Import(ctx, p.Remote.ID, up.URL, importOrder)
		return err
	})
	if clicksend.KindOf(err) == clicksend.UnknownOutcome && ctx.Err() == nil {
		out.Lost++
		return nil
	}
	if err != nil {
		return fmt.Errorf("importing into the provider's list %d: %w", p.Remote.ID, err)
	}
	return nil
}

// settle waits until the count of the provider's list has stood still for
// Quiet. Where it is sure that nothing but this push's imports moves it, the
// number that they bring it to is enough. It reports whether the list was still
// growing at the deadline.
func (p *PushPlan) settle(ctx context.Context, want int64, sure bool, deadline time.Time) (growing bool, err error) {
	const slowest = 10 * time.Second
	bar := p.r.meter("waiting for the provider's import", "contacts")
	defer bar.End()
	total := min(want, int64(p.Contacts))
	last, since := int64(-1), p.r.now()
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, slowest) {
		li, err := p.r.List(ctx, p.Remote.ID)
		if err != nil {
			return false, err
		}
		now := p.r.now()
		bar.Report(int(min(li.Contacts, total)), int(total))
		if li.Contacts != last {
			last, since = li.Contacts, now
		}
		p.Remote.Contacts = li.Contacts
		switch {
		case sure && li.Contacts == want, now.Sub(since) >= p.r.Quiet:
			return false, nil
		case !now.Before(deadline):
			return li.Contacts < want, nil
		}
		if err := p.r.pause(ctx, min(wait, p.r.Quiet)); err != nil {
			return false, err
		}
	}
}

// CodeMissing marks a contact that the provider's list does not have.
const CodeMissing = "missing_at_provider"

// reportMissing lists the missing contacts, masked, with their lines.
func (p *PushPlan) reportMissing(ctx context.Context, missing bits) (file string, err error) {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == ':' {
			return '_'
		}
		return r
	}, p.request.List.Name)
	file = filepath.Join(p.r.RejectsDir, name+".missing.csv")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("the report of missing contacts cannot be written here: %w", err)
	}
	report := importer.NewRejectReport(f)
	i := 0
	err = p.each(ctx, func(c *campaign.Contact, who *clicksend.Person) error {
		i++
		if !missing.has(i - 1) {
			return nil
		}
		column, value := "phone", who.PhoneNumber
		switch {
		case value != "":
		case who.Email != "":
			column, value = "email", who.Email
		default:
			column, value = p.fields.fax, who.FaxNumber
		}
		return report.Write(importer.Reject{
			Line: c.Line, Column: column, Code: CodeMissing, Value: importer.Mask(value),
			Reason: "the provider's list does not have the contact, though it was imported", Advice: "the provider may have refused its number or e-mail address: check it, and push again",
		})
	})
	return file, errors.Join(err, report.Close(), f.Close())
}
