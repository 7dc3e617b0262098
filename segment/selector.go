package segment

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/postrider/postrider/campaign"
)

// Crowd is a set of people who are left out: those of a list, or those whom a
// campaign has reached. It holds 16 bytes for each.
type Crowd struct {
	// From names the list or campaign, as the segment does.
	From string
	// Contacts are how many were added, and Without how many of them have nothing
	// by which they could be told: no number on SMS and MMS, no whole address on
	// post.
	Contacts, Without int

	by   campaign.Identity
	seen *campaign.Seen
	key  []byte
	left int // how many were left out for it
}

// NewCrowd makes an empty crowd of people who would be sent the content: told
// by their number, or by name and address whatever is printed for them; by the
// address alone where one goes to a household.
func NewCrowd(from string, content *campaign.Content) *Crowd {
	by := campaign.ByPost
	switch id := content.Identity(); id {
	case campaign.ByNumber, campaign.ByHousehold:
		by = id
	}
	return &Crowd{From: from, by: by, seen: campaign.NewSeen()}
}

// Add puts somebody in.
func (d *Crowd) Add(c *campaign.Contact) {
	d.Contacts++
	if !d.identify(c) {
		d.Without++
		return
	}
	d.seen.AddBytes(d.key)
}

// Has reports whether the contact is one of them.
func (d *Crowd) Has(c *campaign.Contact) bool { return d.identify(c) && d.seen.Has(d.key) }

func (d *Crowd) identify(c *campaign.Contact) bool {
	if d.by == campaign.ByNumber && c.Phone == "" || d.by != campaign.ByNumber && !c.Address.Complete() {
		return false
	}
	d.key = d.by.AppendKey(d.key[:0], c, "")
	return true
}

// Selector takes the contacts of a segment, one after the other in the order of
// their list: of those who meet the condition, without those who are left out,
// the sample, and of that the first. It is for one goroutine.
type Selector struct {
	condition *Condition // nil: everybody
	crowds    []*Crowd
	by        campaign.Identity
	column    string // with each recipient's own file
	sum       campaign.Selection
	buf       []byte
	seed      int // bytes of the seed in buf
}

// NewSelector makes a selector of an audience with these columns of its own.
// The crowds are those of s.Exclude. A sample needs a seed. The error is a
// *Fault of the condition.
func NewSelector(s campaign.Segment, columns []string, content *campaign.Content, crowds []*Crowd) (*Selector, error) {
	t := &Selector{crowds: crowds, by: content.Identity(), column: content.FileColumn, sum: campaign.Selection{Segment: s}}
	if s.Where != "" {
		k, err := Compile(s.Where, columns)
		if err != nil {
			return nil, err
		}
		t.condition = k
	}
	t.buf = append(append(t.buf, s.Seed...), 0)
	t.seed = len(t.buf)
	return t, nil
}

// Take reports whether the contact is in the segment.
func (t *Selector) Take(c *campaign.Contact) bool {
	s := &t.sum
	s.Of++
	if t.condition != nil && !t.condition.Match(c) {
		return false
	}
	s.Matched++
	for _, crowd := range t.crowds {
		if crowd.Has(c) {
			crowd.left++
			return false
		}
	}
	if s.Sample > 0 && !t.drawn(c) {
		return false
	}
	s.Sampled++
	if s.Limit > 0 && s.Selected == s.Limit {
		return false
	}
	s.Selected++
	return true
}

// drawn reports whether the contact is in the sample. A hash of seed and
// identity decides, and nothing else: the same person is in it whatever the order
// of the list, twice or not at all if there twice, and a greater share with the
// same seed has everybody who is in a smaller one.
func (t *Selector) drawn(c *campaign.Contact) bool {
	file := ""
	if t.column != "" {
		file, _ = c.Field(t.column)
	}
	t.buf = t.by.AppendKey(t.buf[:t.seed], c, file)
	hash := sha256.Sum256(t.buf)
	place, _ := bits.Mul64(binary.BigEndian.Uint64(hash[:8]), uint64(campaign.Whole))
	return campaign.Share(place) < t.sum.Sample
}

// Selection says whom the segment came to so far.
func (t *Selector) Selection() campaign.Selection {
	s := t.sum
	s.Exclude = slices.Clone(s.Exclude)
	for _, crowd := range t.crowds {
		s.Excluded = append(s.Excluded, campaign.Exclusion{From: crowd.From, Contacts: crowd.left})
	}
	return s
}

// Unread tells which cells the condition could not compare.
func (t *Selector) Unread() []Unread {
	if t.condition == nil {
		return nil
	}
	return t.condition.Unread()
}

// Crowds are those who are left out.
func (t *Selector) Crowds() []*Crowd { return t.crowds }
