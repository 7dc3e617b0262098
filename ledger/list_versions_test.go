package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
)

// people makes contacts with the columns given, whose values are v.
func people(columns *campaign.Columns, numbers []int, v ...string) []campaign.Contact {
	all := make([]campaign.Contact, len(numbers))
	for i, n := range numbers {
		all[i] = campaign.Contact{Line: i + 2, Phone: phone(n), Reference: fmt.Sprint(n)}
		if len(v) > 0 {
			all[i].Fields = campaign.Fields{Columns: columns, Values: v}
		}
	}
	return all
}

func numbers(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

// made writes a list.
func (w *world) made(name string, contacts []campaign.Contact) *List {
	w.t.Helper()
	lw, err := w.l.CreateList(w.ctx, name, "people.csv", "contact")
	w.ok(err)
	return w.finished(lw, contacts)
}

func (w *world) finished(lw *ListWriter, contacts []campaign.Contact) *List {
	w.t.Helper()
	for len(contacts) > 0 {
		n := min(700, len(contacts))
		w.ok(lw.Contacts(w.ctx, contacts[:n]))
		contacts = contacts[n:]
	}
	li, err := lw.Finish(w.ctx, ListCounts{})
	w.ok(err)
	w.ok(lw.Tidy(w.ctx))
	return li
}

// texts reads a list, a line for each contact.
func (w *world) texts(id int64) []string {
	w.t.Helper()
	var all []string
	w.ok(w.l.EachContact(w.ctx, id, func(c *campaign.Contact) error {
		all = append(all, strings.Join(append([]string{c.Phone, c.Reference, c.FirstName}, c.Fields.Values...), "|"))
		return nil
	}))
	return all
}

func stay(*campaign.Contact) (bool, error) { return true, nil }

func TestAnAppendedListIsWhatOneImportWouldHaveMade(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		const n = 2300 // more than one stretch
		plan, both := campaign.NewColumns("plan"), campaign.NewColumns("plan", "club")
		old := people(plan, numbers(0, n), "gold")
		base := w.made("people", old)
		lw, err := w.l.NewVersion(w.ctx, base, Appended, "more.csv", "contact")
		w.ok(err)
		w.ok(lw.EachOfBase(w.ctx, stay))
		more := people(campaign.NewColumns("club", "plan"), numbers(n, n+900), "x", "silver")
		li := w.finished(lw, more)
		w.equal([]any{li.Name, li.Version, li.Mode, li.Contacts, li.Columns}, []any{"people", 2, Appended, n + 900, []string{"plan", "club"}})

		want := people(both, numbers(0, n), "gold", "")
		for _, c := range more {
			c.Fields = campaign.Fields{Columns: both, Values: []string{"silver", "x"}}
			want = append(want, c)
		}
		whole := w.made("whole", want)
		w.equal(w.texts(li.ID), w.texts(whole.ID))
		if li.Digest != whole.Digest {
			t.Error("the same contacts have another digest")
		}
		w.equal(w.contacts(), 2*(n+900)) // the version before is gone
		_, err = w.l.FindList(w.ctx, fmt.Sprint(base.ID))
		w.code(err, campaign.CodeNotFound)
	})
}

func TestNothingHappensWithoutAChange(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		all := people(nil, numbers(0, 50))
		base := w.made("people", all)
		for _, mode := range []Mode{Appended, Replaced, Updated, Deduped} {
			lw, err := w.l.NewVersion(w.ctx, base, mode, "same.csv", "contact")
			w.ok(err)
			switch mode {
			case Replaced:
				w.ok(lw.Contacts(w.ctx, all))
			case Updated:
				_, err = lw.Update(w.ctx, Update{Find: func(*campaign.Contact) (int, bool) { return 0, false }})
				w.ok(err)
			default:
				w.ok(lw.EachOfBase(w.ctx, stay))
			}
			li, err := lw.Finish(w.ctx, ListCounts{})
			w.ok(err)
			w.ok(lw.Tidy(w.ctx))
			w.equal([]any{li.ID, li.Version}, []any{base.ID, 1})
			w.equal(w.contacts(), 50)
		}
	})
}

func TestAnUpdateKeepsTheOrderAndAddsTheRest(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		rapid.Check(t, func(rt *rapid.T) {
			w := w.in(rt)
			if all, err := w.l.Lists(w.ctx); err == nil && len(all) > 0 { // of a case that failed
				w.ok(w.l.RemoveNamedList(w.ctx, "people"))
			}
			// Lists that are longer than a stretch, with few and with many changes.
			n := rapid.SampledFrom([]int{1, 2, 30, stretch, stretch + 200}).Draw(rt, "contacts")
			every := rapid.IntRange(1, 9).Draw(rt, "every")
			extra := rapid.IntRange(0, 5).Draw(rt, "new")
			backwards := rapid.Bool().Draw(rt, "backwards")
			plan := campaign.NewColumns("plan")
			base := w.made("people", people(plan, numbers(0, n), "old"))
			var file []campaign.Contact
			want := make([]string, n)
			lines := map[string]int{}
			updated := 0
			for i := range n {
				want[i] = phone(i) + "|" + fmt.Sprint(i) + "||old|"
				if i%every == 0 {
					file = append(file, campaign.Contact{Reference: fmt.Sprint(i), FirstName: "New"})
					want[i] = phone(i) + "|" + fmt.Sprint(i) + "|New|old|"
					updated++
				}
			}
			if backwards {
				for i, j := 0, len(file)-1; i < j; i, j = i+1, j-1 {
					file[i], file[j] = file[j], file[i]
				}
			}
			for i := range extra {
				c := campaign.Contact{Reference: fmt.Sprint("n", i)}
				if i%2 == 0 { // the others have no destination
					c.Phone = phone(50_000 + i)
					want = append(want, c.Phone+"|"+c.Reference+"|Made||x")
				}
				file = append(file, c)
			}
			club := campaign.NewColumns("club")
			for i := range file {
				file[i].Line = 2 + 3*i
				file[i].Fields = campaign.Fields{Columns: club, Values: []string{""}}
				if strings.HasPrefix(file[i].Reference, "n") {
					file[i].Fields.Values = []string{"x"}
				}
				lines[file[i].Reference] = file[i].Line
			}
			lw, err := w.l.NewVersion(w.ctx, base, Updated, "changes.csv", "")
			w.ok(err)
			for i := range file {
				w.ok(lw.Contacts(w.ctx, file[i:i+1]))
			}
			got, err := lw.Update(w.ctx, Update{
				Find: func(c *campaign.Contact) (int, bool) { line, ok := lines[c.Reference]; return line, ok },
				Merge: func(old, row *campaign.Contact, columns *campaign.Columns) (campaign.Contact, bool, error) {
					c := campaign.UpdateContact(old, row, columns, "")
					return c, true, nil
				},
				New: func(row *campaign.Contact) (campaign.Contact, bool, error) {
					c := *row
					c.FirstName = "Made"
					return c, c.Phone != "", nil
				},
			})
			w.ok(err)
			w.equal(got, UpdateCounts{Added: (extra + 1) / 2, Updated: updated, Refused: extra / 2})
			li, err := lw.Finish(w.ctx, ListCounts{})
			w.ok(err)
			w.ok(lw.Tidy(w.ctx))
			if len(file) == 0 || updated+(extra+1)/2 == 0 {
				w.equal(li.ID, base.ID)
				w.ok(w.l.RemoveNamedList(w.ctx, "people"))
				return
			}
			w.equal(w.texts(li.ID), want)
			w.equal(li.Contacts, len(want))
			w.equal(w.contacts(), len(want))
			// Its digest is that of the same contacts imported.
			lc := NewListContent()
			var whole []campaign.Contact
			columns := campaign.NewColumns(li.Columns...)
			w.ok(w.l.EachContact(w.ctx, li.ID, func(c *campaign.Contact) error {
				k := *c
				k.Fields.Columns = columns
				whole = append(whole, k)
				return nil
			}))
			w.ok(lc.Contacts(w.ctx, whole))
			w.equal(lc.Digest(), li.Digest)
			w.ok(w.l.RemoveNamedList(w.ctx, "people"))
			w.equal(w.contacts(), 0)
		})
	})
}

func TestAnAmbiguousKeyIsCounted(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		base := w.made("people", people(nil, numbers(0, 5)))
		lw, err := w.l.NewVersion(w.ctx, base, Updated, "changes.csv", "")
		w.ok(err)
		w.ok(lw.Contacts(w.ctx, []campaign.Contact{{Line: 2, FirstName: "New"}}))
		got, err := lw.Update(w.ctx, Update{
			Find: func(*campaign.Contact) (int, bool) { return 2, true },
			Merge: func(old, _ *campaign.Contact, _ *campaign.Columns) (campaign.Contact, bool, error) {
				return *old, true, nil
			},
		})
		w.ok(err)
		w.equal(got.Ambiguous, 4)
		w.ok(lw.Abort(w.ctx))
		w.equal(w.contacts(), 5)
	})
}

func TestTakenOutContactsAreNotInTheNewVersion(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		const n = 1700
		base := w.made("people", people(nil, numbers(0, n)))
		lw, err := w.l.NewVersion(w.ctx, base, Deduped, "people.csv", "number")
		w.ok(err)
		var want []campaign.Contact
		w.ok(lw.EachOfBase(w.ctx, func(c *campaign.Contact) (bool, error) {
			if c.Line%3 == 0 {
				return false, nil
			}
			want = append(want, *c)
			return true, nil
		}))
		li := w.finished(lw, nil)
		w.equal([]any{li.Contacts, li.Version, li.Identity}, []any{len(want), 2, "number"})
		w.equal(w.contacts(), len(want))
		if other := w.made("other", want); other.Digest != li.Digest {
			t.Error("the same contacts have another digest")
		}
	})
}

func TestOfTwoChangesAtOnceOneIsMadeAndNothingIsLost(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		base := w.made("people", people(nil, numbers(0, 10)))
		var writers []*ListWriter
		for i := range 2 {
			lw, err := w.l.NewVersion(w.ctx, base, Appended, "more.csv", "contact")
			w.ok(err)
			w.ok(lw.EachOfBase(w.ctx, stay))
			w.ok(lw.Contacts(w.ctx, people(nil, []int{100 + i})))
			writers = append(writers, lw)
		}
		_, err := writers[1].Finish(w.ctx, ListCounts{})
		w.ok(err)
		_, err = writers[0].Finish(w.ctx, ListCounts{})
		w.code(err, campaign.CodeConflict)
		if !strings.Contains(err.Error(), "try again") {
			t.Errorf("it says %v", err)
		}
		w.ok(writers[0].Abort(w.ctx))
		w.ok(writers[1].Tidy(w.ctx))
		// The loser may come later still, when the contacts of its base are gone.
		_, err = w.l.NewVersion(w.ctx, base, Appended, "more.csv", "contact")
		w.code(err, campaign.CodeConflict)
		li, err := w.l.FindList(w.ctx, "people")
		w.ok(err)
		w.equal([]any{li.Version, li.Contacts, len(w.texts(li.ID))}, []any{2, 11, 11})
		w.equal(w.contacts(), 11)
	})
}

func TestAChangeThatSaysTheSameAsAVersionThatIsGoneFails(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		all := people(nil, numbers(0, 5))
		base := w.made("people", all)
		lw, err := w.l.NewVersion(w.ctx, base, Replaced, "same.csv", "contact")
		w.ok(err)
		w.ok(lw.Contacts(w.ctx, all))
		other, err := w.l.NewVersion(w.ctx, base, Replaced, "other.csv", "contact")
		w.ok(err)
		li := w.finished(other, people(nil, []int{7}))
		_, err = lw.Finish(w.ctx, ListCounts{})
		w.code(err, campaign.CodeConflict)
		w.ok(lw.Abort(w.ctx))
		now, err := w.l.FindList(w.ctx, "people")
		w.ok(err)
		w.equal([]any{now.ID, w.contacts()}, []any{li.ID, 1})
	})
}

func TestAListThatGoesWhileItIsReadIsNoHalfList(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		w.made("people", people(nil, numbers(0, 3*stretch)))
		li, err := w.l.FindList(w.ctx, "people")
		w.ok(err)
		n := 0
		err = w.l.EachContact(w.ctx, li.ID, func(*campaign.Contact) error {
			if n++; n == 10 {
				return w.l.RemoveNamedList(w.ctx, "people")
			}
			return nil
		})
		w.code(err, campaign.CodeConflict)
		w.code(w.l.RemoveNamedList(w.ctx, "people"), campaign.CodeNotFound)
	})
}

func TestACampaignHoldsTheVersionItIsPlannedFrom(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		base := w.made("people", people(nil, numbers(0, 3)))
		c := w.sending(1, 1, func(n *NewCampaign) { n.ListID = base.ID })
		lw, err := w.l.NewVersion(w.ctx, base, Replaced, "other.csv", "contact")
		w.ok(err)
		li := w.finished(lw, people(nil, []int{7}))
		w.equal(w.contacts(), 4)
		w.equal(w.next().Recipients[0].Contact.Phone, phone(0))
		_, err = w.l.CreateCampaign(w.ctx, NewCampaign{Content: campaign.Content{Channel: campaign.SMS}, ListID: base.ID})
		w.code(err, campaign.CodeNotFound)
		_, err = w.l.CreateCampaign(w.ctx, NewCampaign{Content: campaign.Content{Channel: campaign.SMS}, ListID: li.ID})
		w.ok(err)
		w.check(c.ID)
	})
}

func TestADeadChangeLeavesTheListAndNoContacts(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		base := w.made("people", people(nil, numbers(0, 5)))
		lw, err := w.l.NewVersion(w.ctx, base, Updated, "changes.csv", "")
		w.ok(err)
		w.ok(added(w.ctx, lw, people(nil, []int{1, 2})))
		w.clock.advance(importLease)
		_, n, err := w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 1)
		w.equal(w.contacts(), 5)
		_, err = lw.Update(w.ctx, Update{
			Find: func(*campaign.Contact) (int, bool) { return 2, true },
		})
		if err == nil {
			_, err = lw.Finish(w.ctx, ListCounts{})
		}
		w.code(err, campaign.CodeConflict)
		li, err := w.l.FindList(w.ctx, "people")
		w.ok(err)
		w.equal(li.ID, base.ID)
	})
}

func TestAVersionWhoseRemovalWasInterruptedGoesAtTheNextStart(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		base := w.made("people", people(nil, numbers(0, 5)))
		lw, err := w.l.NewVersion(w.ctx, base, Replaced, "other.csv", "contact")
		w.ok(err)
		w.ok(lw.Contacts(w.ctx, people(nil, []int{7})))
		_, err = lw.Finish(w.ctx, ListCounts{}) // and no Tidy
		w.ok(err)
		w.equal(w.contacts(), 6)
		_, n, err := w.l.DiscardHalfPlans(w.ctx)
		w.ok(err)
		w.equal(n, 1)
		w.equal(w.contacts(), 1)
	})
}

func TestWhatTheCallbackOfAChangeSaysEndsIt(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		base := w.made("people", people(nil, numbers(0, 5)))
		lw, err := w.l.NewVersion(w.ctx, base, Appended, "more.csv", "contact")
		w.ok(err)
		stop := errors.New("stop")
		w.is(lw.EachOfBase(w.ctx, func(*campaign.Contact) (bool, error) { return false, stop }), stop)
		w.ok(lw.Abort(w.ctx))
		w.equal(w.contacts(), 5)
	})
}
