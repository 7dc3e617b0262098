package ledger

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
)

func TestContactsComeBackAsTheyWere(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		columns := campaign.NewColumns("plan", "größe", "note")
		want := []campaign.Contact{
			{Line: 2, Phone: "+61412000001", Email: "a@example.com", FirstName: "Zoë", LastName: "O'Neil", Country: "AU", Reference: "r-1",
				Address: campaign.Address{Name: "Zoë", Line1: "1 High St", Line2: "Flat\x1f2", City: "Perth", State: "WA", PostalCode: "6000", Country: "AU"},
				Fields:  campaign.Fields{Columns: columns, Values: []string{"gold", "日本語 🙂", `"quoted", line` + "\nbreak"}}},
			{Line: 3, Phone: "+61412000002", Fields: campaign.Fields{Columns: columns, Values: []string{"", "", ""}}},
			{Line: 5, Address: campaign.Address{Name: "B", Line1: "2 Low St", City: "York", PostalCode: "YO1", Country: "GB"},
				Fields: campaign.Fields{Columns: columns, Values: []string{"\x1f", "[1]", ""}}},
		}
		lw, err := w.l.CreateList(w.ctx, "people", "people.csv", "contact")
		w.ok(err)
		w.ok(lw.Contacts(w.ctx, want[:2]))
		w.ok(lw.Contacts(w.ctx, nil))
		w.ok(lw.Contacts(w.ctx, want[2:]))
		li, err := lw.Finish(w.ctx, ListCounts{Rows: 9, Imported: 3, Duplicates: 1, Rejected: 2, Suppressed: 3})
		w.ok(err)
		w.equal([]any{li.ID, li.Name, li.State, li.Source, li.Columns, li.Identity, li.Contacts, li.Rows, li.Duplicates, li.Rejected, li.Suppressed, li.Created},
			[]any{lw.ID(), "people", "ready", "people.csv", []string{"plan", "größe", "note"}, "contact", 3, 9, 1, 2, 3, w.clock.Now()})
		i := 0
		w.ok(w.l.EachContact(w.ctx, li.ID, func(k *campaign.Contact) error {
			got := *k
			if got.ID == 0 || got.ListID != li.ID {
				t.Errorf("contact %d of list %d", got.ID, got.ListID)
			}
			for _, name := range columns.Names() {
				a, _ := want[i].Field(name)
				b, ok := got.Field(name)
				if a != b || !ok {
					t.Errorf("field %s is %q, want %q", name, b, a)
				}
			}
			got.ID, got.ListID, got.Fields = 0, 0, want[i].Fields
			w.equal(fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want[i]))
			i++
			return nil
		}))
		w.equal(i, len(want))
		stop := errors.New("stop")
		w.is(w.l.EachContact(w.ctx, li.ID, func(*campaign.Contact) error { return stop }), stop)
	})
}

func TestAListIsInvisibleUntilItIsWhole(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		lw, err := w.l.CreateList(w.ctx, "people", "people.csv", "number")
		w.ok(err)
		w.ok(added(w.ctx, lw, []campaign.Contact{{Phone: phone(1)}}))
		_, err = w.l.FindList(w.ctx, "people")
		w.code(err, campaign.CodeConflict)
		all, err := w.l.Lists(w.ctx)
		w.ok(err)
		w.equal(len(all), 0)
		_, err = w.l.CreateCampaign(w.ctx, NewCampaign{Content: campaign.Content{Channel: campaign.SMS}, ListID: lw.ID()})
		w.code(err, campaign.CodeNotFound)
		_, err = w.l.CreateList(w.ctx, "people", "people.csv", "number")
		w.code(err, campaign.CodeExists)

		_, err = lw.Finish(w.ctx, ListCounts{Rows: 1, Imported: 1})
		w.ok(err)
		li, err := w.l.FindList(w.ctx, "people")
		w.ok(err)
		byID, err := w.l.FindList(w.ctx, fmt.Sprint(li.ID))
		w.ok(err)
		w.equal(byID, li)
		all, err = w.l.Lists(w.ctx)
		w.ok(err)
		w.equal(all, []*List{li})
		_, err = w.l.CreateList(w.ctx, "people", "people.csv", "number")
		w.code(err, campaign.CodeExists)
		_, err = w.l.FindList(w.ctx, "nobody")
		w.code(err, campaign.CodeNotFound)
		_, err = w.l.FindList(w.ctx, "99")
		w.code(err, campaign.CodeNotFound)

		w.ok(lw.Abort(w.ctx)) // a deferred one, say
		_, err = w.l.FindList(w.ctx, "people")
		w.ok(err)
	})
}

// contacts counts the contacts in the ledger, whatever list they are of.
func (w *world) contacts() (n int) {
	w.t.Helper()
	w.ok(w.l.store.read().QueryRowContext(w.ctx, `SELECT count(*) FROM contacts`).Scan(&n))
	return n
}

func TestNothingStaysOfAnAbortedImport(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		lw, err := w.l.CreateList(w.ctx, "people", "people.csv", "number")
		w.ok(err)
		w.ok(added(w.ctx, lw, []campaign.Contact{{Phone: phone(1)}, {Phone: phone(2)}}))
		w.ok(lw.Abort(w.ctx))
		w.equal(w.contacts(), 0)
		w.code(added(w.ctx, lw, []campaign.Contact{{Phone: phone(3)}}), campaign.CodeConflict)
		_, err = lw.Finish(w.ctx, ListCounts{})
		w.code(err, campaign.CodeConflict)
		w.equal(w.contacts(), 0)
		w.equal(w.list("people", 1).Contacts, 1)
	})
}

func TestADeadImportIsDiscardedAndALivingOneIsNot(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		dead, err := w.l.CreateList(w.ctx, "dead", "a.csv", "number")
		w.ok(err)
		w.ok(added(w.ctx, dead, []campaign.Contact{{Phone: phone(1)}}))
		alive, err := w.l.CreateList(w.ctx, "alive", "b.csv", "number")
		w.ok(err)
		w.clock.advance(importLease - time.Second)
		w.ok(added(w.ctx, alive, []campaign.Contact{{Phone: phone(2)}}))
		_, n, err := w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 0)
		w.clock.advance(time.Second)
		_, n, err = w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 1)
		w.equal(w.contacts(), 1)
		w.code(added(w.ctx, dead, []campaign.Contact{{Phone: phone(3)}}), campaign.CodeConflict)
		_, err = alive.Finish(w.ctx, ListCounts{Imported: 1})
		w.ok(err)
	})
}

func TestTheNameOfADeadImportIsFreeAtOnce(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		lw, err := w.l.CreateList(w.ctx, "people", "a.csv", "number")
		w.ok(err)
		w.ok(added(w.ctx, lw, []campaign.Contact{{Phone: phone(1)}}))
		w.clock.advance(importLease)
		w.equal(w.list("people", 2).Contacts, 2)
		_, n, err := w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 1)
		w.equal(w.contacts(), 2)
	})
}

func TestOneOfTwoImportsGetsTheName(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		errs := make([]error, 6)
		var g errgroup.Group
		for i := range errs {
			g.Go(func() error {
				_, errs[i] = w.l.CreateList(w.ctx, "people", "a.csv", "number")
				return nil
			})
		}
		w.ok(g.Wait())
		got := 0
		for _, err := range errs {
			if err == nil {
				got++
				continue
			}
			w.code(err, campaign.CodeExists)
		}
		w.equal(got, 1)
	})
}

func TestTheDigestTellsAudiencesApart(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		digest := func(chunks ...[]campaign.Contact) string {
			lw, err := w.l.CreateList(w.ctx, "", "a.csv", "number")
			w.ok(err)
			for _, c := range chunks {
				w.ok(lw.Contacts(w.ctx, c))
			}
			li, err := lw.Finish(w.ctx, ListCounts{})
			w.ok(err)
			return li.Digest
		}
		a, b := campaign.Contact{Phone: phone(1), FirstName: "Ann"}, campaign.Contact{Phone: phone(2)}
		whole := digest([]campaign.Contact{a, b})
		if got := digest([]campaign.Contact{a}, []campaign.Contact{b}); got != whole {
			t.Error("the chunks of the import show in the digest")
		}
		moved := a
		moved.FirstName, moved.LastName = "", "Ann"
		for name, other := range map[string][]campaign.Contact{"order": {b, a}, "fewer": {a}, "another field": {moved, b}} {
			if digest(other) == whole {
				t.Errorf("%s does not show in the digest", name)
			}
		}
		one := func(name string) campaign.Contact {
			c := a
			c.Fields = campaign.Fields{Columns: campaign.NewColumns(name), Values: []string{"x"}}
			return c
		}
		if digest([]campaign.Contact{one("plan")}) == digest([]campaign.Contact{one("tier")}) {
			t.Error("the columns' names do not show in the digest")
		}
	})
}

func TestARemovedListKeepsTheCampaignsPlannedFromIt(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		free := w.list("free", 2)
		w.ok(w.l.RemoveList(w.ctx, free.ID))
		w.equal(w.contacts(), 0)
		_, err := w.l.List(w.ctx, free.ID)
		w.code(err, campaign.CodeNotFound)

		used := w.list("used", 2)
		c := w.sending(1, 1, func(n *NewCampaign) { n.ListID = used.ID })
		w.ok(w.l.RemoveList(w.ctx, used.ID))
		_, err = w.l.FindList(w.ctx, "used")
		w.code(err, campaign.CodeNotFound)
		_, err = w.l.FindList(w.ctx, fmt.Sprint(used.ID))
		w.code(err, campaign.CodeNotFound)
		_, err = w.l.CreateCampaign(w.ctx, NewCampaign{Content: campaign.Content{Channel: campaign.SMS}, ListID: used.ID})
		w.code(err, campaign.CodeNotFound)
		cl := w.next()
		w.equal(cl.Recipients[0].Contact.Phone, phone(0))
		w.equal(w.list("used", 3).Contacts, 3)
		w.check(c.ID)
	})
}

func TestALargeListIsReadInOrder(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		const n = 20_001 // more than one stretch
		li := w.list("people", n)
		i := 0
		w.ok(w.l.EachContact(w.ctx, li.ID, func(k *campaign.Contact) error {
			if k.Line != i+2 {
				return fmt.Errorf("line %d at position %d", k.Line, i)
			}
			i++
			return nil
		}))
		w.equal(i, n)
		w.ok(w.l.RemoveList(w.ctx, li.ID))
		w.equal(w.contacts(), 0)
	})
}

func TestOptOutsAreKeptOnce(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.ok(w.l.OptOut(w.ctx, phone(1), "reply", "STOP"))
		w.ok(w.l.OptOut(w.ctx, phone(1), "import", ""))
		w.ok(w.l.OptOut(w.ctx, phone(2), "import", ""))
		got, err := w.l.OptedOut(w.ctx)
		w.ok(err)
		w.equal(got.Len(), 2)
	})
}

// added adds contacts and waits until they are written.
func added(ctx context.Context, lw *ListWriter, contacts []campaign.Contact) error {
	return errors.Join(lw.Contacts(ctx, contacts), lw.drain(ctx))
}
