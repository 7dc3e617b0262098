package importer

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nyaruka/phonenumbers"
)

// kindsDiffer says where the automata sort a number otherwise than the library.
func kindsDiffer(n *numbers, e164 string) (differ, sorted bool) {
	kind, ok := n.fastKind(e164)
	return ok && kind != kindOfLibrary(e164), ok
}

func TestKindsAreTheLibrarysOnTheExamplesOfEveryRegion(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	tried, sorted := 0, 0
	seen := map[Kind]bool{}
	for _, region := range allRegions() {
		for _, kind := range kindsOfNumber() {
			p := phonenumbers.GetExampleNumberForType(region, kind)
			if p == nil {
				continue
			}
			e164 := phonenumbers.Format(p, phonenumbers.E164)
			differ, ok := kindsDiffer(n, e164)
			if differ {
				t.Errorf("%s of %s: %s, and to the library %s", e164, region, NumberKind(e164), kindOfLibrary(e164))
			}
			tried++
			if ok {
				sorted++
			}
			seen[NumberKind(e164)] = true
		}
	}
	if tried < 1000 || sorted*100 < tried*90 || len(seen) < 11 {
		t.Errorf("of %d examples %d were sorted without the library, into %d kinds", tried, sorted, len(seen))
	}
}

// The heavy loop: POSTRIDER_SCALE=1 draws half a million numbers.
func TestKindsAreTheLibrarysOnNumbersDrawnFromThePatternsOfEveryRegion(t *testing.T) {
	t.Parallel()
	n := testNumbers(t)
	regions := allRegions()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 3))
	draws, sorted := int(500_000*scale()), 0
	for range draws {
		text, country := drawn(n, regions, r)
		e164, _, err := parseWithLibrary(text, country)
		if err != nil || r.IntN(10) == 0 { // one that is no number at all, now and then
			e164 = "+" + string(slices.DeleteFunc([]byte(text), func(c byte) bool { return c < '0' || c > '9' }))
		}
		differ, ok := kindsDiffer(n, e164)
		if differ {
			t.Fatalf("seed %d: %s is a %s, and to the library a %s", seed, e164, NumberKind(e164), kindOfLibrary(e164))
		}
		if ok {
			sorted++
		}
	}
	if sorted < draws/8 {
		t.Errorf("only %d of %d draws were sorted: the loop proves little", sorted, draws)
	}
}

func TestKindsOfNumbersAndWhetherMessagesReachThem(t *testing.T) {
	t.Parallel()
	for e164, want := range map[string]struct {
		kind  Kind
		takes bool
	}{
		"+61412345678":   {KindMobile, true},
		"+61293744000":   {KindFixedLine, false},
		"+611300975707":  {KindSharedCost, false},
		"+611800160401":  {KindTollFree, false},
		"+447400123456":  {KindMobile, true},
		"+442079460000":  {KindFixedLine, false},
		"+15125550123":   {KindFixedOrMobile, true},
		"+390212345678":  {KindFixedLine, false},
		"+393123456789":  {KindMobile, true},
		"+4915123456789": {KindMobile, true},
		"+49301234567":   {KindFixedLine, false},
		"+80012345678":   {KindTollFree, false},
		"+44777777777":   {KindUnknown, true}, // the provider's test number, one digit short
		"+999123456789":  {KindUnknown, true},
		"":               {KindUnknown, true},
		"+":              {KindUnknown, true},
		"+6141234567x":   {KindUnknown, true},
	} {
		if kind := NumberKind(e164); kind != want.kind || kind.TakesMessages() != want.takes {
			t.Errorf("%s is a %s, which takes messages: %v", e164, kind, kind.TakesMessages())
		}
	}
}

func BenchmarkNumberKind(b *testing.B) {
	for _, c := range []struct{ name, e164 string }{
		{"Australia", "+61412345678"}, {"Britain", "+447400123456"}, {"Germany", "+4915123456789"}, {"US", "+15125550123"}, {"Canada", "+16045550123"}, {"Italy", "+390212345678"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if NumberKind(c.e164) == KindUnknown {
					b.Fatal("unknown")
				}
			}
		})
	}
}
