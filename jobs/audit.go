package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/ledger"
)

// Auditor holds the provider's history against the ledger, for one campaign at
// a time and recipient by recipient. It changes nothing.
type Auditor struct {
	Ledger   *ledger.Ledger
	Provider *Provider
	// Settle is how long the history may lag behind what was accepted: who was
	// accepted later than that before the audit is not called missing.
	Settle time.Duration
}

// DifferenceKind is how history and ledger differ about a recipient.
type DifferenceKind string

// The kinds of differences.
const (
	// Missing: the ledger says accepted, and history has no message.
	Missing DifferenceKind = "missing"
	// Extra: history has a message for somebody whom the ledger does not count
	// as accepted, or one more than the ledger knows: reached twice.
	Extra DifferenceKind = "extra"
	// PriceDiffers: both know the message, and name another price.
	PriceDiffers DifferenceKind = "price"
	// StatusDiffers: the provider took back what it had said: accepted, and
	// history says failed or cancelled; or refused, and history says it was sent.
	StatusDiffers DifferenceKind = "status"
)

// Difference is one difference.
type Difference struct {
	Kind      DifferenceKind
	Recipient *ledger.ReportRow // as the ledger has it; good until the function returns
	// Status and Price are history's, empty when it has no message. MessageID is
	// the provider's id of a message that the ledger does not know, where that
	// is known.
	Status    string
	Price     campaign.Micros
	MessageID string
}

// AuditResult is what an audit came to.
type AuditResult struct {
	Look       // of the whole history; Complete also says that it reaches far enough back
	Recipients int
	Messages   int // different messages of this campaign that history shows
	Missing    int // without a complete look this proves nothing
	Extra      int
	Price      int
	Status     int
	// Fresh ones were accepted so lately that history may not show them yet, or
	// are in flight; Unknown ones are being found out. Neither is a difference.
	Fresh   int
	Unknown int
}

// Differences is how many there are.
func (r *AuditResult) Differences() int { return r.Missing + r.Extra + r.Price + r.Status }

// historyReach is how far back a history is known to go (shared/api/PROVIDER.md,
// Limits: four months).
const historyReach = 120 * 24 * time.Hour

// priceSlack is within which two prices are the same: answers round to four
// decimals where history shows six (shared/api/PROVIDER.md, Numbers that change
// their clothes).
const priceSlack campaign.Micros = 50

// Audit compares, and hands each difference to fn, in the order of recipients
// as a rule. The campaign must be of the provider's account.
//
// It holds 16 bytes a recipient; where history does not echo references, 32
// bytes more.
func (a *Auditor) Audit(ctx context.Context, c *ledger.Campaign, fn func(*Difference) error) (*AuditResult, error) {
	began, err := a.Ledger.Now(ctx)
	if err != nil {
		return nil, err
	}
	spans, err := a.Ledger.AttemptSpans(ctx, c.ID, 2*margin)
	if err != nil {
		return nil, err
	}
	if len(spans) == 0 && !c.Started.IsZero() {
		spans = []ledger.Span{{From: c.Started, To: began}}
	}
	first, last, err := a.Ledger.RecipientRange(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	cmpr := &comparison{
		a: a, c: c, fn: fn, began: began, first: first, seed: maphash.MakeSeed(),
		rows: make([]shown, max(0, last-first+1)), more: map[int64][]shownMore{}, prices: map[campaign.Micros]uint32{}, statuses: map[string]uint16{},
	}
	if len(spans) == 0 || first == 0 { // nothing has left, or may have
		cmpr.res.Look = Look{Complete: true}
		return &cmpr.res, cmpr.compare(ctx)
	}
	if c.Content.Schedule > 0 {
		cmpr.held = time.Unix(c.Content.Schedule, 0)
	}
	err = cmpr.read(ctx, spans, margin)
	if err == nil && cmpr.res.Complete && cmpr.metNobody() {
		// Perhaps the provider's dates mean something else: see farMargin.
		err = cmpr.read(ctx, spans, farMargin)
	}
	if err != nil {
		return nil, err
	}
	if spans[0].From.Before(began.Add(-historyReach)) && cmpr.res.Complete {
		cmpr.res.Complete, cmpr.res.Doubt = false, "the campaign began more than four months ago, and the provider's history may not reach back so far"
	}
	return &cmpr.res, cmpr.compare(ctx)
}

// read reads the history around the spans, as far as reach.
func (k *comparison) read(ctx context.Context, spans []ledger.Span, reach time.Duration) (err error) {
	k.windows = nil
	for _, s := range spans {
		k.windows = append(k.windows, Window{From: s.From.Add(-reach), To: s.To.Add(reach)})
	}
	if !k.held.IsZero() {
		k.windows = append(k.windows, Window{From: k.held.Add(-reach), To: k.held.Add(reach)})
	}
	k.res.Look, err = k.a.Provider.History(ctx, k.c.Channel, k.windows, func(page []clicksend.Record) error {
		for i := range page {
			if err := k.row(ctx, &page[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// metNobody reports whether no row of the campaign was met.
func (k *comparison) metNobody() bool {
	return len(k.left) == 0 && !slices.ContainsFunc(k.rows, func(r shown) bool { return r.fate != 0 })
}

// comparison is one audit under way.
type comparison struct {
	a       *Auditor
	c       *ledger.Campaign
	fn      func(*Difference) error
	began   time.Time
	windows []Window
	held    time.Time // when the provider is to let the messages go; zero: at once
	res     AuditResult

	seed     maphash.Seed
	first    int64   // recipient of rows[0]
	rows     []shown // by recipient
	more     map[int64][]shownMore
	prices   map[campaign.Micros]uint32
	priceOf  []campaign.Micros
	statuses map[string]uint16
	statusOf []string

	ids    []keyed // of messages that the ledger knows; nil until a row without a reference comes
	places []keyed // destinations of the campaign
	left   map[uint64][]*leftover
	leftID map[string]bool
}

// shown is what history shows of a recipient's message.
type shown struct {
	id     uint64 // hash of the provider's
	price  uint32
	status uint16
	fate   uint8 // 0: nothing
	unread bool  // the price
}

// The fates that matter.
const (
	shownLive = 1 + iota
	shownFailed
	shownCancelled
)

// shownMore is a further message of a recipient.
type shownMore struct {
	shown
	messageID string
}

// keyed is the hash of a message id or destination, and whose it is.
type keyed struct {
	hash uint64
	at   int32 // in rows
}

// leftover is a row without a reference whose message id the ledger did not
// know for this campaign.
type leftover struct {
	rec   clicksend.Record
	known bool // to the ledger, of whichever campaign
	taken bool
}

func (k *comparison) hash(s string) uint64 { return maphash.String(k.seed, s) }

// row takes in one row of history.
func (k *comparison) row(ctx context.Context, rec *clicksend.Record) error {
	if rec.CustomString == "" {
		return k.unreferenced(ctx, rec)
	}
	ref, ours := k.a.Ledger.ParseReference(rec.CustomString)
	if at := ref.Recipient - k.first; ours && at >= 0 && at < int64(len(k.rows)) {
		k.note(at, rec)
	}
	return nil
}

// note records that history shows a message of a recipient.
func (k *comparison) note(at int64, rec *clicksend.Record) {
	s := k.shown(rec)
	r := &k.rows[at]
	if r.fate == 0 || r.id == s.id { // its status may have changed since it was read before
		*r = s
		return
	}
	for i := range k.more[at] {
		if m := &k.more[at][i]; m.id == s.id {
			m.shown = s
			return
		}
	}
	k.more[at] = append(k.more[at], shownMore{s, rec.MessageID})
}

func (k *comparison) shown(rec *clicksend.Record) shown {
	s := shown{id: k.hash(rec.MessageID), fate: shownLive, unread: unreadPrice(rec.Unread)}
	switch rec.Fate() {
	case clicksend.FateFailed:
		s.fate = shownFailed
	case clicksend.FateCancelled:
		s.fate = shownCancelled
	}
	price, known := k.prices[campaign.Micros(rec.Price)]
	if !known {
		price = uint32(len(k.priceOf))
		k.priceOf = append(k.priceOf, campaign.Micros(rec.Price))
		k.prices[campaign.Micros(rec.Price)] = price
	}
	status, known := k.statuses[string(rec.Status)]
	if !known {
		status = uint16(min(len(k.statusOf), 1<<16-1)) // there are a dozen
		k.statusOf = append(k.statusOf, string(rec.Status))
		k.statuses[string(rec.Status)] = status
	}
	s.price, s.status = price, status
	return s
}

// unreferenced takes in a row that bears no reference: it is of the message
// whose id it has; else it may be of somebody at its destination.
func (k *comparison) unreferenced(ctx context.Context, rec *clicksend.Record) error {
	if k.left == nil {
		if err := k.index(ctx); err != nil {
			return err
		}
	}
	if at, found := lookUp(k.ids, k.hash(rec.MessageID)); found && rec.MessageID != "" {
		k.note(int64(at), rec)
		return nil
	}
	place := k.hash(recordDestination(rec))
	if _, ours := lookUp(k.places, place); !ours || k.leftID[rec.MessageID] || !k.within(rec) || !printedAlike(&k.c.Content, rec) {
		return nil
	}
	k.leftID[rec.MessageID] = true
	k.left[place] = append(k.left[place], &leftover{rec: fateOf(rec)})
	return nil
}

// within reports whether the row is dated when a message of the campaign may
// be; rows beside the windows come too.
func (k *comparison) within(rec *clicksend.Record) bool {
	at := time.Unix(rec.Date, 0)
	return rec.Date == 0 || slices.ContainsFunc(k.windows, func(w Window) bool { return !at.Before(w.From) && !at.After(w.To) })
}

// index reads which messages the ledger knows of the campaign, and where its
// recipients are.
func (k *comparison) index(ctx context.Context) error {
	k.left, k.leftID = map[uint64][]*leftover{}, map[string]bool{}
	render, err := campaign.NewRenderer(&k.c.Content, k.c.Plan.Limits)
	if err != nil {
		return fmt.Errorf("rendering campaign %d: %w", k.c.ID, err)
	}
	err = k.a.Ledger.EachRecipient(ctx, k.c, func(r *ledger.ReportRow) error {
		at := int32(r.Recipient - k.first)
		if r.ProviderID != "" {
			k.ids = append(k.ids, keyed{k.hash(r.ProviderID), at})
		}
		if to := recipientDestination(render, r); to != "" {
			k.places = append(k.places, keyed{k.hash(to), at})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, all := range [][]keyed{k.ids, k.places} {
		slices.SortFunc(all, func(a, b keyed) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.at, b.at)) })
	}
	return nil
}

// recipientDestination is where a recipient's message goes; empty when there is
// none, for who was never to be sent to.
func recipientDestination(render *campaign.Renderer, r *ledger.ReportRow) string {
	if r.State == campaign.Suppressed && r.Reason != campaign.ReasonOptedOut {
		return ""
	}
	m, err := render.Render(&r.Contact)
	if err != nil {
		return "" // it could not have been sent
	}
	return destination(&m)
}

func lookUp(all []keyed, hash uint64) (int32, bool) {
	i, found := slices.BinarySearchFunc(all, hash, func(a keyed, h uint64) int { return cmp.Compare(a.hash, h) })
	if !found {
		return 0, false
	}
	return all[i].at, true
}

// compare goes through the recipients as the ledger has them now.
func (k *comparison) compare(ctx context.Context) error {
	inFlight, err := k.a.Ledger.InFlight(ctx, k.c.ID)
	if err != nil {
		return err
	}
	slices.Sort(inFlight)
	var render *campaign.Renderer
	spare := map[uint64]*ledger.ReportRow{} // somebody at each place of which rows are left
	if len(k.left) > 0 {
		if render, err = campaign.NewRenderer(&k.c.Content, k.c.Plan.Limits); err != nil {
			return fmt.Errorf("rendering campaign %d: %w", k.c.ID, err)
		}
		known, err := k.a.Ledger.KnownMessages(ctx, ledger.LookDue{Provider: k.c.Provider, Channel: k.c.Channel}, time.Time{}, k.leftID)
		if err != nil {
			return err
		}
		for _, rows := range k.left {
			for _, u := range rows {
				_, u.known = known[u.rec.MessageID]
			}
		}
	}
	err = k.a.Ledger.EachRecipient(ctx, k.c, func(r *ledger.ReportRow) error {
		at := r.Recipient - k.first
		if at < 0 || at >= int64(len(k.rows)) {
			return errors.New("the campaign got recipients while it was audited: audit it again")
		}
		if render != nil {
			if place := k.hash(recipientDestination(render, r)); len(k.left[place]) > 0 {
				k.take(at, r, k.left[place])
				if spare[place] == nil {
					somebody := *r
					spare[place] = &somebody
				}
			}
		}
		_, flying := slices.BinarySearch(inFlight, r.Recipient)
		return k.recipient(at, r, flying)
	})
	if err != nil {
		return err
	}
	for _, place := range sortedPlaces(spare) {
		for _, u := range k.left[place] {
			if u.taken || u.known || k.shown(&u.rec).fate != shownLive {
				continue
			}
			k.res.Messages++
			if err := k.differ(Extra, spare[place], k.shown(&u.rec), u.rec.MessageID); err != nil {
				return err
			}
		}
	}
	return nil
}

func sortedPlaces(spare map[uint64]*ledger.ReportRow) []uint64 {
	var all []uint64
	for place := range spare {
		all = append(all, place)
	}
	slices.SortFunc(all, func(a, b uint64) int { return cmp.Compare(spare[a].Recipient, spare[b].Recipient) })
	return all
}

// take gives a recipient the row that is left of its message: the one of its
// id, which the ledger has learnt meanwhile; else, if it was accepted and
// nothing is known of its message, one that is nobody's.
func (k *comparison) take(at int64, r *ledger.ReportRow, rows []*leftover) {
	for _, u := range rows {
		if !u.taken && r.ProviderID != "" && u.rec.MessageID == r.ProviderID {
			u.taken = true
			k.note(at, &u.rec)
			return
		}
	}
	if k.rows[at].fate != 0 || !counted(r.State) && r.State != campaign.Unknown {
		return
	}
	for _, u := range rows {
		if !u.taken && !u.known {
			u.taken = true
			k.note(at, &u.rec)
			return
		}
	}
}

// counted reports whether the ledger says that the provider took the message.
func counted(s campaign.RecipientState) bool {
	return s == campaign.Accepted || s == campaign.Delivered || s == campaign.Undelivered
}

// recipient compares one recipient.
func (k *comparison) recipient(at int64, r *ledger.ReportRow, inFlight bool) error {
	k.res.Recipients++
	var live, other []shownMore
	if row := k.rows[at]; row.fate != 0 {
		for _, m := range append([]shownMore{{shown: row}}, k.more[at]...) {
			k.res.Messages++
			if m.fate == shownLive {
				live = append(live, m)
			} else {
				other = append(other, m)
			}
		}
	}
	said := k.hash(r.ProviderID)
	// The message that the ledger knows comes first; what follows is too much.
	slices.SortStableFunc(live, func(a, b shownMore) int {
		if (a.id == said) == (b.id == said) {
			return 0
		} else if a.id == said {
			return -1
		}
		return 1
	})
	tooMany := 1
	switch {
	case r.State == campaign.Unknown:
		k.res.Unknown++
	case inFlight:
		k.res.Fresh++
	case counted(r.State) && len(live) > 0:
		if diff := live[0].priceIn(k) - r.Price; !live[0].unread && (diff > priceSlack || diff < -priceSlack) {
			if err := k.differ(PriceDiffers, r, live[0].shown, live[0].messageID); err != nil {
				return err
			}
		}
	case counted(r.State) && len(other) > 0:
		if r.State == campaign.Undelivered && other[0].fate == shownFailed {
			break // both say so
		}
		return k.differ(StatusDiffers, r, other[0].shown, other[0].messageID)
	case counted(r.State):
		if r.At.After(k.began.Add(-k.a.Settle)) || k.held.After(k.began.Add(-k.a.Settle)) {
			k.res.Fresh++
			break
		}
		return k.differ(Missing, r, shown{}, "")
	case len(live) > 0 && r.Status != "" && (r.State == campaign.Rejected || r.State == campaign.RecipientCancelled):
		if err := k.differ(StatusDiffers, r, live[0].shown, live[0].messageID); err != nil {
			return err
		}
	default:
		tooMany = 0
	}
	for _, m := range live[min(tooMany, len(live)):] {
		if err := k.differ(Extra, r, m.shown, m.messageID); err != nil {
			return err
		}
	}
	return nil
}

func (s shown) priceIn(k *comparison) campaign.Micros { return k.priceOf[s.price] }

func (k *comparison) differ(kind DifferenceKind, r *ledger.ReportRow, s shown, messageID string) error {
	d := Difference{Kind: kind, Recipient: r, MessageID: messageID}
	if s.fate != 0 {
		d.Status, d.Price = k.statusOf[s.status], s.priceIn(k)
	}
	switch kind {
	case Missing:
		k.res.Missing++
	case Extra:
		k.res.Extra++
	case PriceDiffers:
		k.res.Price++
	case StatusDiffers:
		k.res.Status++
	}
	return k.fn(&d)
}
