package campaign

import (
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const testLedger = "k3x09qzz1a"

func drawReference(t *rapid.T) Reference {
	return Reference{
		Ledger:    rapid.StringMatching(`[0-9a-z]{10}`).Draw(t, "ledger"),
		Recipient: rapid.Int64Range(0, math.MaxInt64).Draw(t, "recipient"),
		Attempt:   rapid.IntRange(0, MaxReferenceAttempt).Draw(t, "attempt"),
	}
}

func TestAReferenceComesBackAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawReference(t)
		s := r.String()
		if len(s) != ReferenceLen || len(s) > 32 || strings.Trim(s, base36Digits) != "" {
			t.Fatalf("%q is not %d characters of [0-9a-z]", s, ReferenceLen)
		}
		got, ok := ParseReference(s, r.Ledger)
		if !ok || got != r {
			t.Fatalf("ParseReference(%q) = %+v, %v; want %+v", s, got, ok, r)
		}
	})
}

func TestAReferenceIsReadableByHand(t *testing.T) {
	t.Parallel()
	got := Reference{Ledger: testLedger, Recipient: 36*36 + 35, Attempt: 37}.String()
	want := "k3x09qzz1a" + "000000000010z" + "000011"
	n, _ := new(big.Int).SetString(want, 36)
	check := new(big.Int).Mod(n, big.NewInt(46649)).Text(36)
	want += strings.Repeat("0", 3-len(check)) + check
	if got != want {
		t.Errorf("reference = %s, want %s", got, want)
	}
}

func TestADamagedReferenceIsNotRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := drawReference(t)
		s := []byte(r.String())
		i := rapid.IntRange(LedgerIDLen, ReferenceLen-1).Draw(t, "at")
		switch rapid.SampledFrom([]string{"change", "swap", "cut", "longer"}).Draw(t, "damage") {
		case "change":
			d := base36Digits[rapid.IntRange(0, 35).Draw(t, "digit")]
			if d == s[i] {
				t.Skip("the same character")
			}
			s[i] = d
		case "swap":
			j := i - 1
			if j < LedgerIDLen || s[i] == s[j] {
				t.Skip("nothing to swap")
			}
			s[i], s[j] = s[j], s[i]
		case "cut":
			s = s[:i]
		case "longer":
			s = append(s, '0')
		}
		if got, ok := ParseReference(string(s), r.Ledger); ok {
			t.Fatalf("%q was read as %+v; it was %q", s, got, r.String())
		}
	})
}

func TestOtherStringsAreNotReferences(t *testing.T) {
	t.Parallel()
	mine := Reference{Ledger: testLedger, Recipient: 7, Attempt: 1}.String()
	if _, ok := ParseReference(mine, "k3x09qzz1b"); ok {
		t.Error("another ledger's reference was taken for ours")
	}
	for _, s := range []string{"", "this is a test", strings.ToUpper(mine), " " + mine[1:], strings.Repeat("z", 32)} {
		if r, ok := ParseReference(s, testLedger); ok {
			t.Errorf("%q was read as %+v", s, r)
		}
	}
	// A recipient above the largest int64 whose check is right.
	over := testLedger + "zzzzzzzzzzzzz" + "000000"
	n, _ := new(big.Int).SetString(over, 36)
	check := new(big.Int).Mod(n, big.NewInt(checkPrime)).Text(36)
	over += strings.Repeat("0", 3-len(check)) + check
	if r, ok := ParseReference(over, testLedger); ok {
		t.Errorf("%q was read as %+v", over, r)
	}
}

func TestAReferenceOutOfRangeIsNeverWritten(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Reference{
		"short ledger":     {Ledger: "abc", Recipient: 1, Attempt: 1},
		"capital ledger":   {Ledger: "K3X09QZZ1A", Recipient: 1, Attempt: 1},
		"negative id":      {Ledger: testLedger, Recipient: -1, Attempt: 1},
		"negative attempt": {Ledger: testLedger, Recipient: 1, Attempt: -1},
		"too many":         {Ledger: testLedger, Recipient: 1, Attempt: MaxReferenceAttempt + 1},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: %q was written", name, r.String())
				}
			}()
			_ = r.String()
		}()
	}
}

func TestAppendingAReferenceAllocatesNothing(t *testing.T) {
	b := make([]byte, 0, ReferenceLen)
	r := Reference{Ledger: testLedger, Recipient: 123456, Attempt: 2}
	s := r.String()
	if n := testing.AllocsPerRun(100, func() {
		b = r.AppendTo(b[:0])
		if _, ok := ParseReference(s, testLedger); !ok {
			t.Fatal("not read")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add(Reference{Ledger: testLedger, Recipient: 1, Attempt: 1}.String())
	f.Add("")
	f.Add("k3x09qzz1azzzzzzzzzzzzz000000000")
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := ParseReference(s, testLedger); ok && r.String() != s {
			t.Fatalf("%q was read as %q", s, r.String())
		}
	})
}

func BenchmarkReference(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, ReferenceLen)
	for i := 0; b.Loop(); i++ {
		buf = Reference{Ledger: testLedger, Recipient: int64(i), Attempt: 1}.AppendTo(buf[:0])
	}
}
