package jobs

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/ledger"
)

// classSamples is how many messages of a class are priced: the first, the last,
// and some that lie between. A class of no more is priced whole.
const classSamples = 5

// likeness is all that the price of a message can depend on, the options of the
// campaign aside. Messages alike in it have one price, or their samples show
// that they have not.
type likeness struct {
	country string
	// prefix is how the number begins, +61 or +14, should the country of a row
	// not be the country of its number. SMS and MMS.
	prefix  string
	parts   int
	unicode bool
	// pages of the file, or where nobody has counted them the file itself.
	pages int
	file  string
}

// class is messages that are alike, and of one file.
type class struct {
	kind     *kind
	country  string
	parts    int
	file     string
	messages int
}

// kind is a likeness and its price, once it is known.
type kind struct {
	samples  spread
	messages int
	file     string // that its samples are priced with

	asked   []clicksend.Outcome
	price   campaign.Micros
	parts   int    // of each, as the provider counts; 0 on post
	refused string // the provider's status when it would refuse them all
	each    bool   // its samples disagree: everybody is priced
}

// classes is an audience sorted by what its prices can depend on. It holds 16
// bytes a message at the worst, where no two neighbours are alike.
type classes struct {
	pages    func(fileKey string) int
	messages int
	all      []*class
	index    map[classKey]int32
	kinds    map[likeness]*kind
	order    []*kind        // as they were met
	fileOf   map[int]string // of a number of pages: the file that stands for all of them
	batches  []classedBatch
	requests []sampleRequest
}

type classKey struct {
	likeness
	file string
}

// classedBatch is a batch by runs of neighbours of one class.
type classedBatch struct {
	id       int64
	messages int32
	runs     []run
}

type run struct {
	first int64 // recipient
	n     int32
	class int32
}

// sampleRequest is one price request for samples of several kinds.
type sampleRequest struct {
	fileKey  string
	messages []outgoing
	kinds    []*kind // of each message
}

func newClasses(pages func(fileKey string) int) *classes {
	return &classes{pages: pages, index: map[classKey]int32{}, kinds: map[likeness]*kind{}, fileOf: map[int]string{}}
}

// survey renders every message and sorts them by class, while the plan is read
// in another goroutine.
func (q *quoter) survey(ctx context.Context) error {
	plan := make(chan ledger.PlannedBatch, 4)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(plan)
		return q.l.EachPlannedBatch(ctx, q.c, func(b ledger.PlannedBatch) error {
			select {
			case plan <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	g.Go(func() error {
		var runs []run // used again for every batch
		for b := range plan {
			cb := classedBatch{id: b.ID, messages: int32(len(b.Recipients)), runs: runs[:0]}
			for i := range b.Recipients {
				rc := &b.Recipients[i]
				m, err := q.r.Render(&rc.Contact)
				if err != nil {
					return err
				}
				cb.add(rc.ID, q.classes.sort(rc.ID, q.country(&rc.Contact), b.FileKey, &m))
			}
			runs, cb.runs = cb.runs, slices.Clone(cb.runs)
			q.classes.batches = append(q.classes.batches, cb)
			if q.o.Progress != nil {
				q.progress()
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	q.classes.choose(q.l.ID())
	return nil
}

func (b *classedBatch) add(recipient int64, class int32) {
	if n := len(b.runs); n > 0 {
		if r := &b.runs[n-1]; r.class == class && r.first+int64(r.n) == recipient {
			r.n++
			return
		}
	}
	b.runs = append(b.runs, run{recipient, 1, class})
}

// sort puts a message into its class.
func (s *classes) sort(recipient int64, country, file string, m *campaign.Message) int32 {
	like := likeness{country: country, parts: m.Parts, unicode: m.Unicode, file: file}
	if m.To != "" {
		like.prefix = m.To[:min(3, len(m.To))]
	} else if like.pages = s.pages(file); like.pages > 0 {
		like.file = ""
	}
	key := classKey{like, file}
	n, met := s.index[key]
	if !met {
		n = int32(len(s.all))
		s.index[key] = n
		s.all = append(s.all, &class{kind: s.kindOf(like, file), country: country, parts: m.Parts, file: file})
	}
	c := s.all[n]
	c.messages++
	c.kind.messages++
	c.kind.samples.add(sample{recipient, *m})
	s.messages++
	return n
}

func (s *classes) kindOf(like likeness, file string) *kind {
	k := s.kinds[like]
	if k != nil {
		return k
	}
	k = &kind{file: file}
	if like.pages > 0 {
		if _, met := s.fileOf[like.pages]; !met {
			s.fileOf[like.pages] = file
		}
		k.file = s.fileOf[like.pages]
	}
	s.kinds[like] = k
	s.order = append(s.order, k)
	return k
}

// sample is a message that may be priced for others.
type sample struct {
	recipient int64
	message   campaign.Message
}

// spread keeps a few of many samples that come one by one: the first, the last,
// and some at even distances between.
type spread struct {
	kept   []sample // every stride-th, from the first
	last   sample
	seen   int
	stride int
}

func (s *spread) add(x sample) {
	if s.stride == 0 {
		s.stride = 1
	}
	if s.seen%s.stride == 0 {
		if len(s.kept) == 2*classSamples {
			for i := range classSamples {
				s.kept[i] = s.kept[2*i]
			}
			s.kept = s.kept[:classSamples]
			s.stride *= 2
		}
		if s.seen%s.stride == 0 {
			s.kept = append(s.kept, x)
		}
	}
	s.last = x
	s.seen++
}

// take returns the samples, classSamples at most, all different.
func (s *spread) take() []sample {
	all := s.kept
	if s.kept[len(s.kept)-1].recipient != s.last.recipient {
		all = append(slices.Clone(s.kept), s.last)
	}
	if len(all) <= classSamples {
		return all
	}
	var out []sample
	for i := range classSamples {
		out = append(out, all[i*(len(all)-1)/(classSamples-1)])
	}
	return out
}

// choose makes the requests for the samples, as few as can be: those of one file
// share requests. No request goes to one destination twice, lest the rows of an
// answer without references be mistaken for each other.
func (s *classes) choose(ledgerID string) {
	type open struct {
		request int
		to      map[string]bool
	}
	files := map[string][]*open{}
	for _, k := range s.order {
		asked := map[string]bool{} // a second letter to one address would be the same question
		for _, x := range k.samples.take() {
			to := destination(&x.message)
			if asked[to] {
				continue
			}
			asked[to] = true
			i := slices.IndexFunc(files[k.file], func(o *open) bool {
				return len(s.requests[o.request].messages) < campaign.MaxBatch && !o.to[to]
			})
			if i < 0 {
				i = len(files[k.file])
				files[k.file] = append(files[k.file], &open{len(s.requests), map[string]bool{}})
				s.requests = append(s.requests, sampleRequest{fileKey: k.file})
			}
			o := files[k.file][i]
			o.to[to] = true
			r := &s.requests[o.request]
			ref := campaign.Reference{Ledger: ledgerID, Recipient: x.recipient}
			r.messages = append(r.messages, outgoing{recipient: x.recipient, reference: ref.String(), message: x.message})
			r.kinds = append(r.kinds, k)
		}
		k.samples = spread{}
	}
}

// effort is what asking for the samples takes.
func (s *classes) effort() QuoteEffort {
	var keys []string
	for _, r := range s.requests {
		keys = append(keys, r.fileKey)
	}
	return QuoteEffort{ByClass: true, Calls: len(s.requests), Uploads: storedFiles(keys)}
}

// priceClasses asks for the samples and judges by them, and counts every class
// that has a price of its own.
func (q *quoter) priceClasses(ctx context.Context) error {
	answers := make([]priced, len(q.classes.requests))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(priceCalls)
	for i := range q.classes.requests {
		r := &q.classes.requests[i]
		g.Go(func() (err error) {
			answers[i].rows, answers[i].currency, err = q.price(ctx, r.messages, r.fileKey)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, r := range q.classes.requests {
		if err := q.takeCurrency(answers[i].currency); err != nil {
			return err
		}
		for j, o := range answers[i].rows {
			r.kinds[j].asked = append(r.kinds[j].asked, o)
		}
	}
	q.classes.requests = nil
	for _, k := range q.classes.order {
		k.judge()
		if !k.each && k.messages > len(k.asked) {
			q.guessed += k.messages - len(k.asked)
		}
		q.dearest.price = max(q.dearest.price, k.price)
	}
	for _, c := range q.classes.all {
		if c.kind.each {
			continue
		}
		m := campaign.PricedMessages{Country: c.country, Parts: c.parts, File: c.file, Messages: c.messages, Price: c.kind.price, Refused: c.kind.refused}
		if n := c.kind.parts; n > 0 && n != c.parts && !q.c.Channel.IsPost() && m.Refused == "" {
			m.Parts = n
			q.differ += c.messages
		}
		q.tally.Add(m)
	}
	return nil
}

// judge decides by the answers for its samples whether a kind has one price.
func (k *kind) judge() {
	first := &k.asked[0]
	for i := range k.asked {
		o := &k.asked[i]
		if o.Price != first.Price || o.Parts != first.Parts || o.Verdict() != first.Verdict() || o.Status != first.Status && o.Verdict() != clicksend.Accepted {
			k.each = true
			return
		}
	}
	if first.Verdict() != clicksend.Accepted {
		k.refused = string(first.Status)
		return
	}
	k.price, k.parts = campaign.Micros(first.Price), int(first.Parts)
}

// eachClassedParcel hands the batches to fn with the prices of their classes.
// Those with messages that must be priced one by one are read again, and fill
// requests together.
func (q *quoter) eachClassedParcel(ctx context.Context, fn func(*parcel) error) error {
	open := &parcel{}
	flush := func() error {
		p := open
		open = &parcel{}
		if len(p.batches) == 0 {
			return nil
		}
		return fn(p)
	}
	for i := range q.classes.batches {
		cb := &q.classes.batches[i]
		pb := newPricedBatch(cb.id, int(cb.messages))
		var each []int // positions
		for _, r := range cb.runs {
			k := q.classes.all[r.class].kind
			for id := r.first; id < r.first+int64(r.n); id++ {
				if k.each {
					each = append(each, len(pb.Recipients))
				}
				pb.add(id, k.price, k.refused)
			}
		}
		cb.runs = nil
		if len(each) == 0 {
			if err := fn(&parcel{batches: []*pricedBatch{pb}}); err != nil {
				return err
			}
			continue
		}
		b, err := q.l.PlannedBatch(ctx, q.c, cb.id)
		if err != nil {
			return err
		}
		if b.FileKey != open.fileKey || len(open.messages)+len(each) > campaign.MaxBatch {
			if err := flush(); err != nil {
				return err
			}
			open.fileKey = b.FileKey
		}
		if len(b.Recipients) != len(pb.Recipients) {
			return fmt.Errorf("the recipients of batch %d changed while they were priced: ask again", cb.id)
		}
		for _, at := range each {
			rc := &b.Recipients[at]
			m, err := q.outgoing(rc)
			if err != nil {
				return err
			}
			open.messages = append(open.messages, m)
			open.slots = append(open.slots, slot{pb, at, q.country(&rc.Contact)})
		}
		open.batches = append(open.batches, pb)
	}
	return flush()
}
