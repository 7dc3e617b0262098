package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
)

// Window is a stretch of time in which messages are looked for. A zero From
// reaches back as far as the history does, a zero To has no end.
type Window struct{ From, To time.Time }

// Look is what one look into a channel's history came to.
type Look struct {
	Rows  int // different rows read, received messages among them
	Pages int // pages asked for, those of second readings too
	// Complete says that whatever stood in a window from the beginning of the
	// look to its end was handed on: what was not is absent.
	Complete bool
	// Doubt says in plain words why the look is not complete; empty when it is.
	Doubt string
}

// History looks into the channel's history at the provider. It hands each row
// that lies in one of the windows to each, page by page, in no order; a row may
// be handed on more than once, and rows beside the windows may come too.
// Messages received are left out. A page is good until each returns; an error
// of each ends the look.
//
// What the date of a message with a schedule is is not documented
// (shared/api/PROVIDER.md, Finding a message again): give the windows of both
// moments. Letters and postcards cannot be asked for by date, so that nearly
// their whole history may have to be read.
//
// Every page waits for its place in the rate budget. After an error the look is
// not complete: it proves nothing beyond the rows handed on.
func (p *Provider) History(ctx context.Context, c campaign.Channel, windows []Window, each func(page []clicksend.Record) error) (Look, error) {
	if len(windows) == 0 {
		return Look{}, errors.New("history is looked into without a window")
	}
	look := Look{Complete: true}
	joined := joinWindows(windows)
	if c.IsPost() {
		// Neither From nor To is heard there; they only say where to stop.
		joined = []Window{{From: joined[0].From}}
	}
	// A held message whose date moves from its hand-over to its hour while we
	// read moves to a later window, which is read after this one.
	for _, w := range joined {
		l := &list{each: each, order: "date:asc", ahead: pagesAhead, fetch: p.historyPages(c, w)}
		if c.IsPost() {
			l.order, l.since = "date_added:desc", w.From
		}
		complete, doubt, err := l.look(ctx)
		look.Rows += l.rows
		look.Pages += l.pages
		look.Complete = look.Complete && complete && err == nil
		if err != nil {
			return look, fmt.Errorf("reading the history of %s at the provider: %w", c, err)
		}
		if look.Doubt == "" {
			look.Doubt = doubt
		}
	}
	return look, nil
}

// joinWindows sorts windows and joins those that overlap or touch.
func joinWindows(windows []Window) []Window {
	sorted := slices.SortedFunc(slices.Values(windows), func(a, b Window) int { return a.From.Compare(b.From) })
	joined := sorted[:1]
	for _, w := range sorted[1:] {
		last := &joined[len(joined)-1]
		switch {
		case last.To.IsZero():
		case w.From.After(last.To):
			joined = append(joined, w)
		case w.To.IsZero() || w.To.After(last.To):
			last.To = w.To
		}
	}
	return joined
}

// historyPages is how one page of the channel's history is asked for.
func (p *Provider) historyPages(c campaign.Channel, w Window) func(ctx context.Context, number, limit int, order string) (historyPage, error) {
	// Whether the bounds are inclusive is not documented, nor how a date is
	// rounded to its second.
	if !w.From.IsZero() {
		w.From = w.From.Add(-time.Second)
	}
	if !w.To.IsZero() {
		w.To = w.To.Add(time.Second)
	}
	return func(ctx context.Context, number, limit int, order string) (page historyPage, err error) {
		err = p.lookStubbornly(ctx, "GET "+channelPath(c)+"/history", func() (err error) {
			dated := clicksend.HistoryQuery{From: w.From, To: w.To, Page: number, Limit: limit, OrderBy: order}
			plain := clicksend.PageQuery{Page: number, Limit: limit, OrderBy: order}
			switch c {
			case campaign.SMS:
				page, err = historyPageOf(p.client.SMS.History(ctx, dated))
			case campaign.MMS:
				page, err = historyPageOf(p.client.MMS.History(ctx, dated))
			case campaign.Letter:
				page, err = historyPageOf(p.client.Letters.History(ctx, plain))
			case campaign.Postcard:
				page, err = historyPageOf(p.client.Postcards.History(ctx, plain))
			default:
				err = fmt.Errorf("channel %q has no history", c)
			}
			return err
		})
		return page, err
	}
}

// lookStubbornly asks again for what failed in a way that may pass: a reset, a
// 5xx, an answer that was cut off or never came. A history may have ten thousand
// pages, and if one in a hundred stumbled, it could never be read to its end.
func (p *Provider) lookStubbornly(ctx context.Context, endpoint string, get func() error) error {
	const tries = 6
	pause := 100 * time.Millisecond
	for try := 1; ; try++ {
		err := p.look(ctx, endpoint, get)
		switch clicksend.KindOf(err) {
		case clicksend.ServerError, clicksend.Unanswered, clicksend.Unreadable, clicksend.NotSent:
		default:
			return err
		}
		if try == tries {
			return err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return err
		}
	}
}

func historyPageOf[R clicksend.HistoryRow](p *clicksend.Page[R], err error) (historyPage, error) {
	if err != nil {
		return historyPage{}, err
	}
	page := historyPage{rows: make([]clicksend.Record, len(p.Rows)), total: int(p.Total), more: p.More()}
	for i := range p.Rows {
		page.rows[i] = p.Rows[i].Record()
	}
	// An answer without data shows as a page of none: it says nothing of the
	// list's length.
	if p.CurrentPage == 0 && p.Total == 0 || slices.Contains(p.Unread, "total") {
		page.total = notSaid
	}
	return page, nil
}
