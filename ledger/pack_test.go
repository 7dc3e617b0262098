package ledger

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/campaign"
)

// cell draws texts that are hard to pack.
func cell() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", separator, separator + "a", "a" + separator, `["a"]`, "[", "null", " ", "\n"}))
}

func TestPackedValuesComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(cell(), 0, 12).Draw(t, "values")
		got := unpackValues(packValues(values), len(values))
		if !slices.Equal(got, values) {
			t.Fatalf("got %q, want %q", got, values)
		}
	})
}

func TestPackedContactsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) string { return cell().Draw(t, name) }
		columns := campaign.NewColumns(rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,6}`), 0, 5, rapid.ID[string]).Draw(t, "columns")...)
		c := campaign.Contact{
			Email: draw("email"), FirstName: draw("first"), LastName: draw("last"), Country: draw("country"), Reference: draw("reference"),
			Address: campaign.Address{Name: draw("name"), Line1: draw("1"), Line2: draw("2"), City: draw("city"),
				State: draw("state"), PostalCode: draw("code"), Country: draw("country")},
		}
		if n := len(columns.Names()); n > 0 {
			c.Fields = campaign.Fields{Columns: columns, Values: rapid.SliceOfN(cell(), n, n).Draw(t, "values")}
		}
		var got campaign.Contact
		unpackContact(packContact(&c), columns, &got)
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("got %+v, want %+v", got, c)
		}
	})
}

// What stands in a damaged cell never makes reading panic, and gives as many
// values as there are columns.
func FuzzUnpackValues(f *testing.F) {
	f.Add("", 0)
	f.Add(separator+"a"+separator+"b", 1)
	f.Add(`["a","b"]`, 3)
	f.Add(`[1]`, 1)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || n > 1000 {
			t.Skip()
		}
		if got := unpackValues(s, n); len(got) != n {
			t.Fatalf("%d values, want %d", len(got), n)
		}
	})
}

func TestMembersComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var ids []int64
		last := int64(0)
		for _, gap := range rapid.SliceOfN(rapid.OneOf(rapid.Just(int64(1)), rapid.Int64Range(1, 1<<40)), 0, campaign.MaxBatch).Draw(t, "gaps") {
			last += gap
			ids = append(ids, last)
		}
		got, err := decodeMembers(encodeMembers(ids))
		if err != nil || !slices.Equal(got, ids) {
			t.Fatalf("got %v, %v, want %v", got, err, ids)
		}
	})
}

func TestABatchAsPlannedIsOneShortRun(t *testing.T) {
	t.Parallel()
	ids := make([]int64, campaign.MaxBatch)
	for i := range ids {
		ids[i] = 1_000_000 + int64(i)
	}
	if n := len(encodeMembers(ids)); n > 8 {
		t.Errorf("%d bytes", n)
	}
}

// Damaged members are an error or ascending ids, never a panic or a gigabyte.
func FuzzDecodeMembers(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 2, 3, 4})
	f.Add([]byte{0, 1})
	f.Add(bytes.Repeat([]byte{0xff}, 30))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0x03, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, err := decodeMembers(b)
		if err != nil {
			return
		}
		for i, id := range ids {
			if id <= 0 || i > 0 && id <= ids[i-1] {
				t.Fatalf("ids do not ascend at %d: %d", i, id)
			}
		}
	})
}
