package campaign

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestAShareIsReadAndWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		share Share
		said  string
	}{
		"1%": {1_000_000, "1%"}, "0.5 %": {500_000, "0.5%"}, " 12.25% ": {12_250_000, "12.25%"}, "100%": {Whole, "100%"}, "100.000000%": {Whole, "100%"},
		"0.000001%": {1, "0.000001%"}, "007%": {7_000_000, "7%"}, "33.333333%": {33_333_333, "33.333333%"},
	} {
		got, err := ParseShare(text)
		if err != nil || got != want.share || got.String() != want.said {
			t.Errorf("%q is %d, %s, %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "%", "1", "500", "0%", "0.0%", "101%", "100.000001%", "-1%", "+1%", "1e1%", "1.%", ".5%", "1.0000001%", "1,5%", "1%%", "9999999999999999%", "1/2%", "x%"} {
		if got, err := ParseShare(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Share(rapid.Int64Range(1, int64(Whole)).Draw(t, "share"))
		if again, err := ParseShare(s.String()); err != nil || again != s {
			t.Fatalf("%d is written %s and read %d, %v", s, s, again, err)
		}
	})
}

func TestASelectionIsStoredWhole(t *testing.T) {
	t.Parallel()
	want := Selection{
		Segment: Segment{Where: `a = "b"`, Exclude: []string{"list:vip"}, Sample: Whole / 200, Seed: "x", Limit: 3},
		Of:      10, Matched: 9, Excluded: []Exclusion{{"list:vip", 2}}, Sampled: 4, Selected: 3,
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Selection
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %+v, %v", b, got, err)
	}
	if b, err := json.Marshal(Selection{Of: 1, Matched: 1, Sampled: 1, Selected: 1}); err != nil || string(b) != `{"of":1,"matched":1,"sampled":1,"selected":1}` {
		t.Errorf("everybody is %s, %v", b, err)
	}
}

func TestSeenKnowsWhatWasPutIn(t *testing.T) {
	t.Parallel()
	s := NewSeen()
	key := func(i int) []byte { return fmt.Appendf(nil, "key %d", i) }
	if s.Has(key(0)) {
		t.Error("an empty set has something")
	}
	for i := range 50_000 {
		if i%2 == 0 {
			s.AddDigest(s.Digest(key(i)), int64(i))
		}
	}
	for i := range 50_000 {
		if s.Has(key(i)) != (i%2 == 0) {
			t.Fatalf("key %d: %v", i, i%2 != 0)
		}
	}
	if s.Len() != 25_000 {
		t.Errorf("looking put something in: %d", s.Len())
	}
}
