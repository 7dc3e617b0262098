package jobs

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/ledger"
)

// intake is where the rows of a file go: a list that is new, a version of one
// that is there, or nowhere, when they are only held against one.
type intake struct {
	p    *Preparer
	r    *ImportRequest
	base *ledger.List        // that has the name; nil: none
	w    *ledger.ListWriter  // nil: the rows are only held against base
	held *ledger.ListContent // them
	sink importer.Sink
	seen *campaign.Seen // recipients of base; nil: they do not matter
}

// intake begins what the request asks for.
func (p *Preparer) intake(ctx context.Context, r *ImportRequest) (*intake, error) {
	in := &intake{p: p, r: r}
	if r.Mode == "" {
		r.Mode = ledger.Imported
	}
	var err error
	if r.Name != "" {
		in.base, err = p.Ledger.FindList(ctx, r.Name)
		if err != nil && campaign.ErrorCode(err) != campaign.CodeNotFound && campaign.ErrorCode(err) != campaign.CodeConflict {
			return nil, err
		}
	}
	source := filepath.Base(FileName(r.File))
	switch {
	case in.base == nil:
		// A half import of that name stands in the way, or does not, by CreateList.
		if in.w, err = p.Ledger.CreateList(ctx, r.Name, source, in.identity()); err == nil {
			in.w.By(r.Mode)
		}
	case r.Mode == ledger.Imported:
		in.held = ledger.NewListContent()
		in.sink = in.held
		return in, nil
	default:
		in.w, err = p.Ledger.NewVersion(ctx, in.base, r.Mode, source, in.identity())
	}
	if err != nil {
		return nil, err
	}
	in.sink = in.w
	if err := in.prepare(ctx); err != nil {
		in.discard(ctx)
		return nil, err
	}
	return in, nil
}

// keepWhoIsThere lets rows pass that are only held against a list, and whose
// recipient is in it though it has opted out since: the same file is to say the
// same.
func (in *intake) keepWhoIsThere(ctx context.Context, o *importer.Options) error {
	barred := o.OptedOut
	if in.held == nil || barred == nil {
		return nil
	}
	there := campaign.NewSeen()
	var key []byte
	err := in.p.Ledger.EachContact(ctx, in.base.ID, func(c *campaign.Contact) error {
		if barred(c) {
			key = in.r.Identity.AppendKey(key[:0], c, ownFile(in.r, c))
			there.AddBytes(key)
		}
		return nil
	})
	o.OptedOut = func(c *campaign.Contact) bool {
		return barred(c) && !there.Has(in.r.Identity.AppendKey(nil, c, ownFile(in.r, c)))
	}
	return err
}

// identity is by what the list will tell its recipients apart.
func (in *intake) identity() string {
	switch {
	case in.r.Mode == ledger.Updated,
		in.r.Mode == ledger.Appended && in.base != nil && in.base.Identity != in.r.Identity.String():
		return "" // by nothing that holds for all of them
	}
	return in.r.Identity.String()
}

// prepare learns what has to be known of the base before the first row.
func (in *intake) prepare(ctx context.Context) error {
	switch in.r.Mode {
	case ledger.Updated:
		in.seen = campaign.NewSeen() // to find rows by their key afterwards
	case ledger.Appended:
		in.seen = campaign.NewSeen()
		if in.base == nil {
			return nil
		}
		bar := in.p.meter(fmt.Sprintf("reading list %q", in.base.Name), "contacts")
		defer bar.End()
		var key []byte
		n := 0
		return in.w.EachOfBase(ctx, func(c *campaign.Contact) (bool, error) {
			key = in.r.Identity.AppendKey(key[:0], c, ownFile(in.r, c))
			in.seen.AddDigest(in.seen.Digest(key), 0)
			if n++; n%10_000 == 0 {
				bar.Report(n, in.base.Contacts)
			}
			return true, nil
		})
	}
	return nil
}

// ownFile is what besides number, name and address tells two contacts apart
// (see campaign.Identity.AppendKey).
func ownFile(r *ImportRequest, c *campaign.Contact) string {
	switch {
	case r.Identity == campaign.ByLetter && r.FileColumn != "":
		file, _ := c.Field(r.FileColumn)
		return file
	case r.Identity == campaign.ByContact:
		return string(c.Fields.AppendKey(nil))
	}
	return ""
}

// finish makes the list, or the new version of it, visible.
func (in *intake) finish(ctx context.Context, sum *importer.Summary, reject func(importer.Reject) error) (*Audience, error) {
	n := ledger.ListCounts{Rows: sum.Rows, Imported: sum.Imported, Duplicates: sum.Duplicates, Rejected: sum.Rejected, Suppressed: sum.Suppressed}
	switch {
	case in.held != nil:
		return in.compare(n)
	case in.r.Mode == ledger.Updated:
		if err := in.update(ctx, sum, &n, reject); err != nil {
			return nil, err
		}
	default:
		n.Added = n.Imported
	}
	list, err := in.w.Finish(ctx, n)
	if err != nil {
		return nil, err
	}
	done := &Audience{List: list, Counts: n, Changed: in.base == nil || list.ID != in.base.ID}
	if !done.Changed {
		done.Counts.Added, done.Counts.Unchanged = 0, n.Imported
		return done, nil
	}
	if err := in.w.Tidy(ctx); err != nil {
		in.p.Log.Warn("the version of the list before this one is out of sight, and is removed by the next change of a list, or by serve", "error", err)
	}
	return done, nil
}

// compare tells the same contacts, imported again, from others under a name
// that is taken.
func (in *intake) compare(n ledger.ListCounts) (*Audience, error) {
	if in.held.Digest() == in.base.Digest {
		n.Unchanged = n.Imported
		return &Audience{List: in.base, Counts: n}, nil
	}
	return nil, campaign.Errorf(campaign.CodeExists,
		"a list named %q exists already, with other contacts than the file: --append puts those it does not have behind it, --replace puts the file in its place, --update KEY changes the contacts that have the same KEY (such as reference) and adds the others; or choose another name",
		in.base.Name)
}

// update merges the rows of the file into the list. A contact that is there stays,
// though it may have opted out since: planning asks again. Of the others those are
// left out who have.
func (in *intake) update(ctx context.Context, sum *importer.Summary, n *ledger.ListCounts, reject func(importer.Reject) error) error {
	country, _ := importer.CountryCode(in.r.Country)
	optedOut, err := in.p.Ledger.OptedOut(ctx)
	if err != nil {
		return err
	}
	var key []byte
	suppressed := 0
	got, err := in.w.Update(ctx, ledger.Update{
		Find: func(c *campaign.Contact) (int, bool) {
			var ok bool
			if key, ok = campaign.AppendFieldKey(key[:0], c, in.r.Key); !ok {
				return 0, false
			}
			line, there := in.seen.Find(in.seen.Digest(key))
			return int(line), there
		},
		Merge: func(old, row *campaign.Contact, columns *campaign.Columns) (campaign.Contact, bool, error) {
			c := campaign.UpdateContact(old, row, columns, country)
			if campaign.MovedHalf(old, row, &c) {
				return c, false, reject(importer.HalfAddress(row.Line, &c))
			}
			return c, true, nil
		},
		New: func(row *campaign.Contact) (campaign.Contact, bool, error) {
			c := campaign.NewContact(row, country)
			switch {
			case c.Phone == "" && !c.Address.Complete():
				return c, false, reject(importer.NoDestination(&c))
			case optedOut.BarsAtImport(&c, in.r.Identity):
				suppressed++
				return c, false, reject(importer.Suppressed(c.Line))
			}
			return c, true, nil
		},
	})
	if err != nil {
		return err
	}
	if got.Ambiguous > 0 {
		return campaign.Errorf(campaign.CodeConflict,
			"%d contacts of list %q have the same %s as another before them, so a row of the file cannot be told which it is of: nothing was changed; give another key, or take them out with `postrider list dedupe '%s' --by %s`",
			got.Ambiguous, in.base.Name, in.r.Key, in.base.Name, in.r.Key)
	}
	n.Imported -= got.Refused
	n.Rejected += got.Refused - suppressed
	n.Suppressed += suppressed
	n.Added, n.Updated, n.Unchanged = got.Added, got.Updated, got.Unchanged
	if in.base == nil && n.Imported == 0 {
		return campaign.Errorf(campaign.CodeInvalid, "none of the %d rows has a phone number or a complete address and has not opted out, and the list is not there yet", n.Rows)
	}
	sum.Imported, sum.Rejected, sum.Suppressed = n.Imported, n.Rejected, n.Suppressed
	return nil
}

// discard takes back what was begun. The caller's context may have ended; the
// half list goes all the same.
func (in *intake) discard(ctx context.Context) {
	if in.w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := in.w.Abort(ctx); err != nil {
		in.p.Log.Warn("what was read of the file is out of sight, and is removed by the next change of a list, or by serve", "error", err)
	}
}
