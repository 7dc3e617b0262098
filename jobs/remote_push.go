package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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
	// Growing says that the provider was still importing when the waiting ended.
	Growing bool
}

// personFields says which columns of a list become which of the provider's
// fields.
type personFields struct {
	custom       [4]string
	organization string
	fax          string
}

// taken reports whether the column becomes a field of the provider's.
func (f *personFields) taken(column string) bool {
	return column != "" && (slices.Contains(f.custom[:], column) || column == f.organization || column == f.fax)
}

// person is a contact as the provider keeps it. A contact without a first and a
// last name bears that of its address, since the provider has no name there.
func (f *personFields) person(c *campaign.Contact) clicksend.Person {
	a := &c.Address
	p := clicksend.Person{
		PhoneNumber: c.Phone, FirstName: c.FirstName, LastName: c.LastName, Email: c.Email,
		AddressLine1: a.Line1, AddressLine2: a.Line2, City: a.City, State: a.State, PostalCode: a.PostalCode, Country: a.Country,
	}
	if p.FirstName == "" && p.LastName == "" {
		first, last, _ := strings.Cut(a.Name, " ")
		p.FirstName, p.LastName = first, strings.TrimSpace(last)
	}
	for i, into := range []*string{&p.Custom1, &p.Custom2, &p.Custom3, &p.Custom4} {
		*into = fieldOf(c, f.custom[i])
	}
	p.Organization, p.FaxNumber = fieldOf(c, f.organization), fieldOf(c, f.fax)
	return p
}

func fieldOf(c *campaign.Contact, column string) string {
	if column == "" {
		return ""
	}
	v, _ := c.Field(column)
	return v
}

// importOrder is the order of the columns of our files: that of the documents'
// sample.
var importOrder = []clicksend.ImportField{
	clicksend.ImportPhone, clicksend.ImportFirstName, clicksend.ImportLastName,
	clicksend.ImportCustom1, clicksend.ImportCustom2, clicksend.ImportCustom3, clicksend.ImportCustom4,
	clicksend.ImportFaxNumber, clicksend.ImportOrganization, clicksend.ImportEmail,
	clicksend.ImportAddressLine1, clicksend.ImportAddressLine2, clicksend.ImportCity, clicksend.ImportState,
	clicksend.ImportPostalCode, clicksend.ImportCountry,
}

// personRow is a person as a row of such a file.
func personRow(row []string, p *clicksend.Person) []string {
	return append(row, p.PhoneNumber, p.FirstName, p.LastName, p.Custom1, p.Custom2, p.Custom3, p.Custom4, p.FaxNumber, p.Organization, p.Email,
		p.AddressLine1, p.AddressLine2, p.City, p.State, p.PostalCode, p.Country)
}

// personKey stands for whom a person is taken for: how they are reached, and
// their name. What else the provider may write in its own way is no part of it.
type personKey [16]byte

func keyOf(p *clicksend.Person) personKey {
	digits := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, s)
	}
	fold := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
	sum := sha256.Sum256([]byte(strings.Join([]string{digits(p.PhoneNumber), digits(p.FaxNumber), fold(p.Email), fold(p.FirstName), fold(p.LastName)}, "\x1f")))
	return personKey(sum[:16])
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
func (p *PushPlan) Run(ctx context.Context) (*Pushed, error) {
	out := &Pushed{}
	if p.Remote.ID == 0 {
		if err := p.create(ctx); err != nil {
			return nil, err
		}
	}
	out.Remote = p.Remote
	var (
		missing  bits
		n, first int
		deadline time.Time
		stuck    int  // rounds in a row that brought nothing
		unheard  bool // an answer was lost in the round before
	)
	for round := 1; ; round++ {
		before := n
		there, err := p.remoteKeys(ctx)
		if err != nil {
			return nil, err
		}
		if missing, n, out.Others, err = p.compare(ctx, there); err != nil {
			return nil, err
		}
		if round == 1 {
			first, out.Already = n, p.Contacts-n
		} else if stuck++; n < before {
			stuck = 0
		}
		// Rows that the provider refuses are missing for ever. An import that
		// brought nothing at all may have been lost.
		if n == 0 || out.Growing || round > maxRounds || stuck > 0 && !unheard && (stuck > 1 || n < first) {
			break
		}
		lost := out.Lost
		if err := p.importMissing(ctx, missing, n, out); err != nil {
			return nil, err
		}
		if deadline.IsZero() {
			deadline = p.r.now().Add(p.request.Wait)
		}
		if out.Growing, err = p.settle(ctx, n, deadline); err != nil {
			return nil, err
		}
		if unheard = out.Lost > lost; unheard {
			p.r.Log.Warn("the answers to some imports were lost: what is at the provider is compared before anything is imported again", "answers", out.Lost-lost)
		}
	}
	if out.Missing = n; n > 0 {
		var err error
		if out.MissingFile, err = p.reportMissing(ctx, missing); err != nil {
			return nil, err
		}
	}
	if !out.Growing {
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
	}
	li, err := p.r.List(ctx, p.Remote.ID)
	if err != nil {
		return nil, err
	}
	out.Remote = *li
	out.Others = max(0, int(li.Contacts)-(p.Contacts-out.Missing))
	return out, nil
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
func (p *PushPlan) remoteKeys(ctx context.Context) (map[personKey]int32, error) {
	there := map[personKey]int32{}
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
			there[k.key]++
		}
	}
	return there, nil
}

// compare finds the contacts that are not at the provider: their places among
// those that each hands out. It uses there up.
func (p *PushPlan) compare(ctx context.Context, there map[personKey]int32) (missing bits, n, others int, err error) {
	i := 0
	err = p.each(ctx, func(_ *campaign.Contact, who *clicksend.Person) error {
		if k := keyOf(who); there[k] > 0 {
			there[k]--
		} else {
			missing.add(i)
			n++
		}
		i++
		return nil
	})
	for _, k := range there {
		others += int(k)
	}
	return missing, n, others, err
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

// settle waits until the provider has imported n more contacts, or its count
// has stood still for Quiet. It reports whether the count was still moving at
// the deadline.
func (p *PushPlan) settle(ctx context.Context, n int, deadline time.Time) (growing bool, err error) {
	const slowest = 10 * time.Second
	bar := p.r.meter("waiting for the provider's import", "contacts")
	defer bar.End()
	want := p.Remote.Contacts + int64(n)
	last, since := int64(-1), p.r.now()
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, slowest) {
		li, err := p.r.List(ctx, p.Remote.ID)
		if err != nil {
			return false, err
		}
		now := p.r.now()
		bar.Report(int(max(0, li.Contacts-p.Remote.Contacts)), n)
		if li.Contacts != last {
			last, since = li.Contacts, now
		}
		if li.Contacts >= want || now.Sub(since) >= p.r.Quiet {
			p.Remote.Contacts = li.Contacts
			return false, nil
		}
		if !now.Before(deadline) {
			p.Remote.Contacts = li.Contacts
			return true, nil
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
			Line: c.Line, Column: column, Code: CodeMissing, Value: maskValue(value),
			Reason: "the provider's list does not have the contact, though it was imported: it may have refused the number or the address",
		})
	})
	return file, errors.Join(err, report.Close(), f.Close())
}

// maskValue leaves the beginning of a value and, of a number, its last two
// digits to be seen.
func maskValue(s string) string {
	n := utf8.RuneCountInString(s)
	if n < 8 {
		return strings.Repeat("•", n)
	}
	runes := []rune(s)
	for i := 3; i < n; i++ {
		if i < n-2 || runes[0] != '+' {
			runes[i] = '•'
		}
	}
	return string(runes)
}
