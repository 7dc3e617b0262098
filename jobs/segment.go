package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/segment"
)

// maxSeed bounds a sample's seed, in characters.
const maxSeed = 64

// Segment reads which contacts the order is for. Whether the fields of its
// condition are there, and the lists and campaigns that it leaves out, only the
// ledger tells. The error is an *OrderError.
func (o *Order) Segment() (campaign.Segment, error) {
	s := campaign.Segment{Where: o.Where, Exclude: o.Exclude, Seed: o.SampleSeed, Limit: o.Limit}
	if o.given("where") {
		if err := segment.Check(o.Where); err != nil {
			return s, o.errorf("where", ": %w", err)
		}
	}
	named := map[string]bool{}
	for _, e := range o.Exclude {
		kind, name, _ := strings.Cut(e, ":")
		switch {
		case kind != "list" && kind != "campaign" || name == "":
			return s, o.errorf("exclude", ": %q names nobody who could be left out: write list:NAME for those of a list, or campaign:ID for whom a campaign has reached", e)
		case named[e]:
			return s, o.errorf("exclude", ": %s is named twice", e)
		}
		named[e] = true
	}
	if o.given("sample") {
		var err error
		if s.Sample, err = campaign.ParseShare(o.Sample); err != nil {
			return s, o.errorf("sample", ": %w", err)
		}
	}
	switch {
	case !o.given("sample-seed"):
	case s.Sample == 0:
		return s, o.errorf("sample-seed", " decides who is in a sample: name its share with sample, such as 1%%")
	case strings.TrimSpace(o.SampleSeed) == "" || utf8.RuneCountInString(o.SampleSeed) > maxSeed:
		return s, o.errorf("sample-seed", ": expected a text of 1 to %d characters, such as spring", maxSeed)
	}
	if o.given("limit") && o.Limit <= 0 {
		return s, o.errorf("limit", ": %d is not how many are sent to at most: expected 1 or more", o.Limit)
	}
	return s, nil
}

// LogValue leaves out of logs what a condition says: it may be about a person.
func (e *OrderError) LogValue() slog.Value {
	var fault *segment.Fault
	if errors.As(e.Err, &fault) {
		return slog.StringValue(fmt.Sprintf("%s: the condition cannot be asked of this audience, see its character %d", at(e.File, e.Line), fault.At))
	}
	return slog.StringValue(e.Error())
}

// excluded is a list or a campaign whose contacts are left out; one of the two.
type excluded struct {
	from     string // list:NAME, campaign:ID
	list     *ledger.List
	campaign *ledger.Campaign
}

// findExcluded finds the lists and campaigns that a segment leaves out.
func (p *Preparer) findExcluded(ctx context.Context, o *Order, s campaign.Segment) ([]excluded, error) {
	var all []excluded
	for _, from := range s.Exclude {
		e := excluded{from: from}
		var err error
		kind, name, _ := strings.Cut(from, ":")
		if kind == "list" {
			e.list, err = p.Ledger.FindList(ctx, name)
		} else if e.campaign, err = p.Ledger.FindCampaign(ctx, name); err == nil {
			switch c := e.campaign; {
			case c.State == campaign.Draft || c.State == campaign.Quoted:
				err = campaign.Errorf(campaign.CodeConflict, "campaign %d is %s, so that it has reached nobody yet: start it first, or leave out its list with list:NAME", c.ID, c.State)
			case c.State == campaign.Failed:
				err = campaign.Errorf(campaign.CodeConflict, "campaign %d has failed: nobody knows whom it would have reached", c.ID)
			}
		}
		switch campaign.ErrorCode(err) {
		case campaign.CodeNotFound, campaign.CodeConflict:
			return nil, o.errorf("exclude", " %s: %w", from, err)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// crowd reads whom a list or campaign leaves out.
func (e *excluded) crowd(ctx context.Context, l *ledger.Ledger, content *campaign.Content) (*segment.Crowd, error) {
	crowd := segment.NewCrowd(e.from, content)
	if e.list != nil {
		err := l.EachContact(ctx, e.list.ID, func(c *campaign.Contact) error {
			crowd.Add(c)
			return nil
		})
		// Whoever is missed here is sent to.
		now, gone := l.List(ctx, e.list.ID)
		switch {
		case campaign.ErrorCode(gone) == campaign.CodeNotFound, gone == nil && now.State != "ready", err == nil && gone == nil && now.Contacts != crowd.Contacts:
			return nil, campaign.Errorf(campaign.CodeConflict, "list %s was removed or changed while it was read, to leave its contacts out: nothing was sent; try again", e.list.Name)
		case err != nil || gone != nil:
			return nil, fmt.Errorf("reading whom %s leaves out: %w", e.from, errors.Join(err, gone))
		}
	} else {
		err := l.EachRecipient(ctx, e.campaign, func(r *ledger.ReportRow) error {
			switch r.State {
			case campaign.Rejected, campaign.Suppressed, campaign.RecipientCancelled:
				return nil // it has not reached them, and will not
			}
			crowd.Add(&r.Contact)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading whom %s leaves out: %w", e.from, err)
		}
	}
	if crowd.Contacts > 0 && crowd.Without == crowd.Contacts {
		return nil, campaign.Errorf(campaign.CodeInvalid, "%s: nobody there has %s, so that nobody would be left out: nothing was sent", e.from, told(content))
	}
	return crowd, nil
}

// told is by what people are told apart.
func told(content *campaign.Content) string {
	if content.Channel.IsPhone() {
		return "a phone number"
	}
	return "a whole address"
}

// selector makes what takes the contacts of the segment; nil when it is
// everybody.
func (r *Preparation) selector(ctx context.Context) (*segment.Selector, error) {
	if r.Segment.Everybody() {
		return nil, nil
	}
	if err := r.checkWhere(); err != nil {
		return nil, err
	}
	if err := r.plantSeed(ctx); err != nil {
		return nil, err
	}
	var crowds []*segment.Crowd
	for i := range r.excluded {
		crowd, err := r.excluded[i].crowd(ctx, r.p.Ledger, &r.Content)
		if err != nil {
			return nil, err
		}
		crowds = append(crowds, crowd)
	}
	return segment.NewSelector(r.Segment, r.Audience.List.Columns, &r.Content, crowds)
}

// checkWhere refuses a condition on fields that the audience does not have.
func (r *Preparation) checkWhere() error {
	if r.Segment.Where == "" {
		return nil
	}
	if _, err := segment.Compile(r.Segment.Where, r.Audience.List.Columns); err != nil {
		return r.Order.errorf("where", ": %w; nothing was sent", err)
	}
	return nil
}

// plantSeed decides who is in a sample, unless the order does: the same order
// takes the same people, and another message others. The runs of a schedule,
// each of which has its name, take others each time. A campaign that takes the
// place of another takes whom that would have.
func (r *Preparation) plantSeed(ctx context.Context) error {
	if r.Segment.Sample == 0 || r.Segment.Seed != "" {
		return nil
	}
	if r.Replaces != 0 {
		old, err := r.p.Ledger.Campaign(ctx, r.Replaces)
		if err != nil {
			return err
		}
		if s := old.Plan.Segment; s != nil && s.Seed != "" {
			r.Segment.Seed = s.Seed
			return nil
		}
	}
	sum := sha256.Sum256([]byte("sample 1\x00" + r.Order.Name + "\x00" + r.Content.Digest()))
	r.Segment.Seed = hex.EncodeToString(sum[:8])
	return nil
}

// segmentDigest tells two segments of one audience from each other. Lists count
// by whom they hold, and the condition by what it says, not how it is spelt. The
// seed counts if somebody chose it.
func (r *Preparation) segmentDigest() (string, error) {
	s := r.Segment
	if s.Everybody() {
		return "", nil
	}
	parts := []string{"segment 1", "", s.Sample.String(), r.Order.SampleSeed, fmt.Sprint(s.Limit)}
	if s.Where != "" {
		k, err := segment.Compile(s.Where, r.Audience.List.Columns)
		if err != nil {
			return "", err
		}
		parts[1] = k.String()
	}
	for _, e := range r.excluded {
		if e.list != nil {
			parts = append(parts, "list "+e.list.Digest)
		} else {
			parts = append(parts, fmt.Sprintf("campaign %d", e.campaign.ID))
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:]), nil
}

// EachSelected hands the contacts of the order's segment to fn, in the order of
// the list, until fn fails.
func (r *Preparation) EachSelected(ctx context.Context, fn func(*campaign.Contact) error) error {
	selector, err := r.selector(ctx)
	if err != nil {
		return err
	}
	return r.p.Ledger.EachContact(ctx, r.Audience.List.ID, func(c *campaign.Contact) error {
		if selector != nil && !selector.Take(c) {
			return nil
		}
		return fn(c)
	})
}

// notes are what a person should know of whom the segment took.
func notes(s *segment.Selector, content *campaign.Content) []string {
	var all []string
	for _, u := range s.Unread() {
		all = append(all, u.String())
	}
	for _, c := range s.Crowds() {
		if c.Without == 1 {
			all = append(all, fmt.Sprintf("1 contact of %s has not %s, and leaves nobody out", c.From, told(content)))
		} else if c.Without > 1 {
			all = append(all, fmt.Sprintf("%d contacts of %s have not %s, and leave nobody out", c.Without, c.From, told(content)))
		}
	}
	return all
}
