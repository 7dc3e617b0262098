package campaign

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

func TestSeenAgreesWithAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, want := NewSeen(), map[string]int64{}
		span := rapid.SampledFrom([]int{3, 500, 100_000}).Draw(t, "span")
		for i, k := range rapid.SliceOfN(rapid.IntRange(0, span), 0, 3000).Draw(t, "keys") {
			key := fmt.Sprint("+614", k)
			first, known := want[key]
			if !known {
				want[key] = int64(i)
			}
			got, isNew := s.AddDigest(s.Digest([]byte(key)), int64(i))
			if isNew == known {
				t.Fatalf("key %d of %d: new = %v", i, len(want), isNew)
			}
			if known && got != first {
				t.Fatalf("the mark of %s is %d, want %d", key, got, first)
			}
			if s.Add(key) || s.AddBytes([]byte(key)) {
				t.Fatalf("%s was forgotten at once", key)
			}
		}
		if s.Len() != len(want) {
			t.Fatalf("%d keys, want %d", s.Len(), len(want))
		}
		for key := range want {
			if s.Add(key) {
				t.Fatalf("%s was forgotten", key)
			}
		}
	})
}

// Hashes that crowd together at the very end of a shard are what makes an
// ordered table overflow.
func TestSeenKeepsKeysWhoseHashesCrowd(t *testing.T) {
	t.Parallel()
	for _, start := range []uint64{1, 1 << 63, ^uint64(0) - 40_000} {
		s := NewSeen()
		for i := range uint64(2_000) {
			for twice := range 2 {
				d := Digest{hi: start + i%100, lo: i << 32}
				if _, isNew := s.AddDigest(d, int64(i)); isNew != (twice == 0) {
					t.Fatalf("start %x, key %d: new = %v at pass %d", start, i, isNew, twice)
				}
			}
		}
		for i := range uint64(2_000) {
			if first, isNew := s.AddDigest(Digest{hi: start + i%100, lo: i << 32}, 7); isNew || first != int64(i) {
				t.Fatalf("start %x: key %d has mark %d, new = %v", start, i, first, isNew)
			}
		}
	}
}

func TestSeenHoldsAtMost22BytesAKey(t *testing.T) {
	t.Parallel()
	s := NewSeen()
	var key [8]byte
	for n, i := 1_000_000, 0; i < n; i++ {
		binary.LittleEndian.PutUint64(key[:], uint64(i))
		if !s.AddBytes(key[:]) {
			t.Fatalf("key %d collides", i)
		}
		if i > 300_000 && i%50_000 == 0 {
			held := 0
			for j := range s.shards {
				held += 16 * cap(s.shards[j].slots)
			}
			if per := float64(held) / float64(i); per > 22 {
				t.Errorf("%.1f bytes a key at %d keys", per, i)
			}
		}
	}
}

func TestWhoIsTheSameRecipient(t *testing.T) {
	t.Parallel()
	whole := Address{Name: "Ann Lee", Line1: "1 High St", City: "Perth", PostalCode: "6000", Country: "AU"}
	spouse := whole
	spouse.Name = "Bob Lee"
	loud := whole
	loud.Line1 = " 1  HIGH st"
	type pair struct {
		name   string
		id     Identity
		a, b   Contact
		fa, fb string
		same   bool
	}
	for _, p := range []pair{
		{"one number, two names, by number", ByNumber, Contact{Phone: "+61412345678", FirstName: "A"}, Contact{Phone: "+61412345678", FirstName: "B"}, "", "", true},
		{"two numbers of one person", ByNumber, Contact{Phone: "+61412345678", FirstName: "A"}, Contact{Phone: "+61412345679", FirstName: "A"}, "", "", false},
		{"no number at all", ByNumber, Contact{Address: whole}, Contact{Address: spouse}, "", "", false},
		{"spouses on post", ByPost, Contact{Address: whole}, Contact{Address: spouse}, "", "", false},
		{"case and white space on post", ByPost, Contact{Address: whole}, Contact{Address: loud}, "", "", true},
		{"a second reference with a shared file", ByPost, Contact{Address: whole, Reference: "1"}, Contact{Address: whole, Reference: "2"}, "", "", true},
		{"a second invoice", ByLetter, Contact{Address: whole, Reference: "1"}, Contact{Address: whole, Reference: "2"}, "", "", false},
		{"one invoice twice", ByLetter, Contact{Address: whole, Reference: "1"}, Contact{Address: spouse, Reference: "1"}, "a.pdf", "b.pdf", true},
		{"two files without reference", ByLetter, Contact{Address: whole}, Contact{Address: whole}, "a.pdf", "b.pdf", false},
		{"one file without reference", ByLetter, Contact{Address: whole}, Contact{Address: loud}, "a.pdf", "a.pdf", true},
		{"a list of numbers", ByContact, Contact{Phone: "+61412345678", FirstName: "A"}, Contact{Phone: "+61412345678", FirstName: "B"}, "", "", true},
		{"one number at two addresses", ByContact, Contact{Phone: "+61412345678", Address: whole}, Contact{Phone: "+61412345678", Address: spouse}, "", "", false},
		{"two references at one address", ByContact, Contact{Address: whole, Reference: "1"}, Contact{Address: whole, Reference: "2"}, "", "", false},
		{"the same contact again", ByContact, Contact{Phone: "+61412345678", Address: whole}, Contact{Phone: "+61412345678", Address: loud}, "", "", true},
	} {
		a, b := string(p.id.AppendKey(nil, &p.a, p.fa)), string(p.id.AppendKey(nil, &p.b, p.fb))
		if (a == b) != p.same {
			t.Errorf("%s: same = %v, want %v", p.name, a == b, p.same)
		}
	}
}

func BenchmarkSeen(b *testing.B) {
	b.ReportAllocs()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := NewSeen()
	var key [12]byte
	for i := 0; b.Loop(); i++ {
		binary.LittleEndian.PutUint64(key[:], uint64(i))
		s.AddBytes(key[:])
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(s.Len()), "heap-B/key")
	runtime.KeepAlive(s)
}

// Every one of the 96 bits tells two keys apart: 64 of the first hash, 8 of the
// second by the shard, 24 in the slot.
func TestSeenTellsKeysApartByEveryBitItClaims(t *testing.T) {
	t.Parallel()
	s := NewSeen()
	base := Digest{hi: 0x5555_5555_5555_5555, lo: 0x5555_5555_5555_5555}
	s.AddDigest(base, 1)
	for bit := range 64 {
		d := base
		d.hi ^= 1 << bit
		if _, isNew := s.AddDigest(d, 2); !isNew {
			t.Errorf("bit %d of the first hash is not looked at", bit)
		}
	}
	for bit := 64 - seenBits - (64 - markBits); bit < 64; bit++ {
		d := base
		d.lo ^= 1 << bit
		if _, isNew := s.AddDigest(d, 2); !isNew {
			t.Errorf("bit %d of the second hash is not looked at", bit)
		}
	}
	if first, isNew := s.AddDigest(base, MaxMark); isNew || first != 1 {
		t.Errorf("the first key has mark %d, new = %v", first, isNew)
	}
}
