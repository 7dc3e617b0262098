package segment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
)

var sms = &campaign.Content{Channel: campaign.SMS, Body: "Hi"}

func numbered(n int) []campaign.Contact {
	all := make([]campaign.Contact, n)
	for i := range all {
		all[i] = campaign.Contact{ID: int64(i + 1), Phone: fmt.Sprintf("+614%08d", i), Fields: campaign.FieldsOf(map[string]string{"age": fmt.Sprint(i % 100)})}
	}
	return all
}

func taken(t *testing.T, s campaign.Segment, content *campaign.Content, all []campaign.Contact, crowds ...*Crowd) ([]int64, campaign.Selection) {
	t.Helper()
	selector, err := NewSelector(s, []string{"age"}, content, crowds)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	for i := range all {
		if selector.Take(&all[i]) {
			ids = append(ids, all[i].ID)
		}
	}
	return ids, selector.Selection()
}

// TestOrderOfSteps: condition, then those left out, then the sample, then the
// limit, and each step counts those who are left to it.
func TestOrderOfSteps(t *testing.T) {
	t.Parallel()
	all := numbered(10_000)
	one, two := NewCrowd("list:one", sms), NewCrowd("campaign:7", sms)
	for i := range all {
		if i%2 == 0 {
			one.Add(&all[i])
		}
		if i%4 < 2 {
			two.Add(&all[i])
		}
	}
	s := campaign.Segment{Where: "age < 50", Exclude: []string{"list:one", "campaign:7"}, Sample: 20 * campaign.Whole / 100, Seed: "x", Limit: 100}
	ids, sum := taken(t, s, sms, all, one, two)
	if sum.Of != 10_000 || sum.Matched != 5_000 || sum.Excluded[0].Contacts != 2_500 || sum.Excluded[1].Contacts != 1_300 || sum.Selected != 100 || len(ids) != 100 {
		t.Errorf("came to %+v, %d", sum, len(ids))
	}
	if sum.Sampled < 190 || sum.Sampled > 300 { // of 1,200
		t.Errorf("a fifth of 1,200 are %d", sum.Sampled)
	}
	want := fmt.Sprintf("5000 meet the condition, 2500 of them are of list one, 1300 of them are of campaign 7, %d of the remaining 1200 are in the sample", sum.Sampled)
	if got := sum.Steps(); got != want {
		t.Errorf("the steps are %q, want %q", got, want)
	}
	if got, want := sum.Segment.String(), "where age < 50, without list one, without campaign 7, a sample of 20%, the first 100"; got != want {
		t.Errorf("is %q, want %q", got, want)
	}
	s.Limit = 0
	whole, _ := taken(t, s, sms, all, one, two)
	if !slices.Equal(ids, whole[:100]) {
		t.Error("the limit does not take the first")
	}
	for _, id := range whole {
		if i := int(id - 1); i%100 >= 50 || i%4 != 3 {
			t.Errorf("contact %d was taken", id)
		}
	}
}

// TestSample: the same seed takes the same people whatever their order, a
// greater share has the smaller one in it, and the share is kept.
func TestSample(t *testing.T) {
	t.Parallel()
	all := numbered(100_000)
	turned := slices.Clone(all)
	slices.Reverse(turned)
	in := func(s campaign.Share, seed string, all []campaign.Contact) map[int64]bool {
		ids, _ := taken(t, campaign.Segment{Sample: s, Seed: seed}, sms, all)
		found := map[int64]bool{}
		for _, id := range ids {
			found[id] = true
		}
		return found
	}
	one := in(campaign.Whole/100, "a", all)
	if len(one) < 850 || len(one) > 1150 { // 1,000, and five times their deviation of 31
		t.Errorf("1%% of 100,000 are %d", len(one))
	}
	if again := in(campaign.Whole/100, "a", turned); !maps.Equal(again, one) {
		t.Error("another order has another sample")
	}
	five := in(5*campaign.Whole/100, "a", all)
	for id := range one {
		if !five[id] {
			t.Fatal("5% do not hold the 1%")
		}
	}
	other, both := in(campaign.Whole/100, "b", all), 0
	for id := range other {
		if one[id] {
			both++
		}
	}
	if both > 50 { // 10 are expected
		t.Errorf("another seed takes %d of the same %d", both, len(one))
	}
	if n := len(in(campaign.Whole, "a", all)); n != len(all) {
		t.Errorf("100%% are %d", n)
	}
	if n := len(in(1, "a", all)); n != 0 { // a hundred-millionth
		t.Errorf("0.000001%% are %d", n)
	}
}

// TestSampleOfPeople: rows of the same person are all in it or none, and on
// personal letters rows are told apart by what is printed for them.
func TestSampleOfPeople(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.String().Draw(rt, "seed")
		phone := rapid.StringMatching(`\+614[0-9]{8}`).Draw(rt, "phone")
		twice := []campaign.Contact{{ID: 1, Phone: phone, FirstName: "Ann"}, {ID: 2, Phone: phone, FirstName: "Ann B."}}
		if ids, _ := taken(t, campaign.Segment{Sample: campaign.Whole / 2, Seed: seed}, sms, twice); len(ids) == 1 {
			rt.Fatalf("one row of %s was taken, the other not", phone)
		}
	})
	home := campaign.Address{Name: "Ann", Line1: "1 Way", City: "Perth", PostalCode: "6000", Country: "AU"}
	letters := make([]campaign.Contact, 64)
	for i := range letters {
		letters[i] = campaign.Contact{ID: int64(i + 1), Address: home, Fields: campaign.FieldsOf(map[string]string{"pdf": fmt.Sprint(i)})}
	}
	half := campaign.Segment{Sample: campaign.Whole / 2, Seed: "x"}
	if ids, _ := taken(t, half, &campaign.Content{Channel: campaign.Letter, FileColumn: "pdf"}, letters); len(ids) == 0 || len(ids) == len(letters) {
		t.Errorf("of %d letters to one home %d were taken", len(letters), len(ids))
	}
	if ids, _ := taken(t, half, &campaign.Content{Channel: campaign.Letter}, letters); len(ids) != 0 && len(ids) != len(letters) {
		t.Errorf("of %d times the same letter %d were taken", len(letters), len(ids))
	}
}

// TestCrowd: people are told by number on SMS and MMS, by name and address on
// post, and whoever lacks it leaves nobody out.
func TestCrowd(t *testing.T) {
	t.Parallel()
	home := campaign.Address{Name: "Ann", Line1: "1 Way", City: "Perth", PostalCode: "6000", Country: "AU"}
	shouted := campaign.Address{Name: "ANN ", Line1: "1  WAY", City: "perth", PostalCode: "6000", Country: "AU"}
	spouse := home
	spouse.Name = "Bob"
	for _, c := range []struct {
		content *campaign.Content
		left    []bool
		without int
	}{
		{sms, []bool{true, false, false, false}, 1},
		{&campaign.Content{Channel: campaign.Postcard}, []bool{false, true, false, false}, 1},
		{&campaign.Content{Channel: campaign.Letter, FileColumn: "pdf"}, []bool{false, true, false, false}, 1},
		{&campaign.Content{Channel: campaign.Letter, Household: true}, []bool{false, true, true, false}, 1},
	} {
		crowd := NewCrowd("list:x", c.content)
		crowd.Add(&campaign.Contact{Phone: "+61411111111", FirstName: "Ann"})
		crowd.Add(&campaign.Contact{Address: home, Reference: "1"})
		if crowd.Contacts != 2 || crowd.Without != c.without {
			t.Errorf("%s: %d contacts, %d without", c.content.Channel, crowd.Contacts, crowd.Without)
		}
		for i, k := range []campaign.Contact{
			{Phone: "+61411111111", FirstName: "Annie"}, {Phone: "+61422222222", Address: shouted, Reference: "2"}, {Phone: "+61422222222", Address: spouse}, {FirstName: "Ann"},
		} {
			if got := crowd.Has(&k); got != c.left[i] {
				t.Errorf("%s: contact %d is one of them: %v", c.content.Channel, i, got)
			}
		}
	}
}

func TestSelectorNeedsItsFields(t *testing.T) {
	t.Parallel()
	_, err := NewSelector(campaign.Segment{Where: "height > 2"}, []string{"age"}, sms, nil)
	var fault *Fault
	if !errors.As(err, &fault) || fault.At != 1 {
		t.Errorf("a field that is not there is %v", err)
	}
}

func BenchmarkTake(b *testing.B) {
	all := numbered(1000)
	crowd := NewCrowd("list:x", sms)
	for i := range 100_000 {
		crowd.Add(&campaign.Contact{Phone: fmt.Sprintf("+615%08d", i)})
	}
	for name, s := range map[string]campaign.Segment{
		"where": {Where: "age >= 18"}, "exclude": {Exclude: []string{"list:x"}}, "sample": {Sample: campaign.Whole / 2, Seed: "x"}, "limit": {Limit: 5},
	} {
		b.Run(name, func(b *testing.B) {
			var crowds []*Crowd
			if len(s.Exclude) > 0 {
				crowds = append(crowds, crowd)
			}
			t, err := NewSelector(s, []string{"age"}, sms, crowds)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				t.Take(&all[i%len(all)])
			}
		})
	}
}
