package sandbox

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestEveryTextComesBackFromItsDifference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SliceOf(rapid.SampledFrom([]byte("ab"))).Draw(t, "base")
		text := rapid.SliceOf(rapid.SampledFrom([]byte("ab"))).Draw(t, "text")
		got, rest := readDiff(nil, base, append(appendDiff(nil, base, text), "rest"...))
		if !bytes.Equal(got, text) || string(rest) != "rest" {
			t.Fatalf("got %q and %q", got, rest)
		}
	})
}

func TestTheStoreGivesBackWhatItKeepsAndForgetsTheOldest(t *testing.T) {
	t.Parallel()
	s := store{texts: texts[sms], maxKept: 2 * chunkRows}
	want := func(i int) [textCount][]byte {
		return [textCount][]byte{
			textTo: fmt.Appendf(nil, "+614%08d", i), textCustom: fmt.Appendf(nil, "ref%d", i*7), textFrom: []byte("ACME"),
			textBody: fmt.Appendf(nil, "Hi %d, it is your turn", i), textExtra: nil,
		}
	}
	const n = 5*chunkRows + 17
	for i := range n {
		fields := want(i)
		if seq := s.add(row{at: int64(i), price: money(i)}, &fields); seq != uint64(i) {
			t.Fatalf("message %d got number %d", i, seq)
		}
	}
	if kept := s.next - s.first; kept < 2*chunkRows || kept > 3*chunkRows {
		t.Errorf("%d kept of at most %d", kept, 2*chunkRows)
	}
	if s.row(s.first-1) != nil || s.row(s.next) != nil {
		t.Error("a row outside the kept ones was found")
	}
	var m message
	for seq := s.first; seq < s.next; seq++ {
		fields := want(int(seq))
		if !s.read(seq, &m) || m.price != money(seq) {
			t.Fatalf("message %d: %+v", seq, m.row)
		}
		for i := range s.texts {
			if !bytes.Equal(m.field[i], fields[i]) {
				t.Fatalf("message %d text %d: %q, want %q", seq, i, m.field[i], fields[i])
			}
		}
	}
	for _, ms := range []int64{int64(s.first) - 1, int64(s.first), 3*chunkRows + 5, n - 1, n + 10} {
		want := min(max(uint64(ms+1), s.first), s.next)
		if got := s.acceptedUpTo(ms); got != want {
			t.Errorf("acceptedUpTo(%d) = %d, want %d", ms, got, want)
		}
	}
}

func TestIDsAreVersion4UUIDsThatNameTheirMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := newIDMaker(rapid.Uint64().Draw(t, "seed"))
		space := channel(rapid.IntRange(0, int(ghosts)).Draw(t, "space"))
		seq := rapid.Uint64Range(0, 1<<60).Draw(t, "seq")
		hi, lo := ids.id(space, seq)
		text := string(appendUUID(nil, hi, lo))
		if text[14] != '4' || text[19] < '8' || text[19] > 'B' || text[19] == '9'+1 {
			t.Fatalf("%s is not a version 4 UUID", text)
		}
		h, l, ok := parseUUID(text)
		if !ok || h != hi || l != lo {
			t.Fatalf("%s does not parse back", text)
		}
		sp, sq, ok := ids.seq(h, l)
		if !ok || sp != space || sq != seq {
			t.Fatalf("%s is %d of %d, %v; want %d of %d", text, sq, sp, ok, seq, space)
		}
		if _, _, ok := ids.seq(hi, lo^1); ok {
			t.Fatal("a changed id is still known")
		}
	})
}

func TestAPermutationHoldsEveryPositionOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(1, 3000).Draw(t, "n")
		p := newPermutation(n, rapid.Uint64().Draw(t, "key"))
		seen := make([]bool, n)
		for i := range n {
			j := p.at(i)
			if j >= n || seen[j] {
				t.Fatalf("position %d of %d goes to %d", i, n, j)
			}
			seen[j] = true
		}
	})
}

func TestMoneyIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := money(rapid.Int64Range(-1e15, 1e15).Draw(t, "m"))
		for _, text := range []string{m.String(), string(m.appendNumber(nil))} {
			if got, err := parseMoney(text); err != nil || got != m {
				t.Fatalf("%d was written as %s and read as %d: %v", m, text, got, err)
			}
		}
	})
	for in, want := range map[money]string{280_000: "0.28", 11_000_000: "11", 0: "0", 13_420_000: "13.42", 56_600: "0.0566"} {
		if got := string(in.appendNumber(nil)); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
}
