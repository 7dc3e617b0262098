package campaign

import (
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// gsmAlphabet and gsmExtension are copied from 3GPP TS 23.038, tables 6.2.1
// and 6.2.1.1, in the order of the code points (escape left out).
const (
	gsmAlphabet = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
		"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtension = "\f^{}\\[~]|€"
)

// naiveParts cuts the body into real parts the slow way: a list of characters,
// each with its code units, put into parts one after the other.
func naiveParts(body string) Parts {
	unicode := false
	for _, r := range body {
		if !strings.ContainsRune(gsmAlphabet, r) && !strings.ContainsRune(gsmExtension, r) {
			unicode = true
		}
	}
	var sizes []int
	total := 0
	for _, r := range body {
		size := 1
		if unicode {
			size = len(utf16.Encode([]rune{r}))
		} else if strings.ContainsRune(gsmExtension, r) {
			size = 2
		}
		sizes = append(sizes, size)
		total += size
	}
	single, part := 160, 153
	if unicode {
		single, part = 70, 67
	}
	if total == 0 {
		return Parts{}
	}
	if total <= single {
		return Parts{Count: 1, Unicode: unicode, Units: total}
	}
	var parts []int
	for _, size := range sizes {
		if len(parts) == 0 || parts[len(parts)-1]+size > part {
			parts = append(parts, 0)
		}
		parts[len(parts)-1] += size
	}
	return Parts{Count: len(parts), Unicode: unicode, Units: total}
}

func TestTheAlphabetHas128Places(t *testing.T) {
	t.Parallel()
	if n := utf8.RuneCountInString(gsmAlphabet); n != 127 { // and the escape
		t.Fatalf("the test's alphabet has %d characters, want 127", n)
	}
	for r := rune(-1); r <= utf8.MaxRune; r++ {
		want := 0
		if r >= 0 && strings.ContainsRune(gsmAlphabet, r) {
			want = 1
		} else if r >= 0 && strings.ContainsRune(gsmExtension, r) {
			want = 2
		}
		if r == utf8.RuneError || (r >= 0xD800 && r <= 0xDFFF) {
			want = 0
		}
		if got := Septets(r); got != want {
			t.Errorf("Septets(%U) = %d, want %d", r, got, want)
		}
	}
}

// The figures of shared/api/semantics.md, section 10 (credits table).
func TestPartsFollowTheProvidersCreditTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		char string
		ends []int // longest length of 1, 2, 3... parts
	}{
		{"a", []int{160, 306, 459, 612, 765, 918, 1071, 1224}},
		{"ж", []int{70, 134, 201, 268, 335, 402, 469, 536}},
	} {
		for i, end := range c.ends {
			for length, want := range map[int]int{end: i + 1, end + 1: i + 2} {
				if got := CountParts(strings.Repeat(c.char, length)).Count; got != want {
					t.Errorf("%d times %s is %d parts, want %d", length, c.char, got, want)
				}
			}
		}
	}
}

func TestPairsAreNotSplitBetweenParts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		want       Parts
	}{
		{"empty", "", Parts{}},
		{"euro counts twice", strings.Repeat("€", 80), Parts{1, false, 160}},
		{"euro one too many", strings.Repeat("€", 80) + "a", Parts{2, false, 161}},
		{"euro at the boundary", strings.Repeat("a", 152) + "€" + strings.Repeat("a", 152), Parts{3, false, 306}},
		{"euro before the boundary", strings.Repeat("a", 151) + "€" + strings.Repeat("a", 153), Parts{2, false, 306}},
		{"76 euros fill a part", strings.Repeat("€", 152), Parts{2, false, 304}},
		{"153 euros need three", strings.Repeat("€", 153), Parts{3, false, 306}},
		{"emoji counts twice", strings.Repeat("🎉", 35), Parts{1, true, 70}},
		{"emoji one too many", strings.Repeat("🎉", 35) + "a", Parts{2, true, 71}},
		{"emoji at the boundary", strings.Repeat("a", 66) + "🎉" + strings.Repeat("a", 66), Parts{3, true, 134}},
		{"33 emoji fill a part", strings.Repeat("🎉", 66), Parts{2, true, 132}},
		{"67 emoji need three", strings.Repeat("🎉", 67), Parts{3, true, 134}},
		{"one curly quote", "It’s", Parts{1, true, 4}},
		{"tab is not GSM", "a\tb", Parts{1, true, 3}},
		{"small c cedilla is not GSM", "façade", Parts{1, true, 6}},
		{"broken UTF-8", "a\xffb", Parts{1, true, 3}},
	} {
		if got := CountParts(c.body); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func bodyGen() *rapid.Generator[string] {
	gsm := []rune(gsmAlphabet)
	ext := []rune(gsmExtension)
	wide := []rune("’“ж漢🎉👍\t`ç\u00a0\uffff\U00010000")
	return rapid.Custom(func(t *rapid.T) string {
		pools := [][]rune{gsm}
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 1, 2:
			pools = append(pools, ext)
		case 3:
			pools = append(pools, ext, wide)
		case 4:
			pools = append(pools, wide, wide)
		}
		length := rapid.IntRange(0, 700).Draw(t, "length")
		seed := rapid.Uint64().Draw(t, "seed")
		runes := make([]rune, length)
		for i := range runes {
			seed = seed*6364136223846793005 + 1442695040888963407
			pool := pools[int(seed>>33)%len(pools)]
			runes[i] = pool[int(seed>>40)%len(pool)]
		}
		return string(runes)
	})
}

func TestPartsAgreeWithTheSlowCount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := bodyGen().Draw(t, "body")
		if got, want := CountParts(body), naiveParts(body); got != want {
			t.Fatalf("CountParts(%q) = %+v, want %+v", body, got, want)
		}
	})
}

func TestNonGSMNamesWhatMakesAMessageUnicode(t *testing.T) {
	t.Parallel()
	if got := string(NonGSM("“It’s” – it’s 🎉 €5 🎉")); got != "“’”–🎉" {
		t.Errorf("NonGSM = %q", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		body := bodyGen().Draw(t, "body")
		runes := NonGSM(body)
		if (len(runes) > 0) != CountParts(body).Unicode {
			t.Fatalf("NonGSM(%q) = %q, and Unicode is %v", body, string(runes), !(len(runes) > 0))
		}
		for _, r := range runes {
			body = strings.ReplaceAll(body, string(r), "")
		}
		if CountParts(body).Unicode {
			t.Fatalf("without %q the body %q is still Unicode", string(runes), body)
		}
	})
}

func TestCountingAllocatesNothing(t *testing.T) {
	for _, body := range []string{strings.Repeat("Hello €", 60), strings.Repeat("Привет 🎉", 30)} {
		if n := testing.AllocsPerRun(100, func() { CountParts(body) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func FuzzCountParts(f *testing.F) {
	f.Add("Hi there")
	f.Add(strings.Repeat("a", 152) + "€" + strings.Repeat("a", 152))
	f.Add(strings.Repeat("a", 66) + "🎉" + strings.Repeat("a", 66))
	f.Add("\xff\xc3")
	f.Fuzz(func(t *testing.T, body string) {
		if got, want := CountParts(body), naiveParts(body); got != want {
			t.Fatalf("CountParts(%q) = %+v, want %+v", body, got, want)
		}
	})
}

func BenchmarkCountParts(b *testing.B) {
	for name, body := range map[string]string{
		"ascii-100":   strings.Repeat("Hello you ", 10),
		"gsm-300":     strings.Repeat("Café für 5£", 28),
		"euro-400":    strings.Repeat("a€", 150),
		"unicode-100": strings.Repeat("Привет, ты", 10),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				CountParts(body)
			}
		})
	}
}
