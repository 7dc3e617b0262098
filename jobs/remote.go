package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/ledger"
)

// Remote copies lists to and from the contact lists that the provider keeps of
// the account. Every request waits for the shared rate budget of its endpoint.
type Remote struct {
	Ledger   *ledger.Ledger
	Provider *Provider
	Log      *slog.Logger

	Actor      string // who asks: a person's login
	DataDir    string // where the pages of a pull lie until it is done
	RejectsDir string // where dropped and missing contacts are listed
	// Quiet is how long the count of a list must stand still before an import
	// that brought less than it was given is taken to be over.
	Quiet time.Duration

	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Pause waits; nil sleeps.
	Pause func(ctx context.Context, d time.Duration) error
	// Meter shows how far a long step is; nil shows nothing.
	Meter func(what, unit string) Meter
}

func (r *Remote) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

func (r *Remote) meter(what, unit string) Meter {
	if r.Meter == nil {
		return noMeter{}
	}
	return r.Meter(what, unit)
}

func (r *Remote) pause(ctx context.Context, d time.Duration) error {
	if r.Pause != nil {
		return r.Pause(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A request that failed in a way that may pass is made again, so often and after
// such pauses, each twice the one before.
const (
	remoteTries = 8
	firstPause  = 500 * time.Millisecond
)

// look makes a request without an effect until it is answered.
func (r *Remote) look(ctx context.Context, endpoint string, get func() error) error {
	return r.insist(ctx, endpoint, get, clicksend.RateLimited, clicksend.NotSent, clicksend.ServerError, clicksend.Unreadable, clicksend.Unanswered)
}

// change makes a request with an effect, again only if it surely had none.
func (r *Remote) change(ctx context.Context, endpoint string, do func() error) error {
	return r.insist(ctx, endpoint, do, clicksend.RateLimited, clicksend.NotSent)
}

// repeat makes a request whose effect is the same however often it is made.
func (r *Remote) repeat(ctx context.Context, endpoint string, do func() error) error {
	return r.insist(ctx, endpoint, do, clicksend.RateLimited, clicksend.NotSent, clicksend.UnknownOutcome)
}

// insist makes a request again while it fails in one of these ways.
func (r *Remote) insist(ctx context.Context, endpoint string, do func() error, passing ...clicksend.Kind) error {
	wait := firstPause
	for try := 1; ; try++ {
		if err := r.Provider.Wait(ctx, endpoint, 0); err != nil {
			return err
		}
		err := do()
		kind := clicksend.KindOf(err)
		passes := false
		for _, k := range passing {
			passes = passes || kind == k
		}
		if end := ctx.Err(); err != nil && end != nil {
			return errors.Join(end, err)
		}
		if !passes || try == remoteTries {
			return err
		}
		if kind == clicksend.RateLimited {
			continue // the budget has learned how long to wait
		}
		if err := r.pause(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
}

// identity is the account that is spoken to.
func (r *Remote) identity(ctx context.Context) (who ledger.Provider, err error) {
	err = r.look(ctx, "GET /account", func() (err error) {
		who, err = r.Provider.Identity(ctx)
		return err
	})
	return who, err
}

// Lists reads all of the account's contact lists.
func (r *Remote) Lists(ctx context.Context) ([]clicksend.ContactList, error) {
	// A list that comes or goes while the pages are read moves the others: they
	// are read again until as many are seen as there are said to be.
	const passes, pages = 3, 1000
	var all []clicksend.ContactList
	for range passes {
		all = all[:0]
		seen := map[int64]bool{}
		total := int64(0)
		for number := 1; number <= pages; number++ {
			var page *clicksend.Page[clicksend.ContactList]
			err := r.look(ctx, "GET /lists", func() (err error) {
				page, err = r.Provider.client.Lists.View(ctx, clicksend.PageQuery{Page: number, Limit: clicksend.MaxPageLimit})
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("reading the provider's contact lists: %w", err)
			}
			total = page.Total
			fresh := false
			for _, li := range page.Rows {
				if len(li.Unread) > 0 || li.ID == 0 {
					return nil, fmt.Errorf("reading the provider's contact lists: %w", &clicksend.Error{
						Kind: clicksend.Unreadable, Op: "GET /lists", HTTPStatus: 200, Message: "a list cannot be read: " + strings.Join(li.Unread, ", ")})
				}
				if !seen[li.ID] {
					seen[li.ID], fresh = true, true
					all = append(all, li)
				}
			}
			if !fresh || !page.More() {
				break
			}
		}
		if int64(len(all)) == total {
			break
		}
	}
	return all, nil
}

// List reads one of the account's contact lists; CodeNotFound when there is
// none of that id.
func (r *Remote) List(ctx context.Context, id int64) (li *clicksend.ContactList, err error) {
	err = r.look(ctx, "GET /lists/{list_id}", func() (err error) {
		li, err = r.Provider.client.Lists.Get(ctx, id)
		return err
	})
	switch {
	case clicksend.KindOf(err) == clicksend.NotFound:
		return nil, campaign.Errorf(campaign.CodeNotFound, "the account has no contact list %d: `postrider list remote ls` shows those it has", id)
	case err != nil:
		return nil, fmt.Errorf("reading the provider's contact list %d: %w", id, err)
	}
	return li, nil
}

// Remove deletes one of the account's contact lists with its contacts.
func (r *Remote) Remove(ctx context.Context, id int64) error {
	who, err := r.identity(ctx)
	if err != nil {
		return err
	}
	err = r.repeat(ctx, "DELETE /lists/{list_id}", func() error { return r.Provider.client.Lists.Delete(ctx, id) })
	if clicksend.KindOf(err) == clicksend.NotFound {
		err = nil // by a request whose answer was lost, or by somebody else
	}
	if err != nil {
		return fmt.Errorf("removing the provider's contact list %d: %w", id, err)
	}
	return r.Ledger.ForgetPushes(ctx, who, id)
}

// contactPage is one page of a list's contacts, and where it belongs.
type contactPage struct {
	Pass  int                 `json:"pass"` // from 1
	Page  int                 `json:"page"` // from 1
	Total int64               `json:"total"`
	Last  bool                `json:"last"` // of its pass
	Rows  []clicksend.Contact `json:"rows"`
}

// contactReading is how far a list's contacts have been read. A contact that
// comes, goes or is touched may move all others by a row, so that one stands on
// no page that is read. The pages are read again until a pass has seen as many
// contacts as the list is said to have, or several passes together have while
// that number stood still, or two passes have seen the same. Contacts that go
// hide as many others: so what was seen before the number changed does not count,
// nor does a pass that was interrupted, however long, and all before it.
type contactReading struct {
	pass, page int
	broken     int             // the last pass that was interrupted; 0: none
	last       map[int64]int32 // the pass in which a contact was seen last
	total      int64
	seen       int   // contacts in this pass
	again      int   // of them seen in the pass before as well
	before     int   // contacts in the pass before
	since      int32 // the first of the passes that count together
	together   int   // contacts seen in these
	done       bool
	union      bool // what these passes saw counts; else only what the last one saw
}

// maxPasses is after how many passes a list is given up that never stands still.
const maxPasses = 8

func newContactReading() *contactReading {
	return &contactReading{last: map[int64]int32{}, since: 1}
}

// next is the page to ask for.
func (c *contactReading) next() (pass, page int) {
	if c.page == 0 { // between passes
		return c.pass + 1, 1
	}
	return c.pass, c.page + 1
}

// resume begins a new pass after an interruption. Those before it decide nothing
// any more: as many contacts may have gone as come meanwhile.
func (c *contactReading) resume() {
	c.broken, c.page = c.pass, 0
	c.since, c.together = int32(c.pass)+1, 0
	c.done, c.union = false, false
}

// take counts a page. It sets Last when the page ends its pass.
func (c *contactReading) take(p *contactPage) {
	if p.Page == 1 {
		c.pass, c.before = p.Pass, c.seen
		c.seen, c.again = 0, 0
		if c.since >= int32(c.pass) {
			c.since, c.together = int32(c.pass), 0
		}
	}
	switch {
	case p.Pass == 1 && p.Page == 1:
	case p.Total == c.total:
	case p.Page == 1: // it changed between two passes
		c.since, c.together = int32(c.pass), 0
	default:
		c.since = int32(c.pass) + 1
	}
	c.page, c.total = p.Page, p.Total
	fresh := false
	for i := range p.Rows {
		id := p.Rows[i].ID
		was := c.last[id]
		if was == int32(c.pass) {
			continue
		}
		fresh = true
		c.seen++
		if was < c.since {
			c.together++
		}
		if c.pass > 1 && was == int32(c.pass-1) {
			c.again++
		}
		c.last[id] = int32(c.pass)
	}
	// A server that ignores the page number gives the same rows for ever.
	if p.Last = p.Last || !fresh; !p.Last {
		return
	}
	c.page = 0
	stood := c.since <= int32(c.pass)
	switch {
	case stood && int64(c.seen) == c.total:
		c.done = true
	case stood && int64(c.together) == c.total:
		c.done, c.union = true, true
	case c.pass > c.broken+1 && c.seen == c.before && c.again == c.seen:
		c.done = true
	}
}

// counts reports whether a contact that was seen last in that pass is on the
// list.
func (c *contactReading) counts(pass int32) bool {
	return pass == int32(c.pass) || c.union && pass >= c.since
}

// readContacts reads the contacts of a list from where c stands, page by page,
// and hands each page to keep once it is counted. In the end c knows which of
// the contacts are on the list, and what was seen last of a contact is what it
// is.
func (r *Remote) readContacts(ctx context.Context, list int64, c *contactReading, bar Meter, keep func(*contactPage) error) error {
	for !c.done {
		pass, number := c.next()
		if pass > c.broken+maxPasses {
			return campaign.Errorf(campaign.CodeConflict, "the provider's list %d changes while it is read, and after %d readings no two agree: try again when nobody works on it", list, maxPasses)
		}
		var page *clicksend.Page[clicksend.Contact]
		err := r.look(ctx, "GET /lists/{list_id}/contacts", func() (err error) {
			page, err = r.Provider.client.Contacts.View(ctx, list, clicksend.ContactsQuery{PageQuery: clicksend.PageQuery{Page: number, Limit: clicksend.MaxPageLimit}})
			return err
		})
		switch {
		case clicksend.KindOf(err) == clicksend.NotFound:
			return campaign.Errorf(campaign.CodeNotFound, "the account has no contact list %d (any more): `postrider list remote ls` shows those it has", list)
		case err != nil:
			return fmt.Errorf("reading page %d of the provider's list %d: %w", number, list, err)
		}
		p := &contactPage{Pass: pass, Page: number, Total: page.Total, Last: !page.More(), Rows: page.Rows}
		for i := range p.Rows {
			if k := &p.Rows[i]; len(k.Unread) > 0 || k.ID == 0 {
				return fmt.Errorf("reading page %d of the provider's list %d: %w", number, list, &clicksend.Error{
					Kind: clicksend.Unreadable, Op: "GET /lists/{list_id}/contacts", HTTPStatus: 200,
					Message: "row " + fmt.Sprint(i+1) + " cannot be read: " + strings.Join(k.Unread, ", ")})
			}
		}
		c.take(p)
		if err := keep(p); err != nil {
			return err
		}
		bar.Report(c.seen, int(c.total))
	}
	return nil
}

// isCode reports whether the provider refused a request with that code.
func isCode(err error, code clicksend.Status) bool {
	var e *clicksend.Error
	return errors.As(err, &e) && e.Status() == code
}
