package jobs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
)

// Duplicates are the contacts of a list that stand in it twice.
type Duplicates struct {
	List  *ledger.List
	By    string // see FindDuplicates
	Count int    // contacts too many

	p    *Preparer
	key  contactKey
	seen *campaign.Seen // keys under the position of the contact that stays
}

// Duplicate is a contact too many.
type Duplicate struct {
	Contact  *campaign.Contact
	Position int // in the list, from 1
	Kept     int // the position of the contact that stays in its place
}

// contactKey appends the key under which two contacts are the same. One without
// a key is like no other.
type contactKey func(b []byte, c *campaign.Contact) (key []byte, ok bool)

// FindDuplicates reads a list for contacts that are the same by something:
// recipient (or empty), as an import tells them; address, by name and whole
// address; or a field, such as phone, email, reference or a column of the list's
// own. The first of them stays, or the last.
func (p *Preparer) FindDuplicates(ctx context.Context, li *ledger.List, by string, keepLast bool) (*Duplicates, error) {
	d := &Duplicates{List: li, By: by, p: p, seen: campaign.NewSeen()}
	var err error
	if d.key, err = keyBy(li, by); err != nil {
		return nil, err
	}
	err = d.walk(ctx, "looking for duplicates", func(at int, key campaign.Digest, _ *campaign.Contact) error {
		if _, isNew := d.seen.AddDigest(key, int64(at)); !isNew {
			d.Count++
			if keepLast {
				d.seen.Mark(key, int64(at))
			}
		}
		return nil
	})
	return d, err
}

func keyBy(li *ledger.List, by string) (contactKey, error) {
	switch by {
	case "", "recipient":
		return func(b []byte, c *campaign.Contact) ([]byte, bool) {
			return campaign.ByContact.AppendKey(b, c, string(c.Fields.AppendKey(nil))), true
		}, nil
	case "address":
		return func(b []byte, c *campaign.Contact) ([]byte, bool) {
			return c.Address.AppendKey(b), c.Address.Line1 != ""
		}, nil
	case "household":
		return func(b []byte, c *campaign.Contact) ([]byte, bool) {
			return campaign.ByHousehold.AppendKey(b, c, ""), c.Address.Complete()
		}, nil
	}
	var none campaign.Contact
	if _, builtIn := none.Field(by); !builtIn && !slices.Contains(li.Columns, by) {
		return nil, campaign.Errorf(campaign.CodeInvalid, "list %q has no column %q to compare by: give one of %s", li.Name, by,
			strings.Join(append([]string{"phone", "email", "reference", "address", "household"}, li.Columns...), ", "))
	}
	return func(b []byte, c *campaign.Contact) ([]byte, bool) { return campaign.AppendFieldKey(b, c, by) }, nil
}

// walk hands every contact that has a key to fn, with its position.
func (d *Duplicates) walk(ctx context.Context, what string, fn func(at int, key campaign.Digest, c *campaign.Contact) error) error {
	bar := d.p.meter(fmt.Sprintf("%s in list %q", what, d.List.Name), "contacts")
	defer bar.End()
	var b []byte
	at := 0
	return d.p.Ledger.EachContact(ctx, d.List.ID, func(c *campaign.Contact) error {
		if at++; at%10_000 == 0 {
			bar.Report(at, d.List.Contacts)
		}
		var ok bool
		if b, ok = d.key(b[:0], c); !ok {
			return nil
		}
		return fn(at, d.seen.Digest(b), c)
	})
}

// Each hands every contact too many to fn, in the order of the list.
func (d *Duplicates) Each(ctx context.Context, fn func(Duplicate) error) error {
	return d.walk(ctx, "reporting duplicates", func(at int, key campaign.Digest, c *campaign.Contact) error {
		if kept, _ := d.seen.Find(key); int(kept) != at {
			return fn(Duplicate{Contact: c, Position: at, Kept: int(kept)})
		}
		return nil
	})
}

// Remove makes a version of the list without them, and hands each to fn. Without
// any it returns the list as it is.
func (d *Duplicates) Remove(ctx context.Context, fn func(Duplicate) error) (*ledger.List, error) {
	if d.Count == 0 {
		return d.List, nil
	}
	identity := d.List.Identity
	if d.By == "phone" {
		identity = campaign.ByNumber.String()
	}
	w, err := d.p.Ledger.NewVersion(ctx, d.List, ledger.Deduped, d.List.Source, identity)
	if err != nil {
		return nil, err
	}
	in := &intake{p: d.p, w: w}
	n := ledger.ListCounts{}
	bar := d.p.meter(fmt.Sprintf("taking duplicates out of list %q", d.List.Name), "contacts")
	var b []byte
	err = w.EachOfBase(ctx, func(c *campaign.Contact) (bool, error) {
		if n.Rows++; n.Rows%10_000 == 0 {
			bar.Report(n.Rows, d.List.Contacts)
		}
		key, ok := d.key(b[:0], c)
		b = key
		if !ok {
			return true, nil
		}
		kept, _ := d.seen.Find(d.seen.Digest(key))
		if int(kept) == n.Rows {
			return true, nil
		}
		n.Duplicates++
		return false, fn(Duplicate{Contact: c, Position: n.Rows, Kept: int(kept)})
	})
	bar.End()
	var list *ledger.List
	if err == nil {
		n.Imported = n.Rows - n.Duplicates
		n.Unchanged = n.Imported
		list, err = w.Finish(ctx, n)
	}
	if err != nil {
		in.discard(ctx)
		return nil, err
	}
	if err := w.Tidy(ctx); err != nil {
		d.p.Log.Warn("the version of the list before this one is out of sight, and is removed by the next change of a list, or by serve", "error", err)
	}
	return list, nil
}
